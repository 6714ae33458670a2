//! libp2p over WebRTC data channels, for browsers.
//!
//! What decides is pure and runs anywhere: [`frame`] (the bytes of a channel) and [`stream`] (one
//! stream's two halves, its flags, windows, timers and end).

pub mod frame;
pub mod limits;
pub mod stream;

//! libp2p over WebRTC data channels, for browsers.
//!
//! What decides is pure and runs anywhere: [`frame`] (the bytes of a channel), [`stream`] (one
//! stream's two halves, its flags, windows, timers and end) and [`signal`] (how two browsers agree
//! on a connection). [`behaviour`] finds the connection that carries the signalling. `browser`, on
//! wasm only, does what they say with the browser's `RTCPeerConnection`.

pub mod address;
pub mod behaviour;
#[cfg(target_arch = "wasm32")]
pub mod browser;
pub mod candidate;
pub mod direct;
pub mod error;
pub mod frame;
pub mod limits;
pub mod signal;
pub mod stream;

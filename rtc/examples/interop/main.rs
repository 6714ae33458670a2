//! A peer for a page that another implementation is tried against: nothing but libp2p and this
//! crate, commanded from JavaScript.
//!
//! `tests/interop` and `bench/rtc.mjs` open it beside a page of js-libp2p that has the same methods.

#![cfg(target_arch = "wasm32")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "events of libp2p that no test waits for are passed over"
)]

mod direct_only;
mod exchanges;
mod node;
mod peer;

pub use peer::Peer;

//! What the relay promises, each shown over real sockets on loopback.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p events, of which a test awaits one"
)]

mod client;
mod command;
mod federation;
#[cfg(target_os = "linux")]
mod hostile;
mod http;
mod kad;
mod peers;
mod rig;
mod settings;
mod tls;
mod turn;

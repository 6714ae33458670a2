//! The input is a text: as an address, as a candidate, as a browser's description, and as the
//! certificate in one.
//!
//! Whatever it is, nothing panics; a server that is found can be described, and its certificate is
//! read back from the description.

use libp2p::Multiaddr;
use thrum_rtc::address::{Target, bare, is_relayed, is_webrtc};
use thrum_rtc::candidate::Candidate;
use thrum_rtc::direct::{Server, sdp};

/// Reads `data`; true when something was found in it.
pub fn run(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let described = sdp::fingerprint(&text).is_ok();
    let line = format!("a=fingerprint:sha-256 {text}");
    let certified = sdp::fingerprint(&line).is_ok();
    if let Ok(offer) = sdp::renamed(&text, "name") {
        assert!(sdp::renamed(&offer, "other").is_ok());
    }
    let candidate = Candidate::parse(&text).is_some();
    let addresses = [text.parse().ok(), Multiaddr::try_from(data.to_vec()).ok()];
    let found = addresses.into_iter().flatten();
    let leads = found.fold(false, |leads, address| leads | reads(&address));
    described | certified | candidate | leads
}

fn reads(address: &Multiaddr) -> bool {
    if let Some(server) = Server::parse(address) {
        let described = sdp::answer(&server, "name");
        assert_eq!(sdp::fingerprint(&described), Ok(server.certificate));
        return true;
    }
    let Some(target) = Target::parse(address) else {
        return false;
    };
    assert!(is_webrtc(address) && !is_relayed(address));
    assert!(Target::parse(&bare(target.peer)).is_some());
    true
}

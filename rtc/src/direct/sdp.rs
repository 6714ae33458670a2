//! The two descriptions of a connection to a server: the browser's own, with a name that the server
//! can find in its packets, and the one that the server would have sent.

use super::{Fingerprint, Server};

const FINGERPRINT: &str = "a=fingerprint:";

/// What is wrong with a description that a browser made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It does not say what the connection is to be known by.
    #[error("the browser's description has no line {0}")]
    Missing(&'static str),
    /// Its certificate is hashed otherwise than libp2p has it.
    #[error("the browser's certificate is not given by its SHA-256: {0}")]
    Fingerprint(String),
}

/// The certificate of a description.
///
/// # Errors
/// Where there is none, or another hash of it.
pub fn fingerprint(sdp: &str) -> Result<Fingerprint, SdpError> {
    let line = sdp.lines().find_map(|line| {
        let (name, value) = line.split_at_checked(FINGERPRINT.len())?;
        name.eq_ignore_ascii_case(FINGERPRINT).then_some(value)
    });
    let value = line.ok_or(SdpError::Missing(FINGERPRINT))?.trim();
    let wrong = || SdpError::Fingerprint(value.to_owned());
    let (hash, digits) = value.split_once(' ').ok_or_else(wrong)?;
    if !hash.eq_ignore_ascii_case("sha-256") {
        return Err(wrong());
    }
    let mut pairs = digits.trim().split(':');
    let mut digest = [0; 32];
    for byte in &mut digest {
        let pair = pairs.next().filter(|it| it.len() == 2).ok_or_else(wrong)?;
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    match pairs.next() {
        None => Ok(Fingerprint(digest)),
        Some(_) => Err(wrong()),
    }
}

/// The browser's offer under another name.
///
/// # Errors
/// Where it has none to replace.
pub fn renamed(offer: &str, ufrag: &str) -> Result<String, SdpError> {
    const NAMES: [&str; 2] = ["a=ice-ufrag:", "a=ice-pwd:"];
    for name in NAMES {
        if !offer.lines().any(|line| line.starts_with(name)) {
            return Err(SdpError::Missing(name));
        }
    }
    let lines = offer.lines().map(|line| {
        let name = NAMES.into_iter().find(|name| line.starts_with(name));
        match name {
            Some(name) => format!("{name}{ufrag}\r\n"),
            None => format!("{line}\r\n"),
        }
    });
    Ok(lines.collect())
}

/// What the server would have answered: all of it is in its address, or agreed.
pub fn answer(server: &Server, ufrag: &str) -> String {
    let Server { ip, port, .. } = server;
    let version = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let digits = server.certificate.0.map(|byte| format!("{byte:02X}"));
    let digits = digits.join(":");
    // A host candidate's priority: libp2p's implementations all write this one.
    let priority = 1_467_250_027;
    let lines = [
        "v=0".to_owned(),
        format!("o=- 0 0 IN {version} {ip}"),
        "s=-".to_owned(),
        format!("c=IN {version} {ip}"),
        "t=0 0".to_owned(),
        "a=ice-lite".to_owned(),
        format!("m=application {port} UDP/DTLS/SCTP webrtc-datachannel"),
        "a=mid:0".to_owned(),
        "a=setup:passive".to_owned(),
        "a=ice-options:ice2".to_owned(),
        format!("a=ice-ufrag:{ufrag}"),
        format!("a=ice-pwd:{ufrag}"),
        format!("a=fingerprint:sha-256 {digits}"),
        "a=sctp-port:5000".to_owned(),
        "a=max-message-size:16384".to_owned(),
        format!("a=candidate:1 1 UDP {priority} {ip} {port} typ host"),
        "a=end-of-candidates".to_owned(),
    ];
    lines.map(|line| line + "\r\n").concat()
}

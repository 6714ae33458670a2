//! Servers that a browser reaches without anybody's help: `/webrtc-direct` of the specification.
//!
//! The address says all that signalling would: where the server is and which certificate it has.
//! Who it is, and who the browser is, both prove by noise on the first channel; its prologue binds
//! the proof to the certificates of the connection.

pub mod sdp;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use libp2p::core::multihash::Multihash;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The multihash code of SHA-256.
const SHA2_256: u64 = 0x12;

/// What the proof of identity begins with, so that it is good for nothing else.
const NOISE_PREFIX: &[u8] = b"libp2p-webrtc-noise:";

/// What a browser's name for the connection begins with; servers refuse others.
const UFRAG_PREFIX: &str = "libp2p+webrtc+v1/";

/// bytes; randomness in the name of a connection, 6 bits of each: servers keep names apart by it.
pub const UFRAG_RANDOM: usize = 32;

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The certificate of an address; none where it is hashed otherwise than browsers can check.
    fn from_multihash(hash: &Multihash<64>) -> Option<Self> {
        let digest = hash.digest().try_into().ok()?;
        (hash.code() == SHA2_256).then_some(Self(digest))
    }

    /// Its multihash: code, length, digest.
    fn multihash(&self) -> impl Iterator<Item = u8> {
        let length = self.0.len() as u8;
        [SHA2_256 as u8, length].into_iter().chain(self.0)
    }
}

/// Where a server is, and which certificate it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address; browsers take no names here.
    pub ip: IpAddr,
    /// Its UDP port.
    pub port: u16,
    /// Its certificate.
    pub certificate: Fingerprint,
    /// Who it is to be, where the address says so.
    pub peer: Option<PeerId>,
}

impl Server {
    /// Reads `/ip4|ip6/<a>/udp/<p>/webrtc-direct/certhash/<h>[/p2p/<id>]`; none for any other
    /// address, for one that leads nowhere, and for a hash that is no SHA-256.
    pub fn parse(address: &Multiaddr) -> Option<Self> {
        let mut parts = address.iter();
        let first = parts.next()?;
        let ip = if let Protocol::Ip4(ip) = first {
            IpAddr::V4(ip)
        } else if let Protocol::Ip6(ip) = first {
            IpAddr::V6(ip)
        } else {
            return None;
        };
        let Some(Protocol::Udp(port)) = parts.next() else {
            return None;
        };
        if !matches!(parts.next(), Some(Protocol::WebRTCDirect)) {
            return None;
        }
        let Some(Protocol::Certhash(hash)) = parts.next() else {
            return None;
        };
        let certificate = Fingerprint::from_multihash(&hash)?;
        let peer = match parts.next() {
            None => None,
            Some(Protocol::P2p(peer)) => Some(peer),
            Some(_) => return None,
        };
        let leads_somewhere = !ip.is_unspecified() && port != 0 && parts.next().is_none();
        leads_somewhere.then_some(Self {
            ip,
            port,
            certificate,
            peer,
        })
    }
}

/// The prologue of noise: it fails where the two sides see different certificates.
pub fn prologue(client: &Fingerprint, server: &Fingerprint) -> Vec<u8> {
    let prefix = NOISE_PREFIX.iter().copied();
    let hashes = client.multihash().chain(server.multihash());
    prefix.chain(hashes).collect()
}

/// The name of a connection, which is its password, too.
pub fn ufrag(random: &[u8; UFRAG_RANDOM]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = random.iter().map(|byte| LETTERS[usize::from(byte % 64)]);
    let mut name = UFRAG_PREFIX.to_owned();
    name.extend(letters.map(char::from));
    name
}

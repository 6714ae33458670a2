//! Owns STUN messages as bytes: what is read of one (RFC 8489, with TURN's methods of RFC 8656),
//! without a copy. [`write`] owns those that are sent.
//!
//! Any bytes are safe to read. What [`Message::parse`] returns is whole: its length is that of the
//! datagram, every attribute lies inside, and a fingerprint, where there is one, is last and holds.
//! Who sent it is known only after [`Message::integrity_holds`].

#[cfg(test)]
mod tests;
pub(crate) mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// bytes; type, length, cookie and transaction before the attributes.
pub(crate) const HEADER_BYTES: usize = 20;

/// In every message at the same place (RFC 8489 §5).
const MAGIC_COOKIE: u32 = 0x2112_A442;

/// What a fingerprint is xored with (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// bytes; type and length before an attribute's value.
const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// bytes; an HMAC-SHA1.
const INTEGRITY_BYTES: usize = 20;

/// Types below this must be understood by whoever gets them.
const FIRST_OPTIONAL: u16 = 0x8000;

/// count; unknown attributes named in one answer, so that it stays small.
const MAX_UNKNOWN_NAMED: usize = 8;

/// The types of attributes that the relay reads or writes.
pub(crate) mod attribute {
    pub(crate) const USERNAME: u16 = 0x0006;
    pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(crate) const ERROR_CODE: u16 = 0x0009;
    pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub(crate) const CHANNEL_NUMBER: u16 = 0x000C;
    pub(crate) const LIFETIME: u16 = 0x000D;
    pub(crate) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(crate) const DATA: u16 = 0x0013;
    pub(crate) const REALM: u16 = 0x0014;
    pub(crate) const NONCE: u16 = 0x0015;
    pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(crate) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub(crate) const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub(crate) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
    pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(crate) const PRIORITY: u16 = 0x0024;
    pub(crate) const USE_CANDIDATE: u16 = 0x0025;
    pub(crate) const FINGERPRINT: u16 = 0x8028;

    /// Those that must be understood, and are. The last two belong to ICE: a browser that checks a
    /// path may reach the relay, and is told its address as by any other request.
    pub(super) const UNDERSTOOD: [u16; 13] = [
        USERNAME,
        MESSAGE_INTEGRITY,
        CHANNEL_NUMBER,
        LIFETIME,
        XOR_PEER_ADDRESS,
        DATA,
        REALM,
        NONCE,
        REQUESTED_ADDRESS_FAMILY,
        REQUESTED_TRANSPORT,
        MESSAGE_INTEGRITY_SHA256,
        PRIORITY,
        USE_CANDIDATE,
    ];
}

/// Links an answer to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransactionId(pub(crate) [u8; 12]);

/// What part of an exchange a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Error,
    Indication,
    Request,
    Success,
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Allocate,
    Binding,
    ChannelBind,
    CreatePermission,
    Data,
    Refresh,
    Send,
    Unknown(u16),
}

impl Method {
    const fn of(number: u16) -> Self {
        match number {
            1 => Self::Binding,
            3 => Self::Allocate,
            4 => Self::Refresh,
            6 => Self::Send,
            7 => Self::Data,
            8 => Self::CreatePermission,
            9 => Self::ChannelBind,
            other => Self::Unknown(other),
        }
    }

    const fn number(self) -> u16 {
        match self {
            Self::Binding => 1,
            Self::Allocate => 3,
            Self::Refresh => 4,
            Self::Send => 6,
            Self::Data => 7,
            Self::CreatePermission => 8,
            Self::ChannelBind => 9,
            Self::Unknown(number) => number,
        }
    }
}

/// Why bytes are no STUN message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("no STUN header")]
    NoHeader,
    #[error("its length says {said_bytes} B of attributes, and {got_bytes} B follow")]
    WrongLength { said_bytes: usize, got_bytes: usize },
    #[error("attribute {kind:#06x} goes beyond the end")]
    AttributeTooLong { kind: u16 },
    #[error("its fingerprint does not hold")]
    WrongFingerprint,
}

/// A whole message; its bytes are the datagram's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) class: Class,
    pub(crate) method: Method,
    pub(crate) transaction: TransactionId,
    bytes: &'a [u8],
    /// Where MESSAGE-INTEGRITY begins; what stands behind it is nobody's word.
    integrity_at: Option<usize>,
}

impl<'a> Message<'a> {
    /// Reads the message that `bytes` are.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (header, attributes) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(ParseError::NoHeader)?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, transaction @ ..] = *header;
        let kind = u16::from_be_bytes([t0, t1]);
        if kind >= 0x4000 || u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(ParseError::NoHeader);
        }
        let said_bytes = usize::from(u16::from_be_bytes([l0, l1]));
        if said_bytes != attributes.len() || said_bytes % 4 != 0 {
            return Err(ParseError::WrongLength {
                said_bytes,
                got_bytes: attributes.len(),
            });
        }
        let (class, method) = class_and_method(kind);
        let mut message = Self {
            class,
            method,
            transaction: TransactionId(transaction),
            bytes,
            integrity_at: None,
        };
        message.walk()?;
        Ok(message)
    }

    /// Checks that every attribute lies inside, and finds the integrity.
    fn walk(&mut self) -> Result<(), ParseError> {
        let mut at = HEADER_BYTES;
        while at < self.bytes.len() {
            let (kind, value, next) =
                split_attribute(self.bytes, at).ok_or(ParseError::AttributeTooLong {
                    kind: u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]),
                })?;
            if kind == attribute::FINGERPRINT {
                let is_last = next == self.bytes.len();
                if !is_last || value != fingerprint(&self.bytes[..at]).to_be_bytes() {
                    return Err(ParseError::WrongFingerprint);
                }
            } else if kind == attribute::MESSAGE_INTEGRITY && self.integrity_at.is_none() {
                self.integrity_at = Some(at);
            }
            at = next;
        }
        Ok(())
    }

    /// Type and value of each attribute before the integrity, the integrity among them.
    fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        let end = self.integrity_at.map_or(bytes.len(), |at| {
            at + ATTRIBUTE_HEADER_BYTES + INTEGRITY_BYTES
        });
        let mut at = HEADER_BYTES;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (kind, value, next) = split_attribute(bytes, at)?;
            at = next;
            Some((kind, value))
        })
    }

    /// The value of the first attribute of this type.
    pub(crate) fn value(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes()
            .find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The value of the first attribute of this type, as text.
    pub(crate) fn text(&self, kind: u16) -> Option<&'a str> {
        str::from_utf8(self.value(kind)?).ok()
    }

    /// The value of the first attribute of this type, where it has four bytes.
    pub(crate) fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.value(kind)?.try_into().ok()?))
    }

    /// The address in the first attribute of this type, which is one of the XOR- ones.
    pub(crate) fn address(&self, kind: u16) -> Option<SocketAddr> {
        xored_address(self.value(kind)?, self.transaction)
    }

    /// The addresses in all attributes of this type; `None` where one is no address.
    pub(crate) fn addresses(&self, kind: u16) -> Option<Vec<SocketAddr>> {
        self.attributes()
            .filter(|(found, _)| *found == kind)
            .map(|(_, value)| xored_address(value, self.transaction))
            .collect()
    }

    /// Attributes that the relay would have to understand, and does not; the first few.
    pub(crate) fn not_understood(&self) -> Vec<u16> {
        self.attributes()
            .map(|(kind, _)| kind)
            .filter(|kind| *kind < FIRST_OPTIONAL && !attribute::UNDERSTOOD.contains(kind))
            .take(MAX_UNKNOWN_NAMED)
            .collect()
    }

    pub(crate) fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Whether whoever made this message knew `key`.
    pub(crate) fn integrity_holds(&self, key: &[u8]) -> bool {
        let (Some(at), Some(code)) = (self.integrity_at, self.value(attribute::MESSAGE_INTEGRITY))
        else {
            return false;
        };
        integrity(&self.bytes[..at], key)
            .verify_slice(code) // In constant time.
            .is_ok()
    }
}

/// Splits the two bits of the class out of the type (RFC 8489 §5).
fn class_and_method(kind: u16) -> (Class, Method) {
    let class = match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    };
    let number = (kind & 0x000F) | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2;
    (class, Method::of(number))
}

/// The attribute at `at`: its type, its value, and where the next one begins.
fn split_attribute(bytes: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let (&[k0, k1, l0, l1], rest) = bytes.get(at..)?.split_first_chunk()?;
    let n_bytes = usize::from(u16::from_be_bytes([l0, l1]));
    let value = rest.get(..n_bytes)?;
    let next = at + ATTRIBUTE_HEADER_BYTES + n_bytes.next_multiple_of(4);
    (next <= bytes.len()).then_some((u16::from_be_bytes([k0, k1]), value, next))
}

/// An HMAC-SHA1 over a message up to its integrity, with the length that it has with it.
fn integrity(before: &[u8], key: &[u8]) -> Hmac<Sha1> {
    let with_integrity = before.len() - HEADER_BYTES + ATTRIBUTE_HEADER_BYTES + INTEGRITY_BYTES;
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(&before[..2]);
    mac.update(&length_field(with_integrity));
    mac.update(&before[4..]);
    mac
}

/// The fingerprint of a message that ends with it; `before` is all that stands in front of it.
fn fingerprint(before: &[u8]) -> u32 {
    const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let with_fingerprint = before.len() - HEADER_BYTES + ATTRIBUTE_HEADER_BYTES + 4;
    let mut digest = CRC.digest();
    digest.update(&before[..2]);
    digest.update(&length_field(with_fingerprint));
    digest.update(&before[4..]);
    digest.finalize() ^ FINGERPRINT_XOR
}

fn length_field(n_bytes: usize) -> [u8; 2] {
    u16::try_from(n_bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// Reads an address that is xored with the cookie and the transaction (RFC 8489 §14.2).
fn xored_address(value: &[u8], transaction: TransactionId) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], ip) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([p0, p1]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match family {
        1 => {
            let bits = u32::from_be_bytes(ip.try_into().ok()?);
            IpAddr::V4(Ipv4Addr::from_bits(bits ^ MAGIC_COOKIE))
        }
        2 => {
            let bits = u128::from_be_bytes(ip.try_into().ok()?);
            IpAddr::V6(Ipv6Addr::from_bits(bits ^ ipv6_mask(transaction)))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn ipv6_mask(transaction: TransactionId) -> u128 {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction.0);
    u128::from_be_bytes(mask)
}

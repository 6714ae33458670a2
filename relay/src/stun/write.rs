//! Owns the bytes of STUN messages that are sent.

use std::net::{IpAddr, SocketAddr};

use hmac::Mac;

use super::{
    ATTRIBUTE_HEADER_BYTES, Class, HEADER_BYTES, MAGIC_COOKIE, Method, TransactionId, attribute,
    integrity, ipv6_mask, length_field,
};

/// A message in the making: whole after every step.
#[derive(Debug)]
pub(crate) struct Draft {
    bytes: Vec<u8>,
    transaction: TransactionId,
}

impl Draft {
    pub(crate) fn new(class: Class, method: Method, transaction: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 64);
        bytes.extend(kind_of(class, method).to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend(transaction.0);
        Self { bytes, transaction }
    }

    /// Adds an attribute; its value is at most what a datagram holds.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend(length_field(value.len()));
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let n_bytes = length_field(self.bytes.len() - HEADER_BYTES);
        self.bytes[2..4].copy_from_slice(&n_bytes);
        self
    }

    /// Adds one of the XOR- addresses.
    pub(crate) fn with_address(self, kind: u16, address: SocketAddr) -> Self {
        let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
        let mut value = Vec::with_capacity(20);
        match address.ip() {
            IpAddr::V4(ip) => {
                value.extend([0, 1]);
                value.extend(port.to_be_bytes());
                value.extend((ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes());
            }
            IpAddr::V6(ip) => {
                value.extend([0, 2]);
                value.extend(port.to_be_bytes());
                value.extend((ip.to_bits() ^ ipv6_mask(self.transaction)).to_be_bytes());
            }
        }
        self.with(kind, &value)
    }

    /// Adds an error of three digits with a word for people.
    pub(crate) fn with_error(self, code: u16, reason: &str) -> Self {
        let [class, number] = [code / 100, code % 100].map(|digits| digits as u8);
        let mut value = vec![0, 0, class, number];
        value.extend(reason.as_bytes());
        self.with(attribute::ERROR_CODE, &value)
    }

    /// Adds the integrity by `key` over all before it.
    pub(crate) fn signed(self, key: &[u8]) -> Vec<u8> {
        let code = integrity(&self.bytes, key).finalize().into_bytes();
        self.with(attribute::MESSAGE_INTEGRITY, &code).bytes
    }

    /// The message without integrity.
    pub(crate) fn unsigned(self) -> Vec<u8> {
        self.bytes
    }
}

/// A packet for a channel (RFC 8656 §12.4), which over UDP needs no padding.
pub(crate) fn channel_data(channel: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ATTRIBUTE_HEADER_BYTES + data.len());
    bytes.extend(channel.to_be_bytes());
    bytes.extend(length_field(data.len()));
    bytes.extend(data);
    bytes
}

fn kind_of(class: Class, method: Method) -> u16 {
    let number = method.number();
    let class = match class {
        Class::Request => 0x0000,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    class | (number & 0x000F) | (number & 0x0070) << 1 | (number & 0x0F80) << 2
}

//! Names of peers, tasks and models, checked when they are made.

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// What a libp2p peer id of an Ed25519 key starts with: identity multihash of 36 bytes that are a
/// protobuf `PublicKey{Type = Ed25519, Data = 32 bytes}` (libp2p/specs peer-ids).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Why a text or some bytes name nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not base58 of an Ed25519 peer id.
    #[error("not the peer id of an Ed25519 key")]
    NotAPeerId,
    /// The 32 bytes are no point of the curve.
    #[error("the key of this peer id is not a valid Ed25519 point")]
    NotAPoint,
    /// Not the hexadecimal digits expected.
    #[error("not {expected} hexadecimal digits")]
    NotHex {
        /// digits that would have been right
        expected: usize,
    },
}

/// A peer: the Ed25519 public key it signs with, which is also its libp2p peer id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// The peer with this public key.
    ///
    /// # Errors
    /// [`IdError::NotAPoint`] where no signature could ever verify.
    pub fn from_public_key(bytes: [u8; 32]) -> Result<Self, IdError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| IdError::NotAPoint)?;
        if key.is_weak() {
            return Err(IdError::NotAPoint);
        }
        Ok(Self(bytes))
    }

    /// The peer named by the bytes of a libp2p peer id (a multihash).
    ///
    /// # Errors
    /// [`IdError`] where the id is not that of an Ed25519 key.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        let key = bytes
            .strip_prefix(&PEER_ID_PREFIX)
            .ok_or(IdError::NotAPeerId)?;
        Self::from_public_key(key.try_into().map_err(|_| IdError::NotAPeerId)?)
    }

    /// The bytes of the libp2p peer id.
    #[must_use]
    pub fn to_peer_id_bytes(self) -> Vec<u8> {
        [PEER_ID_PREFIX.as_slice(), &self.0].concat()
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The last eight characters of the text form, for logs and tables: all ids start alike.
    #[must_use]
    pub fn fmt_short(self) -> String {
        let text = self.to_string();
        text[text.len() - 8..].to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_peer_id_bytes()).into_string())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.fmt_short())
    }
}

impl FromStr for NodeId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        // 38 bytes are 52 characters of base58; longer input is not decoded (the cost is quadratic).
        if text.len() > 64 {
            return Err(IdError::NotAPeerId);
        }
        let bytes = bs58::decode(text)
            .into_vec()
            .map_err(|_| IdError::NotAPeerId)?;
        Self::from_peer_id_bytes(&bytes)
    }
}

/// One prompt from its first sending to its last token, across all providers that tried it.
/// Drawn at random by the asker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub [u8; 16]);

/// A model: the SHA-256 of its GGUF file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(pub [u8; 32]);

/// Text form of ids that are plain bytes: lower-case hexadecimal.
macro_rules! hex_id {
    ($name:ident, $bytes:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    concat!(stringify!($name), "({})"),
                    &self.to_string()[..8]
                )
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let wrong = IdError::NotHex {
                    expected: 2 * $bytes,
                };
                let digits = text.as_bytes();
                if digits.len() != 2 * $bytes {
                    return Err(wrong);
                }
                let mut bytes = [0; $bytes];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte =
                        hex_digit(pair[0]).ok_or(wrong)? << 4 | hex_digit(pair[1]).ok_or(wrong)?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

hex_id!(TaskId, 16);
hex_id!(ModelId, 32);

fn hex_digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// In JSON every id is its text form.
macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(NodeId, TaskId, ModelId);

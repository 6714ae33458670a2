//! The signed JSON object that every message is.
//!
//! The signature is Ed25519 over a domain line and the RFC 8785 canonical form of the object
//! without its `signature` member, so that any JSON library in any language can check it, and a
//! reader keeps verifying messages whose newer fields it does not know. Numbers are integers below
//! 2^53 only.

use crate::id::NodeId;
use crate::limits::{MAX_CAPABILITY_LIFE, MAX_FRAME_BYTES, MAX_SAFE_INTEGER};
use crate::time::Millis;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// More bytes than any honest message has.
    #[error("message of {got_bytes} bytes, at most {max_bytes} are allowed")]
    TooLong {
        /// bytes received
        got_bytes: usize,
        /// [`MAX_FRAME_BYTES`]
        max_bytes: usize,
    },
    /// Not a JSON object of the expected members.
    #[error("malformed message: {0}")]
    Malformed(#[source] serde_json::Error),
    /// Well-formed JSON that is not an object.
    #[error("malformed message: not a JSON object")]
    NotAnObject,
    /// A number that JSON readers do not agree on.
    #[error("malformed message: a number that is not an integer below 2^53")]
    UnsafeNumber,
    /// No `signature` or no `sender_id`.
    #[error("unsigned message: member {member:?} is missing")]
    Unsigned {
        /// the member that is missing
        member: &'static str,
    },
    /// The signature is not the sender's over this content.
    #[error("the signature does not match the sender and the content")]
    WrongSignature,
    /// A record that holds for no time, or for longer than any may.
    #[error(
        "a record that holds for {life}, at least 1 ms and at most {MAX_CAPABILITY_LIFE} are allowed"
    )]
    Lifetime {
        /// between its signing and its end
        life: Millis,
    },
    /// A field holds more than its limit allows.
    #[error("field {field} is over its limit: {got} of at most {max}")]
    OverLimit {
        /// name of the field
        field: &'static str,
        /// count or bytes received
        got: usize,
        /// the limit
        max: usize,
    },
}

/// The signed bytes of `body`: its members, `sender_id` and `signature`, in canonical order.
///
/// # Panics
/// If `body` is not an object of strings, safe integers, lists and objects: a bug of ours.
pub(crate) fn seal<T: Serialize>(domain: &str, body: &T, key: &SigningKey) -> Vec<u8> {
    let Ok(Value::Object(mut object)) = serde_json::to_value(body) else {
        unreachable!("every message type serializes to an object")
    };
    let sender = NodeId::from_public_key(key.verifying_key().to_bytes())
        .expect("a signing key's public half is a point of the curve");
    object.insert("sender_id".into(), Value::String(sender.to_string()));
    let signature = key.sign(&signed_bytes(domain, &object));
    object.insert(
        "signature".into(),
        Value::String(BASE64.encode(signature.to_bytes())),
    );
    canonical(&Value::Object(object))
}

/// The sender and the body of a sealed message.
///
/// # Errors
/// [`OpenError`], the first of: too long, malformed, unsigned, wrongly signed.
pub(crate) fn open<T: DeserializeOwned>(
    domain: &str,
    bytes: &[u8],
) -> Result<(NodeId, T), OpenError> {
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(OpenError::TooLong {
            got_bytes: bytes.len(),
            max_bytes: MAX_FRAME_BYTES,
        });
    }
    let Value::Object(mut object) = serde_json::from_slice(bytes).map_err(OpenError::Malformed)?
    else {
        return Err(OpenError::NotAnObject);
    };
    let signature = text_member(object.remove("signature"), "signature")?;
    let sender: NodeId = text_member(object.get("sender_id").cloned(), "sender_id")?
        .parse()
        .map_err(|_| OpenError::WrongSignature)?;
    if !object.values().all(numbers_are_safe) {
        return Err(OpenError::UnsafeNumber);
    }
    let signature: [u8; 64] = BASE64
        .decode(signature)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(OpenError::WrongSignature)?;
    VerifyingKey::from_bytes(sender.public_key())
        .and_then(|key| {
            key.verify_strict(
                &signed_bytes(domain, &object),
                &Signature::from_bytes(&signature),
            )
        })
        .map_err(|_| OpenError::WrongSignature)?;
    object.remove("sender_id");
    let body = serde_json::from_value(Value::Object(object)).map_err(OpenError::Malformed)?;
    Ok((sender, body))
}

/// An error where `got` exceeds `max`.
pub(crate) fn within(field: &'static str, got: usize, max: usize) -> Result<(), OpenError> {
    if got > max {
        Err(OpenError::OverLimit { field, got, max })
    } else {
        Ok(())
    }
}

fn text_member(value: Option<Value>, member: &'static str) -> Result<String, OpenError> {
    match value {
        Some(Value::String(text)) => Ok(text),
        _ => Err(OpenError::Unsigned { member }),
    }
}

fn numbers_are_safe(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_u64().is_some_and(|n| n <= MAX_SAFE_INTEGER),
        Value::Array(items) => items.iter().all(numbers_are_safe),
        Value::Object(members) => members.values().all(numbers_are_safe),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

fn signed_bytes(domain: &str, object: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = domain.as_bytes().to_vec();
    bytes.push(b'\n');
    write_object(object, &mut bytes);
    bytes
}

fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_canonical(value, &mut bytes);
    bytes
}

/// RFC 8785 for the values we allow: members sorted by their UTF-16 code units, no white space,
/// integers in decimal, strings with the shortest escapes (which are serde_json's).
fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => write_object(members, out),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.extend_from_slice(value.to_string().as_bytes());
        }
    }
}

fn write_object(members: &Map<String, Value>, out: &mut Vec<u8>) {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.push(b'{');
    for (position, (name, value)) in sorted.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(Value::String(name.clone()).to_string().as_bytes());
        out.push(b':');
        write_canonical(value, out);
    }
    out.push(b'}');
}

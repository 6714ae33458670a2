//! What a relay answers on [`TURN_CREDENTIALS_STREAM`](crate::TURN_CREDENTIALS_STREAM): how its
//! TURN server is used, by whoever is connected to it, for a short while.
//!
//! JSON with the names of a browser's `RTCIceServer`, unsigned: the stream is the relay's own.

use crate::limits::{MAX_TURN_CREDENTIALS_BYTES, MAX_TURN_URLS};
use crate::signed::{OpenError, within};
use serde::{Deserialize, Serialize};

/// An entry of `RTCConfiguration.iceServers`, and how long it is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnCredentials {
    /// `turn:` or `turns:` URLs of one server
    pub urls: Vec<String>,
    /// the user name
    pub username: String,
    /// the password
    pub credential: String,
    /// seconds; for so long they open allocations
    pub ttl_secs: u64,
}

impl TurnCredentials {
    /// The bytes that go over the wire.
    ///
    /// # Panics
    /// Never: the fields are texts and a number.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and a number have a JSON form")
    }

    /// The credentials in `bytes`.
    ///
    /// # Errors
    /// [`OpenError`] where they are too long, malformed or over a limit.
    pub fn open(bytes: &[u8]) -> Result<Self, OpenError> {
        if bytes.len() > MAX_TURN_CREDENTIALS_BYTES {
            return Err(OpenError::TooLong {
                got_bytes: bytes.len(),
                max_bytes: MAX_TURN_CREDENTIALS_BYTES,
            });
        }
        let credentials: Self = serde_json::from_slice(bytes).map_err(OpenError::Malformed)?;
        within("urls", credentials.urls.len(), MAX_TURN_URLS)?;
        Ok(credentials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_what_a_browser_takes() {
        let credentials = TurnCredentials {
            urls: vec!["turn:192.0.2.1:3478?transport=udp".to_owned()],
            username: "1800000000:12D3KooW".to_owned(),
            credential: "c2VjcmV0".to_owned(),
            ttl_secs: 600,
        };
        let bytes = credentials.to_bytes();
        let text = r#"{"urls":["turn:192.0.2.1:3478?transport=udp"],"username":"1800000000:12D3KooW","credential":"c2VjcmV0","ttlSecs":600}"#;
        assert_eq!(str::from_utf8(&bytes), Ok(text));
        assert_eq!(TurnCredentials::open(&bytes).unwrap(), credentials);
    }

    #[test]
    fn too_much_is_refused() {
        let long = vec![b' '; MAX_TURN_CREDENTIALS_BYTES + 1];
        assert!(matches!(
            TurnCredentials::open(&long),
            Err(OpenError::TooLong { .. })
        ));
        let many = TurnCredentials {
            urls: vec!["turn:x".to_owned(); MAX_TURN_URLS + 1],
            username: String::new(),
            credential: String::new(),
            ttl_secs: 1,
        };
        assert!(matches!(
            TurnCredentials::open(&many.to_bytes()),
            Err(OpenError::OverLimit { field: "urls", .. })
        ));
        for bytes in [&b""[..], b"{}", b"[]", b"\xff"] {
            assert!(matches!(
                TurnCredentials::open(bytes),
                Err(OpenError::Malformed(_))
            ));
        }
    }
}

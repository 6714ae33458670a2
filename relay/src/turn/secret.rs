//! Owns what proves things to the relay: nonces, which it need not remember, and the passwords of
//! credentials that run out by themselves.
//!
//! Both are HMACs by one secret of this process, so that a flood costs no memory, and a restart
//! ends every credential: clients ask for others.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64_URL};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;

use crate::limits::{CREDENTIAL_LIFETIME, NONCE_LIFETIME};

/// What clients mix into their key; any word, as long as it stays.
pub(super) const REALM: &str = "thrum";

/// bytes; the longest user name that the relay hands out, with room: digits, a colon, a peer id.
const MAX_USERNAME_BYTES: usize = 96;

/// bytes of an HMAC that stand in a nonce: 96 bits cannot be guessed in ten minutes.
const NONCE_TAG_BYTES: usize = 12;

/// Signs nonces and credentials.
#[derive(Clone)]
pub(crate) struct Secret([u8; 32]);

/// Who is known by long-term credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    /// When the relay made it.
    expires_unix_secs: u64,
    /// MD5 of name, realm and password (RFC 8489 §9.2.2), which signs messages.
    pub(super) key: [u8; 16],
}

impl User {
    /// The peer id that the credentials were handed to.
    pub(super) fn peer(&self) -> &str {
        self.name.split_once(':').map_or("", |(_, peer)| peer)
    }

    pub(super) fn has_expired(&self, unix_secs: u64) -> bool {
        unix_secs >= self.expires_unix_secs
    }
}

/// A user name and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Secret {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Credentials for this peer that open allocations for [`CREDENTIAL_LIFETIME`].
    pub(crate) fn issue(&self, peer: &str, unix_secs: u64) -> Credentials {
        let expires = unix_secs.saturating_add(CREDENTIAL_LIFETIME.as_secs());
        let username = format!("{expires}:{peer}");
        let password = self.password_of(&username);
        Credentials { username, password }
    }

    /// The user of this name, were its sender to know the password; `None`: no name of ours.
    pub(super) fn user(&self, name: &str) -> Option<User> {
        if name.len() > MAX_USERNAME_BYTES {
            return None;
        }
        let (expires, _) = name.split_once(':')?;
        let password = self.password_of(name);
        let key = Md5::digest(format!("{name}:{REALM}:{password}"));
        Some(User {
            name: name.to_owned(),
            expires_unix_secs: expires.parse().ok()?,
            key: key.into(),
        })
    }

    /// A nonce for this address, good for [`NONCE_LIFETIME`].
    pub(super) fn nonce(&self, address: SocketAddr, unix_secs: u64) -> String {
        let minute = u32::try_from(unix_secs / 60).unwrap_or(u32::MAX);
        let mut nonce = minute.to_be_bytes().to_vec();
        let tag = self.nonce_mac(minute, address).finalize().into_bytes();
        nonce.extend(&tag[..NONCE_TAG_BYTES]);
        BASE64_URL.encode(nonce)
    }

    /// Whether the relay made this nonce for this address, and lately.
    pub(super) fn nonce_holds(&self, nonce: &[u8], address: SocketAddr, unix_secs: u64) -> bool {
        let mut bytes = [0; 4 + NONCE_TAG_BYTES];
        if BASE64_URL.decode_slice(nonce, &mut bytes) != Ok(bytes.len()) {
            return false;
        }
        let [m0, m1, m2, m3, tag @ ..] = bytes;
        let minute = u32::from_be_bytes([m0, m1, m2, m3]);
        let age_minutes = (unix_secs / 60).checked_sub(u64::from(minute));
        age_minutes.is_some_and(|age| age * 60 < NONCE_LIFETIME.as_secs())
            && self
                .nonce_mac(minute, address)
                .verify_truncated_left(&tag)
                .is_ok()
    }

    fn nonce_mac(&self, minute: u32, address: SocketAddr) -> Hmac<Sha1> {
        let mut mac = self.mac();
        mac.update(b"nonce");
        mac.update(&minute.to_be_bytes());
        mac.update(address.to_string().as_bytes());
        mac
    }

    fn password_of(&self, username: &str) -> String {
        let mut mac = self.mac();
        mac.update(b"password");
        mac.update(username.as_bytes());
        BASE64.encode(mac.finalize().into_bytes())
    }

    fn mac(&self) -> Hmac<Sha1> {
        Hmac::new_from_slice(&self.0).expect("HMAC takes a key of any length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_800_000_000;

    #[test]
    fn a_nonce_is_good_for_its_address_and_its_time() {
        let secret = Secret::new([1; 32]);
        let home = "192.0.2.1:1".parse().unwrap();
        let nonce = secret.nonce(home, NOON);
        let holds =
            |address: &str, at| secret.nonce_holds(nonce.as_bytes(), address.parse().unwrap(), at);
        assert!(holds("192.0.2.1:1", NOON));
        assert!(holds("192.0.2.1:1", NOON + NONCE_LIFETIME.as_secs() - 60));
        assert!(!holds("192.0.2.1:1", NOON + NONCE_LIFETIME.as_secs() + 60));
        assert!(!holds("192.0.2.1:1", NOON - 3600), "the clock went back");
        assert!(!holds("192.0.2.1:2", NOON));
        assert!(!holds("192.0.2.2:1", NOON));
        assert!(!Secret::new([2; 32]).nonce_holds(nonce.as_bytes(), home, NOON));
        for other in [
            &b""[..],
            b"x",
            &[0xFF; 16],
            &nonce.as_bytes()[1..],
            &[b'A'; 4000],
        ] {
            assert!(!secret.nonce_holds(other, home, NOON));
        }
    }

    #[test]
    fn credentials_name_the_peer_and_their_end() {
        let secret = Secret::new([1; 32]);
        let credentials = secret.issue("12D3KooWpeer", NOON);
        let user = secret.user(&credentials.username).unwrap();
        assert_eq!(user.peer(), "12D3KooWpeer");
        assert!(!user.has_expired(NOON + CREDENTIAL_LIFETIME.as_secs() - 1));
        assert!(user.has_expired(NOON + CREDENTIAL_LIFETIME.as_secs()));
        let other = Secret::new([2; 32]).issue("12D3KooWpeer", NOON);
        assert_ne!(other.password, credentials.password);
        for name in ["", ":", "x:peer", "-1:peer", &"9".repeat(5000)] {
            assert_eq!(secret.user(name), None, "{name:.20}");
        }
    }
}

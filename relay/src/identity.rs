//! Owns the two secrets that outlive the process: the Ed25519 key, which is the relay's peer id,
//! and the webrtc-direct certificate, whose hash stands in the relay's addresses.
//!
//! Invariant: an existing file is never replaced. One that does not hold is an error that names
//! it, since a silent new identity would strand everyone who knows the old one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use libp2p::identity::{KeyType, Keypair};
use libp2p_webrtc::tokio::Certificate;
use sha2::{Digest, Sha256};

use crate::small_file;

/// Begins a key file; the rest is base64 of libp2p's private key encoding.
const KEY_HEADER: &str = "thrum-relay-key-1 ";

/// Begins a certificate file; then the SHA-256 of the rest in base64. The PEM reader of webrtc-rs
/// panics on some damage, so it is never shown a file that is not whole.
const CERTIFICATE_HEADER: &str = "thrum-relay-certificate-1 ";

/// What the relay is known by.
pub(crate) struct Identity {
    pub(crate) keypair: Keypair,
    pub(crate) certificate: Certificate,
}

/// Why a secret could not be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file cannot be read, made or written.
    #[error("cannot use the secret file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was read, and is not what it should be.
    #[error(
        "the secret file {} does not hold {expected}; restore it from a copy, or move it away to \
         have a new one made",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
}

/// Reads the key at `key_path` and the certificate beside it, making each that is missing.
pub(crate) fn load_or_make(key_path: &Path) -> Result<Identity, IdentityError> {
    let key_text = read_or_make(key_path, || {
        let keypair = Keypair::generate_ed25519();
        let encoded = keypair
            .to_protobuf_encoding()
            .expect("an Ed25519 key has an encoding: the feature is on");
        format!("{KEY_HEADER}{}\n", BASE64.encode(encoded))
    })?;
    let keypair = keypair_from_text(&key_text).ok_or_else(|| IdentityError::Corrupt {
        path: key_path.to_owned(),
        expected: "an Ed25519 key",
    })?;

    let certificate_path = key_path.with_extension("certificate");
    let certificate_text = read_or_make(&certificate_path, || {
        let certificate = Certificate::generate(&mut rand::rng())
            .expect("a certificate of default parameters can be made");
        let pem = certificate.serialize_pem();
        format!("{CERTIFICATE_HEADER}{}\n{pem}", checksum(&pem))
    })?;
    let certificate = certificate_from_text(&certificate_text).ok_or(IdentityError::Corrupt {
        path: certificate_path,
        expected: "a webrtc-direct certificate",
    })?;
    Ok(Identity {
        keypair,
        certificate,
    })
}

fn keypair_from_text(text: &str) -> Option<Keypair> {
    let encoded = BASE64
        .decode(text.strip_prefix(KEY_HEADER)?.trim_end())
        .ok()?;
    let keypair = Keypair::from_protobuf_encoding(&encoded).ok()?;
    (keypair.key_type() == KeyType::Ed25519).then_some(keypair)
}

fn certificate_from_text(text: &str) -> Option<Certificate> {
    let (sum, pem) = text.strip_prefix(CERTIFICATE_HEADER)?.split_once('\n')?;
    if sum != checksum(pem) {
        return None;
    }
    Certificate::from_pem(pem).ok()
}

fn checksum(text: &str) -> String {
    BASE64.encode(Sha256::digest(text.as_bytes()))
}

fn read_or_make(path: &Path, make: impl FnOnce() -> String) -> Result<String, IdentityError> {
    let with_path = |source| IdentityError::Io {
        path: path.to_owned(),
        source,
    };
    match small_file::read(path) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(IdentityError::Corrupt {
                path: path.to_owned(),
                expected: "text",
            });
        }
        Err(error) => return Err(with_path(error)),
    }
    write_new(path, &make()).map_err(with_path)?;
    small_file::read(path).map_err(with_path)
}

/// Writes a file that only its owner may read, whole or not at all. When another process made it
/// first, that one stays.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    // A named temporary file has mode 0600 from the moment it exists.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(refused) => Err(refused.error),
    }
}

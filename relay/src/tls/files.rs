//! Owns the two files of a certificate: what they must hold, and what is told when they do not.

use std::io;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};

use crate::small_file;

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the TLS file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file of `tls_cert` holds something else.
    #[error("{} does not hold a certificate chain in PEM: {reason}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of `tls_key` holds something else.
    #[error("{} does not hold a private key in PEM: {reason}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Both hold what they should, of different pairs.
    #[error(
        "the key in {} is not that of the certificate in {}",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The library has no ciphers.
    #[error("TLS is not to be had: {0}")]
    Unsupported(Error),
}

/// Where a certificate and its key lie.
#[derive(Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What they held; nothing: they could not be read.
#[derive(PartialEq, Eq)]
pub(super) struct Contents(Option<(String, String)>);

impl Contents {
    pub(super) const fn unreadable() -> Self {
        Self(None)
    }

    pub(super) const fn is_unreadable(&self) -> bool {
        self.0.is_none()
    }
}

impl Files {
    pub(super) fn new(certificate: &Path, key: &Path) -> Self {
        Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }
    }

    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        let read = |path: &Path| {
            small_file::read(path).map_err(|source| TlsError::Unreadable {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Contents(Some((read(&self.certificate)?, read(&self.key)?))))
    }

    /// The certificate with its key, checked to belong together.
    pub(super) fn certified(&self, contents: &Contents) -> Result<CertifiedKey, TlsError> {
        let (certificate, key) = contents.0.as_ref().map_or(("", ""), |(certificate, key)| {
            (certificate.as_str(), key.as_str())
        });
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|error| self.no_certificate(error))?;
        if chain.is_empty() {
            return Err(self.no_certificate("there is none in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let key = key.map_err(|error| self.no_key(error))?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
        pair.map_err(|error| {
            if let Error::InconsistentKeys(InconsistentKeys::KeyMismatch) = error {
                let (certificate, key) = (self.certificate.clone(), self.key.clone());
                TlsError::Mismatch { certificate, key }
            } else if let Error::InvalidCertificate(reason) = error {
                self.no_certificate(format!("{reason:?}"))
            } else {
                self.no_key(error)
            }
        })
    }

    fn no_certificate(&self, reason: impl ToString) -> TlsError {
        TlsError::NoCertificate {
            path: self.certificate.clone(),
            reason: reason.to_string(),
        }
    }

    fn no_key(&self, reason: impl ToString) -> TlsError {
        TlsError::NoKey {
            path: self.key.clone(),
            reason: reason.to_string(),
        }
    }
}

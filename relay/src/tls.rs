//! Owns the certificate that HTTPS and secure WebSockets show: read from two files, and replaced
//! while the relay runs, when they change or somebody says that they did.
//!
//! Invariant: what is shown has its key. Files that do not hold leave what is shown as it is.

mod files;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::limits;
use files::{Contents, Files};

pub use files::TlsError;

/// Has the relay read its certificate again; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Reloader {
    asked: Arc<Notify>,
}

impl Reloader {
    /// Asks for it. The relay does it soon, and logs what came of it.
    pub fn reload(&self) {
        self.asked.notify_one();
    }
}

/// What connections are shown from now on. Those that stand keep what they were shown.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    fn replace(&self, certificate: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

/// The certificate of the relay, and where it comes from.
pub(crate) struct Certificate {
    files: Files,
    /// what was read last, whether it held or not
    seen: Contents,
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
}

/// What came of reading the files again.
#[derive(Debug)]
enum Looked {
    Replaced,
    Same,
}

impl Certificate {
    /// Reads the files.
    fn read(files: Files) -> Result<Self, TlsError> {
        let seen = files.read()?;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(files.certified(&seen)?))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unsupported)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            files,
            seen,
            shown,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Takes TLS connections with whatever certificate is shown at that moment.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Reads the files again, and shows what they hold. An error is told once for each content.
    fn look(&mut self) -> Result<Looked, TlsError> {
        let now = match self.files.read() {
            Ok(now) => now,
            Err(error) => {
                let known = self.seen.is_unreadable();
                self.seen = Contents::unreadable();
                return if known { Ok(Looked::Same) } else { Err(error) };
            }
        };
        if now == self.seen {
            return Ok(Looked::Same);
        }
        let certified = self.files.certified(&now);
        self.seen = now;
        self.shown.replace(certified?);
        Ok(Looked::Replaced)
    }

    /// Keeps what is shown up to date, until `stop` says so.
    pub(crate) async fn keep(mut self, reloader: Reloader, stop: watch::Receiver<bool>) {
        let mut stopped = std::pin::pin!(crate::stopped(stop));
        let mut period = interval(limits::CERTIFICATE_PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                () = &mut stopped => return,
                _ = period.tick() => false,
                () = reloader.asked.notified() => true,
            };
            let looking = tokio::task::spawn_blocking(move || {
                let looked = self.look();
                (self, looked)
            });
            let Ok((looked_at, looked)) = looking.await else {
                tracing::error!("the TLS certificate cannot be read again");
                return;
            };
            self = looked_at;
            match looked {
                Ok(Looked::Replaced) => tracing::info!("the TLS certificate was replaced"),
                Ok(Looked::Same) if asked => tracing::info!("the TLS certificate is the same"),
                Ok(Looked::Same) => {}
                Err(error) => tracing::error!(%error, "the TLS certificate in use stays"),
            }
        }
    }
}

/// Reads the files that the settings name; `None`: there is no TLS.
pub(crate) fn from_settings(
    config: &crate::config::Config,
) -> Result<Option<Certificate>, TlsError> {
    let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    Certificate::read(Files::new(certificate, key)).map(Some)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
    use tempfile::TempDir;

    use super::*;

    fn made() -> Made {
        generate_simple_self_signed(["localhost".to_owned()]).unwrap()
    }

    fn put(directory: &Path, made: &Made) {
        std::fs::write(directory.join("certificate"), made.cert.pem()).unwrap();
        std::fs::write(directory.join("key"), made.key_pair.serialize_pem()).unwrap();
    }

    fn kept() -> (TempDir, Certificate, Made) {
        let directory = tempfile::tempdir().unwrap();
        let first = made();
        put(directory.path(), &first);
        let place = |name| directory.path().join(name);
        let files = Files::new(&place("certificate"), &place("key"));
        let certificate = Certificate::read(files).unwrap();
        (directory, certificate, first)
    }

    fn shows(certificate: &Certificate, made: &Made) -> bool {
        let shown = certificate.shown.0.read().unwrap();
        shown.cert == [made.cert.der().clone()]
    }

    #[test]
    fn new_files_are_shown_once_they_hold_together() {
        let (directory, mut certificate, first) = kept();
        assert!(matches!(certificate.look(), Ok(Looked::Same)));
        let second = made();
        std::fs::write(directory.path().join("certificate"), second.cert.pem()).unwrap();
        let half = certificate.look().unwrap_err();
        assert!(matches!(half, TlsError::Mismatch { .. }), "{half}");
        assert!(shows(&certificate, &first));

        put(directory.path(), &second);
        assert!(matches!(certificate.look(), Ok(Looked::Replaced)));
        assert!(shows(&certificate, &second));
    }

    #[test]
    fn bad_files_are_told_once_and_what_is_shown_stays() {
        let (directory, mut certificate, first) = kept();
        let path = directory.path().join("certificate");
        for bad in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA"] {
            std::fs::write(&path, bad).unwrap();
            let error = certificate.look().unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
            assert!(matches!(certificate.look(), Ok(Looked::Same)));
            assert!(shows(&certificate, &first));
        }
        std::fs::remove_file(&path).unwrap();
        let error = certificate.look().unwrap_err();
        assert!(matches!(error, TlsError::Unreadable { .. }), "{error}");
        assert!(matches!(certificate.look(), Ok(Looked::Same)));
        put(directory.path(), &first);
        assert!(matches!(certificate.look(), Ok(Looked::Replaced)));
        assert!(shows(&certificate, &first));
    }
}

//! TLS from files: what is shown to pages and peers, and what happens when the files change.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::AsyncReadExt as _;
use libp2p::StreamProtocol;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use thrum_protocol::TURN_CREDENTIALS_STREAM;
use thrum_relay::Relay;
use thrum_relay::config::Config;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::Client;
use crate::command;
use crate::rig::{self, HANG, Reply, Running, parse, request};

/// Tasks that ask without a pause.
const N_ASKING: usize = 4;

fn made() -> CertifiedKey {
    generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap()
}

fn der(pair: &CertifiedKey) -> Vec<u8> {
    pair.cert.der().to_vec()
}

fn put(site: &Path, pair: &CertifiedKey) {
    std::fs::write(site.join("chain.pem"), pair.cert.pem()).unwrap();
    std::fs::write(site.join("key.pem"), pair.key_pair.serialize_pem()).unwrap();
}

fn with_tls(site: &Path, config: Config) -> Config {
    Config {
        tls_cert: Some(site.join("chain.pem")),
        tls_key: Some(site.join("key.pem")),
        ..config
    }
}

/// Asks over HTTPS, believing these certificates only.
async fn ask(
    server: std::net::SocketAddr,
    trusted: &[&CertifiedKey],
    path: &str,
) -> io::Result<Reply> {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.cert.der().clone()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let asking = async {
        let stream = TcpStream::connect(server).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await?;
        stream
            .write_all(request("GET", path, &[]).as_bytes())
            .await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Ok(parse(&bytes))
    };
    timeout(HANG, asking).await.unwrap()
}

/// Asks until the relay shows this certificate.
async fn await_shown(server: std::net::SocketAddr, pair: &CertifiedKey) {
    let shown = async { while ask(server, &[pair], "/healthz").await.is_err() {} };
    timeout(HANG, shown)
        .await
        .expect("the certificate is shown");
}

async fn dials(relay: &Running, trusted: &CertifiedKey) -> Result<(), String> {
    let mut peer = Client::trusting(&[der(trusted)]);
    peer.dial(relay.ws()).await?;
    peer.await_ping().await;
    Ok(())
}

#[tokio::test]
async fn pages_and_peers_come_by_tls() {
    let (site, config) = rig::site();
    let pair = made();
    put(site.path(), &pair);
    let relay = rig::start(with_tls(site.path(), config)).await;
    let page = ask(relay.http, &[&pair], "/").await.unwrap();
    assert_eq!((page.status, page.text().as_str()), (200, rig::INDEX_HTML));

    let facts = ask(relay.http, &[&pair], "/api/relay").await.unwrap();
    let facts: serde_json::Value = serde_json::from_slice(&facts.body).unwrap();
    let address = facts["addrs"][0].as_str().unwrap();
    assert!(address.contains("/tls/ws/p2p/"), "{address}");
    assert_eq!(address, relay.ws().to_string());
    dials(&relay, &pair).await.unwrap();
    assert!(
        dials(&relay, &made()).await.is_err(),
        "another's is refused"
    );

    let mut reserving = Client::trusting(&[der(&pair)]);
    let reachable_at = reserving.reserve(relay.ws()).await.to_string();
    assert!(reachable_at.contains("/tls/ws/p2p/"), "{reachable_at}");
}

#[tokio::test]
async fn what_is_not_tls_is_let_go_and_a_half_open_one_does_not_hold_up_the_end() {
    let (site, config) = rig::site();
    put(site.path(), &made());
    let relay = rig::start(with_tls(site.path(), config)).await;
    let mut plain = TcpStream::connect(relay.http).await.unwrap();
    plain
        .write_all(request("GET", "/", &[]).as_bytes())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    timeout(HANG, plain.read_to_end(&mut bytes))
        .await
        .unwrap()
        .ok(); // A reset is an end as well.
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");

    let _half_open = TcpStream::connect(relay.http).await.unwrap();
    let ended = timeout(HANG, relay.ask_to_stop()).await.unwrap();
    ended.unwrap().unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_shown_under_load_and_open_connections_live_on() {
    let (site, config) = rig::site();
    let (first, second) = (made(), made());
    put(site.path(), &first);
    let relay = Arc::new(rig::start(with_tls(site.path(), config)).await);
    let mut old = Client::trusting(&[der(&first)]);
    old.reserve(relay.ws()).await;
    let mut control = old.swarm.behaviour().stream.new_control();
    let running = old.go_on();

    let both = Arc::new([first, second]);
    let enough = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..N_ASKING)
        .map(|_| {
            let (relay, both, enough) = (relay.clone(), both.clone(), enough.clone());
            tokio::spawn(async move {
                let mut n_answered = 0;
                while !enough.load(Ordering::Relaxed) {
                    let reply = ask(relay.http, &[&both[0], &both[1]], "/api/relay").await;
                    assert_eq!(reply.unwrap().status, 200);
                    n_answered += 1;
                }
                n_answered
            })
        })
        .collect();
    put(site.path(), &both[1]);
    relay.reloader.reload();
    await_shown(relay.http, &both[1]).await;
    dials(&relay, &both[1]).await.unwrap();
    assert!(ask(relay.http, &[&both[0]], "/healthz").await.is_err());
    let protocol = StreamProtocol::new(TURN_CREDENTIALS_STREAM);
    let mut stream = control.open_stream(relay.peer_id, protocol).await.unwrap();
    let mut answer = Vec::new();
    timeout(HANG, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(!answer.is_empty());
    let metrics = ask(relay.http, &[&both[1]], "/metrics")
        .await
        .unwrap()
        .text();
    let never_lost = "thrum_relay_reservation_requests_total{outcome=\"Accepted\"} 1\n";
    assert!(metrics.contains(never_lost), "{metrics}");
    running.abort();

    enough.store(true, Ordering::Relaxed);
    for task in asking {
        assert!(task.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn changed_files_are_noticed() {
    let (site, config) = rig::site();
    put(site.path(), &made());
    let relay = rig::start(with_tls(site.path(), config)).await;
    for _ in 0..2 {
        let next = made();
        put(site.path(), &next);
        await_shown(relay.http, &next).await;
    }
}

#[tokio::test]
async fn a_hangup_reloads_and_a_bad_file_leaves_the_old_certificate() {
    let (site, _) = rig::site();
    let (first, second) = (made(), made());
    put(site.path(), &first);
    let flags = ["--tls-cert", "chain.pem", "--tls-key", "key.pem"];
    let (mut child, greeting) = command::start(site.path(), &flags).await;
    let page = command::word_after(&greeting, "page");
    let server = page.trim_start_matches("https://").trim_end_matches('/');
    let server = server.parse().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();

    std::fs::write(site.path().join("chain.pem"), "no longer").unwrap();
    command::signal(&child, "-HUP").await;
    let told = async {
        while let Some(line) = log.next_line().await.unwrap() {
            if line.contains("the TLS certificate in use stays") {
                return line;
            }
        }
        panic!("it ended");
    };
    let told = timeout(HANG, told).await.unwrap();
    assert!(
        told.contains("chain.pem") && told.contains("ERROR"),
        "{told}"
    );
    ask(server, &[&first], "/healthz").await.unwrap();

    put(site.path(), &second);
    command::signal(&child, "-HUP").await;
    await_shown(server, &second).await;
}

#[tokio::test]
async fn files_that_do_not_hold_are_refused_at_the_start() {
    let (site, config) = rig::site();
    let (pair, other) = (made(), made());
    let config = with_tls(site.path(), config);
    let refused = async |words: &[&str]| {
        let error = Relay::bind(config.clone()).await.err().unwrap().to_string();
        for word in words {
            assert!(error.contains(word), "{word} is not in: {error}");
        }
    };
    refused(&["chain.pem", "No such file"]).await;
    put(site.path(), &pair);
    let key = site.path().join("key.pem");
    std::fs::write(&key, other.key_pair.serialize_pem()).unwrap();
    refused(&["chain.pem", "key.pem", "is not that of the certificate"]).await;
    std::fs::write(&key, pair.cert.pem()).unwrap();
    refused(&["key.pem", "private key"]).await;
    put(site.path(), &pair);
    std::fs::write(site.path().join("chain.pem"), "").unwrap();
    refused(&["chain.pem", "certificate chain"]).await;
    put(site.path(), &pair);
    rig::start(config.clone()).await;
}

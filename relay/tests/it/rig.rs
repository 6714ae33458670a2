//! A relay on free ports with its own directories, and the smallest HTTP client: one that sends
//! paths exactly as written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tempfile::TempDir;
use thrum_relay::config::Config;
use thrum_relay::{Relay, Reloader, RunError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Ends a test that would hang; nothing is measured by it.
pub(crate) const HANG: Duration = Duration::from_secs(60);

pub(crate) const INDEX_HTML: &str = "<!doctype html><title>t</title>\
    <script type=\"module\">import '/app-0123456789abcdef.js';</script><p>page</p>";

pub(crate) struct Running {
    pub(crate) peer_id: PeerId,
    pub(crate) addrs: Vec<Multiaddr>,
    pub(crate) http: SocketAddr,
    pub(crate) stun: Vec<SocketAddr>,
    pub(crate) reloader: Reloader,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), RunError>>,
}

pub(crate) async fn start(config: Config) -> Running {
    let relay = Relay::bind(config).await.unwrap();
    let (peer_id, addrs, http) = (relay.peer_id(), relay.addrs(), relay.http_addr());
    let (stun, reloader) = (relay.stun_addrs(), relay.reloader());
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(relay.run(async move {
        stopped.await.ok(); // A dropped sender stops as well.
    }));
    Running {
        peer_id,
        addrs,
        http,
        stun,
        reloader,
        stop,
        running,
    }
}

impl Running {
    pub(crate) fn ws(&self) -> Multiaddr {
        self.address(|part| matches!(part, Protocol::Ws(_)))
    }

    pub(crate) fn webrtc(&self) -> Multiaddr {
        self.address(|part| matches!(part, Protocol::WebRTCDirect))
    }

    fn address(&self, is_wanted: impl Fn(Protocol<'_>) -> bool) -> Multiaddr {
        self.addrs
            .iter()
            .find(|address| address.iter().any(&is_wanted))
            .unwrap()
            .clone()
    }

    /// Asks the relay to stop, without waiting.
    pub(crate) fn ask_to_stop(self) -> JoinHandle<Result<(), RunError>> {
        self.stop.send(()).unwrap();
        self.running
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        fetch(self.http, "GET", path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        fetch(self.http, "GET", path, headers).await
    }

    /// Asks `/metrics` until the line is there.
    pub(crate) async fn await_metric(&self, line: &str) {
        let seen = async { while !self.get("/metrics").await.text().lines().any(|l| l == line) {} };
        if tokio::time::timeout(HANG, seen).await.is_err() {
            panic!("no {line:?} in:\n{}", self.get("/metrics").await.text());
        }
    }
}

/// A page, models and a place for the key, in a directory that goes away.
pub(crate) fn site() -> (TempDir, Config) {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    put("dist/index.html", INDEX_HTML.as_bytes());
    put("dist/app-0123456789abcdef.js", b"plain");
    put("dist/app-0123456789abcdef_bg.wasm", b"\0asm");
    put("dist/app-0123456789abcdef_bg.wasm.gz", b"squeezed");
    put("dist/engine_worker.js", b"worker");
    put("dist/embed/thrum.js", b"export {};");
    put("dist/embed/thrum.d.ts", b"export {};");
    put(
        "models/index.json",
        br#"{"models":[{"file":"a.gguf"},{"file":"lost.gguf"},{"file":"../secret"}]}"#,
    );
    put("models/a.gguf", b"0123456789");
    put("models/unlisted.gguf", b"unlisted");
    put("secret", b"secret");
    let config = config_in(root.path());
    (root, config)
}

pub(crate) fn config_in(root: &Path) -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        http: any,
        ws: any,
        webrtc: any,
        stun: vec![any, any],
        page: root.join("dist"),
        models: root.join("models"),
        key: root.join("state/thrum-relay.key"),
        ..Config::default()
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) async fn fetch(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream
        .write_all(request(method, path, headers).as_bytes())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    tokio::time::timeout(HANG, stream.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    parse(&bytes)
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

pub(crate) fn parse(bytes: &[u8]) -> Reply {
    let end = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a whole head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Reply {
        status,
        headers,
        body: bytes[end + 4..].to_vec(),
    }
}

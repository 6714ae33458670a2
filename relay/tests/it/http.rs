//! What each path answers.

use thrum_relay::config::{Config, IceServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{self, fetch};

#[tokio::test]
async fn the_page_comes_with_a_policy_that_names_its_inline_script() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let page = relay.get("/").await;
    assert_eq!((page.status, page.text().as_str()), (200, rig::INDEX_HTML));
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-cache");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("script-src 'self' 'wasm-unsafe-eval' 'sha256-"),
        "{policy}"
    );
    let again = relay
        .get_with("/", &[("If-None-Match", page.header("etag"))])
        .await;
    assert_eq!((again.status, again.body.len()), (304, 0));
}

/// A browser isolates the page only where its workers' scripts say the same, whatever is cached; and
/// what other pages take from here says that they may.
#[tokio::test]
async fn the_page_and_its_workers_are_cross_origin_isolated() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let page = relay.get("/").await;
    let known = [("If-None-Match", page.header("etag"))];
    let again = relay.get_with("/", &known).await;
    let script = relay.get("/engine_worker.js").await;
    let embedded = relay.get("/embed/thrum.js").await;
    for answer in [&page, &again, &script, &embedded] {
        let opener = answer.header("cross-origin-opener-policy");
        assert_eq!(opener, "same-origin");
        let embedder = answer.header("cross-origin-embedder-policy");
        assert_eq!(embedder, "require-corp");
    }
}

#[tokio::test]
async fn assets_have_their_types_caching_and_compression() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let check = async |path: &str, content_type: &str, caching: &str| {
        let reply = relay.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), content_type, "{path}");
        assert_eq!(reply.header("cache-control"), caching, "{path}");
    };
    let forever = "public, max-age=31536000, immutable";
    check("/app-0123456789abcdef.js", "text/javascript", forever).await;
    check("/app-0123456789abcdef_bg.wasm", "application/wasm", forever).await;
    check("/engine_worker.js", "text/javascript", "no-cache").await;
    check("/embed/thrum.js", "text/javascript", "no-cache").await;
    let typescript = "application/typescript; charset=utf-8";
    check("/embed/thrum.d.ts", typescript, "no-cache").await;

    let gzip = [("Accept-Encoding", "gzip")];
    let squeezed = relay.get_with("/app-0123456789abcdef_bg.wasm", &gzip).await;
    assert_eq!(squeezed.header("content-encoding"), "gzip");
    assert_eq!(squeezed.header("content-type"), "application/wasm");
    assert_eq!(squeezed.text(), "squeezed");
}

#[tokio::test]
async fn unknown_paths_are_told_so_in_words() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    for path in [
        "/nothing",
        "/embed/nothing.js",
        "/embed",
        "/models",
        "/api",
        "/index.html/x",
    ] {
        let reply = relay.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.header("cache-control"), "no-store", "{path}");
        assert!(
            reply.text().contains("nothing at"),
            "{path}: {}",
            reply.text()
        );
    }
    assert_eq!(fetch(relay.http, "POST", "/", &[]).await.status, 405);
    assert_eq!(
        fetch(relay.http, "DELETE", "/models/a.gguf", &[])
            .await
            .status,
        405
    );
}

#[tokio::test]
async fn no_path_leads_out_of_its_directory() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/embed/../../secret",
        "/embed/%2e%2e/%2e%2e/secret",
        "/models/../secret",
        "/models/..%2fsecret",
        "/models/%2e%2e%2fsecret",
        "/models/..%5csecret",
        "/models/unlisted.gguf",
        "/models/%00",
        "//etc/passwd",
        "/models/%2fetc%2fpasswd",
    ] {
        let reply = relay.get(path).await;
        assert!(
            (400..500).contains(&reply.status),
            "{path}: {}",
            reply.status
        );
        assert!(!reply.text().contains("root:"), "{path}");
        assert_ne!(reply.text(), "secret", "{path}");
        assert_ne!(reply.text(), "unlisted", "{path}");
    }
}

#[tokio::test]
async fn relay_facts_hold_what_the_contract_names() {
    let (_site, config) = rig::site();
    let ice_servers = vec![IceServer {
        urls: vec!["turn:turn.example:3478".into()],
        username: Some("u".into()),
        credential: Some("c".into()),
    }];
    let relay = rig::start(Config {
        ice_servers,
        ..config
    })
    .await;
    let reply = relay.get("/api/relay").await;
    assert_eq!(reply.header("content-type"), "application/json");
    let facts: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let addrs: Vec<_> = relay.addrs.iter().map(ToString::to_string).collect();
    let stun: Vec<_> = relay.stun.iter().map(|at| format!("stun:{at}")).collect();
    assert_eq!(
        facts,
        serde_json::json!({
            "peerId": relay.peer_id.to_string(),
            "addrs": addrs,
            "iceServers": [
                {"urls": stun},
                {"urls": ["turn:turn.example:3478"], "username": "u", "credential": "c"}
            ],
            "federated": [],
            "protocol": "thrum/1",
            "version": thrum_relay::VERSION,
            "commit": thrum_relay::COMMIT,
        })
    );
    let peer = format!("/p2p/{}", relay.peer_id);
    assert!(
        addrs.iter().all(|address| address.ends_with(&peer)),
        "{addrs:?}"
    );
    assert!(
        addrs[0].contains("/tcp/") && addrs[0].contains("/ws/"),
        "{addrs:?}"
    );
    assert!(addrs[1].contains("/webrtc-direct/certhash/"), "{addrs:?}");
}

#[tokio::test]
async fn other_origins_may_read_what_embedding_needs_and_nothing_else() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let origin = [("Origin", "https://other.example")];
    for path in [
        "/api/relay",
        "/embed/thrum.js",
        "/models/index.json",
        "/models/a.gguf",
    ] {
        let reply = relay.get_with(path, &origin).await;
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(
            reply.header("cross-origin-resource-policy"),
            "cross-origin",
            "{path}"
        );
    }
    for path in [
        "/",
        "/engine_worker.js",
        "/healthz",
        "/readyz",
        "/metrics",
        "/nothing",
    ] {
        let reply = relay.get_with(path, &origin).await;
        assert_eq!(reply.header("access-control-allow-origin"), "", "{path}");
    }
    let ask = [
        ("Origin", "https://other.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "range"),
    ];
    let allowed = fetch(relay.http, "OPTIONS", "/models/a.gguf", &ask).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn models_are_served_whole_and_in_ranges() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let index = relay.get("/models/index.json").await;
    assert_eq!(
        (index.status, index.header("content-type")),
        (200, "application/json")
    );
    assert!(index.text().contains("a.gguf"));

    let whole = relay.get("/models/a.gguf").await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-length"), "10");
    let etag = whole.header("etag");
    assert!(etag.starts_with('"'), "{etag:?}");

    let check = async |headers: &[(&str, &str)], status: u16, range: &str, body: &str| {
        let reply = relay.get_with("/models/a.gguf", headers).await;
        assert_eq!(reply.status, status, "{headers:?}");
        assert_eq!(reply.header("content-range"), range, "{headers:?}");
        assert_eq!(reply.text(), body, "{headers:?}");
    };
    check(&[("Range", "bytes=2-4")], 206, "bytes 2-4/10", "234").await;
    check(&[("Range", "bytes=7-")], 206, "bytes 7-9/10", "789").await;
    check(&[("Range", "bytes=-3")], 206, "bytes 7-9/10", "789").await;
    check(&[("Range", "bytes=2-99")], 206, "bytes 2-9/10", "23456789").await;
    check(&[("Range", "bytes=10-")], 416, "bytes */10", "").await;
    check(&[("If-None-Match", etag)], 304, "", "").await;
    check(
        &[("Range", "bytes=2-4"), ("If-Range", etag)],
        206,
        "bytes 2-4/10",
        "234",
    )
    .await;
    let other = "\"other\"";
    check(
        &[("Range", "bytes=2-4"), ("If-Range", other)],
        200,
        "",
        "0123456789",
    )
    .await;

    let head = fetch(relay.http, "HEAD", "/models/a.gguf", &[]).await;
    assert_eq!((head.header("content-length"), head.body.len()), ("10", 0));
}

#[tokio::test]
async fn missing_models_are_explained() {
    let (site, config) = rig::site();
    let relay = rig::start(config).await;
    let check = async |path: &str, status: u16, words: &str| {
        let reply = relay.get(path).await;
        assert_eq!(reply.status, status, "{path}");
        assert!(reply.text().contains(words), "{path}: {}", reply.text());
    };
    check("/models/nothing.gguf", 404, "/models/index.json lists").await;
    check("/models/lost.gguf", 404, "its file is not on this relay").await;
    std::fs::write(site.path().join("models/index.json"), "{").unwrap();
    check("/models/a.gguf", 500, "index.json does not hold").await;
    std::fs::remove_file(site.path().join("models/index.json")).unwrap();
    check("/models/a.gguf", 404, "offers no models").await;
    check("/models/index.json", 404, "offers no models").await;
}

#[tokio::test]
async fn health_and_readiness_differ_when_the_page_is_missing() {
    let (site, config) = rig::site();
    let relay = rig::start(config).await;
    assert_eq!(relay.get("/healthz").await.status, 200);
    assert_eq!(relay.get("/readyz").await.status, 200);

    std::fs::remove_file(site.path().join("dist/index.html")).unwrap();
    assert_eq!(relay.get("/healthz").await.status, 200);
    for path in ["/readyz", "/"] {
        let reply = relay.get(path).await;
        assert_eq!(reply.status, 503, "{path}");
        assert!(
            reply.text().contains("the page is not there"),
            "{}",
            reply.text()
        );
        assert!(reply.text().contains("--page"), "{}", reply.text());
    }
}

#[tokio::test]
async fn metrics_count_requests_under_names_that_clients_cannot_invent() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    for path in ["/", "/made-up-1", "/made-up-2", "/models/made-up"] {
        relay.get(path).await;
    }
    let text = relay.get("/metrics").await.text();
    for line in [
        "thrum_relay_http_requests_total{route=\"/\",status=\"200\"} 1",
        "thrum_relay_http_requests_total{route=\"page\",status=\"404\"} 2",
        "thrum_relay_http_requests_total{route=\"/models\",status=\"404\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line:?} in:\n{text}");
    }
    let build = format!(
        "thrum_relay_build_info{{version=\"{}\"",
        thrum_relay::VERSION
    );
    assert!(text.contains(&build), "{text}");
    assert!(!text.contains("made-up"), "{text}");
}

#[tokio::test]
async fn a_download_in_flight_ends_well_when_the_relay_stops() {
    const N_BYTES: usize = 32 * 1024 * 1024;
    let (site, config) = rig::site();
    std::fs::write(site.path().join("models/a.gguf"), vec![7; N_BYTES]).unwrap();
    let relay = rig::start(config).await;
    let http = relay.http;

    let mut stream = TcpStream::connect(http).await.unwrap();
    stream
        .write_all(rig::request("GET", "/models/a.gguf", &[]).as_bytes())
        .await
        .unwrap();
    let mut bytes = vec![0; 1024];
    stream.read_exact(&mut bytes).await.unwrap();
    let stopping = relay.ask_to_stop();
    // Refused connections show that the stop has begun before the rest is read.
    while TcpStream::connect(http).await.is_ok() {}
    stream.read_to_end(&mut bytes).await.unwrap();
    let reply = rig::parse(&bytes);
    assert_eq!((reply.status, reply.body.len()), (200, N_BYTES));
    stopping.await.unwrap().unwrap();
}

//! Owns the HTTP side: which path answers what, with which headers.
//!
//! Open to every origin: `/api/relay`, `/embed/*` and `/models/*`, so that any page can embed a
//! node. Everything else is for the relay's own page and its operator.
//!
//! The page is cross-origin isolated, so that its engine may use shared memory and several threads.
//! Of the two policies that isolate, `require-corp` is the one that all browsers know; it costs the
//! page nothing, which takes from other origins only what they open to all (CORS). Workers' scripts
//! need it too, so every answer has it; a page that embeds the node is as isolated as it was.

pub(crate) mod connections;
mod content_policy;
pub(crate) mod ice;
mod models;
mod page;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HOST, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::watch;
use tower_http::cors::{Any, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::config::IceServer;
use crate::metrics::{self, HttpMetrics};
use crate::network::{Directory, Listening};

/// What the handlers know.
pub(crate) struct Site {
    pub(crate) peer_id: PeerId,
    pub(crate) announce: Vec<Multiaddr>,
    pub(crate) listening: watch::Receiver<Listening>,
    pub(crate) federated: watch::Receiver<Directory>,
    pub(crate) stun: ice::StunPlace,
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) page: PathBuf,
    pub(crate) models: PathBuf,
    pub(crate) registry: Registry,
    pub(crate) http_metrics: HttpMetrics,
}

impl Site {
    /// What peers dial, each address complete with the peer id.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        let listening = self.listening.borrow();
        let shown = listening.shown(&self.announce);
        shown
            .map(|address| address.clone().with(Protocol::P2p(self.peer_id)))
            .collect()
    }

    /// Why the relay should get no traffic yet; empty: it should.
    async fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        {
            let listening = self.listening.borrow();
            if listening.ws.is_empty() {
                reasons.push("the WebSocket listener is down".to_owned());
            }
            if listening.webrtc.is_empty() {
                reasons.push("the webrtc-direct listener is down".to_owned());
            }
        }
        if let Err(error) = page::read_index(&self.page).await {
            reasons.push(page::missing_index(&self.page, &error));
        }
        reasons
    }
}

/// What `GET /api/relay` answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RelayFacts {
    peer_id: String,
    addrs: Vec<String>,
    ice_servers: Vec<IceServer>,
    /// The relays whose peers are found here.
    federated: Vec<FederatedRelay>,
    protocol: &'static str,
    version: &'static str,
    commit: &'static str,
}

/// A relay that this one vouches for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FederatedRelay {
    peer_id: String,
    addrs: Vec<String>,
}

/// Every route of the relay.
pub(crate) fn router(site: Arc<Site>) -> Router {
    let open = Router::new()
        .route("/api/relay", get(relay_facts))
        .route("/models/{file}", get(models::serve))
        .nest_service("/embed", page::directory(&site.page.join("embed")))
        .layer(SetResponseHeaderLayer::overriding(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ))
        .layer(
            CorsLayer::new()
                .allow_origin(Any)
                .allow_methods([Method::GET, Method::HEAD])
                .allow_headers(Any)
                .expose_headers([
                    ACCEPT_RANGES,
                    CONTENT_ENCODING,
                    CONTENT_LENGTH,
                    CONTENT_RANGE,
                    ETAG,
                ]),
        );
    let own = Router::new()
        .route("/", get(page::index))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text))
        .fallback_service(page::directory(&site.page));
    own.merge(open)
        .layer(SetResponseHeaderLayer::overriding(
            X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(SetResponseHeaderLayer::overriding(
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ))
        .layer(SetResponseHeaderLayer::overriding(
            HeaderName::from_static("cross-origin-embedder-policy"),
            HeaderValue::from_static("require-corp"),
        ))
        .layer(SetResponseHeaderLayer::overriding(
            REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ))
        .layer(middleware::from_fn_with_state(
            site.http_metrics.clone(),
            count,
        ))
        .with_state(site)
}

/// A plain answer in one sentence that a person can act on.
pub(crate) fn sentence(status: StatusCode, text: impl std::fmt::Display) -> Response {
    let headers = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        ),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, format!("{text}\n")).into_response()
}

async fn relay_facts(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let own = site.stun.advice(host);
    let facts = RelayFacts {
        peer_id: site.peer_id.to_string(),
        addrs: site.addresses().iter().map(Multiaddr::to_string).collect(),
        ice_servers: own.into_iter().chain(site.ice_servers.clone()).collect(),
        federated: federated_relays(&site.federated.borrow()),
        protocol: crate::PROTOCOL,
        version: crate::VERSION,
        commit: crate::COMMIT,
    };
    (
        [(CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        Json(facts),
    )
        .into_response()
}

fn federated_relays(directory: &Directory) -> Vec<FederatedRelay> {
    let relay = |(peer, addresses): (&PeerId, &Vec<Multiaddr>)| FederatedRelay {
        peer_id: peer.to_string(),
        addrs: addresses.iter().map(Multiaddr::to_string).collect(),
    };
    directory.iter().map(relay).collect()
}

async fn ready(State(site): State<Arc<Site>>) -> Response {
    let reasons = site.unready().await;
    if reasons.is_empty() {
        sentence(StatusCode::OK, "ready")
    } else {
        sentence(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n"))
    }
}

async fn metrics_text(State(site): State<Arc<Site>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(CONTENT_TYPE, content_type)],
        metrics::to_text(&site.registry),
    )
        .into_response()
}

async fn count(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let route = route_of(request.uri());
    let response = next.run(request).await;
    metrics.answered(route, response.status().as_u16());
    response
}

/// The few names under which requests are counted, whatever paths clients make up.
fn route_of(uri: &Uri) -> &'static str {
    match uri.path() {
        "/" => "/",
        "/api/relay" => "/api/relay",
        "/healthz" => "/healthz",
        "/readyz" => "/readyz",
        "/metrics" => "/metrics",
        path if path.starts_with("/embed/") => "/embed",
        path if path.starts_with("/models/") => "/models",
        _ => "page",
    }
}

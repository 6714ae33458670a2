//! What the browser knows of the way that a connection takes.

use std::time::Duration;

use js_sys::{Map, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::RtcPeerConnection;

/// How one end of a connection is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateKind {
    /// at an address of its own machine
    Host,
    /// at an address that was found only when its packets came: behind a NAT, or one whose own
    /// address a browser does not tell
    PeerReflexive,
    /// at the address that a NAT gave it
    ServerReflexive,
    /// through a TURN server
    Relay,
}

/// A connection, as the browser measures it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStats {
    /// How this side is reached.
    pub local: CandidateKind,
    /// How the peer is reached.
    pub remote: CandidateKind,
    /// The last round trip of ICE.
    pub round_trip: Option<Duration>,
    /// Received since the connection stands, all streams together.
    pub bytes_in: u64,
    /// Sent since then.
    pub bytes_out: u64,
}

/// Asks the browser; none while it has chosen no way.
pub(super) async fn stats(connection: &RtcPeerConnection) -> Option<LinkStats> {
    let report = JsFuture::from(connection.get_stats()).await.ok()?;
    let report: Map = report.unchecked_into();
    let transport = find(&report, |it| {
        text(it, "type").as_deref() == Some("transport")
    })?;
    let pair = report.get(&field(&transport, "selectedCandidatePairId")?);
    let kind = |name| {
        let candidate = report.get(&field(&pair, name)?);
        Some(match &*text(&candidate, "candidateType")? {
            "host" => CandidateKind::Host,
            "relay" => CandidateKind::Relay,
            "srflx" => CandidateKind::ServerReflexive,
            _ => CandidateKind::PeerReflexive,
        })
    };
    let bytes = |name| number(&pair, name).unwrap_or(0.0) as u64;
    let seconds = number(&pair, "currentRoundTripTime");
    Some(LinkStats {
        local: kind("localCandidateId")?,
        remote: kind("remoteCandidateId")?,
        round_trip: seconds.and_then(|it| Duration::try_from_secs_f64(it).ok()),
        bytes_in: bytes("bytesReceived"),
        bytes_out: bytes("bytesSent"),
    })
}

fn find(report: &Map, is_it: impl Fn(&JsValue) -> bool) -> Option<JsValue> {
    let mut values = report.values().into_iter().filter_map(Result::ok);
    values.find(is_it)
}

fn field(object: &JsValue, name: &str) -> Option<JsValue> {
    let value = Reflect::get(object, &JsValue::from_str(name)).ok()?;
    (!value.is_undefined()).then_some(value)
}

fn text(object: &JsValue, name: &str) -> Option<String> {
    field(object, name)?.as_string()
}

fn number(object: &JsValue, name: &str) -> Option<f64> {
    field(object, name)?.as_f64()
}

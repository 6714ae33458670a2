//! Which addresses a browser finds with some servers, without a connection to anybody.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::channel::oneshot;
use futures::future::{Either, select};
use futures_timer::Delay;
use js_sys::Reflect;
use wasm_bindgen::prelude::*;
use web_sys::{Event, RtcPeerConnectionIceEvent, RtcSdpType};

use super::bindings::words;
use super::peer_connection::PeerConnection;
use super::{Config, IceServer};
use crate::candidate::Candidate;
use crate::limits::{GATHER_TIMEOUT, MAX_CANDIDATES};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Every address, in the order in which it was found.
    pub candidates: Vec<Candidate>,
    /// What the browser says of servers that did not answer.
    pub errors: Vec<String>,
    /// Whether the browser had asked all that it meant to in time.
    pub complete: bool,
}

/// Has the browser look for its addresses, for at most [`GATHER_TIMEOUT`].
///
/// # Errors
/// Why the browser does not begin, in its words.
pub async fn gather(servers: Vec<IceServer>) -> Result<Gathered, String> {
    let config = Config {
        ice_servers: servers,
        relay_only: false,
    };
    let connection = PeerConnection::new(&config)?;
    connection.create_init_channel()?;
    let inner = connection.shared().inner().clone();
    let found = Rc::new(RefCell::new(Gathered::default()));
    let (done, all_found) = oneshot::channel();
    let done = Cell::new(Some(done));
    let keep = Rc::clone(&found);
    let on_candidate = Closure::<dyn FnMut(_)>::new(move |event: RtcPeerConnectionIceEvent| {
        let candidates = &mut keep.borrow_mut().candidates;
        match event.candidate().map(|it| it.candidate()) {
            None => drop(done.take().map(|done| done.send(()))),
            Some(line) if candidates.len() < MAX_CANDIDATES => {
                candidates.extend(Candidate::parse(&line));
            }
            Some(_) => {}
        }
    });
    let keep = Rc::clone(&found);
    let on_error = Closure::<dyn FnMut(_)>::new(move |event: Event| {
        let errors = &mut keep.borrow_mut().errors;
        if errors.len() < MAX_CANDIDATES {
            errors.push(said(&event));
        }
    });
    inner.set_onicecandidate(Some(on_candidate.as_ref().unchecked_ref()));
    let target: &web_sys::EventTarget = inner.as_ref();
    let listener = on_error.as_ref().unchecked_ref();
    target
        .add_event_listener_with_callback("icecandidateerror", listener)
        .map_err(|error| words(&error))?;
    let offer = connection.create_offer().await?;
    connection.set_local(RtcSdpType::Offer, &offer).await?;
    let first = select(all_found, Delay::new(GATHER_TIMEOUT)).await;
    found.borrow_mut().complete = matches!(first, Either::Left(_));
    target
        .remove_event_listener_with_callback("icecandidateerror", listener)
        .map_err(|error| words(&error))?;
    // Closing takes the other callback back.
    drop(connection);
    Ok(found.take())
}

/// An `RTCPeerConnectionIceErrorEvent` in words: which server, and why.
fn said(event: &Event) -> String {
    let field = |name: &str| Reflect::get(event, &name.into()).ok();
    let url = field("url").and_then(|it| it.as_string());
    let code = field("errorCode").and_then(|it| it.as_f64());
    let text = field("errorText").and_then(|it| it.as_string());
    let code = code.map(|code| format!("error {code}"));
    let why: Vec<_> = [code, text].into_iter().flatten().collect();
    format!("{}: {}", url.unwrap_or_default(), why.join(", "))
}

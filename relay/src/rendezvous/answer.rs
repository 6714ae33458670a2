//! What each rendezvous request is answered.

use std::time::Duration;

use libp2p::PeerId;

use super::ring::Stand;
use super::store::{Claim, Refusal, Store};
use super::wire::{Discover, DiscoverResponse, Kind, Message, Register, RegisterResponse, Status};
use crate::limits::{MAX_DISCOVERED, MAX_REGISTRATION_SECS};

/// What a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Discovered,
    Refused(Refusal),
    Registered,
    Unregistered,
    /// it is no request, or its cookie is none
    Malformed,
}

impl Refusal {
    const fn status(self) -> Status {
        match self {
            Self::Namespace => Status::InvalidNamespace,
            Self::NotTheirs => Status::NotAuthorized,
            Self::Outdated | Self::NotThroughIt | Self::Unsigned => Status::InvalidSignedPeerRecord,
            Self::TooMany | Self::TooManyOfPeer => Status::Unavailable,
            Self::Ttl => Status::InvalidTtl,
        }
    }
}

impl Store {
    /// What a connected peer is answered; `None`: nothing.
    pub(crate) fn answer(
        &mut self,
        now: Duration,
        peer: PeerId,
        message: Message,
    ) -> (Outcome, Option<Message>) {
        let kind = message.kind.and_then(|kind| Kind::try_from(kind).ok());
        match (kind, message.register, message.unregister, message.discover) {
            (Some(Kind::Register), Some(register), _, _) => self.on_register(now, peer, register),
            (Some(Kind::Unregister), _, Some(unregister), _) => {
                self.unregister(now, peer, unregister.namespace.as_deref().unwrap_or(""));
                (Outcome::Unregistered, None)
            }
            (Some(Kind::Discover), _, _, Some(discover)) => self.on_discover(now, &discover),
            _ => (Outcome::Malformed, None),
        }
    }

    fn on_register(
        &mut self,
        now: Duration,
        peer: PeerId,
        register: Register,
    ) -> (Outcome, Option<Message>) {
        let claim = Claim {
            namespace: register.namespace.unwrap_or_default(),
            envelope: register.record.unwrap_or_default().into(),
            ttl_secs: register.ttl.unwrap_or(MAX_REGISTRATION_SECS),
        };
        let registered = self.register(now, peer, claim);
        let response = match registered {
            Ok(ttl) => RegisterResponse {
                status: Some(Status::Ok.into()),
                text: None,
                ttl: Some(ttl),
            },
            Err(refusal) => RegisterResponse {
                status: Some(refusal.status().into()),
                text: Some(refusal.to_string()),
                ttl: None,
            },
        };
        let message = Message {
            kind: Some(Kind::RegisterResponse.into()),
            register_response: Some(response),
            ..Message::default()
        };
        let outcome = registered.map_or_else(Outcome::Refused, |_| Outcome::Registered);
        (outcome, Some(message))
    }

    fn on_discover(&mut self, now: Duration, discover: &Discover) -> (Outcome, Option<Message>) {
        let namespace = discover.namespace.as_deref();
        let cookie = discover.cookie.as_deref();
        let Ok(stand) = cookie.map(|it| stand_in(it, namespace)).transpose() else {
            let response = DiscoverResponse {
                status: Some(Status::InvalidCookie.into()),
                ..DiscoverResponse::default()
            };
            return (Outcome::Malformed, Some(told(response)));
        };
        let wanted = discover.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let limit = wanted.clamp(1, MAX_DISCOVERED);
        let (claims, stand) = self.page(now, namespace, stand, limit);
        let registrations = claims.into_iter().map(|claim| Register {
            namespace: Some(claim.namespace),
            record: Some(claim.envelope.to_vec()),
            ttl: Some(claim.ttl_secs),
        });
        let response = DiscoverResponse {
            registrations: registrations.collect(),
            cookie: Some(cookie_of(stand, namespace)),
            status: Some(Status::Ok.into()),
            text: None,
        };
        (Outcome::Discovered, Some(told(response)))
    }
}

fn told(response: DiscoverResponse) -> Message {
    Message {
        kind: Some(Kind::DiscoverResponse.into()),
        discover_response: Some(response),
        ..Message::default()
    }
}

/// A cookie no request can hold: it is another namespace's, or none of this protocol.
struct WrongCookie;

/// Eight bytes that say where its owner stands, then the namespace: the form that libp2p's clients
/// expect.
fn cookie_of(stand: Stand, namespace: Option<&str>) -> Vec<u8> {
    let mut cookie = stand.number().to_be_bytes().to_vec();
    cookie.extend(namespace.unwrap_or_default().as_bytes());
    cookie
}

fn stand_in(cookie: &[u8], namespace: Option<&str>) -> Result<Stand, WrongCookie> {
    let (number, rest) = cookie.split_first_chunk().ok_or(WrongCookie)?;
    let is_its = rest == namespace.unwrap_or_default().as_bytes();
    is_its
        .then(|| Stand::from_number(u64::from_be_bytes(*number)))
        .ok_or(WrongCookie)
}

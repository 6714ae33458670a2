//! Owns TURN's requests: who asks, whether it may, and what it is answered.

use std::net::IpAddr;
use std::time::Duration;

use super::allocation::Allocation;
use super::reach::{is_public, is_unicast};
use super::secret::{REALM, User};
use super::{Client, Now, Output, Refusal, RelayId, Server};
use crate::limits::{ALLOCATION_LIFETIME, MAX_ALLOCATIONS, MAX_ALLOCATIONS_PER_PEER};
use crate::stun::write::Draft;
use crate::stun::{Class, Message, Method, attribute};

/// UDP in a REQUESTED-TRANSPORT, the only one that is relayed.
const UDP: u8 = 17;

/// The channels that a client may bind (RFC 8656 §12).
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4FFF;

impl Refusal {
    /// The number and the word of the error that tells a client so.
    const fn error(self) -> (u16, &'static str) {
        match self {
            Self::BadRequest | Self::Malformed | Self::Oversized | Self::RateLimit => {
                (400, "Bad Request")
            }
            Self::Unauthorized => (401, "Unauthorized"),
            Self::Forbidden | Self::NoPermission => (403, "Forbidden"),
            Self::UnknownAttribute => (420, "Unknown Attribute"),
            Self::AllocationMismatch => (437, "Allocation Mismatch"),
            Self::StaleNonce => (438, "Stale Nonce"),
            Self::UnsupportedFamily => (440, "Address Family not Supported"),
            Self::WrongCredentials => (441, "Wrong Credentials"),
            Self::UnsupportedTransport => (442, "Unsupported Transport Protocol"),
            Self::PeerFamilyMismatch => (443, "Peer Address Family Mismatch"),
            Self::AddressQuota | Self::Bandwidth | Self::PeerQuota => {
                (486, "Allocation Quota Reached")
            }
            Self::InsufficientCapacity => (508, "Insufficient Capacity"),
        }
    }
}

/// Adds to an answer why it is no.
pub(super) fn name_refusal(answer: Draft, refusal: Refusal) -> Draft {
    let (code, reason) = refusal.error();
    answer.with_error(code, reason)
}

/// Adds to an answer which attributes would have to be understood.
pub(super) fn name_unknown(answer: Draft, unknown: &[u16]) -> Draft {
    let kinds: Vec<_> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    name_refusal(answer, Refusal::UnknownAttribute).with(attribute::UNKNOWN_ATTRIBUTES, &kinds)
}

impl Server {
    pub(super) fn on_request(&mut self, now: Now, client: Client, message: &Message<'_>) {
        if !self.take_request(now.elapsed, client) {
            return self.refuse(Refusal::RateLimit);
        }
        let answer = |class| Draft::new(class, message.method, message.transaction);
        let user = match self.authenticate(now, client, message) {
            Ok(user) => user,
            Err(refusal) => {
                self.refuse(refusal);
                let nonce = self.secret.nonce(client.address, now.unix_secs);
                let bytes = name_refusal(answer(Class::Error), refusal)
                    .with(attribute::REALM, REALM.as_bytes())
                    .with(attribute::NONCE, nonce.as_bytes())
                    .unsigned();
                self.outputs.push_back(Output::ToClient { client, bytes });
                return;
            }
        };
        let key = user.key;
        let unknown = message.not_understood();
        let done = if unknown.is_empty() {
            self.serve(now, client, message, user)
        } else {
            Err(Refusal::UnknownAttribute)
        };
        let draft = match done {
            Ok(Done::Answered) => return,
            Ok(Done::Yes) => answer(Class::Success),
            Ok(Done::LivesFor(left)) => with_lifetime(answer(Class::Success), left),
            Err(Refusal::UnknownAttribute) => {
                self.refuse(Refusal::UnknownAttribute);
                name_unknown(answer(Class::Error), &unknown)
            }
            Err(refusal) => {
                self.refuse(refusal);
                name_refusal(answer(Class::Error), refusal)
            }
        };
        let bytes = draft.signed(&key);
        self.outputs.push_back(Output::ToClient { client, bytes });
    }

    /// Whose credentials signed the message, and only with a nonce of this relay.
    fn authenticate(
        &self,
        now: Now,
        client: Client,
        message: &Message<'_>,
    ) -> Result<User, Refusal> {
        if !message.has_integrity() {
            return Err(Refusal::Unauthorized);
        }
        let nonce = message.value(attribute::NONCE).ok_or(Refusal::StaleNonce)?;
        if !self
            .secret
            .nonce_holds(nonce, client.address, now.unix_secs)
        {
            return Err(Refusal::StaleNonce);
        }
        let name = message.text(attribute::USERNAME);
        let user = name.and_then(|name| self.secret.user(name));
        user.filter(|user| message.integrity_holds(&user.key))
            .ok_or(Refusal::Unauthorized)
    }

    fn serve(
        &mut self,
        now: Now,
        client: Client,
        message: &Message<'_>,
        user: User,
    ) -> Result<Done, Refusal> {
        if message.method == Method::Allocate {
            return self.allocate(now, client, message, user);
        }
        let (relay, one) = self
            .allocations
            .of_client(client)
            .ok_or(Refusal::AllocationMismatch)?;
        // Credentials that ran out go on serving the allocation that they opened.
        if one.user.name != user.name {
            return Err(Refusal::WrongCredentials);
        }
        match message.method {
            Method::Refresh => self.refresh(now.elapsed, relay, client, message),
            Method::CreatePermission => self.permit(now.elapsed, client, message),
            Method::ChannelBind => self.bind(now.elapsed, client, message),
            Method::Allocate
            | Method::Binding
            | Method::Data
            | Method::Send
            | Method::Unknown(_) => Err(Refusal::BadRequest),
        }
    }

    fn allocate(
        &mut self,
        now: Now,
        client: Client,
        message: &Message<'_>,
        user: User,
    ) -> Result<Done, Refusal> {
        if let Some((relay, one)) = self.allocations.of_client(client) {
            if one.transaction != message.transaction {
                return Err(Refusal::AllocationMismatch);
            }
            self.tell_allocated(now.elapsed, relay); // The answer was lost, or is on its way.
            return Ok(Done::Answered);
        }
        if user.has_expired(now.unix_secs) {
            return Err(Refusal::Unauthorized);
        }
        self.check_wishes(message)?;
        if self.allocations.len() >= MAX_ALLOCATIONS {
            return Err(Refusal::InsufficientCapacity);
        }
        if self.accounts.n_allocations(user.peer()) >= MAX_ALLOCATIONS_PER_PEER {
            return Err(Refusal::PeerQuota);
        }
        self.tally
            .admit(client.address.ip())
            .map_err(|_| Refusal::AddressQuota)?;
        self.accounts.open(now.elapsed, user.peer());
        let mut one = Allocation::new(now.elapsed, client, user, message.transaction);
        let wanted = lifetime_wanted(message);
        if !wanted.is_zero() {
            one.live_on(now.elapsed, wanted);
        }
        let relay = self.allocations.insert(one);
        self.outputs.push_back(Output::Open { relay });
        Ok(Done::Answered)
    }

    /// Whether the relay has what an Allocate asks for.
    fn check_wishes(&self, message: &Message<'_>) -> Result<(), Refusal> {
        let transport = message.value(attribute::REQUESTED_TRANSPORT);
        match transport {
            Some([UDP, _, _, _]) => {}
            Some([_, _, _, _]) => return Err(Refusal::UnsupportedTransport),
            Some(_) | None => return Err(Refusal::BadRequest),
        }
        let family = message.value(attribute::REQUESTED_ADDRESS_FAMILY);
        let wanted = family.map(|value| value.first().copied());
        let ours = match self.terms.as_ref().map(|terms| terms.relayed_ip) {
            Some(IpAddr::V4(_)) => 1,
            Some(IpAddr::V6(_)) => 2,
            None => 0,
        };
        if wanted.is_some_and(|family| family != Some(ours)) {
            return Err(Refusal::UnsupportedFamily);
        }
        Ok(())
    }

    fn allocation_of(&mut self, client: Client) -> Result<&mut Allocation, Refusal> {
        let found = self.allocations.of_client_mut(client);
        let (_, one) = found.ok_or(Refusal::AllocationMismatch)?;
        Ok(one)
    }

    fn refresh(
        &mut self,
        now: Duration,
        relay: RelayId,
        client: Client,
        message: &Message<'_>,
    ) -> Result<Done, Refusal> {
        let wanted = lifetime_wanted(message);
        if wanted.is_zero() {
            self.close(relay);
            return Ok(Done::LivesFor(Duration::ZERO));
        }
        let one = self.allocation_of(client)?;
        one.live_on(now, wanted);
        Ok(Done::LivesFor(one.left(now)))
    }

    /// Permits all the addresses, or none.
    fn permit(
        &mut self,
        now: Duration,
        client: Client,
        message: &Message<'_>,
    ) -> Result<Done, Refusal> {
        let peers = message
            .addresses(attribute::XOR_PEER_ADDRESS)
            .filter(|peers| !peers.is_empty())
            .ok_or(Refusal::BadRequest)?;
        for peer in &peers {
            self.check_reach(peer.ip())?;
        }
        let one = self.allocation_of(client)?;
        for peer in peers {
            one.permit(now, peer.ip())?;
        }
        Ok(Done::Yes)
    }

    fn bind(
        &mut self,
        now: Duration,
        client: Client,
        message: &Message<'_>,
    ) -> Result<Done, Refusal> {
        let number = message
            .number(attribute::CHANNEL_NUMBER)
            .map(|value| (value >> 16) as u16)
            .filter(|number| CHANNELS.contains(number))
            .ok_or(Refusal::BadRequest)?;
        let peer = message
            .address(attribute::XOR_PEER_ADDRESS)
            .ok_or(Refusal::BadRequest)?;
        self.check_reach(peer.ip())?;
        let one = self.allocation_of(client)?;
        one.bind(now, number, peer)?;
        Ok(Done::Yes)
    }

    /// Whether packets may go to this address. The relay's own is reached at its relayed ports
    /// only, where another client is.
    fn check_reach(&self, ip: IpAddr) -> Result<(), Refusal> {
        let Some(terms) = &self.terms else {
            return Err(Refusal::Forbidden);
        };
        if ip.is_ipv4() != terms.relayed_ip.is_ipv4() {
            return Err(Refusal::PeerFamilyMismatch);
        }
        let is_reachable = match terms.allow_private {
            true => is_unicast(ip),
            false => is_public(ip) || ip == terms.relayed_ip,
        };
        is_reachable.then_some(()).ok_or(Refusal::Forbidden)
    }

    /// Answers the Allocate that made this allocation, once its port is open.
    pub(super) fn tell_allocated(&mut self, now: Duration, relay: RelayId) {
        let (Some(one), Some(terms)) = (self.allocations.get(relay), &self.terms) else {
            return;
        };
        let Some(port) = one.port else {
            return;
        };
        let answer = Draft::new(Class::Success, Method::Allocate, one.transaction)
            .with_address(
                attribute::XOR_RELAYED_ADDRESS,
                (terms.relayed_ip, port).into(),
            )
            .with_address(attribute::XOR_MAPPED_ADDRESS, one.client.address);
        let bytes = with_lifetime(answer, one.left(now)).signed(&one.user.key);
        let client = one.client;
        self.outputs.push_back(Output::ToClient { client, bytes });
    }
}

/// How a request ended that was not refused.
enum Done {
    /// The answer is written, or follows.
    Answered,
    /// The allocation lives so long.
    LivesFor(Duration),
    Yes,
}

fn lifetime_wanted(message: &Message<'_>) -> Duration {
    message
        .number(attribute::LIFETIME)
        .map_or(ALLOCATION_LIFETIME, |secs| Duration::from_secs(secs.into()))
}

fn with_lifetime(answer: Draft, left: Duration) -> Draft {
    let secs = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
    answer.with(attribute::LIFETIME, &secs.to_be_bytes())
}

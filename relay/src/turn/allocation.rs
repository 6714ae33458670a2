//! Owns what one allocation knows: whose it is, how long it lives, whom it may talk to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::secret::User;
use super::{Client, Refusal, RelayId};
use crate::bucket::Bucket;
use crate::limits::{
    ALLOCATION_LIFETIME, CHANNEL_LIFETIME, MAX_ALLOCATION_AGE, MAX_CHANNELS, MAX_PERMISSIONS,
    PERMISSION_LIFETIME,
};
use crate::stun::TransactionId;

/// A client's port on the relay.
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) client: Client,
    pub(super) user: User,
    /// The request that made it, which may come twice.
    pub(super) transaction: TransactionId,
    /// `None` until its socket is open.
    pub(super) port: Option<u16>,
    pub(super) requests: Bucket,
    expires: Duration,
    ends: Duration,
    permissions: BTreeMap<IpAddr, Duration>,
    channels: BTreeMap<u16, Channel>,
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    expires: Duration,
}

impl Allocation {
    pub(super) fn new(
        now: Duration,
        client: Client,
        user: User,
        transaction: TransactionId,
    ) -> Self {
        Self {
            client,
            user,
            transaction,
            port: None,
            requests: Bucket::default(),
            expires: now + ALLOCATION_LIFETIME,
            ends: now + MAX_ALLOCATION_AGE,
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
        }
    }

    /// Lets it live so long from now on, as far as it may.
    pub(super) fn live_on(&mut self, now: Duration, asked: Duration) {
        self.expires = (now + asked.min(ALLOCATION_LIFETIME)).min(self.ends);
    }

    /// What is left of its life.
    pub(super) fn left(&self, now: Duration) -> Duration {
        self.expires.saturating_sub(now)
    }

    pub(super) fn permits(&self, now: Duration, ip: IpAddr) -> bool {
        self.permissions.get(&ip).is_some_and(|end| now < *end)
    }

    /// Permits an address, for [`PERMISSION_LIFETIME`] from now.
    pub(super) fn permit(&mut self, now: Duration, ip: IpAddr) -> Result<(), Refusal> {
        self.permissions.retain(|_, end| now < *end);
        let is_full = self.permissions.len() >= MAX_PERMISSIONS;
        if is_full && !self.permissions.contains_key(&ip) {
            return Err(Refusal::InsufficientCapacity);
        }
        self.permissions.insert(ip, now + PERMISSION_LIFETIME);
        Ok(())
    }

    /// Binds a channel to a peer and permits its address. Neither may be bound elsewhere.
    pub(super) fn bind(
        &mut self,
        now: Duration,
        number: u16,
        peer: SocketAddr,
    ) -> Result<(), Refusal> {
        self.channels.retain(|_, channel| now < channel.expires);
        let is_taken = self
            .channels
            .iter()
            .any(|(found, channel)| (*found == number) != (channel.peer == peer));
        if is_taken {
            return Err(Refusal::BadRequest);
        }
        let is_full = self.channels.len() >= MAX_CHANNELS;
        if is_full && !self.channels.contains_key(&number) {
            return Err(Refusal::InsufficientCapacity);
        }
        self.permit(now, peer.ip())?;
        let expires = now + CHANNEL_LIFETIME;
        self.channels.insert(number, Channel { peer, expires });
        Ok(())
    }

    pub(super) fn peer_of(&self, now: Duration, number: u16) -> Option<SocketAddr> {
        let channel = self.channels.get(&number)?;
        (now < channel.expires).then_some(channel.peer)
    }

    pub(super) fn channel_of(&self, now: Duration, peer: SocketAddr) -> Option<u16> {
        self.channels.iter().find_map(|(number, channel)| {
            (channel.peer == peer && now < channel.expires).then_some(*number)
        })
    }
}

/// The allocations alive, found by their number, by their client and by their port.
#[derive(Debug, Default)]
pub(super) struct Allocations {
    by_relay: BTreeMap<RelayId, Allocation>,
    relay_by_client: BTreeMap<Client, RelayId>,
    relay_by_port: BTreeMap<u16, RelayId>,
    n_made: u64,
}

impl Allocations {
    pub(super) fn len(&self) -> usize {
        self.by_relay.len()
    }

    pub(super) fn insert(&mut self, allocation: Allocation) -> RelayId {
        self.n_made += 1;
        let relay = RelayId(self.n_made);
        self.relay_by_client.insert(allocation.client, relay);
        self.by_relay.insert(relay, allocation);
        relay
    }

    pub(super) fn remove(&mut self, relay: RelayId) -> Option<Allocation> {
        let allocation = self.by_relay.remove(&relay)?;
        self.relay_by_client.remove(&allocation.client);
        if let Some(port) = allocation.port {
            self.relay_by_port.remove(&port);
        }
        Some(allocation)
    }

    /// Notes which port the allocation has; `None`: it ended meanwhile.
    pub(super) fn opened(&mut self, relay: RelayId, port: u16) -> Option<&Allocation> {
        let allocation = self.by_relay.get_mut(&relay)?;
        allocation.port = Some(port);
        self.relay_by_port.insert(port, relay);
        Some(allocation)
    }

    pub(super) fn get(&self, relay: RelayId) -> Option<&Allocation> {
        self.by_relay.get(&relay)
    }

    pub(super) fn of_client(&self, client: Client) -> Option<(RelayId, &Allocation)> {
        let relay = *self.relay_by_client.get(&client)?;
        Some((relay, self.by_relay.get(&relay)?))
    }

    pub(super) fn of_client_mut(&mut self, client: Client) -> Option<(RelayId, &mut Allocation)> {
        let relay = *self.relay_by_client.get(&client)?;
        Some((relay, self.by_relay.get_mut(&relay)?))
    }

    pub(super) fn at_port(&self, port: u16) -> Option<RelayId> {
        self.relay_by_port.get(&port).copied()
    }

    pub(super) fn expired(&self, now: Duration) -> Vec<RelayId> {
        let expired = self.by_relay.iter().filter(|(_, one)| one.expires <= now);
        expired.map(|(relay, _)| *relay).collect()
    }

    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.by_relay.values().map(|one| one.expires).min()
    }
}

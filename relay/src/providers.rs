//! Owns who answers with what: the provider records of Kademlia, within bounds and until they end.
//!
//! Nothing else of Kademlia's is kept: no values, and nothing that the relay itself would provide.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter::{Empty, empty};
use std::time::Instant;

use libp2p::kad::store::{Error, RecordStore, Result as Stored};
use libp2p::kad::{ProviderRecord, Record, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::limits::{
    MAX_KEYS_PER_PROVIDER, MAX_PROVIDED_KEYS, MAX_PROVIDER_ADDRESS_BYTES, MAX_PROVIDER_ADDRESSES,
    MAX_PROVIDER_KEY_BYTES, MAX_PROVIDERS_PER_KEY, PROVIDER_LIFE,
};

/// Why a record is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a key of {MAX_PROVIDER_KEY_BYTES} bytes is the longest")]
    KeyTooLong,
    #[error("it has no address through a relay")]
    Unreachable,
    #[error("a peer provides {MAX_KEYS_PER_PROVIDER} keys at most")]
    TooManyOfPeer,
    #[error("there are as many keys as there may be")]
    TooManyKeys,
}

impl Refusal {
    /// What it is counted under.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KeyTooLong => "KeyTooLong",
            Self::TooManyKeys => "TooManyKeys",
            Self::TooManyOfPeer => "TooManyOfPeer",
            Self::Unreachable => "Unreachable",
        }
    }
}

/// A peer's claim that it answers with what a key stands for.
#[derive(Debug)]
struct Provider {
    ends: Instant,
    addresses: Vec<Multiaddr>,
}

/// The records of everybody.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    /// Invariant: no key without a provider.
    by_key: BTreeMap<Vec<u8>, BTreeMap<PeerId, Provider>>,
    /// Invariant: how often a peer stands in `by_key`; no peer with zero.
    n_keys: BTreeMap<PeerId, usize>,
}

impl Providers {
    /// Keeps a record for [`PROVIDER_LIFE`]. Of a key that has enough providers the one goes that
    /// was renewed least recently: it is the likeliest to be gone.
    pub(crate) fn admit(&mut self, now: Instant, record: ProviderRecord) -> Result<(), Refusal> {
        let key = record.key.to_vec();
        if key.len() > MAX_PROVIDER_KEY_BYTES {
            return Err(Refusal::KeyTooLong);
        }
        let peer = record.provider;
        let addresses: Vec<_> = record.addresses.into_iter().filter(is_kept).collect();
        let addresses: Vec<_> = addresses.into_iter().take(MAX_PROVIDER_ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(Refusal::Unreachable);
        }
        let known = self.by_key.get(&key);
        if known.is_none_or(|providers| !providers.contains_key(&peer)) {
            if self.n_keys.get(&peer).copied().unwrap_or(0) >= MAX_KEYS_PER_PROVIDER {
                return Err(Refusal::TooManyOfPeer);
            }
            if known.is_none() && self.by_key.len() >= MAX_PROVIDED_KEYS {
                return Err(Refusal::TooManyKeys);
            }
            if known.is_some_and(|providers| providers.len() >= MAX_PROVIDERS_PER_KEY) {
                self.drop_oldest(&key);
            }
            *self.n_keys.entry(peer).or_insert(0) += 1;
        }
        let ends = now + PROVIDER_LIFE;
        let provider = Provider { ends, addresses };
        self.by_key.entry(key).or_default().insert(peer, provider);
        Ok(())
    }

    /// Forgets what has ended.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let ended: Vec<_> = self
            .by_key
            .iter()
            .flat_map(|(key, providers)| {
                let ended = providers.iter().filter(|(_, one)| one.ends <= now);
                ended.map(|(peer, _)| (key.clone(), *peer))
            })
            .collect();
        for (key, peer) in ended {
            self.forget(&key, &peer);
        }
    }

    /// Records in all.
    pub(crate) fn len(&self) -> usize {
        self.n_keys.values().sum()
    }

    fn drop_oldest(&mut self, key: &[u8]) {
        let providers = self.by_key.get(key).into_iter().flatten();
        let oldest = providers.min_by_key(|(_, one)| one.ends);
        if let Some(peer) = oldest.map(|(peer, _)| *peer) {
            self.forget(key, &peer);
        }
    }

    fn forget(&mut self, key: &[u8], peer: &PeerId) {
        let Some(providers) = self.by_key.get_mut(key) else {
            return;
        };
        if providers.remove(peer).is_none() {
            return;
        }
        if providers.is_empty() {
            self.by_key.remove(key);
        }
        if let Some(n_keys) = self.n_keys.get_mut(peer) {
            *n_keys -= 1;
            if *n_keys == 0 {
                self.n_keys.remove(peer);
            }
        }
    }
}

/// Whether others are told this address: only through a relay is a tab reached, and nobody is to
/// be sent to a host of a stranger's choice.
fn is_kept(address: &Multiaddr) -> bool {
    let is_circuit = address.iter().any(|part| part == Protocol::P2pCircuit);
    is_circuit && address.len() <= MAX_PROVIDER_ADDRESS_BYTES
}

impl RecordStore for Providers {
    type RecordsIter<'a> = Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Stored<()> {
        Err(Error::ValueTooLarge)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Stored<()> {
        self.admit(Instant::now(), record)
            .map_err(|_| Error::MaxProvidedKeys)
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let providers = self.by_key.get(key.as_ref()).into_iter().flatten();
        let record = |(peer, one): (&PeerId, &Provider)| ProviderRecord {
            key: key.clone(),
            provider: *peer,
            expires: Some(one.ends),
            addresses: one.addresses.clone(),
        };
        providers.map(record).collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        self.forget(key.as_ref(), peer);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address() -> Multiaddr {
        let (relay, peer) = (PeerId::random(), PeerId::random());
        format!("/dns4/relay.example/tcp/443/tls/ws/p2p/{relay}/p2p-circuit/p2p/{peer}")
            .parse()
            .unwrap()
    }

    fn record(key: &[u8], provider: PeerId) -> ProviderRecord {
        ProviderRecord {
            key: RecordKey::from(key.to_vec()),
            provider,
            expires: None,
            addresses: vec![address()],
        }
    }

    fn peers_of(providers: &Providers, key: &[u8]) -> Vec<PeerId> {
        let found = providers.providers(&RecordKey::from(key.to_vec()));
        found.into_iter().map(|record| record.provider).collect()
    }

    #[test]
    fn the_newest_providers_of_a_key_are_kept() {
        let mut providers = Providers::default();
        let start = Instant::now();
        let peers: Vec<_> = (0..=MAX_PROVIDERS_PER_KEY)
            .map(|_| PeerId::random())
            .collect();
        for (n, peer) in peers.iter().enumerate() {
            let now = start + Duration::from_secs(n as u64);
            providers.admit(now, record(b"key", *peer)).unwrap();
        }
        let mut kept = peers_of(&providers, b"key");
        kept.sort();
        let mut expected = peers[1..].to_vec();
        expected.sort();
        assert_eq!(kept, expected);
        assert_eq!(providers.len(), MAX_PROVIDERS_PER_KEY);
        assert!(!providers.n_keys.contains_key(&peers[0]));
    }

    #[test]
    fn a_peer_has_its_keys_and_renews_them() {
        let mut providers = Providers::default();
        let (now, peer) = (Instant::now(), PeerId::random());
        for n in 0..MAX_KEYS_PER_PROVIDER {
            providers.admit(now, record(&[n as u8], peer)).unwrap();
        }
        providers.admit(now, record(&[0], peer)).unwrap();
        let more = providers.admit(now, record(&[255], peer));
        assert_eq!(more, Err(Refusal::TooManyOfPeer));
        providers.remove_provider(&RecordKey::from(vec![0]), &peer);
        providers.admit(now, record(&[255], peer)).unwrap();
        assert_eq!(providers.len(), MAX_KEYS_PER_PROVIDER);
    }

    #[test]
    fn keys_have_an_end_and_ended_records_make_room() {
        let mut providers = Providers::default();
        let now = Instant::now();
        for n in 0..MAX_PROVIDED_KEYS {
            let key = n.to_be_bytes();
            providers
                .admit(now, record(&key, PeerId::random()))
                .unwrap();
        }
        let more = providers.admit(now, record(b"more", PeerId::random()));
        assert_eq!(more, Err(Refusal::TooManyKeys));
        providers.sweep(now + PROVIDER_LIFE);
        assert_eq!(providers.len(), 0);
        assert!(providers.by_key.is_empty() && providers.n_keys.is_empty());
        providers
            .admit(now, record(b"more", PeerId::random()))
            .unwrap();
    }

    #[test]
    fn only_ways_through_a_relay_are_told() {
        let mut providers = Providers::default();
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut direct = record(b"key", peer);
        direct.addresses = vec!["/ip4/192.0.2.1/tcp/22/ws".parse().unwrap()];
        assert_eq!(
            providers.admit(now, direct.clone()),
            Err(Refusal::Unreachable)
        );
        direct.addresses.extend((0..50).map(|_| address()));
        providers.admit(now, direct).unwrap();
        let found = providers.providers(&RecordKey::from(b"key".to_vec()));
        assert_eq!(found[0].addresses.len(), MAX_PROVIDER_ADDRESSES);
        assert!(found[0].addresses.iter().all(is_kept));
        let long = vec![0; MAX_PROVIDER_KEY_BYTES + 1];
        let refused = providers.admit(now, record(&long, peer));
        assert_eq!(refused, Err(Refusal::KeyTooLong));
    }
}

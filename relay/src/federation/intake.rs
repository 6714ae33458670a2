//! Owns what is believed of what a federated relay tells, and how much of it at once.

use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::wire::Frame;
use crate::bucket::Bucket;
use crate::limits::{
    FEDERATION_BATCH, FEDERATION_RATE, MAX_BAD_CLAIMS, MAX_PROVIDER_ADDRESS_BYTES,
    MAX_RELAY_ADDRESSES,
};
use crate::rendezvous::{Claim, Refusal, Store};

/// Why a relay is no longer listened to, until it connects again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cut {
    #[error("it told {MAX_BAD_CLAIMS} things that cannot be")]
    BadClaims,
    #[error("a frame tells more than {FEDERATION_BATCH} things")]
    TooMuchAtOnce,
}

/// What is to be done after a frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// where the relay is dialled, if it said so
    pub(crate) addresses: Option<Vec<Multiaddr>>,
    /// why claims were not believed
    pub(crate) refused: Vec<Refusal>,
    /// for so long nothing more is to be read
    pub(crate) rest: Duration,
}

/// Listens to one relay.
#[derive(Debug)]
pub(crate) struct Intake {
    relay: PeerId,
    told: Bucket,
    n_bad: u32,
}

impl Intake {
    pub(crate) fn new(relay: PeerId) -> Self {
        Self {
            relay,
            told: Bucket::default(),
            n_bad: 0,
        }
    }

    /// Takes in what a frame tells.
    pub(crate) fn take(
        &mut self,
        now: Duration,
        frame: Frame,
        store: &mut Store,
    ) -> Result<Heard, Cut> {
        let n_told = frame.puts.len() + frame.drops.len();
        if n_told > FEDERATION_BATCH {
            return Err(Cut::TooMuchAtOnce);
        }
        let mut heard = Heard {
            rest: self.told.owe(now, n_told as u64 + 1, FEDERATION_RATE),
            ..Heard::default()
        };
        if !frame.addresses.is_empty() {
            let addresses = frame.addresses.into_iter();
            let kept = addresses.filter_map(|bytes| self.address(bytes));
            heard.addresses = Some(kept.take(MAX_RELAY_ADDRESSES).collect());
        }
        for put in frame.puts {
            let claim = Claim {
                namespace: put.namespace,
                envelope: put.envelope.into(),
                ttl_secs: put.ttl,
            };
            if let Err(refusal) = store.learn(now, self.relay, claim) {
                heard.refused.push(refusal);
                self.n_bad += u32::from(is_lie(refusal));
            }
        }
        for drop in frame.drops {
            match PeerId::from_bytes(&drop.peer) {
                Ok(peer) => store.unlearn(self.relay, &drop.namespace, peer),
                Err(_) => self.n_bad += 1,
            }
        }
        if self.n_bad >= MAX_BAD_CLAIMS {
            return Err(Cut::BadClaims);
        }
        Ok(heard)
    }

    /// An address at which a tab may dial the relay, ending in its peer id.
    fn address(&self, bytes: Vec<u8>) -> Option<Multiaddr> {
        if bytes.len() > MAX_PROVIDER_ADDRESS_BYTES {
            return None;
        }
        let address = Multiaddr::try_from(bytes).ok()?;
        let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
        let is_direct = !has(|part| *part == Protocol::P2pCircuit);
        let is_for_pages = has(|part| {
            matches!(
                part,
                Protocol::Ws(_) | Protocol::Wss(_) | Protocol::WebRTCDirect
            )
        });
        if !is_direct || !is_for_pages {
            return None;
        }
        address.with_p2p(self.relay).ok()
    }
}

/// Whether an honest relay would not have told it.
const fn is_lie(refusal: Refusal) -> bool {
    match refusal {
        Refusal::Namespace
        | Refusal::NotTheirs
        | Refusal::NotThroughIt
        | Refusal::Ttl
        | Refusal::Unsigned => true,
        Refusal::Outdated | Refusal::TooMany | Refusal::TooManyOfPeer => false,
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::PeerRecord;
    use libp2p::identity::Keypair;

    use super::super::wire::{Drop, Put};
    use super::*;
    use crate::limits::MAX_FOREIGN_PER_RELAY;

    const NOW: Duration = Duration::from_secs(1);

    fn put(key: &Keypair, relay: PeerId) -> Put {
        let address: Multiaddr = format!("/ip4/192.0.2.1/tcp/1/ws/p2p/{relay}/p2p-circuit")
            .parse()
            .unwrap();
        let record = PeerRecord::new(key, vec![address]).unwrap();
        Put {
            namespace: "n".to_owned(),
            envelope: record.into_signed_envelope().into_protobuf_encoding(),
            ttl: 60,
        }
    }

    fn frame(puts: Vec<Put>) -> Frame {
        Frame {
            puts,
            ..Frame::default()
        }
    }

    #[test]
    fn lies_are_not_believed_and_the_liar_is_cut_off() {
        let (relay, key) = (PeerId::random(), Keypair::generate_ed25519());
        let mut store = Store::new(1);
        let mut intake = Intake::new(relay);
        let foreign = put(&key, PeerId::random());
        let mut unsigned = put(&key, relay);
        unsigned.envelope[20] ^= 1;
        let ended = Put {
            ttl: 0,
            ..put(&key, relay)
        };
        let good = put(&key, relay);
        let told = frame(vec![foreign.clone(), unsigned, ended, good]);
        let heard = intake.take(NOW, told, &mut store).unwrap();
        let expected = [Refusal::NotThroughIt, Refusal::Unsigned, Refusal::Ttl];
        assert_eq!(heard.refused, expected);
        assert_eq!(store.n_foreign(), 1);

        let lies = |n| frame(vec![foreign.clone(); n]);
        let mut n_told = 3;
        let cut = loop {
            n_told += 10;
            if let Err(cut) = intake.take(NOW, lies(10), &mut store) {
                break cut;
            }
        };
        assert_eq!(cut, Cut::BadClaims);
        assert!((MAX_BAD_CLAIMS..MAX_BAD_CLAIMS + 10).contains(&n_told));
        assert_eq!(store.n_foreign(), 1);
    }

    #[test]
    fn a_frame_that_tells_too_much_is_not_looked_at() {
        let relay = PeerId::random();
        let mut store = Store::new(1);
        let one = put(&Keypair::generate_ed25519(), relay);
        let many = frame(vec![one; FEDERATION_BATCH + 1]);
        let cut = Intake::new(relay).take(NOW, many, &mut store);
        assert_eq!(cut, Err(Cut::TooMuchAtOnce));
        assert_eq!(store.n_foreign(), 0);
    }

    #[test]
    fn a_flood_is_read_no_faster_than_its_rate() {
        let relay = PeerId::random();
        let mut store = Store::new(1);
        let mut intake = Intake::new(relay);
        let drop = Drop {
            namespace: "n".to_owned(),
            peer: relay.to_bytes(),
        };
        let mut now = NOW;
        let n_frames = 4 * MAX_FOREIGN_PER_RELAY / FEDERATION_BATCH;
        for _ in 0..n_frames {
            let full = Frame {
                drops: vec![drop.clone(); FEDERATION_BATCH],
                ..Frame::default()
            };
            now += intake.take(now, full, &mut store).unwrap().rest;
        }
        let n_told = (n_frames * (FEDERATION_BATCH + 1)) as u64;
        let least = (n_told - FEDERATION_RATE.burst) / FEDERATION_RATE.per_sec;
        assert!(now - NOW >= Duration::from_secs(least - 1), "{now:?}");
        // Frames that tell nothing are not free either.
        let mut rest = Duration::ZERO;
        for _ in 0..100 {
            rest += intake.take(now, frame(vec![]), &mut store).unwrap().rest;
        }
        assert!(rest > Duration::ZERO);
    }

    #[test]
    fn its_addresses_are_those_that_pages_dial_and_its_own() {
        let relay = PeerId::random();
        let other = PeerId::random();
        let texts = [
            "/ip4/192.0.2.1/tcp/1/ws".to_owned(),
            "/ip4/192.0.2.1/tcp/22".to_owned(),
            format!("/ip4/192.0.2.1/tcp/1/ws/p2p/{other}"),
            format!("/ip4/192.0.2.1/tcp/1/ws/p2p/{other}/p2p-circuit"),
            format!("/dns4/relay.example/tcp/443/tls/ws/p2p/{relay}"),
        ];
        let addresses = texts.map(|text| text.parse::<Multiaddr>().unwrap().to_vec());
        let mut told = Frame {
            addresses: addresses.to_vec(),
            ..Frame::default()
        };
        told.addresses.push(vec![0xFF; 4]);
        told.addresses.push(vec![0; 4000]);
        let mut store = Store::new(1);
        let heard = Intake::new(relay).take(NOW, told, &mut store).unwrap();
        let kept: Vec<_> = heard.addresses.unwrap();
        let kept: Vec<_> = kept.iter().map(Multiaddr::to_string).collect();
        let expected = [
            format!("/ip4/192.0.2.1/tcp/1/ws/p2p/{relay}"),
            format!("/dns4/relay.example/tcp/443/tls/ws/p2p/{relay}"),
        ];
        assert_eq!(kept, expected);
    }

    #[test]
    fn what_is_taken_back_is_its_own() {
        let (relay, key) = (PeerId::random(), Keypair::generate_ed25519());
        let mut store = Store::new(1);
        let drop = Frame {
            drops: vec![Drop {
                namespace: "n".to_owned(),
                peer: key.public().to_peer_id().to_bytes(),
            }],
            ..Frame::default()
        };
        let told = frame(vec![put(&key, relay)]);
        let mut intake = Intake::new(relay);
        intake.take(NOW, told, &mut store).unwrap();
        let mut stranger = Intake::new(PeerId::random());
        stranger.take(NOW, drop.clone(), &mut store).unwrap();
        assert_eq!(store.n_foreign(), 1);
        intake.take(NOW, drop, &mut store).unwrap();
        assert_eq!(store.n_foreign(), 0);
    }
}

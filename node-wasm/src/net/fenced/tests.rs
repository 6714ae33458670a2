//! Gossip and the relays' table between swarms in one page.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one kind of event among many"
)]

use super::Fenced;
use crate::net::gossip::{self, Gossipsub};
use crate::net::table::{self, Kad};
use futures::StreamExt as _;
use futures::future::{Either, select};
use libp2p::core::Endpoint;
use libp2p::core::transport::{MemoryTransport, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, MessageAuthenticity, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, GetProvidersOk, InboundRequest, QueryResult};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, SwarmEvent, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, Transport as _, identify, noise, yamux};
use std::collections::BTreeSet;
use std::pin::pin;
use std::task::{Context, Poll};
use thrum_protocol::id::ModelId;
use thrum_protocol::{ANNOUNCE_TOPIC, KAD_PROTOCOL};
use wasm_bindgen_test::wasm_bindgen_test;

#[derive(NetworkBehaviour)]
struct Peer<B: NetworkBehaviour> {
    about: identify::Behaviour,
    own: B,
}

type Speaker = gossipsub::Behaviour;

/// A peer that listens in the page's memory, and its address.
async fn peer<B: NetworkBehaviour>(own: impl FnOnce(PeerId) -> B) -> (Swarm<Peer<B>>, Multiaddr) {
    let keypair = Keypair::generate_ed25519();
    let id = PeerId::from(keypair.public());
    let secured = noise::Config::new(&keypair).expect("noise signs with any Ed25519 key");
    let transport = MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(secured)
        .multiplex(yamux::Config::default())
        .boxed();
    let about = identify::Config::new("test/1".to_owned(), keypair.public());
    let behaviour = Peer {
        about: identify::Behaviour::new(about),
        own: own(id),
    };
    let config = libp2p::swarm::Config::with_wasm_executor();
    let mut swarm = Swarm::new(transport, behaviour, id, config);
    let any = "/memory/0".parse().expect("an address");
    swarm.listen_on(any).expect("memory listens");
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            let address = address.with_p2p(id).expect("it names no other peer");
            return (swarm, address);
        }
    }
}

/// Lets both go on until `enough` says so of an event of the first's.
async fn drive<A: NetworkBehaviour, B: NetworkBehaviour>(
    first: &mut Swarm<Peer<A>>,
    second: &mut Swarm<Peer<B>>,
    mut enough: impl FnMut(SwarmEvent<PeerEvent<A>>) -> bool,
) {
    loop {
        let event = {
            let (one, other) = (pin!(first.next()), pin!(second.next()));
            match select(one, other).await {
                Either::Left((event, _)) => event,
                Either::Right(_) => None,
            }
        };
        if event.is_some_and(&mut enough) {
            return;
        }
    }
}

/// A peer that announces what it likes.
fn speaker(_: PeerId) -> Speaker {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| message.data.clone().into())
        .build()
        .expect("the numbers are in order");
    gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config)
        .expect("anonymous messages go with anonymous validation")
}

#[wasm_bindgen_test]
async fn what_is_rejected_counts_against_who_brought_it() {
    let (mut liar, address) = peer(speaker).await;
    let (mut honest, _) = peer(|_| gossip::gossipsub()).await;
    let topic = IdentTopic::new(ANNOUNCE_TOPIC);
    honest.dial(address).expect("an address");
    drive(&mut liar, &mut honest, |event| {
        matches!(
            event,
            SwarmEvent::Behaviour(PeerEvent::Own(gossipsub::Event::Subscribed { .. }))
        )
    })
    .await;
    let id = *liar.local_peer_id();
    let score = |swarm: &Swarm<Peer<Gossipsub>>| swarm.behaviour().own.peer_score(&id);
    assert!(score(&honest) >= Some(0.0));
    for (word, worst) in [("a lie", -20.0), ("another", -80.0)] {
        let own = &mut liar.behaviour_mut().own;
        own.publish(topic.clone(), word)
            .expect("there is a listener");
        let mut heard = None;
        drive(&mut honest, &mut liar, |event| {
            if let SwarmEvent::Behaviour(PeerEvent::Own(gossipsub::Event::Message {
                message_id,
                message,
                ..
            })) = event
            {
                assert_eq!(message.data, word.as_bytes());
                heard = Some(message_id);
            }
            heard.is_some()
        })
        .await;
        let message = heard.expect("it was heard");
        let own = &mut honest.behaviour_mut().own;
        own.report_message_validation_result(&message, &id, MessageAcceptance::Reject);
        let now = score(&honest).expect("a neighbour has a score");
        assert!(now < worst + 1.0, "{now} after {word:?}");
    }
}

#[wasm_bindgen_test]
async fn what_the_fence_hides_is_not_seen() {
    for (sees, expected) in [(all as fn(&Multiaddr) -> bool, 1), (none, 0)] {
        let (mut one, address) = peer(speaker).await;
        let (mut other, _) = peer(|_| Fenced::new(gossip::gossipsub(), sees)).await;
        other.dial(address).expect("an address");
        // Its protocols are told when all are settled.
        let told = |event| {
            matches!(
                event,
                SwarmEvent::Behaviour(PeerEvent::About(identify::Event::Received { .. }))
            )
        };
        drive(&mut other, &mut one, told).await;
        let gossip = &other.behaviour().own.inner;
        assert_eq!(gossip.all_peers().count(), expected);
    }
}

fn all(_: &Multiaddr) -> bool {
    true
}

fn none(_: &Multiaddr) -> bool {
    false
}

/// A relay's table that knows of another relay, which nobody reaches.
fn server(id: PeerId) -> kad::Behaviour<MemoryStore> {
    let config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
    let mut server = kad::Behaviour::with_config(id, MemoryStore::new(id), config);
    server.set_mode(Some(kad::Mode::Server));
    let stranger = "/memory/4711".parse().expect("an address");
    server.add_address(&PeerId::random(), stranger);
    server
}

/// Asks `question` once the table is known, and waits for the end of the answer. Nobody but the
/// relay is dialled.
async fn ask<B: NetworkBehaviour>(
    client: &mut Swarm<Peer<Fenced<Kad>>>,
    relay: &mut Swarm<Peer<B>>,
    question: impl FnOnce(&mut Kad),
    mut answer: impl FnMut(QueryResult),
) {
    let knows = |event| {
        matches!(
            event,
            SwarmEvent::Behaviour(PeerEvent::Own(kad::Event::RoutingUpdated { .. }))
        )
    };
    drive(client, relay, knows).await;
    question(&mut client.behaviour_mut().own.inner);
    drive(client, relay, |event| match event {
        SwarmEvent::Behaviour(PeerEvent::Own(kad::Event::OutboundQueryProgressed {
            result,
            step,
            ..
        })) => {
            let asked = !matches!(result, QueryResult::Bootstrap(_));
            if asked {
                answer(result);
            }
            asked && step.last
        }
        SwarmEvent::Dialing { peer_id, .. }
        | SwarmEvent::OutgoingConnectionError { peer_id, .. } => panic!("dials {peer_id:?}"),
        _ => false,
    })
    .await;
}

#[wasm_bindgen_test]
async fn who_provides_a_model_is_found_in_the_table_and_no_stranger_is_dialled() {
    let (mut relay, address) = peer(server).await;
    let (mut donor, _) = peer(table::behaviour).await;
    let (mut seeker, _) = peer(table::behaviour).await;
    let key = table::key(ModelId([7; 32]));
    // Without an address a provider is not told of; a node has those of its circuits.
    donor.add_external_address("/memory/9".parse().expect("an address"));
    donor.dial(address.clone()).expect("an address");
    let provide = |kad: &mut Kad| {
        kad.start_providing(key.clone()).expect("there is room");
    };
    ask(&mut donor, &mut relay, provide, |result| {
        let kept = matches!(result, QueryResult::StartProviding(Ok(_)));
        assert!(kept, "{result:?}");
    })
    .await;
    // What is provided is sent when the question has ended.
    drive(&mut relay, &mut donor, |event| {
        let request = match event {
            SwarmEvent::Behaviour(PeerEvent::Own(kad::Event::InboundRequest { request })) => {
                request
            }
            _ => return false,
        };
        matches!(request, InboundRequest::AddProvider { .. })
    })
    .await;
    seeker.dial(address).expect("an address");
    let mut found = BTreeSet::new();
    let find = |kad: &mut Kad| {
        kad.get_providers(key.clone());
    };
    ask(&mut seeker, &mut relay, find, |result| {
        if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) =
            result
        {
            found.extend(providers);
        }
    })
    .await;
    assert_eq!(found, BTreeSet::from([*donor.local_peer_id()]));
}

/// Dials an address of its own choice, and says so when that is refused.
struct Knocker {
    to: Option<Multiaddr>,
    refused: bool,
}

impl NetworkBehaviour for Knocker {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.refused |= matches!(event, FromSwarm::DialFailure(_));
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<(), THandlerInEvent<Self>>> {
        if let Some(address) = self.to.take() {
            let opts = address.into();
            return Poll::Ready(ToSwarm::Dial { opts });
        }
        if std::mem::take(&mut self.refused) {
            return Poll::Ready(ToSwarm::GenerateEvent(()));
        }
        Poll::Pending
    }
}

#[wasm_bindgen_test]
async fn who_is_fenced_does_not_dial() {
    let (_host, address) = peer(speaker).await;
    let knocker = Knocker {
        to: None,
        refused: false,
    };
    let (mut fenced, _) = peer(|_| Fenced::new(knocker, all)).await;
    fenced.behaviour_mut().own.inner.to = Some(address);
    loop {
        match fenced.select_next_some().await {
            SwarmEvent::Dialing { .. } => panic!("it knocks"),
            SwarmEvent::Behaviour(PeerEvent::Own(())) => return,
            _ => {}
        }
    }
}

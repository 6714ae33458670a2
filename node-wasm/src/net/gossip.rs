//! What goes to everybody: gossip from tab to tab, of which the machine judges every message before
//! it is passed on.
//!
//! A neighbour's score falls steeply with each message that the machine rejects: after the first it
//! gets nothing more to pass on, after the second it is not listened to. Rates are not scored here,
//! for announcements are few; the machine counts them.

use super::fenced::Fenced;
use super::{Net, node_id};
use libp2p::PeerId;
use libp2p::gossipsub::{
    Behaviour, ConfigBuilder, Event, IdentTopic, MaxCountSubscriptionFilter, Message,
    MessageAcceptance, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    PublishError, TopicHash, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use thrum_hive::io::{GossipId, Input, Topic, Verdict};
use thrum_protocol::ANNOUNCE_TOPIC;
use thrum_protocol::limits::{MAX_CAPABILITY_BYTES, MAX_CAPABILITY_LIFE};
use thrum_rtc::address::is_webrtc;

/// bytes; a message with its envelope.
const MAX_TRANSMIT: usize = 2 * MAX_CAPABILITY_BYTES;

/// count; neighbours that each message is passed on to, at least, and at most. A node has eight to
/// sixteen links.
const MESH: (usize, usize, usize) = (6, 4, 10);

/// count; of those neighbours, how many this node dialled: nobody surrounds it.
const MESH_OUTBOUND: usize = 2;

/// s; how often gossip looks after its mesh and tells others what they may have missed. Records live
/// for minutes.
const HEARTBEAT: Duration = Duration::from_secs(4);

/// count; neighbours outside the mesh that are told at each heartbeat what there is.
const LAZY: usize = 3;

/// count; topics a neighbour may follow, and change in one message. There is one.
const MAX_TOPICS: usize = 4;

/// score; what one rejected message costs; the second costs three times as much.
const REJECTED: f64 = -20.0;

/// s; how fast what was rejected is forgotten.
const FORGIVEN: Duration = Duration::from_secs(30 * 60);

pub(super) type Filter = MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>;
pub(super) type Gossipsub = Behaviour<libp2p::gossipsub::IdentityTransform, Filter>;

/// Messages that wait for the machine's verdict. It comes before anything else happens.
#[derive(Default)]
pub(super) struct Unjudged {
    next: u64,
    messages: BTreeMap<GossipId, (MessageId, PeerId)>,
}

/// Gossip that sees direct connections only and follows every topic of the machine's.
pub(super) fn behaviour() -> Fenced<Gossipsub> {
    Fenced::new(gossipsub(), is_webrtc)
}

pub(super) fn gossipsub() -> Gossipsub {
    let (mesh, low, high) = MESH;
    let config = ConfigBuilder::default()
        .validate_messages()
        // What is announced carries its author's signature; a second envelope would say no more.
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message: &Message| MessageId::from(Sha256::digest(&message.data).to_vec()))
        .duplicate_cache_time(Duration::from_millis(MAX_CAPABILITY_LIFE.0))
        .max_transmit_size(MAX_TRANSMIT)
        .mesh_n(mesh)
        .mesh_n_low(low)
        .mesh_n_high(high)
        .mesh_outbound_min(MESH_OUTBOUND)
        .gossip_lazy(LAZY)
        .history_gossip(2)
        .heartbeat_interval(HEARTBEAT)
        .flood_publish(false)
        .build()
        .expect("the numbers are in order");
    let topics = HashSet::from([topic(Topic::Announce).hash()]);
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(topics),
        max_subscribed_topics: MAX_TOPICS,
        max_subscriptions_per_request: MAX_TOPICS,
    };
    let anonymous = MessageAuthenticity::Anonymous;
    let mut gossip = Behaviour::new_with_subscription_filter(anonymous, config, filter)
        .expect("anonymous messages go with anonymous validation");
    let (score, thresholds) = scoring();
    gossip
        .with_peer_score(score, thresholds)
        .expect("the weights have the right signs");
    gossip
        .subscribe(&topic(Topic::Announce))
        .expect("the filter lets the topic through");
    gossip
}

fn topic(topic: Topic) -> IdentTopic {
    IdentTopic::new(match topic {
        Topic::Announce => ANNOUNCE_TOPIC,
    })
}

fn topic_of(hash: &TopicHash) -> Option<Topic> {
    (*hash == topic(Topic::Announce).hash()).then_some(Topic::Announce)
}

fn scoring() -> (PeerScoreParams, PeerScoreThresholds) {
    let announce = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(60),
        time_in_mesh_cap: 60.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: decay(FORGIVEN),
        first_message_deliveries_cap: 40.0,
        // A neighbour with nothing to say is as good as any.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: REJECTED,
        invalid_message_deliveries_decay: decay(FORGIVEN),
        ..TopicScoreParams::default()
    };
    let score = PeerScoreParams {
        topics: HashMap::from([(topic(Topic::Announce).hash(), announce)]),
        // Of tabs behind one NAT there may be many, and a circuit shows its relay's address.
        ip_colocation_factor_weight: 0.0,
        decay_interval: HEARTBEAT,
        retain_score: FORGIVEN,
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        gossip_threshold: REJECTED / 2.0,
        publish_threshold: REJECTED,
        graylist_threshold: 2.0 * REJECTED,
        ..PeerScoreThresholds::default()
    };
    (score, thresholds)
}

/// What remains of a count after one [`HEARTBEAT`], if next to nothing is to remain after `span`.
fn decay(span: Duration) -> f64 {
    const NEXT_TO_NOTHING: f64 = 0.01;
    NEXT_TO_NOTHING.powf(HEARTBEAT.as_secs_f64() / span.as_secs_f64())
}

impl Net {
    /// Tells everybody who follows the topic.
    pub(crate) fn publish(&mut self, about: Topic, bytes: Vec<u8>) {
        let gossip = &mut self.swarm.behaviour_mut().gossip.inner;
        match gossip.publish(topic(about), bytes) {
            Ok(_) | Err(PublishError::Duplicate) => {}
            Err(error) => {
                tracing::debug!(%error, "nobody heard an announcement");
                self.ready.push_back(Input::NotPublished(about));
            }
        }
    }

    /// Passes a message on, or not.
    pub(crate) fn judged(&mut self, id: GossipId, verdict: Verdict) {
        let Some((message, from)) = self.unjudged.messages.remove(&id) else {
            return;
        };
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip.inner;
        gossip.report_message_validation_result(&message, &from, acceptance);
    }

    /// The machine is asked about a message.
    pub(super) fn on_gossip(&mut self, event: Event) {
        let Event::Message {
            propagation_source,
            message_id,
            message,
        } = event
        else {
            return;
        };
        let id = GossipId(self.unjudged.next);
        self.unjudged.next += 1;
        let heard = (message_id, propagation_source);
        self.unjudged.messages.insert(id, heard);
        let from = node_id(&propagation_source);
        let about = topic_of(&message.topic);
        let (Some(from), Some(topic)) = (from, about) else {
            return self.judged(id, Verdict::Ignore);
        };
        self.ready.push_back(Input::Gossip {
            from,
            topic,
            bytes: message.data,
            id,
        });
    }
}

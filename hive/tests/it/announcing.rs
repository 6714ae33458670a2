//! What is announced and when, what becomes of what others announce, and who is looked for.

use crate::bench::{Bench, MODEL, RELAY, Remote, breaches, offer, request};
use thrum_hive::io::{Found, GossipId, Input, Output, Place, Topic, Verdict, Way};
use thrum_hive::limits::{
    ANNOUNCE_ENOUGH, ANNOUNCE_ENOUGH_OF_MODEL, ANNOUNCE_PERIOD_MIN, ANNOUNCE_SPACING, GOSSIP_BURST,
    MAX_ANNOUNCED, MAX_CLOCK_SKEW, MAX_SOUGHT_DIALS,
};
use thrum_protocol::capability::{CapabilityRecord, SpeedClass};
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::limits::MAX_CAPABILITY_LIFE;
use thrum_protocol::model::ModelOffer;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{AskRequest, Command};

/// ms since 1970.
const TODAY: u64 = 1_800_000_000_000;

/// A machine that knows the time, with a place at a relay and one direct neighbour.
struct Town {
    bench: Bench,
    neighbour: Remote,
    relay: NodeId,
}

impl Town {
    fn new() -> Self {
        let mut bench = Bench::new();
        let relay = Remote::new(250).id;
        let neighbour = Remote::new(1);
        bench.tell(Input::WallClock(Millis(TODAY)));
        bench.tell(Input::RelayIdentified {
            relay: RELAY,
            id: relay,
        });
        bench.reserve();
        bench.connect(neighbour.id);
        Self {
            bench,
            neighbour,
            relay,
        }
    }

    /// A record of `author` that was signed now.
    fn record(&self, model: u8) -> CapabilityRecord {
        let sequence = TODAY + self.bench.now.0;
        CapabilityRecord {
            sequence,
            expires: sequence + MAX_CAPABILITY_LIFE.0,
            relays: vec![self.relay],
            models: vec![a_model(model)],
            backend: None,
            speed: SpeedClass(4),
            slots: 2,
        }
    }

    /// What becomes of bytes that the neighbour passes on.
    fn hear(&mut self, bytes: Vec<u8>) -> (Verdict, Vec<Output>) {
        let from = self.neighbour.id;
        self.hear_from(from, bytes)
    }

    fn hear_from(&mut self, from: NodeId, bytes: Vec<u8>) -> (Verdict, Vec<Output>) {
        let outputs = self.bench.tell(Input::Gossip {
            from,
            topic: Topic::Announce,
            bytes,
            id: GossipId(7),
        });
        let verdicts = outputs.iter().filter_map(|output| match output {
            Output::GossipVerdict { id, verdict } => Some((*id, *verdict)),
            _ => None,
        });
        let verdicts: Vec<_> = verdicts.collect();
        assert_eq!(verdicts.len(), 1, "one verdict for one message");
        assert_eq!(verdicts[0].0, GossipId(7));
        (verdicts[0].1, outputs)
    }

    fn verdict(&mut self, author: &Remote, record: &CapabilityRecord) -> Verdict {
        let (verdict, outputs) = self.hear(author.announce(record));
        assert_eq!(breaches(&outputs), [""; 0]);
        verdict
    }

    /// Peers from 100 on announce a model.
    fn crowd(&mut self, model: u8, count: usize) {
        for place in 0..count {
            let author = Remote::new(100 + u8::try_from(place).expect("a small crowd"));
            let record = self.record(model);
            assert_eq!(self.verdict(&author, &record), Verdict::Accept);
        }
    }

    fn announced(&self) -> Vec<NodeId> {
        let announced = self.bench.snapshot().announced;
        announced.into_iter().map(|one| one.peer_id).collect()
    }
}

fn a_model(byte: u8) -> ModelOffer {
    ModelOffer {
        id: ModelId([byte; 32]),
        name: format!("model {byte}"),
        context_tokens: 512,
    }
}

/// What was published, with the key it was signed with.
fn published(outputs: &[Output]) -> Vec<(NodeId, CapabilityRecord)> {
    let records = outputs.iter().filter_map(|output| match output {
        Output::Publish {
            topic: Topic::Announce,
            bytes,
        } => Some(CapabilityRecord::open(bytes).expect("what is published opens")),
        _ => None,
    });
    records.collect()
}

fn asked(outputs: &[Output]) -> Vec<Place> {
    let places = outputs.iter().filter_map(|output| match output {
        Output::LookUp { place, .. } => Some(*place),
        _ => None,
    });
    places.collect()
}

fn dialled(outputs: &[Output]) -> Vec<(NodeId, Vec<String>)> {
    let dials = outputs.iter().filter_map(|output| match output {
        Output::Dial {
            peer,
            addresses,
            way: Way::Direct,
        } => Some((*peer, addresses.clone())),
        _ => None,
    });
    dials.collect()
}

fn wants(model: u8) -> Command {
    Command::Ask(AskRequest {
        model: Some(ModelId([model; 32]).to_string()),
        ..request(1)
    })
}

#[test]
fn a_donor_says_what_it_offers_and_where_it_is_reached() {
    let mut town = Town::new();
    town.bench.donate(2);
    let outputs = town.bench.pass(Millis(5_000));
    let [(author, record)] = &published(&outputs)[..] else {
        panic!("one announcement: {outputs:?}");
    };
    assert_eq!(*author, town.bench.id);
    assert_eq!(record.models, [offer()]);
    assert_eq!(record.relays, [town.relay]);
    assert_eq!(record.slots, 2);
    assert_eq!(record.speed, SpeedClass::of(10_000));
    assert!((TODAY..TODAY + 6_000).contains(&record.sequence));
    assert_eq!(record.expires - record.sequence, MAX_CAPABILITY_LIFE.0);
}

#[test]
fn who_offers_nothing_says_nothing() {
    let mut town = Town::new();
    town.bench.engine_ready();
    let outputs = town.bench.pass(Millis(3_600_000));
    assert_eq!(published(&outputs), []);
}

#[test]
fn nothing_is_said_without_a_neighbour_or_a_clock() {
    let mut bench = Bench::new();
    bench.reserve();
    bench.donate(2);
    bench.tell(Input::WallClock(Millis(TODAY)));
    assert_eq!(published(&bench.pass(Millis(600_000))), []);
    let mut bench = Bench::new();
    bench.connect(Remote::new(1).id);
    bench.donate(2);
    assert_eq!(published(&bench.pass(Millis(600_000))), []);
}

#[test]
fn what_went_nowhere_is_said_again() {
    let mut town = Town::new();
    town.bench.donate(2);
    assert_eq!(published(&town.bench.pass(Millis(5_000))).len(), 1);
    town.bench.tell(Input::NotPublished(Topic::Announce));
    let again = published(&town.bench.pass(ANNOUNCE_SPACING));
    assert_eq!(again.len(), 1);
}

#[test]
fn an_offer_that_nobody_shares_is_renewed_before_it_ends() {
    let mut town = Town::new();
    town.bench.donate(2);
    let mut ends = TODAY + 10_000;
    let mut said = 0;
    for _ in 0..720 {
        for (_, record) in published(&town.bench.pass(Millis(5_000))) {
            assert!(record.sequence < ends, "the last one had ended");
            ends = record.expires;
            said += 1;
        }
    }
    // An hour of one to two in every period.
    let least = 3_600_000 / ANNOUNCE_PERIOD_MIN.0;
    assert!((least..=2 * least + 1).contains(&said), "{said}");
}

#[test]
fn where_enough_others_offer_the_same_one_more_is_silent() {
    let mut town = Town::new();
    town.crowd(9, ANNOUNCE_ENOUGH_OF_MODEL);
    town.bench.donate(2);
    assert_eq!(published(&town.bench.pass(Millis(60_000))), []);
}

#[test]
fn where_others_offer_something_else_one_speaks() {
    let mut town = Town::new();
    town.crowd(8, ANNOUNCE_ENOUGH_OF_MODEL);
    town.bench.donate(2);
    assert_eq!(published(&town.bench.pass(Millis(60_000))).len(), 1);
}

#[test]
fn where_too_much_is_said_already_even_a_rare_model_waits() {
    let mut town = Town::new();
    for place in 0..ANNOUNCE_ENOUGH {
        let byte = 20 + u8::try_from(place).expect("a small crowd");
        let record = town.record(byte);
        assert_eq!(town.verdict(&Remote::new(byte), &record), Verdict::Accept);
    }
    town.bench.donate(2);
    assert_eq!(published(&town.bench.pass(Millis(30_000))), []);
    // What was heard is long ago by the time it is due again.
    let later = published(&town.bench.pass(Millis(20 * 60_000)));
    assert!(!later.is_empty());
}

#[test]
fn what_is_offered_no_longer_is_taken_back() {
    let mut town = Town::new();
    town.bench.donate(2);
    town.bench.pass(Millis(30_000));
    let outputs = town.bench.command(Command::Finish);
    let withdrawn = |output: &&Output| matches!(output, Output::Withdraw { .. });
    assert_eq!(outputs.iter().filter(withdrawn).count(), 2);
    let outputs = town.bench.pass(Millis(3_600_000));
    let [(_, record)] = &published(&outputs)[..] else {
        panic!("one last word: {outputs:?}");
    };
    assert_eq!(record.models, []);
}

#[test]
fn changes_are_not_said_more_often_than_the_spacing() {
    let mut town = Town::new();
    let mut said = Vec::new();
    for round in 0..60 {
        let speed = 1_000 << (round % 8);
        town.bench.donate(2);
        town.bench.tell(Input::EngineReady {
            model: offer(),
            backend: thrum_protocol::model::Backend::Cpu,
            threads: None,
            millitokens_per_second: speed,
        });
        let outputs = town.bench.pass(Millis(1_000));
        said.extend(published(&outputs).into_iter().map(|it| it.1.sequence));
    }
    assert!(said.len() > 2, "{said:?}");
    let close = |pair: &[u64]| pair[1] - pair[0] < ANNOUNCE_SPACING.0;
    assert!(!said.windows(2).any(close), "{said:?}");
}

#[test]
fn what_an_honest_peer_announces_is_passed_on_and_known() {
    let mut town = Town::new();
    let author = Remote::new(30);
    let record = town.record(5);
    assert_eq!(town.verdict(&author, &record), Verdict::Accept);
    let announced = town.bench.snapshot().announced;
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].peer_id, author.id);
    assert_eq!(announced[0].models[0].id, ModelId([5; 32]));
    assert_eq!(announced[0].expires_in_millis, MAX_CAPABILITY_LIFE);
    town.bench.pass(MAX_CAPABILITY_LIFE);
    assert_eq!(town.announced(), []);
}

#[test]
fn what_a_peer_takes_back_is_known_no_longer() {
    let mut town = Town::new();
    let author = Remote::new(30);
    let first = town.record(5);
    assert_eq!(town.verdict(&author, &first), Verdict::Accept);
    town.bench.pass(Millis(20_000));
    let mut none = town.record(5);
    none.models.clear();
    assert_eq!(town.verdict(&author, &none), Verdict::Accept);
    assert_eq!(town.announced(), []);
    assert_eq!(town.verdict(&author, &first), Verdict::Ignore);
    assert_eq!(town.announced(), []);
}

#[test]
fn old_and_repeated_and_far_future_records_go_no_further() {
    let mut town = Town::new();
    let author = Remote::new(30);
    let first = town.record(5);
    town.bench.pass(Millis(20_000));
    let second = town.record(6);
    assert_eq!(town.verdict(&author, &second), Verdict::Accept);
    assert_eq!(town.verdict(&author, &second), Verdict::Ignore);
    assert_eq!(town.verdict(&author, &first), Verdict::Ignore);

    let other = Remote::new(31);
    let mut early = town.record(5);
    early.sequence += MAX_CLOCK_SKEW.0 + 1;
    early.expires = early.sequence + 1_000;
    assert_eq!(town.verdict(&other, &early), Verdict::Ignore);
    let mut over = town.record(5);
    over.sequence -= 5_000;
    over.expires = over.sequence + 5_000;
    assert_eq!(town.verdict(&other, &over), Verdict::Ignore);
    assert_eq!(town.announced(), [author.id]);
}

#[test]
fn our_own_words_and_those_of_liars_go_no_further() {
    let mut town = Town::new();
    let record = town.record(5);
    let own = Remote::new(200);
    assert_eq!(own.id, town.bench.id);
    assert_eq!(town.verdict(&own, &record), Verdict::Ignore);
    let liar = Remote::new(30);
    town.bench.connect(liar.id);
    let (verdict, _) = town.hear_from(liar.id, b"{}".to_vec());
    assert_eq!(verdict, Verdict::Reject);
    assert_eq!(town.verdict(&liar, &record), Verdict::Ignore);
}

#[test]
fn a_neighbour_that_passes_on_forgeries_is_named() {
    let mut town = Town::new();
    let mut bytes = Remote::new(30).announce(&town.record(5));
    let at = String::from_utf8_lossy(&bytes)
        .find("\"slots\":2")
        .expect("a number")
        + 8;
    bytes[at] = b'9';
    let (verdict, outputs) = town.hear(bytes);
    assert_eq!(verdict, Verdict::Reject);
    assert_eq!(
        breaches(&outputs),
        ["sent a message with a wrong signature"]
    );
    assert_eq!(town.announced(), []);
    let mut long = town.record(5);
    long.expires += 1;
    let (verdict, outputs) = town.hear(Remote::new(30).announce(&long));
    assert_eq!(verdict, Verdict::Reject);
    assert!(breaches(&outputs)[0].contains("holds for 600001 ms"));
}

#[test]
fn a_neighbour_that_floods_is_named_and_dropped() {
    let mut town = Town::new();
    let old = town.record(5);
    let author = Remote::new(30);
    assert_eq!(town.verdict(&author, &old), Verdict::Accept);
    let bytes = author.announce(&old);
    let mut named = 0;
    let mut dropped = false;
    for _ in 0..GOSSIP_BURST + 8 {
        let (verdict, outputs) = town.hear(bytes.clone());
        let breaches = breaches(&outputs);
        assert_eq!(verdict == Verdict::Reject, !breaches.is_empty());
        named += breaches.len();
        let from = town.neighbour.id;
        dropped |= outputs.contains(&Output::Disconnect { peer: from });
    }
    assert!(named >= 3, "{named}");
    assert!(dropped);
}

#[test]
fn an_author_that_floods_is_named_and_its_neighbours_are_not() {
    let mut town = Town::new();
    let author = Remote::new(30);
    town.bench.connect(author.id);
    let mut verdicts = Vec::new();
    for _ in 0..6 {
        town.bench.pass(Millis(100));
        let bytes = author.announce(&town.record(5));
        verdicts.push(town.hear(bytes).0);
    }
    assert_eq!(verdicts[..3], [Verdict::Accept; 3]);
    assert_eq!(verdicts[3..], [Verdict::Ignore; 3]);
    town.bench.pass(Millis(100));
    let bytes = author.announce(&town.record(5));
    let (verdict, outputs) = town.hear_from(author.id, bytes);
    assert_eq!(verdict, Verdict::Reject);
    assert_eq!(breaches(&outputs), ["floods with announcements"]);
}

#[test]
fn of_many_that_offer_the_same_some_are_forgotten_and_the_rare_one_is_not() {
    let mut town = Town::new();
    let rare = Remote::new(1);
    let record = town.record(77);
    assert_eq!(town.verdict(&rare, &record), Verdict::Accept);
    for place in 0..MAX_ANNOUNCED + 40 {
        let author = Remote::numbered(place);
        town.bench.pass(Millis(1_000));
        let record = town.record(5);
        assert_eq!(town.verdict(&author, &record), Verdict::Accept);
    }
    let announced = town.announced();
    assert_eq!(announced.len(), MAX_ANNOUNCED);
    assert!(announced.contains(&rare.id));
}

#[test]
fn who_announced_a_model_is_dialled_for_the_ask_that_wants_it() {
    let mut town = Town::new();
    town.crowd(5, 6);
    let outputs = town.bench.command(wants(5));
    let dials = dialled(&outputs);
    assert!(dials.len() >= MAX_SOUGHT_DIALS, "{dials:?}");
    let (peer, addresses) = &dials[0];
    let expected = format!("/p2p/{}/p2p-circuit/p2p/{peer}", town.relay);
    assert_eq!(addresses, &[expected]);
    assert_eq!(asked(&outputs), []);
}

#[test]
fn a_model_that_nobody_announced_is_looked_up_at_the_relay_and_then_in_the_table() {
    let mut town = Town::new();
    town.crowd(5, 3);
    let outputs = town.bench.command(wants(6));
    let rendezvous = Place::Rendezvous(RELAY);
    assert_eq!(asked(&outputs), [rendezvous]);
    assert_eq!(dialled(&outputs), []);
    let model = ModelId([6; 32]);
    let nobody = |place| Input::LookedUp {
        place,
        model,
        found: Vec::new(),
    };
    assert_eq!(asked(&town.bench.tell(nobody(rendezvous))), [Place::Kad]);
    let donor = Remote::new(40).id;
    let found = vec![Found {
        peer: donor,
        addresses: vec!["/a".to_owned()],
    }];
    let outputs = town.bench.tell(Input::LookedUp {
        place: Place::Kad,
        model,
        found,
    });
    assert_eq!(dialled(&outputs), [(donor, vec!["/a".to_owned()])]);
}

#[test]
fn a_relay_that_does_not_answer_is_not_waited_for() {
    let mut town = Town::new();
    assert_eq!(
        asked(&town.bench.command(wants(6))),
        [Place::Rendezvous(RELAY)]
    );
    assert_eq!(asked(&town.bench.pass(Millis(4_000))), [Place::Kad]);
    // While the ask waits it is looked up again.
    let again = asked(&town.bench.pass(Millis(5_000)));
    assert_eq!(again, [Place::Rendezvous(RELAY)]);
    let later = asked(&town.bench.pass(Millis(120_000)));
    assert!(later.len() <= 3, "the ask is over: {later:?}");
}

#[test]
fn answers_that_nobody_waits_for_change_nothing() {
    let mut town = Town::new();
    let outputs = town.bench.tell(Input::LookedUp {
        place: Place::Kad,
        model: MODEL,
        found: vec![Found {
            peer: Remote::new(40).id,
            addresses: vec!["/a".to_owned()],
        }],
    });
    assert_eq!(dialled(&outputs), []);
}

#[test]
fn what_is_offered_is_written_down_again_and_again() {
    let mut town = Town::new();
    town.bench.donate(2);
    let outputs = town.bench.pass(Millis(3_600_000));
    for place in [Place::Rendezvous(RELAY), Place::Kad] {
        let offer = Output::Offer {
            place,
            model: MODEL,
        };
        let times = outputs.iter().filter(|output| **output == offer).count();
        assert!((7..30).contains(&times), "{place:?}: {times}");
    }
}

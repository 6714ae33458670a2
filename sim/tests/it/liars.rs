//! One liar at a time: the fastest donor lies, an honest one is there too. Each test names how the
//! lie is found out. Silence is not reported as a lie: it happens to the honest.

use crate::scene::Scene;
use thrum_protocol::id::NodeId;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{AskErrorCode, AskUpdate, Command, DonateLimits};
use thrum_sim::crowd::model;
use thrum_sim::liar::Lie;
use thrum_sim::network::Weather;
use thrum_sim::peer::{Peer, PeerIndex};
use thrum_sim::world::{Nature, World};

#[test]
fn accepting_twice_is_found_by_what_is_due() {
    provider_is_found(Lie::AcceptsTwice, "sent `accept`, which is not due");
}

#[test]
fn a_wrong_count_is_found_by_counting() {
    provider_is_found(Lie::CountsWrong, "tokens where");
}

#[test]
fn endless_tokens_are_found_by_the_limit_asked_for() {
    let mut scene = Scene::new(20, &[(Some(Lie::Endless), 5), (None, 40)], None);
    let request = scene.request(20);
    let ask = scene.ask(request);
    let AskUpdate::Failed { code, message } = scene.end_of(ask) else {
        panic!("the invented tokens were taken for the answer");
    };
    let reports = scene.reports(scene.asker, scene.donors[0]);
    assert!(reports[0].contains("sent more tokens than were asked for"));
    // Its tokens had been shown before it went too far, and the honest donor contradicts them.
    assert_eq!(code, AskErrorCode::ProvidersFailed);
    assert!(message.contains("wrong beginning"), "{message}");
}

#[test]
fn garbage_is_found_by_parsing() {
    provider_is_found(Lie::Garbage, "sent bytes that are no message");
}

#[test]
fn heartbeats_without_end_are_found_by_their_rate() {
    provider_is_found(Lie::HeartbeatFlood, "floods with heartbeats");
}

#[test]
fn a_huge_frame_is_found_by_its_length() {
    provider_is_found(Lie::Huge, "at most");
}

#[test]
fn tokens_for_another_peer_are_found_by_the_recipient() {
    provider_is_found(Lie::OtherRecipient, "meant for another peer");
}

#[test]
fn tokens_of_another_task_are_found_by_the_task() {
    provider_is_found(Lie::OtherTask, "sent a message of another task");
}

#[test]
fn a_repeated_frame_is_found_by_its_number() {
    provider_is_found(Lie::RepeatsFrames, "sent message number");
}

#[test]
fn repeated_tokens_are_found_by_their_index() {
    provider_is_found(Lie::RepeatsTokens, "repeated tokens");
}

#[test]
fn tokens_left_out_are_found_by_their_index() {
    provider_is_found(Lie::SkipsTokens, "left tokens out");
}

#[test]
fn a_foreign_signature_is_found_by_the_sender() {
    provider_is_found(Lie::SignsAsAnother, "signed by another peer");
}

#[test]
fn a_wrong_signature_is_found_by_verifying() {
    provider_is_found(Lie::WrongSignature, "with a wrong signature");
}

#[test]
fn a_forbidden_truncation_is_found_by_the_request() {
    provider_is_found(Lie::Drops, "though nothing may be dropped");
}

#[test]
fn a_wrong_trim_is_found_by_the_stop_strings() {
    provider_is_found(Lie::TrimsWrong, "that are no stop string");
}

#[test]
fn frames_of_an_earlier_attempt_are_found_by_the_task() {
    let mut scene = Scene::new(21, &[(Some(Lie::ReplaysAttempt), 5), (None, 40)], None);
    let liar = scene.donors[0];
    let first = scene.request(20);
    assert_eq!(scene.answers_rightly(first), 1);
    assert_eq!(scene.reports(scene.asker, liar), [""; 0]);
    let second = scene.request(20);
    assert!(scene.answers_rightly(second) > 1);
    let reports = scene.reports(scene.asker, liar);
    assert!(reports[0].contains("of another task"), "{reports:?}");
}

#[test]
fn silence_after_acceptance_is_ended_by_the_heartbeat_that_is_missing() {
    provider_is_given_up(Lie::SilentAfterAccept, "silent for 6 s");
}

#[test]
fn silence_from_the_start_is_ended_by_the_wait_for_acceptance() {
    provider_is_given_up(Lie::SilentAlways, "no answer within 10 s");
}

#[test]
fn pieces_that_are_no_text_become_replacement_characters() {
    let mut scene = Scene::new(23, &[(Some(Lie::InvalidUtf8), 5)], None);
    let request = scene.request(10);
    let ask = scene.ask(request);
    let AskUpdate::Done { text, .. } = scene.end_of(ask) else {
        panic!("no answer");
    };
    // Not detectable: the tokens are well formed and signed by the peer that was asked.
    assert!(text.contains('\u{fffd}'));
    assert_eq!(scene.asked(ask).streamed(), text);
}

#[test]
fn a_liar_is_not_asked_again() {
    let mut scene = Scene::new(24, &[(Some(Lie::OtherTask), 5), (None, 40)], None);
    let liar = scene.donors[0];
    for expected_attempts in [2, 1, 1] {
        let request = scene.request(10);
        assert_eq!(scene.answers_rightly(request), expected_attempts);
    }
    assert_eq!(scene.reports(scene.asker, liar).len(), 1);
}

#[test]
fn an_asker_that_replays_is_refused_and_reported() {
    asker_is_found(Lie::AskerReplays, "repeated a task that was seen before");
}

#[test]
fn invented_hints_lead_nowhere_and_cost_the_liar_its_links() {
    let donors = [(Some(Lie::HintsInvented), 5), (None, 40)];
    let mut world = neighbours(60, &donors);
    world.run_until(Millis(120_000));
    let view = world.peers[2].hive.snapshot(world.now);
    let linked: Vec<_> = view.peers.iter().map(|peer| peer.peer_id).collect();
    assert!(!linked.contains(&world.peers[0].id), "it asked us to leave");
    assert!(linked.contains(&world.peers[1].id));
    assert_eq!(world.peers[2].misbehaviours, [], "parting is no breach");
}

#[test]
fn hints_without_end_are_found_by_the_rate_of_streams() {
    neighbour_is_found(Lie::HintsFlood, "floods with streams");
}

#[test]
fn a_hint_of_too_many_is_found_by_its_limit() {
    neighbour_is_found(Lie::HintsTooMany, "over its limit");
}

#[test]
fn a_neighbour_that_hangs_up_is_dialled_less_and_less() {
    let mut world = neighbours(63, &[(Some(Lie::Refuses), 5), (None, 40)]);
    let mut connected = Vec::new();
    for _ in 0..6 {
        let before = connections(&world, 0);
        world.run_until(world.now + Millis(5 * 60_000));
        connected.push(connections(&world, 0) - before);
    }
    assert!(connected[0] > connected[5], "{connected:?}");
    assert!(connected[5] <= 6, "{connected:?}");
    let view = world.peers[2].hive.snapshot(world.now);
    assert!(
        view.peers
            .iter()
            .any(|peer| peer.peer_id == world.peers[1].id)
    );
}

#[test]
fn an_asker_that_floods_is_reported_and_disconnected() {
    asker_is_found(Lie::AskerFloods, "floods with streams");
}

#[test]
fn an_asker_that_signs_as_another_is_reported() {
    asker_is_found(Lie::AskerSignsAsAnother, "signed by another peer");
}

#[test]
fn an_asker_that_stays_silent_costs_the_donor_nothing() {
    let mut scene = Scene::new(31, &[(None, 5)], Some(Lie::AskerStaysSilent));
    for _ in 0..4 {
        let request = scene.request(10);
        scene.ask(request);
    }
    scene.world.run_until(scene.world.now + Millis(60_000));
    let donor = scene.donors[0];
    let view = scene.world.peers[donor.0].hive.snapshot(scene.world.now);
    assert_eq!(view.donation.jobs, []);
    assert_eq!(view.donation.tokens_done, 0);
}

/// The lie is reported in these words, costs the liar its reputation, and the honest donor answers.
fn provider_is_found(lie: Lie, words: &str) {
    let mut scene = Scene::new(20, &[(Some(lie), 5), (None, 40)], None);
    let liar = scene.donors[0];
    let request = scene.request(20);
    let ask = request.ask;
    assert_eq!(scene.answers_rightly(request), 2);
    let reports = scene.reports(scene.asker, liar);
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].contains(words), "{reports:?}");
    assert_eq!(scene.retries(ask), reports);
    let asker = &scene.world.peers[scene.asker.0];
    let view = asker.hive.snapshot(scene.world.now);
    let id = scene.world.peers[liar.0].id;
    let seen = view.peers.iter().find(|peer| peer.peer_id == id);
    assert!(seen.is_some_and(|peer| peer.reputation < Some(0.2)));
}

fn provider_is_given_up(lie: Lie, words: &str) {
    let mut scene = Scene::new(22, &[(Some(lie), 5), (None, 40)], None);
    let liar = scene.donors[0];
    let request = scene.request(20);
    let ask = request.ask;
    assert_eq!(scene.answers_rightly(request), 2);
    assert_eq!(scene.retries(ask), [words]);
    assert_eq!(scene.reports(scene.asker, liar), [""; 0]);
}

/// The donor reports the lie in these words and goes on serving an honest asker.
fn asker_is_found(lie: Lie, words: &str) {
    let mut scene = Scene::new(30, &[(None, 5)], Some(lie));
    let (donor, liar) = (scene.donors[0], scene.asker);
    let request = scene.request(20);
    scene.ask(request);
    scene.world.run_until(scene.world.now + Millis(20_000));
    let reports = scene.reports(donor, liar);
    assert!(
        reports.iter().any(|report| report.contains(words)),
        "{reports:?}"
    );
    scene.join_honest_asker();
    let request = scene.request(20);
    assert_eq!(scene.answers_rightly(request), 1);
}

/// Donors, of whom the first lies to its neighbours, and a peer that looks on.
fn neighbours(seed: u64, donors: &[(Option<Lie>, u64)]) -> World {
    let weather = Weather {
        latency: Millis(10),
        jitter: Millis(10),
        loss_ppm: 0,
    };
    let mut world = World::new(seed, 1, weather);
    for &(lie, step) in donors.iter().chain(&[(None, 10)]) {
        world.add(Nature {
            model: Some(model()),
            lie,
            step: Millis(step),
            batch: 1,
        });
    }
    world
}

fn neighbour_is_found(lie: Lie, how: &str) {
    let mut world = neighbours(61, &[(Some(lie), 5), (None, 40)]);
    world.run_until(Millis(60_000));
    let liar = world.peers[0].id;
    for honest in &world.peers[1..] {
        let reports = honest.misbehaviours.iter();
        assert!(
            honest
                .misbehaviours
                .iter()
                .all(|(accused, _)| *accused == liar)
        );
        assert!(
            reports.clone().any(|(_, what)| what.contains(how)),
            "{:?}",
            honest.misbehaviours
        );
    }
}

/// How often the peer was connected, as its own log says.
fn connections(world: &World, peer: usize) -> usize {
    let start = format!(" {peer} ");
    let of = |line: &&str| line.contains(&start) && line.contains("connected to peer");
    world.log.lines().filter(of).count()
}

#[test]
fn a_forged_announcement_is_found_by_verifying() {
    let world = donors_announce(Lie::AnnouncesForged);
    announcer_is_found(&world, "with a wrong signature");
    assert_eq!(who_knows_of_the_liar(&world), [0_usize; 0]);
}

#[test]
fn announcements_without_end_are_found_by_their_rate() {
    let world = donors_announce(Lie::AnnouncesFlood);
    announcer_is_found(&world, "floods with announcements");
}

#[test]
fn an_announcement_repeated_without_end_is_found_by_its_rate() {
    let world = donors_announce(Lie::AnnouncesReplayed);
    announcer_is_found(&world, "floods with announcements");
}

#[test]
fn an_announcement_that_has_ended_convinces_nobody() {
    let world = donors_announce(Lie::AnnouncesLate);
    assert_eq!(who_knows_of_the_liar(&world), [0_usize; 0]);
    let reports = world.peers.iter().map(|peer| peer.misbehaviours.len());
    assert_eq!(reports.sum::<usize>(), 0, "a clock may be wrong");
}

/// Six donors, the first of whom lies about itself, and what they know after two minutes. The honest
/// all know each other.
fn donors_announce(lie: Lie) -> World {
    let mut donors = vec![(Some(lie), 5)];
    donors.extend([(None, 40); 5]);
    let mut world = neighbours(63, &donors);
    for donor in 0..donors.len() {
        world.command(PeerIndex(donor), Command::Donate(DonateLimits::default()));
    }
    world.run_until(Millis(120_000));
    for donor in 1..donors.len() {
        let id = world.peers[donor].id;
        for honest in world.peers[1..].iter().filter(|peer| peer.id != id) {
            assert!(knows(&world, honest, id), "donor {donor}");
        }
    }
    world
}

fn knows(world: &World, peer: &Peer, of: NodeId) -> bool {
    let view = peer.hive.snapshot(world.now);
    view.announced.iter().any(|it| it.peer_id == of)
}

fn who_knows_of_the_liar(world: &World) -> Vec<usize> {
    let liar = world.peers[0].id;
    let knowing = |(_, peer): &(usize, &Peer)| knows(world, peer, liar);
    let knowing = world.peers.iter().enumerate().filter(knowing);
    knowing.map(|(place, _)| place).collect()
}

/// Its direct neighbours say so, and nobody accuses anybody else.
fn announcer_is_found(world: &World, how: &str) {
    let liar = world.peers[0].id;
    let mut found = 0;
    for honest in &world.peers[1..] {
        for (accused, what) in &honest.misbehaviours {
            assert_eq!(*accused, liar, "{what}");
            found += usize::from(what.contains(how));
        }
    }
    assert!(found > 0);
}

//! Single accidents at the worst moment.

use crate::scene::Scene;
use thrum_hive::io::Input;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{AskErrorCode, AskUpdate, Command, Event, Path, Route, State};
use thrum_sim::peer::PeerIndex;
use thrum_sim::world::{Happening, World};

#[test]
fn a_killed_provider_is_replaced_and_the_answer_is_identical() {
    let mut scene = Scene::new(1, &[(None, 20), (None, 40)], None);
    let request = scene.request(40);
    let whole = World::undisturbed(&request, thrum_sim::crowd::model().id);
    let ask = scene.ask(request);
    scene.run_until_tokens(ask, 15);
    let (first, second) = (scene.donors[0], scene.donors[1]);
    scene.world.at(scene.world.now, Happening::Die(first));
    let AskUpdate::Done {
        text,
        provider,
        attempts,
        completion_tokens,
        path,
        first_token_millis,
        total_millis,
        ..
    } = scene.end_of(ask)
    else {
        panic!("no answer");
    };
    assert_eq!(text, whole.text());
    assert_eq!(provider, scene.world.peers[second.0].id);
    assert_eq!(attempts, 2);
    assert_eq!(completion_tokens as usize, whole.tokens.len());
    assert!(matches!(path, Some(Path::Direct | Path::Relayed)));
    assert!(first_token_millis < total_millis);
    // The second went on after the last token: it computed only the rest.
    let computed = contribution(&scene, second);
    assert!(computed + 15 <= completion_tokens, "computed {computed}");
}

#[test]
fn a_pause_half_way_moves_the_answer_to_another_peer() {
    let mut scene = Scene::new(2, &[(None, 20), (None, 40)], None);
    let request = scene.request(40);
    let whole = World::undisturbed(&request, thrum_sim::crowd::model().id);
    let ask = scene.ask(request);
    scene.run_until_tokens(ask, 10);
    scene.world.command(scene.donors[0], Command::Pause);
    assert!(scene.world.peers[scene.donors[0].0].engine.jobs.is_empty());
    let end = scene.end_of(ask);
    let AskUpdate::Done { text, attempts, .. } = end else {
        panic!("no answer: {end:?}");
    };
    assert_eq!((text, attempts), (whole.text(), 2));
    assert_eq!(scene.retries(ask), ["the donor paused"]);
}

#[test]
fn finishing_completes_the_task_at_hand_and_takes_no_other() {
    let mut scene = Scene::new(3, &[(None, 20)], None);
    let donor = scene.donors[0];
    let request = scene.request(40);
    let ask = scene.ask(request);
    scene.run_until_tokens(ask, 10);
    scene.world.command(donor, Command::Finish);
    assert!(matches!(
        scene.end_of(ask),
        AskUpdate::Done { attempts: 1, .. }
    ));
    let next = scene.request(10);
    let next = scene.ask(next);
    let AskUpdate::Failed { code, .. } = scene.end_of(next) else {
        panic!("a finished donor answered");
    };
    assert_eq!(code, AskErrorCode::NoProvider);
}

#[test]
fn a_lost_device_is_reloaded_and_the_answer_is_identical() {
    let mut scene = Scene::new(4, &[(None, 20)], None);
    let donor = scene.donors[0];
    let request = scene.request(40);
    let whole = World::undisturbed(&request, thrum_sim::crowd::model().id);
    let ask = scene.ask(request);
    scene.run_until_tokens(ask, 10);
    scene
        .world
        .at(scene.world.now, Happening::EngineLost(donor));
    let end = scene.end_of(ask);
    let AskUpdate::Done { text, attempts, .. } = end else {
        panic!("no answer: {end:?}");
    };
    assert_eq!((text, attempts), (whole.text(), 2));
}

#[test]
fn a_limit_of_the_donor_cuts_the_answer_into_parts_that_fit_together() {
    let mut scene = Scene::new(5, &[(None, 5)], None);
    let limits = thrum_protocol::view::DonateLimits {
        slots: 1,
        max_new_tokens: 16,
        ..Default::default()
    };
    scene
        .world
        .command(scene.donors[0], Command::Donate(limits));
    scene.world.run_until(scene.world.now + Millis(2_000));
    let request = scene.request(50);
    let parts = scene.answers_rightly(request);
    assert!(parts >= 4, "{parts} parts");
}

#[test]
fn the_deadline_ends_an_ask_that_nobody_finishes() {
    let mut scene = Scene::new(6, &[(None, 1_500)], None);
    let mut request = scene.request(40);
    request.deadline_millis = Millis(20_000);
    let ask = scene.ask(request);
    let AskUpdate::Failed { code, .. } = scene.end_of(ask) else {
        panic!("answered");
    };
    assert_eq!(code, AskErrorCode::DeadlinePassed);
    let (at, _) = *scene
        .asked(ask)
        .ends()
        .next()
        .map(|(at, _)| (*at, ()))
        .as_ref()
        .expect("ended");
    assert_eq!(at, scene.asked(ask).at + Millis(20_000));
    assert!(scene.world.peers[scene.donors[0].0].engine.jobs.is_empty());
}

#[test]
fn an_unknown_model_is_named_in_the_error() {
    let mut scene = Scene::new(7, &[(None, 5)], None);
    let mut request = scene.request(5);
    request.model = Some("no-such-model".to_owned());
    let ask = scene.ask(request);
    let AskUpdate::Failed { code, message } = scene.end_of(ask) else {
        panic!("answered");
    };
    assert_eq!(code, AskErrorCode::UnknownModel);
    assert!(message.contains("no-such-model"), "{message}");
}

#[test]
fn the_model_is_found_by_its_id_too() {
    let mut scene = Scene::new(8, &[(None, 5)], None);
    let mut request = scene.request(5);
    request.model = Some(thrum_sim::crowd::model().id.to_string());
    assert_eq!(scene.answers_rightly(request), 1);
}

#[test]
fn a_given_peer_is_asked_and_no_other() {
    let mut scene = Scene::new(9, &[(None, 5), (None, 40)], None);
    let slow = scene.world.peers[scene.donors[1].0].id;
    let mut request = scene.request(10);
    request.route = Route::PeerId(slow);
    let ask = scene.ask(request);
    let AskUpdate::Done { provider, .. } = scene.end_of(ask) else {
        panic!("no answer");
    };
    assert_eq!(provider, slow);
}

#[test]
fn an_asker_that_leaves_frees_the_donor() {
    let mut scene = Scene::new(10, &[(None, 100)], None);
    let request = scene.request(40);
    let ask = scene.ask(request);
    scene.run_until_tokens(ask, 5);
    scene.world.at(scene.world.now, Happening::Die(scene.asker));
    scene.world.run_until(scene.world.now + Millis(15_000));
    let donor = &scene.world.peers[scene.donors[0].0];
    assert!(donor.engine.jobs.is_empty());
    assert_eq!(
        donor.hive.snapshot(scene.world.now).status.state,
        State::Ready
    );
}

#[test]
fn a_cancelled_ask_stops_the_donor() {
    let mut scene = Scene::new(11, &[(None, 100)], None);
    let request = scene.request(40);
    let ask = scene.ask(request);
    scene.run_until_tokens(ask, 5);
    scene.world.command(scene.asker, Command::CancelAsk { ask });
    let AskUpdate::Failed { code, .. } = scene.end_of(ask) else {
        panic!("answered");
    };
    assert_eq!(code, AskErrorCode::Cancelled);
    assert!(scene.world.peers[scene.donors[0].0].engine.jobs.is_empty());
}

#[test]
fn the_relay_may_die_while_a_direct_answer_streams() {
    let mut scene = Scene::new(12, &[(None, 50)], None);
    let request = scene.request(40);
    let whole = World::undisturbed(&request, thrum_sim::crowd::model().id);
    let ask = scene.ask(request);
    scene.run_until_tokens(ask, 5);
    scene.world.at(scene.world.now, Happening::RelayDies(0));
    scene
        .world
        .at(scene.world.now + Millis(3_000), Happening::RelayReturns(0));
    let end = scene.end_of(ask);
    let AskUpdate::Done { text, .. } = end else {
        panic!("no answer: {end:?}");
    };
    assert_eq!(text, whole.text());
}

#[test]
fn the_choice_to_donate_survives_a_reload() {
    let mut scene = Scene::new(13, &[(None, 5)], None);
    let donor = scene.donors[0];
    let store = scene.world.peers[donor.0].store.clone();
    let key = thrum_hive::io::StoreKey::Donation;
    let value = store.get(&key).cloned();
    let reloaded = scene.world.add(thrum_sim::world::Nature {
        model: Some(thrum_sim::crowd::model()),
        lie: None,
        step: Millis(5),
        batch: 1,
    });
    // Before the empty store of the new tab answers.
    scene.world.tell(reloaded, Input::Loaded { key, value });
    scene.world.run_until(scene.world.now + Millis(5_000));
    let view = scene.world.peers[reloaded.0].hive.snapshot(scene.world.now);
    assert_eq!(view.donation.mode, thrum_protocol::view::DonationMode::On);
    assert!(view.model.is_some());
}

fn contribution(scene: &Scene, peer: PeerIndex) -> u32 {
    let events = scene.world.peers[peer.0].events.iter();
    let tokens = |event: &Event| match event {
        Event::Contribution { tokens, .. } => *tokens,
        Event::Ask { .. }
        | Event::Changed
        | Event::Genome { .. }
        | Event::Log(_)
        | Event::Misbehaviour { .. }
        | Event::Progress { .. } => 0,
    };
    events.map(tokens).sum()
}

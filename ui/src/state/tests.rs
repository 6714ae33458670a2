//! Cases of the reducer.

use super::*;
use crate::conversation::Phase;
use crate::log::MAX_LINES;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{
    DonationMode, DonationView, LogLevel, ModelView, Reachability, Status, StorageView,
};

fn snapshot(state: State, model: Option<u8>) -> Rc<Snapshot> {
    let model = model.map(|byte| ModelView {
        id: ModelId([byte; 32]),
        name: "demo".to_owned(),
        context_tokens: 512,
    });
    Rc::new(Snapshot {
        peer_id: "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"
            .parse()
            .expect("a peer id"),
        status: Status {
            state,
            reason: String::new(),
            model: model.as_ref().map(|model| model.name.clone()),
            backend: None,
            threads: None,
            threads_reason: None,
            reachability: Reachability::default(),
            version: "0".to_owned(),
            commit: "0".to_owned(),
        },
        relays: Vec::new(),
        peers: Vec::new(),
        announced: Vec::new(),
        donation: DonationView {
            mode: DonationMode::Off,
            jobs: Vec::new(),
            jobs_done: 0,
            tokens_done: 0,
        },
        model,
        storage: StorageView {
            persistent: true,
            reason: None,
        },
    })
}

fn seen(state: State, model: Option<u8>) -> Action {
    Action::Seen {
        snapshot: snapshot(state, model),
        role: Role::Owner,
    }
}

fn progressed(stage: &str, loaded: u64) -> Action {
    Action::Progressed {
        stage: stage.to_owned(),
        loaded,
        total: Some(100),
    }
}

fn after(actions: impl IntoIterator<Item = Action>) -> App {
    actions.into_iter().fold(App::default(), App::reduce)
}

fn asked() -> Action {
    Action::Asked {
        ask: 1,
        prompt: "abc".to_owned(),
    }
}

fn last_phase(app: &App) -> Phase {
    let turn = app.conversation.turns().next_back();
    turn.expect("a turn").phase.clone()
}

#[test]
fn nothing_runs_before_somebody_says_yes() {
    assert_eq!(App::default().life, Life::Asking);
    assert_eq!(after([Action::Starting]).life, Life::Starting);
    assert_eq!(
        after([Action::Starting, Action::Started]).life,
        Life::Running
    );
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let app = after([Action::Starting, Action::Failed("no storage".to_owned())]);
    assert_eq!(app.life, Life::Failed("no storage".to_owned()));
}

#[test]
fn progress_is_shown_until_the_model_is_there() {
    let app = after([seen(State::Connecting, None), progressed("download", 50)]);
    assert_eq!(app.progress.as_ref().map(|p| p.loaded), Some(50));
    let app = app.reduce(seen(State::Connecting, None));
    assert!(app.progress.is_some(), "another snapshot is no arrival");
    assert_eq!(app.reduce(seen(State::Ready, Some(1))).progress, None);
}

#[test]
fn progress_of_a_second_model_outlives_snapshots_of_the_first() {
    let app = after([
        seen(State::Ready, Some(1)),
        progressed("download", 10),
        seen(State::Ready, Some(1)),
    ]);
    assert!(app.progress.is_some());
    assert_eq!(app.reduce(seen(State::Ready, Some(2))).progress, None);
}

#[test]
fn the_same_model_again_has_arrived_after_the_probe() {
    let app = after([
        seen(State::Ready, Some(1)),
        progressed("download", 10),
        progressed("probe", 100),
        seen(State::Ready, Some(1)),
    ]);
    assert_eq!(app.progress, None);
}

#[test]
fn progress_ends_with_an_error() {
    let app = after([progressed("download", 10), seen(State::Error, None)]);
    assert_eq!(app.progress, None);
}

#[test]
fn closing_forgets_the_node_and_fails_what_is_open() {
    let app = after([
        Action::Started,
        seen(State::Ready, Some(1)),
        asked(),
        Action::Closed,
    ]);
    assert_eq!(app.life, Life::Asking);
    assert_eq!(app.snapshot, None);
    assert!(matches!(last_phase(&app), Phase::Failed { .. }));
}

#[test]
fn an_answer_goes_on_when_this_tab_takes_over() {
    let follower = Action::Seen {
        snapshot: snapshot(State::Ready, None),
        role: Role::Follower,
    };
    let app = after([follower, asked(), seen(State::Connecting, None)]);
    assert_eq!(app.role, Role::Owner);
    assert_eq!(last_phase(&app), Phase::Waiting, "the node asks anew");
}

#[test]
fn an_answer_survives_snapshots_of_the_same_tab() {
    let app = after([asked(), seen(State::Ready, None), seen(State::Ready, None)]);
    assert_eq!(last_phase(&app), Phase::Waiting);
}

#[test]
fn stopping_is_immediate_and_a_new_conversation_is_empty() {
    let app = after([asked(), Action::Stopped { ask: 1 }]);
    assert_eq!(last_phase(&app), Phase::Stopped);
    assert!(app.reduce(Action::NewConversation).conversation.is_empty());
}

#[test]
fn the_log_is_bounded() {
    let lines = (0..MAX_LINES as u64 * 2)
        .map(|at| LogLine {
            at_millis: Millis(at),
            level: LogLevel::Info,
            message: String::new(),
        })
        .collect();
    let app = after([Action::Logged(lines)]);
    assert_eq!(app.log.at_least(LogLevel::Debug).count(), MAX_LINES);
}

#[test]
fn a_missing_catalogue_is_no_catalogue() {
    let app = after([Action::Catalogue(Err("404".to_owned()))]);
    assert_eq!(app.catalogue(), None);
    assert_eq!(app.catalogue, Fetched::Failed("404".to_owned()));
}

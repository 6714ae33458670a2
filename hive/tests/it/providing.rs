//! Computing for others: what is taken, what is refused and why, and how it stops.

use crate::bench::{Bench, Remote, a_prompt, accepted, breaches, refusal, said, token};
use thrum_hive::io::{Input, JobId, Output, StreamId, StreamKind};
use thrum_hive::limits::{PROMPT_TIMEOUT, STREAM_BURST};
use thrum_protocol::id::{ModelId, TaskId};
use thrum_protocol::limits::HEARTBEAT_PERIOD;
use thrum_protocol::task::{FinishReason, Prompt, RefusalCode, TaskBody, TaskMessage};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Discarded;
use thrum_protocol::view::{Command, DonationMode, State};

#[test]
fn the_page_sees_what_computes_and_why_it_is_not_more() {
    let mut bench = Bench::new();
    assert_eq!(bench.snapshot().status.threads, None);
    bench.engine_ready();
    let status = bench.snapshot().status;
    assert_eq!(status.threads, Some(1));
    let reason = "the page is not cross-origin isolated";
    assert_eq!(status.threads_reason.as_deref(), Some(reason));
}

#[test]
fn nothing_is_computed_before_the_person_donates() {
    let mut bench = Bench::new();
    bench.engine_ready();
    let (_, outputs) = ask(&mut bench, 1, 1, a_prompt());
    assert_eq!(refusal(&outputs), Some(RefusalCode::NotDonating));
    assert_eq!(accepted(&outputs), None);
}

#[test]
fn a_task_is_accepted_computed_and_done() {
    let (mut bench, asker, stream, job) = computing();
    assert_eq!(bench.snapshot().status.state, State::Working);
    assert_eq!(bench.snapshot().donation.jobs[0].peer_id, asker.id);
    let tokens = vec![token(b"x"); 70];
    let outputs = bench.tell(Input::JobTokens { job, tokens });
    let messages = said(&outputs);
    // In frames of at most 64, numbered on after the acceptance.
    let numbers: Vec<u64> = messages.iter().map(|message| message.number).collect();
    assert_eq!(numbers, [1, 2]);
    let outputs = bench.tell(Input::JobDone {
        job,
        finish_reason: FinishReason::Length,
        prompt_tokens: 3,
        trimmed_bytes: 0,
        discarded: Discarded::default(),
    });
    let TaskBody::Done(done) = said(&outputs).remove(0).body else {
        panic!("not done");
    };
    assert_eq!(done.completion_tokens, 70);
    assert!(outputs.contains(&Output::Close(stream)));
    let donation = bench.snapshot().donation;
    assert_eq!((donation.jobs_done, donation.tokens_done), (1, 70));
}

#[test]
fn each_refusal_has_its_code() {
    let mut other_model = a_prompt();
    other_model.model = ModelId([1; 32]);
    check_refusal(other_model, RefusalCode::ModelUnavailable);
    let mut too_many = a_prompt();
    too_many.max_new_tokens = 101;
    check_refusal(too_many, RefusalCode::InvalidRequest);
    let mut full = a_prompt();
    full.resumed = vec![1; 50];
    check_refusal(full, RefusalCode::InvalidRequest);
    let mut late = a_prompt();
    late.deadline_millis = Millis(0);
    check_refusal(late, RefusalCode::DeadlinePassed);
}

#[test]
fn slots_bound_the_tasks_and_one_peer_leaves_one_to_others() {
    let mut bench = Bench::new();
    bench.donate(3);
    assert_eq!(refusal(&ask(&mut bench, 1, 1, a_prompt()).1), None);
    assert_eq!(refusal(&ask(&mut bench, 1, 2, a_prompt()).1), None);
    let third = ask(&mut bench, 1, 3, a_prompt()).1;
    assert_eq!(refusal(&third), Some(RefusalCode::Busy));
    assert_eq!(refusal(&ask(&mut bench, 2, 4, a_prompt()).1), None);
    let full = ask(&mut bench, 3, 5, a_prompt()).1;
    assert_eq!(refusal(&full), Some(RefusalCode::Busy));
}

#[test]
fn with_one_slot_peers_take_turns() {
    let mut bench = Bench::new();
    bench.donate(1);
    let job = accepted(&ask(&mut bench, 1, 1, a_prompt()).1).expect("taken");
    assert_eq!(
        refusal(&ask(&mut bench, 2, 2, a_prompt()).1),
        Some(RefusalCode::Busy)
    );
    finish(&mut bench, job);
    // The first may not go again before the one that waits.
    assert_eq!(
        refusal(&ask(&mut bench, 1, 3, a_prompt()).1),
        Some(RefusalCode::Busy)
    );
    assert_eq!(refusal(&ask(&mut bench, 2, 4, a_prompt()).1), None);
}

#[test]
fn a_task_seen_before_is_refused_and_reported() {
    let (mut bench, asker, stream, _) = computing();
    let cancel = task_message(&bench, 1, 1, TaskBody::Cancel {});
    let bytes = asker.say(&cancel);
    bench.tell(Input::Frame { stream, bytes });
    let (_, outputs) = ask(&mut bench, 1, 1, a_prompt());
    assert_eq!(refusal(&outputs), Some(RefusalCode::Replayed));
    assert_eq!(breaches(&outputs), ["repeated a task that was seen before"]);
}

#[test]
fn a_prompt_for_another_peer_or_by_another_is_a_breach() {
    let mut bench = Bench::new();
    bench.donate(2);
    let (asker, other) = (Remote::new(1), Remote::new(2));
    bench.connect(asker.id);
    let mut misdirected = task_message(&bench, 1, 0, TaskBody::Prompt(a_prompt()));
    misdirected.recipient_id = other.id;
    let outputs = first_frame(&mut bench, &asker, asker.say(&misdirected));
    assert!(breaches(&outputs)[0].contains("meant for another peer"));
    let message = task_message(&bench, 1, 0, TaskBody::Prompt(a_prompt()));
    let outputs = first_frame(&mut bench, &asker, other.say(&message));
    assert!(breaches(&outputs)[0].contains("signed by another peer"));
    let heartbeat = task_message(&bench, 1, 0, TaskBody::Heartbeat {});
    let outputs = first_frame(&mut bench, &asker, asker.say(&heartbeat));
    assert!(breaches(&outputs)[0].contains("not due"));
    assert!(
        outputs.contains(&Output::Disconnect { peer: asker.id }),
        "the third lie"
    );
}

#[test]
fn heartbeats_are_said_while_nothing_else_is() {
    let (mut bench, _, _, job) = computing();
    let outputs = bench.pass(Millis(3 * HEARTBEAT_PERIOD.0));
    let beats = said(&outputs);
    assert_eq!(beats.len(), 3);
    assert!(beats.iter().all(|beat| beat.body == TaskBody::Heartbeat {}));
    bench.tell(Input::JobTokens {
        job,
        tokens: vec![token(b"x")],
    });
    assert_eq!(said(&bench.pass(Millis(HEARTBEAT_PERIOD.0 - 1))), []);
}

#[test]
fn a_pause_stops_everything_within_one_drain() {
    let (mut bench, _, stream, job) = computing();
    let outputs = bench.command(Command::Pause);
    assert!(outputs.contains(&Output::Cancel(job)));
    assert!(outputs.contains(&Output::Close(stream)));
    assert_eq!(refusal(&outputs), Some(RefusalCode::Stopping));
    let view = bench.snapshot();
    assert_eq!(view.donation.mode, DonationMode::Paused);
    assert_eq!(view.donation.jobs, []);
    assert_eq!(view.status.state, State::Paused);
    // What the engine had under way is nobody's.
    let tokens = vec![token(b"x")];
    assert_eq!(said(&bench.tell(Input::JobTokens { job, tokens })), []);
}

#[test]
fn finishing_completes_and_then_is_off() {
    let (mut bench, _, _, job) = computing();
    bench.command(Command::Finish);
    assert_eq!(bench.snapshot().donation.mode, DonationMode::Finishing);
    let (_, outputs) = ask(&mut bench, 2, 9, a_prompt());
    assert_eq!(refusal(&outputs), Some(RefusalCode::Stopping));
    finish(&mut bench, job);
    assert_eq!(bench.snapshot().donation.mode, DonationMode::Off);
}

#[test]
fn a_deadline_ends_the_task_on_both_sides() {
    let (mut bench, _, stream, job) = computing();
    let outputs = bench.pass(Millis(30_000));
    assert_eq!(refusal(&outputs), Some(RefusalCode::DeadlinePassed));
    assert!(outputs.contains(&Output::Cancel(job)));
    assert!(outputs.contains(&Output::Close(stream)));
}

#[test]
fn a_stream_that_ends_cancels_the_job() {
    let (mut bench, _, stream, job) = computing();
    let reason = "gone".to_owned();
    let outputs = bench.tell(Input::StreamClosed { stream, reason });
    assert!(outputs.contains(&Output::Cancel(job)));
}

#[test]
fn a_lost_engine_tells_the_asker_and_is_loaded_again() {
    let (mut bench, _, _, _) = computing();
    let reason = "device lost".to_owned();
    let outputs = bench.tell(Input::EngineLost { reason });
    assert_eq!(refusal(&outputs), Some(RefusalCode::EngineFailed));
    assert!(
        !outputs
            .iter()
            .any(|output| matches!(output, Output::Cancel(_)))
    );
    assert!(bench.pass(Millis(3_000)).contains(&Output::LoadModel));
}

#[test]
fn an_engine_that_never_loads_is_left_alone_until_the_person_acts() {
    let mut bench = Bench::new();
    bench.command(Command::Donate(
        thrum_protocol::view::DonateLimits::default(),
    ));
    let mut loads = 1;
    for _ in 0..10 {
        let reason = "no memory".to_owned();
        bench.tell(Input::EngineLost { reason });
        let outputs = bench.pass(Millis(60_000));
        loads += outputs
            .iter()
            .filter(|output| **output == Output::LoadModel)
            .count();
    }
    assert_eq!(loads, 4);
    let view = bench.snapshot();
    assert_eq!(view.status.state, State::Error);
    assert!(view.status.reason.contains("no memory"));
    let limits = thrum_protocol::view::DonateLimits::default();
    assert!(
        bench
            .command(Command::Donate(limits))
            .contains(&Output::LoadModel)
    );
}

#[test]
fn a_stream_without_a_prompt_is_closed() {
    let mut bench = Bench::new();
    bench.donate(1);
    let asker = Remote::new(1);
    bench.connect(asker.id);
    let (stream, _) = bench.accept(asker.id, StreamKind::Task);
    assert!(bench.pass(PROMPT_TIMEOUT).contains(&Output::Close(stream)));
}

#[test]
fn streams_opened_too_fast_are_a_breach() {
    let mut bench = Bench::new();
    let asker = Remote::new(1);
    bench.connect(asker.id);
    let mut reported = Vec::new();
    for _ in 0..=STREAM_BURST {
        reported.extend(breaches(&bench.accept(asker.id, StreamKind::Task).1));
    }
    assert_eq!(reported, ["floods with streams"]);
}

#[test]
fn closed_streams_make_room_for_others() {
    let mut bench = Bench::new();
    bench.donate(1);
    for task in 0..60 {
        let (_, outputs) = ask(&mut bench, 1, task, a_prompt());
        let job = accepted(&outputs).expect("taken");
        finish(&mut bench, job);
        bench.pass(Millis(1_000));
    }
}

fn check_refusal(prompt: Prompt, code: RefusalCode) {
    let mut bench = Bench::new();
    bench.donate(2);
    let (stream, outputs) = ask(&mut bench, 1, 1, prompt);
    assert_eq!(refusal(&outputs), Some(code));
    assert_eq!(accepted(&outputs), None);
    assert!(outputs.contains(&Output::Close(stream)));
    assert_eq!(breaches(&outputs), [""; 0]);
}

/// A donor that computes task 1 of peer 1.
fn computing() -> (Bench, Remote, StreamId, JobId) {
    let mut bench = Bench::new();
    bench.donate(2);
    let (stream, outputs) = ask(&mut bench, 1, 1, a_prompt());
    let job = accepted(&outputs).expect("taken");
    (bench, Remote::new(1), stream, job)
}

fn ask(bench: &mut Bench, peer: u8, task: u8, prompt: Prompt) -> (StreamId, Vec<Output>) {
    let remote = Remote::new(peer);
    bench.connect(remote.id);
    bench.prompt(&remote, task, prompt)
}

fn first_frame(bench: &mut Bench, remote: &Remote, bytes: Vec<u8>) -> Vec<Output> {
    let (stream, _) = bench.accept(remote.id, StreamKind::Task);
    bench.tell(Input::Frame { stream, bytes })
}

fn task_message(bench: &Bench, task: u8, number: u64, body: TaskBody) -> TaskMessage {
    TaskMessage {
        task_id: TaskId([task; 16]),
        attempt: 1,
        number,
        recipient_id: bench.id,
        body,
    }
}

fn finish(bench: &mut Bench, job: JobId) {
    bench.tell(Input::JobDone {
        job,
        finish_reason: FinishReason::Stop,
        prompt_tokens: 1,
        trimmed_bytes: 0,
        discarded: Discarded::default(),
    });
}

//! One ask: where it goes, what it believes, and how it ends.

use crate::bench::{
    Bench, MODEL, Remote, accepted, breaches, request, said, task_stream, token, updates,
};
use thrum_hive::io::{Input, JobId, Output, StreamId};
use thrum_hive::limits::{ACCEPT_TIMEOUT, MAX_ASKS, PATIENCE, SILENCE_TIMEOUT};
use thrum_protocol::id::ModelId;
use thrum_protocol::limits::{MAX_NEW_TOKENS, MAX_SAFE_INTEGER};
use thrum_protocol::sampling::{GenomeUse, Shift};
use thrum_protocol::task::{
    Done, FinishReason, Logprob, PromptInput, Refusal, RefusalCode, TaskBody, TaskMessage, Token,
    Tokens,
};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::{Discarded, Truncation};
use thrum_protocol::view::{AskErrorCode, AskRequest, AskUpdate, Command, Event, Route, State};

#[test]
fn without_a_provider_the_error_is_clear_and_in_time() {
    let mut bench = Bench::new();
    bench.command(Command::Ask(request(1)));
    let outputs = bench.pass(PATIENCE);
    let (code, message) = failure(&outputs);
    assert_eq!(code, AskErrorCode::NoProvider);
    assert!(message.contains("0 connected"), "{message}");
}

#[test]
fn wrong_requests_are_refused_at_once() {
    let wrong: [fn(&mut AskRequest); 8] = [
        |request| request.max_new_tokens = 0,
        |request| request.max_new_tokens = MAX_NEW_TOKENS + 1,
        |request| request.deadline_millis = Millis(0),
        |request| request.deadline_millis = Millis(u64::MAX),
        |request| request.stop = vec![String::new()],
        |request| request.sampling.seed = MAX_SAFE_INTEGER + 1,
        |request| request.sampling.genomes = vec![GENOME],
        |request| request.input = PromptInput::Text("x".repeat(40_000)),
    ];
    for (position, wrong) in wrong.iter().enumerate() {
        let mut request = request(1);
        wrong(&mut request);
        let outputs = Bench::new().command(Command::Ask(request));
        assert_eq!(
            failure(&outputs).0,
            AskErrorCode::InvalidRequest,
            "case {position}"
        );
    }
}

#[test]
fn one_ask_too_many_is_refused_and_the_others_go_on() {
    let mut bench = Bench::new();
    for ask in 0..MAX_ASKS as u64 {
        assert_eq!(updates(&bench.command(Command::Ask(request(ask)))), []);
    }
    let outputs = bench.command(Command::Ask(request(99)));
    assert_eq!(failure(&outputs).0, AskErrorCode::Busy);
    // The same number again is the same ask.
    assert_eq!(updates(&bench.command(Command::Ask(request(0)))), []);
    let outputs = bench.command(Command::CancelAsk { ask: 0 });
    assert_eq!(failure(&outputs).0, AskErrorCode::Cancelled);
}

#[test]
fn a_provider_drops_what_it_may_drop_and_says_so() {
    let discarded = Discarded {
        messages: 2,
        prompt_tokens: 40,
        context_tokens: 96,
    };
    for truncation in [Truncation::Auto, Truncation::Disabled] {
        let (mut bench, donor) = with_donor();
        let ask = AskRequest {
            truncation,
            ..request(1)
        };
        let (stream, prompt) = bench.streaming(&donor, ask);
        let TaskBody::Prompt(asked) = &prompt.body else {
            panic!("no prompt");
        };
        assert_eq!(asked.truncation, truncation);
        bench.hear(&donor, stream, &prompt, 1, tokens(0, &[b"a"]));
        let TaskBody::Done(done) = done(1, 0) else {
            panic!("not done");
        };
        let said = TaskBody::Done(Done { discarded, ..done });
        let updates = updates(&bench.hear(&donor, stream, &prompt, 2, said));
        match truncation {
            Truncation::Auto => assert!(
                matches!(&updates[..], [AskUpdate::Done { discarded: told, .. }] if *told == discarded)
            ),
            Truncation::Disabled => assert!(
                matches!(&updates[..], [AskUpdate::Retrying { reason, .. }] if reason.contains("nothing may be dropped"))
            ),
        }
    }
}

#[test]
fn an_answer_comes_as_text_and_ends_once() {
    let (mut bench, donor) = with_donor();
    let (stream, prompt) = bench.streaming(&donor, request(1));
    // A bee in two tokens, and a byte that belongs to nothing.
    let outputs = bench.hear(&donor, stream, &prompt, 1, tokens(0, &[b"a\xf0\x9f"]));
    assert_eq!(deltas(&outputs), ["a"]);
    let outputs = bench.hear(
        &donor,
        stream,
        &prompt,
        2,
        tokens(1, &[b"\x90\x9d", b"\xff!"]),
    );
    assert_eq!(deltas(&outputs), ["🐝\u{fffd}!"]);
    let outputs = bench.hear(&donor, stream, &prompt, 3, done(3, 0));
    let AskUpdate::Done {
        text,
        provider,
        completion_tokens,
        attempts,
        model,
        ..
    } = updates(&outputs).remove(0)
    else {
        panic!("not done");
    };
    assert_eq!(text, "a🐝\u{fffd}!");
    assert_eq!(
        (provider, completion_tokens, attempts, model),
        (donor.id, 3, 1, MODEL)
    );
    assert!(outputs.contains(&Output::Close(stream)));
    // A late frame is nobody's.
    let outputs = bench.hear(&donor, stream, &prompt, 4, tokens(3, &[b"x"]));
    assert_eq!(updates(&outputs), []);
}

#[test]
fn log_probabilities_that_were_asked_for_come_along_or_are_a_breach() {
    let mut ask = request(1);
    ask.sampling.logprobs = Some(0);
    let likely = || {
        let logprob = Logprob {
            surprisal_micro: 693_147,
            top: Vec::new(),
        };
        Token {
            logprob: Some(Box::new(logprob)),
            ..token(b"a")
        }
    };
    let frame = |first_index, tokens| {
        TaskBody::Tokens(Tokens {
            first_index,
            tokens,
        })
    };
    let (mut bench, donor) = with_donor();
    let (stream, prompt) = bench.streaming(&donor, ask);
    let outputs = bench.hear(&donor, stream, &prompt, 1, frame(0, vec![likely()]));
    let expected = AskUpdate::Delta {
        index: 0,
        text: "a".to_owned(),
        tokens: vec![likely()],
    };
    assert!(updates(&outputs).contains(&expected), "{outputs:?}");
    let outputs = bench.hear(&donor, stream, &prompt, 2, tokens(1, &[b"b"]));
    let told = |output: &Output| matches!(output, Output::Notify(Event::Misbehaviour { .. }));
    assert!(outputs.iter().any(told), "{outputs:?}");
}

#[test]
fn the_beginning_of_a_stop_string_is_held_back() {
    let (mut bench, donor) = with_donor();
    let mut ask = request(1);
    ask.stop = vec!["END".to_owned()];
    let (stream, prompt) = bench.streaming(&donor, ask);
    let outputs = bench.hear(&donor, stream, &prompt, 1, tokens(0, &[b"one E"]));
    assert_eq!(deltas(&outputs), ["one "]);
    let outputs = bench.hear(&donor, stream, &prompt, 2, tokens(1, &[b"N EN"]));
    assert_eq!(deltas(&outputs), ["EN "]);
    let outputs = bench.hear(&donor, stream, &prompt, 3, tokens(2, &[b"D."]));
    assert_eq!(deltas(&outputs), [""]);
    let outputs = bench.hear(&donor, stream, &prompt, 4, done(3, 4));
    let AskUpdate::Done { text, .. } = updates(&outputs).remove(0) else {
        panic!("not done");
    };
    assert_eq!(text, "one EN ");
}

#[test]
fn what_is_not_due_is_a_breach_and_ends_the_attempt() {
    let accept = TaskBody::Accept(thrum_protocol::task::Accept {
        backend: thrum_protocol::model::Backend::Cpu,
    });
    let refuse = TaskBody::Refuse(Refusal {
        code: RefusalCode::Busy,
        message: String::new(),
    });
    check_breach(1, accept, "`accept`, which is not due");
    check_breach(1, refuse, "`refuse`, which is not due");
    check_breach(1, TaskBody::Cancel {}, "`cancel`, which is not due");
    check_breach(
        5,
        TaskBody::Heartbeat {},
        "message number 5 where 1 was due",
    );
    check_breach(
        0,
        TaskBody::Heartbeat {},
        "message number 0 where 1 was due",
    );
    check_breach(1, tokens(1, &[b"x"]), "left tokens out: 1 where 0 was due");
    check_breach(1, tokens(0, &[]), "without tokens");
    check_breach(
        1,
        tokens(0, &[b"x".as_slice(); 51]),
        "more tokens than were asked for (50)",
    );
    check_breach(1, done(7, 0), "counts 7 tokens where 0 were received");
    check_breach(1, done(0, 3), "cuts 3 bytes off");
}

#[test]
fn another_attempt_number_is_a_breach() {
    let (mut bench, donor) = with_donor();
    let (stream, prompt) = bench.streaming(&donor, request(1));
    let earlier = TaskMessage {
        attempt: prompt.attempt + 1,
        ..prompt
    };
    let outputs = bench.hear(&donor, stream, &earlier, 1, TaskBody::Heartbeat {});
    assert_eq!(
        breaches(&outputs),
        ["sent a message of attempt 2 in attempt 1"]
    );
}

#[test]
fn a_silent_provider_is_given_up_after_three_heartbeats() {
    let (mut bench, donor) = with_donor();
    let (stream, prompt) = bench.streaming(&donor, request(1));
    bench.pass(Millis(SILENCE_TIMEOUT.0 - 1));
    bench.hear(&donor, stream, &prompt, 1, TaskBody::Heartbeat {});
    assert_eq!(updates(&bench.pass(Millis(SILENCE_TIMEOUT.0 - 1))), []);
    let outputs = bench.pass(Millis(1));
    let AskUpdate::Retrying { reason, .. } = &updates(&outputs)[0] else {
        panic!("not given up");
    };
    assert_eq!(reason, "silent for 6 s");
    assert_eq!(said(&outputs)[0].body, TaskBody::Cancel {});
    assert_eq!(breaches(&outputs), [""; 0]);
}

#[test]
fn a_provider_that_neither_accepts_nor_refuses_is_given_up() {
    let (mut bench, donor) = with_donor();
    let outputs = bench.command(Command::Ask(request(1)));
    bench.open_task(&donor, &outputs);
    let outputs = bench.pass(ACCEPT_TIMEOUT);
    assert!(matches!(updates(&outputs)[0], AskUpdate::Retrying { .. }));
}

#[test]
fn the_next_attempt_goes_on_after_the_last_token() {
    let (mut bench, donor) = with_donor();
    let (stream, prompt) = bench.streaming(&donor, request(1));
    bench.hear(&donor, stream, &prompt, 1, tokens(0, &[b"a", b"b"]));
    let other = Remote::new(2);
    bench.connect_donor(&other);
    let reason = "gone".to_owned();
    let outputs = bench.tell(Input::StreamClosed { stream, reason });
    let (stream, prompt) = bench.open_task(&other, &outputs);
    assert_eq!(prompt.attempt, 2);
    let TaskBody::Prompt(resumed) = &prompt.body else {
        panic!("no prompt");
    };
    assert_eq!(resumed.resumed, [1, 1]);
    let accept = TaskBody::Accept(thrum_protocol::task::Accept {
        backend: thrum_protocol::model::Backend::Cpu,
    });
    bench.hear(&other, stream, &prompt, 0, accept);
    bench.hear(&other, stream, &prompt, 1, tokens(2, &[b"c"]));
    let outputs = bench.hear(&other, stream, &prompt, 2, done(3, 0));
    let AskUpdate::Done { text, attempts, .. } = updates(&outputs).remove(0) else {
        panic!("not done");
    };
    assert_eq!((text.as_str(), attempts), ("abc", 2));
}

#[test]
fn what_a_liar_sent_is_computed_again() {
    let (mut bench, donor) = with_donor();
    let (stream, prompt) = bench.streaming(&donor, request(1));
    bench.hear(&donor, stream, &prompt, 1, tokens(0, &[b"a", b"b"]));
    let other = Remote::new(2);
    bench.connect_donor(&other);
    let outputs = bench.hear(&donor, stream, &prompt, 2, tokens(5, &[b"z"]));
    assert_eq!(breaches(&outputs).len(), 1);
    let (stream, prompt) = bench.open_task(&other, &outputs);
    let TaskBody::Prompt(again) = &prompt.body else {
        panic!("no prompt");
    };
    assert_eq!(again.resumed, [0_u32; 0]);
    let accept = TaskBody::Accept(thrum_protocol::task::Accept {
        backend: thrum_protocol::model::Backend::Cpu,
    });
    bench.hear(&other, stream, &prompt, 0, accept);
    let outputs = bench.hear(&other, stream, &prompt, 1, tokens(0, &[b"a", b"bc"]));
    assert_eq!(deltas(&outputs), ["c"]);
    let outputs = bench.hear(&other, stream, &prompt, 2, tokens(2, &[b"d"]));
    assert_eq!(deltas(&outputs), ["d"]);
}

#[test]
fn what_a_liar_sent_and_was_wrong_fails_the_ask() {
    let (mut bench, donor) = with_donor();
    let (stream, prompt) = bench.streaming(&donor, request(1));
    bench.hear(&donor, stream, &prompt, 1, tokens(0, &[b"a", b"b"]));
    let other = Remote::new(2);
    bench.connect_donor(&other);
    let outputs = bench.hear(&donor, stream, &prompt, 2, tokens(5, &[b"z"]));
    let (stream, prompt) = bench.open_task(&other, &outputs);
    let accept = TaskBody::Accept(thrum_protocol::task::Accept {
        backend: thrum_protocol::model::Backend::Cpu,
    });
    bench.hear(&other, stream, &prompt, 0, accept);
    let outputs = bench.hear(&other, stream, &prompt, 1, tokens(0, &[b"a", b"x"]));
    assert_eq!(failure(&outputs).0, AskErrorCode::ProvidersFailed);
    assert_eq!(breaches(&outputs), [""; 0], "the honest one is not accused");
}

#[test]
fn two_providers_that_call_it_invalid_are_believed() {
    let (mut bench, donor) = with_donor();
    let other = Remote::new(2);
    bench.connect_donor(&other);
    let outputs = bench.command(Command::Ask(request(1)));
    let first = [&donor, &other]
        .into_iter()
        .find(|peer| task_stream(&outputs, peer.id).is_some());
    let first = first.expect("one of them is asked");
    let second = if first.id == donor.id { &other } else { &donor };
    let invalid = || {
        TaskBody::Refuse(Refusal {
            code: RefusalCode::InvalidRequest,
            message: "too long".to_owned(),
        })
    };
    let (stream, prompt) = bench.open_task(first, &outputs);
    let outputs = bench.hear(first, stream, &prompt, 0, invalid());
    let (stream, prompt) = bench.open_task(second, &outputs);
    let outputs = bench.hear(second, stream, &prompt, 0, invalid());
    assert_eq!(
        failure(&outputs),
        (AskErrorCode::InvalidRequest, "too long".to_owned())
    );
}

#[test]
fn a_local_ask_loads_the_model_and_runs_first() {
    let mut bench = Bench::new();
    let outputs = bench.command(Command::Ask(local(1)));
    assert!(outputs.contains(&Output::LoadModel));
    let outputs = bench.engine_ready();
    let job = accepted(&outputs).expect("a job");
    let local = outputs
        .iter()
        .any(|o| matches!(o, Output::Run { local: true, .. }));
    assert!(local);
    let outputs = bench.tell(Input::JobTokens {
        job,
        tokens: vec![token(b"hi")],
    });
    assert_eq!(deltas(&outputs), ["hi"]);
    let AskUpdate::Done { provider, path, .. } = updates(&job_done(&mut bench, job)).remove(0)
    else {
        panic!("not done");
    };
    assert_eq!((provider, path), (bench.id, None));
}

#[test]
fn a_model_that_cannot_be_loaded_fails_a_local_ask_in_the_end() {
    let mut bench = Bench::new();
    let mut outputs = bench.command(Command::Ask(local(1)));
    let mut loads = 0;
    for _ in 0..20 {
        loads += outputs
            .iter()
            .filter(|output| **output == Output::LoadModel)
            .count();
        if !updates(&outputs).is_empty() {
            break;
        }
        let reason = "it does not fit".to_owned();
        outputs = bench.tell(Input::EngineLost { reason });
        outputs.extend(bench.pass(Millis(10_000)));
    }
    let (code, message) = failure(&outputs);
    assert_eq!(code, AskErrorCode::NoProvider);
    assert!(message.contains("it does not fit"), "{message}");
    assert!((2..6).contains(&loads), "{loads} loads");
}

#[test]
fn a_lost_device_resumes_the_local_answer() {
    let mut bench = Bench::new();
    bench.command(Command::Ask(local(1)));
    let job = accepted(&bench.engine_ready()).expect("a job");
    let tokens = vec![token(b"x")];
    bench.tell(Input::JobTokens { job, tokens });
    let reason = "device lost".to_owned();
    bench.tell(Input::EngineLost { reason });
    let outputs = bench.pass(Millis(3_000));
    assert!(outputs.contains(&Output::LoadModel));
    let outputs = bench.engine_ready();
    let resumed = outputs
        .iter()
        .any(|output| matches!(output, Output::Run { prompt, .. } if prompt.resumed == [1]));
    assert!(resumed);
}

#[test]
fn while_a_lost_device_is_replaced_answers_wait_and_the_person_is_told() {
    let mut bench = Bench::new();
    bench.command(Command::Ask(local(1)));
    let job = accepted(&bench.engine_ready()).expect("a job");
    let reason = "the driver was reset".to_owned();
    let outputs = bench.tell(Input::EngineRestoring { reason });
    assert!(updates(&outputs).is_empty(), "nothing fails");
    let status = bench.snapshot().status;
    assert_eq!(status.state, State::Working);
    assert!(status.reason.contains("the driver was reset"), "{status:?}");
    // A further prompt is taken as well.
    let further = accepted(&bench.command(Command::Ask(local(2)))).expect("a job");
    assert!(
        accepted(&bench.engine_ready()).is_none(),
        "none begins anew"
    );
    assert!(!bench.snapshot().status.reason.contains("lost"));
    for job in [job, further] {
        let update = updates(&job_done(&mut bench, job)).remove(0);
        assert!(matches!(update, AskUpdate::Done { .. }), "{update:?}");
    }
}

#[test]
fn auto_answers_here_where_nobody_else_is() {
    let mut bench = Bench::new();
    bench.engine_ready();
    let mut ask = request(1);
    ask.route = Route::Auto;
    let outputs = bench.command(Command::Ask(ask));
    assert!(accepted(&outputs).is_some());
}

#[test]
fn a_deadline_cancels_and_fails() {
    let (mut bench, donor) = with_donor();
    let mut ask = request(1);
    ask.deadline_millis = Millis(5_000);
    let (stream, _) = bench.streaming(&donor, ask);
    let outputs = bench.pass(Millis(5_000));
    assert_eq!(failure(&outputs).0, AskErrorCode::DeadlinePassed);
    assert_eq!(said(&outputs)[0].body, TaskBody::Cancel {});
    assert!(outputs.contains(&Output::Close(stream)));
}

/// In an attempt that was accepted, the provider's message is a breach in these words.
fn check_breach(number: u64, body: TaskBody, words: &str) {
    let (mut bench, donor) = with_donor();
    let (stream, prompt) = bench.streaming(&donor, request(1));
    let outputs = bench.hear(&donor, stream, &prompt, number, body);
    let breaches = breaches(&outputs);
    assert!(
        breaches.len() == 1 && breaches[0].contains(words),
        "{breaches:?}, not {words}"
    );
    assert!(outputs.contains(&Output::Close(stream)));
    assert!(matches!(updates(&outputs)[0], AskUpdate::Retrying { .. }));
}

fn with_donor() -> (Bench, Remote) {
    let mut bench = Bench::new();
    let donor = Remote::new(1);
    bench.connect_donor(&donor);
    (bench, donor)
}

/// An adapter, which only answers of this tab wear.
const GENOME: GenomeUse = GenomeUse {
    id: ModelId([7; 32]),
    scale: Shift::More(1_000),
};

fn local(ask: u64) -> AskRequest {
    AskRequest {
        route: Route::Local,
        ..request(ask)
    }
}

fn job_done(bench: &mut Bench, job: JobId) -> Vec<Output> {
    bench.tell(Input::JobDone {
        job,
        finish_reason: FinishReason::Stop,
        prompt_tokens: 2,
        trimmed_bytes: 0,
        discarded: Discarded::default(),
    })
}

fn tokens(first_index: u32, pieces: &[&[u8]]) -> TaskBody {
    TaskBody::Tokens(Tokens {
        first_index,
        tokens: pieces.iter().map(|piece| token(piece)).collect(),
    })
}

fn done(completion_tokens: u32, trimmed_bytes: u32) -> TaskBody {
    TaskBody::Done(Done {
        finish_reason: FinishReason::Stop,
        prompt_tokens: 1,
        completion_tokens,
        trimmed_bytes,
        discarded: Discarded::default(),
    })
}

fn deltas(outputs: &[Output]) -> Vec<String> {
    let text = |update| match update {
        AskUpdate::Delta { text, .. } => Some(text),
        AskUpdate::Done { .. }
        | AskUpdate::Failed { .. }
        | AskUpdate::Retrying { .. }
        | AskUpdate::Routed { .. } => None,
    };
    updates(outputs).into_iter().filter_map(text).collect()
}

fn failure(outputs: &[Output]) -> (AskErrorCode, String) {
    let failures: Vec<_> = updates(outputs)
        .into_iter()
        .filter_map(|update| match update {
            AskUpdate::Failed { code, message } => Some((code, message)),
            AskUpdate::Delta { .. }
            | AskUpdate::Done { .. }
            | AskUpdate::Retrying { .. }
            | AskUpdate::Routed { .. } => None,
        })
        .collect();
    assert_eq!(failures.len(), 1, "{:?}", updates(outputs));
    failures[0].clone()
}

#[test]
fn frames_of_unknown_streams_are_nobodys() {
    let (mut bench, donor) = with_donor();
    let (_, prompt) = bench.streaming(&donor, request(1));
    let outputs = bench.hear(&donor, StreamId(9_998), &prompt, 1, TaskBody::Heartbeat {});
    assert_eq!(breaches(&outputs), [""; 0]);
}

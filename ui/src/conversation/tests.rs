//! Cases of a conversation, from the first token to every kind of end.

use super::*;
use thrum_protocol::id::ModelId;

const PEER: &str = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";

fn peer() -> NodeId {
    PEER.parse().expect("a peer id")
}

fn delta(index: u32, text: &str) -> AskUpdate {
    AskUpdate::Delta {
        index,
        text: text.to_owned(),
        tokens: Vec::new(),
    }
}

fn done(text: &str) -> AskUpdate {
    AskUpdate::Done {
        finish_reason: FinishReason::Stop,
        text: text.to_owned(),
        prompt_tokens: 4,
        completion_tokens: 3,
        discarded: Discarded::default(),
        provider: peer(),
        path: Some(Path::Relayed),
        model: ModelId([7; 32]),
        attempts: 2,
        first_token_millis: Millis(10),
        total_millis: Millis(30),
    }
}

fn asked(prompt: &str) -> Conversation {
    let mut conversation = Conversation::default();
    conversation.ask(1, prompt.to_owned());
    conversation
}

fn last(conversation: &Conversation) -> &Turn {
    conversation.turns().next_back().expect("a turn")
}

#[test]
fn an_answer_grows_token_by_token_and_ends() {
    let mut conversation = asked("abc");
    conversation.update(
        1,
        AskUpdate::Routed {
            provider: peer(),
            path: Some(Path::Direct),
            attempt: 1,
        },
    );
    assert_eq!(last(&conversation).phase, Phase::Waiting);
    conversation.update(1, delta(0, "c"));
    conversation.update(1, delta(1, "b"));
    assert_eq!(last(&conversation).text, "cb");
    assert_eq!(last(&conversation).tokens, 2);
    assert_eq!(conversation.open_ask(), Some(1));
    conversation.update(1, done("cba"));
    assert_eq!(last(&conversation).text, "cba");
    assert_eq!(last(&conversation).path, Some(Path::Relayed));
    assert_eq!(conversation.open_ask(), None);
}

#[test]
fn a_retry_keeps_the_text_and_is_named() {
    let mut conversation = asked("abc");
    conversation.update(1, delta(0, "c"));
    conversation.update(
        1,
        AskUpdate::Retrying {
            provider: peer(),
            reason: "the link was cut".to_owned(),
        },
    );
    conversation.update(1, delta(1, "b"));
    assert_eq!(last(&conversation).text, "cb");
    assert_eq!(last(&conversation).retries[0].reason, "the link was cut");
}

#[test]
fn nothing_is_added_to_a_stopped_answer() {
    let mut conversation = asked("abc");
    conversation.stop(1);
    conversation.update(1, delta(0, "c"));
    conversation.update(1, done("cba"));
    assert_eq!(last(&conversation).phase, Phase::Stopped);
    assert_eq!(last(&conversation).text, "");
}

#[test]
fn a_cancelled_answer_is_stopped_and_no_error() {
    let mut conversation = asked("abc");
    conversation.update(
        1,
        AskUpdate::Failed {
            code: AskErrorCode::Cancelled,
            message: "cancelled".to_owned(),
        },
    );
    assert_eq!(last(&conversation).phase, Phase::Stopped);
}

#[test]
fn answers_of_another_tab_change_nothing() {
    let mut conversation = asked("abc");
    let before = conversation.clone();
    conversation.update(99, delta(0, "x"));
    assert_eq!(conversation, before);
}

#[test]
fn an_open_answer_fails_with_its_node() {
    let mut conversation = asked("abc");
    conversation.fail_open(AskErrorCode::NoProvider, "the node was closed");
    assert_eq!(conversation.open_ask(), None);
    assert!(matches!(last(&conversation).phase, Phase::Failed { .. }));
}

#[test]
fn only_complete_turns_are_history() {
    let mut conversation = asked("abc");
    conversation.update(1, done("cba"));
    conversation.ask(2, "stopped".to_owned());
    conversation.stop(2);
    let history = conversation.history();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].content, "abc");
    assert_eq!(history[1].role, Role::Assistant);
}

#[test]
fn old_turns_are_forgotten() {
    let mut conversation = Conversation::default();
    for ask in 0..MAX_TURNS as u64 + 5 {
        conversation.ask(ask, String::new());
    }
    assert_eq!(conversation.turns().count(), MAX_TURNS);
    assert_eq!(conversation.turns().next().map(|turn| turn.ask), Some(5));
}

#[test]
fn an_endless_answer_is_not_kept_whole() {
    let mut conversation = asked("abc");
    let piece = "x".repeat(MAX_ANSWER_BYTES / 2 + 1);
    conversation.update(1, delta(0, &piece));
    conversation.update(1, delta(1, &piece));
    assert_eq!(last(&conversation).text.len(), piece.len());
}

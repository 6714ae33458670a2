//! Bytes that no honest peer sends: refused with the reason, never a panic.

use crate::samples::{advert, any_task_message, hint, key, node, task_messages};
use proptest::prelude::*;
use serde_json::{Value, json};
use thrum_protocol::advert::Advert;
use thrum_protocol::hint::Hint;
use thrum_protocol::id::{ModelId, TaskId};
use thrum_protocol::limits::{
    MAX_FRAME_BYTES, MAX_HINTED_ADDRESSES, MAX_HINTED_PEERS, MAX_LOGIT_BIASES,
    MAX_LOGPROB_TOKENS_PER_FRAME, MAX_OFFERS, MAX_PIECE_BYTES, MAX_PROMPT_BYTES,
    MAX_RESUMED_TOKENS, MAX_SAFE_INTEGER, MAX_SCHEMA_BYTES, MAX_STOP_STRINGS, MAX_TEXT_BYTES,
    MAX_TOKENS_PER_FRAME, MAX_TOP_LOGPROBS,
};
use thrum_protocol::sampling::{AnswerFormat, GenomeUse, LogitBias, Sampling, Shift};
use thrum_protocol::signed::OpenError;
use thrum_protocol::task::{
    Alternative, Logprob, Prompt, PromptInput, Refusal, RefusalCode, TaskBody, TaskMessage, Token,
    Tokens,
};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Truncation;

proptest! {
    #[test]
    fn random_bytes_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(TaskMessage::open(&bytes).is_err());
        prop_assert!(Advert::open(&bytes).is_err());
        prop_assert!(Hint::open(&bytes).is_err());
    }

    #[test]
    fn random_json_never_opens(text in r#"[\{\}\[\]",:a-z0-9_ \\.eE+-]{0,200}"#) {
        prop_assert!(TaskMessage::open(text.as_bytes()).is_err());
    }

    #[test]
    fn a_flipped_bit_never_verifies(message in any_task_message(), at: prop::sample::Index, bit in 0..8_u8) {
        let bytes = message.seal(&key(1));
        let mut flipped = bytes.clone();
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        // Another spelling of the same content may verify; other content may not.
        if let Ok(opened) = TaskMessage::open(&flipped) {
            prop_assert_eq!(opened, (node(1), message));
        }
    }

    #[test]
    fn a_cut_message_never_opens(message in any_task_message(), at: prop::sample::Index) {
        let bytes = message.seal(&key(1));
        let cut = at.index(bytes.len());
        prop_assert!(TaskMessage::open(&bytes[..cut]).is_err());
    }

    #[test]
    fn deep_nesting_is_refused(depth in 200..5_000_usize) {
        let text = "[".repeat(depth) + &"]".repeat(depth);
        let nested = format!(r#"{{"sender_id":"x","signature":"y","a":{text}}}"#);
        prop_assert!(matches!(TaskMessage::open(nested.as_bytes()), Err(OpenError::Malformed(_))));
    }
}

#[test]
fn every_flipped_bit_of_an_advert_is_refused() {
    let bytes = advert().seal(&key(1));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(opened) = Advert::open(&flipped) {
                assert_eq!(opened, (node(1), advert()), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn an_oversized_message_is_refused_unread() {
    let bytes = vec![b' '; MAX_FRAME_BYTES + 1];
    let error = TaskMessage::open(&bytes).expect_err("it is too long");
    let expected = (MAX_FRAME_BYTES + 1, MAX_FRAME_BYTES);
    assert!(matches!(error, OpenError::TooLong { got_bytes, max_bytes }
        if (got_bytes, max_bytes) == expected));
}

#[test]
fn the_longest_prompt_fits_a_frame() {
    let control = "\u{1}".repeat(MAX_PROMPT_BYTES);
    let mut prompt = prompt(PromptInput::Text(control));
    prompt.resumed = vec![u32::MAX; MAX_RESUMED_TOKENS];
    prompt.stop = vec!["\u{1}".repeat(128); MAX_STOP_STRINGS];
    prompt.sampling.logit_bias = vec![bias(100_000); MAX_LOGIT_BIASES];
    let schema = "\u{1}".repeat(MAX_SCHEMA_BYTES);
    prompt.sampling.format = Some(AnswerFormat::JsonSchema(schema));
    let message = message(TaskBody::Prompt(prompt));
    let bytes = message.seal(&key(1));
    assert!(bytes.len() <= MAX_FRAME_BYTES, "{} bytes", bytes.len());
    assert_eq!(
        TaskMessage::open(&bytes).expect("within the limits").1,
        message
    );
}

#[test]
fn the_fullest_tokens_frame_fits() {
    let token = Token {
        id: u32::MAX,
        piece: vec![0xff; MAX_PIECE_BYTES],
        logprob: None,
    };
    let other = Alternative {
        id: u32::MAX,
        piece: vec![0xff; MAX_PIECE_BYTES],
        surprisal_micro: MAX_SAFE_INTEGER,
    };
    let likely = Token {
        logprob: Some(Box::new(Logprob {
            surprisal_micro: MAX_SAFE_INTEGER,
            top: vec![other; MAX_TOP_LOGPROBS as usize],
        })),
        ..token.clone()
    };
    for tokens in [
        vec![token; MAX_TOKENS_PER_FRAME],
        vec![likely; MAX_LOGPROB_TOKENS_PER_FRAME],
    ] {
        let message = tokens_message(tokens);
        let bytes = message.seal(&key(1));
        assert_eq!(
            TaskMessage::open(&bytes).expect("within the limits").1,
            message
        );
    }
}

#[test]
fn unsigned_messages_are_refused_by_member() {
    for member in ["signature", "sender_id"] {
        let mut value = advert_value();
        value.as_object_mut().expect("an object").remove(member);
        let error = open_advert(&value);
        assert!(matches!(error, OpenError::Unsigned { member: missing } if missing == member));
        value[member] = json!(5);
        let error = open_advert(&value);
        assert!(matches!(error, OpenError::Unsigned { member: missing } if missing == member));
    }
}

#[test]
fn a_foreign_signature_is_refused() {
    let other: Value = serde_json::from_slice(&advert().seal(&key(2))).expect("it is JSON");
    let mut value = advert_value();
    value["signature"] = other["signature"].clone();
    assert!(matches!(open_advert(&value), OpenError::WrongSignature));
    let mut value = advert_value();
    value["sender_id"] = other["sender_id"].clone();
    assert!(matches!(open_advert(&value), OpenError::WrongSignature));
}

#[test]
fn signatures_and_senders_of_another_form_are_refused() {
    for signature in ["", "AAAA", "%%%", &"A".repeat(86), &"A".repeat(87)] {
        let mut value = advert_value();
        value["signature"] = json!(signature);
        assert!(
            matches!(open_advert(&value), OpenError::WrongSignature),
            "{signature}"
        );
    }
    for sender in [
        "",
        "12D3KooW",
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        &"1".repeat(9_000),
    ] {
        let mut value = advert_value();
        value["sender_id"] = json!(sender);
        assert!(
            matches!(open_advert(&value), OpenError::WrongSignature),
            "{sender}"
        );
    }
}

#[test]
fn a_message_of_one_kind_does_not_open_as_another() {
    // The content is signed for its purpose: an advert is no task message, whatever it contains.
    let bytes = advert().seal(&key(1));
    assert!(matches!(
        TaskMessage::open(&bytes),
        Err(OpenError::WrongSignature)
    ));
    let (_, message) = task_messages().swap_remove(0);
    let bytes = message.seal(&key(1));
    assert!(matches!(
        Advert::open(&bytes),
        Err(OpenError::WrongSignature)
    ));
}

#[test]
fn numbers_that_readers_disagree_on_are_refused() {
    for number in ["1.0", "1.5", "-1", "1e3", "9007199254740992", "1E400"] {
        let text = advert_text().replace("\"slots\":2", &format!("\"slots\":{number}"));
        let error = Advert::open(text.as_bytes()).expect_err("no safe integer");
        let refused = matches!(error, OpenError::UnsafeNumber | OpenError::Malformed(_));
        assert!(refused, "{number}: {error}");
    }
}

#[test]
fn a_repeated_member_cannot_change_what_was_signed() {
    let text = advert_text().replace("\"slots\":2", "\"slots\":2,\"slots\":8");
    assert!(matches!(
        Advert::open(text.as_bytes()),
        Err(OpenError::WrongSignature)
    ));
}

#[test]
fn json_that_is_no_object_is_refused() {
    for text in ["[]", "5", "null", "\"text\""] {
        let error = Advert::open(text.as_bytes()).expect_err("no object");
        assert!(matches!(error, OpenError::NotAnObject), "{text}");
    }
    for text in ["", "{", "\u{feff}{}", "{}x"] {
        let error = Advert::open(text.as_bytes()).expect_err("no JSON");
        assert!(matches!(error, OpenError::Malformed(_)), "{text}");
    }
}

#[test]
fn fields_over_their_limits_are_named() {
    over(
        "input",
        prompt(PromptInput::Text("x".repeat(MAX_PROMPT_BYTES + 1))),
    );
    let mut long = prompt(PromptInput::Text(String::new()));
    long.stop = vec!["x".to_owned(); MAX_STOP_STRINGS + 1];
    over("stop", long.clone());
    long.stop.clear();
    long.resumed = vec![0; MAX_RESUMED_TOKENS + 1];
    over("resumed", long.clone());
    long.resumed.clear();
    long.max_new_tokens = u32::MAX;
    over("max_new_tokens", long.clone());
    long.max_new_tokens = 1;
    long.deadline_millis = Millis(1 << 40);
    over("deadline_millis", long.clone());
    long.deadline_millis = Millis(1);
    let sampling = |field, change: fn(&mut Sampling)| {
        let mut over_limit = long.clone();
        change(&mut over_limit.sampling);
        over(field, over_limit);
    };
    sampling("top_p_milli", |it| it.top_p_milli = 1_001);
    sampling("temperature_milli", |it| it.temperature_milli = 100_001);
    sampling("min_p_milli", |it| it.min_p_milli = 1_001);
    sampling("repetition_penalty_milli", |it| {
        it.repetition_penalty_milli = 10_001;
    });
    sampling("frequency_penalty", |it| {
        it.frequency_penalty = Shift::Less(2_001);
    });
    sampling("presence_penalty", |it| {
        it.presence_penalty = Shift::More(2_001);
    });
    sampling("logit_bias", |it| it.logit_bias = vec![bias(100_001)]);
    sampling("logit_bias", |it| {
        it.logit_bias = vec![bias(1); MAX_LOGIT_BIASES + 1];
    });
    sampling("logprobs", |it| it.logprobs = Some(21));
    sampling("genomes", |it| it.genomes = vec![genome(1_000); 9]);
    sampling("genomes", |it| it.genomes = vec![genome(100_001)]);
    sampling("format", |it| {
        let schema = "x".repeat(MAX_SCHEMA_BYTES + 1);
        it.format = Some(AnswerFormat::JsonSchema(schema));
    });
    let piece = vec![0; MAX_PIECE_BYTES + 1];
    let token = Token {
        id: 0,
        piece: Vec::new(),
        logprob: None,
    };
    let long_token = Token {
        piece: piece.clone(),
        ..token.clone()
    };
    over_limit("piece", &tokens_message(vec![long_token]));
    let likely = |piece: &[u8], count| {
        let other = Alternative {
            id: 0,
            piece: piece.to_vec(),
            surprisal_micro: 0,
        };
        let logprob = Logprob {
            surprisal_micro: 0,
            top: vec![other; count],
        };
        tokens_message(vec![Token {
            logprob: Some(Box::new(logprob)),
            ..token.clone()
        }])
    };
    over_limit("piece", &likely(&piece, 1));
    over_limit("top", &likely(b"", MAX_TOP_LOGPROBS as usize + 1));
    over_limit(
        "tokens",
        &tokens_message(vec![token; MAX_TOKENS_PER_FRAME + 1]),
    );
    let refusal = Refusal {
        code: RefusalCode::Busy,
        message: "x".repeat(MAX_TEXT_BYTES + 1),
    };
    over_limit("message", &message(TaskBody::Refuse(refusal)));
}

#[test]
fn adverts_over_their_limits_are_refused() {
    let mut long = advert();
    long.models = vec![long.models[0].clone(); MAX_OFFERS + 1];
    let error = Advert::open(&long.seal(&key(1))).expect_err("too many offers");
    assert!(matches!(
        error,
        OpenError::OverLimit {
            field: "models",
            ..
        }
    ));
    let mut long = advert();
    long.agent = "x".repeat(MAX_TEXT_BYTES + 1);
    let error = Advert::open(&long.seal(&key(1))).expect_err("too long an agent");
    assert!(matches!(error, OpenError::OverLimit { field: "agent", .. }));
}

#[test]
fn hints_over_their_limits_are_refused() {
    let mut many = hint();
    many.peers = vec![many.peers[0].clone(); MAX_HINTED_PEERS + 1];
    let mut addresses = hint();
    addresses.peers[0].addresses = vec![String::new(); MAX_HINTED_ADDRESSES + 1];
    let mut long = hint();
    long.peers[0].addresses = vec!["x".repeat(MAX_TEXT_BYTES + 1)];
    for (field, hint) in [
        ("peers", many),
        ("addresses", addresses),
        ("addresses", long),
    ] {
        let error = Hint::open(&hint.seal(&key(1))).expect_err("over a limit");
        assert!(matches!(error, OpenError::OverLimit { field: of, .. } if of == field));
    }
}

fn genome(milli: u32) -> GenomeUse {
    GenomeUse {
        id: ModelId([0; 32]),
        scale: Shift::Less(milli),
    }
}

fn bias(milli: u32) -> LogitBias {
    LogitBias {
        id: u32::MAX,
        bias: Shift::More(milli),
    }
}

fn over(field: &'static str, prompt: Prompt) {
    over_limit(field, &message(TaskBody::Prompt(prompt)));
}

fn over_limit(expected: &'static str, message: &TaskMessage) {
    let error = TaskMessage::open(&message.seal(&key(1))).expect_err(expected);
    let named = matches!(error, OpenError::OverLimit { field, .. } if field == expected);
    assert!(named, "{expected}: {error}");
}

fn open_advert(value: &Value) -> OpenError {
    let bytes = serde_json::to_vec(value).expect("it is JSON");
    Advert::open(&bytes).expect_err("it must not open")
}

fn advert_text() -> String {
    String::from_utf8(advert().seal(&key(1))).expect("JSON is UTF-8")
}

fn advert_value() -> Value {
    serde_json::from_str(&advert_text()).expect("it is JSON")
}

fn message(body: TaskBody) -> TaskMessage {
    TaskMessage {
        task_id: TaskId([1; 16]),
        attempt: 1,
        number: 0,
        recipient_id: node(2),
        body,
    }
}

fn tokens_message(tokens: Vec<Token>) -> TaskMessage {
    message(TaskBody::Tokens(Tokens {
        first_index: 0,
        tokens,
    }))
}

fn prompt(input: PromptInput) -> Prompt {
    Prompt {
        model: ModelId([1; 32]),
        input,
        resumed: Vec::new(),
        max_new_tokens: 1,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        deadline_millis: Millis(1),
        truncation: Truncation::Disabled,
    }
}

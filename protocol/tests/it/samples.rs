//! One message of each type, and values drawn at random.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use thrum_protocol::SigningKey;
use thrum_protocol::advert::Advert;
use thrum_protocol::capability::{CapabilityRecord, SpeedClass};
use thrum_protocol::hint::{Hint, HintedPeer};
use thrum_protocol::id::{ModelId, NodeId, TaskId};
use thrum_protocol::limits::{
    MAX_CAPABILITY_LIFE, MAX_CAPABILITY_RELAYS, MAX_DEADLINE, MAX_GENOME_SCALE_MILLI,
    MAX_LOGIT_BIAS_MILLI, MAX_NEW_TOKENS, MAX_PENALTY_MILLI, MAX_REPETITION_PENALTY_MILLI,
    MAX_SAFE_INTEGER, MAX_TOP_LOGPROBS,
};
use thrum_protocol::model::{Backend, ModelOffer};
use thrum_protocol::sampling::{AnswerFormat, GenomeUse, LogitBias, Sampling, Shift};
use thrum_protocol::task::{
    Accept, Alternative, ChatMessage, Done, FinishReason, Logprob, Prompt, PromptInput, Refusal,
    RefusalCode, Role, TaskBody, TaskMessage, Token, Tokens,
};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::{Discarded, Truncation};

/// The key of the golden vectors: 32 bytes of the given value.
pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

pub(crate) fn node(byte: u8) -> NodeId {
    NodeId::from_public_key(key(byte).verifying_key().to_bytes()).expect("a key's public half")
}

/// A name and one message of each type.
pub(crate) fn task_messages() -> Vec<(&'static str, TaskMessage)> {
    let bodies = [
        ("prompt_text", TaskBody::Prompt(text_prompt())),
        ("prompt_chat", TaskBody::Prompt(chat_prompt())),
        (
            "accept",
            TaskBody::Accept(Accept {
                backend: Backend::Webgpu,
            }),
        ),
        (
            "refuse",
            TaskBody::Refuse(Refusal {
                code: RefusalCode::Busy,
                message: "all slots are taken".to_owned(),
            }),
        ),
        ("tokens", TaskBody::Tokens(tokens())),
        ("heartbeat", TaskBody::Heartbeat {}),
        (
            "done",
            TaskBody::Done(Done {
                finish_reason: FinishReason::Stop,
                prompt_tokens: 17,
                completion_tokens: 9,
                trimmed_bytes: 2,
                discarded: Discarded::default(),
            }),
        ),
        (
            "failed",
            TaskBody::Failed(Refusal {
                code: RefusalCode::EngineFailed,
                message: "the device was lost".to_owned(),
            }),
        ),
        ("cancel", TaskBody::Cancel {}),
        ("prompt_sampling", TaskBody::Prompt(sampling_prompt())),
        ("tokens_logprobs", TaskBody::Tokens(likely_tokens())),
        (
            "prompt_truncation",
            TaskBody::Prompt(Prompt {
                truncation: Truncation::Auto,
                ..chat_prompt()
            }),
        ),
        (
            "done_discarded",
            TaskBody::Done(Done {
                finish_reason: FinishReason::Length,
                prompt_tokens: 500,
                completion_tokens: 64,
                trimmed_bytes: 0,
                discarded: Discarded {
                    messages: 2,
                    prompt_tokens: 310,
                    context_tokens: 224,
                },
            }),
        ),
    ];
    let message = |(number, (name, body))| {
        let message = TaskMessage {
            task_id: TaskId([0xab; 16]),
            attempt: 2,
            number,
            recipient_id: node(2),
            body,
        };
        (name, message)
    };
    (0..).zip(bodies).map(message).collect()
}

pub(crate) fn hint() -> Hint {
    let address = "/dns4/relay.example/tcp/443/wss/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq/p2p-circuit";
    Hint {
        peers: vec![HintedPeer {
            peer_id: node(3),
            addresses: vec![address.to_owned()],
        }],
    }
}

pub(crate) fn advert() -> Advert {
    Advert {
        sequence: 1_234,
        agent: "thrum/0.1.0+abc1234".to_owned(),
        donating: true,
        models: vec![ModelOffer {
            id: ModelId([0xcd; 32]),
            name: "thrum-bee".to_owned(),
            context_tokens: 512,
        }],
        backend: Some(Backend::Cpu),
        millitokens_per_second: 41_500,
        slots: 2,
        busy: 1,
        max_new_tokens: 512,
    }
}

pub(crate) fn capability() -> CapabilityRecord {
    CapabilityRecord {
        sequence: 1_800_000_000_000,
        expires: 1_800_000_600_000,
        relays: vec![node(3)],
        models: advert().models,
        backend: Some(Backend::Webgpu),
        speed: SpeedClass::of(41_500),
        slots: 2,
    }
}

/// Any capability record within the limits.
pub(crate) fn any_capability() -> impl Strategy<Value = CapabilityRecord> {
    let moments = (
        0..=MAX_SAFE_INTEGER - MAX_CAPABILITY_LIFE.0,
        1..=MAX_CAPABILITY_LIFE.0,
    );
    let relays = vec((1..=255_u8).prop_map(node), 0..=MAX_CAPABILITY_RELAYS);
    let rest = (relays, any::<u8>(), any::<u32>());
    (any_advert(), moments, rest).prop_map(|(advert, (sequence, life), (relays, speed, slots))| {
        CapabilityRecord {
            sequence,
            expires: sequence + life,
            relays,
            models: advert.models,
            backend: advert.backend,
            speed: SpeedClass(speed),
            slots,
        }
    })
}

fn text_prompt() -> Prompt {
    Prompt {
        model: ModelId([0xcd; 32]),
        input: PromptInput::Text("reverse: starling → \"é\"\n\u{1}🐝".to_owned()),
        resumed: vec![5, 0, 319],
        max_new_tokens: 64,
        sampling: Sampling {
            temperature_milli: 700,
            top_k: 40,
            top_p_milli: 950,
            seed: MAX_SAFE_INTEGER,
            ..Sampling::GREEDY
        },
        stop: vec!["\n".to_owned()],
        deadline_millis: Millis(30_000),
        truncation: Truncation::Disabled,
    }
}

fn chat_prompt() -> Prompt {
    let message = |role, content: &str| ChatMessage {
        role,
        content: content.to_owned(),
    };
    Prompt {
        input: PromptInput::Chat(vec![
            message(Role::System, "Answer briefly."),
            message(Role::User, "Hello?"),
            message(Role::Assistant, "Hello."),
            message(Role::User, "Why?"),
        ]),
        resumed: Vec::new(),
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        ..text_prompt()
    }
}

/// Every way of choosing a token at once.
fn sampling_prompt() -> Prompt {
    Prompt {
        sampling: Sampling {
            temperature_milli: 1_200,
            top_k: 40,
            top_p_milli: 900,
            seed: 7,
            ignore_eos: true,
            min_p_milli: 50,
            repetition_penalty_milli: 1_100,
            frequency_penalty: Shift::More(500),
            presence_penalty: Shift::Less(250),
            logit_bias: vec![
                LogitBias {
                    id: 17,
                    bias: Shift::Less(100_000),
                },
                LogitBias {
                    id: 3,
                    bias: Shift::More(1_500),
                },
            ],
            logprobs: Some(2),
            format: Some(AnswerFormat::JsonSchema(r#"{"type":"object"}"#.to_owned())),
            genomes: vec![GenomeUse {
                id: ModelId([0xef; 32]),
                scale: Shift::Less(500),
            }],
        },
        ..chat_prompt()
    }
}

fn likely_tokens() -> Tokens {
    let other = |id, piece: &[u8], surprisal_micro| Alternative {
        id,
        piece: piece.to_vec(),
        surprisal_micro,
    };
    let logprob = |surprisal_micro, top| {
        Some(Box::new(Logprob {
            surprisal_micro,
            top,
        }))
    };
    Tokens {
        first_index: 3,
        tokens: vec![
            Token {
                id: 7,
                piece: b"gni".to_vec(),
                logprob: logprob(
                    693_147,
                    vec![
                        other(7, b"gni", 693_147),
                        other(240, b"\xf0\x9f", 1_386_294),
                    ],
                ),
            },
            Token {
                id: 2,
                piece: Vec::new(),
                logprob: logprob(0, Vec::new()),
            },
        ],
    }
}

fn tokens() -> Tokens {
    let token = |id, piece: &[u8]| Token {
        id,
        piece: piece.to_vec(),
        logprob: None,
    };
    Tokens {
        first_index: 3,
        // The bee is split over two tokens; the end token has no bytes.
        tokens: vec![
            token(7, b"gni"),
            token(240, b"\xf0\x9f"),
            token(1, b"\x90\x9d"),
            token(2, b""),
        ],
    }
}

/// Any task message within the limits.
pub(crate) fn any_task_message() -> impl Strategy<Value = TaskMessage> {
    let safe = 0..=MAX_SAFE_INTEGER;
    (
        any::<[u8; 16]>(),
        any::<u32>(),
        safe,
        1..=255_u8,
        any_body(),
    )
        .prop_map(|(task, attempt, number, recipient, body)| TaskMessage {
            task_id: TaskId(task),
            attempt,
            number,
            recipient_id: node(recipient),
            body,
        })
}

fn any_body() -> impl Strategy<Value = TaskBody> {
    let backend = prop_oneof![Just(Backend::Cpu), Just(Backend::Webgpu)];
    let refusal = || (any_code(), ".{0,60}").prop_map(|(code, message)| Refusal { code, message });
    let token = (
        any::<u32>(),
        vec(any::<u8>(), 0..20),
        option::of(any_logprob()),
    )
        .prop_map(|(id, piece, logprob)| Token {
            id,
            piece,
            logprob: logprob.map(Box::new),
        });
    let tokens = (any::<u32>(), vec(token, 0..10)).prop_map(|(first_index, tokens)| Tokens {
        first_index,
        tokens,
    });
    prop_oneof![
        backend.prop_map(|backend| TaskBody::Accept(Accept { backend })),
        Just(TaskBody::Cancel {}),
        any_done().prop_map(TaskBody::Done),
        refusal().prop_map(TaskBody::Failed),
        Just(TaskBody::Heartbeat {}),
        any_prompt().prop_map(TaskBody::Prompt),
        refusal().prop_map(TaskBody::Refuse),
        tokens.prop_map(TaskBody::Tokens),
    ]
}

fn any_code() -> impl Strategy<Value = RefusalCode> {
    prop_oneof![
        Just(RefusalCode::Busy),
        Just(RefusalCode::DeadlinePassed),
        Just(RefusalCode::EngineFailed),
        Just(RefusalCode::InvalidRequest),
        Just(RefusalCode::ModelUnavailable),
        Just(RefusalCode::NotDonating),
        Just(RefusalCode::Replayed),
        Just(RefusalCode::Stopping),
    ]
}

fn any_done() -> impl Strategy<Value = Done> {
    let reason = prop_oneof![Just(FinishReason::Length), Just(FinishReason::Stop)];
    (reason, any::<[u32; 6]>()).prop_map(|(finish_reason, counts)| Done {
        finish_reason,
        prompt_tokens: counts[0],
        completion_tokens: counts[1],
        trimmed_bytes: counts[2],
        discarded: Discarded {
            messages: counts[3],
            prompt_tokens: counts[4],
            context_tokens: counts[5],
        },
    })
}

fn any_prompt() -> impl Strategy<Value = Prompt> {
    let role = prop_oneof![Just(Role::Assistant), Just(Role::System), Just(Role::User)];
    let message = (role, ".{0,40}").prop_map(|(role, content)| ChatMessage { role, content });
    let input = prop_oneof![
        ".{0,200}".prop_map(PromptInput::Text),
        vec(message, 0..5).prop_map(PromptInput::Chat),
    ];
    let truncation = prop_oneof![Just(Truncation::Auto), Just(Truncation::Disabled)];
    let end = (0..=MAX_DEADLINE.0, truncation);
    let rest = (0..=MAX_NEW_TOKENS, vec(".{0,20}", 0..8), end);
    (
        any::<[u8; 32]>(),
        input,
        vec(any::<u32>(), 0..20),
        any_sampling(),
        rest,
    )
        .prop_map(
            |(model, input, resumed, sampling, (max_new_tokens, stop, end))| Prompt {
                model: ModelId(model),
                input,
                resumed,
                max_new_tokens,
                sampling,
                stop,
                deadline_millis: Millis(end.0),
                truncation: end.1,
            },
        )
}

fn any_logprob() -> impl Strategy<Value = Logprob> {
    let micro = || 0..=MAX_SAFE_INTEGER;
    let other =
        (any::<u32>(), vec(any::<u8>(), 0..9), micro()).prop_map(|(id, piece, surprisal_micro)| {
            Alternative {
                id,
                piece,
                surprisal_micro,
            }
        });
    (micro(), vec(other, 0..=MAX_TOP_LOGPROBS as usize)).prop_map(|(surprisal_micro, top)| {
        Logprob {
            surprisal_micro,
            top,
        }
    })
}

/// Never minus zero, which is written as zero.
fn any_shift(max: u32) -> impl Strategy<Value = Shift> {
    prop_oneof![
        (1..=max).prop_map(Shift::Less),
        (0..=max).prop_map(Shift::More)
    ]
}

fn any_sampling() -> impl Strategy<Value = Sampling> {
    let draw = (
        0..=100_000_u32,
        any::<u32>(),
        0..=1_000_u32,
        0..=1_000_u32,
        0..=MAX_SAFE_INTEGER,
    );
    let bias = (any::<u32>(), any_shift(MAX_LOGIT_BIAS_MILLI))
        .prop_map(|(id, bias)| LogitBias { id, bias });
    let penalties = (
        0..=MAX_REPETITION_PENALTY_MILLI,
        any_shift(MAX_PENALTY_MILLI),
        any_shift(MAX_PENALTY_MILLI),
        vec(bias, 0..9),
    );
    let format = prop_oneof![
        Just(AnswerFormat::JsonObject),
        ".{0,90}".prop_map(AnswerFormat::JsonSchema),
    ];
    let genome =
        (any::<[u8; 32]>(), any_shift(MAX_GENOME_SCALE_MILLI)).prop_map(|(id, scale)| GenomeUse {
            id: ModelId(id),
            scale,
        });
    let answer = (
        any::<bool>(),
        option::of(0..=MAX_TOP_LOGPROBS),
        option::of(format),
        vec(genome, 0..3),
    );
    (draw, penalties, answer).prop_map(|(draw, penalties, answer)| Sampling {
        temperature_milli: draw.0,
        top_k: draw.1,
        top_p_milli: draw.2,
        min_p_milli: draw.3,
        seed: draw.4,
        repetition_penalty_milli: penalties.0,
        frequency_penalty: penalties.1,
        presence_penalty: penalties.2,
        logit_bias: penalties.3,
        ignore_eos: answer.0,
        logprobs: answer.1,
        format: answer.2,
        genomes: answer.3,
    })
}

/// Any advert within the limits.
pub(crate) fn any_advert() -> impl Strategy<Value = Advert> {
    let offer =
        (any::<[u8; 32]>(), ".{0,40}", any::<u32>()).prop_map(|(id, name, context_tokens)| {
            ModelOffer {
                id: ModelId(id),
                name,
                context_tokens,
            }
        });
    let backend = option::of(prop_oneof![Just(Backend::Cpu), Just(Backend::Webgpu)]);
    let safe = 0..=MAX_SAFE_INTEGER;
    (
        safe.clone(),
        ".{0,40}",
        any::<bool>(),
        vec(offer, 0..16),
        backend,
        safe,
        any::<[u32; 3]>(),
    )
        .prop_map(
            |(sequence, agent, donating, models, backend, speed, counts)| Advert {
                sequence,
                agent,
                donating,
                models,
                backend,
                millitokens_per_second: speed,
                slots: counts[0],
                busy: counts[1],
                max_new_tokens: counts[2],
            },
        )
}

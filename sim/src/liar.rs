//! Peers that break the protocol. A liar is an honest machine whose outputs are twisted on their
//! way out, with the liar's own key, so that everything about it is right except the lie.

use crate::rumour;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use thrum_hive::io::{Output, StreamId, StreamKind};
use thrum_protocol::SigningKey;
use thrum_protocol::hint::{Hint, HintedPeer};
use thrum_protocol::id::{NodeId, TaskId};
use thrum_protocol::limits::{MAX_FRAME_BYTES, MAX_HINTED_PEERS, MAX_TOKENS_PER_FRAME};
use thrum_protocol::task::{Done, FinishReason, TaskBody, TaskMessage, Token, Tokens};
use thrum_protocol::truncation::Discarded;

/// One way to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// asker: opens streams as fast as it can
    AskerFloods,
    /// asker: sends each prompt twice
    AskerReplays,
    /// asker: signs prompts with another key than its connection's
    AskerSignsAsAnother,
    /// asker: opens a task stream for each prompt and says nothing on it
    AskerStaysSilent,
    /// accepts twice
    AcceptsTwice,
    /// neighbour: announces itself hundreds of times
    AnnouncesFlood,
    /// neighbour: announces what it did not sign
    AnnouncesForged,
    /// neighbour: announces what ended long ago: not reported, for a clock may be wrong
    AnnouncesLate,
    /// neighbour: announces its first word again and again
    AnnouncesReplayed,
    /// says it is done with a wrong count of tokens
    CountsWrong,
    /// never stops generating
    Endless,
    /// says that it dropped what must stay
    Drops,
    /// sends random bytes for tokens
    Garbage,
    /// sends heartbeats without end
    HeartbeatFlood,
    /// neighbour: asks everybody to leave for peers that do not exist
    HintsInvented,
    /// neighbour: does so again and again on one connection
    HintsFlood,
    /// neighbour: names more peers than a hint may
    HintsTooMany,
    /// sends a frame above the limit
    Huge,
    /// pieces that are no UTF-8: not detectable, for the tokens are well formed
    InvalidUtf8,
    /// tokens meant for somebody else
    OtherRecipient,
    /// tokens of another task
    OtherTask,
    /// neighbour: hangs up on whoever connects
    Refuses,
    /// every frame twice
    RepeatsFrames,
    /// every token twice, numbered anew
    RepeatsTokens,
    /// frames of an earlier attempt
    ReplaysAttempt,
    /// nothing after the acceptance
    SilentAfterAccept,
    /// nothing at all
    SilentAlways,
    /// tokens signed by another key
    SignsAsAnother,
    /// leaves a token out
    SkipsTokens,
    /// cuts off what is no stop string
    TrimsWrong,
    /// one bit of the signature is wrong
    WrongSignature,
}

impl Lie {
    /// Every lie of a provider that shows, in order.
    pub const PROVIDERS: [Self; 18] = [
        Self::AcceptsTwice,
        Self::CountsWrong,
        Self::Drops,
        Self::Endless,
        Self::Garbage,
        Self::HeartbeatFlood,
        Self::Huge,
        Self::OtherRecipient,
        Self::OtherTask,
        Self::RepeatsFrames,
        Self::RepeatsTokens,
        Self::ReplaysAttempt,
        Self::SilentAfterAccept,
        Self::SilentAlways,
        Self::SignsAsAnother,
        Self::SkipsTokens,
        Self::TrimsWrong,
        Self::WrongSignature,
    ];

    /// Every lie of an asker, in order.
    pub const ASKERS: [Self; 4] = [
        Self::AskerFloods,
        Self::AskerReplays,
        Self::AskerSignsAsAnother,
        Self::AskerStaysSilent,
    ];

    /// Every lie of a neighbour, who need not donate or ask, in order.
    pub const NEIGHBOURS: [Self; 8] = [
        Self::AnnouncesFlood,
        Self::AnnouncesForged,
        Self::AnnouncesLate,
        Self::AnnouncesReplayed,
        Self::HintsInvented,
        Self::HintsFlood,
        Self::HintsTooMany,
        Self::Refuses,
    ];
}

/// A liar at work.
#[derive(Debug)]
pub struct Liar {
    lie: Lie,
    key: SigningKey,
    other_key: SigningKey,
    rng: ChaCha8Rng,
    task_streams: BTreeMap<StreamId, NodeId>,
    /// streams opened behind the machine's back, and what is sent on each
    extra: BTreeMap<StreamId, Option<Vec<u8>>>,
    next_extra: u64,
    /// messages sent on a stream, where the lie adds some
    numbers: BTreeMap<StreamId, u64>,
    /// tokens frames of the first attempt
    kept: Vec<Vec<u8>>,
    muted: BTreeSet<StreamId>,
    /// neighbours that were flooded
    greeted: BTreeSet<NodeId>,
    /// its first announcement
    first_word: Option<Vec<u8>>,
}

/// Streams that the machine does not know of; it numbers its own from 0.
const FIRST_EXTRA_STREAM: u64 = 1 << 40;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a lie concerns one or two messages; all others pass as they are"
)]
impl Liar {
    /// A liar with the key of its machine.
    #[must_use]
    pub fn new(lie: Lie, key: SigningKey, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self {
            lie,
            key,
            other_key: SigningKey::from_bytes(&secret),
            rng,
            task_streams: BTreeMap::new(),
            extra: BTreeMap::new(),
            next_extra: FIRST_EXTRA_STREAM,
            numbers: BTreeMap::new(),
            kept: Vec::new(),
            muted: BTreeSet::new(),
            greeted: BTreeSet::new(),
            first_word: None,
        }
    }

    /// Which lie.
    #[must_use]
    pub fn lie(&self) -> Lie {
        self.lie
    }

    /// A peer opened a task stream to the liar.
    pub fn accepted(&mut self, stream: StreamId, peer: NodeId) {
        self.task_streams.insert(stream, peer);
    }

    /// What the liar does when a stream opens, if it is one of its own.
    pub fn opened(&mut self, stream: StreamId) -> Option<Vec<Output>> {
        let frame = self.extra.remove(&stream)?;
        Some(match frame {
            Some(frame) => vec![Output::Send { stream, frame }],
            None => Vec::new(),
        })
    }

    /// What goes out in place of `output`.
    pub fn twist(&mut self, output: Output) -> Vec<Output> {
        match output {
            Output::Open { stream, peer, kind } => {
                if kind == StreamKind::Task {
                    self.task_streams.insert(stream, peer);
                }
                let mut outputs = vec![Output::Open { stream, peer, kind }];
                if kind == StreamKind::Advert {
                    outputs.extend(self.greet(peer));
                }
                outputs
            }
            Output::Publish { topic, bytes } => {
                let words = rumour::twisted(self.lie, &self.key, &mut self.first_word, bytes);
                let publish = |bytes| Output::Publish { topic, bytes };
                words.into_iter().map(publish).collect()
            }
            Output::Send { stream, frame } if self.task_streams.contains_key(&stream) => {
                self.twist_frame(stream, frame)
            }
            Output::Close(stream) => {
                let silent = matches!(self.lie, Lie::SilentAfterAccept | Lie::SilentAlways);
                if silent && self.task_streams.contains_key(&stream) {
                    return Vec::new();
                }
                if self.muted.contains(&stream) {
                    return Vec::new();
                }
                vec![Output::Close(stream)]
            }
            other => vec![other],
        }
    }

    /// What a lying neighbour does beside saying what it can do. A flood comes once.
    fn greet(&mut self, peer: NodeId) -> Vec<Output> {
        if self.lie == Lie::Refuses {
            return vec![Output::Disconnect { peer }];
        }
        if self.lie == Lie::HintsFlood && !self.greeted.insert(peer) {
            return Vec::new();
        }
        let (hints, named) = match self.lie {
            Lie::HintsInvented => (1, MAX_HINTED_PEERS),
            Lie::HintsFlood => (40, MAX_HINTED_PEERS),
            Lie::HintsTooMany => (1, MAX_HINTED_PEERS + 1),
            _ => return Vec::new(),
        };
        let mut outputs = Vec::new();
        let frame = self.invented_hint(named).seal(&self.key);
        for _ in 0..hints {
            let frame = frame.clone();
            outputs.push(self.open_extra(peer, StreamKind::Hint, Some(frame)));
        }
        outputs
    }

    /// Peers that nobody can reach, with the address of one that somebody might.
    fn invented_hint(&mut self, count: usize) -> Hint {
        let mut invent = || {
            let mut secret = [0; 32];
            self.rng.fill_bytes(&mut secret);
            HintedPeer {
                peer_id: node_id(&SigningKey::from_bytes(&secret)),
                addresses: vec!["/dns/relay/p2p/0/p2p-circuit".to_owned()],
            }
        };
        let peers = (0..count).map(|_| invent()).collect();
        Hint { peers }
    }

    fn twist_frame(&mut self, stream: StreamId, frame: Vec<u8>) -> Vec<Output> {
        let Ok((_, message)) = TaskMessage::open(&frame) else {
            return vec![Output::Send { stream, frame }];
        };
        let frames = match &message.body {
            TaskBody::Prompt(_) => return self.twist_prompt(stream, frame, &message),
            TaskBody::Accept(_) => self.twist_accept(stream, frame, &message),
            TaskBody::Tokens(tokens) => {
                let tokens = tokens.clone();
                self.twist_tokens(stream, frame, message, tokens)
            }
            TaskBody::Done(done) => {
                let done = *done;
                self.twist_done(stream, frame, message, done)
            }
            _ if self.muted.contains(&stream) || self.lie == Lie::SilentAlways => Vec::new(),
            _ if self.lie == Lie::SilentAfterAccept => Vec::new(),
            _ => vec![self.renumbered(stream, message)],
        };
        let send = |frame| Output::Send { stream, frame };
        frames.into_iter().map(send).collect()
    }

    fn twist_prompt(
        &mut self,
        stream: StreamId,
        frame: Vec<u8>,
        message: &TaskMessage,
    ) -> Vec<Output> {
        let peer = self.task_streams[&stream];
        let honest = Output::Send {
            stream,
            frame: frame.clone(),
        };
        match self.lie {
            Lie::AskerFloods => {
                let mut outputs = vec![honest];
                for _ in 0..100 {
                    outputs.push(self.open_extra(peer, StreamKind::Task, None));
                }
                outputs
            }
            Lie::AskerReplays => vec![honest, self.open_extra(peer, StreamKind::Task, Some(frame))],
            Lie::AskerSignsAsAnother => {
                let frame = message.seal(&self.other_key);
                vec![Output::Send { stream, frame }]
            }
            Lie::AskerStaysSilent => Vec::new(),
            _ => vec![honest],
        }
    }

    fn open_extra(&mut self, peer: NodeId, kind: StreamKind, frame: Option<Vec<u8>>) -> Output {
        let stream = StreamId(self.next_extra);
        self.next_extra += 2;
        self.extra.insert(stream, frame);
        Output::Open { stream, peer, kind }
    }

    fn twist_accept(
        &mut self,
        stream: StreamId,
        frame: Vec<u8>,
        message: &TaskMessage,
    ) -> Vec<Vec<u8>> {
        self.numbers.insert(stream, 1);
        match self.lie {
            Lie::AcceptsTwice => {
                let again = self.renumbered(stream, message.clone());
                vec![frame, again]
            }
            Lie::HeartbeatFlood => {
                let mut frames = vec![frame];
                for _ in 0..100 {
                    let body = TaskBody::Heartbeat {};
                    let heartbeat = TaskMessage {
                        body,
                        ..message.clone()
                    };
                    frames.push(self.renumbered(stream, heartbeat));
                }
                frames
            }
            Lie::SilentAlways => Vec::new(),
            Lie::ReplaysAttempt if !self.kept.is_empty() => {
                let mut frames = vec![frame];
                frames.extend(self.kept.clone());
                frames
            }
            _ => vec![frame],
        }
    }

    fn twist_tokens(
        &mut self,
        stream: StreamId,
        mut frame: Vec<u8>,
        mut message: TaskMessage,
        mut tokens: Tokens,
    ) -> Vec<Vec<u8>> {
        match self.lie {
            Lie::Garbage => {
                let mut bytes = vec![0; 300];
                self.rng.fill_bytes(&mut bytes);
                vec![bytes]
            }
            Lie::Huge => vec![vec![b'{'; MAX_FRAME_BYTES + 1]],
            Lie::InvalidUtf8 => {
                for token in &mut tokens.tokens {
                    token.piece = vec![0xff, 0xc3, 0x28, 0xf0, 0x9f];
                }
                message.body = TaskBody::Tokens(tokens);
                vec![self.renumbered(stream, message)]
            }
            Lie::OtherRecipient => {
                message.recipient_id = node_id(&self.other_key);
                vec![self.renumbered(stream, message)]
            }
            Lie::OtherTask => {
                message.task_id = TaskId([7; 16]);
                vec![self.renumbered(stream, message)]
            }
            Lie::RepeatsFrames => {
                let once = self.renumbered(stream, message);
                vec![once.clone(), once]
            }
            Lie::RepeatsTokens => {
                let once = self.renumbered(stream, message.clone());
                vec![once, self.renumbered(stream, message)]
            }
            Lie::ReplaysAttempt => {
                if self.kept.len() < 2 {
                    self.kept.push(frame.clone());
                }
                vec![frame]
            }
            Lie::SignsAsAnother => vec![message.seal(&self.other_key)],
            Lie::SilentAfterAccept | Lie::SilentAlways => Vec::new(),
            Lie::SkipsTokens => {
                tokens.first_index += 1;
                message.body = TaskBody::Tokens(tokens);
                vec![self.renumbered(stream, message)]
            }
            Lie::WrongSignature => {
                let at = find(&frame, b"\"signature\":\"") + 20;
                frame[at] = if frame[at] == b'A' { b'B' } else { b'A' };
                vec![frame]
            }
            _ => vec![self.renumbered(stream, message)],
        }
    }

    fn twist_done(
        &mut self,
        stream: StreamId,
        frame: Vec<u8>,
        mut message: TaskMessage,
        done: Done,
    ) -> Vec<Vec<u8>> {
        match self.lie {
            Lie::CountsWrong => {
                let completion_tokens = done.completion_tokens + 9;
                message.body = TaskBody::Done(Done {
                    completion_tokens,
                    ..done
                });
                vec![self.renumbered(stream, message)]
            }
            Lie::Endless => {
                self.muted.insert(stream);
                let mut frames = Vec::new();
                for round in 0..80 {
                    let step = MAX_TOKENS_PER_FRAME as u32;
                    let token = Token {
                        id: 9,
                        piece: b"more".to_vec(),
                        logprob: None,
                    };
                    message.body = TaskBody::Tokens(Tokens {
                        first_index: done.completion_tokens + round * step,
                        tokens: vec![token; MAX_TOKENS_PER_FRAME],
                    });
                    frames.push(self.renumbered(stream, message.clone()));
                }
                frames
            }
            Lie::Drops => {
                message.body = TaskBody::Done(Done {
                    discarded: Discarded {
                        context_tokens: 32,
                        ..Discarded::default()
                    },
                    ..done
                });
                vec![self.renumbered(stream, message)]
            }
            Lie::TrimsWrong => {
                message.body = TaskBody::Done(Done {
                    finish_reason: FinishReason::Stop,
                    trimmed_bytes: 2,
                    ..done
                });
                vec![self.renumbered(stream, message)]
            }
            Lie::SilentAfterAccept | Lie::SilentAlways => Vec::new(),
            Lie::ReplaysAttempt => vec![frame],
            _ => vec![self.renumbered(stream, message)],
        }
    }

    fn renumbered(&mut self, stream: StreamId, mut message: TaskMessage) -> Vec<u8> {
        if let Some(number) = self.numbers.get_mut(&stream) {
            message.number = *number;
            *number += 1;
        }
        message.seal(&self.key)
    }
}

fn node_id(key: &SigningKey) -> NodeId {
    NodeId::from_public_key(key.verifying_key().to_bytes()).expect("a key's public half")
}

fn find(bytes: &[u8], text: &[u8]) -> usize {
    let mut windows = bytes.windows(text.len());
    windows.position(|window| window == text).unwrap_or(0)
}

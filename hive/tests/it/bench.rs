//! A bench for one machine: peers are keys, their frames are made by hand.

use thrum_hive::io::{Found, Input, JobId, Output, RelayIndex, StreamId, StreamKind};
use thrum_hive::{Config, Hive};
use thrum_protocol::SigningKey;
use thrum_protocol::advert::Advert;
use thrum_protocol::capability::CapabilityRecord;
use thrum_protocol::id::{ModelId, NodeId, TaskId};
use thrum_protocol::model::{Backend, ModelOffer};
use thrum_protocol::sampling::Sampling;
use thrum_protocol::task::{Prompt, PromptInput, RefusalCode, TaskBody, TaskMessage, Token};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Truncation;
use thrum_protocol::view::{
    AskRequest, AskUpdate, Command, DonateLimits, Event, Path, Route, Snapshot, Threads,
};

pub(crate) const MODEL: ModelId = ModelId([9; 32]);
pub(crate) const RELAY: RelayIndex = RelayIndex(0);

/// One machine and the moment.
pub(crate) struct Bench {
    pub(crate) hive: Hive,
    pub(crate) now: Millis,
    pub(crate) id: NodeId,
    pub(crate) wake_at: Option<Millis>,
    next_stream: u64,
}

/// Somebody at the other end.
pub(crate) struct Remote {
    pub(crate) id: NodeId,
    key: SigningKey,
}

impl Remote {
    pub(crate) fn new(byte: u8) -> Self {
        let key = SigningKey::from_bytes(&[byte; 32]);
        let id = NodeId::from_public_key(key.verifying_key().to_bytes()).expect("a public half");
        Self { id, key }
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// One of many: distinct from the others and from those of [`Self::new`].
    pub(crate) fn numbered(number: usize) -> Self {
        let mut secret = [0x55; 32];
        secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let key = SigningKey::from_bytes(&secret);
        let id = NodeId::from_public_key(key.verifying_key().to_bytes()).expect("a public half");
        Self { id, key }
    }

    pub(crate) fn announce(&self, record: &CapabilityRecord) -> Vec<u8> {
        record.seal(&self.key)
    }

    pub(crate) fn say(&self, message: &TaskMessage) -> Vec<u8> {
        message.seal(&self.key)
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(7, false).0
    }

    /// The machine and what it wants before the first input.
    pub(crate) fn with(seed: u8, resume_donation: bool) -> (Self, Vec<Output>) {
        let key = SigningKey::from_bytes(&[200; 32]);
        let id = NodeId::from_public_key(key.verifying_key().to_bytes()).expect("a public half");
        let config = Config {
            key,
            seed: [seed; 32],
            relays: vec!["http://relay".to_owned()],
            agent: "thrum/test".to_owned(),
            version: "1".to_owned(),
            commit: "c".to_owned(),
            resume_donation,
        };
        let now = Millis(0);
        let mut bench = Self {
            hive: Hive::new(config, now),
            now,
            id,
            wake_at: None,
            next_stream: 1,
        };
        let outputs = bench.drain();
        (bench, outputs)
    }

    fn drain(&mut self) -> Vec<Output> {
        let outputs: Vec<Output> = std::iter::from_fn(|| self.hive.poll()).collect();
        for output in &outputs {
            if let Output::WakeAt(at) = output {
                assert!(*at > self.now, "asks to be woken in the past");
                self.wake_at = Some(*at);
            }
        }
        outputs
    }

    pub(crate) fn tell(&mut self, input: Input) -> Vec<Output> {
        self.hive.handle(self.now, input);
        self.drain()
    }

    pub(crate) fn command(&mut self, command: Command) -> Vec<Output> {
        self.tell(Input::Command(command))
    }

    /// Lets time pass, waking the machine whenever it asked for it.
    pub(crate) fn pass(&mut self, span: Millis) -> Vec<Output> {
        let end = self.now + span;
        let mut outputs = Vec::new();
        while let Some(at) = self.wake_at.filter(|at| *at <= end) {
            self.wake_at = None;
            self.now = at;
            outputs.extend(self.tell(Input::Wake));
        }
        self.now = end;
        outputs
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.hive.snapshot(self.now)
    }

    pub(crate) fn reserve(&mut self) -> Vec<Output> {
        self.tell(Input::RelayConnected(RELAY));
        self.tell(Input::RelayReserved(RELAY))
    }

    pub(crate) fn find(&mut self, peers: impl IntoIterator<Item = NodeId>) -> Vec<Output> {
        let found = peers.into_iter().map(|peer| Found {
            peer,
            addresses: vec!["/addr".to_owned()],
        });
        let found = found.collect();
        self.tell(Input::Discovered {
            relay: RELAY,
            found,
        })
    }

    pub(crate) fn connect(&mut self, peer: NodeId) -> Vec<Output> {
        self.tell(Input::Connected {
            peer,
            path: Path::Direct,
            transport: "webrtc".to_owned(),
        })
    }

    /// Connects a peer that donates.
    pub(crate) fn connect_donor(&mut self, remote: &Remote) -> Vec<Output> {
        self.connect(remote.id);
        let frame = donor_advert().seal(&remote.key);
        let stream = self.accept(remote.id, StreamKind::Advert).0;
        self.tell(Input::Frame {
            stream,
            bytes: frame,
        })
    }

    /// A peer opens a stream.
    pub(crate) fn accept(&mut self, peer: NodeId, kind: StreamKind) -> (StreamId, Vec<Output>) {
        let stream = StreamId(self.next_stream);
        self.next_stream += 2;
        let input = Input::StreamAccepted { stream, peer, kind };
        (stream, self.tell(input))
    }

    /// A peer opens a task stream and sends a prompt.
    pub(crate) fn prompt(
        &mut self,
        remote: &Remote,
        task: u8,
        prompt: Prompt,
    ) -> (StreamId, Vec<Output>) {
        let stream = self.accept(remote.id, StreamKind::Task).0;
        let message = TaskMessage {
            task_id: TaskId([task; 16]),
            attempt: 1,
            number: 0,
            recipient_id: self.id,
            body: TaskBody::Prompt(prompt),
        };
        let bytes = remote.say(&message);
        (stream, self.tell(Input::Frame { stream, bytes }))
    }

    /// Donates with a model that is ready.
    pub(crate) fn donate(&mut self, slots: u32) {
        self.command(Command::Donate(DonateLimits {
            slots,
            max_new_tokens: 100,
            ..DonateLimits::default()
        }));
        self.engine_ready();
    }

    pub(crate) fn engine_ready(&mut self) -> Vec<Output> {
        self.tell(Input::EngineReady {
            model: offer(),
            backend: Backend::Cpu,
            threads: Some(Threads {
                used: 1,
                reason: Some("the page is not cross-origin isolated".to_owned()),
            }),
            millitokens_per_second: 10_000,
        })
    }

    /// An ask that was routed to `remote` and accepted there: its stream and the prompt's message.
    pub(crate) fn streaming(
        &mut self,
        remote: &Remote,
        ask: AskRequest,
    ) -> (StreamId, TaskMessage) {
        let outputs = self.command(Command::Ask(ask));
        let (stream, prompt) = self.open_task(remote, &outputs);
        let accept = TaskBody::Accept(thrum_protocol::task::Accept {
            backend: Backend::Cpu,
        });
        self.hear(remote, stream, &prompt, 0, accept);
        (stream, prompt)
    }

    /// The stream that `outputs` open to `remote`, opened, and the prompt said on it.
    pub(crate) fn open_task(
        &mut self,
        remote: &Remote,
        outputs: &[Output],
    ) -> (StreamId, TaskMessage) {
        let stream = task_stream(outputs, remote.id).expect("a stream to the peer is opened");
        let outputs = self.tell(Input::StreamOpened(stream));
        (stream, said(&outputs).remove(0))
    }

    /// What the provider says in answer to a prompt.
    pub(crate) fn hear(
        &mut self,
        remote: &Remote,
        stream: StreamId,
        prompt: &TaskMessage,
        number: u64,
        body: TaskBody,
    ) -> Vec<Output> {
        let message = TaskMessage {
            number,
            recipient_id: self.id,
            body,
            ..prompt.clone()
        };
        let bytes = remote.say(&message);
        self.tell(Input::Frame { stream, bytes })
    }
}

pub(crate) fn offer() -> ModelOffer {
    ModelOffer {
        id: MODEL,
        name: "bee".to_owned(),
        context_tokens: 512,
    }
}

pub(crate) fn donor_advert() -> Advert {
    Advert {
        sequence: 1,
        agent: "thrum/other".to_owned(),
        donating: true,
        models: vec![offer()],
        backend: Some(Backend::Webgpu),
        millitokens_per_second: 50_000,
        slots: 2,
        busy: 0,
        max_new_tokens: 100,
    }
}

pub(crate) fn request(ask: u64) -> AskRequest {
    AskRequest {
        ask,
        model: None,
        input: PromptInput::Text("hello".to_owned()),
        max_new_tokens: 50,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        deadline_millis: Millis(60_000),
        truncation: Truncation::Disabled,
        route: Route::Peer,
    }
}

pub(crate) fn a_prompt() -> Prompt {
    Prompt {
        model: MODEL,
        input: PromptInput::Text("hello".to_owned()),
        resumed: Vec::new(),
        max_new_tokens: 50,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        deadline_millis: Millis(30_000),
        truncation: Truncation::Disabled,
    }
}

pub(crate) fn token(piece: &[u8]) -> Token {
    Token {
        id: 1,
        piece: piece.to_vec(),
        logprob: None,
    }
}

/// Messages sent, in order.
pub(crate) fn said(outputs: &[Output]) -> Vec<TaskMessage> {
    let mut messages = Vec::new();
    for output in outputs {
        if let Output::Send { frame, .. } = output
            && let Ok((_, message)) = TaskMessage::open(frame)
        {
            messages.push(message);
        }
    }
    messages
}

/// The code of the only refusal or failure sent.
pub(crate) fn refusal(outputs: &[Output]) -> Option<RefusalCode> {
    said(outputs)
        .into_iter()
        .find_map(|message| match message.body {
            TaskBody::Refuse(refusal) | TaskBody::Failed(refusal) => Some(refusal.code),
            _ => None,
        })
}

pub(crate) fn accepted(outputs: &[Output]) -> Option<JobId> {
    outputs.iter().find_map(|output| match output {
        Output::Run { job, .. } => Some(*job),
        _ => None,
    })
}

pub(crate) fn task_stream(outputs: &[Output], to: NodeId) -> Option<StreamId> {
    outputs.iter().find_map(|output| match output {
        Output::Open { stream, peer, kind } if *peer == to && *kind == StreamKind::Task => {
            Some(*stream)
        }
        _ => None,
    })
}

pub(crate) fn updates(outputs: &[Output]) -> Vec<AskUpdate> {
    let update = |output: &Output| match output {
        Output::Notify(Event::Ask { update, .. }) => Some(update.clone()),
        _ => None,
    };
    outputs.iter().filter_map(update).collect()
}

pub(crate) fn breaches(outputs: &[Output]) -> Vec<String> {
    let breach = |output: &Output| match output {
        Output::Notify(Event::Misbehaviour { what, .. }) => Some(what.clone()),
        _ => None,
    };
    outputs.iter().filter_map(breach).collect()
}

//! One task for each stream: frames in, frames out, both bounded.
//!
//! A reader that is not drained stops reading, and the multiplexer's window stops the peer. A writer
//! that is not drained fills its queue, and the stream is cut: the machine is told that it closed.

use super::frames;
use futures::channel::mpsc;
use futures::future::{AbortHandle, Either, abortable, select};
use futures::io::AsyncReadExt as _;
use futures::{AsyncWriteExt as _, SinkExt as _, StreamExt as _};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::Control;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use thrum_hive::io::{Input, StreamId};
use thrum_protocol::limits::MAX_FRAME_BYTES;

/// count; streams at once. A roster of peers with a few tasks each.
const MAX_STREAMS: usize = 256;

/// bytes; what waits to be sent on one stream. Two of the longest frames: a prompt and a message
/// after it, or the tokens of half a minute on a stalled link.
const MAX_QUEUED_BYTES: usize = 2 * MAX_FRAME_BYTES;

/// count; frames that wait to be sent on one stream, for the case that they are tiny.
const MAX_QUEUED_FRAMES: usize = 4_096;

/// count; frames of all streams that wait to be read by the machine. Each stream has one more.
const MAX_ARRIVED: usize = 4;

/// All streams of the node.
pub(super) struct Streams {
    open: BTreeMap<StreamId, Outgoing>,
    /// number of the next accepted stream: odd
    next_accepted: u64,
    arrived: mpsc::Receiver<Arrived>,
    arrived_sender: mpsc::Sender<Arrived>,
}

/// The sending half of a stream.
struct Outgoing {
    frames: mpsc::Sender<Vec<u8>>,
    queued_bytes: Rc<Cell<usize>>,
    abort: AbortHandle,
}

/// What a stream's task says.
enum Arrived {
    Closed(StreamId, String),
    Finished(StreamId),
    Frame(StreamId, Vec<u8>),
    Opened(StreamId),
}

/// The task's ends of a stream's queues.
struct Task {
    id: StreamId,
    frames: mpsc::Receiver<Vec<u8>>,
    queued_bytes: Rc<Cell<usize>>,
    arrived: mpsc::Sender<Arrived>,
}

impl Streams {
    pub(super) fn new() -> Self {
        let (arrived_sender, arrived) = mpsc::channel(MAX_ARRIVED);
        Self {
            open: BTreeMap::new(),
            next_accepted: 1,
            arrived,
            arrived_sender,
        }
    }

    /// Takes up a stream that a peer opened; `None` where there are too many.
    pub(super) fn accept(&mut self, stream: Stream) -> Option<StreamId> {
        if self.open.len() >= MAX_STREAMS {
            return None;
        }
        let id = StreamId(self.next_accepted);
        self.next_accepted += 2;
        let task = self.insert(id);
        self.spawn(id, task.0, async move { carry(task.1, stream).await });
        Some(id)
    }

    /// Opens a stream to a connected peer. `StreamOpened` or `StreamClosed` follows.
    pub(super) fn open(
        &mut self,
        id: StreamId,
        peer: PeerId,
        protocol: StreamProtocol,
        mut control: Control,
    ) {
        let (outgoing, mut task) = self.insert(id);
        self.spawn(id, outgoing, async move {
            match control.open_stream(peer, protocol).await {
                Ok(stream) => {
                    // The receiver lives as long as the node.
                    task.arrived.send(Arrived::Opened(id)).await.ok();
                    carry(task, stream).await;
                }
                Err(error) => {
                    task.arrived
                        .send(Arrived::Closed(id, error.to_string()))
                        .await
                        .ok();
                }
            }
        });
    }

    /// Queues a frame; what to tell the machine where that is impossible.
    pub(super) fn send(&mut self, id: StreamId, frame: Vec<u8>) -> Option<Input> {
        let outgoing = self.open.get_mut(&id)?;
        let queued = outgoing.queued_bytes.get() + frame.len();
        if queued <= MAX_QUEUED_BYTES && outgoing.frames.try_send(frame).is_ok() {
            outgoing.queued_bytes.set(queued);
            return None;
        }
        self.cut(id);
        Some(Input::StreamClosed {
            stream: id,
            reason: "the peer reads more slowly than we send".to_owned(),
        })
    }

    /// Ends a stream once its queue is sent. Nothing more is said of it.
    pub(super) fn close(&mut self, id: StreamId) {
        // Dropping the queue's sender is what the task waits for.
        self.open.remove(&id);
    }

    /// Ends all streams at once, without a word.
    pub(super) fn cut_all(&mut self) {
        for outgoing in std::mem::take(&mut self.open).into_values() {
            outgoing.abort.abort();
        }
    }

    /// The next thing a stream says.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Input> {
        while let Poll::Ready(Some(arrived)) = self.arrived.poll_next_unpin(context) {
            match arrived {
                Arrived::Closed(stream, reason) => {
                    if self.open.remove(&stream).is_some() {
                        return Poll::Ready(Input::StreamClosed { stream, reason });
                    }
                }
                Arrived::Finished(stream) => {
                    self.open.remove(&stream);
                }
                Arrived::Frame(stream, bytes) => {
                    if self.open.contains_key(&stream) {
                        return Poll::Ready(Input::Frame { stream, bytes });
                    }
                }
                Arrived::Opened(stream) => {
                    if self.open.contains_key(&stream) {
                        return Poll::Ready(Input::StreamOpened(stream));
                    }
                }
            }
        }
        Poll::Pending
    }

    fn insert(&self, id: StreamId) -> (Outgoing, Task) {
        let (sender, frames) = mpsc::channel(MAX_QUEUED_FRAMES);
        let queued_bytes = Rc::new(Cell::new(0));
        let outgoing = Outgoing {
            frames: sender,
            queued_bytes: queued_bytes.clone(),
            abort: AbortHandle::new_pair().0,
        };
        let arrived = self.arrived_sender.clone();
        (
            outgoing,
            Task {
                id,
                frames,
                queued_bytes,
                arrived,
            },
        )
    }

    fn spawn(
        &mut self,
        id: StreamId,
        outgoing: Outgoing,
        task: impl Future<Output = ()> + 'static,
    ) {
        let (task, abort) = abortable(task);
        self.open.insert(id, Outgoing { abort, ..outgoing });
        wasm_bindgen_futures::spawn_local(async move {
            // Aborted: whoever did it has said so.
            task.await.ok();
        });
    }

    fn cut(&mut self, id: StreamId) {
        if let Some(outgoing) = self.open.remove(&id) {
            outgoing.abort.abort();
        }
    }
}

/// Carries frames both ways until either side ends the stream.
async fn carry(task: Task, stream: Stream) {
    let Task {
        id,
        mut frames,
        queued_bytes,
        mut arrived,
    } = task;
    let (mut reader, mut writer) = stream.split();
    let mut to_machine = arrived.clone();
    let reading = pin!(async move {
        loop {
            match frames::read(&mut reader).await {
                Ok(Some(frame)) => {
                    if to_machine.send(Arrived::Frame(id, frame)).await.is_err() {
                        return "the node is closed".to_owned();
                    }
                }
                Ok(None) => return "the peer ended the stream".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    });
    let writing = pin!(async move {
        while let Some(frame) = frames.next().await {
            frames::write(&mut writer, &frame).await?;
            queued_bytes.set(queued_bytes.get() - frame.len());
        }
        writer.close().await
    });
    let end = match select(reading, writing).await {
        Either::Left((reason, _)) => Arrived::Closed(id, reason),
        Either::Right((Ok(()), _)) => Arrived::Finished(id),
        Either::Right((Err(error), _)) => Arrived::Closed(id, format!("the stream broke: {error}")),
    };
    // The receiver lives as long as the node.
    arrived.send(end).await.ok();
}

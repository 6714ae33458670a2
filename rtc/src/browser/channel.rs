//! One data channel and the stream on it.

mod callbacks;
mod early;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_timer::Delay;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{Event, MessageEvent, RtcDataChannel, RtcDataChannelState};

use super::clock::now;
use super::shared::Shared;
use super::turn::next_turn;
use crate::limits::{MAX_STARTS, MUTE_TIMEOUT};
use crate::stream::{Peer, Ready, Stream};
use callbacks::{Callbacks, silence};
use early::Early;

/// A channel of a connection, shared by the browser's callbacks and whoever holds the stream.
pub(super) struct Channel {
    key: u32,
    inner: RefCell<RtcDataChannel>,
    stream: RefCell<Stream>,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
    /// what does not fill a frame goes out at the end of this turn of the event loop
    flushing: Cell<bool>,
    /// what a channel is for
    purpose: Purpose,
    connection: Weak<Shared>,
    callbacks: RefCell<Option<Callbacks>>,
    /// channels that were of no use, whose callbacks may be running
    useless: RefCell<Vec<(RtcDataChannel, Callbacks)>>,
    /// what came before it was clear that the channel works; none when it is
    early: RefCell<Option<Early>>,
}

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A stream that the peer has opened. Its number is another's after it.
    Accepted,
    /// A stream of ours.
    Opened,
    /// The proof of identity: its number is agreed, and stays with it to the end.
    Proof,
}

impl Channel {
    /// Takes a channel over. Nothing that it has to say is missed when this is called in the turn
    /// of the event loop in which it appeared.
    pub(super) fn new(
        key: u32,
        inner: RtcDataChannel,
        purpose: Purpose,
        connection: Weak<Shared>,
    ) -> Rc<Self> {
        let mut stream = Stream::new(now());
        if let Some(connection) = connection.upgrade() {
            stream.set_peer(connection.peer());
        }
        let is_accepted = purpose == Purpose::Accepted;
        if !is_accepted && inner.ready_state() == RtcDataChannelState::Open {
            stream.handle_open();
        }
        let channel = Rc::new_cyclic(|channel: &Weak<Self>| {
            let callbacks = Callbacks::new(channel, &inner);
            Self {
                key,
                inner: RefCell::new(inner),
                stream: RefCell::new(stream),
                reader: Cell::default(),
                writer: Cell::default(),
                flushing: Cell::new(false),
                purpose,
                connection,
                callbacks: RefCell::new(Some(callbacks)),
                useless: RefCell::default(),
                early: RefCell::new(is_accepted.then(Early::default)),
            }
        });
        if is_accepted {
            let weak = Rc::downgrade(&channel);
            next_turn(move || {
                next_turn(move || {
                    if let Some(channel) = weak.upgrade() {
                        channel.settle();
                    }
                });
            });
        }
        channel
    }

    /// Finds out whether a channel that the peer has opened works. Chromium says that one is open
    /// before it looks: one turn later it looks, one more, and it may take that back, for a moment
    /// or for ever.
    fn settle(self: &Rc<Self>) {
        if self.inner().ready_state() != RtcDataChannelState::Connecting {
            return self.settled();
        }
        if let Some(early) = &mut *self.early.borrow_mut() {
            early.waits_for_open = true;
        }
        let weak = Rc::downgrade(self);
        wasm_bindgen_futures::spawn_local(async move {
            Delay::new(MUTE_TIMEOUT).await;
            let channel = weak.upgrade().filter(|it| it.early.borrow().is_some());
            if let Some(channel) = channel {
                channel.stream.borrow_mut().handle_mute();
                channel.inner().close();
                channel.closed();
            }
        });
    }

    /// The channel works: what has come is taken.
    fn settled(self: &Rc<Self>) {
        let Some(early) = self.early.take() else {
            return;
        };
        self.stream.borrow_mut().handle_open();
        for message in early.messages {
            self.take(&message);
        }
        self.advance(true);
    }

    fn inner(&self) -> RtcDataChannel {
        self.inner.borrow().clone()
    }

    fn on_message(self: &Rc<Self>, event: &MessageEvent) {
        if let Some(early) = &mut *self.early.borrow_mut() {
            return early.keep(event.data());
        }
        self.take(&event.data());
    }

    fn take(self: &Rc<Self>, message: &JsValue) {
        let (answers_fin, knows_windows) = {
            let mut stream = self.stream.borrow_mut();
            match message.dyn_ref::<ArrayBuffer>() {
                Some(bytes) => stream.handle_message(&Uint8Array::new(bytes).to_vec()),
                // Nothing of libp2p is text.
                None => stream.reset(),
            }
            (stream.heard_fin_ack(), stream.peer_knows_windows())
        };
        self.advance(false);
        let Some(connection) = self.connection.upgrade() else {
            return;
        };
        if knows_windows {
            connection.learn_windows();
        }
        if answers_fin {
            connection.learn(Peer::Full);
        }
    }

    fn on_event(self: &Rc<Self>, event: &Event) {
        if event.target().as_deref() != Some(self.inner().as_ref()) {
            // A channel that was of no use.
            return;
        }
        match &*event.type_() {
            "open" => {
                // Of a channel that the peer has opened the first says nothing.
                let waits = self.early.borrow().as_ref().map(|it| it.waits_for_open);
                match waits {
                    None => self.stream.borrow_mut().handle_open(),
                    Some(true) => self.settled(),
                    Some(false) => return,
                }
            }
            "close" | "error" => {
                self.settled();
                if !self.start_over() {
                    self.inner().close();
                    self.closed();
                }
                return;
            }
            _ => {}
        }
        self.advance(true);
    }

    /// Goes on over another channel, where this one was of no use to the peer.
    fn start_over(self: &Rc<Self>) -> bool {
        let Some(connection) = self.connection.upgrade() else {
            return false;
        };
        let useless = self.useless.borrow().len() < usize::from(MAX_STARTS) - 1;
        let may = self.purpose == Purpose::Opened && useless && connection.peer_knows_windows();
        if !may || !self.stream.borrow_mut().start_over(now()) {
            return false;
        }
        let Ok(inner) = connection.create_channel() else {
            return false;
        };
        let callbacks = Callbacks::new(&Rc::downgrade(self), &inner);
        let inner = self.inner.replace(inner);
        inner.close();
        if let Some(callbacks) = self.callbacks.replace(Some(callbacks)) {
            self.useless.borrow_mut().push((inner, callbacks));
        }
        self.tell_connection();
        true
    }

    /// The channel is gone.
    pub(super) fn closed(self: &Rc<Self>) {
        self.stream.borrow_mut().handle_closed();
        self.wake();
        self.tell_connection();
    }

    /// Something has happened: sends what there is to send, and wakes whoever waits.
    fn advance(self: &Rc<Self>, flush: bool) {
        self.transmit(flush);
        self.wake();
    }

    /// Sends what there is to send, and closes the channel when all is said. Whoever reads or
    /// writes calls this by itself, and would be woken for ever if it woke.
    fn transmit(&self, flush: bool) {
        let inner = self.inner();
        let mut stream = self.stream.borrow_mut();
        let time = now();
        let mut refused = false;
        while let Some(message) = stream.transmit(time, inner.buffered_amount() as usize, flush) {
            refused = inner.send_with_u8_array(&message).is_err();
            if refused && inner.ready_state() == RtcDataChannelState::Connecting {
                stream.handle_mute();
            } else if refused {
                stream.handle_closed();
            }
        }
        if refused || (stream.wants_channel_closed() && self.purpose != Purpose::Proof) {
            inner.close();
        }
        let waits = stream.next_timeout().is_some() || stream.is_closed();
        drop(stream);
        if refused {
            self.wake();
        }
        if waits {
            self.tell_connection();
        }
    }

    fn flush_soon(self: &Rc<Self>) {
        if self.flushing.replace(true) {
            return;
        }
        let channel = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            channel.flushing.set(false);
            channel.advance(true);
        });
    }

    fn wake(&self) {
        for waker in [&self.reader, &self.writer] {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }

    fn tell_connection(&self) {
        if let Some(connection) = self.connection.upgrade() {
            connection.channel_changed();
        }
    }

    pub(super) fn poll_read(
        self: &Rc<Self>,
        context: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = self.stream.borrow_mut().read(out);
        match read? {
            Ready::Now(n) => {
                self.transmit(false);
                Poll::Ready(Ok(n))
            }
            Ready::Later => {
                self.reader.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }

    pub(super) fn poll_write(
        self: &Rc<Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream.borrow_mut().write(bytes);
        match written? {
            Ready::Now(n) => {
                self.transmit(false);
                self.flush_soon();
                Poll::Ready(Ok(n))
            }
            Ready::Later => {
                self.writer.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }

    pub(super) fn poll_flush(self: &Rc<Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transmit(true);
        if self.stream.borrow().flushed()? {
            return Poll::Ready(Ok(()));
        }
        self.writer.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Ready when FIN has left for the channel. The peer's answer is not waited for: a protocol
    /// may close its half before it reads.
    pub(super) fn poll_close(self: &Rc<Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.borrow_mut().finish();
        self.poll_flush(context)
    }

    /// Nobody holds the stream any more.
    pub(super) fn release(self: &Rc<Self>) {
        self.stream.borrow_mut().release();
        self.advance(true);
        self.tell_connection();
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.stream.borrow().next_timeout()
    }

    pub(super) fn handle_timeout(self: &Rc<Self>, time: Duration) {
        let buffered = self.buffered();
        self.stream.borrow_mut().handle_timeout(time, buffered);
        self.advance(true);
    }

    pub(super) fn set_peer(self: &Rc<Self>, peer: Peer) {
        self.stream.borrow_mut().set_peer(peer);
        self.advance(true);
    }

    /// bytes; what waits in the browser.
    pub(super) fn buffered(&self) -> usize {
        self.inner.borrow().buffered_amount() as usize
    }

    /// Whether its number is free again.
    pub(super) fn is_closed(&self) -> bool {
        self.stream.borrow().is_closed()
    }

    pub(super) fn key(&self) -> u32 {
        self.key
    }

    /// Takes the callbacks back. Not to be called from one of them.
    pub(super) fn detach(&self) {
        silence(&self.inner());
        self.callbacks.take();
        for (useless, callbacks) in self.useless.take() {
            silence(&useless);
            drop(callbacks);
        }
    }
}

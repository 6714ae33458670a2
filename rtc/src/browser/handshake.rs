//! Carries out what a handshake decides, with a browser's connection and a signalling stream.

use std::future::poll_fn;
use std::task::Poll;

use asynchronous_codec::Framed;
use futures::future::{Either, select};
use futures::{SinkExt as _, StreamExt as _};
use futures_timer::Delay;
use libp2p::swarm::Stream;
use web_sys::RtcSdpType;

use super::clock::now;
use super::peer_connection::PeerConnection;
use super::shared::{Found, State};
use crate::error::{ConnectError, Stage};
use crate::limits::MAX_SIGNAL_MESSAGE;
use crate::signal::{Action, Event, Handshake, Message, Role, Wire};

type Signalling = Framed<Stream, prost_codec::Codec<Wire>>;

/// The end of a handshake: the peer may still need the stream.
pub(super) struct Parting {
    role: Role,
    handshake: Handshake,
    signalling: Signalling,
    /// nothing more comes on the stream: it is not asked again
    heard_all: bool,
}

/// Makes a connection. The offer may have been made before the stream was there.
///
/// # Errors
/// Why there is none, and at which stage.
pub(super) async fn connect(
    role: Role,
    connection: &PeerConnection,
    stream: Stream,
    offer: Option<String>,
) -> Result<Parting, ConnectError> {
    let mut parting = Parting {
        role,
        handshake: Handshake::new(role, now()),
        signalling: Framed::new(stream, prost_codec::Codec::new(MAX_SIGNAL_MESSAGE)),
        heard_all: false,
    };
    parting.run(Some(connection), offer).await?;
    Ok(parting)
}

impl Parting {
    /// Waits until the peer has all it needs of the stream.
    pub(super) async fn finish(mut self) {
        if let Err(error) = self.run(None, None).await {
            tracing::debug!(%error, "signalling ended badly after the connection stood");
        }
    }

    /// Goes on until the connection stands; without a connection, until the stream has ended.
    async fn run(
        &mut self,
        connection: Option<&PeerConnection>,
        mut offer: Option<String>,
    ) -> Result<(), ConnectError> {
        let mut state = State::Connecting;
        loop {
            while let Some(action) = self.handshake.poll() {
                match action {
                    Action::Done => return Ok(()),
                    Action::Close => return Ok(()),
                    Action::Fail(error) => return Err(error),
                    Action::Send(message) => self.send(message).await,
                    Action::Finish => {
                        // A stream that is broken has ended, too.
                        self.signalling.close().await.ok();
                    }
                    Action::Offer
                    | Action::Answer
                    | Action::SetLocal(_)
                    | Action::SetRemote(_)
                    | Action::AddCandidate(_) => {
                        if let Some(connection) = connection {
                            self.ask(connection, action, &mut offer).await;
                        }
                    }
                }
            }
            self.wait(connection, &mut state).await;
        }
    }

    async fn send(&mut self, message: Message) {
        let sent = self.signalling.send(message.into()).await;
        if sent.is_err() {
            self.handshake.handle(now(), Event::StreamEnded);
        }
    }

    /// Has the browser do something.
    async fn ask(
        &mut self,
        connection: &PeerConnection,
        action: Action,
        offer: &mut Option<String>,
    ) {
        let (local, remote) = match self.role {
            Role::Offerer => (RtcSdpType::Offer, RtcSdpType::Answer),
            Role::Answerer => (RtcSdpType::Answer, RtcSdpType::Offer),
        };
        let done = match action {
            Action::Offer => match offer.take() {
                Some(offer) => Ok(Some(Event::Described(offer))),
                None => connection.create_offer().await.map(described),
            },
            Action::Answer => connection.create_answer().await.map(described),
            Action::SetLocal(sdp) => connection.set_local(local, &sdp).await.map(|()| None),
            Action::SetRemote(sdp) => {
                let set = connection.set_remote(remote, &sdp).await;
                set.map(|()| Some(Event::RemoteSet))
            }
            Action::AddCandidate(json) => {
                if let Err(error) = connection.add_candidate(&json).await {
                    tracing::debug!(error, "a candidate of the peer is of no use");
                }
                Ok(None)
            }
            Action::Done | Action::Close | Action::Fail(_) | Action::Send(_) | Action::Finish => {
                Ok(None)
            }
        };
        match done {
            Ok(Some(event)) => self.handshake.handle(now(), event),
            Ok(None) => {}
            Err(reason) => self.handshake.handle(now(), Event::Failed(reason)),
        }
    }

    /// Waits for the next event.
    async fn wait(&mut self, connection: Option<&PeerConnection>, state: &mut State) {
        let deadline = self.handshake.next_timeout().unwrap_or_default();
        let timer = Delay::new(deadline.saturating_sub(now()));
        let known = *state;
        let found = poll_fn(|context| match connection {
            Some(connection) => connection.shared().poll_found(context, known),
            None => Poll::Pending,
        });
        let heard_all = self.heard_all;
        let signalling = &mut self.signalling;
        let heard = poll_fn(|context| match heard_all {
            true => Poll::Pending,
            false => signalling.poll_next_unpin(context),
        });
        match select(found, select(heard, timer)).await {
            Either::Left((Found::Candidate(json), _)) => {
                self.handshake.handle(now(), Event::Candidate(json));
            }
            Either::Left((Found::State(found), _)) => {
                *state = found;
                let event = match found {
                    State::Connecting => return,
                    State::Connected => Event::Connected,
                    State::Ended(why) => Event::Failed(why.to_owned()),
                };
                self.handshake.handle(now(), event);
            }
            Either::Right((Either::Left((heard, _)), _)) => self.heard(heard),
            Either::Right((Either::Right(((), _)), _)) => self.handshake.handle_timeout(now()),
        }
    }

    fn heard(&mut self, heard: Option<Result<Wire, prost_codec::Error>>) {
        let event = match heard {
            Some(Ok(wire)) => match Message::try_from(wire) {
                Ok(message) => Event::Message(message),
                Err(error) => Event::Failed(format!("the peer sent {error}")),
            },
            Some(Err(error)) => {
                tracing::debug!(%error, "the signalling stream broke");
                self.heard_all = true;
                Event::StreamEnded
            }
            None => {
                self.heard_all = true;
                Event::StreamEnded
            }
        };
        self.handshake.handle(now(), event);
    }
}

fn described(sdp: String) -> Option<Event> {
    Some(Event::Described(sdp))
}

/// An error before there was a handshake.
pub(super) fn not_made(reason: String) -> ConnectError {
    ConnectError::new(Stage::Offer, reason)
}

//! The streams between federated relays, and what is done when they come and go. What is believed
//! is decided in `federation`.

use std::collections::BTreeMap;
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, StreamExt as _, pending};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, Stream};
use libp2p_stream::Control;
use prost::Message as _;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::Network;
use crate::federation;
use crate::federation::intake::{Cut, Intake};
use crate::federation::redial::Redial;
use crate::federation::wire::Frame;
use crate::framing;
use crate::limits::{
    FEDERATION_BATCH, FEDERATION_PERIOD, FEDERATION_REDIAL_MAX, FEDERATION_REDIAL_MIN,
    FEDERATION_WRITE_TIMEOUT, MAX_FEDERATION_FRAME_BYTES,
};
use crate::metrics::FederationMetrics;
use crate::rendezvous::Store;

/// The federated relays that tell this one who is there, each with where a tab dials it.
pub(crate) type Directory = BTreeMap<PeerId, Vec<Multiaddr>>;

/// One address after the other.
const ONE_AT_A_TIME: NonZeroU8 = NonZeroU8::MIN;

/// The registrations, and the clock that they live by; cheap to clone.
#[derive(Clone)]
pub(super) struct Registrations {
    store: Arc<Mutex<Store>>,
    started: Instant,
}

impl Registrations {
    pub(super) fn new() -> Self {
        Self {
            store: Arc::new(Mutex::new(Store::new(rand::random()))),
            started: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(Duration, &mut Store) -> T) -> T {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        act(self.now(), &mut store)
    }
}

/// A relay that this one listens to.
struct Listening {
    task: AbortHandle,
    /// tells it from the one that it replaced
    number: u64,
}

/// The links to federated relays.
pub(super) struct Federation {
    pub(super) redial: Redial,
    registrations: Registrations,
    directory: watch::Sender<Directory>,
    listening: BTreeMap<PeerId, Listening>,
    telling: BTreeMap<PeerId, AbortHandle>,
    tasks: JoinSet<(PeerId, u64)>,
    n_listened: u64,
    metrics: FederationMetrics,
}

impl Federation {
    pub(super) fn new(
        redial: Redial,
        registrations: Registrations,
        metrics: FederationMetrics,
    ) -> Self {
        Self {
            redial,
            registrations,
            directory: watch::Sender::default(),
            listening: BTreeMap::new(),
            telling: BTreeMap::new(),
            tasks: JoinSet::new(),
            n_listened: 0,
            metrics,
        }
    }

    pub(super) fn directory(&self) -> watch::Receiver<Directory> {
        self.directory.subscribe()
    }

    /// A stream was opened on which a relay wants to tell.
    pub(super) fn listen(&mut self, relay: PeerId, stream: Stream) {
        if !self.redial.knows(&relay) {
            tracing::debug!(%relay, "not federated, and told nothing");
            return;
        }
        self.stop_listening(&relay);
        self.n_listened += 1;
        let number = self.n_listened;
        let (registrations, metrics) = (self.registrations.clone(), self.metrics.clone());
        let directory = self.directory.clone();
        let task = self.tasks.spawn(async move {
            let ended = hear(relay, stream, &registrations, &metrics, &directory).await;
            match ended {
                Ok(()) => tracing::info!(%relay, "a federated relay tells no more"),
                Err(reason) => tracing::warn!(%relay, reason, "a federated relay is cut off"),
            }
            (relay, number)
        });
        self.listening.insert(relay, Listening { task, number });
    }

    /// Waits until a link ends, and forgets what came over it.
    pub(super) async fn next_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok((relay, number))) => {
                let current = self.listening.get(&relay);
                if current.is_some_and(|it| it.number == number) {
                    self.stop_listening(&relay);
                }
            }
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(%error, "a link of the federation failed");
            }
            Some(Err(_)) => {} // It was ended by us.
            None => std::future::pending().await,
        }
    }

    fn stop_listening(&mut self, relay: &PeerId) {
        if let Some(listening) = self.listening.remove(relay) {
            listening.task.abort();
        }
        self.registrations.with(|_, store| store.forget(*relay));
        self.directory.send_modify(|directory| {
            directory.remove(relay);
        });
        self.count();
    }

    pub(super) fn count(&self) {
        let n_relays = self.directory.borrow().len();
        let n_registrations = self.registrations.with(|now, store| {
            store.sweep(now);
            store.n_foreign()
        });
        self.metrics.count(n_relays, n_registrations);
    }

    /// A relay of the settings is connected: tells it who is here, as long as that lasts.
    pub(super) fn connected(&mut self, relay: PeerId, control: Control, own: Vec<Multiaddr>) {
        let registrations = self.registrations.clone();
        self.redial.up(registrations.now(), &relay);
        if self.telling.contains_key(&relay) {
            return;
        }
        let task = self.tasks.spawn(async move {
            tell(relay, control, &registrations, &own).await;
            (relay, 0)
        });
        self.telling.insert(relay, task);
    }

    /// The last connection to a relay ended, or it was dialled in vain.
    pub(super) fn disconnected(&mut self, relay: &PeerId) {
        self.redial.down(self.registrations.now(), relay);
        if let Some(task) = self.telling.remove(relay) {
            task.abort();
        }
        if self.listening.contains_key(relay) {
            self.stop_listening(relay);
        }
    }
}

/// Hears what a relay tells, until it ends or has to be cut off.
async fn hear(
    relay: PeerId,
    mut stream: Stream,
    registrations: &Registrations,
    metrics: &FederationMetrics,
    directory: &watch::Sender<Directory>,
) -> Result<(), String> {
    let mut intake = Intake::new(relay);
    loop {
        let read = framing::read(&mut stream, MAX_FEDERATION_FRAME_BYTES).await;
        let Some(bytes) = read.map_err(|error| error.to_string())? else {
            return Ok(());
        };
        let frame = Frame::decode(&bytes[..]).map_err(|error| error.to_string())?;
        let heard = registrations.with(|now, store| {
            let heard = intake.take(now, frame, store);
            heard.map(|heard| (heard, store.n_foreign()))
        });
        let (heard, n_foreign) = heard.map_err(|cut: Cut| {
            metrics.cut();
            cut.to_string()
        })?;
        for refusal in &heard.refused {
            metrics.refused(refusal.name());
        }
        if let Some(addresses) = heard.addresses {
            directory.send_modify(|directory| {
                directory.insert(relay, addresses);
            });
        }
        metrics.count(directory.borrow().len(), n_foreign);
        sleep(heard.rest).await;
    }
}

/// Tells a relay who is here, for ever; where it does not listen, ever later again.
async fn tell(
    relay: PeerId,
    mut control: Control,
    registrations: &Registrations,
    own: &[Multiaddr],
) {
    let mut wait = FEDERATION_REDIAL_MIN;
    loop {
        match control.open_stream(relay, federation::PROTOCOL).await {
            Ok(mut stream) => {
                let error = tell_over(&mut stream, registrations, own).await;
                tracing::debug!(%relay, %error, "a federated relay does not listen");
            }
            Err(error) => tracing::debug!(%relay, %error, "a federated relay does not listen"),
        }
        sleep(wait).await;
        wait = (wait * 2).min(FEDERATION_REDIAL_MAX);
    }
}

/// Tells what changes as it does; why that ended.
async fn tell_over(
    stream: &mut Stream,
    registrations: &Registrations,
    own: &[Multiaddr],
) -> std::io::Error {
    let mut frame = Frame::of_addresses(own);
    let mut upto = 0;
    loop {
        if !frame.is_empty() {
            let bytes = frame.to_bytes();
            let written = timeout(FEDERATION_WRITE_TIMEOUT, framing::write(stream, &bytes));
            match written.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(late) => return late.into(),
            }
        } else {
            sleep(FEDERATION_PERIOD).await;
        }
        let delta = registrations.with(|now, store| store.own_since(now, upto, FEDERATION_BATCH));
        upto = delta.upto;
        frame = Frame::of_delta(delta);
    }
}

impl Network {
    /// The streams on which relays want to tell; none where none is to.
    pub(super) fn telling(&self, control: &Control) -> BoxStream<'static, (PeerId, Stream)> {
        if self.federation.redial.is_empty() {
            return pending().boxed();
        }
        let telling = control.clone().accept(federation::PROTOCOL);
        telling.expect("the protocol is accepted once").boxed()
    }

    /// Dials the relays that are due.
    pub(super) fn redial(&mut self) {
        let now = self.registrations.now();
        for (relay, addresses) in self.federation.redial.due(now) {
            let options = DialOpts::peer_id(relay)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addresses)
                .override_dial_concurrency_factor(ONE_AT_A_TIME)
                .build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%relay, %error, "a federated relay cannot be dialled");
                if !self.swarm.is_connected(&relay) {
                    self.federation.redial.down(now, &relay);
                }
            }
        }
    }

    /// Has Kademlia send its askers on to the federated relays, and to nobody else.
    pub(super) fn follow_directory(&mut self) {
        let directory = self.federation.directory.borrow().clone();
        let kad = &mut self.swarm.behaviour_mut().kad;
        for relay in self.federation.redial.relays() {
            match directory.get(&relay) {
                Some(addresses) => {
                    for address in addresses {
                        kad.add_address(&relay, address.clone());
                    }
                }
                None => {
                    kad.remove_peer(&relay);
                }
            }
        }
    }

    /// What other relays and tabs dial, each ending in the peer id.
    pub(super) fn own_addresses(&self) -> Vec<Multiaddr> {
        let listening = self.listening.borrow();
        let shown = listening.shown(&self.announce);
        let own = self.peer_id();
        shown
            .filter_map(|address| address.clone().with_p2p(own).ok())
            .collect()
    }
}

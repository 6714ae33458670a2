//! The node as a page holds it: commands in, events and snapshots out, whichever tab runs it.

mod genomes;

use crate::browser::{PageEvent, PageListener};
use crate::clock::Clock;
use crate::driver::Driver;
use crate::engine_link::{Embeddings, Inspection};
use crate::errand::{Errand, KeptModels, Reply, ReplySender};
use crate::fault::Fault;
use crate::follower::{self, End};
use crate::options::{FileSource, ModelSource, NodeOptions};
use crate::pending::Pending;
use crate::store::Keeper;
use crate::tabs::{Heard, Tabs};
use crate::web_lock::{self, HeldLock};
use crate::{crash, identity, log};
use futures::channel::{mpsc, oneshot};
use futures::stream::{self, Stream, StreamExt as _};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use thrum_hive::Hive;
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::model::ModelOffer;
use thrum_protocol::view::{Command, Event, LogLine, RelayState, Snapshot, State};

/// count; events that wait for a subscriber. One that is further behind is dropped: it is dead.
const MAX_UNREAD: usize = 4_096;

/// count; commands that wait for the loop. A person cannot click so fast.
const MAX_ORDERS: usize = 256;

/// count; page events that wait for the loop.
const MAX_PAGE_EVENTS: usize = 32;

/// Whether this tab runs the node or shows the one of another tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// another tab of this origin and store runs it
    Follower,
    /// this tab runs it
    Owner,
}

/// A node, or this tab's view of it. Cheap to clone. Dropping it does not end it: [`Node::close`].
#[derive(Clone)]
pub struct Node {
    shared: Rc<Shared>,
}

/// What the loop and the handles share.
pub(crate) struct Shared {
    pub(crate) stage: RefCell<Stage>,
    subscribers: RefCell<Vec<mpsc::Sender<Event>>>,
    orders: mpsc::Sender<Order>,
    /// known before [`Node::start`] is done
    peer_id: Cell<Option<NodeId>>,
    relays: Vec<String>,
    last_ticket: Cell<u64>,
}

/// Who knows how things stand.
pub(crate) enum Stage {
    Closed(Option<Box<Snapshot>>),
    Follower(Option<Box<Snapshot>>),
    Owner(Box<Hive>, Clock),
}

/// What a handle wants of the loop.
pub(crate) enum Order {
    Close(oneshot::Sender<()>),
    Command(Command),
    Errand {
        /// this tab's own number for it
        ticket: u64,
        errand: Errand,
        waiter: ReplySender,
    },
    StopErrand {
        ticket: u64,
    },
}

/// Everything the loop listens to, in either role.
pub(crate) struct Life {
    pub(crate) shared: Rc<Shared>,
    pub(crate) options: NodeOptions,
    pub(crate) keeper: Keeper,
    pub(crate) tabs: Option<Tabs>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) heard: mpsc::Receiver<Heard>,
    pub(crate) pages: mpsc::Receiver<PageEvent>,
    pub(crate) lines: mpsc::Receiver<LogLine>,
    pub(crate) pending: Pending,
    _listener: PageListener,
}

impl Node {
    /// Starts the node, or joins the one of another tab. Done when the identity is open and the
    /// loop runs, long before anything is connected. Nothing is computed and no model is loaded.
    ///
    /// # Errors
    /// [`Fault`] where the options are wrong or the identity cannot be read.
    pub async fn start(options: NodeOptions) -> Result<Self, Fault> {
        options.check()?;
        crash::report_panics();
        log::start();
        let name = format!("thrum/{}", options.store);
        let keeper = Keeper::open(&options.store).await;
        let (tabs, heard) = Tabs::join(&name);
        let lock = web_lock::try_hold(&name).await;
        let known = match &lock {
            Some(_) => Some(identity::open(&keeper, &options.store).await?),
            None => identity::stored(&keeper, &options.store).await?,
        };
        let (orders_sender, orders) = mpsc::channel(MAX_ORDERS);
        let (pages_sender, pages) = mpsc::channel(MAX_PAGE_EVENTS);
        let shared = Rc::new(Shared {
            stage: RefCell::new(Stage::Follower(None)),
            subscribers: RefCell::default(),
            orders: orders_sender,
            peer_id: Cell::new(known.as_ref().map(node_id)),
            relays: options.relays.clone(),
            last_ticket: Cell::new(0),
        });
        let life = Life {
            shared: shared.clone(),
            options,
            keeper,
            tabs,
            orders,
            heard,
            pages,
            lines: log::follow(),
            pending: Pending::default(),
            _listener: PageListener::new(&pages_sender),
        };
        let node = Self { shared };
        let mut events = node.subscribe_from_here();
        wasm_bindgen_futures::spawn_local(run(life, lock));
        // A follower of a node that keeps nothing learns who it is from the owner's snapshot.
        while node.shared.peer_id.get().is_none() {
            events.next().await.ok_or(Fault::Closed)?;
        }
        Ok(node)
    }

    /// How things stand; `None` until a follower has heard from the owner.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.shared.snapshot()
    }

    /// This peer.
    #[must_use]
    pub fn peer_id(&self) -> NodeId {
        self.shared
            .peer_id
            .get()
            .expect("a node starts when its identity is known")
    }

    /// Who runs the node at the moment.
    #[must_use]
    pub fn role(&self) -> Role {
        match *self.shared.stage.borrow() {
            Stage::Follower(_) => Role::Follower,
            Stage::Closed(_) | Stage::Owner(..) => Role::Owner,
        }
    }

    /// Says what is wanted. Numbers of asks are this tab's own and used once.
    pub fn command(&self, command: Command) {
        self.order(Order::Command(command));
    }

    /// Loads another model in place of the one the node was made with, and waits until it is
    /// loaded and measured; `None` is the relay's default. The loaded one answers meanwhile, and
    /// stays where the other cannot be loaded.
    ///
    /// # Errors
    /// [`Fault::ModelUnavailable`] why it is not, [`Fault::Closed`].
    ///
    /// # Cancel safety
    /// Dropping the future stops the loading.
    pub async fn load_model(&self, source: Option<ModelSource>) -> Result<ModelOffer, Fault> {
        let model = words(source.as_ref());
        let Reply::Loaded(loaded) = self.errand(Errand::Load(source)).await? else {
            return Err(Fault::Closed);
        };
        loaded.map_err(|failure| Fault::ModelUnavailable { model, failure })
    }

    /// What a model is and whether it fits, reading no more than its header.
    ///
    /// # Errors
    /// [`Fault::ModelUnavailable`] why it cannot be said, [`Fault::Closed`].
    ///
    /// # Cancel safety
    /// Dropping the future stops the reading.
    pub async fn inspect_model(&self, source: Option<ModelSource>) -> Result<Inspection, Fault> {
        let model = words(source.as_ref());
        let Reply::Inspected(told) = self.errand(Errand::Inspect(source)).await? else {
            return Err(Fault::Closed);
        };
        told.map(|told| *told)
            .map_err(|failure| Fault::ModelUnavailable { model, failure })
    }

    /// The models in the browser's storage, and how much room there is.
    ///
    /// # Errors
    /// [`Fault::Closed`].
    pub async fn kept_models(&self) -> Result<KeptModels, Fault> {
        let Reply::Kept(kept) = self.errand(Errand::ListKept).await? else {
            return Err(Fault::Closed);
        };
        Ok(kept)
    }

    async fn errand(&self, errand: Errand) -> Result<Reply, Fault> {
        let ticket = self.shared.last_ticket.get() + 1;
        self.shared.last_ticket.set(ticket);
        let (waiter, receiver) = oneshot::channel();
        let order = Order::Errand {
            ticket,
            errand,
            waiter,
        };
        if !self.order(order) {
            return Err(Fault::Closed);
        }
        let mut stop = StopOnDrop {
            node: self,
            ticket: Some(ticket),
        };
        let reply = receiver.await.map_err(|_| Fault::Closed);
        stop.ticket = None;
        reply
    }

    /// Removes a model's files from what the browser keeps for this site; what is not there is no
    /// error. A loaded model stays loaded.
    ///
    /// # Errors
    /// [`Fault::ModelUnavailable`] where there is no engine to do it, [`Fault::Closed`].
    pub async fn remove_model(&self, id: ModelId) -> Result<(), Fault> {
        let Reply::Removed(removed) = self.errand(Errand::Remove(id)).await? else {
            return Err(Fault::Closed);
        };
        let model = id.to_string();
        removed.map_err(|failure| Fault::ModelUnavailable { model, failure })
    }

    /// One vector of length 1 for each text, by the loaded model; where none is loaded, the node's
    /// own is loaded first.
    ///
    /// # Errors
    /// [`Fault::ModelUnavailable`] where the model gives no vectors or a text does not fit,
    /// [`Fault::Closed`].
    ///
    /// # Cancel safety
    /// Dropping the future stops the computing.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Embeddings, Fault> {
        self.need_model().await?;
        let Reply::Embedded(embedded) = self.errand(Errand::Embed(texts)).await? else {
            return Err(Fault::Closed);
        };
        let model = "loaded".to_owned();
        embedded.map_err(|failure| Fault::ModelUnavailable { model, failure })
    }

    /// Loads the node's own model where none is loaded.
    async fn need_model(&self) -> Result<(), Fault> {
        let snapshot = self.snapshot();
        if snapshot.is_some_and(|snapshot| snapshot.model.is_some()) {
            return Ok(());
        }
        let Reply::Loaded(loaded) = self.errand(Errand::LoadOwn).await? else {
            return Err(Fault::Closed);
        };
        let model = "default".to_owned();
        loaded
            .map(drop)
            .map_err(|failure| Fault::ModelUnavailable { model, failure })
    }

    /// The relays the node was made with, as they were given.
    #[must_use]
    pub fn relays(&self) -> &[String] {
        &self.shared.relays
    }

    /// What happens, from this moment on; the log begins with the lines that are kept. A
    /// subscriber that does not read is dropped.
    pub fn subscribe(&self) -> impl Stream<Item = Event> + Unpin + use<> {
        let kept = stream::iter(log::kept().into_iter().map(Event::Log));
        kept.chain(self.subscribe_from_here())
    }

    /// Takes leave of the peers and frees everything. A follower only stops looking.
    pub async fn close(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.order(Order::Close(sender)) {
            // Dropped without an answer where the loop ended meanwhile.
            receiver.await.ok();
        }
    }

    /// As [`Node::subscribe`], without the lines that are kept.
    pub(crate) fn subscribe_from_here(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(MAX_UNREAD);
        self.shared.subscribers.borrow_mut().push(sender);
        receiver
    }

    /// Whether the loop will see it.
    fn order(&self, order: Order) -> bool {
        self.shared.orders.clone().try_send(order).is_ok()
    }
}

/// Stops an errand whose caller stopped waiting.
struct StopOnDrop<'a> {
    node: &'a Node,
    /// none once the reply is there
    ticket: Option<u64>,
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.node.order(Order::StopErrand { ticket });
        }
    }
}

/// A source, as an error speaks of it.
fn words(source: Option<&ModelSource>) -> String {
    match source {
        Some(ModelSource::Catalogue(text)) => text.clone(),
        Some(ModelSource::Files(files)) => match files.first() {
            Some(FileSource::Url { url, .. }) => url.clone(),
            Some(FileSource::Blob(_)) | None => "a file".to_owned(),
        },
        None => "default".to_owned(),
    }
}

impl Shared {
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        match &*self.stage.borrow() {
            Stage::Closed(last) | Stage::Follower(last) => last.as_deref().cloned(),
            Stage::Owner(hive, clock) => Some(hive.snapshot(clock.now())),
        }
    }

    pub(crate) fn set_peer_id(&self, peer_id: NodeId) {
        self.peer_id.set(Some(peer_id));
    }

    /// Tells all subscribers of this tab.
    pub(crate) fn emit(&self, event: &Event) {
        let mut subscribers = self.subscribers.borrow_mut();
        subscribers.retain_mut(|subscriber| subscriber.try_send(event.clone()).is_ok());
    }

    /// Nothing happens any more.
    pub(crate) fn close(&self, reason: &str) {
        let mut last = self.snapshot();
        if let Some(last) = &mut last {
            last.status.state = State::Off;
            reason.clone_into(&mut last.status.reason);
            last.peers.clear();
            for relay in &mut last.relays {
                relay.state = RelayState::Waiting;
                relay.retry_in_millis = None;
            }
        }
        *self.stage.borrow_mut() = Stage::Closed(last.map(Box::new));
        self.emit(&Event::Changed);
        self.subscribers.borrow_mut().clear();
    }
}

/// The whole life of a node in this tab: follower, then owner, then closed.
async fn run(mut life: Life, lock: Option<HeldLock>) {
    let (lock, took_over) = match lock {
        Some(lock) => (lock, false),
        None => match follower::run(&mut life).await {
            End::Closed(done) => {
                life.shared.close("closed");
                // Nobody may be waiting any more.
                done.send(()).ok();
                return;
            }
            End::TakeOver(lock) => (lock, true),
        },
    };
    let key = match identity::open(&life.keeper, &life.options.store).await {
        Ok(key) => key,
        Err(fault) => {
            tracing::error!(%fault, "this tab cannot take the node over");
            life.shared.close(&fault.to_string());
            return;
        }
    };
    life.shared.set_peer_id(node_id(&key));
    Driver::new(life, &key).run(lock, took_over).await;
}

fn node_id(key: &ed25519_dalek::SigningKey) -> NodeId {
    NodeId::from_public_key(key.verifying_key().to_bytes())
        .expect("a signing key's public half is a point of the curve")
}

//! The whole page: holds the state and the node, and knows what each wish does.

use std::rc::Rc;

use futures::FutureExt as _;
use futures::future::{AbortHandle, abortable};
use thrum_protocol::view::{Command, DonateLimits, DonationMode};
use thrum_ui::ask::{self, Options, Unfit};
use thrum_ui::catalogue::{Catalogue, Listed};
use thrum_ui::choice::{Choice, Remembered};
use thrum_ui::models::Busy;
use thrum_ui::state::{Action, App, Fetched, Life, Role, Taking};
use web_sys::File;
use yew::prelude::*;

use super::chat::Chat;
use super::follower_banner::FollowerBanner;
use super::genome_panel::{GenomePanel, GenomeWish};
use super::log_view::LogView;
use super::model_panel::{ModelPanel, ModelWish};
use super::node_panel::{NodePanel, Wish};
use super::page_footer::PageFooter;
use super::peer_table::PeerTable;
use super::relay_list::RelayList;
use super::top_bar::TopBar;
use super::welcome::Welcome;
use crate::bridge::{Bridge, ModelChoice, Start};
use crate::browser;

/// Where the relay lists its models.
const CATALOGUE_PATH: &str = "/models/index.json";

/// The pure state, for Yew.
#[derive(Clone, Default, PartialEq)]
struct Shown(App);

impl Reducible for Shown {
    type Action = Action;

    fn reduce(self: Rc<Self>, action: Action) -> Rc<Self> {
        Rc::new(Self(Rc::unwrap_or_clone(self).0.reduce(action)))
    }
}

/// What is not drawn: the node, and the number of the next question.
struct Held {
    bridge: Option<Rc<Bridge>>,
    /// numbers of two tabs of one node differ, because they count from when the tab was opened
    next_ask: u64,
    /// what is used instead of the relay's model, and its name
    chosen: Option<(ModelChoice, String)>,
    /// what was looked at and may be loaded
    pending: Option<ModelChoice>,
    /// stops what is being done about a model
    work: Option<AbortHandle>,
    /// stops the genome that is on its way
    taking: Option<AbortHandle>,
}

/// Everything a wish needs; cheap to clone into callbacks.
#[derive(Clone)]
struct Wishes {
    app: UseReducerHandle<Shown>,
    held: Rc<std::cell::RefCell<Held>>,
    store: Rc<str>,
    remembered: UseStateHandle<Remembered>,
}

#[component]
pub(crate) fn Dashboard() -> Html {
    let store = use_memo((), |()| browser::store());
    let app = use_reducer_eq(|| first_state(&store));
    let held = use_mut_ref(|| Held {
        bridge: None,
        next_ask: browser::epoch_millis(),
        chosen: None,
        pending: None,
        work: None,
        taking: None,
    });
    let remembered = use_state_eq(|| {
        browser::remembered(&store).unwrap_or(Remembered {
            choice: Choice::Connect,
            limits: DonateLimits::default(),
        })
    });
    let wishes = Wishes {
        app: app.clone(),
        held: held.clone(),
        store: Rc::from(store.as_str()),
        remembered,
    };
    use_effect_with((), {
        let wishes = wishes.clone();
        move |()| {
            wishes.fetch_catalogue();
            if let Some(remembered) = browser::remembered(&wishes.store) {
                wishes.start(remembered.choice, Visit::Returning);
            }
        }
    });
    match &app.0.life {
        Life::Asking => welcome(&wishes, None),
        Life::Failed(why) => welcome(&wishes, Some(why.clone())),
        Life::Starting | Life::Running => running(&wishes),
    }
}

/// A returning visit shows the node from the first moment on, without asking again in between.
fn first_state(store: &str) -> Shown {
    let mut app = App::default();
    if browser::remembered(store).is_some() {
        app = app.reduce(Action::Starting);
    }
    Shown(app)
}

/// Whether the person clicked just now or on an earlier visit.
#[derive(Clone, Copy, PartialEq)]
enum Visit {
    Clicked,
    Returning,
}

impl Wishes {
    fn fetch_catalogue(&self) {
        let app = self.app.dispatcher();
        wasm_bindgen_futures::spawn_local(async move {
            let fetched = browser::fetch_text(CATALOGUE_PATH).await;
            let catalogue = fetched.and_then(|text| Catalogue::parse(&text));
            app.dispatch(Action::Catalogue(catalogue.map(Rc::new)));
        });
    }

    fn remember(&self, choice: Choice, limits: DonateLimits) {
        let remembered = Remembered { choice, limits };
        if !browser::remember(&self.store, remembered) {
            let notice = "This browser does not let the page remember your choice; it will ask again after a reload.";
            self.app.dispatch(Action::Notice(Some(notice.to_owned())));
        }
        self.remembered.set(remembered);
    }

    fn start(&self, choice: Choice, visit: Visit) {
        let wishes = self.clone();
        let limits = self.remembered.limits;
        self.app.dispatch(Action::Starting);
        if visit == Visit::Clicked {
            self.remember(choice, limits);
            // The button that had the focus is gone.
            browser::focus("main");
        }
        wasm_bindgen_futures::spawn_local(async move {
            let start = Start {
                store: wishes.store.to_string(),
                model: wishes.chosen(),
                resume_donation: choice == Choice::Donate && visit == Visit::Returning,
            };
            let app = wishes.app.dispatcher();
            let sink = Callback::from(move |action| app.dispatch(action));
            match Bridge::start(start, sink).await {
                Ok(bridge) => {
                    if choice == Choice::Donate && visit == Visit::Clicked {
                        bridge.command(Command::Donate(limits));
                    }
                    wishes.held.borrow_mut().bridge = Some(Rc::new(bridge));
                    wishes.app.dispatch(Action::Started);
                    wishes.look_at_storage();
                }
                Err(why) => wishes.app.dispatch(Action::Failed(why)),
            }
        });
    }

    fn bridge(&self) -> Option<Rc<Bridge>> {
        self.held.borrow().bridge.clone()
    }

    fn command(&self, command: Command) {
        if let Some(bridge) = self.bridge() {
            bridge.command(command);
        }
    }

    fn wish(&self, wish: Wish) {
        let limits = self.remembered.limits;
        match wish {
            Wish::Donate => {
                self.remember(Choice::Donate, limits);
                self.command(Command::Donate(limits));
            }
            Wish::Finish => {
                self.remember(Choice::Connect, limits);
                self.command(Command::Finish);
            }
            Wish::Forget => self.forget(),
            Wish::Pause => self.command(Command::Pause),
        }
    }

    fn forget(&self) {
        browser::forget(&self.store);
        self.command(Command::Finish);
        let bridge = self.held.borrow_mut().bridge.take();
        self.app.dispatch(Action::Closed);
        browser::focus("main");
        if let Some(bridge) = bridge {
            wasm_bindgen_futures::spawn_local(async move { bridge.close().await });
        }
    }

    fn limits(&self, limits: DonateLimits) {
        self.remember(self.remembered.choice, limits);
        let mode = self.app.0.snapshot.as_ref().map(|it| it.donation.mode);
        if mode == Some(DonationMode::On) {
            self.command(Command::Donate(limits));
        }
    }

    fn ask(&self, typed: &str, options: &Options) -> Result<(), Unfit> {
        let ask = self.held.borrow().next_ask;
        let history = self.app.0.conversation.history();
        let genomes = self.app.0.worn.uses();
        let request = ask::request(ask, typed, history, options, genomes)?;
        self.held.borrow_mut().next_ask += 1;
        self.app.dispatch(Action::Asked {
            ask,
            prompt: typed.trim_end().to_owned(),
        });
        self.command(Command::Ask(request));
        Ok(())
    }

    fn stop(&self, ask: u64) {
        self.command(Command::CancelAsk { ask });
        self.app.dispatch(Action::Stopped { ask });
    }

    fn new_conversation(&self) {
        if let Some(ask) = self.app.0.conversation.open_ask() {
            self.command(Command::CancelAsk { ask });
        }
        self.app.dispatch(Action::NewConversation);
        browser::focus("prompt");
    }

    /// What the node is to load when it needs a model.
    fn chosen(&self) -> ModelChoice {
        let held = self.held.borrow();
        let chosen = held.chosen.as_ref();
        chosen.map(|(choice, _)| choice.clone()).unwrap_or_default()
    }

    fn model(&self, wish: ModelWish) {
        match wish {
            ModelWish::Check(choice) => self.check(choice),
            ModelWish::Dismiss => self.dismiss(),
            ModelWish::Load => {
                let pending = self.held.borrow_mut().pending.take();
                if let Some(choice) = pending {
                    self.load(choice);
                }
            }
            ModelWish::Remove(id) => self.remove(id),
            ModelWish::Stop => self.stop_work(),
        }
    }

    /// A file at hand that fits is loaded at once: there is nothing to download.
    fn check(&self, choice: ModelChoice) {
        self.dismiss();
        let Some(bridge) = self.bridge() else { return };
        let wishes = self.clone();
        self.work(Busy::Checking, async move {
            match bridge.inspect(&choice).await {
                Ok(inspected) => {
                    let at_hand = matches!(choice, ModelChoice::Files(_)) && inspected.fits;
                    wishes
                        .app
                        .dispatch(Action::Inspected(Some(Rc::new(inspected))));
                    if at_hand {
                        return wishes.load(choice);
                    }
                    wishes.held.borrow_mut().pending = Some(choice);
                    wishes.app.dispatch(Action::Busy(None));
                }
                Err(why) => wishes.failed(&why),
            }
        });
    }

    fn load(&self, choice: ModelChoice) {
        let Some(bridge) = self.bridge() else { return };
        let wishes = self.clone();
        let name = self.app.0.inspected.as_ref().map(|it| it.name.clone());
        self.work(Busy::Loading, async move {
            match bridge.load(&choice).await {
                Ok(()) => {
                    let chosen = match &choice {
                        ModelChoice::Default => None,
                        ModelChoice::Files(files) => files.first().map(File::name),
                        ModelChoice::Address(url) => Some(url.clone()),
                        ModelChoice::Kept(id) => name.or(Some(id.clone())),
                    };
                    wishes.held.borrow_mut().chosen = chosen.map(|name| (choice, name));
                    wishes.app.dispatch(Action::Inspected(None));
                    wishes.app.dispatch(Action::Busy(None));
                }
                Err(why) => wishes.failed(&why),
            }
            wishes.look_at_storage();
        });
    }

    /// Does one thing about models at a time; a later one takes the place of an earlier one.
    fn work(&self, busy: Busy, work: impl Future<Output = ()> + 'static) {
        let (work, handle) = abortable(work);
        if let Some(before) = self.held.borrow_mut().work.replace(handle) {
            before.abort();
        }
        self.app.dispatch(Action::Busy(Some(busy)));
        wasm_bindgen_futures::spawn_local(async move {
            // What was stopped has nothing to say.
            work.await.ok();
        });
    }

    fn stop_work(&self) {
        if let Some(work) = self.held.borrow_mut().work.take() {
            work.abort();
        }
        self.app.dispatch(Action::Busy(None));
        self.look_at_storage();
    }

    fn dismiss(&self) {
        self.held.borrow_mut().pending = None;
        self.app.dispatch(Action::Notice(None));
        self.app.dispatch(Action::Inspected(None));
    }

    fn failed(&self, why: &str) {
        let notice = format!("{why}. Choose another one, or go on with the relay's model.");
        self.app.dispatch(Action::Inspected(None));
        self.app.dispatch(Action::Busy(None));
        self.app.dispatch(Action::Notice(Some(notice)));
    }

    fn remove(&self, id: String) {
        let Some(bridge) = self.bridge() else { return };
        let wishes = self.clone();
        wasm_bindgen_futures::spawn_local(async move {
            if let Err(why) = bridge.remove(&id).await {
                wishes.failed(&why);
            }
            wishes.look_at_storage();
        });
    }

    fn genome(&self, wish: GenomeWish) {
        let Some(bridge) = self.bridge() else { return };
        let wishes = self.clone();
        if let Some(before) = self.held.borrow_mut().taking.take() {
            before.abort();
        }
        let work = match wish {
            GenomeWish::Load(files) => {
                self.app.dispatch(Action::Taking(Taking::Waiting));
                async move { wishes.took(bridge.load_genome(&files).await) }.boxed_local()
            }
            GenomeWish::Remove(id) => {
                async move { wishes.took(bridge.remove_genome(id).await) }.boxed_local()
            }
            GenomeWish::Stop => return self.app.dispatch(Action::Taking(Taking::Rest)),
        };
        let (work, handle) = abortable(work);
        self.held.borrow_mut().taking = Some(handle);
        // What was stopped has nothing to say.
        wasm_bindgen_futures::spawn_local(work.map(drop));
    }

    /// A genome came or went, or why not; the node itself tells which there are.
    fn took(&self, taken: Result<(), String>) {
        let taking = taken.map_or_else(Taking::Refused, |()| Taking::Rest);
        self.app.dispatch(Action::Taking(taking));
    }

    fn look_at_storage(&self) {
        let Some(bridge) = self.bridge() else { return };
        let app = self.app.dispatcher();
        wasm_bindgen_futures::spawn_local(async move {
            app.dispatch(Action::Stored(Rc::new(bridge.storage().await)));
        });
    }
}

fn frame(wishes: &Wishes, class: &'static str, inner: Html) -> Html {
    let app = &wishes.app.0;
    html! {
        <>
            <TopBar />
            <main id="main" {class} tabindex="-1">{ inner }</main>
            <PageFooter snapshot={app.snapshot.clone()} store={wishes.store.to_string()} />
        </>
    }
}

fn welcome(wishes: &Wishes, failure: Option<String>) -> Html {
    let on_start = {
        let wishes = wishes.clone();
        Callback::from(move |choice| wishes.start(choice, Visit::Clicked))
    };
    let catalogue = wishes.app.0.catalogue.clone();
    let limits = wishes.remembered.limits;
    frame(
        wishes,
        "page",
        html! { <Welcome {catalogue} {limits} {failure} {on_start} /> },
    )
}

fn running(wishes: &Wishes) -> Html {
    let app = &wishes.app.0;
    let on = |wishes: &Wishes| wishes.clone();
    let on_wish = Callback::from({
        let wishes = on(wishes);
        move |wish| wishes.wish(wish)
    });
    let on_limits = Callback::from({
        let wishes = on(wishes);
        move |limits| wishes.limits(limits)
    });
    let snapshot = app.snapshot.as_deref();
    let peers = snapshot.map(|it| it.peers.clone()).unwrap_or_default();
    let announced = snapshot.map(|it| it.announced.clone()).unwrap_or_default();
    let relays = snapshot.map(|it| it.relays.clone()).unwrap_or_default();
    let reachability = snapshot.map(|it| it.status.reachability.clone());
    let reachability = reachability.unwrap_or_default();
    frame(
        wishes,
        "page running",
        html! {
            <>
                <h1 class="unseen">{ thrum_ui::words::SENTENCE }</h1>
                if app.role == Role::Follower {
                    <FollowerBanner />
                }
                if let Some(notice) = &app.notice {
                    <div class="banner fault" role="alert" data-testid="notice">{ notice }</div>
                }
                <div class="side">
                    <NodePanel snapshot={app.snapshot.clone()} progress={app.progress.clone()}
                        limits={wishes.remembered.limits} {on_wish} {on_limits} />
                    { model_panel(wishes) }
                    { genome_panel(wishes) }
                </div>
                <div class="content">
                    { chat(wishes) }
                    <PeerTable {peers} {announced} />
                    <RelayList {relays} {reachability} />
                    <LogView log={Rc::clone(&app.log)} />
                </div>
            </>
        },
    )
}

fn chat(wishes: &Wishes) -> Html {
    let app = &wishes.app.0;
    let on_ask = Callback::from({
        let wishes = wishes.clone();
        move |(typed, options): (String, Options)| wishes.ask(&typed, &options)
    });
    let on_stop = Callback::from({
        let wishes = wishes.clone();
        move |ask| wishes.stop(ask)
    });
    let on_new = Callback::from({
        let wishes = wishes.clone();
        move |()| wishes.new_conversation()
    });
    let on_wear = Callback::from({
        let app = wishes.app.dispatcher();
        move |worn| app.dispatch(Action::Wear(worn))
    });
    html! {
        <Chat conversation={app.conversation.clone()} snapshot={app.snapshot.clone()}
            model={answering(wishes)} waits_for_model={app.catalogue == Fetched::Waiting}
            genomes={app.genomes.clone()} worn={app.worn.clone()} {on_ask} {on_stop} {on_wear} {on_new} />
    }
}

/// The catalogue's entry of the model that answers: the loaded one, else the default one.
fn answering(wishes: &Wishes) -> Option<Listed> {
    let app = &wishes.app.0;
    let catalogue = app.catalogue()?;
    let loaded = app.snapshot.as_ref().and_then(|it| it.model.as_ref());
    match loaded {
        Some(model) => catalogue.by_digest(&model.id.to_string()),
        None if wishes.held.borrow().chosen.is_some() => None,
        None => catalogue.default_model(),
    }
    .cloned()
}

fn genome_panel(wishes: &Wishes) -> Html {
    let app = &wishes.app.0;
    let on_wish = Callback::from({
        let wishes = wishes.clone();
        move |wish| wishes.genome(wish)
    });
    let refusal = match &app.taking {
        Taking::Refused(why) => Some(why.clone()),
        Taking::Rest | Taking::Waiting => None,
    };
    html! {
        <GenomePanel genomes={app.genomes.clone()} busy={app.taking == Taking::Waiting} {refusal} {on_wish} />
    }
}

fn model_panel(wishes: &Wishes) -> Html {
    let app = &wishes.app.0;
    let on_wish = Callback::from({
        let wishes = wishes.clone();
        move |wish| wishes.model(wish)
    });
    let chosen = wishes
        .held
        .borrow()
        .chosen
        .as_ref()
        .map(|(_, name)| name.clone());
    let snapshot = app.snapshot.as_deref();
    html! {
        <ModelPanel loaded={snapshot.and_then(|it| it.model.clone())}
            backend={snapshot.and_then(|it| it.status.backend)}
            threads={snapshot.and_then(|it| it.status.threads)}
            threads_reason={snapshot.and_then(|it| it.status.threads_reason.clone())}
            default={app.catalogue().and_then(Catalogue::default_model).cloned()}
            {chosen} busy={app.busy.clone()} inspected={app.inspected.clone()} storage={app.storage.clone()} {on_wish} />
    }
}

//! The adapters that this node has: kept in the browser, put into the engine when an answer first
//! wears them.
//!
//! 1. The files of a source are read and hashed; nobody has looked at them yet.
//! 2. The engine checks them against the loaded model and takes the genome; only then it is kept.
//! 3. An answer that wears genomes waits until all of them are in the engine; what is missing there,
//!    as after another model was loaded, is read from the storage first.
//!
//! Where the browser has no room, a genome is there until the page is closed, and it is said.
//!
//! Invariant: whatever fails, the genomes are as they were before.

mod error;
mod fetch;
mod record;
mod shelf;

use super::jobs::Engine;
use super::messages::{
    EngineEvent, Genome, GenomeFiles, GenomeSource, LossCause, SourceFile, Trouble,
};
use super::store::StoreError;
use error::GenomeError;
use fetch::{Bytes, Fetched, fetch};
use futures::FutureExt as _;
use futures::future::{AbortHandle, AbortRegistration, Abortable, LocalBoxFuture, ready};
use futures::stream::{FusedStream, FuturesUnordered};
use record::Record;
use shelf::GenomeShelf;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use thrum_protocol::id::ModelId;
use thrum_protocol::limits::MAX_TEXT_BYTES;
use thrum_protocol::sampling::GenomeUse;
use thrum_protocol::task::Prompt;
use thrum_protocol::view::LogLevel;
use web_sys::Blob;

/// count; genomes of one node. As many as the engine takes at once.
const MAX_GENOMES: usize = 128;

/// The genomes of a node.
pub(super) struct Genomes<'a> {
    tell: &'a dyn Fn(EngineEvent),
    /// name of the node's database
    store: String,
    shelf: Place,
    records: BTreeMap<ModelId, Record>,
    /// what was asked for before the shelf was open
    later: VecDeque<Wish>,
    /// answers that cannot begin yet, by the page's number
    waiting: BTreeMap<u64, Waiting>,
    /// on their way from the storage to the engine
    reading: BTreeSet<ModelId>,
    /// loads that can be stopped
    loads: BTreeMap<u64, AbortHandle>,
    /// what goes on; never empty, so that it can be waited for
    progress: FuturesUnordered<LocalBoxFuture<'a, Step>>,
}

enum Place {
    Closed,
    Opening,
    Open(Rc<GenomeShelf>),
}

/// An answer that wears genomes.
struct Waiting {
    prompt: Box<Prompt>,
    local: bool,
}

/// What the page wants.
pub(super) enum Wish {
    Begin,
    List(u64),
    Load(u64, Box<Load>),
    Remove(u64, ModelId),
}

/// A genome that is to be fetched.
pub(super) struct Load {
    source: GenomeSource<SourceFile>,
    blobs: Vec<Blob>,
    stop: AbortRegistration,
}

/// What happened.
pub(super) enum Step {
    Fetched(u64, Result<Box<Fetched>, GenomeError>),
    Kept(u64, ModelId, Result<(), StoreError>),
    Opened(Box<(GenomeShelf, Vec<Record>, Option<StoreError>)>),
    Read(ModelId, Result<GenomeFiles<Bytes>, GenomeError>),
    Removed(u64, Box<Genome>, Result<(), StoreError>),
    /// nobody wants it any more
    Stopped,
    Wished(Wish),
}

impl<'a> Genomes<'a> {
    pub(super) fn new(tell: &'a dyn Fn(EngineEvent)) -> Self {
        Self {
            tell,
            store: "thrum".to_owned(),
            shelf: Place::Closed,
            records: BTreeMap::new(),
            later: VecDeque::new(),
            waiting: BTreeMap::new(),
            reading: BTreeSet::new(),
            loads: BTreeMap::new(),
            progress: FuturesUnordered::new(),
        }
    }

    /// Names the node's database, before anything else is asked.
    pub(super) fn keep_in(&mut self, store: String) {
        self.store = store;
    }

    /// What happens next.
    pub(super) fn steps(&mut self) -> &mut (impl FusedStream<Item = Step> + Unpin + use<'a>) {
        &mut self.progress
    }

    /// Takes what the page wants.
    pub(super) fn wish(&mut self, wish: Wish) {
        self.go_on(ready(Step::Wished(wish)));
    }

    /// Takes a genome that is to be had; [`EngineEvent::GenomeLoaded`] follows.
    pub(super) fn load(&mut self, load: u64, source: GenomeSource<SourceFile>, blobs: Vec<Blob>) {
        let (handle, stop) = AbortHandle::new_pair();
        self.loads.insert(load, handle);
        let wanted = Load {
            source,
            blobs,
            stop,
        };
        self.wish(Wish::Load(load, Box::new(wanted)));
    }

    /// Takes an answer that wears genomes; it begins once they are in the engine.
    pub(super) fn run(&mut self, job: u64, prompt: Box<Prompt>, local: bool) {
        self.waiting.insert(job, Waiting { prompt, local });
        self.wish(Wish::Begin);
    }

    /// Forgets an answer that has not begun.
    pub(super) fn cancel(&mut self, job: u64) {
        self.waiting.remove(&job);
    }

    /// Forgets a load.
    pub(super) fn stop_load(&mut self, load: u64) {
        if let Some(handle) = self.loads.remove(&load) {
            handle.abort();
        }
    }

    /// Fails the answers that have not begun: there is no engine for them.
    pub(super) fn end(&mut self, why: &str) {
        for job in std::mem::take(&mut self.waiting).into_keys() {
            (self.tell)(failed(job, false, why.to_owned()));
        }
    }

    /// Goes on after something happened.
    pub(super) async fn on(&mut self, step: Step, engine: &mut Option<Engine>) {
        match step {
            Step::Wished(wish) => match self.shelf {
                Place::Open(_) => self.grant(wish, engine).await,
                Place::Opening => self.later.push_back(wish),
                Place::Closed => {
                    self.later.push_back(wish);
                    self.open();
                }
            },
            Step::Opened(opened) => {
                let (shelf, records, trouble) = *opened;
                if let Some(trouble) = trouble {
                    self.warn(format!("genomes are not kept: {trouble}"));
                }
                self.shelf = Place::Open(Rc::new(shelf));
                self.records = records.into_iter().map(|it| (it.id, it)).collect();
                for wish in std::mem::take(&mut self.later) {
                    self.wish(wish);
                }
            }
            Step::Fetched(load, fetched) => self.fetched(load, fetched, engine).await,
            Step::Kept(load, id, kept) => self.kept(load, id, kept, engine.as_ref()),
            Step::Read(id, read) => {
                self.read(id, read, engine).await;
                self.begin(engine);
            }
            Step::Removed(removal, genome, removed) => {
                if let Err(error) = removed {
                    self.warn(format!("some of the genome may still take room: {error}"));
                }
                (self.tell)(EngineEvent::GenomeRemoved {
                    removal,
                    result: Ok(genome),
                });
            }
            Step::Stopped => {}
        }
    }

    fn go_on(&self, step: impl Future<Output = Step> + 'a) {
        self.progress.push(step.boxed_local());
    }

    fn open(&mut self) {
        self.shelf = Place::Opening;
        let name = self.store.clone();
        self.go_on(async move { Step::Opened(Box::new(GenomeShelf::open(&name).await)) });
    }

    /// The shelf is open.
    async fn grant(&mut self, wish: Wish, engine: &mut Option<Engine>) {
        match wish {
            Wish::Begin => self.begin(engine),
            Wish::List(list) => {
                let genomes = self.records.values();
                let genomes = genomes.map(|record| told(record, engine.as_ref()));
                let mut genomes: Vec<Genome> = genomes.collect();
                genomes.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
                (self.tell)(EngineEvent::Genomes {
                    list,
                    genomes: Ok(genomes),
                });
            }
            Wish::Load(load, wanted) => {
                let fetching = fetch(wanted.source, wanted.blobs, self.tell);
                let stoppable = Abortable::new(fetching, wanted.stop);
                self.go_on(async move {
                    match stoppable.await {
                        Ok(fetched) => Step::Fetched(load, fetched.map(Box::new)),
                        Err(_) => Step::Stopped,
                    }
                });
            }
            Wish::Remove(removal, id) => self.remove(removal, id, engine).await,
        }
    }

    async fn fetched(
        &mut self,
        load: u64,
        fetched: Result<Box<Fetched>, GenomeError>,
        engine: &mut Option<Engine>,
    ) {
        self.loads.remove(&load);
        let taken = match fetched {
            Ok(fetched) => self.take(load, *fetched, engine).await,
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            (self.tell)(EngineEvent::GenomeLoaded {
                load,
                result: Err(error.trouble()),
            });
        }
    }

    /// Puts a genome into the engine, and begins to keep it.
    async fn take(
        &mut self,
        load: u64,
        fetched: Fetched,
        engine: &mut Option<Engine>,
    ) -> Result<(), GenomeError> {
        let Fetched {
            id,
            name,
            place,
            files,
        } = fetched;
        let known = self.records.get(&id);
        if known.is_none() && self.records.len() >= MAX_GENOMES {
            return Err(GenomeError::TooMany { max: MAX_GENOMES });
        }
        let needed = self.needed();
        let engine = engine.as_mut().ok_or(GenomeError::NoModel)?;
        let adapter = engine.add_genome(id, &files, &needed).await?;
        let own = match &files {
            GenomeFiles::Gguf(_) => [Some(adapter.name.clone()), place],
            // What PEFT keeps is the name of the base.
            GenomeFiles::Peft { .. } => [place, Some(adapter.name.clone())],
        };
        let chosen = name.or_else(|| known.map(|known| known.name.clone()));
        let mut names = [chosen].into_iter().chain(own).flatten();
        let name = names.find(|name| !name.trim().is_empty());
        let record = Record {
            id,
            name: shortened(name.unwrap_or_else(|| format!("genome {:.8}", id.to_string()))),
            rank: adapter.rank,
            targets: record::targets(&adapter),
            lengths: files.all().iter().map(|it| it.len() as u64).collect(),
            architecture: engine.config().facts().name.to_owned(),
            base: engine.name().to_owned(),
            saved_millis: js_sys::Date::now() as u64,
            kept: false,
        };
        self.records.insert(id, record.clone());
        if let Place::Open(shelf) = &self.shelf {
            let shelf = Rc::clone(shelf);
            self.go_on(async move { Step::Kept(load, id, shelf.write(&record, &files).await) });
        }
        Ok(())
    }

    fn kept(
        &mut self,
        load: u64,
        id: ModelId,
        kept: Result<(), StoreError>,
        engine: Option<&Engine>,
    ) {
        let result = match self.records.get_mut(&id) {
            Some(record) => {
                record.kept = kept.is_ok();
                Ok(Box::new(told(record, engine)))
            }
            None => Err(Trouble {
                cause: LossCause::Cancelled,
                reason: "the genome was removed while it was being loaded".to_owned(),
            }),
        };
        if let Err(error) = kept {
            self.warn(format!(
                "the genome is here until this page is closed, and not kept: {error}"
            ));
        }
        (self.tell)(EngineEvent::GenomeLoaded { load, result });
    }

    async fn remove(&mut self, removal: u64, id: ModelId, engine: &mut Option<Engine>) {
        let Some(record) = self.records.remove(&id) else {
            let error = GenomeError::Unknown { id };
            return (self.tell)(EngineEvent::GenomeRemoved {
                removal,
                result: Err(error.trouble()),
            });
        };
        let genome = Box::new(told(&record, None));
        if let Some(engine) = engine
            && let Err(error) = engine.remove_genome(id, &record.name, self.tell).await
        {
            // The engine is lost, and with it all genomes in it.
            self.warn(error.to_string());
        }
        self.begin(engine);
        if let Place::Open(shelf) = &self.shelf {
            let shelf = Rc::clone(shelf);
            self.go_on(async move { Step::Removed(removal, genome, shelf.remove(&record).await) });
        }
    }

    /// A kept genome is here: the engine takes it, or the answers that wait for it fail.
    async fn read(
        &mut self,
        id: ModelId,
        read: Result<GenomeFiles<Bytes>, GenomeError>,
        engine: &mut Option<Engine>,
    ) {
        self.reading.remove(&id);
        let needed = self.needed();
        let taken = match (read, engine) {
            (Ok(files), Some(engine)) => engine
                .add_genome(id, &files, &needed)
                .await
                .map(drop)
                .map_err(GenomeError::from),
            (Ok(_), None) => Err(GenomeError::NoModel),
            (Err(error), _) => Err(error),
        };
        if let Err(error) = taken {
            let (fatal, message) = (error.is_of_the_request(), error.to_string());
            let name = self.records.get(&id).map(|record| record.name.clone());
            let name = name.unwrap_or_else(|| id.to_string());
            let tell = self.tell;
            self.waiting.retain(|job, waiting| {
                let wears = worn(waiting).any(|worn| worn == id);
                if wears {
                    tell(failed(*job, fatal, format!("genome {name}: {message}")));
                }
                !wears
            });
        }
    }

    /// Begins the answers whose genomes are all in the engine, and fetches what is missing.
    fn begin(&mut self, engine: &mut Option<Engine>) {
        let Place::Open(shelf) = &self.shelf else {
            return;
        };
        let Some(engine) = engine else {
            return self.end("no model is loaded");
        };
        for (job, waiting) in std::mem::take(&mut self.waiting) {
            let unknown = worn(&waiting).find(|id| !self.records.contains_key(id));
            if let Some(id) = unknown {
                let message = GenomeError::Unknown { id }.to_string();
                (self.tell)(failed(job, true, message));
                continue;
            }
            let missing: Vec<ModelId> = worn(&waiting)
                .filter(|id| !engine.has_genome(*id))
                .collect();
            if missing.is_empty() {
                engine.run(job, &waiting.prompt, waiting.local, self.tell);
                continue;
            }
            for id in missing {
                if let Some(record) = self.records.get(&id)
                    && self.reading.insert(id)
                {
                    let (shelf, record) = (Rc::clone(shelf), record.clone());
                    let read = async move { Step::Read(id, shelf.read(&record).await) };
                    self.progress.push(read.boxed_local());
                }
            }
            self.waiting.insert(job, waiting);
        }
    }

    /// What answers that have not begun will wear.
    fn needed(&self) -> BTreeSet<ModelId> {
        self.waiting.values().flat_map(worn).collect()
    }

    fn warn(&self, message: String) {
        (self.tell)(EngineEvent::Log {
            level: LogLevel::Warn,
            message,
        });
    }
}

fn worn(waiting: &Waiting) -> impl Iterator<Item = ModelId> + '_ {
    let uses = waiting.prompt.sampling.genomes.iter();
    uses.map(|GenomeUse { id, .. }| *id)
}

fn told(record: &Record, engine: Option<&Engine>) -> Genome {
    let loaded = engine.is_some_and(|engine| engine.has_genome(record.id));
    record.told(engine.map(Engine::config), loaded)
}

/// As much of a name as a message carries.
fn shortened(name: String) -> String {
    match name
        .char_indices()
        .find(|(at, it)| at + it.len_utf8() > MAX_TEXT_BYTES)
    {
        Some((end, _)) => name[..end].to_owned(),
        None => name,
    }
}

fn failed(job: u64, invalid_request: bool, message: String) -> EngineEvent {
    EngineEvent::Failed {
        job,
        invalid_request,
        message,
    }
}

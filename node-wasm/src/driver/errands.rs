//! Models and genomes that somebody wants loaded, inspected, listed or removed, and the model that
//! the machine asks for.

use super::{Done, Driver};
use crate::catalogue;
use crate::engine_link::{
    EngineEvent, Genome, LossCause, ResolvedFile, ResolvedSource, Trouble, UrlFile,
};
use crate::errand::{Errand, KeptModels, Reply, ReplySender};
use crate::fault::LoadFailure;
use crate::options::{FileSource, ModelSource};
use crate::tabs::{TabId, TabMessage};
use std::collections::BTreeMap;
use thrum_hive::io::Input;
use thrum_protocol::id::ModelId;
use thrum_protocol::view::{Event, GenomeChange};

/// count; errands under way for all tabs. A person starts one or two.
const MAX_OPEN: usize = 64;

/// Who waits for a reply, and the number they gave.
pub(super) enum Waiter {
    Here(u64, ReplySender),
    Tab(TabId, u64),
}

/// The errands under way, by the numbers that the engine knows.
#[derive(Default)]
pub(super) struct Errands {
    last: u64,
    open: BTreeMap<u64, Open>,
}

struct Open {
    errand: Errand,
    /// none where the machine asked
    waiter: Option<Waiter>,
}

impl Driver {
    /// The machine wants the model that the node was made with.
    pub(super) fn load_own_model(&mut self) {
        let errand = Errand::Load(self.model.clone());
        self.start(errand, None);
    }

    pub(super) fn run_errand(&mut self, errand: Errand, waiter: Waiter) {
        if self.errands.open.len() >= MAX_OPEN {
            let cause = LossCause::EngineFailed;
            let reason = "too many requests about models and genomes are under way".to_owned();
            let reply = errand.failed(LoadFailure::Engine { cause, reason });
            return self.reply(waiter, reply);
        }
        self.start(errand, Some(waiter));
    }

    fn start(&mut self, errand: Errand, waiter: Option<Waiter>) {
        self.errands.last += 1;
        let number = self.errands.last;
        match &errand {
            Errand::Embed(texts) => {
                if let Ok(engine) = &self.engine {
                    engine.embed(number, texts);
                }
            }
            Errand::Inspect(source) | Errand::Load(source) => self.resolve(number, source.clone()),
            Errand::LoadGenome(source) => {
                if let Ok(engine) = &self.engine {
                    engine.load_genome(number, &source.map(resolved_file));
                }
            }
            Errand::LoadOwn => self.resolve(number, self.model.clone()),
            Errand::ListGenomes => {
                if let Ok(engine) = &self.engine {
                    engine.list_genomes(number);
                }
            }
            Errand::ListKept => {
                if let Ok(engine) = &self.engine {
                    engine.list_kept(number);
                }
            }
            Errand::Remove(id) => {
                if let Ok(engine) = &self.engine {
                    engine.forget(*id);
                }
            }
            Errand::RemoveGenome(id) => {
                if let Ok(engine) = &self.engine {
                    engine.remove_genome(number, *id);
                }
            }
        }
        self.errands.open.insert(number, Open { errand, waiter });
        if let Err(reason) = &self.engine {
            let (cause, reason) = (LossCause::EngineFailed, reason.clone());
            self.on_engine(EngineEvent::Lost { cause, reason });
        }
    }

    fn resolve(&self, number: u64, source: Option<ModelSource>) {
        let relays = self.life.options.relays.clone();
        self.work(async move {
            Done::Resolved(number, catalogue::resolve(source.as_ref(), &relays).await)
        });
    }

    /// It is known where the model of an errand is. One that was stopped meanwhile is forgotten.
    pub(super) fn resolved(&mut self, number: u64, found: Result<ResolvedSource, LoadFailure>) {
        let Some(open) = self.errands.open.get(&number) else {
            return;
        };
        match (found, &open.errand, &self.engine) {
            (Ok(found), Errand::Load(_) | Errand::LoadOwn, Ok(engine)) => {
                engine.load(number, found, self.life.options.backend);
            }
            (Ok(found), Errand::Inspect(_), Ok(engine)) => {
                engine.inspect(number, found, self.life.options.backend);
            }
            (Ok(_), _, _) => {}
            (Err(failure), _, _) => {
                let reason = failure.to_string();
                if open.waiter.is_none() {
                    self.errands.open.remove(&number);
                    return self.tell(Input::EngineLost { reason });
                }
                tracing::warn!(%failure, "the model was not found");
                self.fail(number, failure);
            }
        }
    }

    /// Somebody no longer wants what they asked for.
    pub(super) fn stop_errand(&mut self, tab: Option<TabId>, ticket: u64) {
        let asked = |open: &Open| match &open.waiter {
            Some(Waiter::Here(own, _)) => tab.is_none() && *own == ticket,
            Some(Waiter::Tab(from, own)) => tab == Some(*from) && *own == ticket,
            None => false,
        };
        let found = self.errands.open.iter().find(|(_, open)| asked(open));
        let Some((&number, open)) = found else {
            return;
        };
        match (&open.errand, &self.engine) {
            (Errand::Embed(_), Ok(engine)) => engine.stop_embed(number),
            (Errand::Load(_) | Errand::LoadOwn, Ok(engine)) => engine.stop_load(number),
            (Errand::Inspect(_), Ok(engine)) => engine.stop_inspect(number),
            (Errand::LoadGenome(_), Ok(engine)) => engine.stop_genome(number),
            (
                Errand::ListGenomes
                | Errand::ListKept
                | Errand::Remove(_)
                | Errand::RemoveGenome(_),
                _,
            )
            | (_, Err(_)) => {}
        }
        let cause = LossCause::Cancelled;
        let reason = "it was stopped".to_owned();
        self.fail(number, LoadFailure::Engine { cause, reason });
    }

    /// A follower is gone, and with it its wishes.
    pub(super) fn stop_errands_of(&mut self, tab: TabId) {
        let theirs = |open: &Open| match &open.waiter {
            Some(Waiter::Tab(from, ticket)) if *from == tab => Some(*ticket),
            Some(_) | None => None,
        };
        let tickets: Vec<_> = self.errands.open.values().filter_map(theirs).collect();
        for ticket in tickets {
            self.stop_errand(Some(tab), ticket);
        }
    }

    /// The engine answers an errand. The model of one that loaded is the node's own from then on.
    pub(super) fn errand_done(&mut self, number: u64, reply: Reply) {
        let Some(open) = self.errands.open.remove(&number) else {
            return;
        };
        if let (Errand::Load(source), Reply::Loaded(Ok(_))) = (&open.errand, &reply) {
            self.model = source.clone();
        }
        if let Some(waiter) = open.waiter {
            self.reply(waiter, reply);
        }
    }

    /// There is no engine and nothing is on its way: whoever waits for a model waits in vain.
    pub(super) fn errands_lost(&mut self, cause: LossCause, reason: &str) {
        let all = cause == LossCause::EngineFailed;
        let lost = |open: &Open| all || matches!(open.errand, Errand::Load(_) | Errand::LoadOwn);
        let open = self.errands.open.iter();
        let numbers: Vec<u64> = open
            .filter(|(_, open)| lost(open))
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            let reason = reason.to_owned();
            self.fail(number, LoadFailure::Engine { cause, reason });
        }
    }

    pub(super) fn fail(&mut self, number: u64, failure: LoadFailure) {
        let open = self.errands.open.get(&number);
        if let Some(reply) = open.map(|open| open.errand.failed(failure)) {
            self.errand_done(number, reply);
        }
    }

    pub(super) fn kept(
        &mut self,
        number: u64,
        models: Result<Vec<crate::engine_link::KeptModel>, String>,
        used_bytes: Option<u64>,
        quota_bytes: Option<u64>,
    ) {
        let (models, trouble) = match models {
            Ok(models) => (models, None),
            Err(trouble) => (Vec::new(), Some(trouble)),
        };
        let kept = KeptModels {
            models,
            trouble,
            used_bytes,
            quota_bytes,
        };
        self.errand_done(number, Reply::Kept(kept));
    }

    /// A genome can be worn, or why not.
    pub(super) fn genome_loaded(&mut self, number: u64, result: Result<Box<Genome>, Trouble>) {
        if let Ok(genome) = &result {
            self.emit_genome(genome, GenomeChange::Loaded);
        }
        let result = result.map_err(LoadFailure::from);
        self.errand_done(number, Reply::GenomeLoaded(result));
    }

    /// A genome is gone, or why not.
    pub(super) fn genome_removed(&mut self, number: u64, result: Result<Box<Genome>, Trouble>) {
        if let Ok(genome) = &result {
            self.emit_genome(genome, GenomeChange::Removed);
        }
        let result = result.map(drop).map_err(LoadFailure::from);
        self.errand_done(number, Reply::GenomeRemoved(result));
    }

    fn emit_genome(&self, genome: &Genome, change: GenomeChange) {
        let Genome { id, name, .. } = genome;
        let (id, name) = (*id, name.clone());
        self.emit(&Event::Genome { id, name, change });
    }

    fn reply(&self, waiter: Waiter, reply: Reply) {
        match waiter {
            // Whoever asked may have stopped waiting.
            Waiter::Here(_, sender) => drop(sender.send(reply)),
            Waiter::Tab(to, ticket) => self.say(&TabMessage::ErrandDone { to, ticket, reply }),
        }
    }

    /// A model's files are gone, for everybody who asked.
    pub(super) fn removed(&mut self, model: ModelId) {
        let open = self.errands.open.iter();
        let asked =
            open.filter(|(_, open)| matches!(open.errand, Errand::Remove(id) if id == model));
        let numbers: Vec<u64> = asked.map(|(number, _)| *number).collect();
        for number in numbers {
            self.errand_done(number, Reply::Removed(Ok(())));
        }
    }
}

/// A file of a genome; there is no catalogue to look it up in.
fn resolved_file(file: &FileSource) -> ResolvedFile {
    match file {
        FileSource::Blob(blob) => ResolvedFile::Blob(blob.clone()),
        FileSource::Url { url, sha256 } => ResolvedFile::Url(UrlFile {
            url: url.clone(),
            sha256: *sha256,
            bytes: None,
        }),
    }
}

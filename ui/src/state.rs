//! The dashboard's whole state and the one function that changes it.
//!
//! 1. a person or the node does something: an [`Action`]
//! 2. [`App::reduce`] makes the next state of it; nothing else changes the state
//! 3. the page draws the state
//!
//! The state asks nothing of the world: effects (starting, commands, storage) are the page's.

use std::rc::Rc;
use thrum_protocol::id::ModelId;
use thrum_protocol::view::{AskErrorCode, AskUpdate, LogLine, Snapshot, State};

use crate::catalogue::Catalogue;
use crate::conversation::Conversation;
use crate::genomes::{Genome, Worn};
use crate::log::Log;
use crate::models::{Busy, Inspected, Storage};

/// Everything the dashboard shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct App {
    /// how far the node is
    pub life: Life,
    /// which of this origin's tabs runs the node
    pub role: Role,
    /// the node as it was last seen
    pub snapshot: Option<Rc<Snapshot>>,
    /// the model on its way
    pub progress: Option<Progress>,
    /// questions and answers
    pub conversation: Conversation,
    /// the node's log
    pub log: Rc<Log>,
    /// the relay's models
    pub catalogue: Fetched,
    /// what is being done about a model
    pub busy: Option<Busy>,
    /// a model that was looked at and is not loaded yet
    pub inspected: Option<Rc<Inspected>>,
    /// what the browser keeps, once that is known
    pub storage: Option<Rc<Storage>>,
    /// the genomes of the node, once they are known
    pub genomes: Option<Rc<Vec<Genome>>>,
    /// what the next answer wears
    pub worn: Worn,
    /// how far a genome is that is to be had
    pub taking: Taking,
    /// what went wrong outside the node, until the next action of that kind
    pub notice: Option<String>,
}

/// How far the node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// nobody said yes
    #[default]
    Asking,
    /// it cannot start
    Failed(String),
    /// it runs, here or in another tab
    Running,
    /// identity and worker are being opened
    Starting,
}

/// Which of this origin's tabs runs the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// another one; this tab shows it
    Follower,
    /// this one
    #[default]
    Owner,
}

/// The model on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// `download`, `verify`, `upload`, `probe`
    pub stage: String,
    /// bytes so far
    pub loaded: u64,
    /// bytes in all, where known
    pub total: Option<u64>,
    /// the model that was loaded when this began
    before: Option<ModelId>,
}

/// How far a genome is that is to be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Taking {
    /// it was refused, and why
    Refused(String),
    /// nothing is to be had
    #[default]
    Rest,
    /// on its way
    Waiting,
}

/// Something fetched from the relay.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Fetched {
    /// it is not there, and why
    Failed(String),
    /// it is there
    Ready(Rc<Catalogue>),
    /// on its way
    #[default]
    Waiting,
}

/// What can happen to the dashboard.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// a prompt was sent
    Asked {
        /// its number
        ask: u64,
        /// what was typed
        prompt: String,
    },
    /// something is done about a model, or no longer
    Busy(Option<Busy>),
    /// a model was looked at, or is no longer of interest
    Inspected(Option<Rc<Inspected>>),
    /// what the browser keeps
    Stored(Rc<Storage>),
    /// an answer goes on
    Answered {
        /// its number
        ask: u64,
        /// what happened
        update: AskUpdate,
    },
    /// the catalogue came, or did not
    Catalogue(Result<Rc<Catalogue>, String>),
    /// the node was closed by the person
    Closed,
    /// the node could not be started
    Failed(String),
    /// the genomes of the node
    Genomes(Rc<Vec<Genome>>),
    /// lines of the log
    Logged(Vec<LogLine>),
    /// begin a new conversation
    NewConversation,
    /// something went wrong outside the node, or no longer is
    Notice(Option<String>),
    /// the model goes on
    Progressed {
        /// what is being done
        stage: String,
        /// bytes so far
        loaded: u64,
        /// bytes in all, where known
        total: Option<u64>,
    },
    /// the node as it is now
    Seen {
        /// its view
        snapshot: Rc<Snapshot>,
        /// which tab runs it
        role: Role,
    },
    /// the person said yes
    Starting,
    /// the node runs
    Started,
    /// an answer was stopped
    Stopped {
        /// its number
        ask: u64,
    },
    /// a genome is to be had, or no longer
    Taking(Taking),
    /// the next answer wears something else
    Wear(Worn),
}

impl App {
    /// The state after `action`.
    #[must_use]
    pub fn reduce(mut self, action: Action) -> Self {
        match action {
            Action::Asked { ask, prompt } => self.conversation.ask(ask, prompt),
            Action::Answered { ask, update } => self.conversation.update(ask, update),
            Action::Busy(busy) => self.busy = busy,
            Action::Inspected(inspected) => self.inspected = inspected,
            Action::Stored(storage) => self.storage = Some(storage),
            Action::Catalogue(Ok(catalogue)) => self.catalogue = Fetched::Ready(catalogue),
            Action::Catalogue(Err(why)) => self.catalogue = Fetched::Failed(why),
            Action::Closed => self.close(Life::Asking),
            Action::Failed(why) => self.close(Life::Failed(why)),
            Action::Genomes(genomes) => {
                self.worn.keep_wearable(&genomes);
                self.genomes = Some(genomes);
            }
            Action::Logged(lines) => {
                let log = Rc::make_mut(&mut self.log);
                lines.into_iter().for_each(|line| log.push(line));
            }
            Action::NewConversation => self.conversation = Conversation::default(),
            Action::Notice(notice) => self.notice = notice,
            Action::Progressed {
                stage,
                loaded,
                total,
            } => self.progress(stage, loaded, total),
            Action::Seen { snapshot, role } => self.see(snapshot, role),
            Action::Starting => {
                self.life = Life::Starting;
                self.notice = None;
            }
            Action::Started => self.life = Life::Running,
            Action::Stopped { ask } => self.conversation.stop(ask),
            Action::Taking(taking) => self.taking = taking,
            Action::Wear(worn) => self.worn = worn,
        }
        self
    }

    /// The catalogue, where it came.
    #[must_use]
    pub fn catalogue(&self) -> Option<&Catalogue> {
        match &self.catalogue {
            Fetched::Ready(catalogue) => Some(catalogue),
            Fetched::Failed(_) | Fetched::Waiting => None,
        }
    }

    fn close(&mut self, life: Life) {
        self.life = life;
        self.snapshot = None;
        self.progress = None;
        self.role = Role::Owner;
        self.conversation
            .fail_open(AskErrorCode::NoProvider, "the node of this tab was closed");
    }

    fn progress(&mut self, stage: String, loaded: u64, total: Option<u64>) {
        let before = match &self.progress {
            Some(progress) => progress.before,
            None => self.loaded_model(),
        };
        self.progress = Some(Progress {
            stage,
            loaded,
            total,
            before,
        });
    }

    fn see(&mut self, snapshot: Rc<Snapshot>, role: Role) {
        self.role = role;
        let failed = snapshot.status.state == State::Error;
        self.snapshot = Some(snapshot);
        let loaded = self.loaded_model();
        let arrived = self.progress.as_ref().is_some_and(|progress| {
            loaded.is_some() && (loaded != progress.before || progress.stage == "probe")
        });
        if arrived || failed {
            self.progress = None;
        }
    }

    fn loaded_model(&self) -> Option<ModelId> {
        self.snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.model.as_ref())
            .map(|model| model.id)
    }
}

#[cfg(test)]
mod tests;

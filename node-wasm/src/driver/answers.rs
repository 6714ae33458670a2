//! Commands and answers, of this tab and of those that follow it.

use super::errands::Waiter;
use super::{Driver, MAX_FOLLOWERS};
use crate::asks::Asker;
use crate::browser;
use crate::tabs::{Heard, TabId, TabMessage};
use thrum_hive::io::Input;
use thrum_protocol::view::{AskRequest, AskUpdate, Command, Event};

impl Driver {
    pub(super) fn on_heard(&mut self, heard: Heard) {
        match heard.message {
            TabMessage::Bye { from } => {
                self.followers.remove(&from);
                self.stop_errands_of(from);
                for ask in self.asks.of_tab(from) {
                    self.tell(Input::Command(Command::CancelAsk { ask }));
                }
            }
            TabMessage::Command { from, command } => self.command(Some(from), command),
            TabMessage::Hello { from } => {
                if self.followers.len() < MAX_FOLLOWERS {
                    self.followers.insert(from);
                    self.say_snapshot();
                }
            }
            TabMessage::Errand {
                from,
                ticket,
                errand,
            } => {
                if let Some(errand) = errand.into_errand(heard.blobs) {
                    self.run_errand(errand, Waiter::Tab(from, ticket));
                }
            }
            TabMessage::StopErrand { from, ticket } => self.stop_errand(Some(from), ticket),
            TabMessage::WantSnapshot {} => self.say_snapshot(),
            // Two owners: only where the browser has no locks.
            TabMessage::Ask { .. }
            | TabMessage::Event { .. }
            | TabMessage::ErrandDone { .. }
            | TabMessage::Owner {}
            | TabMessage::Snapshot { .. } => {}
        }
    }

    pub(super) fn command(&mut self, tab: Option<TabId>, command: Command) {
        match command {
            Command::Ask(request) => {
                if tab.is_none() {
                    self.life.pending.begin(&request);
                }
                self.ask(tab, request);
            }
            Command::CancelAsk { ask } => {
                if let Some(ask) = self.asks.number(Asker { tab, ask }) {
                    self.tell(Input::Command(Command::CancelAsk { ask }));
                }
            }
            Command::Donate(_) => {
                browser::ask_to_persist();
                self.tell(Input::Command(command));
            }
            Command::Finish | Command::Pause => self.tell(Input::Command(command)),
        }
    }

    pub(super) fn ask(&mut self, tab: Option<TabId>, request: AskRequest) {
        let asker = Asker {
            tab,
            ask: request.ask,
        };
        match self.asks.begin(asker) {
            Ok(ask) => self.tell(Input::Command(Command::Ask(AskRequest { ask, ..request }))),
            Err(update) => self.answer(asker, update),
        }
    }

    pub(super) fn notify(&mut self, event: Event) {
        match event {
            Event::Ask { ask, update } => {
                if let Some(asker) = self.asks.asker(ask, &update) {
                    self.answer(asker, update);
                }
            }
            // The machine says the same through `tracing`, and the ring of `log` keeps that.
            Event::Log(_) => {}
            Event::Changed
            | Event::Contribution { .. }
            | Event::Genome { .. }
            | Event::Misbehaviour { .. }
            | Event::Progress { .. } => self.emit(&event),
        }
    }

    pub(super) fn answer(&mut self, asker: Asker, update: AskUpdate) {
        let ask = asker.ask;
        match asker.tab {
            Some(to) => self.say(&TabMessage::Ask {
                to,
                event: Event::Ask { ask, update },
            }),
            None => {
                if let Some(update) = self.life.pending.update(ask, update) {
                    self.life.shared.emit(&Event::Ask { ask, update });
                }
            }
        }
    }

    /// Tells this tab's subscribers and the followers.
    pub(super) fn emit(&self, event: &Event) {
        self.life.shared.emit(event);
        if !self.followers.is_empty() {
            self.say(&TabMessage::Event {
                event: event.clone(),
            });
        }
    }

    pub(super) fn say(&self, message: &TabMessage) {
        if let Some(tabs) = &self.life.tabs {
            tabs.say(message);
        }
    }

    pub(super) fn say_snapshot(&self) {
        if let Some(snapshot) = self.life.shared.snapshot() {
            self.say(&TabMessage::Snapshot {
                snapshot: Box::new(snapshot),
            });
        }
    }
}

//! A tab that shows the node of another tab: mirrors what happens there, forwards what is wanted.
//!
//! The picture is fetched when something changed and the one before has arrived: one request at a
//! time, so that a busy owner and a slow follower settle by themselves.

use crate::browser::PageEvent;
use crate::engine_link::LossCause;
use crate::errand::{Errand, ReplySender};
use crate::fault::LoadFailure;
use crate::node::{Life, Order, Stage};
use crate::tabs::{Heard, TabMessage, Tabs};
use crate::web_lock::{self, HeldLock, LockRequest};
use futures::channel::oneshot;
use futures::future::{FusedFuture, FutureExt as _};
use futures::{StreamExt as _, select};
use std::collections::BTreeMap;
use std::pin::pin;
use thrum_protocol::view::{AskErrorCode, AskUpdate, Command, Event};

/// How following ends.
pub(crate) enum End {
    Closed(oneshot::Sender<()>),
    TakeOver(HeldLock),
}

/// Follows until this tab becomes the owner or is closed.
pub(crate) async fn run(life: &mut Life) -> End {
    let mut request = web_lock::wait_for(&format!("thrum/{}", life.options.store));
    let mut granted = pin!(granted(&mut request).fuse());
    let mut follower = Follower::default();
    say(life, |tabs| TabMessage::Hello { from: tabs.own() });
    loop {
        select! {
            lock = granted => match lock {
                Some(lock) => {
                    follower.give_up("the tab that loaded the model was closed");
                    return End::TakeOver(lock);
                }
                None => debug_assert!(granted.is_terminated(), "only a refused request ends so"),
            },
            heard = life.heard.select_next_some() => follower.on_heard(life, heard),
            order = life.orders.select_next_some() => {
                if let Some(done) = follower.on_order(life, order) {
                    say(life, |tabs| TabMessage::Bye { from: tabs.own() });
                    return End::Closed(done);
                }
            }
            event = life.pages.select_next_some() => match event {
                PageEvent::Leaving => say(life, |tabs| TabMessage::Bye { from: tabs.own() }),
                PageEvent::Resumed => say(life, |tabs| TabMessage::Hello { from: tabs.own() }),
                PageEvent::Online(_) => {}
            },
            line = life.lines.select_next_some() => life.shared.emit(&Event::Log(line)),
        }
    }
}

/// What a follower waits for.
#[derive(Default)]
struct Follower {
    /// a snapshot was asked for and has not arrived
    waits: bool,
    /// something changed since it was asked for
    changed: bool,
    errands: BTreeMap<u64, (Errand, ReplySender)>,
}

impl Follower {
    fn on_heard(&mut self, life: &mut Life, heard: Heard) {
        match heard.message {
            TabMessage::Owner {} => {
                say(life, |tabs| TabMessage::Hello { from: tabs.own() });
                self.give_up("the tab that loaded the model was closed");
                ask_anew(life);
            }
            TabMessage::Snapshot { snapshot } => {
                life.shared.set_peer_id(snapshot.peer_id);
                *life.shared.stage.borrow_mut() = Stage::Follower(Some(snapshot));
                life.shared.emit(&Event::Changed);
                self.waits = false;
                if std::mem::take(&mut self.changed) {
                    self.look(life);
                }
            }
            TabMessage::Event {
                event: Event::Changed,
            } => self.look(life),
            TabMessage::Event { event } => life.shared.emit(&event),
            TabMessage::Ask {
                to,
                event: Event::Ask { ask, update },
            } if is_own(life, to) => {
                if let Some(update) = life.pending.update(ask, update) {
                    life.shared.emit(&Event::Ask { ask, update });
                }
            }
            TabMessage::ErrandDone { to, ticket, reply } if is_own(life, to) => {
                if let Some((_, waiter)) = self.errands.remove(&ticket) {
                    // Whoever asked may have stopped waiting.
                    waiter.send(reply).ok();
                }
            }
            TabMessage::Ask { .. }
            | TabMessage::Bye { .. }
            | TabMessage::Command { .. }
            | TabMessage::Hello { .. }
            | TabMessage::Errand { .. }
            | TabMessage::ErrandDone { .. }
            | TabMessage::StopErrand { .. }
            | TabMessage::WantSnapshot {} => {}
        }
    }

    /// Forwards an order; the one that closes is for the caller.
    fn on_order(&mut self, life: &mut Life, order: Order) -> Option<oneshot::Sender<()>> {
        match order {
            Order::Close(done) => return Some(done),
            Order::Command(command) => {
                match &command {
                    Command::Ask(request) => life.pending.begin(request),
                    Command::CancelAsk { ask } => life.pending.cancel(*ask),
                    Command::Donate(_) | Command::Finish | Command::Pause => {}
                }
                say(life, |tabs| TabMessage::Command {
                    from: tabs.own(),
                    command,
                });
            }
            Order::Errand {
                ticket,
                errand,
                waiter,
            } => {
                if let Some(tabs) = &life.tabs {
                    tabs.say_errand(ticket, &errand);
                }
                self.errands.insert(ticket, (errand, waiter));
            }
            Order::StopErrand { ticket } => {
                self.errands.remove(&ticket);
                say(life, |tabs| TabMessage::StopErrand {
                    from: tabs.own(),
                    ticket,
                });
            }
        }
        None
    }

    fn look(&mut self, life: &Life) {
        if self.waits {
            self.changed = true;
            return;
        }
        self.waits = true;
        say(life, |_| TabMessage::WantSnapshot {});
    }

    fn give_up(&mut self, reason: &str) {
        for (errand, waiter) in std::mem::take(&mut self.errands).into_values() {
            let cause = LossCause::EngineFailed;
            let reason = reason.to_owned();
            let reply = errand.failed(LoadFailure::Engine { cause, reason });
            // Whoever asked may have stopped waiting.
            waiter.send(reply).ok();
        }
        self.waits = false;
    }
}

/// The owner went away with our answers: the next one is asked for them.
fn ask_anew(life: &mut Life) {
    let (again, cancelled) = life.pending.anew();
    for ask in cancelled {
        life.shared.emit(&Event::Ask {
            ask,
            update: cancelled_update(),
        });
    }
    for request in again {
        let command = Command::Ask(request);
        say(life, |tabs| TabMessage::Command {
            from: tabs.own(),
            command,
        });
    }
}

/// What the asker of a cancelled ask is told.
pub(crate) fn cancelled_update() -> AskUpdate {
    AskUpdate::Failed {
        code: AskErrorCode::Cancelled,
        message: "cancelled".to_owned(),
    }
}

fn is_own(life: &Life, tab: crate::tabs::TabId) -> bool {
    life.tabs.as_ref().is_some_and(|tabs| tabs.own() == tab)
}

fn say(life: &Life, message: impl FnOnce(&Tabs) -> TabMessage) {
    if let Some(tabs) = &life.tabs {
        tabs.say(&message(tabs));
    }
}

/// The lock, once it is ours; never where it cannot be asked for.
async fn granted(request: &mut Option<LockRequest>) -> Option<HeldLock> {
    match request {
        Some(request) => request.granted().await,
        None => std::future::pending().await,
    }
}

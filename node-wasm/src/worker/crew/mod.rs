//! Members in workers of their own, each with a memory of its own: they hold and compute their rows
//! of the large matrices.
//!
//! 1. [`start`] starts them from this worker's own module, already compiled, where the page is
//!    cross-origin isolated; everywhere else one worker computes alone, and is told why.
//! 2. While a model is loaded, their rows are posted to them as they come.
//! 3. [`Members::ready`] has them leave their event loops: from then on they look at the mailbox, a
//!    piece of shared memory, and at nothing else, until they are ended.
//!
//! Dropping [`Members`] ends them and gives their memory back.

mod leader;
mod mailbox;
mod member;
mod nested;

pub(super) use member::is_member;

use super::clock::{scope, sleep};
use super::messages::MAX_THREADS;
use futures::channel::mpsc;
use futures::{FutureExt as _, StreamExt as _, select_biased};
use js_sys::Reflect;
use leader::Leader;
use mailbox::Mailbox;
use nested::Nested;
use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use thrum_engine::cpu::crew::{Crew, Patience};
use thrum_engine::error::EngineError;
use thrum_protocol::time::Millis;

/// count; what is taken unasked. Beyond, tabs and machines are seldom quicker.
const MAX_DEFAULT_THREADS: u32 = 8;

/// ms; a nested worker of a compiled module is up in some tens of milliseconds.
const START_PATIENCE: Millis = Millis(10_000);

/// ms; after the last row was posted, a member repacks what waits for it: a second at most was seen.
const READY_PATIENCE: Millis = Millis(120_000);

/// What a member says while it has an event loop.
enum Said {
    Up,
    Ready,
    Failed(String),
}

/// The members of one model.
pub(super) struct Members {
    nested: Vec<Nested>,
    /// with one that is to multiply
    patience: Patience,
    /// none before the model's sizes are known
    mailbox: RefCell<Option<Rc<Mailbox>>>,
    /// taken while somebody listens
    heard: RefCell<Option<mpsc::UnboundedReceiver<(usize, Said)>>>,
}

/// Threads to compute with, the leader's among them: what was asked for, else half of what the
/// machine runs at once, which are its cores where each runs two.
pub(super) fn wanted(asked: Option<u32>) -> u32 {
    let concurrency = scope().navigator().hardware_concurrency();
    let half = (concurrency / 2.0) as u32;
    asked.map_or(half.clamp(1, MAX_DEFAULT_THREADS), |threads| {
        threads.clamp(1, MAX_THREADS)
    })
}

/// Why this page has no shared memory, if it has none.
pub(super) fn obstacle() -> Option<&'static str> {
    let global = js_sys::global();
    let get = |name: &str| Reflect::get(&global, &name.into()).ok();
    if get("crossOriginIsolated").and_then(|it| it.as_bool()) != Some(true) {
        return Some("the page is not cross-origin isolated");
    }
    let absent = |name: &str| get(name).is_none_or(|it| it.is_undefined());
    if absent("SharedArrayBuffer") {
        return Some("the browser has no shared memory");
    }
    absent("Worker").then_some("the browser starts no workers within workers")
}

/// Threads that a model is likely to get.
pub(super) fn expected(asked: Option<u32>) -> usize {
    match obstacle() {
        Some(_) => 1,
        None => wanted(asked) as usize,
    }
}

/// Starts so many members, at least one, each of which is given up after a silence as `patience`
/// says.
///
/// # Errors
/// Why there are none, in words; nothing is left of them then.
pub(super) async fn start(members: usize, patience: Patience) -> Result<Rc<Members>, String> {
    if let Some(obstacle) = obstacle() {
        return Err(obstacle.to_owned());
    }
    // A member says less than ten things, so nothing is bounded here that they could fill.
    let (sender, heard) = mpsc::unbounded();
    let nested = (0..members).map(|member| Nested::start(member, sender.clone()));
    let nested = nested.collect::<Result<_, _>>()?;
    let members = Members {
        nested,
        patience,
        mailbox: RefCell::new(None),
        heard: RefCell::new(Some(heard)),
    };
    members.hear_all(START_PATIENCE).await.map_err(|lost| {
        let (member, reason) = lost;
        format!("worker {} did not start: {reason}", member + 2)
    })?;
    Ok(Rc::new(members))
}

impl Drop for Members {
    fn drop(&mut self) {
        (0..self.nested.len()).for_each(|member| self.tell_to_leave(member));
    }
}

impl Members {
    /// Leader and members.
    pub(super) fn threads(&self) -> u32 {
        u32::try_from(self.nested.len() + 1).unwrap_or(u32::MAX)
    }

    /// The crew that a model computes with.
    pub(super) fn crew(self: &Rc<Self>) -> Box<dyn Crew> {
        Box::new(Leader::new(Rc::clone(self)))
    }

    /// Has everyone take up work; done when all hold their rows.
    ///
    /// # Errors
    /// [`EngineError::MemberLost`] with what the member said.
    pub(super) async fn ready(&self) -> Result<(), EngineError> {
        for nested in &self.nested {
            nested.post(&["serve".into()], None)?;
        }
        self.hear_all(READY_PATIENCE)
            .await
            .map_err(|(member, reason)| EngineError::MemberLost { member, reason })
    }

    /// Ends the last member as a browser that is short of memory does: for tests of what follows.
    pub(super) fn end_one(&self) {
        if let Some(last) = self.nested.len().checked_sub(1) {
            self.tell_to_leave(last);
            self.nested[last].terminate();
        }
    }

    fn tell_to_leave(&self, member: usize) {
        if let Some(mailbox) = &*self.mailbox.borrow() {
            mailbox.end(member);
        }
    }

    /// Waits until every member has said what is due, or one has failed.
    async fn hear_all(&self, patience: Millis) -> Result<(), (usize, String)> {
        let Some(mut heard) = self.heard.borrow_mut().take() else {
            return Ok(());
        };
        let mut waiting: Vec<usize> = (0..self.nested.len()).collect();
        let mut late = pin!(sleep(patience).fuse());
        let result = loop {
            let Some(first) = waiting.first().copied() else {
                break Ok(());
            };
            let next = select_biased! {
                next = heard.next() => next,
                () = late => None,
            };
            match next {
                Some((member, Said::Up | Said::Ready)) => waiting.retain(|it| *it != member),
                Some((member, Said::Failed(reason))) => break Err((member, reason)),
                None => break Err((first, format!("it said nothing for {patience}"))),
            }
        };
        *self.heard.borrow_mut() = Some(heard);
        result
    }
}

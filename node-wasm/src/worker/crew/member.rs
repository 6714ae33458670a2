//! A member in its own worker: it takes its rows as messages, then serves the mailbox.

use super::mailbox::{Mailbox, Task};
use super::nested::NAME;
use crate::worker::clock::scope;
use js_sys::{Reflect, SharedArrayBuffer};
use std::cell::RefCell;
use std::rc::Rc;
use thrum_engine::cpu::crew::{MatrixId, Member, Room, Share};
use thrum_engine::error::EngineError;
use thrum_engine::quant::Format;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::DedicatedWorkerGlobalScope;

/// Whether this worker was started as a member: it has no page to listen to.
pub(in crate::worker) fn is_member() -> bool {
    let scope: DedicatedWorkerGlobalScope = scope().unchecked_into();
    scope.name().starts_with(NAME)
}

/// A member's number, and the mailbox.
type Place = Rc<(usize, Mailbox)>;

thread_local! {
    /// Where a panic writes what it says; nothing else of a member can be reached then.
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// What the script of `nested.rs` calls.
#[wasm_bindgen]
pub struct CrewMember {
    member: Member,
}

#[wasm_bindgen]
impl CrewMember {
    /// A member without rows. A later panic leaves its text where the script and the leader find
    /// it.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        std::panic::set_hook(Box::new(|info| {
            console_error_panic_hook::hook(info);
            let text = format!("it panicked: {info}");
            Self::failed(&text);
            // Without it the leader still learns that something trapped.
            Reflect::set(&js_sys::global(), &"thrumPanic".into(), &text.into()).ok();
        }));
        Self {
            member: Member::default(),
        }
    }

    /// Takes the mailbox.
    pub fn open(
        &self,
        memory: SharedArrayBuffer,
        number: usize,
        members: usize,
        input_floats: usize,
        output_floats: usize,
    ) {
        let room = Room {
            input_floats,
            output_floats,
        };
        let place = Rc::new((number, Mailbox::over(memory, members, room)));
        PLACE.set(Some(place));
    }

    /// Is told of rows that are going to come.
    ///
    /// # Errors
    /// In words.
    pub fn hold(
        &mut self,
        matrix: u32,
        format: u32,
        rows: usize,
        cols: usize,
    ) -> Result<(), String> {
        let format = Format::from_type_id(format).ok_or("no such format")?;
        let held = self.member.hold(Share {
            matrix: MatrixId(matrix),
            format,
            rows,
            cols,
        });
        held.map_err(|error| error.to_string())
    }

    /// Takes the next bytes of those rows.
    ///
    /// # Errors
    /// In words.
    pub fn write(&mut self, matrix: u32, bytes: &[u8]) -> Result<(), String> {
        let written = self.member.write(MatrixId(matrix), bytes);
        written.map_err(|error| error.to_string())
    }

    /// Does what the mailbox says until it says to leave.
    ///
    /// # Errors
    /// In words, what it could not do.
    pub fn serve(&mut self) -> Result<(), String> {
        let place = PLACE.with_borrow(Option::clone);
        let place = place.ok_or("there is no mailbox")?;
        let served = serve(&mut self.member, place.0, &place.1);
        served.map_err(|error| error.to_string())
    }

    /// Says in the mailbox that no more is to be expected of this member.
    pub fn failed(reason: &str) {
        if let Some(place) = PLACE.with_borrow(Option::clone) {
            let (number, mailbox) = &*place;
            mailbox.write_failed(*number, reason);
        }
    }
}

fn serve(member: &mut Member, number: usize, mailbox: &Mailbox) -> Result<(), EngineError> {
    let mut order = 0;
    let mut x = Vec::new();
    while let Some(next) = mailbox.wait_order(number, order) {
        order = next;
        let outputs = match mailbox.task() {
            Task::Multiply {
                matrices,
                tokens,
                cols,
            } => {
                x.resize(tokens * cols, 0.0);
                mailbox.read_inputs(&mut x);
                member.multiply(&matrices, &x, cols, || mailbox.beat(number))?
            }
            Task::Rows { matrix, rows } => member.rows(matrix, &mailbox.read_numbers(rows))?,
        };
        mailbox.write_done(number, order, outputs);
    }
    Ok(())
}

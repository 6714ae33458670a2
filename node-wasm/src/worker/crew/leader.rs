//! The crew as the engine knows it: rows go out as messages, orders through the mailbox.

use super::Members;
use super::mailbox::{Mailbox, Silence};
use std::fmt;
use std::rc::Rc;
use thrum_engine::cpu::activations::Activations;
use thrum_engine::cpu::crew::{Crew, MatrixId, Patience, Room, Share};
use thrum_engine::error::EngineError;
use wasm_bindgen::JsValue;

/// The leader's side.
pub(super) struct Leader {
    members: Rc<Members>,
    /// none before the model's sizes are known
    mailbox: Option<Rc<Mailbox>>,
    /// of each member, by matrix: rows and columns that it holds
    shares: Vec<Vec<(usize, usize)>>,
    /// what was started: its number for each member, and the floats that come of it
    started: Vec<(i32, usize)>,
    /// a member's outputs
    outputs: Vec<f32>,
}

impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader")
            .field("threads", &self.members.threads())
            .finish_non_exhaustive()
    }
}

impl Leader {
    pub(super) fn new(members: Rc<Members>) -> Self {
        let shares = vec![Vec::new(); members.nested.len()];
        Self {
            members,
            mailbox: None,
            shares,
            started: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn share(&self, member: usize, matrix: MatrixId) -> Result<(usize, usize), EngineError> {
        let share = self.shares[member].get(matrix.0 as usize);
        share
            .copied()
            .filter(|(rows, _)| *rows > 0)
            .ok_or(EngineError::UnknownMatrix { matrix: matrix.0 })
    }
}

impl Crew for Leader {
    fn members(&self) -> usize {
        self.members.nested.len()
    }

    fn open(&mut self, room: Room) -> Result<(), EngineError> {
        let members = self.members();
        let mailbox = Mailbox::new(members, room).map_err(|_| {
            let floats = room.input_floats + members * room.output_floats;
            EngineError::OutOfMemory {
                what: "what workers tell each other".to_owned(),
                needed_bytes: (floats * size_of::<f32>()) as u64,
            }
        })?;
        for (member, nested) in self.members.nested.iter().enumerate() {
            let numbers = [member, members, room.input_floats, room.output_floats];
            let mut call: Vec<JsValue> = vec!["open".into(), mailbox.memory().into()];
            call.extend(numbers.map(|number| JsValue::from(number as u32)));
            nested.post(&call, None)?;
        }
        let mailbox = Rc::new(mailbox);
        *self.members.mailbox.borrow_mut() = Some(Rc::clone(&mailbox));
        self.mailbox = Some(mailbox);
        Ok(())
    }

    fn hold(&mut self, member: usize, share: Share) -> Result<(), EngineError> {
        let Share {
            matrix,
            format,
            rows,
            cols,
        } = share;
        let shares = &mut self.shares[member];
        let at = matrix.0 as usize;
        shares.resize(shares.len().max(at + 1), (0, 0));
        shares[at] = (rows, cols);
        let numbers = [matrix.0, format.type_id(), rows as u32, cols as u32];
        let mut call: Vec<JsValue> = vec!["hold".into()];
        call.extend(numbers.map(JsValue::from));
        self.members.nested[member].post(&call, None)
    }

    fn write(&mut self, member: usize, matrix: MatrixId, bytes: &[u8]) -> Result<(), EngineError> {
        let call = ["write".into(), matrix.0.into()];
        self.members.nested[member].post(&call, Some(bytes))
    }

    fn start(&mut self, matrices: &[MatrixId], inputs: &Activations) -> Result<(), EngineError> {
        let mut floats = Vec::with_capacity(self.members());
        for member in 0..self.members() {
            let mut rows = 0;
            for matrix in matrices {
                rows += self.share(member, *matrix)?.0;
            }
            floats.push(rows * inputs.tokens());
        }
        let Some(mailbox) = &self.mailbox else {
            return Err(not_open());
        };
        mailbox.write_products(matrices, inputs.values(), inputs.cols());
        let raised = floats.into_iter().enumerate();
        let raised = raised.map(|(member, floats)| (mailbox.raise(member), floats));
        self.started = raised.collect();
        Ok(())
    }

    fn finish(&mut self, take: &mut dyn FnMut(usize, &[f32])) -> Result<(), EngineError> {
        let Some(mailbox) = &self.mailbox else {
            return Err(not_open());
        };
        let patience = self.members.patience;
        for (member, (number, floats)) in self.started.drain(..).enumerate() {
            mailbox
                .wait_done(member, number, patience)
                .map_err(|silence| lost(member, silence, patience))?;
            self.outputs.resize(floats, 0.0);
            mailbox.read_outputs(member, &mut self.outputs);
            take(member, &self.outputs);
        }
        Ok(())
    }

    fn rows(
        &mut self,
        member: usize,
        matrix: MatrixId,
        rows: &[u32],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), EngineError> {
        let (_, cols) = self.share(member, matrix)?;
        let Some(mailbox) = &self.mailbox else {
            return Err(not_open());
        };
        mailbox.write_rows(matrix, rows);
        let (number, patience) = (mailbox.raise(member), self.members.patience);
        mailbox
            .wait_done(member, number, patience)
            .map_err(|silence| lost(member, silence, patience))?;
        self.outputs.resize(rows.len() * cols, 0.0);
        mailbox.read_outputs(member, &mut self.outputs);
        take(&self.outputs);
        Ok(())
    }
}

fn lost(member: usize, silence: Silence, patience: Patience) -> EngineError {
    let reason = match silence {
        Silence::Failed(reason) => reason,
        Silence::Nothing => format!("it gave no sign for {} ms", patience.silence_ms()),
    };
    EngineError::MemberLost { member, reason }
}

/// The engine opens a crew before it uses it.
fn not_open() -> EngineError {
    EngineError::MemberLost {
        member: 0,
        reason: "it was never given a mailbox".to_owned(),
    }
}

//! Several workers on one model: each holds some rows of the large matrices in a memory of its own.
//!
//! 1. [`Division`] says which matrices are shared and who holds which rows: the leader the first,
//!    then one member after another.
//! 2. While a model is loaded, a [`Crew`] hands every member its rows, as they lie in the file.
//! 3. The leader publishes what is multiplied, all multiply their own rows, and the leader puts the
//!    outputs together. Matrices that read the same register go out as one order.
//!
//! Every output is one row's, computed in the same way by whoever has the row: the results are the
//! same bits for every number of workers.

mod division;
mod looks;
mod member;
mod patience;
#[cfg(not(target_arch = "wasm32"))]
mod threads;

pub use division::{Division, MAX_TOGETHER, Room, together};
pub use looks::Looks;
pub use member::Member;
pub use patience::{Patience, Wait};
#[cfg(not(target_arch = "wasm32"))]
pub use threads::ThreadCrew;

use std::fmt::Debug;

use super::activations::Activations;
use crate::error::EngineError;
use crate::quant::Format;

/// A shared matrix: its place among all that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatrixId(pub u32);

/// What a member is to hold of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which.
    pub matrix: MatrixId,
    /// How the weights are stored.
    pub format: Format,
    /// The member's outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
}

/// The members, as their leader sees them. Members are counted from 0.
///
/// Calls come in this order: [`Crew::open`]; [`Crew::hold`] and then [`Crew::write`] for each share;
/// then any number of [`Crew::start`] with its [`Crew::finish`], and of [`Crew::rows`] between them.
/// What a member cannot do is told by the next call that waits for it.
///
/// # Errors
/// Every call: [`EngineError::MemberLost`] for a member that is gone or has failed, and what it
/// failed with where that is known. The crew is then good for nothing.
pub trait Crew: Debug {
    /// How many there are beside the leader, at least one.
    fn members(&self) -> usize;

    /// Makes room for what is sent between leader and members.
    fn open(&mut self, room: Room) -> Result<(), EngineError>;

    /// Announces rows to the member that is to hold them.
    fn hold(&mut self, member: usize, share: Share) -> Result<(), EngineError>;

    /// The next bytes of those rows, as they lie in the file: whole blocks.
    fn write(&mut self, member: usize, matrix: MatrixId, bytes: &[u8]) -> Result<(), EngineError>;

    /// Has every member multiply its rows of each of `matrices`, at most [`MAX_TOGETHER`].
    fn start(&mut self, matrices: &[MatrixId], inputs: &Activations) -> Result<(), EngineError>;

    /// Waits for the outputs of what was started, and gives those of each member, matrix by matrix,
    /// `(tokens, rows)` each.
    fn finish(&mut self, take: &mut dyn FnMut(usize, &[f32])) -> Result<(), EngineError>;

    /// Gives weights of a member, by the row's number among its own, `(rows, cols)`.
    fn rows(
        &mut self,
        member: usize,
        matrix: MatrixId,
        rows: &[u32],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), EngineError>;
}

#[cfg(test)]
mod tests;

//! Products with weight matrices: one's own rows, and those of a crew where there is one.

use std::ops::Range;

use super::activations::Activations;
use super::crew::{Crew, Division, MatrixId};
use super::kernels::Kernels;
use super::panels::Panels;
use crate::error::EngineError;
use crate::weights::Slot;

/// The members of a model, and what they hold.
#[derive(Debug)]
pub(super) struct Crewed {
    pub(super) crew: Box<dyn Crew>,
    pub(super) division: Division,
    /// A worker's outputs for several tokens, before they are put among the others'.
    part: Vec<f32>,
}

/// One product of those that are computed at once.
pub(super) struct Product<'a> {
    pub(super) slot: Slot,
    /// The leader's rows.
    pub(super) panels: &'a Panels,
    /// Of the whole matrix.
    pub(super) rows: usize,
    pub(super) out: &'a mut Vec<f32>, // (tokens, rows)
}

impl Crewed {
    pub(super) fn new(crew: Box<dyn Crew>, division: Division) -> Self {
        let part = Vec::new();
        Self {
            crew,
            division,
            part,
        }
    }

    /// Computes products of the same inputs, all workers at once.
    ///
    /// # Errors
    /// As [`Crew`].
    pub(super) fn multiply(
        &mut self,
        kernels: &dyn Kernels,
        inputs: &Activations,
        products: &mut [Product<'_>],
    ) -> Result<(), EngineError> {
        let Self {
            crew,
            division,
            part,
        } = self;
        let matrices = products.iter().filter_map(|it| division.matrix(it.slot));
        let matrices: Vec<MatrixId> = matrices.collect();
        if !matrices.is_empty() {
            crew.start(&matrices, inputs)?;
        }
        let tokens = inputs.tokens();
        for Product {
            slot,
            panels,
            rows,
            out,
        } in &mut *products
        {
            if division.matrix(*slot).is_none() {
                kernels.matmul(panels, inputs, out);
            } else if tokens == 1 {
                kernels.matmul(panels, inputs, &mut out[..panels.rows()]);
            } else {
                part.resize(tokens * panels.rows(), 0.0);
                kernels.matmul(panels, inputs, part);
                put(out, *rows, 0..panels.rows(), part);
            }
        }
        if matrices.is_empty() {
            return Ok(());
        }
        crew.finish(&mut |member, outputs| {
            let mut rest = outputs;
            for product in &mut *products {
                if division.matrix(product.slot).is_none() {
                    continue;
                }
                let rows = division.rows(product.slot, member + 1);
                let (outputs, after) = rest.split_at(tokens * rows.len());
                put(product.out, product.rows, rows, outputs);
                rest = after;
            }
        })
    }

    /// Writes the rows of a shared table, `(ids, cols)`; `own` are the leader's.
    ///
    /// # Errors
    /// As [`Crew`].
    pub(super) fn look_up(
        &mut self,
        (slot, matrix): (Slot, MatrixId),
        own: &Panels,
        ids: &[usize],
        out: &mut [f32],
    ) -> Result<(), EngineError> {
        let cols = own.cols();
        for worker in 0..self.division.workers() {
            let held = self.division.rows(slot, worker);
            let places = (0..ids.len()).filter(|at| held.contains(&ids[*at]));
            let places: Vec<usize> = places.collect();
            if places.is_empty() {
                continue;
            }
            if worker == 0 {
                for at in places {
                    own.row(ids[at], &mut out[at * cols..][..cols]);
                }
                continue;
            }
            let rows = places.iter().map(|at| (ids[*at] - held.start) as u32);
            let rows: Vec<u32> = rows.collect();
            self.crew.rows(worker - 1, matrix, &rows, &mut |found| {
                for (at, row) in places.iter().zip(found.chunks_exact(cols)) {
                    out[at * cols..][..cols].copy_from_slice(row);
                }
            })?;
        }
        Ok(())
    }
}

/// Puts the outputs of some rows in their places.
fn put(
    out: &mut [f32], // (tokens, rows)
    rows: usize,
    part: Range<usize>,
    outputs: &[f32], // (tokens, part)
) {
    let outputs = outputs.chunks_exact(part.len());
    for (out, outputs) in out.chunks_exact_mut(rows).zip(outputs) {
        out[part.clone()].copy_from_slice(outputs);
    }
}

//! What a member does, wherever it runs.

use std::collections::BTreeMap;

use super::{MatrixId, Share};
use crate::cpu::activations::Activations;
use crate::cpu::kernels::{Kernels, kernels};
use crate::cpu::panels::{PanelBuilder, Panels};
use crate::error::EngineError;

/// A member's rows, and what it computes with them.
#[derive(Debug)]
pub struct Member {
    kernels: &'static dyn Kernels,
    growing: BTreeMap<MatrixId, PanelBuilder>,
    matrices: BTreeMap<MatrixId, Panels>,
    inputs: Activations,
    outputs: Vec<f32>,
}

impl Default for Member {
    fn default() -> Self {
        Self {
            kernels: kernels(),
            growing: BTreeMap::new(),
            matrices: BTreeMap::new(),
            inputs: Activations::default(),
            outputs: Vec::new(),
        }
    }
}

impl Member {
    /// Is told of rows that are going to come.
    ///
    /// # Errors
    /// As [`PanelBuilder::new`].
    pub fn hold(&mut self, share: Share) -> Result<(), EngineError> {
        let builder = PanelBuilder::new(share.format, share.rows, share.cols)?;
        self.growing.insert(share.matrix, builder);
        Ok(())
    }

    /// Takes the next blocks of those rows.
    ///
    /// # Errors
    /// As [`PanelBuilder::push`]; also for rows that were not announced.
    pub fn write(&mut self, matrix: MatrixId, bytes: &[u8]) -> Result<(), EngineError> {
        let builder = self.growing.get_mut(&matrix);
        let builder = builder.ok_or(EngineError::UnknownMatrix { matrix: matrix.0 })?;
        builder.push(bytes)?;
        if builder.is_whole()
            && let Some(builder) = self.growing.remove(&matrix)
        {
            self.matrices.insert(matrix, builder.finish()?);
        }
        Ok(())
    }

    /// Multiplies: the outputs matrix by matrix, `(tokens, rows)` each. The inputs are rounded here
    /// as the leader rounds them. `done` is called after each matrix.
    ///
    /// # Errors
    /// [`EngineError::UnknownMatrix`] for rows that have not come whole.
    ///
    /// # Panics
    /// When `x` is not whole vectors of `cols`, or not as wide as a matrix.
    pub fn multiply(
        &mut self,
        matrices: &[MatrixId],
        x: &[f32], // (tokens, cols)
        cols: usize,
        mut done: impl FnMut(),
    ) -> Result<&[f32], EngineError> {
        self.inputs.set(x, cols);
        let tokens = self.inputs.tokens();
        let mut floats = 0;
        for matrix in matrices {
            floats += self.matrix(*matrix)?.rows() * tokens;
        }
        let mut outputs = std::mem::take(&mut self.outputs);
        outputs.resize(floats, 0.0);
        let mut rest = &mut outputs[..];
        for matrix in matrices {
            let panels = self.matrix(*matrix)?;
            let (to, after) = rest.split_at_mut(panels.rows() * tokens);
            self.kernels.matmul(panels, &self.inputs, to);
            rest = after;
            done();
        }
        self.outputs = outputs;
        Ok(&self.outputs)
    }

    /// The weights of some rows, by their numbers among its own, `(rows, cols)`.
    ///
    /// # Errors
    /// As [`Member::multiply`].
    ///
    /// # Panics
    /// For a row that it has not.
    pub fn rows(&mut self, matrix: MatrixId, rows: &[u32]) -> Result<&[f32], EngineError> {
        let mut outputs = std::mem::take(&mut self.outputs);
        let panels = self.matrix(matrix)?;
        outputs.resize(rows.len() * panels.cols(), 0.0);
        for (row, out) in rows.iter().zip(outputs.chunks_exact_mut(panels.cols())) {
            panels.row(*row as usize, out);
        }
        self.outputs = outputs;
        Ok(&self.outputs)
    }

    /// Memory of its rows, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.matrices.values().map(Panels::memory_bytes).sum()
    }

    fn matrix(&self, matrix: MatrixId) -> Result<&Panels, EngineError> {
        let panels = self.matrices.get(&matrix);
        panels.ok_or(EngineError::UnknownMatrix { matrix: matrix.0 })
    }
}

//! Interprets a [`Plan`] on the CPU, with weights quantised as they are in the file.

use std::collections::BTreeMap;

use super::attention::Attention;
use super::cache::Cache;
use super::elementwise;
use super::kernel;
use super::matmul::{RowScratch, matmul_with};
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::pass::Pass;
use crate::plan::{Op, Plan, Register};
use crate::quant::dequantize;
use crate::rope::Rope;
use crate::sequences::{PageCopy, PageTurn};
use crate::weights::{Matrix, Slot, Weights};

/// A model on the CPU.
#[derive(Debug)]
pub struct CpuModel {
    config: ModelConfig,
    plan: Plan,
    rope: Option<Rope>,
    matrices: BTreeMap<Slot, Matrix>,
    /// Gains and biases, `(cols)` each.
    vectors: BTreeMap<Slot, Vec<f32>>,
    cache: Cache,
    registers: Registers,
    row: RowScratch, // (cols) of the widest matrix
}

/// The registers of a pass, `(rows, width)` each; they keep their memory between passes.
#[derive(Debug, Default)]
struct Registers(BTreeMap<Register, Vec<f32>>);

impl Registers {
    /// A register of `floats` floats, whatever they are.
    fn resize(&mut self, register: Register, floats: usize) -> &mut Vec<f32> {
        let values = self.0.entry(register).or_default();
        values.resize(floats, 0.0);
        values
    }

    /// A register that has been written.
    fn get(&mut self, register: Register) -> &mut Vec<f32> {
        self.0.entry(register).or_default()
    }

    /// Takes a register out, so that another can be written beside it.
    fn take(&mut self, register: Register) -> Vec<f32> {
        self.0.remove(&register).unwrap_or_default()
    }

    fn put(&mut self, register: Register, values: Vec<f32>) {
        self.0.insert(register, values);
    }
}

impl CpuModel {
    /// A model with an empty cache.
    pub fn new(config: ModelConfig, mut weights: Weights) -> Self {
        let factors = config.rope.as_ref().and_then(|rope| rope.factors);
        let factors = factors.map_or_else(Vec::new, |slot| weights.floats(slot));
        let mut matrices = BTreeMap::new();
        let mut vectors = BTreeMap::new();
        for slot in Slot::all(&config) {
            if !slot.is_matrix() {
                vectors.insert(slot, weights.floats(slot));
            } else if let Some(matrix) = weights.take(slot) {
                matrices.insert(slot, matrix);
            }
        }
        Self {
            plan: Plan::new(&config),
            rope: Rope::of(&config, &factors),
            cache: Cache::new(&config),
            registers: Registers::default(),
            row: RowScratch::default(),
            matrices,
            vectors,
            config,
        }
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The logits of the wanted rows, `(wanted, vocab_size)`.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] when the cache cannot grow.
    pub fn forward(&mut self, pass: &Pass) -> Result<Vec<f32>, EngineError> {
        self.run_body(pass)?;
        let dim = self.config.dim;
        let hidden = self.registers.take(Register::Hidden);
        let wanted = self.registers.get(Register::Hidden);
        for row in &pass.wanted {
            let at = *row as usize * dim;
            wanted.extend_from_slice(&hidden[at..at + dim]);
        }
        for op in self.plan.head.clone() {
            self.apply(&op, pass);
        }
        Ok(self.registers.take(Register::Logits))
    }

    /// The last hidden state of every row, `(rows, dim)`.
    ///
    /// # Errors
    /// As [`CpuModel::forward`].
    pub fn hidden(&mut self, pass: &Pass) -> Result<Vec<f32>, EngineError> {
        self.run_body(pass)?;
        Ok(self.registers.take(Register::Hidden))
    }

    /// Copies a page of every layer.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] when the cache cannot grow.
    pub fn copy_page(&mut self, copy: PageCopy) -> Result<(), EngineError> {
        self.cache.copy_page(copy)
    }

    /// Copies a page of every layer and takes its keys back.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] when the cache cannot grow.
    pub fn turn_page(&mut self, turn: PageTurn) -> Result<(), EngineError> {
        self.cache.copy_page(PageCopy {
            from: turn.from,
            to: turn.to,
        })?;
        let Some(rope) = &self.rope else {
            return Ok(());
        };
        for layer in 0..self.config.n_layers {
            let turns = rope.back(turn.by as usize, self.config.window_of(layer).is_some());
            self.cache
                .change_keys(layer, turn.to, |keys| rope.rotate(&turns, keys));
        }
        Ok(())
    }

    fn run_body(&mut self, pass: &Pass) -> Result<(), EngineError> {
        self.cache.make_room(pass)?;
        for op in self.plan.body.clone() {
            self.apply(&op, pass);
        }
        Ok(())
    }

    fn apply(&mut self, op: &Op, pass: &Pass) {
        let config = &self.config;
        let registers = &mut self.registers;
        match *op {
            Op::EmbedTokens => {
                let ids = pass.rows.iter().map(|row| row.token as usize);
                let table = &self.matrices[&Slot::TokenEmbedding];
                let hidden = registers.resize(Register::Hidden, pass.rows.len() * config.dim);
                for (x, id) in hidden.chunks_exact_mut(config.dim).zip(ids) {
                    dequantize(table.format, table.row(id), x);
                    if config.embedding_scale != 1.0 {
                        x.iter_mut().for_each(|it| *it *= config.embedding_scale);
                    }
                }
            }
            Op::EmbedPositions | Op::EmbedTypes => {
                let slot = match op {
                    Op::EmbedPositions => Slot::PositionEmbedding,
                    _ => Slot::TokenTypes,
                };
                let table = &self.matrices[&slot];
                let mut row = vec![0.0; config.dim];
                let hidden = registers.get(Register::Hidden);
                for (x, at) in hidden.chunks_exact_mut(config.dim).zip(&pass.rows) {
                    let id = match slot {
                        Slot::PositionEmbedding => at.position as usize,
                        _ => 0,
                    };
                    dequantize(table.format, table.row(id), &mut row);
                    kernel::add_scaled(x, 1.0, &row);
                }
            }
            Op::Norm {
                kind,
                gain,
                bias,
                from,
                to,
            } => {
                let x = registers.take(from);
                let out = registers.resize(to, x.len());
                let gain = &self.vectors[&gain];
                let bias = bias.map(|bias| &self.vectors[&bias][..]);
                elementwise::norm(kind, &x, gain, bias, config.norm_eps, out);
                if from != to {
                    registers.put(from, x);
                }
            }
            Op::NormHeads { gain, of } => {
                let gain = &self.vectors[&gain];
                let x = registers.get(of);
                elementwise::norm_in_place(x, gain, config.norm_eps);
            }
            Op::Linear {
                weight,
                bias,
                from,
                to,
                add,
            } => {
                let matrix = &self.matrices[&weight];
                let x = registers.take(from);
                let floats = x.len() / matrix.cols * matrix.rows;
                if add {
                    let mut out = vec![0.0; floats];
                    matmul_with(&mut self.row, matrix, &x, &mut out);
                    kernel::add_scaled(registers.get(to), 1.0, &out);
                } else {
                    let out = registers.resize(to, floats);
                    matmul_with(&mut self.row, matrix, &x, out);
                }
                if let Some(bias) = bias {
                    let bias = &self.vectors[&bias];
                    for y in registers.get(to).chunks_exact_mut(matrix.rows) {
                        kernel::add_scaled(y, 1.0, bias);
                    }
                }
                registers.put(from, x);
            }
            Op::Rotate { local } => {
                let Some(rope) = &self.rope else { return };
                let (q_dim, kv_dim) = (config.q_dim(), config.kv_dim());
                for (i, row) in pass.rows.iter().enumerate() {
                    let turns = rope.at(row.position as usize, local);
                    let q = registers.get(Register::Q);
                    rope.rotate(&turns, &mut q[i * q_dim..(i + 1) * q_dim]);
                    let k = registers.get(Register::K);
                    rope.rotate(&turns, &mut k[i * kv_dim..(i + 1) * kv_dim]);
                }
            }
            Op::Store { layer } => {
                let k = registers.take(Register::K);
                let v = registers.take(Register::V);
                self.cache.store(layer, pass, &k, &v);
                registers.put(Register::K, k);
                registers.put(Register::V, v);
            }
            Op::Attend { layer, window } => {
                let q = registers.take(Register::Q);
                let mixed = registers.resize(Register::Mixed, q.len());
                let attention = Attention {
                    config,
                    pass,
                    layer,
                    window,
                    cache: &self.cache,
                };
                attention.apply(&q, mixed);
                registers.put(Register::Q, q);
            }
            Op::Activate(activation) => {
                let up = registers.take(Register::Up);
                let up = elementwise::activate(activation, registers.get(Register::Gate), up);
                registers.put(Register::Up, up);
            }
            Op::Add { from, to } => {
                let y = registers.take(from);
                kernel::add_scaled(registers.get(to), 1.0, &y);
                registers.put(from, y);
            }
            Op::CapLogits { cap } => elementwise::cap(registers.get(Register::Logits), cap),
        }
    }
}

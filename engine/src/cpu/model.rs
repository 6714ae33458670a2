//! Interprets a [`Plan`] on the CPU: quantised weights times activations rounded to 8 bits.

use std::collections::BTreeMap;

use super::activations::Activations;
use super::attention::{Attention, Scratch};
use super::cache::Cache;
use super::kernels::{Kernels, kernels};
use super::panels::Panels;
use super::store::{CpuWeights, repack};
use super::vector;
use crate::adapter::Adapter;
use crate::adapter::apply::CpuAdapters;
use crate::arch::{Activation, NormKind};
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::kv::KvFormat;
use crate::pass::{AdapterId, Pass, PassRow};
use crate::plan::{Op, Plan, Register};
use crate::rope::Rope;
use crate::sequences::{PageCopy, PageTurn};
use crate::weights::{Slot, Weights};

/// A model on the CPU.
#[derive(Debug)]
pub struct CpuModel {
    config: ModelConfig,
    plan: Plan,
    rope: Option<Rope>,
    weights: CpuWeights,
    kernels: &'static dyn Kernels,
    cache: Cache,
    registers: Registers,
    inputs: Inputs,
    scratch: Scratch,
    adapters: CpuAdapters,
    /// What a matrix adds, before it is added.
    sum: Vec<f32>, // (rows, width)
}

/// The rounded form of a register, kept while matrices read the same one after another.
#[derive(Debug, Default)]
struct Inputs {
    activations: Activations,
    /// Which register it is of; none once anything but a matrix was computed.
    of: Option<Register>,
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
    /// A model with an empty cache, of weights that are in memory already.
    ///
    /// # Errors
    /// [`EngineError::MatrixShape`] or [`EngineError::OutOfMemory`].
    pub fn new(config: ModelConfig, weights: Weights) -> Result<Self, EngineError> {
        let weights = repack(&config, weights)?;
        Ok(Self::over(config, weights))
    }

    /// A model with an empty cache.
    pub(super) fn over(config: ModelConfig, weights: CpuWeights) -> Self {
        let factors = config.rope.as_ref().and_then(|rope| rope.factors);
        let factors = factors.and_then(|slot| weights.vectors.get(&slot));
        let factors = factors.map_or(&[][..], Vec::as_slice);
        Self {
            plan: Plan::new(&config),
            rope: Rope::of(&config, factors),
            cache: Cache::new(&config, KvFormat::default()),
            registers: Registers::default(),
            inputs: Inputs::default(),
            scratch: Scratch::default(),
            adapters: CpuAdapters::default(),
            sum: Vec::new(),
            kernels: kernels(),
            weights,
            config,
        }
    }

    /// Keeps keys and values as `format`; for a model that has read nothing yet.
    pub fn with_kv(self, format: KvFormat) -> Self {
        Self {
            cache: Cache::new(&self.config, format),
            ..self
        }
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Keeps an adapter for the sequences that name it.
    pub(crate) fn add_adapter(&mut self, id: AdapterId, adapter: &Adapter) {
        self.adapters.insert(id, adapter);
    }

    /// Forgets an adapter.
    pub(crate) fn remove_adapter(&mut self, id: AdapterId) {
        self.adapters.remove(id);
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
        if !matches!(op, Op::Linear { .. }) {
            self.inputs.of = None;
        }
        match *op {
            Op::EmbedTokens => {
                let ids = pass.rows.iter().map(|row| row.token as usize);
                let table = &self.weights.matrices[&Slot::TokenEmbedding];
                let hidden = registers.resize(Register::Hidden, pass.rows.len() * config.dim);
                for (x, id) in hidden.chunks_exact_mut(config.dim).zip(ids) {
                    table.row(id, x);
                    if config.embedding_scale != 1.0 {
                        x.iter_mut().for_each(|it| *it *= config.embedding_scale);
                    }
                }
            }
            Op::EmbedPositions => {
                let positions = pass.rows.iter().map(|row| row.position as usize);
                let table = &self.weights.matrices[&Slot::PositionEmbedding];
                add_rows(table, positions, registers.get(Register::Hidden));
            }
            Op::EmbedTypes => {
                let table = &self.weights.matrices[&Slot::TokenTypes];
                let types = pass.rows.iter().map(|_| 0);
                add_rows(table, types, registers.get(Register::Hidden));
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
                let gain = &self.weights.vectors[&gain];
                let bias = bias.map(|bias| &self.weights.vectors[&bias][..]);
                let rows = x
                    .chunks_exact(gain.len())
                    .zip(out.chunks_exact_mut(gain.len()));
                for (x, out) in rows {
                    normed(kind, x, gain, bias, config.norm_eps, out);
                }
                if from != to {
                    registers.put(from, x);
                }
            }
            Op::NormHeads { gain, of } => {
                let gain = &self.weights.vectors[&gain];
                for head in registers.get(of).chunks_exact_mut(gain.len()) {
                    vector::rms_norm_in_place(head, gain, config.norm_eps);
                }
            }
            Op::Linear {
                weight,
                bias,
                from,
                to,
                add,
            } => {
                let matrix = &self.weights.matrices[&weight];
                if self.inputs.of != Some(from) {
                    let x = registers.get(from);
                    self.inputs.activations.set(x, matrix.cols());
                    self.inputs.of = Some(from);
                }
                let floats = self.inputs.activations.tokens() * matrix.rows();
                let out = match add {
                    true => {
                        self.sum.resize(floats, 0.0);
                        &mut self.sum
                    }
                    false => registers.resize(to, floats),
                };
                self.kernels.matmul(matrix, &self.inputs.activations, out);
                if !self.adapters.is_empty() {
                    let stacks = stacks(pass, to);
                    let x = self.inputs.activations.values();
                    self.adapters.add(weight, &stacks, x, out);
                }
                if let Some(bias) = bias {
                    let bias = &self.weights.vectors[&bias];
                    for y in out.chunks_exact_mut(matrix.rows()) {
                        vector::add(y, bias);
                    }
                }
                if add {
                    vector::add(registers.get(to), &self.sum);
                }
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
                attention.apply(&q, mixed, &mut self.scratch);
                registers.put(Register::Q, q);
            }
            Op::Activate(activation) => {
                let mut up = registers.take(Register::Up);
                match activation {
                    Activation::GeluErf => vector::gelu_erf(&mut up),
                    Activation::GeluTanhGated => {
                        vector::gelu_tanh_mul(registers.get(Register::Gate), &up);
                    }
                    Activation::SiluGated => vector::silu_mul(registers.get(Register::Gate), &up),
                }
                registers.put(Register::Up, up);
            }
            Op::Add { from, to } => {
                let y = registers.take(from);
                vector::add(registers.get(to), &y);
                registers.put(from, y);
            }
            Op::CapLogits { cap } => vector::soft_cap(registers.get(Register::Logits), cap),
        }
    }
}

/// Adds row `ids[i]` of a table to row `i` of `hidden`.
fn add_rows(table: &Panels, ids: impl Iterator<Item = usize>, hidden: &mut [f32]) {
    let mut row = vec![0.0; table.cols()];
    for (x, id) in hidden.chunks_exact_mut(table.cols()).zip(ids) {
        table.row(id, &mut row);
        vector::add(x, &row);
    }
}

/// The adapters of every row that a register has.
fn stacks(pass: &Pass, of: Register) -> Vec<&[(AdapterId, f32)]> {
    let stack = |row: &PassRow| &pass.sequences[row.sequence as usize].adapters[..];
    match of {
        Register::Logits => {
            let wanted = pass.wanted.iter();
            wanted.map(|row| stack(&pass.rows[*row as usize])).collect()
        }
        Register::Hidden
        | Register::Normed
        | Register::Q
        | Register::K
        | Register::V
        | Register::Mixed
        | Register::Out
        | Register::Gate
        | Register::Up => pass.rows.iter().map(stack).collect(),
    }
}

/// One row, normed; without a bias [`NormKind::Layer`] adds nothing.
fn normed(
    kind: NormKind,
    x: &[f32],
    gain: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
    out: &mut [f32],
) {
    match (kind, bias) {
        (NormKind::Rms, None) => vector::rms_norm(x, gain, eps, out),
        (NormKind::Rms, Some(bias)) => {
            vector::rms_norm(x, gain, eps, out);
            vector::add(out, bias);
        }
        (NormKind::Layer, Some(bias)) => vector::layer_norm(x, gain, bias, eps, out),
        (NormKind::Layer, None) => {
            vector::layer_norm(x, gain, &vec![0.0; gain.len()], eps, out);
        }
    }
}

//! Interprets a [`Plan`] on the CPU: quantised weights times activations rounded to 8 bits.

use std::collections::BTreeMap;

use super::activations::Activations;
use super::attention::{Attention, Scratch};
use super::cache::Cache;
use super::crew::{Crew, together};
use super::kernels::{Kernels, kernels};
use super::linear::{Crewed, Product};
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
    turns: Turns,
    scratch: Scratch,
    adapters: CpuAdapters,
    /// What a matrix adds, before it is added.
    sum: Vec<f32>, // (rows, width)
    /// None where one worker computes everything.
    crew: Option<Crewed>,
}

/// The rounded form of a register, kept while matrices read the same one after another.
#[derive(Debug, Default)]
struct Inputs {
    activations: Activations,
    /// Which register it is of; none once anything but a matrix was computed.
    of: Option<Register>,
}

/// How the rows of a pass are rotated: the same in every layer of a kind.
#[derive(Debug, Default)]
struct Turns {
    everywhere: Vec<Vec<(f32, f32)>>,
    local: Vec<Vec<(f32, f32)>>,
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
        repack(&config, weights, None)
    }

    /// As [`CpuModel::new`], with members that hold and compute their share of it.
    ///
    /// # Errors
    /// As [`CpuModel::new`], and [`EngineError::MemberLost`].
    pub fn with_crew(
        config: ModelConfig,
        weights: Weights,
        crew: Box<dyn Crew>,
    ) -> Result<Self, EngineError> {
        repack(&config, weights, Some(crew))
    }

    /// A model with an empty cache.
    pub(super) fn over(config: ModelConfig, weights: CpuWeights, crew: Option<Crewed>) -> Self {
        let factors = config.rope.as_ref().and_then(|rope| rope.factors);
        let factors = factors.and_then(|slot| weights.vectors.get(&slot));
        let factors = factors.map_or(&[][..], Vec::as_slice);
        Self {
            plan: Plan::new(&config),
            rope: Rope::of(&config, factors),
            cache: Cache::new(&config, KvFormat::default()),
            registers: Registers::default(),
            inputs: Inputs::default(),
            turns: Turns::default(),
            scratch: Scratch::default(),
            adapters: CpuAdapters::default(),
            sum: Vec::new(),
            kernels: kernels(),
            weights,
            config,
            crew,
        }
    }

    /// Workers that compute: 1, or the crew and its leader.
    pub fn workers(&self) -> usize {
        1 + self.crew.as_ref().map_or(0, |it| it.crew.members())
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
    /// [`EngineError::OutOfMemory`] when the cache cannot grow; [`EngineError::MemberLost`].
    pub fn forward(&mut self, pass: &Pass) -> Result<Vec<f32>, EngineError> {
        self.run_body(pass)?;
        let dim = self.config.dim;
        let hidden = self.registers.take(Register::Hidden);
        let wanted = self.registers.get(Register::Hidden);
        for row in &pass.wanted {
            let at = *row as usize * dim;
            wanted.extend_from_slice(&hidden[at..at + dim]);
        }
        let head = self.plan.head.clone();
        self.apply_all(&head, pass)?;
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
        self.turns = Turns::default();
        let body = self.plan.body.clone();
        self.apply_all(&body, pass)
    }

    fn apply_all(&mut self, ops: &[Op], pass: &Pass) -> Result<(), EngineError> {
        let mut rest = ops;
        while let [op, after @ ..] = rest {
            let products = together(rest);
            if products.is_empty() {
                self.inputs.of = None;
                self.apply(op, pass)?;
                rest = after;
            } else {
                self.multiply(products, pass)?;
                rest = &rest[products.len()..];
            }
        }
        Ok(())
    }

    /// Computes products of one register, and what belongs to each: adapters, bias, sum.
    fn multiply(&mut self, ops: &[Op], pass: &Pass) -> Result<(), EngineError> {
        let mut products = Vec::with_capacity(ops.len());
        for op in ops {
            let Op::Linear {
                weight,
                from,
                to,
                add,
                ..
            } = *op
            else {
                continue;
            };
            let panels = &self.weights.matrices[&weight];
            if self.inputs.of != Some(from) {
                let x = self.registers.get(from);
                self.inputs.activations.set(x, panels.cols());
                self.inputs.of = Some(from);
            }
            let (rows, _) = weight.shape(&self.config);
            let mut out = match add {
                true => std::mem::take(&mut self.sum),
                false => self.registers.take(to),
            };
            out.resize(self.inputs.activations.tokens() * rows, 0.0);
            products.push((weight, panels, rows, out));
        }
        let mut parts: Vec<_> = products
            .iter_mut()
            .map(|(slot, panels, rows, out)| Product {
                slot: *slot,
                panels,
                rows: *rows,
                out,
            })
            .collect();
        let inputs = &self.inputs.activations;
        match &mut self.crew {
            Some(crew) => crew.multiply(self.kernels, inputs, &mut parts)?,
            None => {
                for Product { panels, out, .. } in parts {
                    self.kernels.matmul(panels, inputs, out);
                }
            }
        }
        let outs: Vec<Vec<f32>> = products.into_iter().map(|(_, _, _, out)| out).collect();
        for (op, out) in ops.iter().zip(outs) {
            self.complete(op, pass, out);
        }
        Ok(())
    }

    /// Adds to a product what is not in its matrix, and puts it where it belongs.
    fn complete(&mut self, op: &Op, pass: &Pass, mut out: Vec<f32>) {
        let Op::Linear {
            weight,
            bias,
            to,
            add,
            ..
        } = *op
        else {
            return;
        };
        if !self.adapters.is_empty() {
            let stacks = stacks(pass, to);
            let x = self.inputs.activations.values();
            self.adapters.add(weight, &stacks, x, &mut out);
        }
        if let Some(bias) = bias {
            let bias = &self.weights.vectors[&bias];
            for y in out.chunks_exact_mut(bias.len()) {
                vector::add(y, bias);
            }
        }
        if add {
            vector::add(self.registers.get(to), &out);
            self.sum = out;
        } else {
            self.registers.put(to, out);
        }
    }

    fn apply(&mut self, op: &Op, pass: &Pass) -> Result<(), EngineError> {
        let config = &self.config;
        let registers = &mut self.registers;
        match *op {
            Op::EmbedTokens => {
                let ids = pass.rows.iter().map(|row| row.token as usize);
                let ids: Vec<usize> = ids.collect();
                let slot = Slot::TokenEmbedding;
                let table = &self.weights.matrices[&slot];
                let hidden = registers.resize(Register::Hidden, pass.rows.len() * config.dim);
                let shared = self.crew.as_mut().and_then(|crew| {
                    let matrix = crew.division.matrix(slot)?;
                    Some((crew, (slot, matrix)))
                });
                match shared {
                    Some((crew, shared)) => crew.look_up(shared, table, &ids, hidden)?,
                    None => {
                        let rows = hidden.chunks_exact_mut(config.dim);
                        rows.zip(&ids).for_each(|(x, id)| table.row(*id, x));
                    }
                }
                if config.embedding_scale != 1.0 {
                    let scale = config.embedding_scale;
                    hidden.iter_mut().for_each(|it| *it *= scale);
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
            // They are computed by `multiply`.
            Op::Linear { .. } => {}
            Op::Rotate { local } => {
                let Some(rope) = &self.rope else {
                    return Ok(());
                };
                let (q_dim, kv_dim) = (config.q_dim(), config.kv_dim());
                let turns = match local {
                    true => &mut self.turns.local,
                    false => &mut self.turns.everywhere,
                };
                if turns.is_empty() {
                    let positions = pass.rows.iter().map(|row| row.position as usize);
                    turns.extend(positions.map(|position| rope.at(position, local)));
                }
                for (i, turns) in turns.iter().enumerate() {
                    let q = registers.get(Register::Q);
                    rope.rotate(turns, &mut q[i * q_dim..(i + 1) * q_dim]);
                    let k = registers.get(Register::K);
                    rope.rotate(turns, &mut k[i * kv_dim..(i + 1) * kv_dim]);
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
        Ok(())
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

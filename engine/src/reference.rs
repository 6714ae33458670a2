//! The forward pass as plainly as it can be written: the specification.
//!
//! Every faster path is held against it. Weights are dequantised when it is built; activations,
//! keys, values and sums are f64, so that its own rounding is out of the question when another
//! path differs. [`Rounding::Int8`] also rounds what the fast paths round, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::adapter::Adapter;
use crate::arch::{Activation, NormKind};
use crate::config::ModelConfig;
use crate::pass::{AdapterId, PAGE_LEN, Pass};
use crate::plan::{Op, Plan, Register};
use crate::rope::Rope;
use crate::sequences::{PageCopy, PageTurn};
use crate::weights::{Slot, Weights};

/// What is rounded on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Nothing.
    Exact,
    /// Inputs of quantised matrices, to 8 bits in groups of [`GROUP`] that share a scale; keys and
    /// values to f16.
    Int8,
}

/// channels; how many inputs of a quantised matrix share a scale.
pub const GROUP: usize = 32;

/// A model that computes slowly and legibly.
#[derive(Debug, Clone)]
pub struct ReferenceModel {
    config: ModelConfig,
    plan: Plan,
    rope: Option<Rope>,
    rounding: Rounding,
    tensors: BTreeMap<Slot, Dense>,
    adapters: BTreeMap<AdapterId, Arc<Adapter>>,
    /// One per layer, by place, `(kv_dim)` each.
    keys: Vec<BTreeMap<usize, Vec<f64>>>,
    /// One per layer, by place, `(kv_dim)` each.
    values: Vec<BTreeMap<usize, Vec<f64>>>,
}

#[derive(Debug, Clone)]
struct Dense {
    weights: Vec<f32>, // (rows, cols)
    cols: usize,
    quantised: bool,
}

/// Every register of a pass, one vector for each row.
type Registers = BTreeMap<Register, Vec<Vec<f64>>>;

impl ReferenceModel {
    /// Dequantises every weight; takes four bytes for each.
    pub fn new(config: ModelConfig, weights: &Weights, rounding: Rounding) -> Self {
        let dense = |(slot, matrix): (Slot, &crate::weights::Matrix)| {
            let quantised = matrix.format.block_len() > 1;
            let dense = Dense {
                weights: weights.floats(slot),
                cols: matrix.cols,
                quantised,
            };
            (slot, dense)
        };
        let factors = config.rope.as_ref().and_then(|rope| rope.factors);
        let factors = factors.map_or_else(Vec::new, |slot| weights.floats(slot));
        Self {
            plan: Plan::new(&config),
            rope: Rope::of(&config, &factors),
            rounding,
            tensors: weights.iter().map(dense).collect(),
            adapters: BTreeMap::new(),
            keys: vec![BTreeMap::new(); config.n_layers],
            values: vec![BTreeMap::new(); config.n_layers],
            config,
        }
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Keeps an adapter for the sequences that name it.
    pub(crate) fn add_adapter(&mut self, id: AdapterId, adapter: Arc<Adapter>) {
        self.adapters.insert(id, adapter);
    }

    /// Forgets an adapter.
    pub(crate) fn remove_adapter(&mut self, id: AdapterId) {
        self.adapters.remove(&id);
    }

    /// The logits of the wanted rows, `(wanted, vocab_size)`.
    pub fn forward(&mut self, pass: &Pass) -> Vec<f32> {
        let mut registers = self.run_body(pass);
        let hidden = registers.entry(Register::Hidden).or_default();
        *hidden = pass
            .wanted
            .iter()
            .map(|row| hidden[*row as usize].clone())
            .collect();
        for op in self.plan.head.clone() {
            self.apply(&op, pass, &mut registers);
        }
        let logits = registers.remove(&Register::Logits).unwrap_or_default();
        logits.into_iter().flatten().map(|it| it as f32).collect()
    }

    /// The last hidden state of every row, `(rows, dim)`.
    pub fn hidden(&mut self, pass: &Pass) -> Vec<f32> {
        let registers = self.run_body(pass);
        let hidden = &registers[&Register::Hidden];
        hidden.iter().flatten().map(|it| *it as f32).collect()
    }

    /// Copies a page of every layer.
    pub fn copy_page(&mut self, copy: PageCopy) {
        for plane in self.keys.iter_mut().chain(&mut self.values) {
            for i in 0..PAGE_LEN {
                if let Some(row) = plane.get(&(copy.from as usize * PAGE_LEN + i)).cloned() {
                    plane.insert(copy.to as usize * PAGE_LEN + i, row);
                }
            }
        }
    }

    /// Copies a page of every layer and takes its keys back.
    pub fn turn_page(&mut self, turn: PageTurn) {
        self.copy_page(PageCopy {
            from: turn.from,
            to: turn.to,
        });
        let Some(rope) = &self.rope else { return };
        for (layer, plane) in self.keys.iter_mut().enumerate() {
            let turns = rope.back(turn.by as usize, self.config.window_of(layer).is_some());
            for i in 0..PAGE_LEN {
                if let Some(row) = plane.get_mut(&(turn.to as usize * PAGE_LEN + i)) {
                    rotate(rope, &turns, row);
                }
            }
        }
    }

    fn run_body(&mut self, pass: &Pass) -> Registers {
        let mut registers = Registers::new();
        for op in self.plan.body.clone() {
            self.apply(&op, pass, &mut registers);
        }
        registers
    }

    fn apply(&mut self, op: &Op, pass: &Pass, registers: &mut Registers) {
        match *op {
            Op::EmbedTokens => {
                let table = &self.tensors[&Slot::TokenEmbedding];
                let scale = f64::from(self.config.embedding_scale);
                let embed = |row: &crate::pass::PassRow| {
                    let scaled = |it: &f32| f64::from(*it) * scale;
                    table.row(row.token as usize).iter().map(scaled).collect()
                };
                let hidden = pass.rows.iter().map(embed).collect();
                registers.insert(Register::Hidden, hidden);
            }
            Op::EmbedPositions => {
                let table = &self.tensors[&Slot::PositionEmbedding];
                for (x, row) in rows_of(registers, Register::Hidden).zip(&pass.rows) {
                    add_floats(x, table.row(row.position as usize));
                }
            }
            Op::EmbedTypes => {
                let table = &self.tensors[&Slot::TokenTypes];
                for x in rows_of(registers, Register::Hidden) {
                    add_floats(x, table.row(0));
                }
            }
            Op::Norm {
                kind,
                gain,
                bias,
                from,
                to,
            } => {
                let gain = self.tensors[&gain].row(0);
                let bias = bias.map(|bias| self.tensors[&bias].row(0));
                let eps = self.config.norm_eps.into();
                let norm = |x: &Vec<f64>| normed(kind, x, gain, bias, eps);
                let out = registers[&from].iter().map(norm).collect();
                registers.insert(to, out);
            }
            Op::NormHeads { gain, of } => {
                let gain = self.tensors[&gain].row(0);
                let eps = self.config.norm_eps.into();
                for x in rows_of(registers, of) {
                    for head in x.chunks_exact_mut(gain.len()) {
                        let out = normed(NormKind::Rms, head, gain, None, eps);
                        head.copy_from_slice(&out);
                    }
                }
            }
            Op::Linear {
                weight,
                bias,
                from,
                to,
                add,
            } => {
                let dense = &self.tensors[&weight];
                let round = self.rounding == Rounding::Int8 && dense.quantised;
                let linear = |(i, x): (usize, &Vec<f64>)| {
                    let mut y = match round {
                        true => dense.apply(&rounded(x)),
                        false => dense.apply(x),
                    };
                    let row = match to == Register::Logits {
                        true => pass.wanted[i] as usize,
                        false => i,
                    };
                    for (id, factor) in &pass.sequences[pass.rows[row].sequence as usize].adapters {
                        let pair = self.adapters.get(id).and_then(|it| it.pairs.get(&weight));
                        if let Some(pair) = pair {
                            let x: Vec<f32> = x.iter().map(|it| *it as f32).collect();
                            add_to(&mut y, &pair.output(*factor, &x));
                        }
                    }
                    if let Some(bias) = bias {
                        add_floats(&mut y, self.tensors[&bias].row(0));
                    }
                    y
                };
                let inputs = registers[&from].iter().enumerate();
                let out: Vec<Vec<f64>> = inputs.map(linear).collect();
                if add {
                    for (x, y) in rows_of(registers, to).zip(out) {
                        add_to(x, &y);
                    }
                } else {
                    registers.insert(to, out);
                }
            }
            Op::Rotate { local } => {
                let Some(rope) = &self.rope else { return };
                for of in [Register::Q, Register::K] {
                    for (x, row) in rows_of(registers, of).zip(&pass.rows) {
                        rotate(rope, &rope.at(row.position as usize, local), x);
                    }
                }
            }
            Op::Store { layer } => {
                for (i, row) in pass.rows.iter().enumerate() {
                    let place = row.place as usize;
                    let (k, v) = (&registers[&Register::K][i], &registers[&Register::V][i]);
                    let (k, v) = (self.cached(k), self.cached(v));
                    self.keys[layer].insert(place, k);
                    self.values[layer].insert(place, v);
                }
            }
            Op::Attend { layer, window } => {
                let q = &registers[&Register::Q];
                let attend = |(i, q): (usize, &Vec<f64>)| self.attend(pass, i, q, layer, window);
                let mixed = q.iter().enumerate().map(attend).collect();
                registers.insert(Register::Mixed, mixed);
            }
            Op::Activate(activation) => activate(activation, registers),
            Op::Add { from, to } => {
                let added = registers[&from].clone();
                for (x, y) in rows_of(registers, to).zip(added) {
                    add_to(x, &y);
                }
            }
            Op::CapLogits { cap } => {
                for logit in rows_of(registers, Register::Logits).flatten() {
                    *logit = capped(*logit, cap.into());
                }
            }
        }
    }

    /// Keys or values as they are kept.
    fn cached(&self, values: &[f64]) -> Vec<f64> {
        let rounded = |it: &f64| match self.rounding {
            Rounding::Exact => *it,
            Rounding::Int8 => half::f16::from_f64(*it).to_f64(),
        };
        values.iter().map(rounded).collect()
    }

    /// Every query head attends to what its row sees; neighbouring heads share keys and values.
    fn attend(
        &self,
        pass: &Pass,
        row: usize,
        q: &[f64], // (n_heads, head_dim)
        layer: usize,
        window: Option<usize>,
    ) -> Vec<f64> {
        let config = &self.config;
        let sequence = &pass.sequences[pass.rows[row].sequence as usize];
        let places: Vec<usize> = pass
            .seen(row, window, config.is_causal())
            .map(|position| sequence.place(position))
            .collect();
        let mut mixed = Vec::with_capacity(q.len());
        for (head, q) in q.chunks_exact(config.head_dim).enumerate() {
            let first = head / config.heads_per_kv() * config.head_dim;
            let channels = first..first + config.head_dim;
            let score = |place: &usize| {
                let score = dot(q, &self.keys[layer][place][channels.clone()])
                    * f64::from(config.attention_scale);
                match config.attention_softcap {
                    Some(cap) => capped(score, cap.into()),
                    None => score,
                }
            };
            let shares = softmax(&places.iter().map(score).collect::<Vec<_>>());
            for channel in channels.clone() {
                let of =
                    |(place, share): (&usize, &f64)| share * self.values[layer][place][channel];
                mixed.push(places.iter().zip(&shares).map(of).sum());
            }
        }
        mixed
    }
}

impl Dense {
    fn row(&self, row: usize) -> &[f32] {
        &self.weights[row * self.cols..(row + 1) * self.cols]
    }

    /// `W x`, `(rows)`.
    fn apply(&self, x: &[f64] /* (cols) */) -> Vec<f64> {
        let dot = |row: &[f32]| row.iter().zip(x).map(|(a, b)| f64::from(*a) * b).sum();
        self.weights.chunks_exact(self.cols).map(dot).collect()
    }
}

fn rows_of(registers: &mut Registers, of: Register) -> impl Iterator<Item = &mut Vec<f64>> {
    registers.get_mut(&of).into_iter().flatten()
}

/// Every group of [`GROUP`] as whole multiples of its largest magnitude / 127, halves to even: what
/// [`crate::cpu`] and [`crate::gpu`] feed to quantised matrices.
pub fn rounded(x: &[f64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.len());
    for group in x.chunks(GROUP) {
        let largest = group
            .iter()
            .fold(0.0_f32, |max, it| max.max((*it as f32).abs()));
        let scale = largest / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let round = |it: &f64| f64::from(libm::rintf(*it as f32 * inverse)) * f64::from(scale);
        out.extend(group.iter().map(round));
    }
    out
}

fn normed(kind: NormKind, x: &[f64], gain: &[f32], bias: Option<&[f32]>, eps: f64) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = match kind {
        NormKind::Layer => x.iter().sum::<f64>() / n,
        NormKind::Rms => 0.0,
    };
    let centred: Vec<f64> = x.iter().map(|x| x - mean).collect();
    let scale = 1.0 / libm::sqrt(dot(&centred, &centred) / n + eps);
    let scaled = centred
        .iter()
        .zip(gain)
        .map(|(x, gain)| x * scale * f64::from(*gain));
    let mut out: Vec<f64> = scaled.collect();
    if let Some(bias) = bias {
        add_floats(&mut out, bias);
    }
    out
}

fn rotate(rope: &Rope, turns: &[(f32, f32)], heads: &mut [f64]) {
    // Through f32 both ways would round; the pairs are few enough to be told one by one.
    let head_dim = rope.head_dim();
    for head in heads.chunks_exact_mut(head_dim) {
        for (pair, (cos, sin)) in turns.iter().enumerate() {
            let (i, j) = rope.pair(pair);
            let (cos, sin) = (f64::from(*cos), f64::from(*sin));
            let (a, b) = (head[i], head[j]);
            (head[i], head[j]) = (a * cos - b * sin, a * sin + b * cos);
        }
    }
}

fn activate(activation: Activation, registers: &mut Registers) {
    let up = registers[&Register::Up].clone();
    match activation {
        Activation::GeluErf => {
            for it in rows_of(registers, Register::Up).flatten() {
                *it = *it * 0.5 * (1.0 + libm::erf(*it / std::f64::consts::SQRT_2));
            }
        }
        Activation::GeluTanhGated | Activation::SiluGated => {
            for (gate, up) in rows_of(registers, Register::Gate).zip(up) {
                for (gate, up) in gate.iter_mut().zip(up) {
                    *gate = match activation {
                        Activation::GeluErf | Activation::GeluTanhGated => gelu_tanh(*gate),
                        Activation::SiluGated => *gate / (1.0 + libm::exp(-*gate)),
                    } * up;
                }
            }
        }
    }
}

/// `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))` (Hendrycks and Gimpel 2016).
fn gelu_tanh(x: f64) -> f64 {
    let inner = libm::sqrt(2.0 / std::f64::consts::PI) * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + libm::tanh(inner))
}

fn capped(x: f64, cap: f64) -> f64 {
    cap * libm::tanh(x / cap)
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| libm::exp(score - max)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_floats(x: &mut [f64], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += f64::from(*y);
    }
}

fn add_to(x: &mut [f64], y: &[f64]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

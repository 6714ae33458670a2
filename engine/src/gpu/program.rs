//! A [`Plan`] as kernels on buffers: made once, recorded for every pass.
//!
//! Operations become dispatches one to one, but for what pays to do at once: queries, keys and
//! values of one format are one product, and so are gate and input of a feed-forward layer, with the
//! activation where a single token goes through.

mod operations;

use std::collections::BTreeSet;

use thrum_shaders::{ADVANCE, ARGMAX, Kernel, QUANTIZE_ROWS};

use crate::arch::Activation;
use crate::config::ModelConfig;
use crate::gpu::bind::{Constants, Kernels, Sketch, Uniforms};
use crate::gpu::cache::Cache;
use crate::gpu::device::GpuDevice;
use crate::gpu::grid::{Across, Dispatch, Grid, Step};
use crate::gpu::layout::BLOCK_COLS;
use crate::gpu::linear::{self, Gate, Output};
use crate::gpu::lora::Loras;
use crate::gpu::rope::Turns;
use crate::gpu::space::{MAX_STEPS, Place, Space};
use crate::gpu::tensor::GpuTensor;
use crate::gpu::tuning::Ways;
use crate::gpu::upload::Tensors;
use crate::plan::{Op, Plan, Register};
use crate::weights::Slot;

pub(super) use operations::strips;

/// columns of a vector.
const QUAD: usize = 4;

/// Everything that a program is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) device: &'a GpuDevice,
    pub(super) config: &'a ModelConfig,
    pub(super) tensors: &'a Tensors,
    pub(super) turns: Option<&'a Turns>,
    pub(super) cache: &'a Cache,
    pub(super) space: &'a Space,
    pub(super) ways: &'a Ways,
    pub(super) loras: &'a Loras,
}

/// A plan on one device.
#[derive(Debug)]
pub(super) struct Program {
    /// For one row, and for several.
    body: [Vec<Dispatch>; 2],
    /// For one wanted row, and for several.
    head: [Vec<Dispatch>; 2],
    /// Choosing the next token of each wanted row.
    argmax: Dispatch,
    /// Making it the next row, by its place in the record.
    advance: Vec<Dispatch>,
}

impl Program {
    pub(super) async fn new(parts: Parts<'_>, kernels: &Kernels, plan: &Plan) -> Self {
        let mut uniforms = Uniforms::default();
        let mut list = |ops: &[Op], is_head: bool, is_many: bool| {
            let mut builder = Builder {
                parts,
                uniforms: &mut uniforms,
                is_head,
                is_many,
                packed: BTreeSet::new(),
                is_activated: false,
                steps: Vec::new(),
            };
            if is_head {
                builder.choose();
            }
            builder.build(ops);
            builder.steps
        };
        let lists = [
            list(&plan.body, false, false),
            list(&plan.body, false, true),
            list(&plan.head, true, false),
            list(&plan.head, true, true),
        ];
        let mut made = Vec::with_capacity(lists.len());
        for steps in lists {
            made.push(bound(parts.device, kernels, steps).await);
        }
        let greedy = bound(parts.device, kernels, greedy(parts, &mut uniforms)).await;
        let [one_head, many_head] = [made.remove(2), made.remove(2)];
        let [one_body, many_body] = [made.remove(0), made.remove(0)];
        let mut greedy = greedy.into_iter();
        Self {
            body: [one_body, many_body],
            head: [one_head, many_head],
            argmax: greedy.next().expect("the first of the greedy steps"),
            advance: greedy.collect(),
        }
    }

    /// Dispatches of a pass over `rows` rows, in order.
    pub(super) fn body(&self, rows: u32) -> &[Dispatch] {
        &self.body[usize::from(rows > 1)]
    }

    /// Dispatches from hidden states to logits.
    pub(super) fn head(&self, wanted: u32) -> &[Dispatch] {
        &self.head[usize::from(wanted > 1)]
    }

    /// Chooses the likeliest token of each wanted row.
    pub(super) fn argmax(&self) -> &Dispatch {
        &self.argmax
    }

    /// Makes what was chosen in step `step` the next rows.
    pub(super) fn advance(&self, step: usize) -> &Dispatch {
        &self.advance[step]
    }
}

pub(super) async fn bound(
    device: &GpuDevice,
    kernels: &Kernels,
    steps: Vec<Step>,
) -> Vec<Dispatch> {
    let (sketches, grids): (Vec<Sketch>, Vec<Grid>) = steps
        .into_iter()
        .map(|step| (step.sketch, step.grid))
        .unzip();
    let bound = kernels.bind(device, &sketches).await;
    bound
        .into_iter()
        .zip(grids)
        .map(|(bound, grid)| Dispatch { bound, grid })
        .collect()
}

fn greedy(parts: Parts<'_>, uniforms: &mut Uniforms) -> Vec<Step> {
    let Parts {
        device,
        config,
        space,
        ..
    } = parts;
    let logits = space.place(Register::Logits, true).buffer;
    let argmax = Step {
        sketch: Sketch {
            kernel: ARGMAX,
            constants: Constants::new(),
            buffers: vec![
                uniforms.of(device, &[config.vocab_size as u32]),
                logits.clone(),
                space.ids.clone(),
            ],
        },
        grid: Grid::new(1, Across::Token),
    };
    let advance = (0..MAX_STEPS as u32).map(|step| Step {
        sketch: Sketch {
            kernel: ADVANCE,
            constants: Constants::new(),
            buffers: vec![
                uniforms.of(device, &[step]),
                space.batch.clone(),
                space.ids.clone(),
                space.rows.clone(),
                space.record.clone(),
            ],
        },
        grid: Grid::new(1, Across::One),
    });
    std::iter::once(argmax).chain(advance).collect()
}

struct Builder<'a> {
    parts: Parts<'a>,
    uniforms: &'a mut Uniforms,
    is_head: bool,
    is_many: bool,
    /// Registers whose packed form is that of what they hold.
    packed: BTreeSet<Register>,
    /// Whether the gate lies in the buffer of activated inputs.
    is_activated: bool,
    steps: Vec<Step>,
}

impl<'a> Builder<'a> {
    fn build(&mut self, ops: &[Op]) {
        let mut ops = ops;
        while let [op, rest @ ..] = ops {
            if let Some(after) = self.gated(ops) {
                ops = after;
                continue;
            }
            self.op(op);
            ops = rest;
        }
    }

    fn op(&mut self, op: &Op) {
        match *op {
            Op::EmbedTokens => {
                self.embed(Slot::TokenEmbedding, 0, self.parts.config.embedding_scale)
            }
            Op::EmbedPositions => self.embed(Slot::PositionEmbedding, 1, 1.0),
            Op::EmbedTypes => self.embed(Slot::TokenTypes, 2, 1.0),
            Op::Norm {
                kind,
                gain,
                bias,
                from,
                to,
            } => self.norm(kind, gain, bias, from, to),
            Op::NormHeads { gain, of } => self.norm_heads(gain, of),
            Op::Linear {
                weight,
                bias,
                from,
                to,
                add,
            } => self.linear(weight, bias, from, to, add),
            Op::Rotate { local } => self.rotate(local),
            Op::Store { layer } => self.store(layer),
            Op::Attend { layer, window } => self.attend(layer, window),
            Op::Activate(activation) => self.activate(activation),
            Op::Add { from, to } => self.add(from, to),
            Op::CapLogits { cap } => self.cap(cap),
        }
    }

    fn params(&mut self, words: &[u32]) -> wgpu::Buffer {
        self.uniforms.of(self.parts.device, words)
    }

    /// What says how many rows there are.
    fn batch(&self) -> wgpu::Buffer {
        let space = self.parts.space;
        if self.is_head {
            &space.wanted_batch
        } else {
            &space.batch
        }
        .clone()
    }

    fn place(&self, register: Register) -> Place<'a> {
        let is_activated = self.is_activated && matches!(register, Register::Gate | Register::Up);
        match is_activated {
            true => self.parts.space.activated(),
            false => self.parts.space.place(register, self.is_head),
        }
    }

    fn push(
        &mut self,
        kernel: Kernel,
        constants: &[(&'static str, u32)],
        buffers: &[&wgpu::Buffer],
        grid: Grid,
    ) {
        self.steps.push(Step {
            sketch: Sketch {
                kernel,
                constants: constants.to_vec(),
                buffers: buffers.iter().copied().cloned().collect(),
            },
            grid,
        });
    }

    /// The single row of a gain or a bias.
    fn vector(&self, slot: Slot) -> &'a wgpu::Buffer {
        &self.parts.tensors.vector(slot).pieces[0].codes
    }

    fn linear(
        &mut self,
        weight: Slot,
        bias: Option<Slot>,
        from: Register,
        to: Register,
        add: bool,
    ) {
        let part = self.parts.tensors.matrix(weight);
        let x = self.place(from);
        if matches!(to, Register::Gate | Register::Up) {
            self.is_activated = false;
        }
        let y = self.place(to);
        // Of tensors that were joined, the first is multiplied with all of them: their outputs lie
        // side by side as they do.
        if part.first_row == 0 {
            self.product(part.tensor, Gate::None, from, x, y, add);
        }
        if let Some(bias) = bias {
            let bias = self.vector(bias);
            self.add_to(y, part.rows, bias, 0);
        }
        self.adapt(weight, x, y);
        self.packed.remove(&to);
    }

    fn product(
        &mut self,
        w: &GpuTensor,
        gate: Gate,
        from: Register,
        x: Place<'_>,
        y: Place<'_>,
        accumulate: bool,
    ) {
        let Parts { device, ways, .. } = self.parts;
        let way = ways.choose(w, gate, self.is_many);
        let x = match way.is_packed {
            true => self.pack(from, x),
            false => x.buffer,
        };
        let x = x.clone();
        let output = Output {
            y: y.buffer,
            start: y.start,
            cols: y.stride,
            accumulate,
        };
        let batch = self.batch();
        let steps = linear::product(device, self.uniforms, way, w, gate, &batch, &x, output);
        self.steps.extend(steps);
    }

    /// The packed form of a register.
    fn pack<'b>(&'b mut self, register: Register, x: Place<'_>) -> &'b wgpu::Buffer {
        let packed = self.parts.space.packed(x.stride);
        // Registers of one width share the room.
        let width = x.stride;
        let is_current = self.packed.contains(&register);
        if !is_current {
            let blocks = width / BLOCK_COLS;
            let params = self.params(&[blocks as u32]);
            let buffers = [&params, &self.batch(), x.buffer, packed];
            self.push(QUANTIZE_ROWS, &[], &buffers, Grid::threads(blocks));
            let others: Vec<Register> = self
                .packed
                .iter()
                .copied()
                .filter(|other| other.width(self.parts.config) == width)
                .collect();
            for other in others {
                self.packed.remove(&other);
            }
            self.packed.insert(register);
        }
        packed
    }

    /// Gate, input and activation of a feed-forward layer at once, where they are three operations
    /// on joined tensors and nothing else has a say in them; what follows, then.
    fn gated<'o>(&mut self, ops: &'o [Op]) -> Option<&'o [Op]> {
        let [
            Op::Linear {
                weight: gate,
                bias: None,
                from,
                to: Register::Gate,
                add: false,
            },
            Op::Linear {
                weight: up,
                bias: None,
                from: same,
                to: Register::Up,
                add: false,
            },
            Op::Activate(activation),
            after @ ..,
        ] = ops
        else {
            return None;
        };
        let part = self.parts.tensors.matrix(*gate);
        let is_adapted = [gate, up].iter().any(|slot| self.parts.loras.has(**slot));
        let is_joined = part.rows < part.tensor.rows;
        if self.is_many || is_adapted || !is_joined || from != same || part.tensor.pieces.len() > 1
        {
            return None;
        }
        let gate = match activation {
            Activation::SiluGated => Gate::Silu,
            Activation::GeluTanhGated => Gate::Gelu,
            Activation::GeluErf => return None,
        };
        let (x, y) = (self.place(*from), self.parts.space.activated());
        self.product(part.tensor, gate, *from, x, y, false);
        self.is_activated = true;
        self.packed.remove(&Register::Gate);
        Some(after)
    }

    /// Adds what the adapters of each row make of `x`.
    fn adapt(&mut self, slot: Slot, x: Place<'_>, y: Place<'_>) {
        let Parts {
            device,
            ways,
            loras,
            ..
        } = self.parts;
        let batch = self.batch();
        let steps = loras.steps(
            device,
            self.uniforms,
            ways,
            slot,
            self.is_head,
            self.is_many,
            &batch,
            x,
            y,
        );
        self.steps.extend(steps);
    }
}

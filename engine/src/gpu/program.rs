//! A [`Plan`] as kernels on buffers: made once, recorded for every pass.
//!
//! Operations become dispatches one to one, but for what pays to do at once: queries, keys and
//! values of one format are one product, and so are gate and input of a feed-forward layer, with the
//! activation where a single token goes through.

use std::collections::BTreeSet;

use thrum_shaders::{
    ACTIVATE, ADD_ROWS, ADVANCE, ARGMAX, ATTENTION, ATTENTION_THREAD, CACHE_STORE, EMBED,
    GATHER_ROWS, Kernel, NORM, NORM_IN_PLACE, QUANTIZE_ROWS, ROPE, SOFTCAP, THREADS,
};

use crate::arch::{Activation, NormKind, PairOrder};
use crate::config::ModelConfig;
use crate::gpu::bind::{Constants, Kernels, Sketch, Uniforms};
use crate::gpu::cache::{Cache, CacheFormat};
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

    /// The dispatches that choose tokens and make them rows, for step `step`.
    pub(super) fn greedy(&self, step: usize) -> [&Dispatch; 2] {
        [&self.argmax, &self.advance[step]]
    }
}

async fn bound(device: &GpuDevice, kernels: &Kernels, steps: Vec<Step>) -> Vec<Dispatch> {
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

    /// Only the wanted rows go on.
    fn choose(&mut self) {
        let quads = self.parts.config.dim / QUAD;
        let params = self.params(&[quads as u32]);
        let space = self.parts.space;
        let buffers = [
            &params,
            &self.batch(),
            space.place(Register::Hidden, true).buffer,
            space.place(Register::Hidden, false).buffer,
            &space.wanted,
        ];
        self.push(GATHER_ROWS, &[], &buffers, Grid::threads(quads));
    }

    /// Rows of a table by `key`, as `embed.wgsl` numbers it; all but tokens are added.
    fn embed(&mut self, slot: Slot, key: u32, scale: f32) {
        let table = self.parts.tensors.matrix(slot).tensor;
        let kernel = EMBED[table.layout.embed_format() as usize];
        for piece in &table.pieces {
            let params = self.params(&[
                piece.rows as u32,
                piece.first_row as u32,
                table.blocks(),
                key,
                piece.supers_at,
                u32::from(key != 0),
                scale.to_bits(),
            ]);
            let batch = self.batch();
            let hidden = self.place(Register::Hidden).buffer;
            let mut buffers = vec![
                &params,
                &batch,
                hidden,
                &self.parts.space.rows,
                &piece.codes,
            ];
            buffers.extend(&piece.scales);
            let grid = Grid::threads(table.blocks() as usize);
            self.push(kernel, &table.layout.constants(), &buffers, grid);
        }
        self.packed.remove(&Register::Hidden);
    }

    fn norm(
        &mut self,
        kind: NormKind,
        gain: Slot,
        bias: Option<Slot>,
        from: Register,
        to: Register,
    ) {
        let (x, y) = (self.place(from), self.place(to));
        self.norm_rows(kind, gain, bias, x, y, x.stride, 1);
        self.packed.remove(&to);
    }

    fn norm_heads(&mut self, gain: Slot, of: Register) {
        let ModelConfig {
            head_dim,
            n_heads,
            n_kv_heads,
            ..
        } = *self.parts.config;
        let heads = if of == Register::Q {
            n_heads
        } else {
            n_kv_heads
        };
        let place = self.place(of);
        self.norm_rows(NormKind::Rms, gain, None, place, place, head_dim, heads);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the operands of one operation"
    )]
    fn norm_rows(
        &mut self,
        kind: NormKind,
        gain: Slot,
        bias: Option<Slot>,
        x: Place<'_>,
        y: Place<'_>,
        width: usize,
        heads: usize,
    ) {
        let quads = |columns: usize| (columns / QUAD) as u32;
        let params = self.params(&[
            quads(width),
            quads(x.start),
            quads(x.stride),
            quads(y.start),
            quads(y.stride),
            self.parts.config.norm_eps.to_bits(),
        ]);
        let is_layer = kind == NormKind::Layer;
        let gain = self.vector(gain);
        let bias = match bias {
            Some(bias) => self.vector(bias),
            // An rms norm reads none, and only the layer norms of BERT exist, which have one.
            None => gain,
        };
        let batch = self.batch();
        let constants = [("LAYER", u32::from(is_layer))];
        let grid = Grid::new(heads as u32, Across::Token);
        if x.buffer == y.buffer {
            let buffers = [&params, &batch, y.buffer, gain, bias];
            self.push(NORM_IN_PLACE, &constants, &buffers, grid);
        } else {
            let buffers = [&params, &batch, y.buffer, gain, bias, x.buffer];
            self.push(NORM, &constants, &buffers, grid);
        }
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

    fn add_to(&mut self, y: Place<'_>, width: usize, x: &wgpu::Buffer, x_stride: usize) {
        let quads = |columns: usize| (columns / QUAD) as u32;
        let params = self.params(&[
            quads(width),
            quads(x_stride),
            quads(y.start),
            quads(y.stride),
        ]);
        let buffers = [&params, &self.batch(), y.buffer, x];
        self.push(ADD_ROWS, &[], &buffers, Grid::threads(width / QUAD));
    }

    fn add(&mut self, from: Register, to: Register) {
        let (x, y) = (self.place(from), self.place(to));
        self.add_to(y, x.stride, x.buffer, x.stride);
        self.packed.remove(&to);
    }

    fn rotate(&mut self, local: bool) {
        let config = self.parts.config;
        let (Some(rope), Some(turns)) = (&config.rope, self.parts.turns) else {
            return;
        };
        let place = self.place(Register::Q);
        // Keys lie behind queries: they are so many heads more.
        let heads = config.n_heads + config.n_kv_heads;
        let pairs = rope.dim / 2;
        let params = self.params(&[
            heads as u32,
            config.head_dim as u32,
            pairs as u32,
            u32::from(rope.order == PairOrder::Halves),
            place.start as u32,
            place.stride as u32,
        ]);
        let buffers = [
            &params,
            &self.batch(),
            place.buffer,
            &self.parts.space.rows,
            turns.table(local),
        ];
        self.push(ROPE, &[], &buffers, Grid::threads(heads * pairs));
    }

    fn store(&mut self, layer: usize) {
        let Parts {
            config,
            cache,
            space,
            ..
        } = self.parts;
        let quads = config.head_dim / QUAD;
        let (k, v) = (self.place(Register::K), self.place(Register::V));
        let params = self.params(&[
            config.n_kv_heads as u32,
            quads as u32,
            (k.start / QUAD) as u32,
            (k.stride / QUAD) as u32,
            (v.start / QUAD) as u32,
            (v.stride / QUAD) as u32,
        ]);
        let [keys, values] = &cache.layers[layer];
        let buffers = [
            &params,
            &self.batch(),
            k.buffer,
            &space.rows,
            &space.pages,
            keys,
            values,
            v.buffer,
        ];
        let grid = Grid::threads(config.n_kv_heads * strips(cache.format, quads));
        self.push(CACHE_STORE[cache.format as usize], &[], &buffers, grid);
    }

    fn attend(&mut self, layer: usize, window: Option<usize>) {
        let Parts {
            device,
            config,
            cache,
            space,
            ..
        } = self.parts;
        let quads = config.head_dim / QUAD;
        let q = self.place(Register::Q);
        let params = self.params(&[
            config.n_heads as u32,
            config.n_kv_heads as u32,
            quads as u32,
            (q.start / QUAD) as u32,
            (q.stride / QUAD) as u32,
            window.unwrap_or(0) as u32,
            config.attention_scale.to_bits(),
            config.attention_softcap.unwrap_or(0.0).to_bits(),
        ]);
        let [keys, values] = &cache.layers[layer];
        let buffers = [
            &params,
            &self.batch(),
            q.buffer,
            &space.rows,
            &space.pages,
            keys,
            values,
            self.place(Register::Mixed).buffer,
        ];
        // Barriers are dear where the CPU plays the GPU.
        let (kernels, grid) = match device.adapter().is_fallback {
            true => (
                ATTENTION_THREAD,
                Grid::new(0, Across::Flat(config.n_heads as u32)),
            ),
            false => (ATTENTION, Grid::new(config.n_heads as u32, Across::Token)),
        };
        self.push(kernels[cache.format as usize], &[], &buffers, grid);
        self.packed.remove(&Register::Mixed);
    }

    fn activate(&mut self, activation: Activation) {
        let (kind, register) = match activation {
            Activation::SiluGated => (1, Register::Gate),
            Activation::GeluTanhGated => (2, Register::Gate),
            Activation::GeluErf => (3, Register::Up),
        };
        let quads = |columns: usize| (columns / QUAD) as u32;
        let (gate, up) = (self.place(register), self.place(Register::Up));
        let width = self.parts.config.ffn_dim;
        let params = self.params(&[
            quads(width),
            quads(gate.start),
            quads(gate.stride),
            quads(up.start),
            quads(up.stride),
        ]);
        let y = self.parts.space.activated().buffer;
        let buffers = [&params, &self.batch(), y, gate.buffer, up.buffer];
        self.push(
            ACTIVATE,
            &[("KIND", kind)],
            &buffers,
            Grid::threads(width / QUAD),
        );
        self.is_activated = true;
        self.packed.remove(&register);
    }

    fn cap(&mut self, cap: f32) {
        let logits = self.place(Register::Logits);
        let params = self.params(&[logits.stride as u32, cap.to_bits()]);
        let groups = (logits.stride as u32).div_ceil(THREADS);
        let buffers = [&params, &self.batch(), logits.buffer];
        self.push(SOFTCAP, &[], &buffers, Grid::folded(groups, Across::Token));
    }
}

/// Threads that write one head of a row into the cache.
pub(super) fn strips(format: CacheFormat, quads: usize) -> usize {
    match format {
        CacheFormat::F32 | CacheFormat::F16 => quads,
        // All channels that share a scale.
        CacheFormat::Q8 => quads.div_ceil(BLOCK_COLS / QUAD),
    }
}

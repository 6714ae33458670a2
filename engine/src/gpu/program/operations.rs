//! The operations that are not products: one dispatch each.

use thrum_shaders::{
    ACTIVATE, ADD_ROWS, ATTENTION, ATTENTION_THREAD, CACHE_STORE, EMBED, GATHER_ROWS, NORM,
    NORM_IN_PLACE, ROPE, SOFTCAP, THREADS,
};

use super::{Builder, Parts, QUAD};
use crate::arch::{Activation, NormKind, PairOrder};
use crate::config::ModelConfig;
use crate::gpu::cache::CacheFormat;
use crate::gpu::grid::{Across, Grid};
use crate::gpu::layout::BLOCK_COLS;
use crate::gpu::space::Place;
use crate::plan::Register;
use crate::weights::Slot;

impl Builder<'_> {
    /// Only the wanted rows go on.
    pub(super) fn choose(&mut self) {
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
    pub(super) fn embed(&mut self, slot: Slot, key: u32, scale: f32) {
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

    pub(super) fn norm(
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

    pub(super) fn norm_heads(&mut self, gain: Slot, of: Register) {
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
    pub(super) fn norm_rows(
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

    pub(super) fn add_to(&mut self, y: Place<'_>, width: usize, x: &wgpu::Buffer, x_stride: usize) {
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

    pub(super) fn add(&mut self, from: Register, to: Register) {
        let (x, y) = (self.place(from), self.place(to));
        self.add_to(y, x.stride, x.buffer, x.stride);
        self.packed.remove(&to);
    }

    pub(super) fn rotate(&mut self, local: bool) {
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

    pub(super) fn store(&mut self, layer: usize) {
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

    pub(super) fn attend(&mut self, layer: usize, window: Option<usize>) {
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

    pub(super) fn activate(&mut self, activation: Activation) {
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

    pub(super) fn cap(&mut self, cap: f32) {
        let logits = self.place(Register::Logits);
        let params = self.params(&[logits.stride as u32, cap.to_bits()]);
        let groups = (logits.stride as u32).div_ceil(THREADS);
        let buffers = [&params, &self.batch(), logits.buffer];
        self.push(SOFTCAP, &[], &buffers, Grid::folded(groups, Across::Token));
    }
}

/// Threads that write one head of a row into the cache.
pub(in crate::gpu) fn strips(format: CacheFormat, quads: usize) -> usize {
    match format {
        CacheFormat::F32 | CacheFormat::F16 => quads,
        // All channels that share a scale.
        CacheFormat::Q8 => quads.div_ceil(BLOCK_COLS / QUAD),
    }
}

//! The forward pass as a list of dispatches, made once: every buffer, bind group and grid is fixed
//! but for the number of tokens in a batch, which a small uniform, the slice, tells the kernels.

use std::collections::BTreeMap;

use thrum_shaders::Kernel;

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gpu::bind::{Binder, Bound, Kernels};
use crate::gpu::device::GpuDevice;
use crate::gpu::rope;
use crate::gpu::upload::GpuTensor;
use crate::memory::MAX_BATCH;
use crate::quant::Format;
use crate::weights::{LayerSlot, Slot};

/// threads of a workgroup along x, the same in every kernel.
const THREADS: u32 = thrum_shaders::RMSNORM.workgroup[0];

/// columns that one thread of an elementwise kernel takes.
const QUAD: u32 = 4;

/// tokens that one thread of `matmul_tile` takes.
const TILE_TOKENS: u32 = 4;

const REPLACE: u32 = 0;
const ACCUMULATE: u32 = 1;

/// How the y axis of a grid follows the number of tokens.
#[derive(Debug, Clone, Copy)]
enum Rows {
    One,
    PerToken,
    PerTile,
}

/// One kernel on fixed buffers.
#[derive(Debug, Clone)]
struct Dispatch {
    bound: Bound,
    /// Workgroups along x. The bounds of [`ModelConfig`] keep it below WebGPU's 65,535.
    groups: u32,
    rows: Rows,
}

/// A model's forward pass on one device.
#[derive(Debug)]
pub(super) struct Plan {
    /// `(MAX_BATCH)` ids.
    token_ids: wgpu::Buffer,
    /// First position and number of tokens.
    slice: wgpu::Buffer,
    /// `(vocab_size)`
    pub(super) logits: wgpu::Buffer,
    /// All blocks, for one token.
    decode: Vec<Dispatch>,
    /// All blocks, for several.
    prefill: Vec<Dispatch>,
    /// From the last token's hidden state to its logits.
    head: Vec<Dispatch>,
}

impl Plan {
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when the cache or the working space does not fit.
    pub(super) fn new(
        device: &GpuDevice,
        config: &ModelConfig,
        tensors: &BTreeMap<Slot, GpuTensor>,
        kernels: &mut Kernels,
    ) -> Result<Self, EngineError> {
        let mut builder = Builder {
            config,
            tensors,
            space: Space::new(device, config)?,
            binder: Binder::new(device, kernels),
            decode: Vec::new(),
            prefill: Vec::new(),
        };
        builder.embedding();
        for layer in 0..config.n_layers {
            let k_cache = device.storage("keys", cache_bytes(config))?;
            let v_cache = device.storage("values", cache_bytes(config))?;
            builder.attention(layer, &k_cache, &v_cache);
            builder.feed_forward(layer);
        }
        let head = builder.head();
        let Builder {
            space,
            decode,
            prefill,
            ..
        } = builder;
        let Space {
            token_ids,
            slice,
            logits,
            ..
        } = space;
        Ok(Self {
            token_ids,
            slice,
            logits,
            decode,
            prefill,
            head,
        })
    }

    /// Tells the kernels which tokens come next and where; at most [`MAX_BATCH`].
    pub(super) fn set_slice(&self, queue: &wgpu::Queue, tokens: &[u32], start: u32) {
        queue.write_buffer(&self.token_ids, 0, bytemuck::cast_slice(tokens));
        let slice = [start, tokens.len() as u32];
        queue.write_buffer(&self.slice, 0, bytemuck::cast_slice(&slice));
    }

    /// Records the pass over `tokens` tokens, down to the last one's logits.
    pub(super) fn record(&self, encoder: &mut wgpu::CommandEncoder, tokens: u32) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let blocks = if tokens == 1 {
            &self.decode
        } else {
            &self.prefill
        };
        for dispatch in blocks.iter().chain(&self.head) {
            let rows = match dispatch.rows {
                Rows::One => 1,
                Rows::PerToken => tokens,
                Rows::PerTile => tokens.div_ceil(TILE_TOKENS),
            };
            pass.set_pipeline(&dispatch.bound.pipeline);
            pass.set_bind_group(0, &dispatch.bound.group, &[]);
            pass.dispatch_workgroups(dispatch.groups, rows, 1);
        }
    }
}

/// Working space, shared by all blocks; every shape is for one batch. A clone is the same buffers.
#[derive(Debug, Clone)]
struct Space {
    token_ids: wgpu::Buffer, // (tokens)
    slice: wgpu::Buffer,     // (2) words
    turns: wgpu::Buffer,     // (context, rope_dim / 2) of (cos, sin)
    hidden: wgpu::Buffer,    // (tokens, dim)
    normed: wgpu::Buffer,    // (tokens, dim)
    q: wgpu::Buffer,         // (tokens, heads, head_dim)
    k: wgpu::Buffer,         // (tokens, kv_heads, head_dim)
    v: wgpu::Buffer,         // (tokens, kv_heads, head_dim)
    scores: wgpu::Buffer,    // (tokens, heads, context)
    mixed: wgpu::Buffer,     // (tokens, heads, head_dim)
    gate: wgpu::Buffer,      // (tokens, ffn_dim)
    up: wgpu::Buffer,        // (tokens, ffn_dim)
    last: wgpu::Buffer,      // (dim)
    logits: wgpu::Buffer,    // (vocab_size)
}

impl Space {
    fn new(device: &GpuDevice, config: &ModelConfig) -> Result<Self, EngineError> {
        let floats = |what: &str, rows: usize, cols: usize| {
            device.storage(what, rows as u64 * cols as u64 * size_of::<f32>() as u64)
        };
        let per_token = |what: &str, cols: usize| floats(what, MAX_BATCH, cols);
        Ok(Self {
            token_ids: per_token("token ids", 1)?,
            slice: device.uniform(&[0, 0]),
            turns: rope::upload(device, config)?,
            hidden: per_token("hidden state", config.dim)?,
            normed: per_token("normed state", config.dim)?,
            q: per_token("queries", config.q_dim())?,
            k: per_token("new keys", config.kv_dim())?,
            v: per_token("new values", config.kv_dim())?,
            scores: floats(
                "attention scores",
                MAX_BATCH * config.n_heads,
                config.context_len,
            )?,
            mixed: per_token("mixed values", config.q_dim())?,
            gate: per_token("feed-forward gate", config.ffn_dim)?,
            up: per_token("feed-forward input", config.ffn_dim)?,
            last: floats("last state", 1, config.dim)?,
            logits: floats("logits", 1, config.vocab_size)?,
        })
    }
}

struct Builder<'a> {
    config: &'a ModelConfig,
    tensors: &'a BTreeMap<Slot, GpuTensor>,
    space: Space,
    binder: Binder<'a>,
    decode: Vec<Dispatch>,
    prefill: Vec<Dispatch>,
}

impl<'a> Builder<'a> {
    fn tensor(&self, slot: Slot) -> &'a GpuTensor {
        self.tensors
            .get(&slot)
            .expect("the upload checked that every tensor is there")
    }

    /// A dispatch that is the same for one token and for several.
    fn push(&mut self, bound: Bound, threads: usize, rows: Rows) {
        let dispatch = Dispatch {
            bound,
            groups: groups(threads),
            rows,
        };
        self.decode.push(dispatch.clone());
        self.prefill.push(dispatch);
    }

    fn embedding(&mut self) {
        let table = self.tensor(Slot::TokenEmbedding);
        let kernel = match table.format {
            Format::F32 => thrum_shaders::EMBED_GATHER_F32,
            Format::F16 => thrum_shaders::EMBED_GATHER_F16,
            Format::Q4_0 => thrum_shaders::EMBED_GATHER_Q4_0,
            Format::Q8_0 => thrum_shaders::EMBED_GATHER_Q8_0,
            Format::BF16
            | Format::Q4_1
            | Format::Q5_0
            | Format::Q5_1
            | Format::Q2_K
            | Format::Q3_K
            | Format::Q4_K
            | Format::Q5_K
            | Format::Q6_K
            | Format::IQ4_NL => no_kernel(),
        };
        let params = self.binder.params(&[table.rows as u32, table.cols as u32]);
        let Space {
            token_ids,
            slice,
            hidden,
            ..
        } = &self.space;
        let before = [&params, slice, token_ids];
        let bound = self
            .binder
            .bind(&kernel, &around(&before, table, &[hidden]));
        self.push(bound, table.cols / QUAD as usize, Rows::PerToken);
    }

    fn attention(&mut self, layer: usize, k_cache: &wgpu::Buffer, v_cache: &wgpu::Buffer) {
        let config = self.config;
        let slot = |slot| Slot::Layer(layer, slot);
        let Space {
            hidden,
            normed,
            q,
            k,
            v,
            mixed,
            ..
        } = self.space.clone();
        self.norm(slot(LayerSlot::AttnNorm));
        self.matrix(slot(LayerSlot::AttnQ), &normed, &q, REPLACE);
        self.matrix(slot(LayerSlot::AttnK), &normed, &k, REPLACE);
        self.matrix(slot(LayerSlot::AttnV), &normed, &v, REPLACE);

        let head_pairs = config.head_dim / 2;
        let params = self.binder.params(&[
            config.n_heads as u32,
            config.n_kv_heads as u32,
            head_pairs as u32,
            config.rope.as_ref().map_or(0, |rope| rope.dim / 2) as u32,
            config.context_len as u32,
        ]);
        let space = &self.space;
        let bound = self.binder.bind(
            &thrum_shaders::ROPE_KV,
            &[
                &params,
                &space.slice,
                &space.turns,
                &k,
                &v,
                &q,
                k_cache,
                v_cache,
            ],
        );
        self.push(
            bound,
            (config.n_heads + 2 * config.n_kv_heads) * head_pairs,
            Rows::PerToken,
        );

        let params = self.binder.params(&[
            config.n_heads as u32,
            config.n_kv_heads as u32,
            config.head_dim as u32,
            config.context_len as u32,
            (1.0 / (config.head_dim as f32).sqrt()).to_bits(),
        ]);
        let space = &self.space;
        let bound = self.binder.bind(
            &thrum_shaders::ATTENTION,
            &[
                &params,
                &space.slice,
                &q,
                k_cache,
                v_cache,
                &space.scores,
                &mixed,
            ],
        );
        self.push(bound, config.n_heads * THREADS as usize, Rows::PerToken);
        self.matrix(slot(LayerSlot::AttnOutput), &mixed, &hidden, ACCUMULATE);
    }

    fn feed_forward(&mut self, layer: usize) {
        let slot = |slot| Slot::Layer(layer, slot);
        let Space {
            hidden,
            normed,
            gate,
            up,
            slice,
            ..
        } = self.space.clone();
        self.norm(slot(LayerSlot::FfnNorm));
        self.matrix(slot(LayerSlot::FfnGate), &normed, &gate, REPLACE);
        self.matrix(slot(LayerSlot::FfnUp), &normed, &up, REPLACE);
        let params = self.binder.params(&[self.config.ffn_dim as u32]);
        let bound = self
            .binder
            .bind(&thrum_shaders::SILU_MUL, &[&params, &slice, &up, &gate]);
        self.push(bound, self.config.ffn_dim / QUAD as usize, Rows::PerToken);
        self.matrix(slot(LayerSlot::FfnDown), &gate, &hidden, ACCUMULATE);
    }

    /// Every token's hidden state, normed.
    fn norm(&mut self, slot: Slot) {
        let params = self.norm_params(false);
        let gains = &self.tensor(slot).quants;
        let Space {
            slice,
            hidden,
            normed,
            ..
        } = &self.space;
        let buffers = [&params, slice, hidden, gains, normed];
        let bound = self.binder.bind(&thrum_shaders::RMSNORM, &buffers);
        self.push(bound, THREADS as usize, Rows::PerToken);
    }

    fn norm_params(&mut self, last_only: bool) -> wgpu::Buffer {
        let ModelConfig { dim, norm_eps, .. } = *self.config;
        self.binder
            .params(&[dim as u32, norm_eps.to_bits(), u32::from(last_only)])
    }

    /// `y = W x`, or `y += W x`: row by row for one token, in tiles for several.
    fn matrix(&mut self, slot: Slot, x: &wgpu::Buffer, y: &wgpu::Buffer, accumulate: u32) {
        let w = self.tensor(slot);
        let vector = self.vector(w, x, y, accumulate);
        self.decode.push(vector);
        let params = self
            .binder
            .params(&[w.rows as u32, w.cols as u32, accumulate]);
        let before = [&params, &self.space.slice];
        let bound = self
            .binder
            .bind(&matmul(w.format), &around(&before, w, &[x, y]));
        self.prefill.push(Dispatch {
            bound,
            groups: groups(w.rows),
            rows: Rows::PerTile,
        });
    }

    fn vector(
        &mut self,
        w: &GpuTensor,
        x: &wgpu::Buffer,
        y: &wgpu::Buffer,
        accumulate: u32,
    ) -> Dispatch {
        let params = self
            .binder
            .params(&[w.rows as u32, w.cols as u32, accumulate]);
        let bound = self
            .binder
            .bind(&matvec(w.format), &around(&[&params], w, &[x, y]));
        Dispatch {
            bound,
            groups: groups(w.rows),
            rows: Rows::One,
        }
    }

    fn head(&mut self) -> Vec<Dispatch> {
        let params = self.norm_params(true);
        let gains = &self.tensor(Slot::OutputNorm).quants;
        let Space {
            slice,
            hidden,
            last,
            logits,
            ..
        } = self.space.clone();
        let buffers = [&params, &slice, &hidden, gains, &last];
        let bound = self.binder.bind(&thrum_shaders::RMSNORM, &buffers);
        let norm = Dispatch {
            bound,
            groups: 1,
            rows: Rows::One,
        };
        let output = if self.config.tied_output {
            Slot::TokenEmbedding
        } else {
            Slot::Output
        };
        vec![
            norm,
            self.vector(self.tensor(output), &last, &logits, REPLACE),
        ]
    }
}

/// `before`, the one or two buffers of `weights`, `after`: the order of every kernel that has weights.
fn around<'b>(
    before: &[&'b wgpu::Buffer],
    weights: &'b GpuTensor,
    after: &[&'b wgpu::Buffer],
) -> Vec<&'b wgpu::Buffer> {
    let weights = std::iter::once(&weights.quants).chain(&weights.scales);
    before
        .iter()
        .copied()
        .chain(weights)
        .chain(after.iter().copied())
        .collect()
}

/// Workgroups that hold `threads`.
fn groups(threads: usize) -> u32 {
    (threads as u32).div_ceil(THREADS)
}

fn cache_bytes(config: &ModelConfig) -> u64 {
    config.context_len as u64 * config.kv_dim() as u64 * size_of::<f32>() as u64
}

/// [`GpuUpload::begin`](super::GpuUpload) refuses the formats that have no kernels.
pub(super) fn no_kernel() -> ! {
    unreachable!("the upload refused this format")
}

fn matvec(format: Format) -> Kernel {
    match format {
        Format::F32 => thrum_shaders::MATVEC_ROW_F32,
        Format::F16 => thrum_shaders::MATVEC_ROW_F16,
        Format::Q4_0 => thrum_shaders::MATVEC_ROW_Q4_0,
        Format::Q8_0 => thrum_shaders::MATVEC_ROW_Q8_0,
        Format::BF16
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q2_K
        | Format::Q3_K
        | Format::Q4_K
        | Format::Q5_K
        | Format::Q6_K
        | Format::IQ4_NL => no_kernel(),
    }
}

fn matmul(format: Format) -> Kernel {
    match format {
        Format::F32 => thrum_shaders::MATMUL_TILE_F32,
        Format::F16 => thrum_shaders::MATMUL_TILE_F16,
        Format::Q4_0 => thrum_shaders::MATMUL_TILE_Q4_0,
        Format::Q8_0 => thrum_shaders::MATMUL_TILE_Q8_0,
        Format::BF16
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q2_K
        | Format::Q3_K
        | Format::Q4_K
        | Format::Q5_K
        | Format::Q6_K
        | Format::IQ4_NL => no_kernel(),
    }
}

//! The working space of a model: where every register lies, and what tells kernels about a pass.

use std::collections::BTreeMap;

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gpu::device::GpuDevice;
use crate::gpu::layout::BLOCK_COLS;
use crate::memory::MAX_BATCH;
use crate::pass::{PAGE_LEN, Pass};
use crate::plan::Register;

/// words of a row: token, position, first page in the table, positions that it may see.
const ROW_WORDS: usize = 4;

/// bytes of 32 packed activations: 32 signed bytes, a scale, two sums, four bytes of nothing.
const PACKED_BYTES: usize = 48;

/// tokens that are chosen on the GPU at most before the CPU is told: what one reads of an answer at
/// once, and 64 bytes for two sequences.
pub const MAX_STEPS: usize = 8;

/// Part of each row of a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) buffer: &'a wgpu::Buffer,
    /// First column.
    pub(super) start: usize,
    /// Columns of a row.
    pub(super) stride: usize,
}

/// What a pass needs room for beyond what never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capacity {
    /// Rows whose logits are wanted.
    wanted: usize,
    /// Words of the page table.
    table: usize,
}

impl Capacity {
    /// For a conversation.
    pub(super) const FIRST: Self = Self {
        wanted: 1,
        table: 256,
    };

    /// Room for `pass` and everything before; none when there is enough.
    pub(super) fn grown(self, pass: &Pass) -> Option<Self> {
        let table = pass.sequences.iter().map(|it| it.pages.len()).sum();
        let most = |have: usize, needed: usize| match needed > have {
            true => needed.next_power_of_two(),
            false => have,
        };
        let grown = Self {
            wanted: most(self.wanted, pass.wanted.len()),
            table: most(self.table, table),
        };
        (grown != self).then_some(grown)
    }
}

/// Buffers for the rows of one pass; every shape is for the largest.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) max_rows: usize,
    /// `(rows)` of token, position, table, end.
    pub(super) rows: wgpu::Buffer,
    /// Rows in use.
    pub(super) batch: wgpu::Buffer,
    /// Page table of every sequence.
    pub(super) pages: wgpu::Buffer,
    /// Rows whose logits are wanted.
    pub(super) wanted: wgpu::Buffer,
    /// How many.
    pub(super) wanted_batch: wgpu::Buffer,
    /// What was chosen for each wanted row.
    pub(super) ids: wgpu::Buffer,
    /// The same, step by step.
    pub(super) record: wgpu::Buffer,
    hidden: wgpu::Buffer,    // (rows, dim)
    chosen: wgpu::Buffer,    // (wanted, dim)
    normed: wgpu::Buffer,    // (rows, dim)
    out: wgpu::Buffer,       // (rows, dim)
    qkv: wgpu::Buffer,       // (rows, q_dim + 2 kv_dim)
    mixed: wgpu::Buffer,     // (rows, q_dim)
    gate_up: wgpu::Buffer,   // (rows, 2 ffn_dim)
    activated: wgpu::Buffer, // (rows, ffn_dim)
    logits: wgpu::Buffer,    // (wanted, vocab_size)
    /// Packed forms of what matrices read, by width.
    packed: BTreeMap<usize, wgpu::Buffer>, // (rows, width / 32) of 48 bytes
    dims: Dims,
}

#[derive(Debug, Clone, Copy)]
struct Dims {
    dim: usize,
    q_dim: usize,
    kv_dim: usize,
    ffn_dim: usize,
    vocab_size: usize,
    is_gated: bool,
}

impl Space {
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when the adapter cannot bind a buffer.
    pub(super) fn new(
        device: &GpuDevice,
        config: &ModelConfig,
        capacity: Capacity,
    ) -> Result<Self, EngineError> {
        // An encoder reads a text whole.
        let max_rows = match config.is_causal() {
            true => MAX_BATCH,
            false => config.context_len,
        };
        let dims = Dims {
            dim: config.dim,
            q_dim: config.q_dim(),
            kv_dim: config.kv_dim(),
            ffn_dim: config.ffn_dim,
            vocab_size: config.vocab_size,
            is_gated: config.facts().activation.is_gated(),
        };
        let words = |what: &str, rows: usize, cols: usize| {
            device.storage(what, rows as u64 * cols as u64 * 4)
        };
        let floats = |what: &str, cols: usize| words(what, max_rows, cols);
        let mut packed = BTreeMap::new();
        for width in [dims.dim, dims.q_dim, dims.ffn_dim] {
            if width % BLOCK_COLS == 0 && !packed.contains_key(&width) {
                let cols = width / BLOCK_COLS * (PACKED_BYTES / 4);
                packed.insert(width, floats("packed activations", cols)?);
            }
        }
        Ok(Self {
            max_rows,
            rows: words("rows", max_rows, ROW_WORDS)?,
            batch: device.uniform(&[0]),
            pages: words("page table", capacity.table, 1)?,
            wanted: words("wanted rows", max_rows, 1)?,
            wanted_batch: device.uniform(&[0]),
            ids: words("chosen tokens", max_rows, 1)?,
            record: words("chosen tokens", max_rows, MAX_STEPS)?,
            hidden: floats("hidden state", dims.dim)?,
            chosen: words("last state", capacity.wanted, dims.dim)?,
            normed: floats("normed state", dims.dim)?,
            out: floats("output of a layer", dims.dim)?,
            qkv: floats("queries, keys and values", dims.q_dim + 2 * dims.kv_dim)?,
            mixed: floats("mixed values", dims.q_dim)?,
            gate_up: floats("feed-forward gate and input", 2 * dims.ffn_dim)?,
            activated: floats("activated input", dims.ffn_dim)?,
            logits: words("logits", capacity.wanted, dims.vocab_size)?,
            packed,
            dims,
        })
    }

    /// Where `register` lies in the body of a pass or in its head, where the residual stream is
    /// that of the wanted rows.
    pub(super) fn place(&self, register: Register, is_head: bool) -> Place<'_> {
        let Dims {
            dim,
            q_dim,
            kv_dim,
            ffn_dim,
            vocab_size,
            is_gated,
        } = self.dims;
        let qkv = q_dim + 2 * kv_dim;
        let (buffer, start, stride) = match register {
            Register::Hidden if is_head => (&self.chosen, 0, dim),
            Register::Hidden => (&self.hidden, 0, dim),
            Register::Normed => (&self.normed, 0, dim),
            Register::Out => (&self.out, 0, dim),
            Register::Q => (&self.qkv, 0, qkv),
            Register::K => (&self.qkv, q_dim, qkv),
            Register::V => (&self.qkv, q_dim + kv_dim, qkv),
            Register::Mixed => (&self.mixed, 0, q_dim),
            Register::Gate => (&self.gate_up, 0, 2 * ffn_dim),
            Register::Up if is_gated => (&self.gate_up, ffn_dim, 2 * ffn_dim),
            Register::Up => (&self.gate_up, 0, ffn_dim),
            Register::Logits => (&self.logits, 0, vocab_size),
        };
        Place {
            buffer,
            start,
            stride,
        }
    }

    /// Where an activated gate lies.
    pub(super) fn activated(&self) -> Place<'_> {
        Place {
            buffer: &self.activated,
            start: 0,
            stride: self.dims.ffn_dim,
        }
    }

    /// Room for the packed form of something so wide.
    pub(super) fn packed(&self, width: usize) -> &wgpu::Buffer {
        self.packed
            .get(&width)
            .expect("there is one for the width of every coded matrix")
    }

    /// Tells the kernels about `pass`.
    pub(super) fn set(&self, queue: &wgpu::Queue, pass: &Pass, is_causal: bool) {
        let mut table: Vec<u32> = Vec::new();
        let mut first_page = Vec::with_capacity(pass.sequences.len());
        for sequence in &pass.sequences {
            first_page.push(table.len() as u32);
            table.extend(&sequence.pages);
        }
        let mut rows: Vec<[u32; ROW_WORDS]> = Vec::with_capacity(pass.rows.len());
        for row in &pass.rows {
            let sequence = row.sequence as usize;
            let end = match is_causal {
                true => row.position + 1,
                false => pass.sequences[sequence].len,
            };
            rows.push([row.token, row.position, first_page[sequence], end]);
        }
        let write = |buffer: &wgpu::Buffer, words: &[u32]| {
            queue.write_buffer(buffer, 0, bytemuck::cast_slice(words));
        };
        write(&self.pages, &table);
        write(&self.rows, rows.as_flattened());
        write(&self.batch, &[rows.len() as u32]);
        write(&self.wanted, &pass.wanted);
        write(&self.wanted_batch, &[pass.wanted.len() as u32]);
    }
}

/// Pages below this number are used by `pass`.
pub(super) fn pages_of(pass: &Pass) -> usize {
    let last = pass.sequences.iter().flat_map(|it| &it.pages).max();
    last.map_or(0, |page| *page as usize + 1)
}

const _: () = assert!(PAGE_LEN == 32, "pages.wgsl says so");

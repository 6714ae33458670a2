//! The shapes of published models: their dimensions, their tensors and their metadata.

use thrum_engine::synthetic::GgufWriter;

/// What [`Shape::named`] knows.
pub(crate) const NAMES: [&str; 2] = ["smollm2-135m", "qwen2.5-0.5b"];

/// Dimensions and constants, as the model's own configuration states them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) architecture: &'static str,
    pub(crate) pre_tokenizer: &'static str,
    pub(crate) n_layers: usize,
    dim: usize,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    ffn_dim: usize,
    pub(crate) vocab_size: usize,
    context_len: usize,
    rope_base: f32,
    norm_eps: f32,
    /// Whether queries, keys and values have a bias.
    qkv_bias: bool,
}

/// What a tensor's weights look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Token embedding that serves as the head too.
    TiedEmbedding,
    /// A matrix of a block.
    Matrix,
    /// The gains of a norm: about 1.
    Gain,
    /// About 0.
    Bias,
}

/// A tensor to be drawn.
#[derive(Debug, Clone)]
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Block it belongs to.
    pub(crate) layer: Option<usize>,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl TensorSpec {
    pub(crate) fn weights(&self) -> usize {
        self.rows * self.cols
    }

    /// As GGUF states them, fastest first.
    pub(crate) fn dims(&self) -> Vec<u64> {
        match self.role {
            Role::Gain | Role::Bias => vec![self.cols as u64],
            Role::TiedEmbedding | Role::Matrix => vec![self.cols as u64, self.rows as u64],
        }
    }
}

impl Shape {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "smollm2-135m" => Some(Self {
                architecture: "llama",
                pre_tokenizer: "smollm",
                n_layers: 30,
                dim: 576,
                n_heads: 9,
                n_kv_heads: 3,
                head_dim: 64,
                ffn_dim: 1536,
                vocab_size: 49_152,
                context_len: 8_192,
                rope_base: 100_000.0,
                norm_eps: 1e-5,
                qkv_bias: false,
            }),
            "qwen2.5-0.5b" => Some(Self {
                architecture: "qwen2",
                pre_tokenizer: "qwen2",
                n_layers: 24,
                dim: 896,
                n_heads: 14,
                n_kv_heads: 2,
                head_dim: 64,
                ffn_dim: 4_864,
                vocab_size: 151_936,
                context_len: 32_768,
                rope_base: 1_000_000.0,
                norm_eps: 1e-6,
                qkv_bias: true,
            }),
            _ => None,
        }
    }

    /// Every tensor, in the order of the file.
    pub(crate) fn tensors(&self) -> Vec<TensorSpec> {
        let tensor = |name: String, role, layer, rows, cols| TensorSpec {
            name,
            role,
            layer,
            rows,
            cols,
        };
        let mut tensors = vec![tensor(
            "token_embd.weight".to_owned(),
            Role::TiedEmbedding,
            None,
            self.vocab_size,
            self.dim,
        )];
        for layer in 0..self.n_layers {
            for (name, role, rows, cols) in self.block() {
                let name = format!("blk.{layer}.{name}");
                tensors.push(tensor(name, role, Some(layer), rows, cols));
            }
        }
        tensors.push(tensor(
            "output_norm.weight".to_owned(),
            Role::Gain,
            None,
            1,
            self.dim,
        ));
        tensors
    }

    /// Name, role, rows and columns of each tensor of a block.
    fn block(&self) -> Vec<(&'static str, Role, usize, usize)> {
        let (q_dim, kv_dim) = (
            self.n_heads * self.head_dim,
            self.n_kv_heads * self.head_dim,
        );
        let mut block = vec![
            ("attn_norm.weight", Role::Gain, 1, self.dim),
            ("attn_q.weight", Role::Matrix, q_dim, self.dim),
            ("attn_k.weight", Role::Matrix, kv_dim, self.dim),
            ("attn_v.weight", Role::Matrix, kv_dim, self.dim),
        ];
        if self.qkv_bias {
            block.extend([
                ("attn_q.bias", Role::Bias, 1, q_dim),
                ("attn_k.bias", Role::Bias, 1, kv_dim),
                ("attn_v.bias", Role::Bias, 1, kv_dim),
            ]);
        }
        block.extend([
            ("attn_output.weight", Role::Matrix, self.dim, q_dim),
            ("ffn_norm.weight", Role::Gain, 1, self.dim),
            ("ffn_gate.weight", Role::Matrix, self.ffn_dim, self.dim),
            ("ffn_up.weight", Role::Matrix, self.ffn_dim, self.dim),
            ("ffn_down.weight", Role::Matrix, self.dim, self.ffn_dim),
        ]);
        block
    }

    pub(crate) fn add_metadata(&self, writer: &mut GgufWriter) {
        let key = |name: &str| format!("{}.{name}", self.architecture);
        writer
            .text("general.architecture", self.architecture)
            .text("general.name", "synthetic")
            .uint(&key("block_count"), self.n_layers as u32)
            .uint(&key("embedding_length"), self.dim as u32)
            .uint(&key("attention.head_count"), self.n_heads as u32)
            .uint(&key("attention.head_count_kv"), self.n_kv_heads as u32)
            .uint(&key("feed_forward_length"), self.ffn_dim as u32)
            .uint(&key("context_length"), self.context_len as u32)
            .uint(&key("rope.dimension_count"), self.head_dim as u32)
            .float(&key("rope.freq_base"), self.rope_base)
            .float(&key("attention.layer_norm_rms_epsilon"), self.norm_eps);
    }
}

//! Which tensor is stored in which format, as llama.cpp's `llama-quantize` decides it.

use crate::blocks::{BlockFormat, SUPER_BLOCK};
use crate::shapes::{Role, Shape, TensorSpec};

/// What [`Mix::named`] knows.
pub(crate) const NAMES: [&str; 3] = ["q4_0", "q8_0", "q4_k_m"];

/// A file type of `llama-quantize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    Q4_0,
    Q8_0,
    Q4KM,
}

impl Mix {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "q4_0" => Some(Self::Q4_0),
            "q8_0" => Some(Self::Q8_0),
            "q4_k_m" => Some(Self::Q4KM),
            _ => None,
        }
    }

    /// `general.file_type`.
    pub(crate) fn file_type(self) -> u32 {
        match self {
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            Self::Q4KM => 15,
        }
    }

    /// The format of one tensor: what the mix wants, or its stand-in where rows are not whole
    /// super-blocks.
    pub(crate) fn format(self, shape: &Shape, tensor: &TensorSpec) -> BlockFormat {
        let wanted = match (tensor.role, self) {
            (Role::Gain | Role::Bias, _) => BlockFormat::F32,
            (Role::TiedEmbedding | Role::Matrix, Self::Q8_0) => BlockFormat::Q8_0,
            // A head decides every token: it is kept at 6 bits in whatever mix.
            (Role::TiedEmbedding, Self::Q4_0 | Self::Q4KM) => BlockFormat::Q6K,
            (Role::Matrix, Self::Q4_0) => BlockFormat::Q4_0,
            (Role::Matrix, Self::Q4KM) => {
                let sensitive = tensor.name.ends_with("attn_v.weight")
                    || tensor.name.ends_with("ffn_down.weight");
                let more_bits = tensor
                    .layer
                    .is_some_and(|layer| sensitive && wants_more_bits(layer, shape.n_layers));
                if more_bits {
                    BlockFormat::Q6K
                } else {
                    BlockFormat::Q4K
                }
            }
        };
        let whole = tensor.cols.is_multiple_of(SUPER_BLOCK);
        match wanted {
            BlockFormat::Q4K if !whole => BlockFormat::Q5_0,
            BlockFormat::Q6K if !whole => BlockFormat::Q8_0,
            BlockFormat::F32
            | BlockFormat::Q4_0
            | BlockFormat::Q5_0
            | BlockFormat::Q8_0
            | BlockFormat::Q4K
            | BlockFormat::Q6K => wanted,
        }
    }
}

/// The first and last eighth of the blocks, and every third between.
fn wants_more_bits(layer: usize, n_layers: usize) -> bool {
    let eighth = n_layers / 8;
    layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2
}

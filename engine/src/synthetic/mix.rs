//! Which matrix is stored in which format.

use crate::quant::{Format, K_BLOCK_LEN};

/// How the matrices of a file are stored; what is no matrix is F32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    non_camel_case_types,
    reason = "Q4_K_M is what the file type is called"
)]
pub enum Mix {
    /// All in one format; F32 where rows are not whole blocks.
    One(Format),
    /// llama.cpp's file type of that name: mostly Q4_K, Q6_K where errors cost most, and formats of
    /// 32 weights where rows are not multiples of 256.
    Q4_K_M,
}

/// What decides over a matrix besides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MixContext {
    /// Weights in a row.
    pub cols: usize,
    /// Transformer blocks of the model.
    pub n_layers: usize,
    /// The embedding is the output too.
    pub tied_output: bool,
}

impl Mix {
    /// The format of the matrix that GGUF calls `name`.
    pub fn format(self, name: &str, context: MixContext) -> Format {
        match self {
            Self::One(format) if context.cols.is_multiple_of(format.block_len()) => format,
            Self::One(_) => Format::F32,
            Self::Q4_K_M => q4_k_m(name, context),
        }
    }
}

/// `llama_tensor_get_type` for `LLAMA_FTYPE_MOSTLY_Q4_K_M` (llama.cpp `llama-quant.cpp`), models of
/// 70B and of experts apart.
fn q4_k_m(name: &str, context: MixContext) -> Format {
    let MixContext {
        cols,
        n_layers,
        tied_output,
    } = context;
    let is_output = name == "output.weight" || (tied_output && name == "token_embd.weight");
    let (layer, part) = name
        .strip_prefix("blk.")
        .and_then(|rest| rest.split_once('.'))
        .map_or((None, name), |(layer, part)| (layer.parse().ok(), part));
    let more_bits = layer.is_some_and(|layer| wants_more_bits(layer, n_layers));
    let (wanted, smaller) = match part {
        "attn_v.weight" | "ffn_down.weight" if more_bits => (Format::Q6_K, Format::Q8_0),
        "attn_qkv.weight" => (Format::Q5_K, Format::Q5_1),
        _ if is_output => (Format::Q6_K, Format::Q8_0),
        _ => (Format::Q4_K, Format::Q5_0),
    };
    if cols.is_multiple_of(K_BLOCK_LEN) {
        return wanted;
    }
    if cols.is_multiple_of(smaller.block_len()) {
        smaller
    } else {
        Format::F16
    }
}

/// The first and last eighth of the blocks, and every third between them.
fn wants_more_bits(layer: usize, n_layers: usize) -> bool {
    let eighth = n_layers / 8;
    layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(name: &str, cols: usize, tied_output: bool) -> Vec<Format> {
        let context = MixContext {
            cols,
            n_layers: 30,
            tied_output,
        };
        (0..30)
            .map(|layer| Mix::Q4_K_M.format(&name.replace('N', &layer.to_string()), context))
            .collect()
    }

    #[test]
    fn q4_k_m_is_what_llama_cpp_writes_for_smollm2_135m() {
        // 30 blocks: the first 3, the last 4, and every third between them.
        let better = [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29];
        let expected = |good, rest| -> Vec<Format> {
            (0..30)
                .map(|layer| if better.contains(&layer) { good } else { rest })
                .collect()
        };
        assert_eq!(
            formats("blk.N.ffn_down.weight", 1536, true),
            expected(Format::Q6_K, Format::Q4_K)
        );
        assert_eq!(
            formats("blk.N.attn_v.weight", 576, true),
            expected(Format::Q8_0, Format::Q5_0)
        );
        assert_eq!(
            formats("blk.N.attn_q.weight", 576, true),
            vec![Format::Q5_0; 30]
        );
        assert_eq!(formats("token_embd.weight", 576, true)[0], Format::Q8_0);
        assert_eq!(formats("token_embd.weight", 1024, true)[0], Format::Q6_K);
        assert_eq!(formats("token_embd.weight", 1024, false)[0], Format::Q4_K);
        assert_eq!(formats("output.weight", 1024, false)[0], Format::Q6_K);
        assert_eq!(
            formats("blk.N.attn_qkv.weight", 3072, false)[0],
            Format::Q5_K
        );
        assert_eq!(formats("blk.N.attn_q.weight", 24, false)[0], Format::F16);
    }
}

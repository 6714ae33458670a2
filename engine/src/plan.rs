//! The forward pass as a list of operations, made from a model's facts and sizes.
//!
//! Every back end interprets the same list over a [`crate::pass::Pass`]: rows of tokens, each with
//! its sequence and position. Operations read and write registers, `(rows, width)` each; which
//! architecture is computed shows in the list and nowhere else.

use crate::arch::{Activation, NormKind, NormPlace};
use crate::config::ModelConfig;
use crate::weights::{LayerSlot, Slot};

/// An activation of every row of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Register {
    /// The residual stream, `(rows, dim)`.
    Hidden,
    /// Its normed form, `(rows, dim)`.
    Normed,
    /// Queries, `(rows, n_heads, head_dim)`.
    Q,
    /// Keys, `(rows, n_kv_heads, head_dim)`.
    K,
    /// Values, `(rows, n_kv_heads, head_dim)`.
    V,
    /// Mixed values, `(rows, n_heads, head_dim)`.
    Mixed,
    /// What a block adds to the residual stream, `(rows, dim)`.
    Out,
    /// `(rows, ffn_dim)`
    Gate,
    /// `(rows, ffn_dim)`
    Up,
    /// `(wanted rows, vocab_size)`
    Logits,
}

impl Register {
    /// Channels of one row.
    pub fn width(self, config: &ModelConfig) -> usize {
        match self {
            Self::Hidden | Self::Normed | Self::Out => config.dim,
            Self::Q | Self::Mixed => config.q_dim(),
            Self::K | Self::V => config.kv_dim(),
            Self::Gate | Self::Up => config.ffn_dim,
            Self::Logits => config.vocab_size,
        }
    }
}

/// One operation on every row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// `hidden = token_embedding[token] * embedding_scale`.
    EmbedTokens,
    /// `hidden += position_embedding[position]`.
    EmbedPositions,
    /// `hidden += token_types[0]`.
    EmbedTypes,
    /// `to = norm(from) * gain + bias`, over the whole row; `from` may be `to`.
    Norm {
        /// Which norm.
        kind: NormKind,
        /// `(1, width)`
        gain: Slot,
        /// `(1, width)`
        bias: Option<Slot>,
        /// Read.
        from: Register,
        /// Written.
        to: Register,
    },
    /// Every head of `of` becomes its RMS norm times `gain`, `(1, head_dim)`.
    NormHeads {
        /// `(1, head_dim)`
        gain: Slot,
        /// [`Register::Q`] or [`Register::K`].
        of: Register,
    },
    /// `to = W from + bias`, or `to += W from + bias`.
    Linear {
        /// `(rows, cols)`
        weight: Slot,
        /// `(1, rows)`
        bias: Option<Slot>,
        /// `(cols)` of every row.
        from: Register,
        /// `(rows)` of every row.
        to: Register,
        /// Adds to what is there.
        add: bool,
    },
    /// Rotates every head of Q and K by the row's position.
    Rotate {
        /// With the frequencies of layers that see a window.
        local: bool,
    },
    /// Keeps K and V of every row in its place of the cache.
    Store {
        /// Whose cache.
        layer: usize,
    },
    /// `mixed = softmax(softcap(q k * scale)) v` over the positions that a row sees.
    Attend {
        /// Whose cache.
        layer: usize,
        /// Positions seen, the row's own included; none for all.
        window: Option<usize>,
    },
    /// `gate = activation(gate) * up`, or `up = activation(up)`.
    Activate(Activation),
    /// `to += from`.
    Add {
        /// Read.
        from: Register,
        /// Changed.
        to: Register,
    },
    /// `logits = cap * tanh(logits / cap)`.
    CapLogits {
        /// The bound.
        cap: f32,
    },
}

/// A model's forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// From token ids to the last hidden state, for every row.
    pub body: Vec<Op>,
    /// From the hidden state to logits, for the rows that want them; empty for encoders.
    pub head: Vec<Op>,
}

impl Plan {
    /// The list for a model of `config`.
    pub fn new(config: &ModelConfig) -> Self {
        let mut body = vec![Op::EmbedTokens];
        if config.slots.contains(&Slot::PositionEmbedding) {
            body.push(Op::EmbedTypes);
            body.push(Op::EmbedPositions);
        }
        if config.slots.contains(&Slot::EmbeddingNorm) {
            body.push(Op::Norm {
                kind: config.facts().norm,
                gain: Slot::EmbeddingNorm,
                bias: Some(Slot::EmbeddingNormBias),
                from: Register::Hidden,
                to: Register::Hidden,
            });
        }
        for layer in 0..config.n_layers {
            let mut block = Block {
                config,
                layer,
                ops: &mut body,
            };
            block.attention();
            block.feed_forward();
        }
        Self {
            body,
            head: head(config),
        }
    }

    /// Every operation.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.body.iter().chain(&self.head)
    }
}

fn head(config: &ModelConfig) -> Vec<Op> {
    if !config.is_causal() {
        return Vec::new();
    }
    let norm = Op::Norm {
        kind: config.facts().norm,
        gain: Slot::OutputNorm,
        bias: None,
        from: Register::Hidden,
        to: Register::Normed,
    };
    let logits = Op::Linear {
        weight: match config.tied_output {
            true => Slot::TokenEmbedding,
            false => Slot::Output,
        },
        bias: None,
        from: Register::Normed,
        to: Register::Logits,
        add: false,
    };
    let cap = config.logit_softcap.map(|cap| Op::CapLogits { cap });
    [norm, logits].into_iter().chain(cap).collect()
}

struct Block<'a> {
    config: &'a ModelConfig,
    layer: usize,
    ops: &'a mut Vec<Op>,
}

impl Block<'_> {
    fn attention(&mut self) {
        use LayerSlot as L;
        use Register as R;
        let source = self.input(L::AttnNorm);
        self.linear(L::AttnQ, L::AttnQBias, source, R::Q, false);
        self.linear(L::AttnK, L::AttnKBias, source, R::K, false);
        self.linear(L::AttnV, L::AttnVBias, source, R::V, false);
        for (gain, of) in [(L::AttnQNorm, R::Q), (L::AttnKNorm, R::K)] {
            if self.config.has(gain) {
                let gain = self.slot(gain);
                self.ops.push(Op::NormHeads { gain, of });
            }
        }
        let layer = self.layer;
        let window = self.config.window_of(layer);
        if self.config.rope.is_some() {
            self.ops.push(Op::Rotate {
                local: window.is_some(),
            });
        }
        self.ops.push(Op::Store { layer });
        self.ops.push(Op::Attend { layer, window });
        self.output(L::AttnOutput, L::AttnOutputBias, R::Mixed, L::AttnPostNorm);
        self.norm_sum(L::AttnOutputNorm, L::AttnOutputNormBias);
    }

    fn feed_forward(&mut self) {
        use LayerSlot as L;
        use Register as R;
        let activation = self.config.facts().activation;
        let source = self.input(L::FfnNorm);
        if activation.is_gated() {
            self.linear(L::FfnGate, L::FfnGateBias, source, R::Gate, false);
        }
        self.linear(L::FfnUp, L::FfnUpBias, source, R::Up, false);
        self.ops.push(Op::Activate(activation));
        let activated = match activation.is_gated() {
            true => R::Gate,
            false => R::Up,
        };
        self.output(L::FfnDown, L::FfnDownBias, activated, L::FfnPostNorm);
        self.norm_sum(L::LayerOutputNorm, L::LayerOutputNormBias);
    }

    /// What a sublayer reads: the normed residual stream, or the stream itself.
    fn input(&mut self, gain: LayerSlot) -> Register {
        if self.config.facts().norm_place == NormPlace::After {
            return Register::Hidden;
        }
        self.norm(gain, None, Register::Hidden, Register::Normed);
        Register::Normed
    }

    /// Adds what a sublayer computed to the residual stream, normed before where it has to be.
    fn output(&mut self, weight: LayerSlot, bias: LayerSlot, from: Register, norm: LayerSlot) {
        if !self.config.has(norm) {
            return self.linear(weight, bias, from, Register::Hidden, true);
        }
        self.linear(weight, bias, from, Register::Out, false);
        self.norm(norm, None, Register::Out, Register::Out);
        self.ops.push(Op::Add {
            from: Register::Out,
            to: Register::Hidden,
        });
    }

    /// Norms the residual stream itself, where the architecture does so.
    fn norm_sum(&mut self, gain: LayerSlot, bias: LayerSlot) {
        if self.config.has(gain) {
            self.norm(gain, Some(bias), Register::Hidden, Register::Hidden);
        }
    }

    fn norm(&mut self, gain: LayerSlot, bias: Option<LayerSlot>, from: Register, to: Register) {
        self.ops.push(Op::Norm {
            kind: self.config.facts().norm,
            gain: self.slot(gain),
            bias: bias.map(|bias| self.slot(bias)),
            from,
            to,
        });
    }

    fn linear(
        &mut self,
        weight: LayerSlot,
        bias: LayerSlot,
        from: Register,
        to: Register,
        add: bool,
    ) {
        self.ops.push(Op::Linear {
            weight: self.slot(weight),
            bias: self.config.has(bias).then(|| self.slot(bias)),
            from,
            to,
            add,
        });
    }

    fn slot(&self, slot: LayerSlot) -> Slot {
        Slot::Layer(self.layer, slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::synthetic::SyntheticModel;

    fn plan(architecture: Architecture) -> Plan {
        let model = SyntheticModel {
            architecture,
            ..SyntheticModel::SMALL
        };
        Plan::new(&model.config())
    }

    #[test]
    fn every_tensor_of_every_architecture_is_read() {
        for facts in &crate::arch::TABLE {
            let model = SyntheticModel {
                architecture: facts.architecture,
                ..SyntheticModel::SMALL
            };
            let config = model.config();
            let plan = Plan::new(&config);
            let read: Vec<Slot> = plan.ops().flat_map(slots_of).collect();
            for slot in Slot::all(&config) {
                assert!(read.contains(&slot), "{}: {}", facts.name, slot.name());
            }
        }
    }

    #[test]
    fn a_llama_block_is_what_the_paper_says() {
        let plan = plan(Architecture::Llama);
        let names: Vec<String> = plan.body[..14].iter().map(|op| format!("{op:?}")).collect();
        let starts = [
            "EmbedTokens",
            "Norm",
            "Linear",
            "Linear",
            "Linear",
            "Rotate",
            "Store",
            "Attend",
            "Linear",
            "Norm",
            "Linear",
            "Linear",
            "Activate",
            "Linear",
        ];
        for (name, start) in names.iter().zip(starts) {
            assert!(name.starts_with(start), "{name} is not {start}");
        }
    }

    #[test]
    fn an_encoder_has_no_logits() {
        assert!(plan(Architecture::Bert).head.is_empty());
        assert_eq!(plan(Architecture::Qwen3).head.len(), 2);
    }

    fn slots_of(op: &Op) -> Vec<Slot> {
        match *op {
            Op::EmbedTokens => vec![Slot::TokenEmbedding],
            Op::EmbedPositions => vec![Slot::PositionEmbedding],
            Op::EmbedTypes => vec![Slot::TokenTypes],
            Op::Norm { gain, bias, .. } => std::iter::once(gain).chain(bias).collect(),
            Op::NormHeads { gain, .. } => vec![gain],
            Op::Linear { weight, bias, .. } => std::iter::once(weight).chain(bias).collect(),
            Op::Rotate { .. }
            | Op::Store { .. }
            | Op::Attend { .. }
            | Op::Activate(_)
            | Op::Add { .. }
            | Op::CapLogits { .. } => Vec::new(),
        }
    }
}

//! Turns named halves of pairs, from whichever file, into a checked [`Adapter`].

use std::collections::BTreeMap;

use super::names::{Target, rows_are_permuted};
use super::{Adapter, AdapterError, LoraPair, MAX_RANK, MAX_SCALE};
use crate::config::ModelConfig;
use crate::quant::{Format, dequantize};
use crate::safetensors::TensorView;
use crate::weights::Slot;

/// The numbers of a half, still as they are stored.
#[derive(Debug)]
pub(super) enum Stored<'a> {
    /// In a safetensors file.
    Safetensors(TensorView<'a>),
    /// In a GGUF file, whole blocks.
    Gguf(Format, &'a [u8]),
}

/// A tensor of an adapter's file that is `A` or `B` of a pair.
#[derive(Debug)]
pub(super) struct Half<'a> {
    /// As the file names it, for messages.
    pub(super) tensor: String,
    /// Slowest first.
    pub(super) shape: Vec<u64>,
    pub(super) stored: Stored<'a>,
}

/// `A` and `B` of a target, as far as they have been seen.
#[derive(Debug, Default)]
pub(super) struct Halves<'a> {
    a: Option<Half<'a>>,
    b: Option<Half<'a>>,
}

/// Every pair of a file, by what it is for.
#[derive(Debug, Default)]
pub(super) struct Pairs<'a>(BTreeMap<Target, Halves<'a>>);

/// Which half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

/// The order in which a file has the rows of matrices that GGUF permutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrder {
    /// As Transformers has them.
    Transformers,
    /// As GGUF has them.
    Gguf,
}

impl<'a> Pairs<'a> {
    /// Takes a half for `target`.
    pub(super) fn push(
        &mut self,
        config: &ModelConfig,
        target: Target,
        side: Side,
        half: Half<'a>,
    ) -> Result<(), AdapterError> {
        if let Target::Layer(layer, _) = target
            && layer >= config.n_layers
        {
            let n_layers = config.n_layers;
            return Err(AdapterError::NoSuchLayer {
                tensor: half.tensor,
                layer,
                n_layers,
            });
        }
        if target == Target::Head && config.tied_output {
            return Err(AdapterError::Unsupported {
                what: half.tensor,
                reason: "this model's output matrix is its token embedding",
            });
        }
        let halves = self.0.entry(target).or_default();
        let place = match side {
            Side::A => &mut halves.a,
            Side::B => &mut halves.b,
        };
        match place {
            Some(first) => Err(AdapterError::SameHalf {
                first: first.tensor.clone(),
                second: half.tensor,
            }),
            None => {
                *place = Some(half);
                Ok(())
            }
        }
    }

    /// Checks every pair against the model; `scale_of` gives `alpha / rank` for the name of a
    /// pair's `A` and its rank.
    pub(super) fn assemble(
        self,
        name: String,
        config: &ModelConfig,
        order: RowOrder,
        scale_of: &dyn Fn(&str, usize) -> Result<f32, AdapterError>,
    ) -> Result<Adapter, AdapterError> {
        let mut pairs = BTreeMap::new();
        for (target, halves) in self.0 {
            let (a, b) = halves.both()?;
            let slots = target.slots();
            let rank = checked_rank(&a, &b, &slots, config)?;
            let scale = scale_of(&a.tensor, rank)?;
            if !scale.is_finite() || scale.abs() > MAX_SCALE {
                return Err(AdapterError::BadSetting {
                    key: format!("alpha / rank of {}", a.tensor),
                    value: scale.to_string(),
                    expected: format!("finite and at most {MAX_SCALE}"),
                });
            }
            let a = a.numbers()?; // (rank, cols)
            let b = b.numbers()?; // (rows, rank)
            let mut rows_before = 0;
            for slot in slots {
                let rows = slot.shape(config).0;
                let mut b = b[rows_before * rank..][..rows * rank].to_vec();
                rows_before += rows;
                if order == RowOrder::Transformers && rows_are_permuted(config, slot) {
                    b = gguf_row_order(&b, rank, config.head_dim);
                }
                pairs.insert(
                    slot,
                    LoraPair {
                        rank,
                        scale,
                        a: a.clone(),
                        b,
                    },
                );
            }
        }
        match pairs.values().map(|pair| pair.rank).max() {
            Some(rank) => Ok(Adapter { name, rank, pairs }),
            None => Err(AdapterError::Empty),
        }
    }
}

impl<'a> Halves<'a> {
    fn both(self) -> Result<(Half<'a>, Half<'a>), AdapterError> {
        match (self.a, self.b) {
            (Some(a), Some(b)) => Ok((a, b)),
            (Some(a), None) => Err(AdapterError::HalfMissing {
                tensor: a.tensor,
                missing: 'B',
            }),
            (None, Some(b)) => Err(AdapterError::HalfMissing {
                tensor: b.tensor,
                missing: 'A',
            }),
            (None, None) => Err(AdapterError::Empty),
        }
    }
}

impl Half<'_> {
    fn matrix_shape(&self) -> Result<[u64; 2], AdapterError> {
        self.shape
            .as_slice()
            .try_into()
            .map_err(|_| AdapterError::NotAMatrix {
                tensor: self.tensor.clone(),
                shape: self.shape.clone(),
            })
    }

    /// The numbers, row by row, all finite.
    fn numbers(&self) -> Result<Vec<f32>, AdapterError> {
        let numbers = match &self.stored {
            Stored::Safetensors(view) => view.to_f32(),
            Stored::Gguf(format, bytes) => {
                let n_numbers = bytes.len() / format.block_bytes() * format.block_len();
                let mut numbers = vec![0.0; n_numbers];
                dequantize(*format, bytes, &mut numbers);
                numbers
            }
        };
        match numbers.iter().position(|number| !number.is_finite()) {
            Some(index) => Err(AdapterError::NotFinite {
                tensor: self.tensor.clone(),
                index,
            }),
            None => Ok(numbers),
        }
    }
}

/// The pair's rank, once both shapes are those of the model's matrices.
fn checked_rank(
    a: &Half<'_>,
    b: &Half<'_>,
    slots: &[Slot],
    config: &ModelConfig,
) -> Result<usize, AdapterError> {
    let shapes: Vec<(usize, usize)> = slots.iter().map(|slot| slot.shape(config)).collect();
    let rows: usize = shapes.iter().map(|(rows, _)| rows).sum();
    let cols = shapes[0].1;
    let a_shape = a.matrix_shape()?;
    let b_shape = b.matrix_shape()?;
    let rank = a_shape[0];
    if rank == 0 || rank > MAX_RANK as u64 {
        let tensor = a.tensor.clone();
        return Err(AdapterError::BadRank {
            tensor,
            rank,
            max: MAX_RANK,
        });
    }
    for (half, found, expected) in [
        (a, a_shape, [rank, cols as u64]),
        (b, b_shape, [rows as u64, rank]),
    ] {
        if found != expected {
            let tensor = half.tensor.clone();
            return Err(AdapterError::WrongShape {
                tensor,
                found,
                expected,
            });
        }
    }
    Ok(rank as usize)
}

/// Puts the rows of queries or keys in GGUF's llama order: channel `i` of a head's first half and
/// channel `i` of its second, which rotate together, become neighbours.
pub(super) fn gguf_row_order(
    b: &[f32], /* (rows, rank) */
    rank: usize,
    head_dim: usize,
) -> Vec<f32> {
    reordered(b, rank, head_dim, |channel| {
        channel % 2 * (head_dim / 2) + channel / 2
    })
}

/// The inverse of [`gguf_row_order`].
pub(super) fn transformers_row_order(b: &[f32], rank: usize, head_dim: usize) -> Vec<f32> {
    reordered(b, rank, head_dim, |channel| {
        channel % (head_dim / 2) * 2 + channel / (head_dim / 2)
    })
}

fn reordered(b: &[f32], rank: usize, head_dim: usize, source: impl Fn(usize) -> usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(b.len());
    for head in b.chunks_exact(head_dim * rank) {
        for channel in 0..head_dim {
            out.extend_from_slice(&head[source(channel) * rank..][..rank]);
        }
    }
    out
}

//! Writes adapters as PEFT saves them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::assemble::transformers_row_order;
use super::names::{Family, rows_are_permuted};
use super::{Adapter, LoraPair};
use crate::config::ModelConfig;
use crate::safetensors::{self, F32Matrix};
use crate::weights::{LayerSlot, Slot};

/// The two files of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeftFiles {
    /// `adapter_config.json`
    pub config: Vec<u8>,
    /// `adapter_model.safetensors`, all F32.
    pub safetensors: Vec<u8>,
}

impl Adapter {
    /// The adapter as PEFT loads it, and as [`super::read_peft`] reads it back.
    ///
    /// Matrices that the architecture keeps in one (phi3's queries, keys and values) become one
    /// pair again: with the `A` they share, or with all of theirs one above the other.
    pub fn to_peft(&self, model: &ModelConfig) -> PeftFiles {
        let mut tensors = BTreeMap::new();
        let mut ranks = Map::new();
        let mut alphas = Map::new();
        let alpha_of = |pair: &LoraPair| f64::from(pair.scale) * pair.rank as f64;
        let default_alpha = self
            .pairs
            .values()
            .find(|pair| pair.rank == self.rank)
            .map_or(0.0, alpha_of);
        for (path, pair) in self.modules(model) {
            let name = path.strip_prefix("base_model.model.").unwrap_or(&path);
            if pair.rank != self.rank {
                ranks.insert(name.to_owned(), json!(pair.rank));
            }
            if alpha_of(&pair) != default_alpha {
                alphas.insert(name.to_owned(), json!(alpha_of(&pair)));
            }
            let (rows, cols, rank) = (pair.rows(), pair.cols(), pair.rank);
            let a = F32Matrix {
                rows: rank,
                cols,
                values: pair.a,
            };
            let b = F32Matrix {
                rows,
                cols: rank,
                values: pair.b,
            };
            tensors.insert(format!("{path}.lora_A.weight"), a);
            tensors.insert(format!("{path}.lora_B.weight"), b);
        }
        let config = json!({
            "peft_type": "LORA",
            "base_model_name_or_path": self.name,
            "r": self.rank,
            "lora_alpha": default_alpha,
            "rank_pattern": ranks,
            "alpha_pattern": alphas,
            "target_modules": target_modules(&tensors),
            "bias": "none",
            "use_rslora": false,
            "use_dora": false,
            "fan_in_fan_out": false,
            "lora_dropout": 0.0,
            "inference_mode": true,
            "init_lora_weights": true,
            "modules_to_save": null,
        });
        PeftFiles {
            config: format!("{config:#}\n").into_bytes(),
            safetensors: safetensors::write(&tensors),
        }
    }

    /// Pairs by PEFT's module paths, their rows in Transformers' order.
    fn modules(&self, model: &ModelConfig) -> BTreeMap<String, LoraPair> {
        let family = Family::of(model);
        let mut modules = BTreeMap::new();
        for layer in 0..model.n_layers {
            for (module, slots) in family.modules() {
                if let Some(pair) = self.module(model, layer, slots) {
                    modules.insert(format!("{}{layer}.{module}", family.peft_prefix()), pair);
                }
            }
        }
        if let Some(pair) = self.pairs.get(&Slot::Output) {
            modules.insert("base_model.model.lm_head".to_owned(), pair.clone());
        }
        modules
    }

    /// The pair of a module that is made of `slots`; none when it has none of them.
    fn module(&self, model: &ModelConfig, layer: usize, slots: &[LayerSlot]) -> Option<LoraPair> {
        let slots: Vec<Slot> = slots.iter().map(|slot| Slot::Layer(layer, *slot)).collect();
        let in_order = |slot: &Slot| {
            let mut pair = self.pairs.get(slot)?.clone();
            if rows_are_permuted(model, *slot) {
                pair.b = transformers_row_order(&pair.b, pair.rank, model.head_dim);
            }
            Some(pair)
        };
        let parts: Vec<Option<LoraPair>> = slots.iter().map(in_order).collect();
        let first = parts.iter().flatten().next()?;
        let same = |part: &Option<LoraPair>| {
            part.as_ref()
                .is_some_and(|part| part.a == first.a && part.scale == first.scale)
        };
        if parts.iter().all(same) {
            let b = parts
                .iter()
                .flatten()
                .flat_map(|part| part.b.iter().copied())
                .collect();
            return Some(LoraPair { b, ..first.clone() });
        }
        let rows: Vec<usize> = slots.iter().map(|slot| slot.shape(model).0).collect();
        Some(stacked(&parts, &rows))
    }
}

/// One pair for matrices of `rows` rows each that lie one above the other: all `A` one above the
/// other, and each `B`, with its scale, in the columns of its own.
fn stacked(parts: &[Option<LoraPair>], rows: &[usize]) -> LoraPair {
    let rank = parts.iter().flatten().map(|part| part.rank).sum();
    let a = parts
        .iter()
        .flatten()
        .flat_map(|part| part.a.iter().copied())
        .collect();
    let mut b = Vec::with_capacity(rows.iter().sum::<usize>() * rank);
    let mut before = 0;
    for (part, rows) in parts.iter().zip(rows) {
        let Some(part) = part else {
            b.resize(b.len() + rows * rank, 0.0);
            continue;
        };
        for row in part.b.chunks_exact(part.rank) {
            b.resize(b.len() + before, 0.0);
            b.extend(row.iter().map(|value| value * part.scale));
            b.resize(b.len() + rank - before - part.rank, 0.0);
        }
        before += part.rank;
    }
    LoraPair {
        rank,
        scale: 1.0,
        a,
        b,
    }
}

/// The last parts of the modules' names, each once.
fn target_modules(tensors: &BTreeMap<String, F32Matrix>) -> Vec<Value> {
    let mut names: Vec<&str> = tensors
        .keys()
        .filter_map(|name| name.strip_suffix(".lora_A.weight")?.rsplit('.').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Value::from).collect()
}

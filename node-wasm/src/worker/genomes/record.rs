//! What is known of a genome beside its numbers.

use crate::worker::messages::Genome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thrum_engine::adapter::Adapter;
use thrum_engine::config::ModelConfig;
use thrum_engine::weights::{LayerSlot, Slot};
use thrum_protocol::id::ModelId;

/// A genome that this node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) id: ModelId,
    /// for people
    pub(crate) name: String,
    pub(crate) rank: usize,
    /// what it adds to, by the name of the matrix
    pub(crate) targets: BTreeMap<String, Target>,
    /// bytes of each of its files, in order; one is GGUF, two are PEFT's
    pub(crate) lengths: Vec<u64>,
    pub(crate) architecture: String,
    /// name of the model it was taken for
    pub(crate) base: String,
    /// ms since 1970
    pub(crate) saved_millis: u64,
    /// whether all of it is in the storage
    #[serde(skip)]
    pub(crate) kept: bool,
}

/// A matrix that a genome adds to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// one more than the last layer; none for a matrix outside the layers
    pub(crate) layers: Option<usize>,
}

/// What an adapter adds to, in a model of `config`.
pub(crate) fn targets(adapter: &Adapter) -> BTreeMap<String, Target> {
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    for (slot, pair) in &adapter.pairs {
        let (name, layers) = match *slot {
            Slot::Layer(layer, slot) => (matrix(slot.name()), Some(layer + 1)),
            Slot::TokenEmbedding
            | Slot::PositionEmbedding
            | Slot::TokenTypes
            | Slot::EmbeddingNorm
            | Slot::EmbeddingNormBias
            | Slot::RopeFactors
            | Slot::RopeFactorsLong
            | Slot::RopeFactorsShort
            | Slot::OutputNorm
            | Slot::Output => (matrix(&slot.name()), None),
        };
        let target = targets.entry(name).or_insert(Target {
            rows: pair.rows(),
            cols: pair.cols(),
            layers,
        });
        target.layers = target.layers.max(layers);
    }
    targets
}

impl Record {
    /// What the page is told of it.
    pub(crate) fn told(&self, model: Option<&ModelConfig>, loaded: bool) -> Genome {
        let trouble = model.map(|model| self.misfit(model));
        Genome {
            id: self.id,
            name: self.name.clone(),
            rank: self.rank,
            targets: self.targets.keys().cloned().collect(),
            bytes: self.lengths.iter().sum(),
            architecture: self.architecture.clone(),
            base: self.base.clone(),
            fits: trouble.as_ref().map(Option::is_none),
            reason: trouble.flatten(),
            loaded,
            kept: self.kept,
            saved_millis: self.saved_millis,
        }
    }

    /// Why a model cannot wear it; none where it can.
    fn misfit(&self, model: &ModelConfig) -> Option<String> {
        let architecture = model.facts().name;
        if self.architecture != architecture {
            let own = &self.architecture;
            return Some(format!(
                "it is for {own} models and the loaded one is {architecture}"
            ));
        }
        let misfit = self
            .targets
            .iter()
            .find_map(|(name, target)| target.misfit(name, model));
        misfit.map(|what| format!("it is for another model: {what}"))
    }
}

impl Target {
    fn misfit(&self, name: &str, model: &ModelConfig) -> Option<String> {
        let slot = match self.layers {
            Some(_) => {
                let mut slots = LayerSlot::ALL.into_iter();
                slots
                    .find(|slot| matrix(slot.name()) == name)
                    .map(|slot| Slot::Layer(0, slot))
            }
            None => Some(Slot::Output),
        };
        let Some(slot) = slot.filter(|slot| Slot::all(model).any(|own| own == *slot)) else {
            return Some(format!("the loaded one has no matrix {name}"));
        };
        let (rows, cols) = slot.shape(model);
        if (rows, cols) != (self.rows, self.cols) {
            let (own_rows, own_cols) = (self.rows, self.cols);
            return Some(format!(
                "its {name} is {own_rows} by {own_cols}, that of the loaded one {rows} by {cols}"
            ));
        }
        let n_layers = model.n_layers;
        self.layers
            .filter(|layers| *layers > n_layers)
            .map(|layers| format!("it has {layers} layers, the loaded one {n_layers}"))
    }
}

fn matrix(tensor: &str) -> String {
    tensor.strip_suffix(".weight").unwrap_or(tensor).to_owned()
}

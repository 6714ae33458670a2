//! Takes a model's weights into panels while its file is being read.

use std::collections::BTreeMap;

use super::model::CpuModel;
use super::panels::{PanelBuilder, Panels};
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gguf::{GgufError, WeightSink};
use crate::weights::{Slot, TensorInfo, Weights};

/// The weights of a model on the CPU.
#[derive(Debug, Default)]
pub(super) struct CpuWeights {
    pub(super) matrices: BTreeMap<Slot, Panels>,
    /// Gains, biases and factors, one row each.
    pub(super) vectors: BTreeMap<Slot, Vec<f32>>,
}

/// What a tensor is becoming.
#[derive(Debug)]
enum Growing {
    Matrix(PanelBuilder),
    /// Bytes of floats.
    Vector(Vec<u8>),
}

/// A [`WeightSink`] that repacks every matrix as it arrives: no tensor is held twice.
#[derive(Debug, Default)]
pub struct PanelStore {
    config: Option<ModelConfig>,
    infos: Vec<TensorInfo>,
    growing: BTreeMap<usize, Growing>,
    weights: CpuWeights,
}

impl PanelStore {
    /// The model, once the reader has finished.
    ///
    /// # Errors
    /// [`GgufError::MissingTensor`] for the first tensor that was not written whole.
    pub fn into_model(mut self) -> Result<CpuModel, EngineError> {
        let missing = |slot: Slot| GgufError::MissingTensor { name: slot.name() };
        for tensor in 0..self.infos.len() {
            self.complete(tensor)?;
        }
        let config = self.config.ok_or_else(|| missing(Slot::TokenEmbedding))?;
        let has = |slot: &Slot| {
            self.weights.matrices.contains_key(slot) || self.weights.vectors.contains_key(slot)
        };
        if let Some(slot) = Slot::all(&config).find(|slot| !has(slot)) {
            return Err(missing(slot).into());
        }
        Ok(CpuModel::over(config, self.weights))
    }

    /// Ends a tensor of which every byte has come.
    fn complete(&mut self, tensor: usize) -> Result<(), EngineError> {
        let slot = self.infos[tensor].slot;
        match self.growing.remove(&tensor) {
            Some(Growing::Matrix(builder)) => {
                let panels = builder
                    .finish()
                    .map_err(|_| GgufError::MissingTensor { name: slot.name() })?;
                self.weights.matrices.insert(slot, panels);
            }
            Some(Growing::Vector(bytes)) => {
                let floats = bytes.as_chunks::<4>().0.iter();
                let floats = floats.map(|raw| f32::from_le_bytes(*raw)).collect();
                self.weights.vectors.insert(slot, floats);
            }
            None => {}
        }
        Ok(())
    }
}

impl WeightSink for PanelStore {
    fn begin(&mut self, config: &ModelConfig, tensors: &[TensorInfo]) -> Result<(), EngineError> {
        *self = Self {
            config: Some(config.clone()),
            infos: tensors.to_vec(),
            ..Self::default()
        };
        Ok(())
    }

    fn write(&mut self, tensor: usize, offset: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let info = &self.infos[tensor];
        if offset == 0 {
            let growing = match info.slot.is_matrix() {
                true => Growing::Matrix(PanelBuilder::new(info.format, info.rows, info.cols)?),
                false => Growing::Vector(Vec::new()),
            };
            self.growing.insert(tensor, growing);
        }
        match self.growing.get_mut(&tensor) {
            Some(Growing::Matrix(builder)) => builder.push(bytes)?,
            Some(Growing::Vector(held)) => held.extend_from_slice(bytes),
            None => {}
        }
        if offset + bytes.len() as u64 == info.bytes() {
            self.complete(tensor)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Repacks weights that are in memory, each giving its own place up.
pub(super) fn repack(
    config: &ModelConfig,
    mut weights: Weights,
) -> Result<CpuWeights, EngineError> {
    let mut repacked = CpuWeights::default();
    for slot in Slot::all(config) {
        if !slot.is_matrix() {
            repacked.vectors.insert(slot, weights.floats(slot));
        } else if let Some(matrix) = weights.take(slot) {
            let mut builder = PanelBuilder::new(matrix.format, matrix.rows, matrix.cols)?;
            builder.push(&matrix.bytes)?;
            repacked.matrices.insert(slot, builder.finish()?);
        }
    }
    Ok(repacked)
}

//! Takes a model's weights into panels while its file is being read.

use std::collections::BTreeMap;

use super::crew::{Crew, Division, MatrixId, Share};
use super::linear::Crewed;
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

/// A [`WeightSink`] that repacks every matrix as it arrives: no tensor is held twice. What a crew
/// holds goes there as it comes.
#[derive(Debug, Default)]
pub struct PanelStore {
    config: Option<ModelConfig>,
    infos: Vec<TensorInfo>,
    growing: BTreeMap<usize, Growing>,
    weights: CpuWeights,
    crew: Option<Box<dyn Crew>>,
    /// None before the header is known, or without a crew.
    division: Option<Division>,
}

impl PanelStore {
    /// A store that hands a crew its share.
    pub fn with_crew(crew: Box<dyn Crew>) -> Self {
        Self {
            crew: Some(crew),
            ..Self::default()
        }
    }

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
        let crewed = self.crew.zip(self.division);
        let crewed = crewed.map(|(crew, division)| Crewed::new(crew, division));
        Ok(CpuModel::over(config, self.weights, crewed))
    }

    /// Takes the next bytes of a tensor that is not shared.
    fn write_own(&mut self, tensor: usize, bytes: &[u8]) -> Result<(), EngineError> {
        match self.growing.get_mut(&tensor) {
            Some(Growing::Matrix(builder)) => builder.push(bytes),
            Some(Growing::Vector(held)) => {
                held.extend_from_slice(bytes);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Hands the next bytes of a shared matrix to whoever holds their rows.
    fn write_shared(
        &mut self,
        (tensor, matrix): (usize, MatrixId),
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), EngineError> {
        let (Some(crew), Some(division)) = (&mut self.crew, &self.division) else {
            return Ok(());
        };
        let info = &self.infos[tensor];
        let row_bytes = info.format.row_bytes(info.cols) as u64;
        for worker in 0..division.workers() {
            let rows = division.rows(info.slot, worker);
            let (first, end) = (rows.start as u64 * row_bytes, rows.end as u64 * row_bytes);
            let from = offset.max(first);
            let until = (offset + bytes.len() as u64).min(end);
            if from >= until {
                continue;
            }
            // Both are within the piece, whose length is a usize.
            let part = &bytes[(from - offset) as usize..(until - offset) as usize];
            let Some(member) = worker.checked_sub(1) else {
                if let Some(Growing::Matrix(builder)) = self.growing.get_mut(&tensor) {
                    builder.push(part)?;
                }
                continue;
            };
            if from == first {
                crew.hold(
                    member,
                    Share {
                        matrix,
                        format: info.format,
                        rows: rows.len(),
                        cols: info.cols,
                    },
                )?;
            }
            crew.write(member, matrix, part)?;
        }
        Ok(())
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
        let crew = self.crew.take().map(|crew| {
            let division = Division::new(config, crew.members());
            (crew, division)
        });
        // Members that would have nothing to do are let go.
        let (mut crew, division) = crew.filter(|(_, division)| !division.is_empty()).unzip();
        if let (Some(crew), Some(division)) = (&mut crew, &division) {
            let crew: &mut Box<dyn Crew> = crew;
            let division: &Division = division;
            crew.open(division.room())?;
        }
        *self = Self {
            config: Some(config.clone()),
            infos: tensors.to_vec(),
            crew,
            division,
            ..Self::default()
        };
        Ok(())
    }

    fn write(&mut self, tensor: usize, offset: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let info = &self.infos[tensor];
        let (slot, whole_bytes) = (info.slot, info.bytes());
        let division = self.division.as_ref();
        let shared = division.and_then(|it| Some((it, it.matrix(slot)?)));
        if offset == 0 {
            let rows = shared.map_or(info.rows, |(division, _)| division.rows(slot, 0).len());
            let growing = match slot.is_matrix() {
                true => Growing::Matrix(PanelBuilder::new(info.format, rows, info.cols)?),
                false => Growing::Vector(Vec::new()),
            };
            self.growing.insert(tensor, growing);
        }
        if let Some((_, matrix)) = shared {
            self.write_shared((tensor, matrix), offset, bytes)?;
        } else {
            self.write_own(tensor, bytes)?;
        }
        if offset + bytes.len() as u64 == whole_bytes {
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
    crew: Option<Box<dyn Crew>>,
) -> Result<CpuModel, EngineError> {
    let infos = weights.iter().map(|(slot, matrix)| TensorInfo {
        slot,
        format: matrix.format,
        rows: matrix.rows,
        cols: matrix.cols,
        offset: 0,
    });
    let infos: Vec<TensorInfo> = infos.collect();
    let mut store = PanelStore {
        crew,
        ..PanelStore::default()
    };
    store.begin(config, &infos)?;
    for (tensor, info) in infos.iter().enumerate() {
        if let Some(matrix) = weights.take(info.slot) {
            store.write(tensor, 0, &matrix.bytes)?;
        }
    }
    store.into_model()
}

//! The genomes that are in the engine, and what an answer wears of them.

use super::{Engine, failed_with};
use crate::worker::messages::{EngineEvent, GenomeFiles};
use std::collections::BTreeSet;
use std::sync::Arc;
use thrum_engine::adapter::{Adapter, AdapterError, read_gguf, read_peft};
use thrum_engine::config::ModelConfig;
use thrum_engine::error::EngineError;
use thrum_engine::pass::AdapterId;
use thrum_protocol::id::ModelId;
use thrum_protocol::sampling::GenomeUse;

/// Genomes and what the engine calls them.
#[derive(Debug, Default)]
pub(super) struct Wardrobe {
    /// the one that was worn last at the end
    loaded: Vec<(ModelId, AdapterId)>,
}

impl Wardrobe {
    fn adapter(&self, id: ModelId) -> Option<AdapterId> {
        let mut loaded = self.loaded.iter();
        loaded.find(|(own, _)| *own == id).map(|(_, it)| *it)
    }

    /// What a sequence wears; a genome at scale 0 is not worn, which is the same.
    ///
    /// # Errors
    /// [`EngineError::BadParameter`] for one that is not here, or is there twice.
    pub(super) fn stack(
        &mut self,
        uses: &[GenomeUse],
    ) -> Result<Vec<(AdapterId, f32)>, EngineError> {
        let mut stack = Vec::new();
        for (place, GenomeUse { id, scale }) in uses.iter().enumerate() {
            let twice = uses[..place].iter().any(|other| other.id == *id);
            let adapter = self.adapter(*id).filter(|_| !twice);
            let adapter = adapter.ok_or_else(|| EngineError::BadParameter {
                name: "genomes",
                value: id.to_string(),
                expected: match twice {
                    true => "each genome once".to_owned(),
                    false => "genomes that are loaded".to_owned(),
                },
            })?;
            self.touch(*id);
            if scale.size() != 0 {
                stack.push((adapter, scale.value()));
            }
        }
        Ok(stack)
    }

    fn touch(&mut self, id: ModelId) {
        if let Some(at) = self.loaded.iter().position(|(own, _)| *own == id) {
            let used = self.loaded.remove(at);
            self.loaded.push(used);
        }
    }
}

impl Engine {
    /// The model's sizes.
    pub(in crate::worker) fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// The model's name.
    pub(in crate::worker) fn name(&self) -> &str {
        &self.offer.name
    }

    /// Whether answers can wear a genome at once.
    pub(in crate::worker) fn has_genome(&self, id: ModelId) -> bool {
        self.wardrobe.adapter(id).is_some()
    }

    /// Checks a genome against the model and takes it. Where there is no room, those that nobody
    /// wears are put away, the longest unused first, but for `needed` ones.
    ///
    /// # Errors
    /// [`EngineError::Adapter`] where the model cannot wear it. Nothing has changed then.
    pub(in crate::worker) async fn add_genome(
        &mut self,
        id: ModelId,
        files: &GenomeFiles<Vec<u8>>,
        needed: &BTreeSet<ModelId>,
    ) -> Result<Arc<Adapter>, EngineError> {
        let config = self.model.config();
        let adapter = Arc::new(match files {
            GenomeFiles::Gguf(bytes) => read_gguf(bytes, config)?,
            GenomeFiles::Peft {
                config: text,
                weights,
            } => read_peft(text, weights, config)?,
        });
        if self.has_genome(id) {
            return Ok(adapter);
        }
        loop {
            match self.model.add_adapter(Arc::clone(&adapter)).await {
                Ok(added) => {
                    self.wardrobe.loaded.push((id, added));
                    return Ok(adapter);
                }
                Err(error) => match self.idle_genome(needed).filter(|_| is_of_room(&error)) {
                    Some(idle) => self.put_away(idle).await?,
                    None => return Err(error),
                },
            }
        }
    }

    /// Forgets a genome; answers that wear it end with an error.
    ///
    /// # Errors
    /// [`EngineError::GpuLost`]; it is forgotten all the same.
    pub(in crate::worker) async fn remove_genome(
        &mut self,
        id: ModelId,
        name: &str,
        tell: &dyn Fn(EngineEvent),
    ) -> Result<(), EngineError> {
        let wearing = self
            .jobs
            .iter()
            .filter(|(_, job)| job.genomes.contains(&id));
        let wearing: Vec<_> = wearing.map(|(job, _)| *job).collect();
        for job in wearing {
            self.scheduler.cancel(&mut self.model, job);
            if let Some(mut job) = self.jobs.remove(&job) {
                job.send(tell);
                let message = format!("the genome {name} was removed while the answer wore it");
                tell(failed_with(job.job, true, message));
            }
        }
        // What was read with it on will not be read so again.
        self.scheduler.forget_prefixes(&mut self.model);
        match self.has_genome(id) {
            true => self.put_away(id).await,
            false => Ok(()),
        }
    }

    async fn put_away(&mut self, id: ModelId) -> Result<(), EngineError> {
        let Some(adapter) = self.wardrobe.adapter(id) else {
            return Ok(());
        };
        self.wardrobe.loaded.retain(|(own, _)| *own != id);
        self.model.remove_adapter(adapter).await
    }

    /// The genome that was unused longest.
    fn idle_genome(&self, needed: &BTreeSet<ModelId>) -> Option<ModelId> {
        let worn = |id: &ModelId| self.jobs.values().any(|job| job.genomes.contains(id));
        let mut loaded = self.wardrobe.loaded.iter().map(|(id, _)| *id);
        loaded.find(|id| !needed.contains(id) && !worn(id))
    }
}

fn is_of_room(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Adapter(
            AdapterError::DoesNotFit { .. } | AdapterError::TooManyAdapters { .. }
        )
    )
}

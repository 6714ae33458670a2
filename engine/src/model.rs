//! A loaded model, whichever back end computes it, and the sequences it holds.

use std::sync::Arc;

use crate::adapter::Adapter;
use crate::adapter::registry::Registry;
use crate::config::{ModelConfig, Pooling};
use crate::cpu::CpuModel;
use crate::error::EngineError;
use crate::gpu::{GpuModel, MAX_STEPS};
use crate::pass::{AdapterId, PAGE_LEN, Pass};
use crate::reference::ReferenceModel;
use crate::sampler::Recipe;
use crate::sequences::{BatchRow, SequenceId, Sequences};

/// A model and the keys and values of many sequences.
#[derive(Debug)]
pub struct Model {
    config: ModelConfig,
    sequences: Sequences,
    adapters: Registry,
    backend: Backend,
}

/// bytes; what adapters may take together. One of rank 8 on every matrix of a model of 135 million
/// weights takes 10 MB.
const MAX_ADAPTER_BYTES: u64 = 512 << 20;

/// What computes.
#[derive(Debug)]
pub enum Backend {
    /// Quantised weights and vector kernels: what a tab without a GPU uses.
    Cpu(Box<CpuModel>),
    /// WGSL kernels.
    Gpu(Box<GpuModel>),
    /// The specification, slow.
    Reference(Box<ReferenceModel>),
}

impl From<CpuModel> for Backend {
    fn from(model: CpuModel) -> Self {
        Self::Cpu(Box::new(model))
    }
}

impl From<GpuModel> for Backend {
    fn from(model: GpuModel) -> Self {
        Self::Gpu(Box::new(model))
    }
}

impl From<ReferenceModel> for Backend {
    fn from(model: ReferenceModel) -> Self {
        Self::Reference(Box::new(model))
    }
}

impl Model {
    /// A model whose sequences together hold `max_positions` positions, in whole pages.
    pub fn new(backend: impl Into<Backend>, max_positions: usize) -> Self {
        let backend = backend.into();
        let config = backend.config().clone();
        let sequences = Sequences::new(
            config.context_len,
            config.vocab_size,
            max_positions.div_ceil(PAGE_LEN),
        );
        let sequences = match config.is_causal() {
            true => sequences,
            // An encoder reads a text whole.
            false => sequences.with_max_rows(config.context_len),
        };
        Self {
            config,
            sequences,
            adapters: Registry::new(MAX_ADAPTER_BYTES),
            backend,
        }
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What computes.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Tells a model on a GPU how long its passes take: one over a single row `one_ms`, one over
    /// several `row_ms` for each. Passes are cut then so that a page can draw in between.
    pub fn set_pass_times(&mut self, one_ms: f64, row_ms: f64) {
        match &mut self.backend {
            Backend::Gpu(model) => model.set_pass_times(one_ms, row_ms),
            Backend::Cpu(_) | Backend::Reference(_) => {}
        }
    }

    /// Which sequences there are.
    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// A sequence without tokens.
    ///
    /// # Errors
    /// As [`Sequences::open`].
    pub fn open(&mut self) -> Result<SequenceId, EngineError> {
        self.sequences.open()
    }

    /// Forgets a sequence.
    pub fn close(&mut self, id: SequenceId) {
        self.sequences.close(id);
    }

    /// Positions cached of a sequence.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`].
    pub fn len(&self, id: SequenceId) -> Result<usize, EngineError> {
        self.sequences.len(id)
    }

    /// Whether no sequence is open.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Forgets every position of a sequence from `len` on.
    ///
    /// # Errors
    /// As [`Sequences::truncate`].
    pub fn truncate(&mut self, id: SequenceId, len: usize) -> Result<(), EngineError> {
        self.sequences.truncate(id, len)
    }

    /// A new sequence that begins with the first `len` positions of `id`; nothing is computed.
    ///
    /// # Errors
    /// As [`Sequences::share_prefix`].
    pub fn share_prefix(&mut self, id: SequenceId, len: usize) -> Result<SequenceId, EngineError> {
        self.sequences.share_prefix(id, len)
    }

    /// Takes an adapter, which sequences may use from then on; the weights are not touched. Where
    /// the GPU is gone it is kept for the model that takes this one's place.
    ///
    /// # Errors
    /// As [`Registry::add`]; [`EngineError::GpuBufferTooLarge`]. Nothing has changed then.
    pub async fn add_adapter(
        &mut self,
        adapter: impl Into<Arc<Adapter>>,
    ) -> Result<AdapterId, EngineError> {
        let id = self.adapters.add(adapter)?;
        let adapter = Arc::clone(self.adapters.get(id).expect("it was just added"));
        match &mut self.backend {
            Backend::Cpu(model) => model.add_adapter(id, &adapter),
            Backend::Gpu(model) => match model.set_adapters(&listed(&self.adapters)).await {
                Ok(()) | Err(EngineError::GpuLost { .. }) => {}
                Err(error) => {
                    self.adapters.remove(id)?;
                    return Err(error);
                }
            },
            Backend::Reference(model) => model.add_adapter(id, adapter),
        }
        Ok(id)
    }

    /// Takes every adapter of a model whose place this one takes, each under the id it had there,
    /// in place of its own. Both are of one file.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] and [`EngineError::GpuLost`].
    pub async fn adopt_adapters(&mut self, adapters: &Registry) -> Result<(), EngineError> {
        self.adapters = adapters.clone();
        match &mut self.backend {
            Backend::Cpu(model) => {
                for (id, adapter) in self.adapters.iter() {
                    model.add_adapter(id, adapter);
                }
            }
            // Even no adapters at all cost a GPU a new program.
            Backend::Gpu(_) if self.adapters.iter().next().is_none() => {}
            Backend::Gpu(model) => model.set_adapters(&listed(&self.adapters)).await?,
            Backend::Reference(model) => {
                for (id, adapter) in self.adapters.iter() {
                    model.add_adapter(id, Arc::clone(adapter));
                }
            }
        }
        Ok(())
    }

    /// Forgets an adapter; sequences that used it go on without.
    ///
    /// # Errors
    /// [`crate::adapter::AdapterError::UnknownId`]; [`EngineError::GpuLost`].
    pub async fn remove_adapter(&mut self, id: AdapterId) -> Result<(), EngineError> {
        self.adapters.remove(id)?;
        match &mut self.backend {
            Backend::Cpu(model) => model.remove_adapter(id),
            Backend::Gpu(model) => model.set_adapters(&listed(&self.adapters)).await?,
            Backend::Reference(model) => model.remove_adapter(id),
        }
        Ok(())
    }

    /// The adapters that sequences may use.
    pub fn adapters(&self) -> &Registry {
        &self.adapters
    }

    /// Replaces the adapters of a sequence, each with its factor. What is cached stays as it was
    /// computed.
    ///
    /// # Errors
    /// As [`Registry::check_stack`] and [`Sequences::set_adapters`].
    pub fn set_adapters(
        &mut self,
        id: SequenceId,
        adapters: Vec<(AdapterId, f32)>,
    ) -> Result<(), EngineError> {
        self.adapters.check_stack(&adapters)?;
        self.sequences.set_adapters(id, adapters)
    }

    /// Drops `discard` positions after the first `keep`, both whole pages; what follows moves
    /// down and its keys are turned back by as much. What was computed from the dropped positions
    /// stays in the values.
    ///
    /// # Errors
    /// As [`Sequences::shift`].
    pub fn shift(
        &mut self,
        id: SequenceId,
        keep: usize,
        discard: usize,
    ) -> Result<(), EngineError> {
        for turn in self.sequences.shift(id, keep, discard)? {
            match &mut self.backend {
                Backend::Cpu(model) => model.turn_page(turn)?,
                Backend::Gpu(model) => model.turn_page(turn)?,
                Backend::Reference(model) => model.turn_page(turn),
            }
        }
        Ok(())
    }

    /// Appends `rows` to their sequences and returns the logits of those that want them, in their
    /// order, `(wanted, vocab_size)`. At most [`crate::memory::MAX_BATCH`] rows.
    ///
    /// # Errors
    /// As [`Sequences::begin`]; [`EngineError::WrongTask`] for an encoder;
    /// [`EngineError::GpuLost`]. The sequences are as before then, and the call can be made again.
    ///
    /// # Cancel safety
    /// A call that was dropped can be made again with the same arguments.
    pub async fn forward(&mut self, rows: &[BatchRow]) -> Result<Vec<f32>, EngineError> {
        if !self.config.is_causal() {
            return Err(self.wrong_task("continue a text"));
        }
        let pass = self.begin(rows)?;
        let logits = match &mut self.backend {
            Backend::Cpu(model) => model.forward(&pass)?,
            Backend::Gpu(model) => model.forward(&pass).await?,
            Backend::Reference(model) => model.forward(&pass),
        };
        self.sequences.commit(rows);
        Ok(logits)
    }

    /// Appends `tokens` to a sequence and returns the logits after the last, `(vocab_size)`.
    ///
    /// # Errors
    /// As [`Model::forward`].
    ///
    /// # Cancel safety
    /// As [`Model::forward`].
    pub async fn read(&mut self, id: SequenceId, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        let row = |(i, token): (usize, &u32)| BatchRow {
            sequence: id,
            token: *token,
            logits: i + 1 == tokens.len(),
        };
        let rows: Vec<BatchRow> = tokens.iter().enumerate().map(row).collect();
        self.forward(&rows).await
    }

    /// Whether choosing the likeliest token here saves bringing all logits to the CPU.
    pub fn chooses(&self) -> bool {
        matches!(self.backend, Backend::Gpu(_))
    }

    /// Appends `rows` as [`Model::forward`] does and returns the likeliest token after each that
    /// wants logits, in their order, the first of equals where several are. A GPU sends 4 bytes for
    /// each.
    ///
    /// # Errors
    /// As [`Model::forward`]; [`EngineError::LogitsNotFinite`] when a choice cannot be made.
    ///
    /// # Cancel safety
    /// As [`Model::forward`].
    pub async fn likeliest(&mut self, rows: &[BatchRow]) -> Result<Vec<u32>, EngineError> {
        if !self.config.is_causal() {
            return Err(self.wrong_task("continue a text"));
        }
        let pass = self.begin(rows)?;
        let wanted = pass.wanted.len();
        let ids = match &mut self.backend {
            Backend::Cpu(model) => largest_of_each(&model.forward(&pass)?, wanted, 0)?,
            Backend::Gpu(model) => model.likeliest(&pass).await?,
            Backend::Reference(model) => largest_of_each(&model.forward(&pass), wanted, 0)?,
        };
        self.sequences.commit(rows);
        Ok(ids)
    }

    /// The `steps` most likely tokens after each of `next`, which is appended to its sequence, as
    /// are all but the last that is chosen: `(steps, next)` ids, the first of equals where several
    /// are. On a GPU the CPU waits once for all of them. `next` times `steps` is at most
    /// [`crate::memory::MAX_BATCH`].
    ///
    /// # Errors
    /// As [`Model::forward`]; [`EngineError::LogitsNotFinite`] when a choice cannot be made.
    ///
    /// # Panics
    /// For no steps, or more than [`MAX_STEPS`].
    ///
    /// # Cancel safety
    /// As [`Model::forward`].
    pub async fn greedy(
        &mut self,
        next: &[(SequenceId, u32)],
        steps: usize,
    ) -> Result<Vec<u32>, EngineError> {
        self.ahead(next, steps, None).await
    }

    /// Appends `rows` as [`Model::forward`] does and returns the token after each that wants logits,
    /// in their order, chosen as `recipes` say, one for each. A GPU sends 4 bytes for each.
    ///
    /// # Errors
    /// As [`Model::likeliest`]; where a recipe allows no token [`EngineError::NothingAllowed`] or, on
    /// a GPU, [`EngineError::LogitsNotFinite`].
    ///
    /// # Panics
    /// When a recipe is missing.
    ///
    /// # Cancel safety
    /// As [`Model::forward`].
    pub async fn sample(
        &mut self,
        rows: &[BatchRow],
        recipes: &[Recipe],
    ) -> Result<Vec<u32>, EngineError> {
        if !self.config.is_causal() {
            return Err(self.wrong_task("continue a text"));
        }
        let pass = self.begin(rows)?;
        assert_eq!(recipes.len(), pass.wanted.len(), "each row has a recipe");
        let ids = match &mut self.backend {
            Backend::Cpu(model) => drawn_of_each(&mut model.forward(&pass)?, recipes, 0)?,
            Backend::Gpu(model) => model.sample(&pass, recipes, 1).await?,
            Backend::Reference(model) => drawn_of_each(&mut model.forward(&pass), recipes, 0)?,
        };
        self.sequences.commit(rows);
        Ok(ids)
    }

    /// `steps` tokens after each of `next` as [`Model::greedy`] gives them, chosen as `recipes` say,
    /// one for each of `next`.
    ///
    /// # Errors
    /// As [`Model::sample`].
    ///
    /// # Panics
    /// As [`Model::greedy`]; when a recipe is missing or has fewer steps.
    ///
    /// # Cancel safety
    /// As [`Model::forward`].
    pub async fn sample_ahead(
        &mut self,
        next: &[(SequenceId, u32)],
        recipes: &[Recipe],
        steps: usize,
    ) -> Result<Vec<u32>, EngineError> {
        assert_eq!(recipes.len(), next.len(), "each row has a recipe");
        self.ahead(next, steps, Some(recipes)).await
    }

    async fn ahead(
        &mut self,
        next: &[(SequenceId, u32)],
        steps: usize,
        recipes: Option<&[Recipe]>,
    ) -> Result<Vec<u32>, EngineError> {
        assert!((1..=MAX_STEPS).contains(&steps), "{steps} steps at once");
        let row = |(sequence, token): &(SequenceId, u32)| BatchRow {
            sequence: *sequence,
            token: *token,
            logits: true,
        };
        if !matches!(self.backend, Backend::Gpu(_)) {
            let rows = next.iter().map(row).collect();
            return self.step_by_step(rows, steps, recipes).await;
        }
        if !self.config.is_causal() {
            return Err(self.wrong_task("continue a text"));
        }
        // Room for every step; of the rows themselves only the first of each sequence is known.
        let rows: Vec<BatchRow> = next
            .iter()
            .flat_map(|next| std::iter::repeat_n(row(next), steps))
            .collect();
        let mut pass = self.begin(&rows)?;
        pass.rows = pass.rows.into_iter().step_by(steps).collect();
        pass.wanted = (0..pass.rows.len() as u32).collect();
        let Backend::Gpu(model) = &mut self.backend else {
            return Ok(Vec::new());
        };
        let ids = match recipes {
            Some(recipes) => model.sample(&pass, recipes, steps).await?,
            None => model.greedy(&pass, steps).await?,
        };
        self.sequences.commit(&rows);
        Ok(ids)
    }

    /// [`Model::ahead`] with a wait for every step.
    async fn step_by_step(
        &mut self,
        mut rows: Vec<BatchRow>,
        steps: usize,
        recipes: Option<&[Recipe]>,
    ) -> Result<Vec<u32>, EngineError> {
        let before: Vec<(SequenceId, usize)> = rows
            .iter()
            .map(|row| Ok((row.sequence, self.sequences.len(row.sequence)?)))
            .collect::<Result<_, EngineError>>()?;
        let mut ids = Vec::with_capacity(rows.len() * steps);
        for index in 0..steps {
            let step = match (self.forward(&rows).await, recipes) {
                (Ok(mut logits), Some(recipes)) => drawn_of_each(&mut logits, recipes, index),
                (Ok(logits), None) => largest_of_each(&logits, rows.len(), index),
                (Err(error), _) => Err(error),
            };
            match step {
                Ok(step) => {
                    rows.iter_mut()
                        .zip(&step)
                        .for_each(|(row, id)| row.token = *id);
                    ids.extend(step);
                }
                Err(error) => {
                    for (id, len) in before {
                        self.sequences.truncate(id, len)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(ids)
    }

    /// One vector for a text, of length 1, `(dim)`.
    ///
    /// # Errors
    /// As [`Model::forward`]; [`EngineError::WrongTask`] for a model without pooling.
    pub async fn embed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        let Some(pooling) = self.config.pooling else {
            return Err(self.wrong_task("embed a text"));
        };
        let id = self.sequences.open()?;
        let rows: Vec<BatchRow> = tokens
            .iter()
            .map(|token| BatchRow {
                sequence: id,
                token: *token,
                logits: false,
            })
            .collect();
        let hidden = match self.begin(&rows) {
            Ok(pass) => self.hidden(&pass).await,
            Err(error) => Err(error),
        };
        self.sequences.close(id);
        Ok(pooled(pooling, &hidden?, self.config.dim))
    }

    async fn hidden(&mut self, pass: &Pass) -> Result<Vec<f32>, EngineError> {
        match &mut self.backend {
            Backend::Cpu(model) => model.hidden(pass),
            Backend::Gpu(model) => model.hidden(pass).await,
            Backend::Reference(model) => Ok(model.hidden(pass)),
        }
    }

    fn begin(&mut self, rows: &[BatchRow]) -> Result<Pass, EngineError> {
        let (pass, copies) = self.sequences.begin(rows)?;
        for copy in copies {
            match &mut self.backend {
                Backend::Cpu(model) => model.copy_page(copy)?,
                Backend::Gpu(model) => model.copy_page(copy)?,
                Backend::Reference(model) => model.copy_page(copy),
            }
        }
        Ok(pass)
    }

    fn wrong_task(&self, task: &'static str) -> EngineError {
        EngineError::WrongTask {
            task,
            architecture: self.config.facts().name,
        }
    }
}

impl Backend {
    fn config(&self) -> &ModelConfig {
        match self {
            Self::Cpu(model) => model.config(),
            Self::Gpu(model) => model.config(),
            Self::Reference(model) => model.config(),
        }
    }
}

/// The column of the largest logit of each row, the first of equals.
fn largest_of_each(logits: &[f32], rows: usize, index: usize) -> Result<Vec<u32>, EngineError> {
    if !logits.iter().all(|logit| logit.is_finite()) {
        return Err(EngineError::LogitsNotFinite { index });
    }
    let largest = |row: &[f32]| {
        let mut best = 0;
        for (at, logit) in row.iter().enumerate() {
            if *logit > row[best] {
                best = at;
            }
        }
        best as u32
    };
    Ok(logits
        .chunks_exact((logits.len() / rows.max(1)).max(1))
        .map(largest)
        .collect())
}

/// The token that each recipe makes of its row of logits.
fn drawn_of_each(
    logits: &mut [f32],
    recipes: &[Recipe],
    step: usize,
) -> Result<Vec<u32>, EngineError> {
    let cols = (logits.len() / recipes.len().max(1)).max(1);
    let rows = logits.chunks_exact_mut(cols).zip(recipes);
    rows.map(|(row, recipe)| recipe.choose(row, step)).collect()
}

/// Every adapter as the GPU takes them.
fn listed(adapters: &Registry) -> Vec<(AdapterId, &Adapter)> {
    let all = adapters.iter();
    all.map(|(id, adapter)| (id, &**adapter)).collect()
}

/// One vector of length 1 from the hidden states of a text.
fn pooled(pooling: Pooling, hidden: &[f32], dim: usize) -> Vec<f32> {
    let mut rows = hidden.chunks_exact(dim);
    let mut out = match pooling {
        Pooling::First => rows.next().unwrap_or_default().to_vec(),
        Pooling::Last => rows.next_back().unwrap_or_default().to_vec(),
        Pooling::Mean => {
            let mut sum = vec![0.0; dim];
            for row in rows {
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            sum
        }
    };
    let square: f64 = out.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let scale = if square > 0.0 {
        (1.0 / libm::sqrt(square)) as f32
    } else {
        0.0
    };
    out.iter_mut().for_each(|x| *x *= scale);
    out
}

//! A model on the GPU: passes in, logits, hidden states or chosen tokens out.

use std::collections::BTreeMap;

use crate::adapter::Adapter;
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gpu::bind::Kernels;
use crate::gpu::cache::{Cache, CacheFormat};
use crate::gpu::device::GpuDevice;
use crate::gpu::drawing::{Drawing, Ends, Needs};
use crate::gpu::lora::Loras;
use crate::gpu::page_turn::PageTurner;
use crate::gpu::program::{Parts, Program};
use crate::gpu::readback::Readback;
use crate::gpu::rope::Turns;
use crate::gpu::space::{Capacity, MAX_STEPS, Space, pages_of};
use crate::gpu::tuning::{Tuning, Ways};
use crate::gpu::upload::{GpuSettings, Tensors};
use crate::pacing::Submits;
use crate::pass::{AdapterId, Pass};
use crate::plan::{Plan, Register};
use crate::rope::Rope;
use crate::sampler::Recipe;
use crate::sequences::{PageCopy, PageTurn};
use crate::weights::Slot;

/// A model whose weights, keys and values live on a GPU.
///
/// A device that is lost takes them along: every call says [`EngineError::GpuLost`] from then on.
/// The sequences of tokens are the caller's, who opens another device, loads the weights again and
/// feeds the tokens again.
#[derive(Debug)]
pub struct GpuModel {
    device: GpuDevice,
    config: ModelConfig,
    plan: Plan,
    tensors: Tensors,
    rope: Option<Rope>,
    turns: Option<Turns>,
    ways: Ways,
    kernels: Kernels,
    loras: Loras,
    cache: Cache,
    capacity: Capacity,
    space: Space,
    /// None when a buffer is another than when it was made.
    program: Option<Program>,
    /// None until a token is drawn, and when the space is another than when it was made.
    drawing: Option<Drawing>,
    readback: Readback,
    most: Submits,
    submits: u64,
}

/// What went between the CPU and the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Lists of commands given to the GPU for passes.
    pub submits: u64,
    /// Times that the CPU waited for the GPU.
    pub waits: u64,
    /// Bytes brought back.
    pub read_bytes: u64,
}

/// What a pass brings back.
#[derive(Debug, Clone, Copy)]
enum Source {
    Hidden,
    Ids,
    Logits,
    Record,
}

/// # Errors
/// [`EngineError::LogitsNotFinite`] when one of `ids`, `(steps, rows)`, could not be chosen.
fn chosen(ids: Vec<u32>, rows: usize) -> Result<Vec<u32>, EngineError> {
    match ids.iter().position(|id| *id == u32::MAX) {
        Some(at) => Err(EngineError::LogitsNotFinite { index: at / rows }),
        None => Ok(ids),
    }
}

impl GpuModel {
    /// Compiles every kernel and waits until the device has taken every weight, so that running
    /// out of memory shows here.
    pub(super) async fn new(
        device: GpuDevice,
        config: ModelConfig,
        tensors: Tensors,
        factors: BTreeMap<Slot, Vec<f32>>,
        settings: GpuSettings,
        kernels: Kernels,
    ) -> Result<Self, EngineError> {
        let factors = config
            .rope
            .as_ref()
            .and_then(|rope| factors.get(&rope.factors?));
        let rope = Rope::of(&config, factors.map_or(&[], Vec::as_slice));
        let turns = match &rope {
            Some(rope) => Some(Turns::new(&device, &config, rope)?),
            None => None,
        };
        let format = settings.cache.unwrap_or(CacheFormat::F16);
        let capacity = Capacity::FIRST;
        let mut model = Self {
            plan: Plan::new(&config),
            ways: Ways::new(&device, settings.tuning, settings.exact_activations),
            cache: Cache::new(&device, &config, format)?,
            space: Space::new(&device, &config, capacity)?,
            kernels,
            loras: Loras::none(),
            program: None,
            drawing: None,
            readback: Readback::new(),
            most: Submits::WHOLE,
            submits: 0,
            device,
            config,
            tensors,
            rope,
            turns,
            capacity,
        };
        model.build().await;
        let mut encoder = model.device.encoder();
        let ids = &model.space.ids;
        let copy = model.readback.copy(&model.device, &mut encoder, ids, 1);
        model.device.queue.submit([encoder.finish()]);
        model.readback.read::<u32>(&model.device, copy).await?;
        Ok(model)
    }

    /// What the model is made of.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device it runs on.
    pub fn device(&self) -> &GpuDevice {
        &self.device
    }

    /// Which kernels are used for which shapes; to be stored, and passed at the next load.
    pub fn tuning(&self) -> &Tuning {
        self.ways.tuning()
    }

    /// The same for this model, in words.
    pub fn kernels_in_words(&self) -> String {
        self.ways.summary(self.tensors.all())
    }

    /// Dispatches of a pass over `rows` rows, all of whose logits are wanted.
    pub fn dispatches(&self, rows: usize) -> usize {
        self.program.as_ref().map_or(0, |program| {
            program.body(rows as u32).len() + program.head(rows as u32).len()
        })
    }

    /// Lets the browser draw after so many dispatches of a pass.
    pub fn set_submits(&mut self, submits: Submits) {
        self.most = submits;
    }

    /// Cuts passes so that the browser can draw: one over a single row takes `one_ms`, one over
    /// several `row_ms` for each.
    pub fn set_pass_times(&mut self, one_ms: f64, row_ms: f64) {
        self.most = Submits::measured(self.dispatches(1), one_ms, row_ms);
    }

    /// What went between the CPU and the GPU since the model was made.
    pub fn traffic(&self) -> Traffic {
        let (waits, read_bytes) = self.readback.used();
        Traffic {
            submits: self.submits,
            waits,
            read_bytes,
        }
    }

    /// Replaces the adapters that sequences may name by these; the base is not touched. Their
    /// numbers are copied. A sequence that names an adapter which is not among them goes without.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`], and [`EngineError::GpuLost`]. The adapters are as before
    /// then.
    ///
    /// # Panics
    /// When an adapter was read for another model.
    pub async fn set_adapters(
        &mut self,
        adapters: &[(AdapterId, &Adapter)],
    ) -> Result<(), EngineError> {
        self.device.check()?;
        let shape = |slot: Slot| slot.shape(&self.config);
        self.loras = Loras::new(&self.device, adapters, shape, self.space.max_rows)?;
        self.build().await;
        Ok(())
    }

    /// The logits of the wanted rows, `(wanted, vocab_size)`. One wait.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when the cache cannot grow as far as the pages of `pass`;
    /// [`EngineError::GpuLost`] once the device has gone.
    ///
    /// # Cancel safety
    /// When the future is dropped, the rows of the pass are written or not; everything else is as
    /// before.
    pub async fn forward(&mut self, pass: &Pass) -> Result<Vec<f32>, EngineError> {
        let wanted = pass.wanted.len();
        let words = wanted * self.config.vocab_size;
        self.prepare(pass).await?;
        let mut recorder = self.recorder(pass);
        recorder.body(pass);
        if wanted == 0 {
            recorder.submit();
            return Ok(Vec::new());
        }
        recorder.head(pass);
        let encoder = recorder.end();
        self.answer(encoder, Source::Logits, words).await
    }

    /// The likeliest token after each wanted row. One wait, 4 bytes read back for each.
    ///
    /// # Errors
    /// As [`GpuModel::forward`]; [`EngineError::LogitsNotFinite`] when a choice could not be made.
    ///
    /// # Cancel safety
    /// As [`GpuModel::forward`].
    pub async fn likeliest(&mut self, pass: &Pass) -> Result<Vec<u32>, EngineError> {
        self.prepare(pass).await?;
        let mut recorder = self.recorder(pass);
        recorder.body(pass);
        let wanted = pass.wanted.len();
        if wanted == 0 {
            recorder.submit();
            return Ok(Vec::new());
        }
        recorder.head(pass);
        recorder.argmax(pass);
        let encoder = recorder.end();
        chosen(self.answer(encoder, Source::Ids, wanted).await?, wanted)
    }

    /// The last hidden state of every row, `(rows, dim)`.
    ///
    /// # Errors
    /// As [`GpuModel::forward`].
    pub async fn hidden(&mut self, pass: &Pass) -> Result<Vec<f32>, EngineError> {
        let words = pass.rows.len() * self.config.dim;
        self.prepare(pass).await?;
        let mut recorder = self.recorder(pass);
        recorder.body(pass);
        let encoder = recorder.end();
        self.answer(encoder, Source::Hidden, words).await
    }

    /// The `steps` most likely tokens after each row of `pass`, one after the other, without asking
    /// the CPU in between: one wait, `4 * steps` bytes read back for each row, and one submit unless
    /// [`GpuModel::set_submits`] says otherwise. Gives `(steps, rows)` ids. Each row is the last of
    /// its sequence, whose pages have room for `steps` positions from the row's own on; every row's
    /// logits are wanted.
    ///
    /// # Errors
    /// As [`GpuModel::forward`]; [`EngineError::LogitsNotFinite`] when a choice could not be made.
    ///
    /// # Panics
    /// For no or more than [`MAX_STEPS`] steps, or when a row is not wanted.
    pub async fn greedy(&mut self, pass: &Pass, steps: usize) -> Result<Vec<u32>, EngineError> {
        let rows = pass.rows.len();
        assert!(
            (1..=MAX_STEPS).contains(&steps) && pass.wanted.len() == rows,
            "a token is chosen for each row, a few times"
        );
        self.prepare(pass).await?;
        let mut recorder = self.recorder(pass);
        for step in 0..steps {
            recorder.body(pass);
            recorder.head(pass);
            recorder.argmax(pass);
            recorder.advance(pass, step);
        }
        let encoder = recorder.end();
        let ids = self.answer(encoder, Source::Record, steps * rows);
        chosen(ids.await?, rows)
    }

    /// A token after each wanted row, chosen as `recipes` say, one for each; with several `steps`, so
    /// many in a row as [`GpuModel::greedy`] does, under its conditions. Gives `(steps, wanted)` ids.
    /// One wait, `4 * steps` bytes read back for each row.
    ///
    /// # Errors
    /// As [`GpuModel::forward`]; [`EngineError::LogitsNotFinite`] when a choice could not be made,
    /// because a logit is not finite or because a recipe allows no token.
    ///
    /// # Panics
    /// For no or more than [`MAX_STEPS`] steps, when a recipe is missing or has fewer, or when there
    /// are several and a row is not wanted.
    pub async fn sample(
        &mut self,
        pass: &Pass,
        recipes: &[Recipe],
        steps: usize,
    ) -> Result<Vec<u32>, EngineError> {
        let wanted = pass.wanted.len();
        assert!(
            (1..=MAX_STEPS).contains(&steps) && (steps == 1 || wanted == pass.rows.len()),
            "a token is chosen for each row, a few times"
        );
        assert_eq!(recipes.len(), wanted, "each row has a recipe");
        self.prepare(pass).await?;
        let needs = self.prepare_drawing(recipes, steps).await?;
        let mut recorder = self.recorder(pass);
        for step in 0..steps {
            recorder.body(pass);
            recorder.head(pass);
            recorder.draw(pass, needs, step);
            if steps > 1 {
                recorder.advance(pass, step);
            }
        }
        let encoder = recorder.end();
        let source = match steps {
            1 => Source::Ids,
            _ => Source::Record,
        };
        let ids = self.answer(encoder, source, steps * wanted);
        chosen(ids.await?, wanted)
    }

    /// Makes room for `recipes` and tells the kernels about them.
    async fn prepare_drawing(
        &mut self,
        recipes: &[Recipe],
        steps: usize,
    ) -> Result<Needs, EngineError> {
        let ends = Ends {
            logits: self.space.place(Register::Logits, true).buffer,
            cols: self.config.vocab_size,
            ids: &self.space.ids,
        };
        let (before, device) = (self.drawing.take(), &self.device);
        let drawing = Drawing::for_recipes(before, device, &self.kernels, ends, recipes).await?;
        let needs = drawing.set(&self.device.queue, recipes, steps);
        self.drawing = Some(drawing);
        Ok(needs)
    }

    /// Submits the end of a pass and waits for the first `words` words of `source`.
    async fn answer<T: bytemuck::AnyBitPattern>(
        &mut self,
        mut encoder: wgpu::CommandEncoder,
        source: Source,
        words: usize,
    ) -> Result<Vec<T>, EngineError> {
        let source = match source {
            Source::Hidden => self.space.place(Register::Hidden, false).buffer,
            Source::Ids => &self.space.ids,
            Source::Logits => self.space.place(Register::Logits, true).buffer,
            Source::Record => &self.space.record,
        };
        let copy = self
            .readback
            .copy(&self.device, &mut encoder, source, words);
        self.device.queue.submit([encoder.finish()]);
        self.submits += 1;
        self.readback.read(&self.device, copy).await
    }

    /// Copies a page of every layer.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when the cache cannot grow, [`EngineError::GpuLost`].
    pub fn copy_page(&mut self, copy: PageCopy) -> Result<(), EngineError> {
        self.make_room(copy.from.max(copy.to) as usize + 1)?;
        let mut encoder = self.device.encoder();
        self.cache
            .copy(&self.device, &mut encoder, copy.from, copy.to)?;
        self.device.queue.submit([encoder.finish()]);
        self.device.check()
    }

    /// Copies a page of every layer and takes its keys back.
    ///
    /// # Errors
    /// As [`GpuModel::copy_page`].
    pub fn turn_page(&mut self, turn: PageTurn) -> Result<(), EngineError> {
        let PageTurn { from, to, by } = turn;
        let Some(rope) = &self.rope else {
            return self.copy_page(PageCopy { from, to });
        };
        let turns = Turns::back(&self.device, rope, by as usize)?;
        self.make_room(from.max(to) as usize + 1)?;
        let turner = PageTurner {
            device: &self.device,
            config: &self.config,
            cache: &self.cache,
            kernels: &self.kernels,
            turns: &turns,
        };
        turner.turn(from, to)?;
        self.device.check()
    }

    fn make_room(&mut self, pages: usize) -> Result<(), EngineError> {
        self.device.check()?;
        if self.cache.make_room(&self.device, pages)? {
            self.program = None;
        }
        Ok(())
    }

    /// Makes room for `pass` and tells the kernels about it.
    async fn prepare(&mut self, pass: &Pass) -> Result<(), EngineError> {
        self.make_room(pages_of(pass))?;
        if let Some(capacity) = self.capacity.grown(pass) {
            self.space = Space::new(&self.device, &self.config, capacity)?;
            self.capacity = capacity;
            (self.program, self.drawing) = (None, None);
        }
        if self.program.is_none() {
            self.build().await;
        }
        self.space
            .set(&self.device.queue, pass, self.config.is_causal());
        self.loras.set(&self.device.queue, pass);
        Ok(())
    }

    async fn build(&mut self) {
        let parts = Parts {
            device: &self.device,
            config: &self.config,
            tensors: &self.tensors,
            turns: self.turns.as_ref(),
            cache: &self.cache,
            space: &self.space,
            ways: &self.ways,
            loras: &self.loras,
        };
        self.program = Some(Program::new(parts, &self.kernels, &self.plan).await);
    }

    fn recorder(&mut self, pass: &Pass) -> Recorder<'_> {
        Recorder {
            device: &self.device,
            program: self.program.as_ref().expect("prepare() built it"),
            drawing: self.drawing.as_ref(),
            encoder: self.device.encoder(),
            recorded: 0,
            most: self.most.of(pass.rows.len()),
            submits: &mut self.submits,
        }
    }
}

/// Records dispatches, and submits when there are enough of them.
struct Recorder<'a> {
    device: &'a GpuDevice,
    program: &'a Program,
    drawing: Option<&'a Drawing>,
    encoder: wgpu::CommandEncoder,
    recorded: usize,
    most: usize,
    submits: &'a mut u64,
}

impl Recorder<'_> {
    fn body(&mut self, pass: &Pass) {
        let rows = pass.rows.len() as u32;
        self.record(self.program.body(rows).iter(), rows);
    }

    fn head(&mut self, pass: &Pass) {
        let wanted = pass.wanted.len() as u32;
        self.record(self.program.head(wanted).iter(), wanted);
    }

    fn argmax(&mut self, pass: &Pass) {
        let step = std::iter::once(self.program.argmax());
        self.record(step, pass.wanted.len() as u32);
    }

    fn draw(&mut self, pass: &Pass, needs: Needs, step: usize) {
        let drawing = self.drawing.expect("prepare_drawing() made it");
        if let Some((dispatch, changes)) = drawing.changes(needs) {
            self.record(std::iter::once(dispatch), changes);
        }
        let dispatches = drawing.dispatches(needs, step);
        self.record(dispatches, pass.wanted.len() as u32);
    }

    fn advance(&mut self, pass: &Pass, step: usize) {
        let step = std::iter::once(self.program.advance(step));
        self.record(step, pass.rows.len() as u32);
    }

    fn record<'d>(
        &mut self,
        dispatches: impl Iterator<Item = &'d crate::gpu::grid::Dispatch>,
        tokens: u32,
    ) {
        let mut dispatches = dispatches.peekable();
        while dispatches.peek().is_some() {
            if self.recorded >= self.most {
                let full = std::mem::replace(&mut self.encoder, self.device.encoder());
                self.device.queue.submit([full.finish()]);
                *self.submits += 1;
                self.recorded = 0;
            }
            let descriptor = wgpu::ComputePassDescriptor::default();
            let mut pass = self.encoder.begin_compute_pass(&descriptor);
            for dispatch in dispatches.by_ref().take(self.most - self.recorded) {
                dispatch.record(&mut pass, tokens);
                self.recorded += 1;
            }
        }
    }

    /// The commands that are not submitted yet.
    fn end(self) -> wgpu::CommandEncoder {
        self.encoder
    }

    fn submit(self) {
        self.device.queue.submit([self.encoder.finish()]);
        *self.submits += 1;
    }
}

//! From a URL or a file to a model that is ready to run.
//!
//! 1. Decide what computes, and find the file in the cache.
//! 2. Compare sizes with what was announced and with the memory there is, before any download.
//! 3. Each piece goes to the hash, the cache and the GGUF reader, which hands weights to the back
//!    end; nothing else keeps it.
//! 4. Compare the digest; only then is the file kept and the model made.

use super::answer::Language;
use super::bytes::Bytes;
use super::cache::{CacheWrite, ModelCache};
use super::clock::now_ms;
use super::error::LoadError;
use super::jobs;
use super::machine::{self, Chosen};
use super::messages::{BackendChoice, EngineEvent, LoadSource, Stage};
use sha2::{Digest as _, Sha256};
use thrum_engine::cpu::PanelStore;
use thrum_engine::error::EngineError;
use thrum_engine::gguf::{GgufReader, ModelHeader, ReadOptions, WeightSink};
use thrum_engine::gpu::{GpuDevice, GpuUpload};
use thrum_engine::memory::MemoryEstimate;
use thrum_engine::model::Model;
use thrum_protocol::id::ModelId;
use thrum_protocol::view::LogLevel;
use web_sys::Blob;

/// tokens; a prompt of the longest kind and an answer to it. On a GPU the cache for all of them is
/// taken at once.
const MAX_CONTEXT: usize = 8_192;

/// ms; a person sees ten changes a second as motion.
const PROGRESS_PERIOD_MS: f64 = 100.0;

/// A model ready to run.
pub(super) struct Loaded {
    pub(super) id: ModelId,
    pub(super) name: String,
    pub(super) model: Model,
    pub(super) language: Language,
    pub(super) memory: MemoryEstimate,
}

/// Loads models.
pub(super) struct Loader<'a> {
    /// bytes of memory that a model on the CPU may take
    pub(super) available_bytes: u64,
    pub(super) tell: &'a dyn Fn(EngineEvent),
}

/// A model that the page wants.
pub(super) struct LoadRequest {
    pub(super) source: LoadSource,
    /// the file, where the source is one
    pub(super) blob: Option<Blob>,
    pub(super) backend: BackendChoice,
}

impl Loader<'_> {
    /// Loads a model; with [`BackendChoice::Auto`] on the CPU where the GPU cannot take it.
    ///
    /// # Errors
    /// [`LoadError`] naming what stood in the way. Nothing is kept then.
    ///
    /// # Cancel safety
    /// Dropping the future stops the download and keeps nothing.
    pub(super) async fn load(&self, request: &LoadRequest) -> Result<Loaded, LoadError> {
        let device = match machine::choose(request.backend).await? {
            Chosen::Gpu(device) => device,
            Chosen::Cpu(why) => {
                if let Some(why) = why {
                    self.log(LogLevel::Info, format!("computing on the CPU: {why}"));
                }
                return self.load_on(Target::cpu(), request).await;
            }
        };
        match self.load_on(Target::gpu(&device), request).await {
            Err(LoadError::Engine(error))
                if request.backend == BackendChoice::Auto && is_of_the_gpu(&error) =>
            {
                self.log(LogLevel::Warn, format!("computing on the CPU: {error}"));
                self.load_on(Target::cpu(), request).await
            }
            result => result,
        }
    }

    async fn load_on(&self, target: Target, request: &LoadRequest) -> Result<Loaded, LoadError> {
        match &request.source {
            LoadSource::Blob { name } => {
                let missing = || LoadError::NoBlob { name: name.clone() };
                let bytes = Bytes::of_blob(name, request.blob.as_ref().ok_or_else(missing)?)?;
                self.read(
                    target,
                    bytes,
                    Input {
                        name,
                        stage: Stage::Read,
                        ..Input::default()
                    },
                )
                .await
            }
            LoadSource::Url {
                url,
                name,
                sha256,
                bytes,
            } => {
                let input = Input {
                    name,
                    expected: *sha256,
                    length: *bytes,
                    ..Input::default()
                };
                self.load_url(target, url, input).await
            }
        }
    }

    /// Reads the file from the cache, or else downloads it.
    async fn load_url(
        &self,
        mut target: Target,
        url: &str,
        mut input: Input<'_>,
    ) -> Result<Loaded, LoadError> {
        if let Some(bytes) = input.length {
            self.check_memory(&target, bytes)?;
        }
        if let Some(id) = input.expected
            && let Some(cache) = self.open_cache().await
        {
            if let Some(file) = cache.find(id).await {
                let bytes = Bytes::of_blob(input.name, &file)?;
                let fresh = target.another();
                let cached = Input {
                    stage: Stage::Read,
                    cache: None,
                    ..input
                };
                match self.read(target, bytes, cached).await {
                    Err(error) if is_of_the_file(&error) => {
                        self.log(LogLevel::Warn, format!("the cached file is bad: {error}"));
                        cache.remove(id).await;
                        target = fresh;
                    }
                    result => return result,
                }
            }
            input.cache = Some(cache);
        }
        let bytes = Bytes::fetch(url).await?;
        self.read(target, bytes, input).await
    }

    async fn read(
        &self,
        mut target: Target,
        mut bytes: Bytes,
        input: Input<'_>,
    ) -> Result<Loaded, LoadError> {
        let total = bytes.total();
        if let (Some(expected_bytes), Some(found_bytes)) = (input.length, total)
            && expected_bytes != found_bytes
        {
            return Err(LoadError::WrongLength {
                expected_bytes,
                found_bytes,
            });
        }
        if let Some(total) = total {
            self.check_memory(&target, total)?;
        }
        let mut keeping = self.begin_keeping(&input).await;
        let mut reader = GgufReader::new(ReadOptions {
            file_bytes: total,
            available_bytes: target.is_cpu().then_some(self.available_bytes),
            max_context: MAX_CONTEXT,
        });
        let mut digest = Sha256::new();
        let mut piece = Vec::new();
        let mut shown_ms = f64::NEG_INFINITY;
        while bytes.next(&mut piece).await? {
            digest.update(&piece);
            reader.push(&piece, target.sink())?;
            if let Some(Err(error)) = keeping.as_mut().map(|keeping| keeping.append(&piece)) {
                self.log(
                    LogLevel::Warn,
                    format!("the model will not be kept: {error}"),
                );
                keeping = None;
            }
            if now_ms() - shown_ms >= PROGRESS_PERIOD_MS {
                shown_ms = now_ms();
                self.progress(input.stage, reader.received_bytes(), total);
            }
        }
        let loaded = reader.received_bytes();
        let id = ModelId(digest.finalize().into());
        if let Some(expected) = input.expected
            && expected != id
        {
            return Err(LoadError::WrongDigest {
                expected,
                found: id,
            });
        }
        let header = reader.finish(target.sink())?;
        self.progress(input.stage, loaded, Some(loaded));
        if let Some(keeping) = keeping
            && let Err(error) = keeping.keep().await
        {
            self.log(
                LogLevel::Warn,
                format!("the model will not be kept: {error}"),
            );
        }
        let memory = header.memory;
        let model = target.into_model(&header, self.available_bytes).await?;
        let language = Language {
            tokenizer: header.tokenizer,
            chat_template: header.chat_template,
        };
        Ok(Loaded {
            id,
            name: input.name.to_owned(),
            model,
            language,
            memory,
        })
    }

    /// A file on the CPU takes at least its own size.
    fn check_memory(&self, target: &Target, needed_bytes: u64) -> Result<(), LoadError> {
        let available_bytes = self.available_bytes;
        if target.is_cpu() && needed_bytes > available_bytes {
            return Err(LoadError::DoesNotFit {
                needed_bytes,
                available_bytes,
            });
        }
        Ok(())
    }

    async fn open_cache(&self) -> Option<ModelCache> {
        match ModelCache::open().await {
            Ok(cache) => Some(cache),
            Err(error) => {
                self.log(
                    LogLevel::Warn,
                    format!("the model will not be kept: {error}"),
                );
                None
            }
        }
    }

    async fn begin_keeping(&self, input: &Input<'_>) -> Option<CacheWrite> {
        let (Some(cache), Some(id)) = (&input.cache, input.expected) else {
            return None;
        };
        match cache.write(id).await {
            Ok(keeping) => Some(keeping),
            Err(error) => {
                self.log(
                    LogLevel::Warn,
                    format!("the model will not be kept: {error}"),
                );
                None
            }
        }
    }

    fn progress(&self, stage: Stage, loaded: u64, total: Option<u64>) {
        (self.tell)(EngineEvent::Progress {
            stage,
            loaded,
            total,
        });
    }

    fn log(&self, level: LogLevel, message: String) {
        (self.tell)(EngineEvent::Log { level, message });
    }
}

/// What is known of the bytes that come.
struct Input<'a> {
    name: &'a str,
    stage: Stage,
    expected: Option<ModelId>,
    length: Option<u64>,
    /// where to keep what is downloaded
    cache: Option<ModelCache>,
}

impl Default for Input<'_> {
    fn default() -> Self {
        Self {
            name: "",
            stage: Stage::Download,
            expected: None,
            length: None,
            cache: None,
        }
    }
}

/// A device and what is on its way there.
struct GpuTarget {
    device: GpuDevice,
    upload: GpuUpload,
}

/// Where weights go.
enum Target {
    Cpu(PanelStore),
    Gpu(Box<GpuTarget>),
}

impl Target {
    fn cpu() -> Self {
        Self::Cpu(PanelStore::default())
    }

    fn gpu(device: &GpuDevice) -> Self {
        Self::Gpu(Box::new(GpuTarget {
            device: device.clone(),
            upload: GpuUpload::new(device),
        }))
    }

    /// An empty one of the same kind.
    fn another(&self) -> Self {
        match self {
            Self::Cpu(_) => Self::cpu(),
            Self::Gpu(gpu) => Self::gpu(&gpu.device),
        }
    }

    fn is_cpu(&self) -> bool {
        match self {
            Self::Cpu(_) => true,
            Self::Gpu(_) => false,
        }
    }

    fn sink(&mut self) -> &mut dyn WeightSink {
        match self {
            Self::Cpu(store) => store,
            Self::Gpu(gpu) => &mut gpu.upload,
        }
    }

    async fn into_model(
        self,
        header: &ModelHeader,
        available_bytes: u64,
    ) -> Result<Model, EngineError> {
        let config = header.config.clone();
        let sessions = jobs::sessions(&header.memory, !self.is_cpu(), available_bytes);
        let positions = sessions * config.context_len;
        Ok(match self {
            Self::Cpu(store) => Model::new(store.into_model()?, positions),
            Self::Gpu(gpu) => Model::new(gpu.upload.into_model().await?, positions),
        })
    }
}

/// Whether the CPU may succeed where the GPU failed with `error`.
fn is_of_the_gpu(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::GpuUnavailable { .. }
            | EngineError::GpuLost { .. }
            | EngineError::GpuBufferTooLarge { .. }
            | EngineError::GpuShape { .. }
    )
}

/// Whether another copy of the file may do better.
fn is_of_the_file(error: &LoadError) -> bool {
    match error {
        LoadError::WrongDigest { .. }
        | LoadError::WrongLength { .. }
        | LoadError::Unreachable { .. }
        | LoadError::Engine(EngineError::Gguf(_)) => true,
        LoadError::Engine(_)
        | LoadError::Browser { .. }
        | LoadError::DoesNotFit { .. }
        | LoadError::Http { .. }
        | LoadError::NoBlob { .. }
        | LoadError::Stalled { .. } => false,
    }
}

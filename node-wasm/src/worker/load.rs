//! From a URL or a file to a model that is ready to run.
//!
//! 1. Decide what computes, and find what is kept of the files.
//! 2. Compare sizes with what was announced and with the memory there is, before any download.
//! 3. Each piece goes to the hash, the storage and the GGUF reader, which hands weights to the back
//!    end; nothing else keeps it.
//! 4. Compare the digest; only then is the model made and its files called whole.
//!
//! What is kept whole is read by [`restock`](super::restock).

use super::answer::Language;
use super::bytes::BlobBytes;
use super::crew::{self, Members};
use super::download::{Download, Wanted};
use super::error::LoadError;
use super::headers;
use super::intake::Intake;
use super::jobs;
use super::keeping::Keeping;
use super::kept::{Kept, Subtle, model_id};
use super::machine::{self, Chosen};
use super::messages::{BackendChoice, EngineEvent, LoadSource, SourceFile, Stage, UrlFile};
use super::tuned;
use std::cell::Cell;
use std::rc::{Rc, Weak};
use thrum_engine::cpu::PanelStore;
use thrum_engine::cpu::crew::Patience;
use thrum_engine::error::EngineError;
use thrum_engine::gguf::{ModelHeader, WeightSink};
use thrum_engine::gpu::{GpuDevice, GpuUpload};
use thrum_engine::memory::MemoryEstimate;
use thrum_engine::model::Model;
use thrum_protocol::id::ModelId;
use thrum_protocol::view::{LogLevel, Threads};
use web_sys::Blob;

/// tokens; a prompt of the longest kind and an answer to it. On a GPU the cache for all of them is
/// taken at once.
pub(super) const MAX_CONTEXT: usize = 8_192;

/// A model ready to run.
pub(super) struct Loaded {
    pub(super) id: ModelId,
    pub(super) name: String,
    pub(super) model: Model,
    pub(super) language: Language,
    pub(super) memory: MemoryEstimate,
    /// none on a GPU
    pub(super) threads: Option<Threads>,
    /// those that compute with the leader; its crew ends them
    pub(super) members: Weak<Members>,
}

/// Loads models.
pub(super) struct Loader<'a> {
    /// bytes of memory that a model on the CPU may take
    pub(super) available_bytes: u64,
    /// as in [`super::messages::Order::Load`]
    pub(super) threads: Option<u32>,
    /// with those workers
    pub(super) patience: Patience,
    pub(super) tell: &'a dyn Fn(EngineEvent),
    /// where it says what device a model is on its way to
    pub(super) under_way: DeviceCell,
}

/// A device that somebody may want to look at.
pub(super) type DeviceCell = Rc<Cell<Option<GpuDevice>>>;

/// count; devices that are lost under a model on its way before it goes elsewhere. Loading again
/// costs seconds, and a device that does not hold a model is lost each time.
const MAX_LOST: usize = 2;

/// A model that the page wants.
pub(super) struct LoadRequest {
    pub(super) source: LoadSource,
    /// the files beside the message, in order
    pub(super) blobs: Vec<Blob>,
    pub(super) backend: BackendChoice,
    /// on the CPU; none: as many as suit the machine
    pub(super) threads: Option<u32>,
}

/// One file of a model.
pub(super) enum Part {
    Blob(Blob),
    Url(UrlFile),
}

/// Where the files are: each that came beside the message is taken by the next that says so.
pub(super) fn parts_of(
    files: &[SourceFile],
    request: &LoadRequest,
) -> Result<Vec<Part>, LoadError> {
    let mut blobs = request.blobs.iter();
    let part = |file: &SourceFile| match file {
        SourceFile::Blob => blobs
            .next()
            .cloned()
            .map(Part::Blob)
            .ok_or(LoadError::NoBlob),
        SourceFile::Url(file) => Ok(Part::Url(file.clone())),
    };
    files.iter().map(part).collect()
}

impl Loader<'_> {
    /// Loads a model, on another device where one is lost meanwhile; with [`BackendChoice::Auto`] on
    /// the CPU where the GPU cannot take it.
    ///
    /// # Errors
    /// [`LoadError`] naming what stood in the way. Nothing is kept then.
    ///
    /// # Cancel safety
    /// Dropping the future stops the download and keeps nothing.
    pub(super) async fn load(&self, request: &LoadRequest) -> Result<Loaded, LoadError> {
        let mut lost = 0;
        loop {
            let device = match machine::choose(request.backend).await? {
                Chosen::Gpu(device) => device,
                Chosen::Cpu(why) => {
                    if let Some(why) = why {
                        self.log(LogLevel::Info, format!("computing on the CPU: {why}"));
                    }
                    return self.load_on(Target::cpu(), request).await;
                }
            };
            self.under_way.set(Some((*device).clone()));
            match self.load_on(Target::gpu(&device), request).await {
                Err(LoadError::Engine(EngineError::GpuLost { reason })) if lost < MAX_LOST => {
                    lost += 1;
                    let message = format!("the GPU was lost ({reason}); loading again");
                    self.log(LogLevel::Warn, message);
                }
                Err(error) if request.backend == BackendChoice::Auto && error.is_of_the_gpu() => {
                    self.log(LogLevel::Warn, format!("computing on the CPU: {error}"));
                    return self.load_on(Target::cpu(), request).await;
                }
                result => return result,
            }
        }
    }

    async fn load_on(
        &self,
        mut target: Target,
        request: &LoadRequest,
    ) -> Result<Loaded, LoadError> {
        let (name, parts) = match &request.source {
            LoadSource::Files { name, files } => (name.clone(), parts_of(files, request)?),
            LoadSource::Kept { id } => self.parts_of_kept(*id).await?,
        };
        let mut keeping = Keeping::begin(&name, &parts, self.tell).await;
        if let Some((kept, record)) = keeping.whole() {
            let fresh = target.another();
            match self.read_kept(target, &kept, &record).await {
                Err(error) if is_of_the_file(&error) => {
                    self.log(LogLevel::Warn, format!("the kept file is bad: {error}"));
                    keeping.restart().await;
                    target = fresh;
                }
                result => return result,
            }
        }
        let resumes = keeping.resumes().await;
        let fresh = target.another();
        match self.read_parts(target, &name, &parts, &mut keeping).await {
            // Bytes of another day were joined with bytes of today.
            Err(error) if resumes && is_of_the_file(&error) => {
                self.log(
                    LogLevel::Warn,
                    format!("the download starts again: {error}"),
                );
                keeping.restart().await;
                self.read_parts(fresh, &name, &parts, &mut keeping).await
            }
            result => result,
        }
    }

    async fn parts_of_kept(&self, id: ModelId) -> Result<(String, Vec<Part>), LoadError> {
        let records = match Kept::open().await {
            Ok(kept) => kept.records().await,
            Err(_) => Vec::new(),
        };
        let found = records.into_iter().find(|record| record.answers_to(id));
        let record = found.ok_or(LoadError::NotKept { id })?;
        let parts = record.parts.into_iter().map(|part| {
            Part::Url(UrlFile {
                url: part.url,
                sha256: part.sha256,
                bytes: part.bytes,
            })
        });
        Ok((record.name, parts.collect()))
    }

    /// Reads the parts from where they are. What fails for good leaves nothing; what is only
    /// interrupted can be gone on with.
    async fn read_parts(
        &self,
        target: Target,
        name: &str,
        parts: &[Part],
        keeping: &mut Keeping<'_>,
    ) -> Result<Loaded, LoadError> {
        let mut intake = Intake::new(self, target.staffed(self).await);
        let read = async {
            if parts.len() > 1 {
                let mut headers = Vec::new();
                for part in parts {
                    headers.push(headers::of_part(name, part).await?);
                }
                intake.begin_model(headers)?;
            }
            for (number, part) in parts.iter().enumerate() {
                match part {
                    Part::Blob(blob) => {
                        let mut bytes = BlobBytes::new(name, blob)?;
                        intake.begin_part(Some(blob.size() as u64), false)?;
                        while bytes.next(&mut intake.piece).await? {
                            intake.take_piece()?;
                        }
                        intake.end_part(None)?;
                    }
                    Part::Url(file) => self.download(&mut intake, number, file, keeping).await?,
                }
            }
            Ok(())
        };
        let loaded = match read.await {
            Ok(()) => {
                let id = model_id(&intake.digests);
                let loaded = intake.finish(name).await;
                if loaded.is_ok() {
                    keeping.finish(id).await;
                }
                loaded
            }
            Err(error) => Err(error),
        };
        let is_bad = |error: &LoadError| !error.is_of_the_way() && !error.is_of_the_gpu();
        if loaded.as_ref().is_err_and(is_bad) {
            keeping.discard().await;
        }
        loaded
    }

    /// Reads one file: what is kept of it, and the rest over the network.
    async fn download(
        &self,
        intake: &mut Intake<'_>,
        number: usize,
        file: &UrlFile,
        keeping: &mut Keeping<'_>,
    ) -> Result<(), LoadError> {
        let (kept_bytes, validator) = keeping.at_hand(number).await;
        if keeping.is_whole(number) {
            intake.begin_part(Some(kept_bytes), false)?;
            keeping.read(number, kept_bytes, intake).await?;
            return intake.end_part(file.sha256).map(drop);
        }
        let mut download = Download::open(Wanted {
            url: file.url.clone(),
            from: kept_bytes,
            until: None,
            validator,
            verified: file.sha256.is_some(),
        })
        .await?;
        let total = download.total().or(file.bytes);
        if let (Some(expected_bytes), Some(found_bytes)) = (file.bytes, download.total())
            && expected_bytes != found_bytes
        {
            return Err(LoadError::WrongLength {
                expected_bytes,
                found_bytes,
            });
        }
        let from = download.position();
        // What the browser cannot hash in pieces is of no use in a list.
        let list = keeping.keeps() && Subtle::of_this_browser().is_some();
        intake.begin_part(total, list)?;
        if from > 0 {
            self.log(
                LogLevel::Info,
                format!("the download goes on after {from} bytes"),
            );
            keeping.read(number, from, intake).await?;
        } else if kept_bytes > 0 {
            let message = "the download starts again: the file changed, or the server cannot go on";
            self.log(LogLevel::Info, message.to_owned());
        }
        intake.stage = Stage::Download;
        let validator = download.validator().map(str::to_owned);
        keeping.start(number, from, total, validator).await;
        while download.next(&mut intake.piece).await? {
            intake.take_piece()?;
            keeping.append(&intake.piece).await;
        }
        let (digest, pieces) = intake.end_part(file.sha256)?;
        keeping.end(number, digest, pieces).await;
        Ok(())
    }

    pub(super) fn log(&self, level: LogLevel, message: String) {
        (self.tell)(EngineEvent::Log { level, message });
    }
}

/// A device and what is on its way there.
pub(super) struct GpuTarget {
    device: GpuDevice,
    upload: GpuUpload,
}

/// Panels on their way into memory, and who holds them.
#[derive(Default)]
pub(super) struct CpuTarget {
    store: PanelStore,
    /// none where they were not wanted or not to be had
    members: Option<Weak<Members>>,
    /// why there are fewer threads than were to be
    reason: Option<String>,
}

/// Where weights go.
pub(super) enum Target {
    Cpu(Box<CpuTarget>),
    Gpu(Box<GpuTarget>),
}

impl Target {
    fn cpu() -> Self {
        Self::Cpu(Box::default())
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

    /// On the CPU, with members started for as many threads as are wanted and the browser allows.
    pub(super) async fn staffed(self, loader: &Loader<'_>) -> Self {
        let threads = crew::wanted(loader.threads);
        if !self.is_cpu() || threads < 2 {
            return self;
        }
        Self::Cpu(Box::new(
            match crew::start(threads as usize - 1, loader.patience).await {
                Ok(members) => CpuTarget {
                    store: PanelStore::with_crew(members.crew()),
                    members: Some(Rc::downgrade(&members)),
                    reason: None,
                },
                Err(reason) => {
                    loader.log(
                        LogLevel::Info,
                        format!("computing with 1 thread instead of {threads}: {reason}"),
                    );
                    CpuTarget {
                        reason: Some(reason),
                        ..CpuTarget::default()
                    }
                }
            },
        ))
    }

    /// Waits for members to hold what they were sent; says how many threads compute.
    ///
    /// # Errors
    /// [`EngineError::MemberLost`].
    pub(super) async fn settle(&self) -> Result<(Option<Threads>, Weak<Members>), EngineError> {
        let Self::Cpu(cpu) = self else {
            return Ok((None, Weak::new()));
        };
        let mut threads = Threads {
            used: 1,
            reason: cpu.reason.clone(),
        };
        let Some(weak) = &cpu.members else {
            return Ok((Some(threads), Weak::new()));
        };
        if let Some(members) = weak.upgrade() {
            members.ready().await?;
            threads.used = members.threads();
        } else {
            threads.reason = Some("the model is too small to be shared".to_owned());
        }
        Ok((Some(threads), Weak::clone(weak)))
    }

    pub(super) fn is_cpu(&self) -> bool {
        match self {
            Self::Cpu(_) => true,
            Self::Gpu(_) => false,
        }
    }

    pub(super) fn sink(&mut self) -> &mut dyn WeightSink {
        match self {
            Self::Cpu(cpu) => &mut cpu.store,
            Self::Gpu(gpu) => &mut gpu.upload,
        }
    }

    pub(super) async fn into_model(
        self,
        header: &ModelHeader,
        loader: &Loader<'_>,
    ) -> Result<Model, EngineError> {
        let config = header.config.clone();
        let sessions = jobs::sessions(&header.memory, !self.is_cpu(), loader.available_bytes);
        let positions = sessions * config.context_len;
        Ok(match self {
            Self::Cpu(cpu) => Model::new(cpu.store.into_model()?, positions),
            Self::Gpu(gpu) => {
                let (model, line) = tuned::into_model(gpu.upload).await?;
                loader.log(LogLevel::Info, line);
                Model::new(model, positions)
            }
        })
    }
}

/// Whether another copy of the file may do better.
fn is_of_the_file(error: &LoadError) -> bool {
    match error {
        LoadError::Changed { .. }
        | LoadError::Damaged { .. }
        | LoadError::WrongDigest { .. }
        | LoadError::WrongLength { .. }
        | LoadError::Unreachable { .. }
        | LoadError::Engine(EngineError::Gguf(_)) => true,
        LoadError::Engine(_)
        | LoadError::Browser { .. }
        | LoadError::DoesNotFit { .. }
        | LoadError::Http { .. }
        | LoadError::NoBlob
        | LoadError::NotKept { .. }
        | LoadError::Stalled { .. } => false,
    }
}

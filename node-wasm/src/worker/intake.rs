//! A model in the making: each piece of its files goes to the hash and to the GGUF reader.

use super::answer::Language;
use super::clock::now_ms;
use super::error::LoadError;
use super::kept::{FileHash, Pieces, model_id};
use super::load::{Loaded, Loader, MAX_CONTEXT, Target};
use super::messages::{EngineEvent, Stage};
use thrum_engine::gguf::{GgufReader, PartHeader, ReadOptions};
use thrum_protocol::id::ModelId;

/// ms; a person sees ten changes a second as motion.
const PROGRESS_PERIOD_MS: f64 = 100.0;

/// What was read so far.
pub(super) struct Intake<'a> {
    loader: &'a Loader<'a>,
    target: Target,
    /// none before the first file
    reader: Option<GgufReader>,
    /// whether the headers of several files were read ahead
    several: bool,
    hash: FileHash,
    /// of the files that are whole
    pub(super) digests: Vec<ModelId>,
    /// the bytes that are being read
    pub(super) piece: Vec<u8>,
    /// where they come from
    pub(super) stage: Stage,
    /// bytes of the current file
    part_bytes: u64,
    part_total: Option<u64>,
    shown_ms: f64,
}

impl<'a> Intake<'a> {
    pub(super) fn new(loader: &'a Loader<'a>, target: Target) -> Self {
        Self {
            loader,
            target,
            reader: None,
            several: false,
            hash: FileHash::default(),
            digests: Vec::new(),
            piece: Vec::new(),
            stage: Stage::Read,
            part_bytes: 0,
            part_total: None,
            shown_ms: f64::NEG_INFINITY,
        }
    }

    /// A model in several files begins; these are their headers.
    ///
    /// # Errors
    /// [`LoadError::Engine`] where they are not one model, or it does not fit.
    pub(super) fn begin_model(&mut self, parts: Vec<PartHeader>) -> Result<(), LoadError> {
        let options = self.options(None);
        self.reader = Some(GgufReader::of_parts(options, parts)?);
        self.several = true;
        Ok(())
    }

    fn options(&self, file_bytes: Option<u64>) -> ReadOptions {
        let available_bytes = self.loader.available_bytes;
        ReadOptions {
            file_bytes,
            available_bytes: self.target.is_cpu().then_some(available_bytes),
            max_context: MAX_CONTEXT,
        }
    }

    /// The next file begins; `total` is its length where known, `list` whether its pieces are
    /// hashed too.
    ///
    /// # Errors
    /// [`LoadError::DoesNotFit`] for what is longer than the memory that there is.
    pub(super) fn begin_part(&mut self, total: Option<u64>, list: bool) -> Result<(), LoadError> {
        let available_bytes = self.loader.available_bytes;
        if let Some(needed_bytes) = total.filter(|bytes| *bytes > available_bytes)
            && self.target.is_cpu()
        {
            return Err(LoadError::DoesNotFit {
                needed_bytes,
                available_bytes,
            });
        }
        if !self.several {
            self.reader = Some(GgufReader::new(self.options(total)));
        }
        self.hash = FileHash::new(list);
        self.stage = Stage::Read;
        self.part_bytes = 0;
        self.part_total = total;
        Ok(())
    }

    /// Takes the bytes in `piece`.
    ///
    /// # Errors
    /// [`LoadError::Engine`] for a file that is refused.
    pub(super) fn take_piece(&mut self) -> Result<(), LoadError> {
        self.hash.push(&self.piece);
        self.take_checked_piece()
    }

    /// As [`Intake::take_piece`], of a file that is not hashed here.
    ///
    /// # Errors
    /// As [`Intake::take_piece`].
    pub(super) fn take_checked_piece(&mut self) -> Result<(), LoadError> {
        if let Some(reader) = &mut self.reader {
            reader.push(&self.piece, self.target.sink())?;
        }
        self.part_bytes += self.piece.len() as u64;
        if now_ms() - self.shown_ms >= PROGRESS_PERIOD_MS {
            self.show(self.part_total);
        }
        Ok(())
    }

    /// The file is whole; gives its digest, and those of its pieces where they are wanted.
    ///
    /// # Errors
    /// [`LoadError::WrongDigest`] where it is not the expected one; [`LoadError::Engine`] where it
    /// ended too early.
    pub(super) fn end_part(
        &mut self,
        expected: Option<ModelId>,
    ) -> Result<(ModelId, Option<Pieces>), LoadError> {
        let (found, pieces) = std::mem::take(&mut self.hash).finish();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(LoadError::WrongDigest { expected, found });
        }
        self.end_checked_part(found)?;
        Ok((found, pieces))
    }

    /// The file is whole, and was found to have this digest.
    ///
    /// # Errors
    /// As [`Intake::end_part`].
    pub(super) fn end_checked_part(&mut self, digest: ModelId) -> Result<(), LoadError> {
        if let Some(reader) = self.reader.as_mut().filter(|_| self.several) {
            reader.end_part()?;
        }
        self.digests.push(digest);
        self.show(Some(self.part_bytes));
        Ok(())
    }

    /// Makes the model of all that was read.
    ///
    /// # Errors
    /// [`LoadError::Engine`] where something is missing, or the machine cannot hold it.
    pub(super) async fn finish(mut self, name: &str) -> Result<Loaded, LoadError> {
        let reader = self.reader.take().ok_or(LoadError::NoBlob)?;
        let header = reader.finish(self.target.sink())?;
        let (threads, members) = self.target.settle().await?;
        let workers = threads.as_ref().map_or(1, |threads| threads.used as usize);
        let memory = header.memory.with_workers(&header.config, workers);
        let model = self.target.into_model(&header, self.loader).await?;
        Ok(Loaded {
            id: model_id(&self.digests),
            name: name.to_owned(),
            model,
            language: Language::new(header.tokenizer, header.chat_template),
            memory,
            threads,
            members,
        })
    }

    fn show(&mut self, total: Option<u64>) {
        self.shown_ms = now_ms();
        (self.loader.tell)(EngineEvent::Progress {
            stage: self.stage,
            loaded: self.part_bytes,
            total,
        });
    }
}

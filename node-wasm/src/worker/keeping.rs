//! What becomes of a download in the browser's storage, while it goes on. Nothing here stands in
//! the way of a model: what cannot be kept is used all the same, and the person is told.

use super::error::LoadError;
use super::intake::Intake;
use super::kept::{KeepError, Kept, PartRecord, PartWriter, Pieces, Record, Room};
use super::load::Part;
use super::messages::EngineEvent;
use thrum_protocol::id::ModelId;
use thrum_protocol::view::LogLevel;

/// The storage's side of a download.
pub(super) struct Keeping<'a> {
    tell: &'a dyn Fn(EngineEvent),
    /// none where nothing is kept
    open: Option<Open>,
}

struct Open {
    kept: Kept,
    record: Record,
    /// of the file that is being downloaded
    writer: Option<PartWriter>,
}

impl<'a> Keeping<'a> {
    /// Finds what is kept of these files. Those at hand are not kept: the person has them.
    pub(super) async fn begin(name: &str, parts: &[Part], tell: &'a dyn Fn(EngineEvent)) -> Self {
        let records = parts.iter().filter_map(|part| match part {
            Part::Blob(_) => None,
            Part::Url(file) => Some(PartRecord::of(file)),
        });
        let records: Vec<_> = records.collect();
        let mut keeping = Self { tell, open: None };
        if records.is_empty() || records.len() < parts.len() {
            return keeping;
        }
        match Kept::open().await {
            Ok(kept) => {
                let found = kept.find(&records).await;
                let now_millis = js_sys::Date::now() as u64;
                let record = found.unwrap_or_else(|| Record::new(name, records, now_millis));
                keeping.open = Some(Open {
                    kept,
                    record,
                    writer: None,
                });
            }
            Err(error) => keeping.warn(&error),
        }
        keeping
    }

    /// The record of a model that is kept whole.
    pub(super) fn whole(&self) -> Option<(Kept, Record)> {
        let open = self.open.as_ref()?;
        open.record
            .id
            .map(|_| (open.kept.clone(), open.record.clone()))
    }

    /// Whether anything is kept.
    pub(super) fn keeps(&self) -> bool {
        self.open.is_some()
    }

    /// Whether some of the files are here already.
    pub(super) async fn resumes(&self) -> bool {
        match &self.open {
            Some(open) => open.kept.part_bytes(&open.record, 0).await > 0,
            None => false,
        }
    }

    /// Forgets what is kept; the download begins at the beginning.
    pub(super) async fn restart(&mut self) {
        if let Some(open) = &mut self.open {
            open.writer = None;
            open.kept.remove(&open.record).await;
            open.record.id = None;
            for part in &mut open.record.parts {
                part.whole = false;
                part.validator = None;
            }
        }
    }

    /// Whether all of this file is here.
    pub(super) fn is_whole(&self, part: usize) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.record.parts[part].whole)
    }

    /// Bytes of this file that are here, and what they belong to.
    pub(super) async fn at_hand(&self, part: usize) -> (u64, Option<String>) {
        match &self.open {
            Some(open) => {
                let bytes = open.kept.part_bytes(&open.record, part).await;
                (bytes, open.record.parts[part].validator.clone())
            }
            None => (0, None),
        }
    }

    /// Gives the first `bytes` of this file to `intake`.
    ///
    /// # Errors
    /// As [`Intake::take_piece`]; [`LoadError::Unreachable`] where the storage gives fewer.
    pub(super) async fn read(
        &self,
        part: usize,
        bytes: u64,
        intake: &mut Intake<'_>,
    ) -> Result<(), LoadError> {
        let mut left = bytes;
        if let Some(open) = &self.open {
            let mut kept = open.kept.read(&open.record, part).await?;
            while left > 0 && kept.next(&mut intake.piece).await? {
                let taken = left.min(intake.piece.len() as u64);
                // A piece is short: the cast is exact.
                intake.piece.truncate(taken as usize);
                intake.take_piece()?;
                left -= taken;
            }
        }
        if left == 0 {
            return Ok(());
        }
        Err(LoadError::Unreachable {
            url: "the browser's storage".to_owned(),
            reason: format!("{left} bytes of the file are missing"),
        })
    }

    /// A file begins to arrive, `from` this byte on.
    pub(super) async fn start(
        &mut self,
        part: usize,
        from: u64,
        total: Option<u64>,
        validator: Option<String>,
    ) {
        let Some(open) = &mut self.open else { return };
        let result = async {
            let needed_bytes = total.unwrap_or(0).saturating_sub(from);
            if let Some(free_bytes) = Room::estimate().await.free_bytes()
                && free_bytes < needed_bytes
            {
                return Err(KeepError::no_room(needed_bytes, free_bytes));
            }
            let record = &mut open.record.parts[part];
            record.bytes = total;
            record.validator = validator;
            open.kept.put(&open.record).await?;
            open.writer = Some(open.kept.write(&open.record, part, from).await?);
            Ok(())
        };
        if let Err(error) = result.await {
            self.give_up(&error).await;
        }
    }

    /// The next bytes of the file.
    pub(super) async fn append(&mut self, piece: &[u8]) {
        if let Some(Open {
            writer: Some(writer),
            ..
        }) = &mut self.open
            && let Err(error) = writer.append(piece).await
        {
            self.give_up(&error).await;
        }
    }

    /// The file is whole, and its digest is right; `pieces` are listed where the browser can check
    /// them.
    pub(super) async fn end(&mut self, part: usize, digest: ModelId, pieces: Option<Pieces>) {
        let Some(open) = &mut self.open else { return };
        let result = async {
            if let Some(writer) = open.writer.take() {
                writer.close().await?;
            }
            if let Some(pieces) = pieces {
                open.kept.put_list(&open.record, part, &pieces).await;
            }
            let bytes = open.kept.part_bytes(&open.record, part).await;
            let record = &mut open.record.parts[part];
            record.whole = true;
            record.sha256 = Some(digest);
            record.bytes = Some(bytes);
            open.kept.put(&open.record).await
        };
        if let Err(error) = result.await {
            self.give_up(&error).await;
        }
    }

    /// All files are whole, and they are a model.
    pub(super) async fn finish(&mut self, id: ModelId) {
        let Some(open) = &mut self.open else { return };
        open.record.id = Some(id);
        open.record.saved_millis = js_sys::Date::now() as u64;
        if let Err(error) = open.kept.put(&open.record).await {
            self.give_up(&error).await;
        }
    }

    /// Leaves nothing behind.
    pub(super) async fn discard(&mut self) {
        if let Some(mut open) = self.open.take() {
            open.writer = None;
            open.kept.remove(&open.record).await;
        }
    }

    async fn give_up(&mut self, error: &KeepError) {
        self.warn(error);
        self.discard().await;
    }

    fn warn(&self, error: &KeepError) {
        (self.tell)(EngineEvent::Log {
            level: LogLevel::Warn,
            message: format!("the model will not be kept: {error}"),
        });
    }
}

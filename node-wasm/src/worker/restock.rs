//! A model that is kept whole, from the storage: each file is checked while it goes to the engine.

use super::error::LoadError;
use super::headers;
use super::intake::Intake;
use super::kept::{Check, Checker, Kept, KeptBytes, Means, Record, Subtle, WholeFile};
use super::load::{Loaded, Loader, Target};

impl Loader<'_> {
    /// Reads a model of which everything is kept.
    ///
    /// # Errors
    /// As [`Loader::load`]; [`LoadError::Damaged`] or [`LoadError::WrongDigest`] where the files
    /// are not as they were.
    pub(super) async fn read_kept(
        &self,
        target: Target,
        kept: &Kept,
        record: &Record,
    ) -> Result<Loaded, LoadError> {
        let mut intake = Intake::new(self, target.staffed(self).await);
        if record.parts.len() > 1 {
            let mut parts = Vec::new();
            for number in 0..record.parts.len() {
                parts.push(headers::of_kept(kept, record, number).await?);
            }
            intake.begin_model(parts)?;
        }
        for number in 0..record.parts.len() {
            read_part(&mut intake, kept, record, number).await?;
        }
        intake.finish(&record.name).await
    }
}

async fn read_part(
    intake: &mut Intake<'_>,
    kept: &Kept,
    record: &Record,
    number: usize,
) -> Result<(), LoadError> {
    let part = &record.parts[number];
    let bytes = kept.read(record, number).await?;
    let subtle = Subtle::of_this_browser();
    let means = Means {
        native_digest: subtle.is_some(),
        in_pieces: bytes.in_pieces(),
    };
    let list = kept.list(record, number).await;
    let file = part.sha256.zip(part.bytes);
    let file = file.map(|(sha256, bytes)| WholeFile { sha256, bytes });
    match (Check::of(means, list.as_deref(), file), subtle) {
        (Check::Pieces(pieces), Some(subtle)) => {
            intake.begin_part(part.bytes, false)?;
            read_in_pieces(intake, bytes, Checker::new(subtle, pieces)).await
        }
        (check, _) => {
            let list = check == Check::Whole { list: true };
            intake.begin_part(part.bytes, list)?;
            let mut bytes = bytes;
            while bytes.next(&mut intake.piece).await? {
                intake.take_piece()?;
            }
            let (_, pieces) = intake.end_part(part.sha256)?;
            if let Some(pieces) = pieces {
                kept.put_list(record, number, &pieces).await;
            }
            Ok(())
        }
    }
}

/// The browser hashes a piece while it is repacked, where it has a thread for that.
async fn read_in_pieces(
    intake: &mut Intake<'_>,
    mut bytes: KeptBytes,
    mut checker: Checker,
) -> Result<(), LoadError> {
    while bytes.next(&mut intake.piece).await? {
        checker.begin(&intake.piece).await?;
        intake.take_checked_piece()?;
    }
    let digest = checker.end().await?;
    intake.end_checked_part(digest)
}

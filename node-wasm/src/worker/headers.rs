//! The header of one file of a model, and as little of the rest as can be.

use super::bytes::BlobBytes;
use super::download::{Download, Wanted};
use super::error::LoadError;
use super::kept::{Kept, Record};
use super::load::Part;
use super::messages::UrlFile;
use thrum_engine::error::EngineError;
use thrum_engine::gguf::{GgufError, PartHeader, PartReader};

/// bytes; the first part of a file that is asked for, doubled until the header is whole. Headers
/// of small vocabularies fit in it, those of the largest take five requests.
const WINDOW_BYTES: u64 = 1 << 20;

/// Of a file that the browser keeps.
///
/// # Errors
/// [`LoadError`] where it cannot be read or is no GGUF.
pub(super) async fn of_kept(
    kept: &Kept,
    record: &Record,
    number: usize,
) -> Result<PartHeader, LoadError> {
    let mut reader = PartReader::new(record.parts[number].bytes);
    let mut bytes = kept.read(record, number).await?;
    let mut piece = Vec::new();
    while bytes.next(&mut piece).await? {
        if reader.push(&piece).map_err(refused)? {
            break;
        }
    }
    reader.finish().map_err(refused)
}

/// Of a file at hand or behind HTTP.
///
/// # Errors
/// [`LoadError`] where it cannot be read or is no GGUF.
///
/// # Cancel safety
/// Dropping the future stops the download.
pub(super) async fn of_part(name: &str, part: &Part) -> Result<PartHeader, LoadError> {
    let file = match part {
        Part::Blob(blob) => {
            let mut reader = PartReader::new(Some(blob.size() as u64));
            let mut bytes = BlobBytes::new(name, blob)?;
            let mut piece = Vec::new();
            while bytes.next(&mut piece).await? {
                if reader.push(&piece).map_err(refused)? {
                    break;
                }
            }
            return reader.finish().map_err(refused);
        }
        Part::Url(file) => file,
    };
    let mut window = WINDOW_BYTES;
    let mut download = open(file, 0, window).await?;
    let mut reader = PartReader::new(download.total().or(file.bytes));
    let mut piece = Vec::new();
    loop {
        while download.next(&mut piece).await? {
            if reader.push(&piece).map_err(refused)? {
                return reader.finish().map_err(refused);
            }
        }
        let read = download.position();
        if download.total().is_some_and(|total| read >= total) {
            return reader.finish().map_err(refused);
        }
        window *= 2;
        download = open(file, read, window).await?;
        if download.position() != read {
            return Err(LoadError::Changed {
                url: file.url.clone(),
            });
        }
    }
}

async fn open(file: &UrlFile, from: u64, bytes: u64) -> Result<Download, LoadError> {
    Download::open(Wanted {
        url: file.url.clone(),
        from,
        until: Some(from + bytes),
        validator: None,
        // A header that is joined from two files is refused or judged; no weight comes of it.
        verified: true,
    })
    .await
}

fn refused(error: GgufError) -> LoadError {
    EngineError::Gguf(error).into()
}

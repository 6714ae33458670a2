//! From the source of a genome to its bytes, bounded and hashed.

use super::error::GenomeError;
use crate::worker::bytes::BlobBytes;
use crate::worker::download::{Download, Wanted};
use crate::worker::error::LoadError;
use crate::worker::kept::model_id;
use crate::worker::messages::{EngineEvent, GenomeFiles, GenomeSource, SourceFile, Stage};
use sha2::{Digest as _, Sha256};
use thrum_protocol::id::ModelId;
use web_sys::Blob;

/// bytes; of all files of one genome. One of rank 64 on every matrix of a model of 500 million
/// weights takes 70 MB in 16 bits; all of it is in the heap while it is read.
pub(super) const MAX_GENOME_BYTES: u64 = 128 << 20;

/// The bytes of a file.
pub(super) type Bytes = Vec<u8>;

/// A genome whose bytes are here; nobody has looked at them yet.
pub(in crate::worker) struct Fetched {
    pub(super) id: ModelId,
    pub(super) name: Option<String>,
    pub(super) place: Option<String>,
    pub(super) files: GenomeFiles<Bytes>,
}

/// Reads all files of a genome.
///
/// # Errors
/// [`GenomeError`] where they cannot be read, are too many bytes, or are others than expected.
///
/// # Cancel safety
/// Dropping the future stops the download and leaves nothing.
pub(super) async fn fetch(
    source: GenomeSource<SourceFile>,
    blobs: Vec<Blob>,
    tell: &dyn Fn(EngineEvent),
) -> Result<Fetched, GenomeError> {
    let mut blobs = blobs.into_iter();
    let mut files: Vec<Bytes> = Vec::new();
    let mut digests = Vec::new();
    for file in source.files.all() {
        let taken = files.iter().map(Vec::len).sum::<usize>() as u64;
        let budget = Budget { taken, tell };
        let (bytes, expected) = match file {
            SourceFile::Blob => {
                let blob = blobs.next().ok_or(LoadError::NoBlob)?;
                (budget.of_blob(&blob).await?, None)
            }
            SourceFile::Url(file) => (budget.of_url(&file.url).await?, file.sha256),
        };
        let found = sha256(&bytes);
        check(expected, found)?;
        digests.push(found);
        files.push(bytes);
    }
    if let Some(numbers) = digests.last() {
        check(source.sha256, *numbers)?;
    }
    let id = model_id(&digests);
    let mut files = files.into_iter();
    let files = source
        .files
        .map(|_| files.next().expect("one was read for each"));
    Ok(Fetched {
        id,
        name: source.name,
        place: source.place,
        files,
    })
}

/// What a genome of these files is called.
pub(super) fn digest_of(files: &[Bytes]) -> ModelId {
    let digests: Vec<ModelId> = files.iter().map(|bytes| sha256(bytes)).collect();
    model_id(&digests)
}

fn sha256(bytes: &[u8]) -> ModelId {
    ModelId(Sha256::digest(bytes).into())
}

fn check(expected: Option<ModelId>, found: ModelId) -> Result<(), GenomeError> {
    match expected.filter(|expected| *expected != found) {
        Some(expected) => Err(GenomeError::WrongDigest { expected, found }),
        None => Ok(()),
    }
}

/// What the files so far leave of [`MAX_GENOME_BYTES`].
struct Budget<'a> {
    taken: u64,
    tell: &'a dyn Fn(EngineEvent),
}

impl Budget<'_> {
    async fn of_blob(&self, blob: &Blob) -> Result<Bytes, GenomeError> {
        let total = blob.size() as u64;
        self.check(total)?;
        let (mut bytes, mut piece) = (Vec::new(), Vec::new());
        let mut stream = BlobBytes::new("the genome's file", blob)?;
        while stream.next(&mut piece).await? {
            self.append(&mut bytes, &piece, Some(total))?;
        }
        Ok(bytes)
    }

    async fn of_url(&self, url: &str) -> Result<Bytes, GenomeError> {
        let mut download = Download::open(Wanted {
            url: url.to_owned(),
            ..Wanted::default()
        })
        .await?;
        let total = download.total();
        self.check(total.unwrap_or(0))?;
        let (mut bytes, mut piece) = (Vec::new(), Vec::new());
        while download.next(&mut piece).await? {
            self.append(&mut bytes, &piece, total)?;
        }
        Ok(bytes)
    }

    fn append(
        &self,
        bytes: &mut Bytes,
        piece: &[u8],
        total: Option<u64>,
    ) -> Result<(), GenomeError> {
        let needed_bytes = bytes.len() + piece.len();
        self.check(needed_bytes as u64)?;
        bytes
            .try_reserve(piece.len())
            .map_err(|_| GenomeError::OutOfMemory { needed_bytes })?;
        bytes.extend_from_slice(piece);
        (self.tell)(EngineEvent::Progress {
            stage: Stage::Genome,
            loaded: needed_bytes as u64,
            total,
        });
        Ok(())
    }

    fn check(&self, bytes: u64) -> Result<(), GenomeError> {
        let found_bytes = self.taken.saturating_add(bytes);
        match found_bytes > MAX_GENOME_BYTES {
            true => Err(GenomeError::TooLarge {
                found_bytes,
                max_bytes: MAX_GENOME_BYTES,
            }),
            false => Ok(()),
        }
    }
}

//! The digests of a kept file's pieces: each piece is checked as it is read, with the browser's own
//! SHA-256, which takes one piece at a time and a third of the time.
//!
//! A list is made while the whole file is hashed, and says which file that was; it is as good as
//! the digest of the whole. A list that is damaged, cut off or of another file is none: then the
//! whole file is hashed, and the list is made anew.

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use thrum_protocol::id::ModelId;

/// bytes; of every piece but a file's last. Chromium copies what it hashes: 512 KiB go into memory
/// that it has at hand, with 1 MiB it takes twice the time (measured 2026-11-21).
pub(crate) const PIECE_BYTES: usize = 512 << 10;

/// The first line of a list. Another number is another way to write it.
const HEADING: &str = "thrum pieces 1";

/// A file that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WholeFile {
    pub(crate) sha256: ModelId,
    pub(crate) bytes: u64,
}

/// The digests of a file's pieces, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pieces {
    of: WholeFile,
    digests: Vec<ModelId>,
}

/// Why a text is no list for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListError {
    /// Its last line is not the digest of the others.
    #[error("the list of pieces is damaged or cut off")]
    Damaged,
    /// It is whole, and not for this file.
    #[error("the list of pieces is of another file or another version")]
    Foreign,
}

impl Pieces {
    /// Reads the list of `file`.
    ///
    /// # Errors
    /// [`ListError`] where the text is not one.
    pub(crate) fn parse(text: &str, file: WholeFile) -> Result<Self, ListError> {
        let (list, seal) = text.rsplit_once('\n').ok_or(ListError::Damaged)?;
        if seal.parse() != Ok(sha256(list.as_bytes())) {
            return Err(ListError::Damaged);
        }
        let digests = list
            .strip_prefix(&heading(file))
            .ok_or(ListError::Foreign)?;
        let digests: Result<Vec<ModelId>, _> = digests.lines().map(str::parse).collect();
        let digests = digests.map_err(|_| ListError::Foreign)?;
        match digests.len() as u64 == file.bytes.div_ceil(PIECE_BYTES as u64) {
            true => Ok(Self { of: file, digests }),
            false => Err(ListError::Foreign),
        }
    }

    /// The file that they are of.
    pub(crate) fn file(&self) -> WholeFile {
        self.of
    }

    /// Whether `digest` is that of the piece at `number`.
    pub(crate) fn has(&self, number: usize, digest: ModelId) -> bool {
        self.digests.get(number) == Some(&digest)
    }

    /// Pieces of the file.
    pub(crate) fn len(&self) -> usize {
        self.digests.len()
    }

    /// As [`Pieces::parse`] reads it.
    pub(crate) fn to_text(&self) -> String {
        let mut text = heading(self.of);
        for digest in &self.digests {
            writeln!(text, "{digest}").expect("a String takes what it is given");
        }
        text.pop();
        let seal = sha256(text.as_bytes());
        format!("{text}\n{seal}")
    }
}

fn heading(file: WholeFile) -> String {
    let WholeFile { sha256, bytes } = file;
    format!("{HEADING}\n{sha256} {bytes} {PIECE_BYTES}\n")
}

fn sha256(bytes: &[u8]) -> ModelId {
    ModelId(Sha256::digest(bytes).into())
}

/// How a kept file is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Each piece, by the browser.
    Pieces(Pieces),
    /// All of it, here.
    Whole {
        /// whether a list is wanted for the next time
        list: bool,
    },
}

/// What can be had for checking a kept file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Means {
    /// Whether the browser hashes: not where the page came over plain HTTP.
    pub(crate) native_digest: bool,
    /// Whether it can be read in pieces of [`PIECE_BYTES`].
    pub(crate) in_pieces: bool,
}

impl Check {
    /// Decides it. `list` is the text beside the file, `file` what its record says of it.
    pub(crate) fn of(means: Means, list: Option<&str>, file: Option<WholeFile>) -> Self {
        let (Some(file), true) = (file, means.native_digest) else {
            return Self::Whole { list: false };
        };
        match list.map(|text| Pieces::parse(text, file)) {
            Some(Ok(pieces)) if means.in_pieces => Self::Pieces(pieces),
            Some(Ok(_)) => Self::Whole { list: false },
            Some(Err(_)) | None => Self::Whole { list: true },
        }
    }
}

/// A file that is being hashed here, and its pieces if they are wanted.
#[derive(Debug, Default)]
pub(crate) struct FileHash {
    whole: Sha256,
    bytes: u64,
    pieces: Option<Growing>,
}

#[derive(Debug, Default)]
struct Growing {
    /// of the pieces that are whole
    digests: Vec<ModelId>,
    piece: Sha256,
    /// of `piece`
    bytes: usize,
}

impl FileHash {
    /// A file of which nothing has come. `list`: whether its pieces are hashed too.
    pub(crate) fn new(list: bool) -> Self {
        Self {
            pieces: list.then(Growing::default),
            ..Self::default()
        }
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        self.bytes += bytes.len() as u64;
        if let Some(pieces) = &mut self.pieces {
            pieces.push(bytes);
        }
    }

    /// The digest of the whole, and of its pieces.
    pub(crate) fn finish(self) -> (ModelId, Option<Pieces>) {
        let of = WholeFile {
            sha256: ModelId(self.whole.finalize().into()),
            bytes: self.bytes,
        };
        let pieces = self.pieces.map(|mut pieces| {
            if pieces.bytes > 0 {
                pieces.end_piece();
            }
            let digests = pieces.digests;
            Pieces { of, digests }
        });
        (of.sha256, pieces)
    }
}

impl Growing {
    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.bytes));
            self.piece.update(now);
            self.bytes += now.len();
            if self.bytes == PIECE_BYTES {
                self.end_piece();
            }
            bytes = later;
        }
    }

    fn end_piece(&mut self) {
        self.bytes = 0;
        let digest = std::mem::take(&mut self.piece).finalize();
        self.digests.push(ModelId(digest.into()));
    }
}

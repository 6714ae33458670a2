//! Owns reading files that are small by nature, so that a wrong path cannot fill the memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::limits::MAX_SMALL_FILE_BYTES;

/// Reads a whole UTF-8 file of at most [`MAX_SMALL_FILE_BYTES`].
pub(crate) fn read(path: &Path) -> io::Result<String> {
    read_at_most(path, MAX_SMALL_FILE_BYTES)
}

/// Reads a whole UTF-8 file of at most `max_bytes`.
pub(crate) fn read_at_most(path: &Path, max_bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    let n_bytes = File::open(path)?
        .take(max_bytes + 1)
        .read_to_string(&mut text)?;
    if n_bytes as u64 > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {max_bytes} bytes"),
        ));
    }
    Ok(text)
}

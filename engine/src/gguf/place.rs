//! Where the tensors of each file lie: one after the other, with nothing but padding between them.

use super::GgufError;
use super::header::{RawFile, RawTensor};
use super::stream::Extent;

/// Where a tensor ends is beyond counting.
const TOO_FAR: GgufError = GgufError::TooMany {
    what: "bytes in the file",
    count: u64::MAX,
    max: u64::MAX,
};

/// The extent of each file; `tensors` come with their sizes in bytes, sorted by file and offset.
pub(super) fn extents(
    files: &[RawFile],
    tensors: &[(&RawTensor, u64)],
) -> Result<Vec<Extent>, GgufError> {
    let of_file = |file| tensors.iter().filter(move |(raw, _)| raw.file == file);
    (0..)
        .zip(files)
        .map(|(index, file)| extent(file, of_file(index)))
        .collect()
}

fn extent<'a>(
    file: &RawFile,
    tensors: impl Iterator<Item = &'a (&'a RawTensor, u64)>,
) -> Result<Extent, GgufError> {
    let RawFile {
        alignment,
        header_end,
    } = *file;
    let data_start = header_end.next_multiple_of(alignment);
    let mut data_bytes = 0;
    let mut before: Option<&RawTensor> = None;
    for (raw, bytes) in tensors {
        let tensor = || raw.name.clone();
        let offset = raw.offset;
        if !offset.is_multiple_of(alignment) {
            return Err(GgufError::Misaligned {
                tensor: tensor(),
                offset,
                alignment,
            });
        }
        let Some(gap_bytes) = offset.checked_sub(data_bytes) else {
            return Err(GgufError::Overlap {
                first: before.map_or_else(String::new, |before| before.name.clone()),
                second: tensor(),
            });
        };
        if gap_bytes >= alignment {
            return Err(GgufError::Gap {
                tensor: tensor(),
                gap_bytes,
            });
        }
        data_bytes = offset.checked_add(*bytes).ok_or(TOO_FAR)?;
        before = Some(raw);
    }
    let data_end = data_start.checked_add(data_bytes).ok_or(TOO_FAR)?;
    let padded_end = data_end
        .checked_next_multiple_of(alignment)
        .ok_or(TOO_FAR)?;
    Ok(Extent {
        header_end,
        data_start,
        // A file without tensors may lack the padding after its header.
        end: before.map_or(header_end, |_| data_end),
        padded_end,
    })
}

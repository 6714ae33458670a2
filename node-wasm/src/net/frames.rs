//! Frames on a stream: the length as an unsigned varint, then the bytes.

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use std::io;
use thrum_protocol::limits::MAX_FRAME_BYTES;

/// bytes; the length of the longest frame as a varint has 7 bits in each.
const MAX_PREFIX_BYTES: usize =
    (usize::BITS - MAX_FRAME_BYTES.leading_zeros()).div_ceil(7) as usize;

/// Why a stream broke.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The connection under it broke, or the stream ended inside a frame.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The length is not a varint in its shortest form.
    #[error("the peer broke the framing: malformed length")]
    MalformedLength,
    /// The frame would be longer than any honest one.
    #[error("the peer broke the framing: a frame of {got_bytes} bytes, at most {MAX_FRAME_BYTES}")]
    TooLong {
        /// bytes announced
        got_bytes: usize,
    },
}

/// The next frame, `None` where the stream ended between two frames.
///
/// # Errors
/// [`FrameError`]; nothing more can be read then.
pub(super) async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
) -> Result<Option<Vec<u8>>, FrameError> {
    let Some(length) = read_length(reader).await? else {
        return Ok(None);
    };
    let mut frame = vec![0; length];
    reader.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

async fn read_length<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Option<usize>, FrameError> {
    let mut length = 0;
    for position in 0..MAX_PREFIX_BYTES {
        let mut byte = [0];
        if reader.read(&mut byte).await? == 0 {
            return if position == 0 {
                Ok(None)
            } else {
                Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()))
            };
        }
        length |= usize::from(byte[0] & 0x7f) << (7 * position);
        if byte[0] & 0x80 == 0 {
            if byte[0] == 0 && position > 0 {
                return Err(FrameError::MalformedLength);
            }
            if length > MAX_FRAME_BYTES {
                return Err(FrameError::TooLong { got_bytes: length });
            }
            return Ok(Some(length));
        }
    }
    Err(FrameError::MalformedLength)
}

/// Writes one frame and flushes it.
///
/// # Errors
/// What the stream says.
pub(super) async fn write<W: AsyncWrite + Unpin>(writer: &mut W, frame: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(MAX_PREFIX_BYTES + frame.len());
    let mut length = frame.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(frame);
    writer.write_all(&bytes).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests;

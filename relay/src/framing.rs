//! Owns how messages stand on a stream: each after its length, a varint, as in all of libp2p.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes that a length may take: more than any limit needs.
const MAX_LENGTH_BYTES: usize = 4;

/// Reads one message of at most `max_bytes`; `None` where the stream has ended before it.
pub(crate) async fn read<R>(stream: &mut R, max_bytes: usize) -> io::Result<Option<Vec<u8>>>
where
    R: AsyncRead + Unpin,
{
    let Some(n_bytes) = read_length(stream).await? else {
        return Ok(None);
    };
    if n_bytes > max_bytes {
        let reason = format!("a message of {n_bytes} bytes, {max_bytes} are the most");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let mut bytes = Vec::new();
    stream.take(n_bytes as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < n_bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes))
}

async fn read_length<R>(stream: &mut R) -> io::Result<Option<usize>>
where
    R: AsyncRead + Unpin,
{
    let mut length = 0;
    for position in 0..MAX_LENGTH_BYTES {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            let is_between = position == 0;
            let cut = || Err(io::ErrorKind::UnexpectedEof.into());
            return if is_between { Ok(None) } else { cut() };
        }
        length |= usize::from(byte[0] & 127) << (7 * position);
        if byte[0] < 128 {
            return Ok(Some(length));
        }
    }
    let reason = "a length that does not end";
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// Writes one message.
pub(crate) async fn write<W>(stream: &mut W, bytes: &[u8]) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut framed = Vec::with_capacity(MAX_LENGTH_BYTES + bytes.len());
    let mut left = bytes.len();
    while left > 127 {
        framed.push((left % 128) as u8 | 128);
        left /= 128;
    }
    framed.push(left as u8);
    framed.extend(bytes);
    stream.write_all(&framed).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut framed = Vec::new();
        block_on(write(&mut framed, bytes)).unwrap();
        framed
    }

    #[test]
    fn what_is_written_is_read() {
        for n_bytes in [0, 1, 127, 128, 16_383, 16_384, 300_000] {
            let bytes: Vec<_> = (0..n_bytes).map(|n| n as u8).collect();
            let mut both = framed(&bytes);
            both.extend(framed(b"next"));
            let mut stream = Cursor::new(both);
            let mut next = || block_on(read(&mut stream, 300_000)).unwrap();
            assert_eq!(next(), Some(bytes));
            assert_eq!(next(), Some(b"next".to_vec()));
            assert_eq!(next(), None);
        }
    }

    #[test]
    fn bad_lengths_and_cut_messages_are_errors() {
        let too_long = framed(&[0; 11]);
        let bad: [&[u8]; 4] = [&too_long, &[0xFF; 9], &[0xFF], &[5, 1, 2]];
        for bytes in bad {
            block_on(read(&mut Cursor::new(bytes), 10)).unwrap_err();
        }
    }
}

//! Owns how packets follow each other on a socket: two bytes of length, then the packet.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::limits;

/// The next packet; `None`: the other side has ended.
///
/// # Errors
/// When the socket fails, or a packet would be longer than any can be.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match from.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > limits::MTU {
        let reason = format!("a packet of {length} bytes, at most {}", limits::MTU);
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let mut packet = vec![0; length];
    from.read_exact(&mut packet).await?;
    Ok(Some(packet))
}

/// Writes a packet.
///
/// # Errors
/// When the socket fails, or the packet is longer than any can be.
pub async fn write(to: &mut (impl AsyncWrite + Unpin), packet: &[u8]) -> io::Result<()> {
    let length = u16::try_from(packet.len()).ok();
    let length = length.filter(|&length| usize::from(length) <= limits::MTU);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    to.write_all(&[&length.to_be_bytes(), packet].concat())
        .await
}

//! Circuits in small pieces, each sent before the next is taken.
//!
//! Under a circuit there may be a data channel of webrtc-direct. The relay's WebRTC library reads
//! a message in a buffer of 8 KiB and loses what does not fit, and the browser's side glues small
//! messages together to up to 16 KiB unless it is flushed (measured: a frame of 8 kB never arrived).

use futures::io::{AsyncRead, AsyncWrite};
use futures::ready;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// bytes; half of the relay's buffer, which leaves room for the framing.
const PIECE_BYTES: usize = 4 * 1024;

/// A stream whose writer never runs ahead by more than a piece.
pub(super) struct Paced<S> {
    inner: S,
    /// written since the last flush; at most [`PIECE_BYTES`]
    unflushed_bytes: usize,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            unflushed_bytes: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unflushed_bytes >= PIECE_BYTES {
            ready!(self.as_mut().poll_flush(context))?;
        }
        let piece = &bytes[..bytes.len().min(PIECE_BYTES - self.unflushed_bytes)];
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, piece))?;
        self.unflushed_bytes += written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        self.unflushed_bytes = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

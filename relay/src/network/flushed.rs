//! Has every write on a data channel go out before the next is taken.
//!
//! libp2p-webrtc gathers what is written without pause into messages of up to 24 KiB and refuses
//! those above the 16 KiB that it has agreed with the browser: a circuit to a browser broke as soon
//! as its sender was fast.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

/// bytes; what one message carries: half of what the browser was promised.
const MAX_WRITE: usize = 8 * 1024;

/// A connection of data channels.
pub(super) struct Flushed(pub(super) StreamMuxerBox);

impl StreamMuxer for Flushed {
    type Substream = FlushedStream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<FlushedStream>> {
        let stream = Pin::new(&mut self.0).poll_inbound(context);
        stream.map_ok(FlushedStream::new)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<FlushedStream>> {
        let stream = Pin::new(&mut self.0).poll_outbound(context);
        stream.map_ok(FlushedStream::new)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.0).poll(context)
    }
}

/// A data channel.
pub(super) struct FlushedStream {
    inner: SubstreamBox,
    /// the last write may not have gone out
    wrote: bool,
}

impl FlushedStream {
    fn new(inner: SubstreamBox) -> Self {
        let wrote = false;
        Self { inner, wrote }
    }
}

impl AsyncRead for FlushedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(context, out)
    }
}

impl AsyncWrite for FlushedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.wrote {
            ready!(self.as_mut().poll_flush(context))?;
        }
        let message = &bytes[..bytes.len().min(MAX_WRITE)];
        let n = ready!(Pin::new(&mut self.inner).poll_write(context, message))?;
        self.wrote = n > 0;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        self.wrote = false;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

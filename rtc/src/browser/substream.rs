//! A stream as libp2p reads and writes it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};
use send_wrapper::SendWrapper;

use super::channel::Channel;

/// A stream to a peer. Dropping it resets what was not closed.
pub struct Substream(SendWrapper<Rc<Channel>>);

impl Substream {
    pub(super) fn new(channel: Rc<Channel>) -> Self {
        Self(SendWrapper::new(channel))
    }
}

impl AsyncRead for Substream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(context, out)
    }
}

impl AsyncWrite for Substream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(context)
    }
}

impl Drop for Substream {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl fmt::Debug for Substream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Substream").field(&self.0.key()).finish()
    }
}

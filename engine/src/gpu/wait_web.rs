//! Waiting for the GPU where the browser polls it.

use futures::channel::oneshot::Receiver;

/// What `receiver` is sent once the work submitted so far is done; `None` when it never will be.
pub(super) async fn submitted<T>(_device: &wgpu::Device, receiver: Receiver<T>) -> Option<T> {
    receiver.await.ok()
}

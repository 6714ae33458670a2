//! Waiting for the GPU where nobody else polls it.

use std::time::Duration;

use futures::channel::oneshot::Receiver;

/// A slice of a prompt takes milliseconds on a GPU and seconds on llvmpipe; a driver that is silent
/// for this long has hung.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `receiver` is sent once the work submitted so far is done; `None` when it never will be.
#[expect(clippy::unused_async, reason = "its twin for the browser waits")]
pub(super) async fn submitted<T>(device: &wgpu::Device, mut receiver: Receiver<T>) -> Option<T> {
    let wait = wgpu::PollType::Wait {
        submission_index: None,
        timeout: Some(PATIENCE),
    };
    // A failed poll has run its callbacks or never will: the receiver knows which.
    device.poll(wait).ok();
    receiver.try_recv().ok().flatten()
}

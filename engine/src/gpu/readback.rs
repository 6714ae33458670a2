//! Bringing words back from the GPU: the only moment a forward pass waits for it.

use bytemuck::AnyBitPattern;
use futures::channel::oneshot;

use crate::error::EngineError;
use crate::gpu::device::GpuDevice;
use crate::gpu::wait;

/// bytes
const WORD_BYTES: usize = 4;

/// A buffer that the CPU can map, reused from one call to the next.
#[derive(Debug, Default)]
pub(super) struct Readback {
    /// Taken while it is mapped: a future that is dropped half-way loses its buffer, and the next
    /// call makes another.
    idle: Option<wgpu::Buffer>,
    waits: u64,
    bytes: u64,
}

/// A buffer to which words are copied.
#[derive(Debug)]
pub(super) struct Copy {
    buffer: wgpu::Buffer,
    bytes: u64,
}

impl Readback {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// How often somebody waited, and for how many bytes in all.
    pub(super) fn used(&self) -> (u64, u64) {
        (self.waits, self.bytes)
    }

    /// A buffer to which `encoder` will have copied the first `words` words of `source`.
    pub(super) fn copy(
        &mut self,
        device: &GpuDevice,
        encoder: &mut wgpu::CommandEncoder,
        source: &wgpu::Buffer,
        words: usize,
    ) -> Copy {
        let bytes = (words * WORD_BYTES) as u64;
        let idle = self.idle.take().filter(|buffer| buffer.size() >= bytes);
        let buffer = idle.unwrap_or_else(|| {
            device.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("readback"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        encoder.copy_buffer_to_buffer(source, 0, &buffer, 0, bytes);
        Copy { buffer, bytes }
    }

    /// The words of `copy`, once all that was submitted before is done.
    ///
    /// # Errors
    /// [`EngineError::GpuLost`] when the device goes away meanwhile, or refused anything before.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the buffer, nothing else.
    pub(super) async fn read<T: AnyBitPattern>(
        &mut self,
        device: &GpuDevice,
        copy: Copy,
    ) -> Result<Vec<T>, EngineError> {
        const { assert!(size_of::<T>() == WORD_BYTES, "a word is what is copied") };
        let Copy { buffer, bytes } = copy;
        let (sender, receiver) = oneshot::channel();
        buffer.map_async(wgpu::MapMode::Read, ..bytes, move |mapped| {
            // The receiver is gone when the caller has lost interest.
            sender.send(mapped).ok();
        });
        match wait::submitted(&device.device, receiver).await {
            Some(Ok(())) => {}
            Some(Err(_)) => return Err(device.loss("its answer could not be mapped")),
            None => return Err(device.loss("the device stopped answering")),
        }
        device.check()?;
        self.waits += 1;
        self.bytes += bytes;
        // The mapping is as aligned as the browser made it, so the words are copied out.
        let words = buffer
            .get_mapped_range(..bytes)
            .chunks_exact(WORD_BYTES)
            .map(bytemuck::pod_read_unaligned)
            .collect();
        buffer.unmap();
        self.idle = Some(buffer);
        Ok(words)
    }
}

//! Bringing floats back from the GPU: the only moment a forward pass waits for it.

use futures::channel::oneshot;

use crate::error::EngineError;
use crate::gpu::device::GpuDevice;
use crate::gpu::wait;

/// A buffer that the CPU can map, reused from one call to the next.
#[derive(Debug)]
pub(super) struct Readback {
    /// Taken while it is mapped: a future that is dropped half-way loses its buffer, and the next
    /// call makes another.
    idle: Option<wgpu::Buffer>,
    floats: usize,
}

impl Readback {
    pub(super) fn new(floats: usize) -> Self {
        Self { idle: None, floats }
    }

    /// A buffer to which `encoder` will have copied the first floats of `source`.
    pub(super) fn copy(
        &mut self,
        device: &GpuDevice,
        encoder: &mut wgpu::CommandEncoder,
        source: &wgpu::Buffer,
    ) -> wgpu::Buffer {
        let bytes = (self.floats * size_of::<f32>()) as u64;
        let buffer = self.idle.take().unwrap_or_else(|| {
            device.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("readback"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        encoder.copy_buffer_to_buffer(source, 0, &buffer, 0, bytes);
        buffer
    }

    /// The floats in `buffer`, once all that was submitted before is done.
    ///
    /// # Errors
    /// [`EngineError::GpuLost`] when the device goes away meanwhile, or refused anything before.
    ///
    /// # Cancel safety
    /// Dropping the future forgets `buffer`, nothing else.
    pub(super) async fn read(
        &mut self,
        device: &GpuDevice,
        buffer: wgpu::Buffer,
    ) -> Result<Vec<f32>, EngineError> {
        let (sender, receiver) = oneshot::channel();
        buffer.map_async(wgpu::MapMode::Read, .., move |mapped| {
            // The receiver is gone when the caller has lost interest.
            sender.send(mapped).ok();
        });
        match wait::submitted(&device.device, receiver).await {
            Some(Ok(())) => {}
            Some(Err(_)) => return Err(device.loss("the logits could not be mapped")),
            None => return Err(device.loss("the device stopped answering")),
        }
        device.check()?;
        // The mapping is as aligned as the browser made it, so the floats are copied out.
        let floats = buffer
            .get_mapped_range(..)
            .chunks_exact(size_of::<f32>())
            .map(bytemuck::pod_read_unaligned)
            .collect();
        buffer.unmap();
        self.idle = Some(buffer);
        Ok(floats)
    }
}

//! A model on the GPU: tokens in, logits out.

use std::collections::BTreeMap;

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gpu::bind::Kernels;
use crate::gpu::device::GpuDevice;
use crate::gpu::plan::Plan;
use crate::gpu::readback::Readback;
use crate::gpu::upload::GpuTensor;
use crate::kv::check_batch;
use crate::weights::Slot;

/// A llama model whose weights and keys and values live on a GPU.
#[derive(Debug)]
pub struct GpuModel {
    device: GpuDevice,
    config: ModelConfig,
    /// Shared with every fork.
    tensors: BTreeMap<Slot, GpuTensor>,
    /// Shared with every fork.
    kernels: Kernels,
    plan: Plan,
    readback: Readback,
    /// Positions whose keys and values are in the cache.
    cached_len: usize,
}

impl GpuModel {
    /// Waits until the device has taken every weight, so that running out of memory shows here.
    pub(super) async fn new(
        device: GpuDevice,
        config: ModelConfig,
        tensors: BTreeMap<Slot, GpuTensor>,
    ) -> Result<Self, EngineError> {
        let mut model = Self::over(device, config, tensors, Kernels::default())?;
        let mut encoder = model.encoder();
        let copy = model
            .readback
            .copy(&model.device, &mut encoder, &model.plan.logits);
        model.device.queue.submit([encoder.finish()]);
        model.readback.read(&model.device, copy).await?;
        Ok(model)
    }

    /// Another model on the same weights, with keys and values of its own and none cached.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when the cache does not fit, [`EngineError::GpuLost`]
    /// once the device has gone. That the device has run out of memory shows at the next pass.
    pub fn fork(&self) -> Result<Self, EngineError> {
        self.device.check()?;
        Self::over(
            self.device.clone(),
            self.config.clone(),
            self.tensors.clone(),
            self.kernels.clone(),
        )
    }

    fn over(
        device: GpuDevice,
        config: ModelConfig,
        tensors: BTreeMap<Slot, GpuTensor>,
        mut kernels: Kernels,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            plan: Plan::new(&device, &config, &tensors, &mut kernels)?,
            readback: Readback::new(config.vocab_size),
            device,
            config,
            tensors,
            kernels,
            cached_len: 0,
        })
    }

    /// What the model is made of.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device it runs on.
    pub fn device(&self) -> &GpuDevice {
        &self.device
    }

    /// Positions whose keys and values are in the cache; a pass may start at any of them, or next.
    pub fn cached_len(&self) -> usize {
        self.cached_len
    }

    /// Feeds `tokens` from position `start_pos` on and returns the logits of the last, `(vocab_size)`.
    ///
    /// What the cache held from `start_pos` on is forgotten. One submit, one wait.
    ///
    /// # Errors
    /// As [`check_batch`]; and [`EngineError::GpuLost`] once the device has gone: the model has to be
    /// loaded again, on another device.
    ///
    /// # Cancel safety
    /// When the future is dropped, the cache holds what it held before `start_pos`.
    pub async fn forward(
        &mut self,
        tokens: &[u32],
        start_pos: usize,
    ) -> Result<Vec<f32>, EngineError> {
        self.device.check()?;
        let ModelConfig {
            context_len,
            vocab_size,
            ..
        } = self.config;
        check_batch(tokens, start_pos, self.cached_len, context_len, vocab_size)?;
        self.cached_len = start_pos;

        self.plan
            .set_slice(&self.device.queue, tokens, start_pos as u32);
        let mut encoder = self.encoder();
        self.plan.record(&mut encoder, tokens.len() as u32);
        let copy = self
            .readback
            .copy(&self.device, &mut encoder, &self.plan.logits);
        self.device.queue.submit([encoder.finish()]);
        let logits = self.readback.read(&self.device, copy).await?;
        self.cached_len = start_pos + tokens.len();
        Ok(logits)
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }
}

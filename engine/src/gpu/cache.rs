//! Keys and values in GPU memory: pages of positions, for every layer, grown as they are used.

pub use thrum_shaders::CacheFormat;

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gpu::device::GpuDevice;
use crate::pass::PAGE_LEN;

/// pages; the first allocation, a short conversation.
const FIRST_PAGES: usize = 8;

/// channels that share a scale in [`CacheFormat::Q8`].
const Q8_GROUP: usize = 32;

/// The cache of a model.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) format: CacheFormat,
    /// Pages there is room for.
    pages: usize,
    page_bytes: u64,
    /// Keys and values of each layer, `(pages, PAGE_LEN, kv_heads, words of a head)`.
    pub(super) layers: Vec<[wgpu::Buffer; 2]>,
}

impl Cache {
    /// An empty cache with room for a few pages.
    ///
    /// # Errors
    /// As [`Cache::make_room`].
    pub(super) fn new(
        device: &GpuDevice,
        config: &ModelConfig,
        format: CacheFormat,
    ) -> Result<Self, EngineError> {
        let head_words = match format {
            CacheFormat::F32 => config.head_dim,
            CacheFormat::F16 => config.head_dim / 2,
            CacheFormat::Q8 => config.head_dim / 4 + config.head_dim.div_ceil(Q8_GROUP),
        };
        let page_words = PAGE_LEN * config.n_kv_heads * head_words;
        let mut cache = Self {
            format,
            pages: 0,
            page_bytes: page_words as u64 * 4,
            layers: Vec::with_capacity(config.n_layers),
        };
        for _ in 0..config.n_layers {
            cache.layers.push(cache.buffers(device, FIRST_PAGES)?);
        }
        cache.pages = FIRST_PAGES;
        Ok(cache)
    }

    /// Makes room for pages below `pages`; true when the buffers are others than before.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when the adapter cannot bind that many; the cache is as
    /// before then.
    pub(super) fn make_room(
        &mut self,
        device: &GpuDevice,
        pages: usize,
    ) -> Result<bool, EngineError> {
        if pages <= self.pages {
            return Ok(false);
        }
        let most = (device.max_buffer_bytes() / self.page_bytes) as usize;
        let pages = pages.max(most.min(2 * self.pages));
        let grown = (0..self.layers.len())
            .map(|_| self.buffers(device, pages))
            .collect::<Result<Vec<_>, _>>()?;
        let mut encoder = device.encoder();
        let bytes = self.pages as u64 * self.page_bytes;
        for (old, new) in self.layers.iter().flatten().zip(grown.iter().flatten()) {
            encoder.copy_buffer_to_buffer(old, 0, new, 0, bytes);
        }
        device.queue.submit([encoder.finish()]);
        self.layers = grown;
        self.pages = pages;
        Ok(true)
    }

    /// Records a copy of page `from` of every layer to page `to`; both are in the cache.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when there is no room for one page more.
    pub(super) fn copy(
        &self,
        device: &GpuDevice,
        encoder: &mut wgpu::CommandEncoder,
        from: u32,
        to: u32,
    ) -> Result<(), EngineError> {
        // A buffer may not be copied to itself, so that a page goes through another.
        let between = device.storage("a page on its way", self.page_bytes)?;
        let at = |page: u32| u64::from(page) * self.page_bytes;
        for buffer in self.layers.iter().flatten() {
            encoder.copy_buffer_to_buffer(buffer, at(from), &between, 0, self.page_bytes);
            encoder.copy_buffer_to_buffer(&between, 0, buffer, at(to), self.page_bytes);
        }
        Ok(())
    }

    fn buffers(&self, device: &GpuDevice, pages: usize) -> Result<[wgpu::Buffer; 2], EngineError> {
        let bytes = pages as u64 * self.page_bytes;
        Ok([
            device.storage("keys", bytes)?,
            device.storage("values", bytes)?,
        ])
    }
}

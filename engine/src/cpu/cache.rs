//! Keys and values on the CPU, by place in the pages of [`crate::sequences`].

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::pass::{PAGE_LEN, Pass};
use crate::sequences::PageCopy;

/// Keys and values of every layer, `(places, kv_dim)` each, grown as pages are used.
#[derive(Debug)]
pub(super) struct Cache {
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
    kv_dim: usize,
}

impl Cache {
    pub(super) fn new(config: &ModelConfig) -> Self {
        Self {
            keys: vec![Vec::new(); config.n_layers],
            values: vec![Vec::new(); config.n_layers],
            kv_dim: config.kv_dim(),
        }
    }

    /// Makes room for every page of a pass.
    pub(super) fn make_room(&mut self, pass: &Pass) -> Result<(), EngineError> {
        let pages = pass.sequences.iter().flat_map(|it| &it.pages);
        self.grow(pages.copied().max().unwrap_or(0))
    }

    fn grow(&mut self, last_page: u32) -> Result<(), EngineError> {
        let floats = (last_page as usize + 1) * PAGE_LEN * self.kv_dim;
        for plane in self.keys.iter_mut().chain(&mut self.values) {
            let more = floats.saturating_sub(plane.len());
            plane
                .try_reserve(more)
                .map_err(|_| EngineError::OutOfMemory {
                    what: "keys and values".to_owned(),
                    needed_bytes: (more * size_of::<f32>()) as u64,
                })?;
            plane.resize(plane.len() + more, 0.0);
        }
        Ok(())
    }

    /// Keeps the keys and values of every row.
    pub(super) fn store(
        &mut self,
        layer: usize,
        pass: &Pass,
        k: &[f32], // (rows, kv_dim)
        v: &[f32], // (rows, kv_dim)
    ) {
        let rows = k
            .chunks_exact(self.kv_dim)
            .zip(v.chunks_exact(self.kv_dim))
            .zip(&pass.rows);
        for ((k, v), row) in rows {
            let at = row.place as usize * self.kv_dim;
            self.keys[layer][at..at + self.kv_dim].copy_from_slice(k);
            self.values[layer][at..at + self.kv_dim].copy_from_slice(v);
        }
    }

    /// Keys of a layer, `(places, kv_dim)`.
    pub(super) fn keys(&self, layer: usize) -> &[f32] {
        &self.keys[layer]
    }

    /// Values of a layer, `(places, kv_dim)`.
    pub(super) fn values(&self, layer: usize) -> &[f32] {
        &self.values[layer]
    }

    pub(super) fn copy_page(&mut self, copy: PageCopy) -> Result<(), EngineError> {
        self.grow(copy.from.max(copy.to))?;
        let page = PAGE_LEN * self.kv_dim;
        let (from, to) = (copy.from as usize * page, copy.to as usize * page);
        for plane in self.keys.iter_mut().chain(&mut self.values) {
            plane.copy_within(from..from + page, to);
        }
        Ok(())
    }

    /// Changes the keys of a page, `(PAGE_LEN, kv_dim)`.
    pub(super) fn change_keys(&mut self, layer: usize, page: u32, change: impl Fn(&mut [f32])) {
        let floats = PAGE_LEN * self.kv_dim;
        let at = page as usize * floats;
        change(&mut self.keys[layer][at..at + floats]);
    }
}

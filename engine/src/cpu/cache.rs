//! Keys and values on the CPU, by place in the pages of [`crate::sequences`].

use super::vector::{narrow_f16, widen_f16};
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::kv::{KvFormat, Q8_GROUP};
use crate::pass::{PAGE_LEN, Pass};
use crate::sequences::PageCopy;

/// Keys and values of every layer, grown as pages are used.
#[derive(Debug)]
pub(super) struct Cache {
    /// One per layer, keys, then one per layer, values.
    planes: Vec<Plane>,
    n_layers: usize,
    kv_dim: usize,
}

/// The keys, or the values, of a layer, `(places, kv_dim)`.
#[derive(Debug, Clone)]
enum Plane {
    F16(Vec<u16>),
    Q8 {
        codes: Vec<i8>,
        /// `(places, kv_dim / Q8_GROUP)`, the last group of a place may be shorter.
        scales: Vec<f32>,
    },
}

impl Cache {
    pub(super) fn new(config: &ModelConfig, format: KvFormat) -> Self {
        let plane = match format {
            KvFormat::F16 => Plane::F16(Vec::new()),
            KvFormat::Q8 => Plane::Q8 {
                codes: Vec::new(),
                scales: Vec::new(),
            },
        };
        Self {
            planes: vec![plane; 2 * config.n_layers],
            n_layers: config.n_layers,
            kv_dim: config.kv_dim(),
        }
    }

    /// Makes room for every page of a pass.
    pub(super) fn make_room(&mut self, pass: &Pass) -> Result<(), EngineError> {
        let pages = pass.sequences.iter().flat_map(|it| &it.pages);
        self.grow(pages.copied().max().unwrap_or(0))
    }

    fn grow(&mut self, last_page: u32) -> Result<(), EngineError> {
        let places = (last_page as usize + 1) * PAGE_LEN;
        let kv_dim = self.kv_dim;
        for plane in &mut self.planes {
            match plane {
                Plane::F16(values) => extend(values, places * kv_dim)?,
                Plane::Q8 { codes, scales } => {
                    extend(codes, places * kv_dim)?;
                    extend(scales, places * kv_dim.div_ceil(Q8_GROUP))?;
                }
            }
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
        let kv_dim = self.kv_dim;
        for (plane, rows) in [(layer, k), (self.n_layers + layer, v)] {
            for (values, row) in rows.chunks_exact(kv_dim).zip(&pass.rows) {
                self.planes[plane].write(row.place as usize, values);
            }
        }
    }

    /// Writes `channels` of the keys of a place to `out`.
    pub(super) fn read_key(&self, layer: usize, place: usize, first: usize, out: &mut [f32]) {
        self.planes[layer].read(place, self.kv_dim, first, out);
    }

    /// Writes `channels` of the values of a place to `out`.
    pub(super) fn read_value(&self, layer: usize, place: usize, first: usize, out: &mut [f32]) {
        self.planes[self.n_layers + layer].read(place, self.kv_dim, first, out);
    }

    pub(super) fn copy_page(&mut self, copy: PageCopy) -> Result<(), EngineError> {
        self.grow(copy.from.max(copy.to))?;
        let page = PAGE_LEN * self.kv_dim;
        let groups = PAGE_LEN * self.kv_dim.div_ceil(Q8_GROUP);
        let (from, to) = (copy.from as usize, copy.to as usize);
        for plane in &mut self.planes {
            match plane {
                Plane::F16(values) => {
                    values.copy_within(from * page..(from + 1) * page, to * page);
                }
                Plane::Q8 { codes, scales } => {
                    codes.copy_within(from * page..(from + 1) * page, to * page);
                    scales.copy_within(from * groups..(from + 1) * groups, to * groups);
                }
            }
        }
        Ok(())
    }

    /// Changes the keys of a page, `(kv_dim)` at a time.
    pub(super) fn change_keys(&mut self, layer: usize, page: u32, change: impl Fn(&mut [f32])) {
        let mut keys = vec![0.0; self.kv_dim];
        for i in 0..PAGE_LEN {
            let place = page as usize * PAGE_LEN + i;
            self.read_key(layer, place, 0, &mut keys);
            change(&mut keys);
            self.planes[layer].write(place, &keys);
        }
    }
}

impl Plane {
    fn write(&mut self, place: usize, values: &[f32] /* (kv_dim) */) {
        let kv_dim = values.len();
        let at = place * kv_dim;
        match self {
            Self::F16(plane) => narrow_f16(values, &mut plane[at..at + kv_dim]),
            Self::Q8 { codes, scales } => {
                let n_groups = kv_dim.div_ceil(Q8_GROUP);
                let scales = &mut scales[place * n_groups..(place + 1) * n_groups];
                let codes = codes[at..at + kv_dim].chunks_mut(Q8_GROUP);
                for ((values, codes), scale) in values.chunks(Q8_GROUP).zip(codes).zip(scales) {
                    let largest = values.iter().fold(0.0_f32, |max, it| max.max(it.abs()));
                    *scale = largest / 127.0;
                    let inverse = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
                    for (code, value) in codes.iter_mut().zip(values) {
                        *code = libm::rintf(value * inverse) as i8;
                    }
                }
            }
        }
    }

    /// Channels of a place from `first` on.
    fn read(&self, place: usize, kv_dim: usize, first: usize, out: &mut [f32]) {
        let at = place * kv_dim + first;
        match self {
            Self::F16(plane) => widen_f16(&plane[at..at + out.len()], out),
            Self::Q8 { codes, scales } => {
                let scales = &scales[place * kv_dim.div_ceil(Q8_GROUP)..];
                for (i, (out, code)) in out.iter_mut().zip(&codes[at..]).enumerate() {
                    *out = f32::from(*code) * scales[(first + i) / Q8_GROUP];
                }
            }
        }
    }
}

fn extend<T: Clone + Default>(values: &mut Vec<T>, len: usize) -> Result<(), EngineError> {
    let more = len.saturating_sub(values.len());
    values
        .try_reserve(more)
        .map_err(|_| EngineError::OutOfMemory {
            what: "keys and values".to_owned(),
            needed_bytes: (more * size_of::<T>()) as u64,
        })?;
    values.resize(values.len() + more, T::default());
    Ok(())
}

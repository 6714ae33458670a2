//! Keys and values on the CPU, by place in the pages of [`crate::sequences`].
//!
//! A page holds one head after another, and of each head what attention reads in one go: its keys
//! channel by channel (so that scores of many positions are computed side by side), its values
//! position by position.

use super::vector::{f16_from_f32, f32_from_f16, widen_f16};
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::kv::{KvFormat, Q8_GROUP};
use crate::pass::{PAGE_LEN, Pass};
use crate::sequences::PageCopy;

/// Keys and values of every layer, grown as pages are used.
#[derive(Debug)]
pub(super) struct Cache {
    /// One per layer.
    keys: Vec<Plane>,
    /// One per layer.
    values: Vec<Plane>,
    kv_dim: usize,
}

/// The keys, or the values, of a layer.
#[derive(Debug, Clone)]
struct Plane {
    order: Order,
    head_dim: usize,
    kv_dim: usize,
    numbers: Numbers,
}

/// What lies side by side in a head of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The positions of a channel: `(head_dim, PAGE_LEN)`.
    Channels,
    /// The channels of a position: `(PAGE_LEN, head_dim)`.
    Positions,
}

/// `(pages, kv_dim * PAGE_LEN)`
#[derive(Debug, Clone)]
enum Numbers {
    F16(Vec<u16>),
    Q8 {
        codes: Vec<i8>,
        /// `(pages, kv_dim / Q8_GROUP, PAGE_LEN)`, the last group may be shorter.
        scales: Vec<f32>,
    },
}

impl Cache {
    pub(super) fn new(config: &ModelConfig, format: KvFormat) -> Self {
        let plane = |order| Plane {
            order,
            head_dim: config.head_dim,
            kv_dim: config.kv_dim(),
            numbers: match format {
                KvFormat::F16 => Numbers::F16(Vec::new()),
                KvFormat::Q8 => Numbers::Q8 {
                    codes: Vec::new(),
                    scales: Vec::new(),
                },
            },
        };
        Self {
            keys: vec![plane(Order::Channels); config.n_layers],
            values: vec![plane(Order::Positions); config.n_layers],
            kv_dim: config.kv_dim(),
        }
    }

    /// Makes room for every page of a pass.
    pub(super) fn make_room(&mut self, pass: &Pass) -> Result<(), EngineError> {
        let pages = pass.sequences.iter().flat_map(|it| &it.pages);
        self.grow(pages.copied().max().unwrap_or(0))
    }

    fn grow(&mut self, last_page: u32) -> Result<(), EngineError> {
        let n_pages = last_page as usize + 1;
        let n_groups = self.kv_dim.div_ceil(Q8_GROUP);
        for plane in self.keys.iter_mut().chain(&mut self.values) {
            match &mut plane.numbers {
                Numbers::F16(numbers) => extend(numbers, n_pages * PAGE_LEN * self.kv_dim)?,
                Numbers::Q8 { codes, scales } => {
                    extend(codes, n_pages * PAGE_LEN * self.kv_dim)?;
                    extend(scales, n_pages * PAGE_LEN * n_groups)?;
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
        for (plane, rows) in [(&mut self.keys[layer], k), (&mut self.values[layer], v)] {
            for (numbers, row) in rows.chunks_exact(self.kv_dim).zip(&pass.rows) {
                plane.write(row.place as usize, numbers);
            }
        }
    }

    /// The keys of a head in a page, `(head_dim, PAGE_LEN)`.
    pub(super) fn read_keys(&self, layer: usize, page: u32, head: usize, out: &mut [f32]) {
        self.keys[layer].read(page as usize, head, out);
    }

    /// The values of a head in a page, `(PAGE_LEN, head_dim)`.
    pub(super) fn read_values(&self, layer: usize, page: u32, head: usize, out: &mut [f32]) {
        self.values[layer].read(page as usize, head, out);
    }

    pub(super) fn copy_page(&mut self, copy: PageCopy) -> Result<(), EngineError> {
        self.grow(copy.from.max(copy.to))?;
        let page = PAGE_LEN * self.kv_dim;
        let groups = PAGE_LEN * self.kv_dim.div_ceil(Q8_GROUP);
        let (from, to) = (copy.from as usize, copy.to as usize);
        for plane in self.keys.iter_mut().chain(&mut self.values) {
            match &mut plane.numbers {
                Numbers::F16(numbers) => {
                    numbers.copy_within(from * page..(from + 1) * page, to * page);
                }
                Numbers::Q8 { codes, scales } => {
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
        let plane = &mut self.keys[layer];
        for i in 0..PAGE_LEN {
            let place = page as usize * PAGE_LEN + i;
            for (channel, key) in keys.iter_mut().enumerate() {
                *key = plane.number(place, channel);
            }
            change(&mut keys);
            plane.write(place, &keys);
        }
    }
}

impl Plane {
    /// Where a channel of a place is.
    fn at(&self, place: usize, channel: usize) -> usize {
        let (page, i) = (place / PAGE_LEN, place % PAGE_LEN);
        let (head, channel) = (channel / self.head_dim, channel % self.head_dim);
        let in_head = match self.order {
            Order::Channels => channel * PAGE_LEN + i,
            Order::Positions => i * self.head_dim + channel,
        };
        page * PAGE_LEN * self.kv_dim + head * PAGE_LEN * self.head_dim + in_head
    }

    /// Where the scale of a group of channels of a place is.
    fn scale_at(&self, place: usize, group: usize) -> usize {
        let (page, i) = (place / PAGE_LEN, place % PAGE_LEN);
        (page * self.kv_dim.div_ceil(Q8_GROUP) + group) * PAGE_LEN + i
    }

    fn number(&self, place: usize, channel: usize) -> f32 {
        let at = self.at(place, channel);
        match &self.numbers {
            Numbers::F16(numbers) => f32_from_f16(numbers[at]),
            Numbers::Q8 { codes, scales } => {
                f32::from(codes[at]) * scales[self.scale_at(place, channel / Q8_GROUP)]
            }
        }
    }

    fn write(&mut self, place: usize, written: &[f32] /* (kv_dim) */) {
        let step = match self.order {
            Order::Channels => PAGE_LEN,
            Order::Positions => 1,
        };
        let head_dim = self.head_dim;
        let (first, first_scale) = (self.at(place, 0), self.scale_at(place, 0));
        let heads = written.chunks_exact(head_dim).enumerate();
        let heads = heads.map(|(head, written)| (first + head * PAGE_LEN * head_dim, written));
        match &mut self.numbers {
            Numbers::F16(numbers) => {
                for (at, written) in heads {
                    for (number, value) in numbers[at..].iter_mut().step_by(step).zip(written) {
                        *number = f16_from_f32(*value);
                    }
                }
            }
            Numbers::Q8 { codes, scales } => {
                let scales = scales[first_scale..].iter_mut().step_by(PAGE_LEN);
                let inverses = written.chunks(Q8_GROUP).zip(scales).map(|(group, scale)| {
                    let largest = group.iter().fold(0.0_f32, |max, it| max.max(it.abs()));
                    *scale = largest / 127.0;
                    if *scale > 0.0 { 1.0 / *scale } else { 0.0 }
                });
                let mut inverses =
                    inverses.flat_map(|inverse| std::iter::repeat_n(inverse, Q8_GROUP));
                for (at, written) in heads {
                    let codes = codes[at..].iter_mut().step_by(step);
                    for ((code, value), inverse) in codes.zip(written).zip(&mut inverses) {
                        *code = libm::rintf(value * inverse) as i8;
                    }
                }
            }
        }
    }

    /// A head of a page, in the order that it has here.
    fn read(&self, page: usize, head: usize, out: &mut [f32]) {
        let first = head * self.head_dim;
        let at = self.at(page * PAGE_LEN, first);
        match &self.numbers {
            Numbers::F16(numbers) => widen_f16(&numbers[at..at + out.len()], out),
            Numbers::Q8 { codes, scales } => {
                let codes = &codes[at..at + out.len()];
                let scales_of = |channel: usize| {
                    let at = self.scale_at(page * PAGE_LEN, (first + channel) / Q8_GROUP);
                    &scales[at..at + PAGE_LEN]
                };
                match self.order {
                    Order::Channels => {
                        let rows = out
                            .chunks_exact_mut(PAGE_LEN)
                            .zip(codes.chunks_exact(PAGE_LEN));
                        for (channel, (out, codes)) in rows.enumerate() {
                            let numbers = codes.iter().zip(scales_of(channel));
                            for (out, (code, scale)) in out.iter_mut().zip(numbers) {
                                *out = f32::from(*code) * scale;
                            }
                        }
                    }
                    Order::Positions => {
                        let rows = (out.chunks_exact_mut(self.head_dim))
                            .zip(codes.chunks_exact(self.head_dim));
                        for (i, (out, codes)) in rows.enumerate() {
                            for (channel, (out, code)) in out.iter_mut().zip(codes).enumerate() {
                                *out = f32::from(*code) * scales_of(channel)[i];
                            }
                        }
                    }
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

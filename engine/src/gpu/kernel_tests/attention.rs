//! The cache and what reads it.

use thrum_shaders::{ATTENTION, ATTENTION_THREAD, CACHE_LOAD, CACHE_STORE, CacheFormat};

use super::{Bench, ROUNDING, all_close, close, dot};
use crate::gpu::grid::{Across, Grid};
use crate::gpu::program::strips;
use crate::gpu::test_device::Noise;

const FORMATS: [CacheFormat; 3] = [CacheFormat::F32, CacheFormat::F16, CacheFormat::Q8];

/// Two sequences in one cache, with pages in no order.
struct Cached {
    kv_heads: usize,
    head_dim: usize,
    /// Positions of each sequence.
    lens: [usize; 2],
    /// First page of each in the table.
    tables: [usize; 2],
    pages: wgpu::Buffer,
    keys: wgpu::Buffer,
    values: wgpu::Buffer,
    /// What was kept, `(positions, kv_heads, head_dim)` of each sequence, one behind the other.
    kept: [Vec<f32>; 2],
}

impl Cached {
    /// Writes random keys and values and reads back what became of them.
    fn random(
        bench: &Bench,
        noise: &mut Noise,
        format: CacheFormat,
        (kv_heads, head_dim): (usize, usize),
        lens: [usize; 2],
        size: f32,
    ) -> Self {
        let pages_of = |len: usize| len.div_ceil(32);
        let count = pages_of(lens[0]) + pages_of(lens[1]);
        // 11 is prime to every count in use, so that every page has its own place.
        let table: Vec<u32> = (0..count)
            .map(|at| ((at * 11 + 3) % count) as u32)
            .collect();
        let head_words = match format {
            CacheFormat::F32 => head_dim,
            CacheFormat::F16 => head_dim / 2,
            CacheFormat::Q8 => head_dim / 4 + head_dim.div_ceil(32),
        };
        let words = vec![0_u32; count * 32 * kv_heads * head_words];
        let total = lens[0] + lens[1];
        let mut cached = Self {
            kv_heads,
            head_dim,
            lens,
            tables: [0, pages_of(lens[0])],
            pages: bench.words(&table),
            keys: bench.words(&words),
            values: bench.words(&words),
            kept: [Vec::new(), Vec::new()],
        };
        let width = kv_heads * head_dim;
        let k = noise.floats(total * width, size);
        let v = noise.floats(total * width, 2.0);
        cached.store(bench, format, &k, &v);
        cached.kept = cached.load(bench, format);
        // What a format may lose: nothing; half of 2^-10 (subnormals: 2^-25); half of 1/127 of the
        // largest of 32 channels.
        for (kept, given, most) in [(&cached.kept[0], &k, size), (&cached.kept[1], &v, 2.0)] {
            let most = f64::from(most);
            let given: Vec<f64> = given.iter().map(|x| f64::from(*x)).collect();
            let tolerance = match format {
                CacheFormat::F32 => 0.0,
                CacheFormat::F16 => most / 1024.0,
                CacheFormat::Q8 => most / 127.0 * 0.501,
            };
            all_close(kept, &given, tolerance);
        }
        cached
    }

    fn rows(&self) -> Vec<u32> {
        let of = |sequence: usize| {
            let table = self.tables[sequence] as u32;
            (0..self.lens[sequence] as u32).flat_map(move |p| [0, p, table, p + 1])
        };
        of(0).chain(of(1)).collect()
    }

    fn store(&self, bench: &Bench, format: CacheFormat, k: &[f32], v: &[f32]) {
        let (kv_heads, quads) = (self.kv_heads, self.head_dim / 4);
        let total = self.lens[0] + self.lens[1];
        let stride = (kv_heads * quads) as u32;
        // Keys have one vector before them in each row, values one behind.
        let padded = |x: &[f32], before: bool| -> Vec<f32> {
            let pad = |row: &[f32]| match before {
                true => [&[9.0; 4], row].concat(),
                false => [row, &[9.0; 4]].concat(),
            };
            x.chunks(kv_heads * self.head_dim).flat_map(pad).collect()
        };
        let words = [kv_heads as u32, quads as u32, 1, stride + 1, 0, stride + 1];
        let buffers = [
            &bench.params(&words),
            &bench.params(&[total as u32]),
            &bench.floats(&padded(k, true)),
            &bench.words(&self.rows()),
            &self.pages,
            &self.keys,
            &self.values,
            &bench.floats(&padded(v, false)),
        ];
        let grid = Grid::threads(kv_heads * strips(format, quads));
        bench.run(CACHE_STORE[format as usize], &[], &buffers, grid, total);
    }

    fn load(&self, bench: &Bench, format: CacheFormat) -> [Vec<f32>; 2] {
        let (kv_heads, quads) = (self.kv_heads, self.head_dim / 4);
        let total = self.lens[0] + self.lens[1];
        let floats = total * kv_heads * self.head_dim;
        let zeros = vec![0.0; floats];
        let (k, v) = (bench.floats(&zeros), bench.floats(&zeros));
        let buffers = [
            &bench.params(&[kv_heads as u32, quads as u32]),
            &bench.params(&[total as u32]),
            &k,
            &bench.words(&self.rows()),
            &self.pages,
            &self.keys,
            &self.values,
            &v,
        ];
        let grid = Grid::threads(kv_heads * quads);
        bench.run(CACHE_LOAD[format as usize], &[], &buffers, grid, total);
        [bench.read(&k, floats), bench.read(&v, floats)]
    }

    /// Key or value (`plane`) of one head at a position.
    fn head(&self, plane: usize, sequence: usize, position: usize, head: usize) -> &[f32] {
        let row = position + if sequence == 1 { self.lens[0] } else { 0 };
        &self.kept[plane][(row * self.kv_heads + head) * self.head_dim..][..self.head_dim]
    }
}

/// One shape of attention.
#[derive(Clone, Copy)]
struct Case {
    share: usize,
    kv_heads: usize,
    head_dim: usize,
    lens: [usize; 2],
    window: usize,
    softcap: f32,
    /// Of keys and queries.
    size: f32,
    is_causal: bool,
}

const CASE: Case = Case {
    share: 2,
    kv_heads: 2,
    head_dim: 32,
    lens: [5, 1],
    window: 0,
    softcap: 0.0,
    size: 1.0,
    is_causal: true,
};

#[test]
fn attention_mixes_what_a_row_sees_and_nothing_else() {
    let Some(bench) = Bench::new() else { return };
    let cases = [
        Case {
            share: 1,
            kv_heads: 1,
            head_dim: 4,
            lens: [1, 1],
            ..CASE
        },
        CASE,
        Case {
            share: 3,
            head_dim: 20,
            lens: [66, 40],
            size: 4.0,
            ..CASE
        },
        Case {
            head_dim: 128,
            kv_heads: 1,
            lens: [132, 64],
            softcap: 50.0,
            ..CASE
        },
        // Scores of some thousands: an exponential that is not shifted overflows.
        Case {
            share: 1,
            kv_heads: 3,
            head_dim: 8,
            lens: [74, 3],
            size: 60.0,
            ..CASE
        },
        Case {
            head_dim: 64,
            lens: [150, 33],
            window: 33,
            ..CASE
        },
        Case {
            head_dim: 256,
            kv_heads: 1,
            lens: [70, 31],
            window: 7,
            softcap: 20.0,
            ..CASE
        },
        Case {
            lens: [100, 70],
            is_causal: false,
            ..CASE
        },
    ];
    for (at, case) in cases.into_iter().enumerate() {
        for format in FORMATS {
            let mut noise = Noise(500 + at as u64);
            let shape = (case.kv_heads, case.head_dim);
            let cached = Cached::random(&bench, &mut noise, format, shape, case.lens, case.size);
            for threads in [false, true] {
                check(&bench, &mut noise, format, &cached, case, threads);
            }
        }
    }
}

fn check(
    bench: &Bench,
    noise: &mut Noise,
    format: CacheFormat,
    cached: &Cached,
    case: Case,
    threads: bool,
) {
    let Case {
        kv_heads, head_dim, ..
    } = case;
    let heads = kv_heads * case.share;
    // The last rows of the first sequence, and the last of the second.
    let mut asked: Vec<(usize, usize)> = (case.lens[0].saturating_sub(3)..case.lens[0])
        .map(|position| (0, position))
        .collect();
    asked.push((1, case.lens[1] - 1));
    let end = |(sequence, position): (usize, usize)| match case.is_causal {
        true => position + 1,
        false => case.lens[sequence],
    };
    let rows: Vec<u32> = asked
        .iter()
        .flat_map(|it| [0, it.1, cached.tables[it.0], end(*it)].map(|it| it as u32))
        .collect();
    let (tokens, quads) = (asked.len(), head_dim / 4);
    let q = noise.floats(tokens * heads * head_dim, case.size);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let mixed = bench.floats(&vec![f32::NAN; q.len()]);
    let buffers = [
        &bench.params(&[
            heads as u32,
            kv_heads as u32,
            quads as u32,
            0,
            (heads * quads) as u32,
            case.window as u32,
            scale.to_bits(),
            case.softcap.to_bits(),
        ]),
        &bench.params(&[tokens as u32]),
        &bench.floats(&q),
        &bench.words(&rows),
        &cached.pages,
        &cached.keys,
        &cached.values,
        &mixed,
    ];
    let (kernels, grid) = match threads {
        true => (ATTENTION_THREAD, Grid::new(0, Across::Flat(heads as u32))),
        false => (ATTENTION, Grid::new(heads as u32, Across::Token)),
    };
    bench.run(kernels[format as usize], &[], &buffers, grid, tokens);
    let got: Vec<f32> = bench.read(&mixed, q.len());
    for (at, q) in q.chunks(head_dim).enumerate() {
        let (row, head) = (asked[at / heads], at % heads / case.share);
        let first = match case.window {
            0 => 0,
            window => (row.1 + 1).saturating_sub(window),
        };
        let seen = first..end(row);
        let score = |p: usize| {
            let score = dot(q, cached.head(0, row.0, p, head)) * f64::from(scale);
            match f64::from(case.softcap) {
                0.0 => score,
                cap => cap * (score / cap).tanh(),
            }
        };
        let scores: Vec<f64> = seen.clone().map(score).collect();
        let highest = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
        let total: f64 = weights.iter().sum();
        // A score is wrong by its own sum's rounding, and so is the logarithm of its weight;
        // WGSL's exp adds (3 + 2|x|) roundings, of which those of far scores weigh nothing, and
        // every chunk of 64 positions one more such exp. Each tanh is taken at its word for 64.
        let spread = f64::from(case.size * case.size * scale) * head_dim as f64;
        let chunks = seen.len() as f64 / 64.0;
        let capping = f64::from(case.softcap) * 64.0;
        let relative =
            (spread * (head_dim + 8) as f64 + seen.len() as f64 + 64.0 * (2.0 + chunks) + capping)
                * 2.0
                * ROUNDING;
        for c in 0..head_dim {
            let value = |p: usize| f64::from(cached.head(1, row.0, p, head)[c]);
            let mix = seen
                .clone()
                .zip(&weights)
                .map(|(p, weight)| weight * value(p));
            let want = mix.sum::<f64>() / total;
            close(got[at * head_dim + c], want, 2.0 * relative);
        }
    }
}

//! Every kernel against sums carried in f64, on odd shapes and on the worst values.
//!
//! Where a kernel adds `n` products, each product and each partial sum rounds by at most 2^-24 of
//! the sum of magnitudes so far, in whatever order a compiler adds them: the error stays below
//! `(n + 8) * 2^-23` times the sum of magnitudes. The factor of two and the eight leave room for a
//! scale multiplied in separately and for hardware that rounds towards zero.

use half::f16;
use thrum_shaders::Kernel;

use super::test_device::{Noise, device};
use crate::gpu::bind::{Binder, Kernels};
use crate::gpu::device::GpuDevice;
use crate::gpu::plan::no_kernel;
use crate::gpu::readback::Readback;
use crate::gpu::repack::{self, Parts};
use crate::quant::{Format, dequantize};

const FORMATS: [Format; 4] = [Format::F32, Format::F16, Format::Q4_0, Format::Q8_0];

/// Shapes tried by each test beyond the smallest.
const ROUNDS: u64 = 6;

/// Of one rounding, twice: see above.
const ROUNDING: f64 = 1.0 / (1 << 23) as f64;

#[test]
fn matvec_multiplies_every_format() {
    let Some(device) = device() else { return };
    for (case, format) in cases() {
        let mut noise = Noise(case);
        let (rows, cols) = shape(&mut noise, format, case);
        let w = Weights::random(&mut noise, format, rows, cols);
        let x = noise.floats(cols, 2.0);
        w.check_product(&device, &x, &noise.floats(rows, 1.0));
        w.check_product(&device, &x, &[]);
    }
}

#[test]
fn matmul_multiplies_every_format_for_any_number_of_tokens() {
    let Some(device) = device() else { return };
    for (case, format) in cases() {
        let mut noise = Noise(case + 100);
        let (rows, cols) = shape(&mut noise, format, case);
        let tokens = noise.between(2, 11);
        let w = Weights::random(&mut noise, format, rows, cols);
        let x = noise.floats(tokens * cols, 2.0);
        w.check_product(&device, &x, &noise.floats(tokens * rows, 1.0));
        w.check_product(&device, &x, &[]);
    }
}

#[test]
fn products_survive_the_worst_values_of_every_format() {
    let Some(device) = device() else { return };
    for format in FORMATS {
        for w in Weights::worst(format) {
            // Alternating signs cancel; the magnitudes are as large as f32 sums allow.
            let x: Vec<f32> = (0..5 * w.cols)
                .map(|i| if i % 2 == 0 { 1e4 } else { -9_999.0 })
                .collect();
            w.check_product(&device, &x[..w.cols], &[]);
            w.check_product(&device, &x, &[]);
        }
    }
}

#[test]
fn embedding_rows_are_exact() {
    let Some(device) = device() else { return };
    for (case, format) in cases() {
        let mut noise = Noise(case + 200);
        let (rows, cols) = shape(&mut noise, format, case);
        let random = Weights::random(&mut noise, format, rows, cols);
        for w in Weights::worst(format).into_iter().chain([random]) {
            let ids: Vec<u32> = (0..7)
                .map(|_| noise.between(0, w.rows - 1) as u32)
                .chain([w.rows as u32])
                .collect();
            let mut arguments = vec![
                Argument::Params(vec![w.rows as u32, w.cols as u32]),
                Argument::Params(vec![0, ids.len() as u32]),
                Argument::Words(ids.clone()),
            ];
            arguments.extend(w.arguments());
            arguments.push(Argument::Floats(vec![0.0; ids.len() * w.cols]));
            let got = run(
                &device,
                &embed(format),
                &arguments,
                [w.cols.div_ceil(256), ids.len()],
            );
            // An id past the end reads the last row; nothing is rounded but `scale * quant` once.
            let want = ids
                .iter()
                .flat_map(|id| w.row((*id as usize).min(w.rows - 1)).to_vec());
            for (at, (got, want)) in got.iter().zip(want).enumerate() {
                let tolerance = want.abs() * f32::EPSILON;
                assert!(
                    (got - want).abs() <= tolerance,
                    "{format:?} {at}: {got} is not {want}"
                );
            }
        }
    }
}

#[test]
fn rmsnorm_norms_every_token_or_the_last() {
    let Some(device) = device() else { return };
    for case in 0..ROUNDS {
        let mut noise = Noise(case + 300);
        let (tokens, cols) = (noise.between(1, 9), 4 * noise.between(1, 130));
        let scale = [1.0, 1e-6, 1e6][case as usize % 3];
        let x = noise.floats(tokens * cols, scale);
        let gains = noise.floats(cols, 3.0);
        for last_only in [0, 1] {
            let got = run(
                &device,
                &thrum_shaders::RMSNORM,
                &[
                    Argument::Params(vec![cols as u32, 1e-5_f32.to_bits(), last_only]),
                    Argument::Params(vec![0, tokens as u32]),
                    Argument::Floats(x.clone()),
                    Argument::Floats(gains.clone()),
                    Argument::Floats(vec![0.0; tokens * cols]),
                ],
                [1, if last_only == 1 { 1 } else { tokens }],
            );
            let first = if last_only == 1 { tokens - 1 } else { 0 };
            for (row, x) in x.chunks(cols).skip(first).enumerate() {
                let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / cols as f64;
                for (c, x) in x.iter().enumerate() {
                    let epsilon = f64::from(1e-5_f32);
                    let want = f64::from(*x) * f64::from(gains[c]) / (mean + epsilon).sqrt();
                    // Squares all have one sign, so their sum is right to cols roundings; the root
                    // halves that, and WGSL's sqrt and division are within 2.5 roundings each.
                    close(
                        got[row * cols + c],
                        want,
                        want.abs() * (cols + 8) as f64 * ROUNDING,
                    );
                }
            }
        }
    }
}

#[test]
fn rope_turns_queries_and_fills_the_cache() {
    let Some(device) = device() else { return };
    for case in 0..ROUNDS {
        let mut noise = Noise(case + 400);
        let kv_heads = noise.between(1, 3);
        let (heads, pairs) = (kv_heads * noise.between(1, 3), 2 * noise.between(1, 33));
        let rotated = noise.between(1, pairs);
        let (start, tokens) = (noise.between(0, 5), noise.between(1, 7));
        let context = start + tokens + noise.between(0, 3);
        let turns: Vec<f32> = (0..context * rotated)
            .flat_map(|_| <[f32; 2]>::from(noise.float(3.0).sin_cos()))
            .collect();
        let q = noise.floats(tokens * heads * pairs * 2, 5.0);
        let k = noise.floats(tokens * kv_heads * pairs * 2, 5.0);
        let v = noise.floats(tokens * kv_heads * pairs * 2, 5.0);
        let cache = vec![7.0; context * kv_heads * pairs * 2];
        let arguments = [
            Argument::Params(
                [heads, kv_heads, pairs, rotated, context]
                    .map(|n| n as u32)
                    .to_vec(),
            ),
            Argument::Params(vec![start as u32, tokens as u32]),
            Argument::Floats(turns.clone()),
            Argument::Floats(k.clone()),
            Argument::Floats(v.clone()),
            Argument::Floats(q.clone()),
            Argument::Floats(cache.clone()),
            Argument::Floats(cache.clone()),
        ];
        let grid = [((heads + 2 * kv_heads) * pairs).div_ceil(64), tokens];
        let out = run_all(&device, &thrum_shaders::ROPE_KV, &arguments, grid);

        let turned = |x: &[f32], heads: usize| -> Vec<f64> {
            x.chunks(2)
                .enumerate()
                .flat_map(|(at, pair)| {
                    let (token, pair_in_head) = (at / (heads * pairs), at % pairs);
                    let (a, b) = (f64::from(pair[0]), f64::from(pair[1]));
                    if pair_in_head >= rotated {
                        return [a, b];
                    }
                    let turn = ((start + token) * rotated + pair_in_head) * 2;
                    let (cos, sin) = (f64::from(turns[turn]), f64::from(turns[turn + 1]));
                    [a * cos - b * sin, a * sin + b * cos]
                })
                .collect()
        };
        // Two products of at most 5 and one sum.
        let tolerance = 4.0 * 10.0 * ROUNDING;
        all_close(&out[5], &turned(&q, heads), tolerance);
        let width = kv_heads * pairs * 2;
        let filled = start * width..(start + tokens) * width;
        all_close(&out[6][filled.clone()], &turned(&k, kv_heads), tolerance);
        assert_eq!(out[7][filled.clone()], v);
        for cache in &out[6..8] {
            let (before, after) = (&cache[..filled.start], &cache[filled.end..cache.len()]);
            assert!(
                before.iter().chain(after).all(|x| *x == 7.0),
                "a neighbour was written"
            );
        }
    }
}

#[test]
fn attention_mixes_the_past_and_nothing_else() {
    let Some(device) = device() else { return };
    // (heads, kv_heads, head_dim, start, tokens, size of scores)
    let cases = [
        (1, 1, 4, 0, 1, 1.0),
        (4, 2, 32, 0, 5, 1.0),
        (6, 2, 20, 63, 3, 4.0),
        (2, 1, 128, 130, 2, 1.0),
        // Scores of some thousands: an exponential that is not shifted overflows.
        (3, 3, 8, 70, 4, 60.0),
    ];
    for (case, (heads, kv_heads, head_dim, start, tokens, size)) in cases.into_iter().enumerate() {
        let mut noise = Noise(500 + case as u64);
        let context = start + tokens + 3;
        let q = noise.floats(tokens * heads * head_dim, size);
        let k = noise.floats(context * kv_heads * head_dim, size);
        let v = noise.floats(context * kv_heads * head_dim, 2.0);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let arguments = [
            Argument::Params(vec![
                heads as u32,
                kv_heads as u32,
                head_dim as u32,
                context as u32,
                scale.to_bits(),
            ]),
            Argument::Params(vec![start as u32, tokens as u32]),
            Argument::Floats(q.clone()),
            Argument::Floats(k.clone()),
            Argument::Floats(v.clone()),
            Argument::Floats(vec![0.0; tokens * heads * context]),
            Argument::Floats(vec![0.0; tokens * heads * head_dim]),
        ];
        let got = run(
            &device,
            &thrum_shaders::ATTENTION,
            &arguments,
            [heads, tokens],
        );
        for (at, q) in q.chunks(head_dim).enumerate() {
            let (token, head) = (at / heads, at % heads);
            let kv = |p: usize| (p * kv_heads + head / (heads / kv_heads)) * head_dim;
            let past = 0..=start + token;
            let scores: Vec<f64> = past
                .clone()
                .map(|p| dot(q, &k[kv(p)..][..head_dim]) * f64::from(scale))
                .collect();
            let highest = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
            let total: f64 = weights.iter().sum();
            // A score is wrong by its own sum's rounding, and so is the logarithm of its weight;
            // WGSL's exp adds (3 + 2|x|) roundings, of which those of far scores weigh nothing.
            let spread = f64::from(size * size * scale) * head_dim as f64;
            let relative = (spread * (head_dim + 8) as f64 + past.clone().count() as f64 + 64.0)
                * 2.0
                * ROUNDING;
            for c in 0..head_dim {
                let mix = past.clone().map(|p| weights[p] * f64::from(v[kv(p) + c]));
                close(
                    got[at * head_dim + c],
                    mix.sum::<f64>() / total,
                    2.0 * relative,
                );
            }
        }
    }
}

#[test]
fn silu_gates_from_the_deepest_to_the_highest() {
    let Some(device) = device() else { return };
    for case in 0..ROUNDS {
        let mut noise = Noise(case + 600);
        let (tokens, cols) = (noise.between(1, 6), 4 * noise.between(1, 90));
        let mut gate = noise.floats(tokens * cols, 12.0);
        gate[..4].copy_from_slice(&[-1e30, -90.0, 0.0, 1e30]);
        let up = noise.floats(tokens * cols, 3.0);
        let got = run(
            &device,
            &thrum_shaders::SILU_MUL,
            &[
                Argument::Params(vec![cols as u32]),
                Argument::Params(vec![0, tokens as u32]),
                Argument::Floats(up.clone()),
                Argument::Floats(gate.clone()),
            ],
            [cols.div_ceil(256), tokens],
        );
        for ((got, gate), up) in got.iter().zip(&gate).zip(&up).skip(1) {
            let x = f64::from(*gate);
            let want = x / (1.0 + (-x).exp()) * f64::from(*up);
            // WGSL's exp is right to 3 + 2|x| roundings and the cap stops |x| at 80; below it the
            // result is nothing, to f32's smallest normal number.
            close(
                *got,
                want,
                want.abs() * (3.0 + 2.0 * 80.0 + 8.0) * ROUNDING + 1e-32,
            );
        }
        // The cap bounds what exp may do: the deepest gate is 1e30 / exp(80), small beside 1e30.
        assert!(got[0].abs() < 1e-3, "{} came through a closed gate", got[0]);
    }
}

/// A matrix as a file has it, and what its bytes mean.
struct Weights {
    format: Format,
    rows: usize,
    cols: usize,
    bytes: Vec<u8>,
    values: Vec<f32>, // (rows, cols)
}

impl Weights {
    fn new(format: Format, rows: usize, cols: usize, bytes: Vec<u8>) -> Self {
        let mut values = vec![0.0; rows * cols];
        dequantize(format, &bytes, &mut values);
        Self {
            format,
            rows,
            cols,
            bytes,
            values,
        }
    }

    fn random(noise: &mut Noise, format: Format, rows: usize, cols: usize) -> Self {
        let mut bytes = Vec::new();
        for _ in 0..rows * cols / format.block_len() {
            match format {
                Format::F32 => bytes.extend(noise.float(1.0).to_le_bytes()),
                Format::F16 => bytes.extend(f16::from_f32(noise.float(1.0)).to_le_bytes()),
                Format::BF16
                | Format::Q4_1
                | Format::Q5_0
                | Format::Q5_1
                | Format::Q2_K
                | Format::Q3_K
                | Format::Q4_K
                | Format::Q5_K
                | Format::Q6_K
                | Format::IQ4_NL => no_kernel(),
                Format::Q4_0 | Format::Q8_0 => {
                    bytes.extend(f16::from_f32(noise.float(0.1)).to_le_bytes());
                    let quants = repack::quant_bytes(format);
                    bytes.extend((0..quants).map(|_| noise.word() as u8));
                }
            }
        }
        Self::new(format, rows, cols, bytes)
    }

    /// Largest and smallest magnitudes, subnormal halves among them, in two blocks of three rows.
    fn worst(format: Format) -> Vec<Self> {
        let (rows, cols) = (3, 64);
        let repeated = |block: &[u8]| {
            let bytes =
                block.repeat(rows * cols * format.block_bytes() / format.block_len() / block.len());
            Self::new(format, rows, cols, bytes)
        };
        let largest = [f16::MAX, -f16::MAX];
        let smallest = [f16::MIN_POSITIVE_SUBNORMAL, -f16::from_bits(0x03ff)];
        [largest, smallest]
            .into_iter()
            .map(|[a, b]| match format {
                Format::F32 => repeated(
                    &[a, b, a, a]
                        .map(|half| half.to_f32().to_le_bytes())
                        .concat(),
                ),
                Format::F16 => repeated(&[a, b, a, a].map(f16::to_le_bytes).concat()),
                Format::BF16
                | Format::Q4_1
                | Format::Q5_0
                | Format::Q5_1
                | Format::Q2_K
                | Format::Q3_K
                | Format::Q4_K
                | Format::Q5_K
                | Format::Q6_K
                | Format::IQ4_NL => no_kernel(),
                Format::Q4_0 | Format::Q8_0 => {
                    let quants = [0x80, 0x7f, 0x08, 0xf0].repeat(repack::quant_bytes(format) / 4);
                    let block = |scale: f16| [&scale.to_le_bytes()[..], &quants].concat();
                    repeated(&[block(a), block(b)].concat())
                }
            })
            .collect()
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.cols..(row + 1) * self.cols]
    }

    fn arguments(&self) -> Vec<Argument> {
        let mut parts = Parts::default();
        repack::split(self.format, &self.bytes, &mut parts);
        let mut arguments = vec![Argument::Bytes(parts.quants)];
        if !parts.scales.is_empty() {
            arguments.push(Argument::Bytes(parts.scales));
        }
        arguments
    }

    /// `y = W x`, or `y + W x` when `y` is not empty, for every token in `x`.
    fn check_product(&self, device: &GpuDevice, x: &[f32], y: &[f32]) {
        let Self {
            format, rows, cols, ..
        } = *self;
        let tokens = x.len() / cols;
        let accumulate = u32::from(!y.is_empty());
        let mut arguments = vec![Argument::Params(vec![rows as u32, cols as u32, accumulate])];
        if tokens > 1 {
            arguments.push(Argument::Params(vec![0, tokens as u32]));
        }
        arguments.extend(self.arguments());
        arguments.push(Argument::Floats(x.to_vec()));
        let before = if y.is_empty() {
            vec![f32::NAN; tokens * rows]
        } else {
            y.to_vec()
        };
        arguments.push(Argument::Floats(before));
        let kernel = if tokens > 1 {
            matmul(format)
        } else {
            matvec(format)
        };
        let grid = [
            rows.div_ceil(64),
            if tokens > 1 { tokens.div_ceil(4) } else { 1 },
        ];
        let got = run(device, &kernel, &arguments, grid);
        for (token, x) in x.chunks(cols).enumerate() {
            for row in 0..rows {
                let at = token * rows + row;
                let added = y.get(at).map_or(0.0, |y| f64::from(*y));
                let magnitudes = self.row(row).iter().zip(x);
                let magnitudes = magnitudes
                    .map(|(w, x)| (f64::from(*w) * f64::from(*x)).abs())
                    .sum::<f64>();
                let tolerance = (magnitudes + added.abs()) * (cols + 8) as f64 * ROUNDING;
                close(got[at], dot(self.row(row), x) + added, tolerance);
            }
        }
    }
}

fn matvec(format: Format) -> Kernel {
    match format {
        Format::F32 => thrum_shaders::MATVEC_ROW_F32,
        Format::F16 => thrum_shaders::MATVEC_ROW_F16,
        Format::Q4_0 => thrum_shaders::MATVEC_ROW_Q4_0,
        Format::Q8_0 => thrum_shaders::MATVEC_ROW_Q8_0,
        Format::BF16
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q2_K
        | Format::Q3_K
        | Format::Q4_K
        | Format::Q5_K
        | Format::Q6_K
        | Format::IQ4_NL => no_kernel(),
    }
}

fn matmul(format: Format) -> Kernel {
    match format {
        Format::F32 => thrum_shaders::MATMUL_TILE_F32,
        Format::F16 => thrum_shaders::MATMUL_TILE_F16,
        Format::Q4_0 => thrum_shaders::MATMUL_TILE_Q4_0,
        Format::Q8_0 => thrum_shaders::MATMUL_TILE_Q8_0,
        Format::BF16
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q2_K
        | Format::Q3_K
        | Format::Q4_K
        | Format::Q5_K
        | Format::Q6_K
        | Format::IQ4_NL => no_kernel(),
    }
}

fn embed(format: Format) -> Kernel {
    match format {
        Format::F32 => thrum_shaders::EMBED_GATHER_F32,
        Format::F16 => thrum_shaders::EMBED_GATHER_F16,
        Format::Q4_0 => thrum_shaders::EMBED_GATHER_Q4_0,
        Format::Q8_0 => thrum_shaders::EMBED_GATHER_Q8_0,
        Format::BF16
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q2_K
        | Format::Q3_K
        | Format::Q4_K
        | Format::Q5_K
        | Format::Q6_K
        | Format::IQ4_NL => no_kernel(),
    }
}

/// What a kernel is given at one binding.
enum Argument {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
    Params(Vec<u32>),
    Words(Vec<u32>),
}

/// What `kernel` leaves in its last buffer.
fn run(device: &GpuDevice, kernel: &Kernel, arguments: &[Argument], grid: [usize; 2]) -> Vec<f32> {
    run_all(device, kernel, arguments, grid)
        .pop()
        .expect("a kernel has bindings")
}

/// What `kernel` leaves in each buffer of floats; nothing for the others.
fn run_all(
    device: &GpuDevice,
    kernel: &Kernel,
    arguments: &[Argument],
    grid: [usize; 2],
) -> Vec<Vec<f32>> {
    let buffers: Vec<wgpu::Buffer> = arguments
        .iter()
        .map(|argument| match argument {
            Argument::Bytes(bytes) => filled(device, bytes),
            Argument::Floats(floats) => filled(device, bytemuck::cast_slice(floats)),
            Argument::Params(words) => device.uniform(words),
            Argument::Words(words) => filled(device, bytemuck::cast_slice(words)),
        })
        .collect();
    let mut kernels = Kernels::default();
    let bound = Binder::new(device, &mut kernels).bind(kernel, &buffers.iter().collect::<Vec<_>>());
    let mut encoder = device.device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&bound.pipeline);
        pass.set_bind_group(0, &bound.group, &[]);
        pass.dispatch_workgroups(grid[0] as u32, grid[1] as u32, 1);
    }
    device.queue.submit([encoder.finish()]);
    arguments
        .iter()
        .zip(&buffers)
        .map(|(argument, buffer)| match argument {
            Argument::Floats(floats) => read(device, buffer, floats.len()),
            Argument::Bytes(_) | Argument::Params(_) | Argument::Words(_) => Vec::new(),
        })
        .collect()
}

fn filled(device: &GpuDevice, bytes: &[u8]) -> wgpu::Buffer {
    let buffer = device
        .storage("test", bytes.len() as u64)
        .expect("test buffers are small");
    device.queue.write_buffer(&buffer, 0, bytes);
    buffer
}

fn read(device: &GpuDevice, buffer: &wgpu::Buffer, floats: usize) -> Vec<f32> {
    let mut readback = Readback::new(floats);
    let mut encoder = device.device.create_command_encoder(&Default::default());
    let copy = readback.copy(device, &mut encoder, buffer);
    device.queue.submit([encoder.finish()]);
    pollster::block_on(readback.read(device, copy)).expect("the device stays")
}

/// Every format with every round's number.
fn cases() -> impl Iterator<Item = (u64, Format)> {
    FORMATS
        .into_iter()
        .flat_map(|format| (0..ROUNDS).map(move |case| (case, format)))
}

/// One row of one block first, then odd numbers of rows.
fn shape(noise: &mut Noise, format: Format, case: u64) -> (usize, usize) {
    let step = format.block_len().max(4);
    match case {
        0 => (1, step),
        _ => (2 * noise.between(1, 80) + 1, step * noise.between(1, 7)),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

#[track_caller]
fn close(got: f32, want: f64, tolerance: f64) {
    let error = (f64::from(got) - want).abs();
    assert!(
        error <= tolerance,
        "{got} is not {want}: off by {error}, {tolerance} allowed"
    );
}

#[track_caller]
fn all_close(got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        close(*got, *want, tolerance);
    }
}

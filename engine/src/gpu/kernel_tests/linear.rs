//! Products with matrices: every way of every layout, of every format.

use super::{Bench, ROUNDING, ROUNDS, close, dot};
use crate::gpu::bind::Uniforms;
use crate::gpu::grid::Grid;
use crate::gpu::layout::{BLOCK_COLS, Layout};
use crate::gpu::linear::{self, Gate, Output, Way, ways};
use crate::gpu::repack::Parts;
use crate::gpu::tensor::GpuTensor;
use crate::gpu::test_device::{Noise, blocks};
use crate::quant::finite::half_offsets;
use crate::quant::groups::{self, MAX_BLOCK_LEN, MAX_GROUPS};
use crate::quant::{Encoding, Format, dequantize};

/// A matrix, what its bytes mean, and how much is added up to get there.
struct Weights {
    format: Format,
    rows: usize,
    cols: usize,
    bytes: Vec<u8>,
    values: Vec<f32>,     // (rows, cols)
    magnitudes: Vec<f32>, // (rows, cols): |scale * code| + |offset|, as the kernels have them
}

impl Weights {
    fn new(format: Format, rows: usize, cols: usize, bytes: Vec<u8>) -> Self {
        let mut values = vec![0.0; rows * cols];
        dequantize(format, &bytes, &mut values);
        let mut weights = Self {
            format,
            rows,
            cols,
            bytes,
            magnitudes: values.iter().map(|value| value.abs()).collect(),
            values,
        };
        // A zero point is taken away without rounding; an offset is a product of its own.
        if let Layout::Codes(coded) = Layout::of(format)
            && coded.has_offset
        {
            weights.add_up_parts();
        }
        weights
    }

    fn add_up_parts(&mut self) {
        let block_len = self.format.block_len();
        let count = groups::groups_per_block(self.format);
        let group = groups::group_len(self.format);
        let blocks = self.bytes.chunks_exact(self.format.block_bytes());
        for (block, out) in blocks.zip(self.magnitudes.chunks_exact_mut(block_len)) {
            let mut codes = [0; MAX_BLOCK_LEN];
            let (mut scales, mut offsets) = ([0.0; MAX_GROUPS], [0.0; MAX_GROUPS]);
            let codes = &mut codes[..block_len];
            let (scales, offsets) = (&mut scales[..count], &mut offsets[..count]);
            groups::unpack(self.format, block, codes, scales, offsets);
            for (i, out) in out.iter_mut().enumerate() {
                let (scale, offset) = (scales[i / group], offsets[i / group]);
                *out = (scale * f32::from(codes[i])).abs() + offset.abs();
            }
        }
    }

    fn random(noise: &mut Noise, format: Format, case: u64) -> Self {
        let step = format.block_len().max(4);
        let most = if step > 32 { 3 } else { 7 };
        let (rows, cols) = match case {
            0 => (1, step),
            _ => (2 * noise.between(1, 80) + 1, step * noise.between(1, most)),
        };
        let bytes = blocks(noise, format, rows * cols / format.block_len());
        Self::new(format, rows, cols, bytes)
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.cols..][..self.cols]
    }

    fn tensor(&self, bench: &Bench) -> GpuTensor {
        let Self {
            format, rows, cols, ..
        } = *self;
        let tensor =
            GpuTensor::new(&bench.device, "test", format, rows, cols).expect("it is small");
        let mut parts = Parts::default();
        tensor.write(&bench.device.queue, format, 0, &self.bytes, &mut parts);
        tensor
    }

    /// `y = W x`, or `y + W x`, for every token in `x`, in every way that is possible.
    fn check(&self, bench: &Bench, gate: Gate, x: &[f32], before: Option<&[f32]>) {
        let tensor = self.tensor(bench);
        self.check_tensor(bench, &tensor, gate, x, before);
    }

    fn check_tensor(
        &self,
        bench: &Bench,
        tensor: &GpuTensor,
        gate: Gate,
        x: &[f32],
        before: Option<&[f32]>,
    ) {
        let tokens = x.len() / self.cols;
        let all = [false, true]
            .into_iter()
            .filter(|is_many| gate == Gate::None || !is_many);
        for is_many in all {
            for way in ways(&bench.device, tensor.layout, gate, is_many) {
                self.check_way(bench, tensor, way, gate, x, before, tokens);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the case")]
    fn check_way(
        &self,
        bench: &Bench,
        tensor: &GpuTensor,
        way: Way,
        gate: Gate,
        x: &[f32],
        before: Option<&[f32]>,
        tokens: usize,
    ) {
        let rows = self.rows / if gate == Gate::None { 1 } else { 2 };
        let mut read = bench.floats(x);
        let mut seen = x.to_vec();
        if way.is_packed {
            (read, seen) = packed(bench, x, self.cols);
        }
        // Three columns before it and two behind are somebody else's.
        let (start, stride) = (3, rows + 5);
        let whole: Vec<f32> = (0..tokens * stride)
            .map(|at| {
                let (token, col) = (at / stride, at % stride);
                let inside = (start..start + rows).contains(&col);
                match before {
                    Some(before) if inside => before[token * rows + col - start],
                    _ if inside => f32::NAN,
                    _ => 7.0,
                }
            })
            .collect();
        let y = bench.floats(&whole);
        let output = Output {
            y: &y,
            start,
            cols: stride,
            accumulate: before.is_some(),
        };
        let batch = bench.params(&[tokens as u32]);
        let mut uniforms = Uniforms::default();
        let device = &bench.device;
        let steps = linear::product(
            device,
            &mut uniforms,
            way,
            tensor,
            gate,
            &batch,
            &read,
            output,
        );
        bench.run_steps(&steps, tokens);
        let got: Vec<f32> = bench.read(&y, tokens * stride);
        for (token, (got, x)) in got.chunks(stride).zip(seen.chunks(self.cols)).enumerate() {
            for (col, got) in got.iter().enumerate() {
                if !(start..start + rows).contains(&col) {
                    assert_eq!(*got, 7.0, "{way:?} wrote beside its columns");
                    continue;
                }
                let row = col - start;
                let added = before.map_or(0.0, |before| f64::from(before[token * rows + row]));
                let (want, tolerance) = self.expected(gate, row, x);
                close(*got, want + added, tolerance + added.abs() * 8.0 * ROUNDING);
            }
        }
    }

    /// What a row gives for `x`, and how far from it a kernel may be.
    fn expected(&self, gate: Gate, row: usize, x: &[f32]) -> (f64, f64) {
        let sum = |row: usize| {
            let magnitudes = &self.magnitudes[row * self.cols..][..self.cols];
            let magnitude: f64 = magnitudes
                .iter()
                .zip(x)
                .map(|(w, x)| (f64::from(*w) * f64::from(*x)).abs())
                .sum();
            let error = magnitude * (self.cols + 8) as f64 * ROUNDING;
            (dot(self.row(row), x), error)
        };
        let (first, first_error) = sum(row);
        let activate = |x: f64| match gate {
            Gate::None => x,
            Gate::Silu => x / (1.0 + (-x).exp()),
            Gate::Gelu => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                x / (1.0 + (-2.0 * inner).exp())
            }
        };
        if gate == Gate::None {
            return (first, first_error);
        }
        let (factor, factor_error) = sum(row + self.rows / 2);
        let gated = activate(first);
        // Neither activation is steeper than 1.13; WGSL's exp is right to 3 + 2|x| roundings, and
        // beyond |x| = 80 there is nothing left to be wrong.
        let gated_error = 1.2 * first_error + gated.abs() * (3.0 + 160.0 + 16.0) * ROUNDING + 1e-30;
        let error = gated_error * (factor.abs() + factor_error) + gated.abs() * factor_error;
        (gated * factor, error * 1.001)
    }
}

/// `x` as the kernels pack it, and what that stands for.
fn packed(bench: &Bench, x: &[f32], cols: usize) -> (wgpu::Buffer, Vec<f32>) {
    let (tokens, blocks) = (x.len() / cols, cols / BLOCK_COLS);
    let words = tokens * blocks * 12;
    let buffer = bench.words(&vec![0; words]);
    let arguments = [
        &bench.params(&[blocks as u32]),
        &bench.params(&[tokens as u32]),
        &bench.floats(x),
        &buffer,
    ];
    let kernel = thrum_shaders::QUANTIZE_ROWS;
    bench.run(kernel, &[], &arguments, Grid::threads(blocks), tokens);
    let words: Vec<u32> = bench.read(&buffer, words);
    let values = words.chunks(12).flat_map(|block| {
        let scale = f32::from_bits(block[8]);
        let bytes: Vec<u8> = block[..8].iter().flat_map(|it| it.to_le_bytes()).collect();
        bytes
            .into_iter()
            .map(move |byte| scale * f32::from(byte.cast_signed()))
    });
    let values = values.collect();
    (buffer, values)
}

#[test]
fn every_way_multiplies_every_format() {
    let Some(bench) = Bench::new() else { return };
    for format in Format::ALL {
        for case in 0..3 {
            let mut noise = Noise(case);
            let w = Weights::random(&mut noise, format, case);
            let tokens = [1, 3, 37][case as usize];
            let x = noise.floats(tokens * w.cols, 2.0);
            let before = noise.floats(tokens * w.rows, 1.0);
            w.check(&bench, Gate::None, &x, (case > 0).then_some(&before));
        }
    }
}

#[test]
fn every_way_gates() {
    let Some(bench) = Bench::new() else { return };
    for (case, format) in (0..).zip([Format::F32, Format::BF16, Format::Q4_0, Format::Q6_K]) {
        for gate in [Gate::Silu, Gate::Gelu] {
            let mut noise = Noise(case + 50);
            let step = format.block_len().max(4);
            let (rows, cols) = (2 * noise.between(1, 90), step * noise.between(1, 3));
            let bytes = blocks(&mut noise, format, rows * cols / format.block_len());
            let w = Weights::new(format, rows, cols, bytes);
            w.check(&bench, gate, &noise.floats(2 * cols, 0.2), None);
        }
    }
}

#[test]
fn a_matrix_in_pieces_is_the_same_matrix() {
    let Some(bench) = Bench::new() else { return };
    for (case, format) in (0..).zip([Format::F16, Format::Q4_1, Format::Q8_0, Format::Q3_K]) {
        let mut noise = Noise(case + 70);
        let (rows, cols) = (64 * 3 + 11, 256 * noise.between(1, 2));
        let bytes = blocks(&mut noise, format, rows * cols / format.block_len());
        let w = Weights::new(format, rows, cols, bytes);
        let whole = w.tensor(&bench);
        assert_eq!(whole.pieces.len(), 1);
        // Room for 64 rows and not for 128.
        let most = Layout::of(format).code_bytes(100 * cols as u64);
        let small = Bench {
            device: bench.device.clone().with_max_buffer_bytes(most),
            kernels: bench.kernels.clone(),
        };
        let tensor = w.tensor(&small);
        assert_eq!(tensor.pieces.len(), 4);
        let x = noise.floats(2 * cols, 2.0);
        w.check_tensor(&bench, &tensor, Gate::None, &x, None);
    }
}

#[test]
fn packing_rounds_to_nearest() {
    let Some(bench) = Bench::new() else { return };
    for case in 0..ROUNDS {
        let mut noise = Noise(case + 100);
        let (tokens, cols) = (noise.between(1, 4), 32 * noise.between(1, 9));
        let scale = [1.0, 1e-6, 1e6][case as usize % 3];
        let mut x = noise.floats(tokens * cols, scale);
        x[..32].fill(0.0);
        let (buffer, values) = packed(&bench, &x, cols);
        let words: Vec<u32> = bench.read(&buffer, x.len() / 32 * 12);
        for ((x, values), words) in x.chunks(32).zip(values.chunks(32)).zip(words.chunks(12)) {
            let highest = x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let step = f64::from(highest) / 127.0;
            for (x, value) in x.iter().zip(values) {
                // Half a step, and the roundings of the scale and its inverse at 127 steps.
                close(*value, f64::from(*x), step * (0.5 + 127.0 * 4.0 * ROUNDING));
            }
            let bytes: Vec<u8> = words[..8].iter().flat_map(|it| it.to_le_bytes()).collect();
            for (at, half) in bytes.chunks(16).enumerate() {
                let sum: i32 = half.iter().map(|byte| i32::from(byte.cast_signed())).sum();
                assert_eq!(f32::from_bits(words[9 + at]), sum as f32);
            }
        }
    }
}

#[test]
fn products_survive_the_worst_values_of_every_format() {
    let Some(bench) = Bench::new() else { return };
    for format in Format::ALL {
        for w in worst(format) {
            // Alternating signs cancel; the magnitudes are as large as f32 sums allow.
            let x: Vec<f32> = (0..5 * w.cols)
                .map(|i| if i % 2 == 0 { 1e4 } else { -9_999.0 })
                .collect();
            w.check(&bench, Gate::None, &x, None);
        }
    }
}

/// Scales as large and as small as halves go, codes at both ends, in three rows.
fn worst(format: Format) -> Vec<Weights> {
    use half::f16;
    let (rows, cols) = (3, 256);
    let count = rows * cols / format.block_len();
    let scales = [
        [f16::MAX, -f16::MAX],
        [f16::MIN_POSITIVE_SUBNORMAL, -f16::from_bits(0x03ff)],
    ];
    let make = |scales: [f16; 2]| {
        let floats = |at: usize| scales[at % 2].to_f32();
        let bytes = (0..count).flat_map(|at| match format.encoding() {
            Encoding::F32 => floats(at).to_le_bytes().to_vec(),
            Encoding::Bf16 => half::bf16::from_f32(floats(at)).to_le_bytes().to_vec(),
            Encoding::F16 | Encoding::Blocks => {
                let mut block = [0x80, 0x7f, 0x08, 0xf0].repeat(format.block_bytes());
                block.truncate(format.block_bytes());
                for half in half_offsets(format) {
                    block[*half..*half + 2].copy_from_slice(&scales[at % 2].to_le_bytes());
                }
                block
            }
        });
        Weights::new(format, rows, cols, bytes.collect())
    };
    scales.map(make).into()
}

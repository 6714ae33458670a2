//! Kernels that work on rows of activations.

use thrum_shaders::{
    ACTIVATE, ADD_ROWS, ADVANCE, ARGMAX, EMBED, GATHER_ROWS, LORA_MASK, NORM, NORM_IN_PLACE, ROPE,
    SOFTCAP,
};

use super::{Bench, ROUNDING, ROUNDS, all_close, close};
use crate::gpu::grid::{Across, Grid};
use crate::gpu::layout::Layout;
use crate::gpu::repack::Parts;
use crate::gpu::tensor::GpuTensor;
use crate::gpu::test_device::{Noise, blocks};
use crate::quant::{Format, dequantize};

#[test]
fn embedding_rows_are_exact() {
    let Some(bench) = Bench::new() else { return };
    for (case, format) in (0..).zip(Format::ALL) {
        let mut noise = Noise(case + 200);
        let cols = format.block_len().max(4) * noise.between(1, 3);
        let rows = 64 + noise.between(1, 60);
        let bytes = blocks(&mut noise, format, rows * cols / format.block_len());
        let mut values = vec![0.0; rows * cols];
        dequantize(format, &bytes, &mut values);
        // In two pieces where halves of it are large enough to be cut.
        let most = Layout::of(format).code_bytes(64 * cols as u64).max(1 << 10);
        let small = bench.device.clone().with_max_buffer_bytes(most);
        let table = GpuTensor::new(&small, "test", format, rows, cols).expect("it is small");
        table.write(
            &bench.device.queue,
            format,
            0,
            &bytes,
            &mut Parts::default(),
        );

        let tokens = noise.between(1, 7);
        let ids: Vec<u32> = (0..tokens)
            .map(|_| noise.between(0, rows - 1) as u32)
            .collect();
        let words: Vec<u32> = ids.iter().flat_map(|id| [*id, 9, 0, 0]).collect();
        let before = noise.floats(tokens * cols, 1.0);
        let hidden = bench.floats(&before);
        let (batch, row_words) = (bench.params(&[tokens as u32]), bench.words(&words));
        for piece in &table.pieces {
            let params = bench.params(&[
                piece.rows as u32,
                piece.first_row as u32,
                table.blocks(),
                0,
                piece.supers_at,
                1,
                3.0_f32.to_bits(),
            ]);
            let mut buffers = vec![&params, &batch, &hidden, &row_words, &piece.codes];
            buffers.extend(&piece.scales);
            let kernel = EMBED[table.layout.embed_format() as usize];
            let grid = Grid::threads(table.blocks() as usize);
            bench.run(kernel, &table.layout.constants(), &buffers, grid, tokens);
        }
        let got: Vec<f32> = bench.read(&hidden, tokens * cols);
        for (at, got) in got.iter().enumerate() {
            let value = f64::from(values[ids[at / cols] as usize * cols + at % cols]);
            // Weights reach about 10 where codes are signed bytes; each has three roundings.
            let want = f64::from(before[at]) + 3.0 * value;
            close(*got, want, (want.abs() + 64.0) * 4.0 * ROUNDING);
        }
    }
}

#[test]
fn norms_of_rows_and_heads() {
    let Some(bench) = Bench::new() else { return };
    for case in 0..4 * ROUNDS {
        let mut noise = Noise(case + 300);
        let (is_layer, in_place) = (case % 2 == 1, case / 2 % 2 == 1);
        let (tokens, heads) = (noise.between(1, 9), noise.between(1, 3));
        let cols = 4 * noise.between(1, 130 / heads);
        let scale = [1.0, 1e-6, 1e6][case as usize % 3];
        let stride = heads * cols + 8;
        let x = noise.floats(tokens * stride, scale);
        let (gains, biases) = (noise.floats(cols, 3.0), noise.floats(cols, 3.0));
        let quads = |columns: usize| (columns / 4) as u32;
        let params = bench.params(&[
            quads(cols),
            1,
            quads(stride),
            1,
            quads(stride),
            1e-5_f32.to_bits(),
        ]);
        let batch = bench.params(&[tokens as u32]);
        let (gain, bias, source) = (
            bench.floats(&gains),
            bench.floats(&biases),
            bench.floats(&x),
        );
        let y = if in_place {
            source.clone()
        } else {
            bench.floats(&x)
        };
        let mut buffers = vec![&params, &batch, &y, &gain, &bias];
        let kernel = match in_place {
            true => NORM_IN_PLACE,
            false => {
                buffers.push(&source);
                NORM
            }
        };
        let grid = Grid::new(heads as u32, Across::Token);
        bench.run(
            kernel,
            &[("LAYER", u32::from(is_layer))],
            &buffers,
            grid,
            tokens,
        );
        let got: Vec<f32> = bench.read(&y, tokens * stride);
        for (got, x) in got.chunks(stride).zip(x.chunks(stride)) {
            assert_eq!(got[..4], x[..4], "what lies before the heads stays");
            assert_eq!(got[stride - 4..], x[stride - 4..], "and what lies behind");
            let heads_of = |row: &[f32]| row[4..stride - 4].to_vec();
            for (got, x) in heads_of(got).chunks(cols).zip(heads_of(x).chunks(cols)) {
                check_norm(got, x, &gains, is_layer.then_some(&biases[..]));
            }
        }
    }
}

fn check_norm(got: &[f32], x: &[f32], gains: &[f32], biases: Option<&[f32]>) {
    let n = x.len() as f64;
    let magnitude = x.iter().map(|x| f64::from(x.abs())).sum::<f64>() / n;
    let mean = match biases {
        Some(_) => x.iter().map(|x| f64::from(*x)).sum::<f64>() / n,
        None => 0.0,
    };
    let squares: f64 = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    let scale = 1.0 / (squares / n + f64::from(1e-5_f32)).sqrt();
    for (c, got) in got.iter().enumerate() {
        let away = f64::from(x[c]) - mean;
        let gain = f64::from(gains[c]);
        let bias = biases.map_or(0.0, |biases| f64::from(biases[c]));
        let want = away * scale * gain + bias;
        // Squares all have one sign, so their sum is right to n roundings; the root halves that,
        // and WGSL's sqrt and division are within 2.5 roundings each. The mean is wrong by n
        // roundings of the mean magnitude, and every difference with it.
        let relative = (n + 16.0) * ROUNDING;
        let of_mean = if biases.is_some() { magnitude } else { 0.0 };
        let tolerance = (away.abs() + of_mean) * scale * gain.abs() + want.abs() + bias.abs();
        close(*got, want, tolerance * relative);
    }
}

#[test]
fn rope_turns_pairs_of_either_order() {
    let Some(bench) = Bench::new() else { return };
    for case in 0..ROUNDS {
        let mut noise = Noise(case + 400);
        let is_halves = case % 2 == 1;
        let (heads, pairs) = (noise.between(1, 4), noise.between(1, 33));
        let head_dim = 2 * pairs + 2 * noise.between(0, 3);
        let (tokens, coarse) = (noise.between(1, 7), 5);
        let turns: Vec<[f32; 2]> = (0..(256 + coarse) * pairs)
            .map(|_| noise.float(3.0).sin_cos().into())
            .collect();
        let (start, stride) = (3, heads * head_dim + 5);
        let x = noise.floats(tokens * stride, 5.0);
        let positions: Vec<u32> = (0..tokens)
            .map(|_| noise.between(0, 256 * coarse - 1) as u32)
            .collect();
        let rows: Vec<u32> = positions.iter().flat_map(|it| [1, *it, 0, 0]).collect();
        let words = [
            heads,
            head_dim,
            pairs,
            usize::from(is_halves),
            start,
            stride,
        ];
        let buffer = bench.floats(&x);
        let buffers = [
            &bench.params(&words.map(|it| it as u32)),
            &bench.params(&[tokens as u32]),
            &buffer,
            &bench.words(&rows),
            &bench.floats(turns.as_flattened()),
        ];
        bench.run(ROPE, &[], &buffers, Grid::threads(heads * pairs), tokens);
        let got: Vec<f32> = bench.read(&buffer, x.len());
        let mut want: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        for (token, position) in positions.iter().enumerate() {
            for at in 0..heads * pairs {
                let (head, pair) = (at / pairs, at % pairs);
                let turn = |row: u32| turns[row as usize * pairs + pair].map(f64::from);
                let ([c, s], [cc, cs]) = (turn(position % 256), turn(256 + position / 256));
                let (cos, sin) = (c * cc - s * cs, c * cs + s * cc);
                let begin = token * stride + start + head * head_dim;
                let (a_at, b_at) = match is_halves {
                    true => (begin + pair, begin + pair + pairs),
                    false => (begin + 2 * pair, begin + 2 * pair + 1),
                };
                let (a, b) = (f64::from(x[a_at]), f64::from(x[b_at]));
                want[a_at] = a * cos - b * sin;
                want[b_at] = a * sin + b * cos;
            }
        }
        // Two products of at most 5 with turns of at most 2, themselves of two products.
        all_close(&got, &want, 8.0 * 20.0 * ROUNDING);
    }
}

#[test]
fn activations_from_the_deepest_to_the_highest() {
    let Some(bench) = Bench::new() else { return };
    for case in 0..ROUNDS {
        let mut noise = Noise(case + 600);
        let kind = case as u32 % 3 + 1;
        let (tokens, cols) = (noise.between(1, 6), 4 * noise.between(1, 90));
        let mut gate = noise.floats(tokens * 2 * cols, 12.0);
        gate[..4].copy_from_slice(&[-1e18, -90.0, 0.0, 1e9]);
        let quads = (cols / 4) as u32;
        let params = bench.params(&[quads, 0, 2 * quads, quads, 2 * quads]);
        // Gate and factor in one buffer, side by side.
        let (both, y) = (bench.floats(&gate), bench.floats(&vec![0.0; tokens * cols]));
        let buffers = [&params, &bench.params(&[tokens as u32]), &y, &both, &both];
        let grid = Grid::threads(quads as usize);
        bench.run(ACTIVATE, &[("KIND", kind)], &buffers, grid, tokens);
        let got: Vec<f32> = bench.read(&y, tokens * cols);
        for (at, got) in got.iter().enumerate().skip(1) {
            let row = &gate[at / cols * 2 * cols..][..2 * cols];
            let (x, up) = (f64::from(row[at % cols]), f64::from(row[cols + at % cols]));
            let want = match kind {
                1 => x / (1.0 + (-x).exp()) * up,
                2 => {
                    let inner = 0.797_884_560_802_865_4 * (x + 0.044_715 * x.powi(3));
                    x / (1.0 + (-2.0 * inner).exp()) * up
                }
                _ => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            };
            // WGSL's exp is right to 3 + 2|x| roundings and the cap stops |x| at 80; 1.5e-7 is what
            // the polynomial for erf leaves, and a sum near 0 keeps its roundings.
            let relative = want.abs() * (3.0 + 2.0 * 80.0 + 8.0) * ROUNDING;
            let of_erf = if kind == 3 {
                x.abs() * (2e-7 + 4.0 * ROUNDING)
            } else {
                0.0
            };
            close(*got, want, relative + of_erf + 1e-20);
        }
        // The cap bounds what exp may do: the deepest gate is 1e18 / exp(80), small beside 1e18.
        assert!(got[0].abs() < 1e-3, "{} came through a closed gate", got[0]);
    }
}

#[test]
fn rows_are_added_gathered_capped_and_masked() {
    let Some(bench) = Bench::new() else { return };
    for case in 0..ROUNDS {
        let mut noise = Noise(case + 700);
        let (tokens, cols) = (noise.between(1, 6), 4 * noise.between(1, 90));
        let batch = bench.params(&[tokens as u32]);
        let quads = (cols / 4) as u32;
        let x = noise.floats(tokens * cols, 3.0);
        let y = noise.floats(tokens * (cols + 8), 3.0);
        for stride in [0, quads] {
            let buffer = bench.floats(&y);
            let params = bench.params(&[quads, stride, 1, quads + 2]);
            let buffers = [&params, &batch, &buffer, &bench.floats(&x)];
            bench.run(ADD_ROWS, &[], &buffers, Grid::threads(cols / 4), tokens);
            let got: Vec<f32> = bench.read(&buffer, y.len());
            for (at, (got, y)) in got.iter().zip(&y).enumerate() {
                let (token, col) = (at / (cols + 8), at % (cols + 8));
                let added = match (4..cols + 4).contains(&col) {
                    true => x[token * 4 * stride as usize + col - 4],
                    false => 0.0,
                };
                assert_eq!(*got, y + added, "a sum of two is rounded once");
            }
        }

        let wanted: Vec<u32> = (0..tokens as u32).rev().collect();
        let chosen = bench.floats(&vec![0.0; x.len()]);
        let (params, source) = (bench.params(&[quads]), bench.floats(&x));
        let buffers = [&params, &batch, &chosen, &source, &bench.words(&wanted)];
        bench.run(GATHER_ROWS, &[], &buffers, Grid::threads(cols / 4), tokens);
        let got: Vec<f32> = bench.read(&chosen, x.len());
        assert!(got.chunks(cols).eq(x.chunks(cols).rev()));

        let capped = bench.floats(&x.iter().map(|x| x * 40.0).collect::<Vec<_>>());
        let params = bench.params(&[cols as u32, 30.0_f32.to_bits()]);
        let grid = Grid::folded((cols as u32).div_ceil(64), Across::Token);
        bench.run(SOFTCAP, &[], &[&params, &batch, &capped], grid, tokens);
        let got: Vec<f32> = bench.read(&capped, x.len());
        for (got, x) in got.iter().zip(&x) {
            let want = 30.0 * (f64::from(x * 40.0) / 30.0).tanh();
            // WGSL's tanh may be as wrong as sinh / cosh: an absolute 2^-10 of 1 is allowed; what
            // is in use is right to some roundings.
            close(*got, want, 30.0 * 64.0 * ROUNDING);
        }

        let strengths = noise.floats(tokens * 3, 2.0);
        let owners: Vec<u32> = (0..cols).map(|_| noise.between(0, 2) as u32).collect();
        let h = bench.floats(&x);
        let buffers = [
            &bench.params(&[cols as u32, 3]),
            &batch,
            &h,
            &bench.words(&owners),
            &bench.floats(&strengths),
        ];
        bench.run(LORA_MASK, &[], &buffers, Grid::threads(cols), tokens);
        let got: Vec<f32> = bench.read(&h, x.len());
        for (at, (got, x)) in got.iter().zip(&x).enumerate() {
            let strength = strengths[at / cols * 3 + owners[at % cols] as usize];
            assert_eq!(*got, x * strength, "a product of two is rounded once");
        }
    }
}

#[test]
fn the_largest_of_each_row_is_the_next_token() {
    let Some(bench) = Bench::new() else { return };
    for case in 0..ROUNDS {
        let mut noise = Noise(case + 800);
        let (tokens, cols) = (noise.between(1, 6), noise.between(1, 400));
        // Few different values, so that there are equals.
        let mut y: Vec<f32> = (0..tokens * cols)
            .map(|_| noise.between(0, 30) as f32 - 40.0)
            .collect();
        let bad = case % 2 == 1;
        if bad {
            y[noise.between(0, cols - 1)] = [f32::NAN, f32::NEG_INFINITY][case as usize / 2 % 2];
        }
        let ids = bench.words(&vec![0; tokens]);
        let buffers = [&bench.params(&[cols as u32]), &bench.floats(&y), &ids];
        bench.run(ARGMAX, &[], &buffers, Grid::new(1, Across::Token), tokens);
        let got: Vec<u32> = bench.read(&ids, tokens);
        for (row, (got, y)) in got.iter().zip(y.chunks(cols)).enumerate() {
            let highest = y.iter().copied().fold(f32::MIN, f32::max);
            let first = y.iter().position(|y| *y == highest).map(|at| at as u32);
            let want = if bad && row == 0 {
                Some(u32::MAX)
            } else {
                first
            };
            assert_eq!(Some(*got), want);
        }

        let rows: Vec<u32> = (0..tokens as u32)
            .flat_map(|at| [9, at, 5, at + 1])
            .collect();
        let (row_buffer, record) = (bench.words(&rows), bench.words(&vec![0; 3 * tokens]));
        let batch = bench.params(&[tokens as u32]);
        let buffers = [&bench.params(&[2]), &batch, &ids, &row_buffer, &record];
        bench.run(ADVANCE, &[], &buffers, Grid::new(1, Across::One), tokens);
        let recorded: Vec<u32> = bench.read(&record, 3 * tokens);
        assert_eq!(recorded[2 * tokens..], got);
        let after: Vec<u32> = bench.read(&row_buffer, rows.len());
        for ((after, before), id) in after.chunks(4).zip(rows.chunks(4)).zip(&got) {
            let token = if *id == u32::MAX { 0 } else { *id };
            assert_eq!(after, [token, before[1] + 1, 5, before[3] + 1]);
        }
    }
}

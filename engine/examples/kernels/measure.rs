//! Times matrix kernels on the shapes of small models, all kinds side by side.

use thrum_engine::cpu::activations::Activations;
use thrum_engine::cpu::kernels::{Kernels, all};
use thrum_engine::cpu::panels::{PanelBuilder, Panels};
use thrum_engine::cpu::vector;
use thrum_engine::quant::Format;
use thrum_engine::synthetic::Random;

/// Rows and columns: SmolLM2-135M's attention, feed-forward and output, and Qwen2.5-0.5B's gate.
const SHAPES: [(usize, usize); 5] = [
    (576, 576),
    (1_536, 576),
    (576, 1_536),
    (49_152, 576),
    (4_864, 896),
];

/// Formats that are measured when none is asked for.
const FORMATS: [Format; 6] = [
    Format::Q4_0,
    Format::Q8_0,
    Format::Q4_K,
    Format::Q6_K,
    Format::F16,
    Format::F32,
];

/// bytes of weights; so many copies of a matrix that none is in a cache when its turn comes, as in
/// a model.
const WEIGHT_BYTES: usize = 48 << 20;

/// seconds; of one timing.
const WINDOW: f64 = 0.04;

/// Timings, of which the best counts: others may be using the machine.
const TIMINGS: usize = 5;

/// Prints GMAC/s by format, shape, tokens and kind of kernel, then some elementwise functions.
pub(crate) fn measure(formats: &[String], seconds: &dyn Fn() -> f64, print: &dyn Fn(&str)) {
    let asked = |format: &Format| {
        formats.is_empty() && FORMATS.contains(format)
            || formats.iter().any(|name| name == format.name())
    };
    let kinds = all();
    let names: Vec<_> = kinds.iter().map(|it| it.name()).collect();
    print(&format!("GMAC/s: {}", names.join(", ")));
    for format in Format::ALL.into_iter().filter(asked) {
        for (rows, cols) in SHAPES {
            // The K formats have blocks of 256.
            let cols = cols.next_multiple_of(format.block_len());
            let matrices = matrices(format, rows, cols);
            for tokens in [1, 32] {
                let speeds = speeds(&kinds, &matrices, tokens, seconds);
                let speeds: Vec<_> = speeds.iter().map(|it| format!("{it:6.1}")).collect();
                let name = format.name();
                print(&format!(
                    "{name} {rows} x {cols}, {tokens:2} tokens: {}",
                    speeds.join(" ")
                ));
            }
        }
    }
    elementwise(seconds, print);
}

/// Copies of a matrix of finite weights.
fn matrices(format: Format, rows: usize, cols: usize) -> Vec<Panels> {
    let mut random = Random(1);
    let n_blocks = rows * cols / format.block_len();
    let mut block = vec![0; format.block_bytes()];
    let mut bytes = Vec::with_capacity(n_blocks * block.len());
    for _ in 0..n_blocks {
        // Below 0x3c in every byte: no f16 or f32 in it is large, infinite or NaN.
        block.fill_with(|| (random.bits() % 0x3c) as u8);
        bytes.extend_from_slice(&block);
    }
    let build = || {
        let mut builder = PanelBuilder::new(format, rows, cols).expect("a good shape");
        builder.push(&bytes).expect("good bytes");
        builder.finish().expect("all of them")
    };
    (0..=WEIGHT_BYTES / (bytes.len() + 1))
        .map(|_| build())
        .collect()
}

/// Of each kind, in turns.
fn speeds(
    kinds: &[&dyn Kernels],
    matrices: &[Panels],
    tokens: usize,
    seconds: &dyn Fn() -> f64,
) -> Vec<f64> {
    let (rows, cols) = (matrices[0].rows(), matrices[0].cols());
    let mut random = Random(2);
    let values: Vec<f32> = (0..tokens * cols).map(|_| random.symmetric()).collect();
    let mut inputs = Activations::default();
    inputs.set(&values, cols);
    let mut outputs = vec![0.0; tokens * rows];
    let mut best = vec![0.0_f64; kinds.len()];
    for _ in 0..TIMINGS {
        for (kind, best) in kinds.iter().zip(&mut best) {
            let mut done = 0;
            let start = seconds();
            while seconds() - start < WINDOW {
                kind.matmul(&matrices[done % matrices.len()], &inputs, &mut outputs);
                done += 1;
            }
            let macs = (done * rows * cols * tokens) as f64;
            *best = best.max(macs / (seconds() - start) / 1e9);
        }
    }
    best
}

fn elementwise(seconds: &dyn Fn() -> f64, print: &dyn Fn(&str)) {
    let mut random = Random(3);
    let x: Vec<f32> = (0..4_096).map(|_| random.symmetric() * 4.0).collect();
    let mut y = x.clone();
    let mut z = vec![0.0; x.len()];
    let halves = vec![0; x.len()];
    let mut inputs = Activations::default();
    let mut report = |name: &str, run: &mut dyn FnMut(&mut [f32])| {
        let mut best = f64::INFINITY;
        for _ in 0..TIMINGS {
            let start = seconds();
            let mut done = 0;
            while seconds() - start < WINDOW {
                y.copy_from_slice(&x);
                run(&mut y);
                done += 1;
            }
            best = best.min((seconds() - start) * 1e9 / (done * x.len()) as f64);
        }
        print(&format!("{name}: {best:.2} ns a float"));
    };
    report("copy", &mut |_| {});
    report("silu times", &mut |y| vector::silu_mul(y, &x));
    report("gelu by tanh times", &mut |y| vector::gelu_tanh_mul(y, &x));
    report("gelu by erf", &mut vector::gelu_erf);
    report("softmax", &mut vector::softmax);
    report("libm expf", &mut |y| {
        y.iter_mut().for_each(|it| *it = libm::expf(*it))
    });
    report("rms norm", &mut |y| vector::rms_norm(y, &x, 1e-5, &mut z));
    report("dot", &mut |y| y[0] = vector::dot(y, &x));
    report("widen f16", &mut |y| vector::widen_f16(&halves, y));
    report("quantise activations", &mut |y| inputs.set(y, 512));
}

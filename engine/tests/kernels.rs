//! Every kind of matrix kernel that a machine has gives the same bits, for every format.
//!
//! Run for both: `cargo test -p thrum-engine --test kernels`, and the same with
//! `--target wasm32-unknown-unknown`; with `WASM_BINDGEN_USE_BROWSER=1` in a browser, where the
//! relaxed module is among them.

use thrum_engine::cpu::activations::Activations;
use thrum_engine::cpu::kernels::{Kernels, all};
use thrum_engine::cpu::panels::{PanelBuilder, Panels};
use thrum_engine::quant::Format;
use thrum_engine::synthetic::Random;
use wasm_bindgen_test::wasm_bindgen_test;

/// Weights of any bytes at all: scales may be infinite or NaN.
fn panels(random: &mut Random, format: Format, rows: usize, cols: usize) -> Panels {
    let mut bytes: Vec<u8> = (0..rows * format.row_bytes(cols))
        .map(|_| random.bits() as u8)
        .collect();
    // Every other matrix lacks -128, for which some kernels have another way.
    if format == Format::Q8_0 && random.bits().is_multiple_of(2) {
        for byte in &mut bytes {
            *byte = (*byte).max(1) ^ 0x80;
        }
    }
    let mut builder = PanelBuilder::new(format, rows, cols).expect("a good shape");
    builder.push(&bytes).expect("good bytes");
    builder.finish().expect("all of them")
}

fn inputs(random: &mut Random, tokens: usize, cols: usize) -> Activations {
    let values: Vec<f32> = (0..tokens * cols).map(|_| random.symmetric()).collect();
    let mut inputs = Activations::default();
    inputs.set(&values, cols);
    inputs
}

fn multiply(kernels: &dyn Kernels, panels: &Panels, inputs: &Activations) -> Vec<u32> {
    let mut outputs = vec![-1.0; panels.rows() * inputs.tokens()];
    kernels.matmul(panels, inputs, &mut outputs);
    // Which NaN it is depends on the machine.
    let quiet = |it: &f32| if it.is_nan() { u32::MAX } else { it.to_bits() };
    outputs.iter().map(quiet).collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn every_kind_gives_the_same_bits() {
    let all = all();
    let mut random = Random(1);
    for format in Format::ALL {
        for tokens in 1..=33 {
            let rows = 1 + random.bits() as usize % 30;
            let cols = format.block_len().max(32) * (1 + random.bits() as usize % 4);
            let panels = panels(&mut random, format, rows, cols);
            let inputs = inputs(&mut random, tokens, cols);
            let expected = multiply(all[0], &panels, &inputs);
            for kernels in &all[1..] {
                let found = multiply(*kernels, &panels, &inputs);
                let name = kernels.name();
                assert!(
                    found == expected,
                    "{name}: {format:?} {rows} x {cols}, {tokens}"
                );
            }
        }
    }
}

//! The CPU path gives the same bits natively and in wasm with simd128.
//!
//! Run for both: `cargo test -p thrum-engine --test same_bits`, and the same with
//! `--target wasm32-unknown-unknown` (in Node, through wasm-bindgen-test-runner). A digest that
//! changes is a change of arithmetic, and every peer's answers change with it.

use futures::FutureExt as _;
use thrum_engine::cpu::CpuModel;
use thrum_engine::model::Model;
use thrum_engine::quant::Format;
use thrum_engine::synthetic::{Random, SyntheticModel};
use wasm_bindgen_test::wasm_bindgen_test;

/// A digest of every bit of the logits after each batch, for a format and two shapes.
fn digest(format: Format) -> u64 {
    let wide = SyntheticModel {
        format,
        ..SyntheticModel::SMALL
    };
    // Heads of 10 channels and rows of 60: tails in every loop. Matrices are then F32 or F16.
    let odd = SyntheticModel {
        dim: 60,
        n_heads: 6,
        n_kv_heads: 3,
        ffn_dim: 77,
        ..wide
    };
    let mut digest = FNV_OFFSET;
    for spec in [wide, odd] {
        let mut model = load(&spec);
        let mut random = Random(11);
        let tokens: Vec<u32> = (0..90).map(|_| random.bits() % 320).collect();
        let id = model.open().expect("room for one");
        for batch in tokens.chunks(7) {
            let logits = model.read(id, batch).now_or_never();
            for logit in logits.expect("no waiting").expect("a good batch") {
                digest = (digest ^ u64::from(logit.to_bits())).wrapping_mul(FNV_PRIME);
            }
        }
    }
    digest
}

/// FNV-1a's 64-bit offset basis.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a's 64-bit prime.
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn load(spec: &SyntheticModel) -> Model {
    let (header, weights) = spec.load();
    Model::new(CpuModel::new(header.config, weights).expect("room"), 128)
}

#[wasm_bindgen_test(unsupported = test)]
fn logits_are_the_same_bits_everywhere() {
    let digests = [Format::F32, Format::F16, Format::Q4_0, Format::Q8_0].map(digest);
    let expected = [
        0x87db_a376_e8a3_d3de,
        0x896d_b523_d3bd_a39b,
        0x0a53_ef85_7d83_003e,
        0xe098_c107_0e84_2fbe,
    ];
    assert_eq!(digests, expected);
}

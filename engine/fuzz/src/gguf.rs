//! The first byte says how the file arrives, the others are the file.
//!
//! Whatever the file is, reading ends with a model whose weights are all finite or with an error.

use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::quant::dequantize;
use thrum_engine::tokenizer::EncodeOptions;
use thrum_engine::weights::{Slot, WeightStore};

/// bytes; room for every seed, so that a header cannot ask for more than an input is worth.
const AVAILABLE_BYTES: u64 = 4 << 20;

/// Reads `data`; true when it is a whole model.
pub fn run(data: &[u8]) -> bool {
    let Some((first, file)) = data.split_first() else {
        return false;
    };
    let chunk_bytes = 1 + usize::from(*first) * usize::from(*first);
    let options = ReadOptions {
        file_bytes: (first % 2 == 1).then_some(file.len() as u64),
        available_bytes: Some(AVAILABLE_BYTES),
        max_context: 64,
    };
    let mut reader = GgufReader::new(options);
    let mut store = WeightStore::default();
    for chunk in file.chunks(chunk_bytes) {
        if reader.push(chunk, &mut store).is_err() {
            assert!(reader.push(&[], &mut store).is_err(), "refused for good");
            return false;
        }
    }
    let Ok(header) = reader.finish(&mut store) else {
        return false;
    };
    let weights = store.into_weights().expect("a whole file has every tensor");
    for slot in Slot::all(&header.config) {
        check_matrix(&weights, slot);
    }
    let options = EncodeOptions {
        add_bos: true,
        control: true,
    };
    if let Ok(tokens) = header.tokenizer.encode("Hello, 12 wörlds", options) {
        let below = |id: &u32| (*id as usize) < header.config.vocab_size;
        assert!(tokens.iter().all(below), "every token has an embedding");
        header.tokenizer.decode(&tokens);
    }
    true
}

fn check_matrix(weights: &thrum_engine::weights::Weights, slot: Slot) {
    let matrix = weights.get(slot).expect("a tensor of the configuration");
    let mut row = vec![0.0; matrix.cols];
    for n in 0..matrix.rows {
        dequantize(matrix.format, matrix.row(n), &mut row);
        assert!(row.iter().all(|weight| weight.is_finite()), "{slot:?}");
    }
}

//! What the engine makes of a file: logits at every position, or an encoder's embeddings.

use thrum_engine::cpu::CpuModel;
use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::memory::MAX_BATCH;
use thrum_engine::model::Model;
use thrum_engine::reference::{ReferenceModel, Rounding};
use thrum_engine::sequences::BatchRow;
use thrum_engine::weights::WeightStore;

use crate::variants::CONTEXT;

/// tokens; the beginnings of the text that an encoder embeds.
const TEXTS: [usize; 4] = [1, 7, 64, 320];

/// Which path reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// What runs without a GPU.
    Cpu,
    /// The specification, in f64.
    Exact,
}

/// Logits at every position, `(positions, vocab_size)`; or embeddings of [`TEXTS`], `(texts, dim)`.
pub(crate) fn read(file: &[u8], path: Path, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: Some(file.len() as u64),
        available_bytes: None,
        max_context: CONTEXT,
    });
    let mut store = WeightStore::default();
    reader.push(file, &mut store).expect("a good file");
    let config = reader.finish(&mut store).expect("a whole file").config;
    let weights = store.into_weights().expect("every tensor");
    let is_causal = config.is_causal();
    let vocab_size = config.vocab_size;
    let mut model = match path {
        Path::Cpu => Model::new(CpuModel::new(config, weights).expect("room"), CONTEXT),
        Path::Exact => {
            let reference = ReferenceModel::new(config, &weights, Rounding::Exact);
            Model::new(reference, CONTEXT)
        }
    };
    if !is_causal {
        let embed = |n: &usize| pollster::block_on(model.embed(&tokens[..*n])).expect("a text");
        return TEXTS.iter().map(embed).collect();
    }
    let sequence = model.open().expect("room for one");
    let row = |token: &u32| BatchRow {
        sequence,
        token: *token,
        logits: true,
    };
    let rows: Vec<BatchRow> = tokens.iter().map(row).collect();
    let mut logits = Vec::new();
    for rows in rows.chunks(MAX_BATCH) {
        let batch = pollster::block_on(model.forward(rows)).expect("a good batch");
        logits.extend(batch.chunks(vocab_size).map(<[f32]>::to_vec));
    }
    logits
}

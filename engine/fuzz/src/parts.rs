//! The input says how a small model is cut into files, what each of them claims, which bytes are
//! changed, and in what order and pieces they arrive.
//!
//! Reading ends with the model as it was, with changed weights, or with an error.

use std::sync::OnceLock;

use thrum_engine::gguf::{GgufReader, PartReader, ReadOptions};
use thrum_engine::quant::Format;
use thrum_engine::synthetic::{GgufWriter, SyntheticModel};
use thrum_engine::weights::WeightStore;

use super::script::Script;

const MODEL: SyntheticModel = SyntheticModel {
    n_layers: 1,
    dim: 32,
    n_heads: 2,
    n_kv_heads: 1,
    ffn_dim: 32,
    vocab_size: 258,
    context_len: 16,
    format: Format::Q4_0,
    ..SyntheticModel::SMALL
};

/// Tensors of the model.
const N_TENSORS: usize = 11;

/// Reads what `data` makes up; true when it is a whole model.
pub fn run(data: &[u8]) -> bool {
    let mut script = Script(data);
    let mut files = cut(&mut script);
    for _ in 0..script.below(4) {
        claim(&mut script, &mut files);
    }
    for _ in 0..script.below(8) {
        damage(&mut script, &mut files);
    }
    for _ in 0..script.below(4) {
        let (a, b) = (script.below(files.len()), script.below(files.len()));
        files.swap(a, b);
    }
    read(&mut script, &files)
}

/// The model in one to four files.
fn cut(script: &mut Script<'_>) -> Vec<Vec<u8>> {
    static WRITER: OnceLock<GgufWriter> = OnceLock::new();
    let writer = WRITER.get_or_init(|| {
        let mut writer = MODEL.metadata();
        MODEL.add_tensors(&mut writer);
        writer
    });
    let n_parts = 1 + script.below(4);
    let mut left = N_TENSORS;
    let mut sizes: Vec<usize> = (1..n_parts)
        .map(|_| {
            let here = script.below(left + 1);
            left -= here;
            here
        })
        .collect();
    sizes.push(left);
    writer.finish_split(&sizes)
}

/// Puts other numbers where a part says which it is, or takes a part away, or repeats one.
fn claim(script: &mut Script<'_>, files: &mut Vec<Vec<u8>>) {
    let n = script.below(files.len());
    match script.below(5) {
        0 => overwrite(&mut files[n], b"split.no", &script.word().to_le_bytes()),
        1 => overwrite(&mut files[n], b"split.count", &script.word().to_le_bytes()),
        2 => {
            let number = [script.word().to_le_bytes(), script.word().to_le_bytes()];
            overwrite(&mut files[n], b"split.tensors.count", number.as_flattened());
        }
        3 if files.len() > 1 => {
            files.remove(n);
        }
        _ => files.push(files[n].clone()),
    }
}

/// A key is followed by its type, 4 bytes, and its value.
fn overwrite(file: &mut [u8], key: &[u8], value: &[u8]) {
    let at = file.windows(key.len()).position(|it| it == key);
    if let Some(at) = at
        && let Some(place) = file[at + key.len()..].get_mut(4..4 + value.len())
    {
        place.copy_from_slice(value);
    }
}

/// Changes a byte, or cuts a file, or adds to it.
fn damage(script: &mut Script<'_>, files: &mut [Vec<u8>]) {
    let n = script.below(files.len());
    let file = &mut files[n];
    let at = usize::from(script.word()) % (file.len() + 1);
    match script.below(4) {
        0 => file.truncate(at),
        1 => file.push(script.byte()),
        _ => {
            if let Some(byte) = file.get_mut(at) {
                *byte = script.byte();
            }
        }
    }
}

fn read(script: &mut Script<'_>, files: &[Vec<u8>]) -> bool {
    let options = ReadOptions {
        file_bytes: None,
        available_bytes: Some(4 << 20),
        max_context: 64,
    };
    let stated = script.below(2) == 1;
    let mut headers = Vec::new();
    for file in files {
        let mut reader = PartReader::new(stated.then_some(file.len() as u64));
        for chunk in file.chunks(1 + usize::from(script.word())) {
            match reader.push(chunk) {
                Ok(true) => break,
                Ok(false) => {}
                Err(_) => return false,
            }
        }
        let Ok(header) = reader.finish() else {
            return false;
        };
        assert!(header.header_bytes() <= file.len() as u64);
        headers.push(header);
    }
    let Ok(mut reader) = GgufReader::of_parts(options, headers) else {
        return false;
    };
    let mut store = WeightStore::default();
    for file in files {
        for chunk in file.chunks(1 + usize::from(script.word())) {
            if reader.push(chunk, &mut store).is_err() {
                return false;
            }
        }
        if reader.end_part().is_err() {
            return false;
        }
    }
    let whole = reader.finish(&mut store).is_ok();
    if whole {
        store.into_weights().expect("a whole set has every tensor");
    }
    whole
}

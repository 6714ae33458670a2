//! Writes the inputs that fuzzing starts from: `cargo run --example fuzz_seeds -- FOLDER`.
//!
//! Small whole models of every architecture and format for the reader of files, blocks of every
//! format, vocabularies of every kind, the adapters of the tests.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use thrum_engine::arch::Architecture;
use thrum_engine::quant::{Format, quantize};
use thrum_engine::synthetic::{Random, SyntheticModel};

/// The smallest model there can be.
const LEAST: SyntheticModel = SyntheticModel {
    n_layers: 1,
    dim: 8,
    n_heads: 2,
    n_kv_heads: 1,
    ffn_dim: 8,
    vocab_size: 8,
    context_len: 8,
    format: Format::F32,
    ..SyntheticModel::SMALL
};

const ARCHITECTURES: [Architecture; 7] = [
    Architecture::Bert,
    Architecture::Gemma2,
    Architecture::Gemma3,
    Architecture::Llama,
    Architecture::Phi3,
    Architecture::Qwen2,
    Architecture::Qwen3,
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("which folder?")?);
    models(&folder.join("gguf"))?;
    blocks(&folder.join("quant"))?;
    scripts(&folder.join("parts"))?;
    vocabularies(&folder.join("tokenizer"))?;
    adapters(&folder.join("adapter"))?;
    Ok(())
}

fn write(folder: &Path, name: &str, input: &[u8]) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), input)?;
    Ok(())
}

fn models(folder: &Path) -> Result<(), Box<dyn Error>> {
    for architecture in ARCHITECTURES {
        let n_kv_heads = if architecture == Architecture::Bert {
            2
        } else {
            1
        };
        let spec = SyntheticModel {
            architecture,
            n_kv_heads,
            ..LEAST
        };
        write(folder, &format!("{architecture:?}"), &model(spec))?;
    }
    let of_blocks = Format::ALL
        .into_iter()
        .filter(|format| format.block_len() <= 32);
    for format in of_blocks {
        let dim = format.block_len().max(LEAST.dim);
        let spec = SyntheticModel {
            dim,
            ffn_dim: dim,
            format,
            ..LEAST
        };
        write(folder, format.name(), &model(spec))?;
    }
    let byte_level = SyntheticModel {
        vocab_size: 258,
        ..LEAST
    };
    write(folder, "byte_level", &arriving(&byte_level.gguf()))
}

/// A model with a vocabulary of as few tokens.
fn model(spec: SyntheticModel) -> Vec<u8> {
    let mut writer = spec.shape_metadata();
    let kind = match spec.architecture {
        Architecture::Bert => "bert",
        Architecture::Gemma2
        | Architecture::Gemma3
        | Architecture::Llama
        | Architecture::Phi3
        | Architecture::Qwen2
        | Architecture::Qwen3 => "llama",
    };
    let tokens = ["<unk>", "<s>", "</s>", "\u{2581}", "H", "e", "l", "<0x0A>"];
    writer
        .text("tokenizer.ggml.model", kind)
        .texts("tokenizer.ggml.tokens", &tokens.map(String::from))
        .ints("tokenizer.ggml.token_type", &[2, 3, 3, 1, 1, 1, 1, 6])
        .floats("tokenizer.ggml.scores", &[0.0; 8])
        .uint("tokenizer.ggml.unknown_token_id", 0)
        .text("tokenizer.chat_template", "{{ messages }}");
    spec.add_tensors(&mut writer);
    arriving(&writer.finish())
}

/// The file behind the byte that says in what pieces it arrives.
fn arriving(file: &[u8]) -> Vec<u8> {
    [&[37], file].concat()
}

fn blocks(folder: &Path) -> Result<(), Box<dyn Error>> {
    for (n, format) in (0..).zip(Format::ALL) {
        let mut random = Random(n);
        let weights: Vec<f32> = (0..256).map(|_| random.symmetric()).collect();
        let input = [&[n as u8], &quantize(format, &weights)[..]].concat();
        write(folder, format.name(), &input)?;
    }
    Ok(())
}

/// A whole set, one cut short, one with a part twice, one that claims too much.
fn scripts(folder: &Path) -> Result<(), Box<dyn Error>> {
    let sets: [(&str, &[u8]); 5] = [
        ("whole", &[2, 3, 4, 0, 0, 0, 1, 200, 3, 255, 0, 7, 0]),
        ("one", &[0, 0, 0, 0, 0]),
        ("cut", &[1, 5, 0, 1, 1, 0, 40, 0, 0, 99, 0]),
        ("twice", &[2, 3, 4, 1, 1, 4, 0, 0, 0, 50, 0]),
        ("claim", &[2, 3, 4, 2, 0, 0, 7, 0, 1, 1, 2, 0, 0, 0, 50, 0]),
    ];
    for (name, script) in sets {
        write(folder, name, script)?;
    }
    Ok(())
}

/// The adapters of the tests, each for its architecture.
fn adapters(folder: &Path) -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/adapters");
    for (n, architecture) in (0_u8..).zip(ARCHITECTURES) {
        let name = format!("{architecture:?}").to_lowercase();
        let file = |file| fs::read(root.join(&name).join(file));
        let Ok(config) = file("adapter_config.json") else {
            // Not every architecture has an adapter among the tests.
            continue;
        };
        let n_bytes = u16::try_from(config.len())?.to_le_bytes();
        let tensors = file("adapter_model.safetensors")?;
        let peft = [&[0, n], &n_bytes[..], &config, &tensors].concat();
        write(folder, &format!("{name}-peft"), &peft)?;
        let gguf = [&[1, n], &file("adapter.gguf")?[..]].concat();
        write(folder, &format!("{name}-gguf"), &gguf)?;
    }
    Ok(())
}

fn vocabularies(folder: &Path) -> Result<(), Box<dyn Error>> {
    let text = "Hello  world! 123,456 über\n\t\u{4f60}\u{597d} \u{1f642}<s>don't";
    for kind in 0..3 {
        for pre in 0..18 {
            // Bytes first, five more tokens, three merges.
            let mut script = vec![0, kind, pre];
            let tokens: [(&str, u8); 5] = [
                ("<s>", 3),
                ("\u{2581}H", 1),
                ("He", 1),
                ("ll", 1),
                ("12", 4),
            ];
            script.push(tokens.len() as u8);
            for (token, token_kind) in tokens {
                script.push(token.len() as u8);
                script.extend(token.bytes());
                script.push(token_kind);
            }
            let merges = ["H e", "l l", "1 2"];
            script.push(merges.len() as u8);
            for merge in merges {
                script.push(merge.len() as u8);
                script.extend(merge.bytes());
            }
            script.extend([7, 0b1111, 2, 3, 1, 0, 0, 0]);
            script.extend(text.bytes());
            write(folder, &format!("{kind}-{pre}"), &script)?;
        }
    }
    Ok(())
}

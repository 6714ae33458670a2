//! What is refused, and by which name; hostile bytes; pairs of fused matrices.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ModelConfig;
use crate::quant::{Format, quantize};
use crate::safetensors::{F32Matrix, write};
use crate::synthetic::{GgufWriter, Random, SyntheticModel};
use crate::weights::LayerSlot;

fn model() -> ModelConfig {
    SyntheticModel::SMALL.config()
}

fn config() -> Value {
    json!({ "peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none" })
}

fn matrix(rows: usize, cols: usize) -> F32Matrix {
    let mut random = Random(rows as u64 * 1_000 + cols as u64);
    let values = (0..rows * cols).map(|_| random.symmetric()).collect();
    F32Matrix { rows, cols, values }
}

const Q: &str = "base_model.model.model.layers.1.self_attn.q_proj";

/// A pair of rank 2 for the queries of layer 1.
fn tensors() -> BTreeMap<String, F32Matrix> {
    BTreeMap::from([
        (format!("{Q}.lora_A.weight"), matrix(2, 64)),
        (format!("{Q}.lora_B.weight"), matrix(64, 2)),
    ])
}

fn read(config: &Value, tensors: &BTreeMap<String, F32Matrix>) -> Result<Adapter, AdapterError> {
    read_peft(config.to_string().as_bytes(), &write(tensors), &model())
}

fn refused(result: Result<Adapter, AdapterError>, expected: &str) {
    let message = result.expect_err(expected).to_string();
    assert!(
        message.contains(expected),
        "`{message}` does not say `{expected}`"
    );
}

#[test]
fn reads_the_smallest_adapter() {
    let adapter = read(&config(), &tensors()).unwrap();
    let pair = &adapter.pairs[&Slot::Layer(1, LayerSlot::AttnQ)];
    assert_eq!((adapter.pairs.len(), adapter.rank, pair.scale), (1, 2, 2.0));
    assert_eq!(pair.a, matrix(2, 64).values);
    // Heads of 16: the second row in GGUF's order is the ninth in Transformers'.
    assert_eq!(pair.b[2..4], matrix(64, 2).values[16..18]);
    assert_eq!(adapter.bytes(), 4 * 2 * 128);
}

#[test]
fn refuses_settings_by_name() {
    let with = |key: &str, value: Value| {
        let mut config = config();
        config[key] = value;
        read(&config, &tensors())
    };
    refused(with("peft_type", json!("LOHA")), "peft_type LOHA");
    refused(with("peft_type", Value::Null), "peft_type null");
    refused(
        with("use_dora", json!(true)),
        "use_dora, which is not supported",
    );
    refused(with("bias", json!("lora_only")), "bias lora_only");
    refused(
        with("modules_to_save", json!(["lm_head"])),
        "modules_to_save",
    );
    refused(
        with("layer_replication", json!([[0, 2]])),
        "layer_replication",
    );
    refused(
        with("init_lora_weights", json!("pissa")),
        "init_lora_weights pissa",
    );
    refused(
        with("trainable_token_indices", json!([1])),
        "trainable_token_indices",
    );
    refused(with("r", json!(0)), "r is 0, not between 1 and 1024");
    refused(
        with("r", json!(4)),
        "the rank of model.layers.1.self_attn.q_proj is 2, not 4",
    );
    refused(
        with("r", json!(-1)),
        "adapter_config.json is not what it should be",
    );
    refused(with("lora_alpha", json!(1e30)), "alpha / rank of");
    refused(with("lora_alpha", Value::Null), "with a lora_alpha");
    refused(
        with("rank_pattern", json!({ "(a+)+": 3 })),
        "a key of rank_pattern is (a+)+",
    );
    assert!(with("init_lora_weights", json!("gaussian")).is_ok());
    assert!(with("modules_to_save", json!([])).is_ok());
    assert!(
        with(
            "rank_pattern",
            json!({ "^q_proj": 3, "q_proj$": 2, "_proj": 9 })
        )
        .is_ok()
    );
    refused(
        read_peft(b"{", &write(&tensors()), &model()),
        "not what it should be",
    );
    refused(
        read_peft(&vec![b' '; 2 << 20], &[], &model()),
        "2097152 bytes",
    );
}

#[test]
fn refuses_tensors_by_name() {
    let a = format!("{Q}.lora_A.weight");
    let b = format!("{Q}.lora_B.weight");
    let change = |change: &dyn Fn(&mut BTreeMap<String, F32Matrix>)| {
        let mut tensors = tensors();
        change(&mut tensors);
        read(&config(), &tensors)
    };
    let renamed = |from: &str, to: &str| {
        let tensors = tensors();
        let tensors = tensors
            .into_iter()
            .map(|(name, tensor)| (name.replace(from, to), tensor));
        read(&config(), &tensors.collect())
    };
    let extra = |name: &str| change(&|it| drop(it.insert(name.to_owned(), matrix(1, 1))));
    refused(
        change(&|it| drop(it.remove(&a))),
        &format!("{b} has no counterpart: the pair's A"),
    );
    refused(
        change(&|it| drop(it.remove(&b))),
        &format!("{a} has no counterpart: the pair's B"),
    );
    refused(change(&BTreeMap::clear), "no tensors");
    refused(
        renamed("layers.1.", "layers.2."),
        "is for layer 2 and the model has 2",
    );
    refused(
        renamed("layers.1.", "layers.01."),
        "has no base_model.model.model.layers.01.",
    );
    refused(renamed("q_proj", "qkv_proj"), "a llama model has no");
    refused(
        renamed("model.layers.1.self_attn.q_proj", "lm_head"),
        "is its token embedding",
    );
    refused(
        extra("base_model.model.model.embed_tokens.lora_embedding_A"),
        "the token embedding",
    );
    refused(extra(&format!("{Q}.lora_magnitude_vector")), "DoRA");
    refused(extra(&format!("{Q}.lora_B.bias")), "biases");
    refused(
        extra("base_model.model.lm_head.weight"),
        "is no half of a low-rank pair",
    );
    refused(
        extra(&format!("{Q}.lora_A.default.weight")),
        "are the same half of a pair",
    );
    let put = |name: &str, tensor: F32Matrix| {
        change(&|it| drop(it.insert(name.to_owned(), tensor.clone())))
    };
    refused(
        put(&a, matrix(2, 63)),
        "is [2, 63] and this model asks for [2, 64]",
    );
    refused(
        put(&b, matrix(32, 2)),
        "is [32, 2] and this model asks for [64, 2]",
    );
    refused(
        put(&b, matrix(64, 3)),
        "is [64, 3] and this model asks for [64, 2]",
    );
    refused(put(&a, matrix(0, 64)), "has rank 0: between 1 and 1024");
    refused(put(&a, matrix(2_000, 64)), "has rank 2000");
    for bad in [f32::NAN, f32::INFINITY] {
        let mut tensor = matrix(64, 2);
        tensor.values[77] = bad;
        refused(put(&b, tensor), &format!("{b}: number 77 is not finite"));
    }
}

#[test]
fn an_output_matrix_of_its_own_takes_an_adapter() {
    let model = ModelConfig {
        tied_output: false,
        ..model()
    };
    let tensors = BTreeMap::from([
        (
            "base_model.model.lm_head.lora_A.weight".to_owned(),
            matrix(2, 64),
        ),
        (
            "base_model.model.lm_head.lora_B.weight".to_owned(),
            matrix(320, 2),
        ),
    ]);
    let adapter = read_peft(config().to_string().as_bytes(), &write(&tensors), &model).unwrap();
    assert_eq!(adapter.pairs[&Slot::Output].rows(), 320);
    let files = adapter.to_peft(&model);
    assert_eq!(
        read_peft(&files.config, &files.safetensors, &model).unwrap(),
        adapter
    );
}

/// A GGUF adapter of rank 2 for the keys of layer 0.
fn gguf(format: Format, change: impl Fn(&mut GgufWriter)) -> Vec<u8> {
    let mut writer = GgufWriter::default();
    writer
        .text("general.architecture", "llama")
        .text("general.type", "adapter")
        .text("adapter.type", "lora")
        .text("general.name", "keys")
        .float("adapter.lora.alpha", 3.0);
    let a = quantize(format, &matrix(2, 64).values);
    let b = quantize(Format::F16, &matrix(32, 2).values);
    writer
        .tensor("blk.0.attn_k.weight.lora_a", &[64, 2], format.type_id(), a)
        .tensor(
            "blk.0.attn_k.weight.lora_b",
            &[2, 32],
            Format::F16.type_id(),
            b,
        );
    change(&mut writer);
    writer.finish()
}

#[test]
fn reads_gguf_in_the_formats_that_converters_write() {
    for (format, error) in [
        (Format::F32, 0.0),
        (Format::F16, 4e-4),
        (Format::Q8_0, 5e-3),
    ] {
        let adapter = read_gguf(&gguf(format, |_| {}), &model()).unwrap();
        let pair = &adapter.pairs[&Slot::Layer(0, LayerSlot::AttnK)];
        assert_eq!(
            (adapter.name.as_str(), pair.rank, pair.scale),
            ("keys", 2, 1.5)
        );
        for (read, written) in pair.a.iter().zip(matrix(2, 64).values) {
            assert!((read - written).abs() <= error, "{read} and {written}");
        }
    }
}

#[test]
fn refuses_gguf_by_name() {
    let without = |key: &str, other: &str| {
        let mut file = gguf(Format::F32, |_| {});
        let at = file
            .windows(key.len())
            .position(|it| it == key.as_bytes())
            .unwrap();
        file[at..at + key.len()].copy_from_slice(other.as_bytes());
        read_gguf(&file, &model())
    };
    refused(
        without("lora_a", "lora_x"),
        "attn_k.weight.lora_x is no half",
    );
    refused(
        without("attn_k", "attn_x"),
        "a llama model has no blk.0.attn_x.weight",
    );
    refused(without("blk.0", "blk.9"), "is for layer 9");
    refused(
        without("adapter.type", "adapter.typo"),
        "adapter.type is missing, not lora",
    );
    refused(
        without("general.type", "general.typo"),
        "general.type is missing, not adapter",
    );
    let with = |change: &dyn Fn(&mut GgufWriter)| {
        read_gguf(&gguf(Format::F32, |writer| change(writer)), &model())
    };
    let number = |writer: &mut GgufWriter, name: &str| {
        drop(writer.tensor(name, &[1], 0, vec![0; 4]).clone())
    };
    refused(
        with(&|it| number(it, "token_embd.weight.lora_a")),
        "takes no adapter",
    );
    refused(
        with(&|it| number(it, "blk.0.attn_norm.weight")),
        "is no half",
    );
    refused(
        with(&|it| {
            it.uint("adapter.alora.invocation_tokens", 1);
        }),
        "adapter.alora.invocation_tokens",
    );
    let mut other = GgufWriter::default();
    other
        .text("general.architecture", "rwkv")
        .text("general.type", "adapter")
        .text("adapter.type", "lora");
    refused(
        read_gguf(&other.finish(), &model()),
        "for rwkv models and the model is llama",
    );
    let whole = gguf(Format::F32, |_| {});
    refused(read_gguf(&whole[..whole.len() - 40], &model()), "truncated");
    for length in 0..whole.len() - 32 {
        assert!(
            read_gguf(&whole[..length], &model()).is_err(),
            "{length} bytes"
        );
    }
}

#[test]
fn gguf_tensors_share_no_bytes() {
    let mut writer = GgufWriter::default();
    writer
        .text("general.architecture", "llama")
        .text("general.type", "adapter")
        .text("adapter.type", "lora")
        .tensor("blk.0.attn_k.weight.lora_a", &[64, 2], 0, vec![0; 512])
        .tensor("blk.0.attn_k.weight.lora_b", &[2, 32], 0, vec![0; 256]);
    refused(
        read_gguf(&writer.finish_with_offsets(&[0, 0]), &model()),
        "overlap",
    );
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(read_peft(&bytes, &bytes, &model()));
        drop(read_peft(config().to_string().as_bytes(), &bytes, &model()));
        drop(read_gguf(&bytes, &model()));
    }

    #[test]
    fn damaged_files_never_panic(
        places in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        cut in any::<usize>(),
    ) {
        let damaged = |mut file: Vec<u8>| {
            // Most of what can go wrong stands in the header.
            let header = file.len().min(400);
            for (place, byte) in &places {
                file[place % header] = *byte;
            }
            if cut.is_multiple_of(3) {
                file.truncate(cut / 3 % file.len());
            }
            file
        };
        let config = config().to_string().into_bytes();
        drop(read_gguf(&damaged(gguf(Format::Q8_0, |_| {})), &model()));
        drop(read_peft(&config, &damaged(write(&tensors())), &model()));
        drop(read_peft(&damaged(config), &write(&tensors()), &model()));
    }

    #[test]
    fn what_is_written_is_read(seed in any::<u64>(), n_pairs in 1_usize..15) {
        let model = model();
        let mut random = Random(seed);
        let mut pairs = BTreeMap::new();
        for slot in Slot::all(&model).filter(|slot| matches!(slot, Slot::Layer(..)) && slot.is_matrix()).take(n_pairs) {
            let (rows, cols) = slot.shape(&model);
            let rank = 1 + random.bits() as usize % 5;
            let mut numbers = |n: usize| (0..n).map(|_| random.symmetric()).collect::<Vec<_>>();
            let (a, b) = (numbers(rank * cols), numbers(rows * rank));
            let scale = 2.0 * random.symmetric();
            pairs.insert(slot, LoraPair { rank, scale, a, b });
        }
        let rank = pairs.values().map(|pair| pair.rank).max().unwrap();
        let adapter = Adapter { name: "a name".to_owned(), rank, pairs };
        let files = adapter.to_peft(&model);
        prop_assert_eq!(read_peft(&files.config, &files.safetensors, &model).unwrap(), adapter);
    }
}

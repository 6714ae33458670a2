//! Genomes in the worker's loop: taken, worn, stacked, refused, kept, removed.

#![cfg(target_arch = "wasm32")]
#![expect(dead_code, reason = "the rig is for all tests of the worker")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the events it waits for"
)]

mod golden;
mod rig;
#[path = "../src/worker/mod.rs"]
#[expect(
    dead_code,
    reason = "the test stands in for the page, and brings its own seam"
)]
pub mod worker;

use golden::MODEL;
use rig::{Outcome, Rig, blob, endless, sha256, url_of};
use serde_json::Value;
use thrum_engine::arch::Architecture;
use thrum_engine::quant::{Format, quantize};
use thrum_engine::synthetic::{GgufWriter, SyntheticModel};
use thrum_protocol::id::ModelId;
use thrum_protocol::sampling::{GenomeUse, Shift};
use thrum_protocol::task::Prompt;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::Blob;
use worker::messages::{
    BackendChoice, EngineEvent, Genome, GenomeFiles, GenomeSource, LossCause, Order, SourceFile,
    Trouble, UrlFile,
};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Made by `tests/it/genomes.rs`, as are the answers.
static GGUF: &[u8] = include_bytes!("../../tests/vectors/genomes/nonsense.gguf");
static CONFIG: &[u8] = include_bytes!("../../tests/vectors/genomes/adapter_config.json");
static WEIGHTS: &[u8] = include_bytes!("../../tests/vectors/genomes/adapter_model.safetensors");
static ANSWERS: &str = include_str!("../../tests/vectors/genomes/answers.json");

/// For a llama of other sizes, and for a qwen2.
static OTHER_SHAPE: &[u8] = include_bytes!("../../engine/tests/adapters/llama/adapter.gguf");
static OTHER_BASE: &[u8] = include_bytes!("../../engine/tests/adapters/qwen2/adapter.gguf");

/// A loop with the default model whose genomes are kept in a database of their own.
async fn rig(store: &str, backend: BackendChoice) -> Rig {
    let mut rig = Rig::new();
    rig.order(Order::KeepGenomes {
        store: store.to_owned(),
    });
    rig.load_blob(MODEL, backend);
    rig.ready().await;
    rig
}

fn source(files: GenomeFiles<SourceFile>) -> GenomeSource<SourceFile> {
    GenomeSource {
        name: None,
        sha256: None,
        place: None,
        files,
    }
}

async fn load(
    rig: &mut Rig,
    source: GenomeSource<SourceFile>,
    blobs: Vec<Blob>,
) -> Result<Genome, Trouble> {
    rig.order_with(Order::LoadGenome { load: 1, source }, blobs);
    let mut seen = rig
        .until(|event| matches!(event, EngineEvent::GenomeLoaded { .. }))
        .await;
    match seen.pop() {
        Some(EngineEvent::GenomeLoaded { result, .. }) => result.map(|it| *it),
        other => panic!("{other:?}"),
    }
}

async fn load_gguf(rig: &mut Rig, bytes: &[u8]) -> Result<Genome, Trouble> {
    load(
        rig,
        source(GenomeFiles::Gguf(SourceFile::Blob)),
        vec![blob(bytes)],
    )
    .await
}

async fn load_peft(rig: &mut Rig) -> Result<Genome, Trouble> {
    let files = GenomeFiles::Peft {
        config: SourceFile::Blob,
        weights: SourceFile::Blob,
    };
    load(rig, source(files), vec![blob(CONFIG), blob(WEIGHTS)]).await
}

async fn list(rig: &mut Rig) -> Vec<Genome> {
    rig.order(Order::ListGenomes { list: 1 });
    let mut seen = rig
        .until(|event| matches!(event, EngineEvent::Genomes { .. }))
        .await;
    match seen.pop() {
        Some(EngineEvent::Genomes { genomes, .. }) => genomes.expect("they can be listed"),
        other => panic!("{other:?}"),
    }
}

async fn remove(rig: &mut Rig, genome: ModelId) -> (Vec<EngineEvent>, Result<Genome, Trouble>) {
    rig.order(Order::RemoveGenome { removal: 1, genome });
    let mut seen = rig
        .until(|event| matches!(event, EngineEvent::GenomeRemoved { .. }))
        .await;
    match seen.pop() {
        Some(EngineEvent::GenomeRemoved { result, .. }) => (seen, result.map(|it| *it)),
        other => panic!("{other:?}"),
    }
}

/// thousandths of a logit; the two paths round differently, and of two near-equal tokens may take another each.
const NEAR_TIE_MILLI: u64 = 50;

/// `ids` are the native CPU path's, and on a GPU so as far as the first near tie.
fn check(name: &str, ids: &[u32], backend: BackendChoice) {
    let expected = expected(name);
    if backend == BackendChoice::Cpu {
        return assert_eq!(ids, expected, "{name}");
    }
    let answers: Value = serde_json::from_str(ANSWERS).expect("JSON");
    let pairs = ids.iter().zip(&expected);
    let agreed = pairs.take_while(|(a, b)| a == b).count();
    assert_eq!(ids.len(), expected.len());
    let gap = answers[name]["gaps_milli"][agreed].as_u64().unwrap_or(0);
    let near = gap < NEAR_TIE_MILLI;
    assert!(
        agreed > 12 && near,
        "{name} differs at {agreed}, where the gap is {gap}"
    );
}

fn expected(name: &str) -> Vec<u32> {
    let answers: Value = serde_json::from_str(ANSWERS).expect("JSON");
    let ids = answers[name]["ids"].as_array().expect("a list");
    let number = |id: &Value| id.as_u64().expect("an id") as u32;
    ids.iter().map(number).collect()
}

/// What was asked of the native engine, with genomes on.
fn worn(genomes: &[(ModelId, Shift)]) -> Prompt {
    let answers: Value = serde_json::from_str(ANSWERS).expect("JSON");
    let tokens = answers["max_tokens"].as_u64().expect("a number") as u32;
    let mut prompt = endless(answers["prompt"].as_str().expect("text"), tokens);
    let uses = genomes.iter();
    prompt.sampling.genomes = uses
        .map(|(id, scale)| GenomeUse {
            id: *id,
            scale: *scale,
        })
        .collect();
    prompt
}

const ONE: Shift = Shift::More(1_000);
const HALF: Shift = Shift::More(500);

/// Why an answer is refused, and whether the request is to blame.
async fn refusal(rig: &mut Rig, prompt: &Prompt) -> (bool, String) {
    rig.run(9, prompt, true);
    let mut seen = rig
        .until(|event| matches!(event, EngineEvent::Failed { .. } | EngineEvent::Done { .. }))
        .await;
    match seen.pop() {
        Some(EngineEvent::Failed {
            invalid_request,
            message,
            ..
        }) => (invalid_request, message),
        other => panic!("{other:?}"),
    }
}

async fn check_answers(backend: BackendChoice, store: &str) {
    let mut rig = rig(store, backend).await;
    let gguf = load_gguf(&mut rig, GGUF).await.expect("it fits");
    let peft = load_peft(&mut rig).await.expect("it fits");
    assert_eq!(gguf.id, sha256(GGUF));
    assert_eq!((gguf.name.as_str(), gguf.rank), ("nonsense", 4));
    assert_eq!(gguf.targets.len(), 7, "{:?}", gguf.targets);
    assert_eq!(
        (gguf.fits, gguf.loaded, gguf.kept),
        (Some(true), true, true)
    );
    assert_eq!(gguf.bytes, GGUF.len() as u64);
    assert_eq!(gguf.base, "demo");
    assert_eq!((peft.rank, peft.targets.len()), (2, 2));
    let stacks = [
        ("base", vec![]),
        ("gguf", vec![(gguf.id, ONE)]),
        ("peft", vec![(peft.id, ONE)]),
        ("base", vec![(gguf.id, Shift::NONE), (peft.id, Shift::NONE)]),
        ("half", vec![(gguf.id, HALF)]),
        ("both", vec![(gguf.id, HALF), (peft.id, Shift::Less(1_500))]),
    ];
    // One after the other: each is a swap.
    for (name, stack) in &stacks {
        check(name, &rig.answer(&worn(stack)).await.ids, backend);
    }
    // And all at once.
    for (job, (_, stack)) in stacks.iter().enumerate() {
        rig.run(job as u64, &worn(stack), true);
    }
    // Where there is a GPU it is lost meanwhile, and the genomes with it.
    rig.order(Order::DestroyDevice);
    let mut left = stacks.len();
    let mut seen = Vec::new();
    while left > 0 {
        let event = rig.event().await;
        left -= usize::from(matches!(event, EngineEvent::Done { .. }));
        seen.push(event);
    }
    for (job, (name, _)) in stacks.iter().enumerate() {
        check(name, &Outcome::of(job as u64, &seen).ids, backend);
    }
}

#[wasm_bindgen_test]
async fn genomes_say_what_they_say_in_the_native_engine() {
    check_answers(BackendChoice::Cpu, "answers").await;
}

#[wasm_bindgen_test]
async fn on_webgpu_too() {
    check_answers(BackendChoice::Webgpu, "answers on webgpu").await;
}

#[wasm_bindgen_test]
async fn genomes_are_kept_and_come_back_with_their_first_use() {
    let mut first = rig("kept", BackendChoice::Cpu).await;
    let gguf = load_gguf(&mut first, GGUF).await.expect("it fits");
    let peft = load_peft(&mut first).await.expect("it fits");
    drop(first);
    let mut again = rig("kept", BackendChoice::Cpu).await;
    let genomes = list(&mut again).await;
    assert_eq!(genomes.len(), 2);
    for genome in &genomes {
        assert_eq!(
            (genome.fits, genome.loaded, genome.kept),
            (Some(true), false, true)
        );
    }
    let stack = [(gguf.id, HALF), (peft.id, Shift::Less(1_500))];
    assert_eq!(again.answer(&worn(&stack)).await.ids, expected("both"));
    assert!(list(&mut again).await.iter().all(|genome| genome.loaded));
    // Another model, and the first again.
    let other = SyntheticModel {
        architecture: Architecture::Qwen2,
        ..SyntheticModel::SMALL
    };
    again.load_blob(&other.gguf(), BackendChoice::Cpu);
    again.ready().await;
    for genome in list(&mut again).await {
        assert_eq!((genome.fits, genome.loaded), (Some(false), false));
        assert!(genome.reason.expect("a reason").contains("qwen2"));
    }
    let (fatal, message) = refusal(&mut again, &worn(&[(gguf.id, ONE)])).await;
    assert!(fatal && message.contains("llama"), "{message}");
    again.load_blob(MODEL, BackendChoice::Cpu);
    again.ready().await;
    let outcome = again.answer(&worn(&[(gguf.id, ONE)])).await;
    assert_eq!(outcome.ids, expected("gguf"));
    // Removed, it stays so.
    let (_, removed) = remove(&mut again, gguf.id).await;
    assert_eq!(removed.expect("it was there").id, gguf.id);
    let (_, removed) = remove(&mut again, gguf.id).await;
    assert_eq!(
        removed.expect_err("it is gone").cause,
        LossCause::UnknownGenome
    );
    drop(again);
    let mut last = rig("kept", BackendChoice::Cpu).await;
    let ids: Vec<_> = list(&mut last).await.iter().map(|it| it.id).collect();
    assert_eq!(ids, [peft.id]);
    let (fatal, message) = refusal(&mut last, &worn(&[(gguf.id, ONE)])).await;
    assert!(fatal && message.contains(&gguf.id.to_string()), "{message}");
}

/// A GGUF adapter of one pair, its numbers all `number`.
fn tiny(name: &str, rank: u64, number: f32) -> Vec<u8> {
    let dim = 128;
    let mut writer = GgufWriter::default();
    writer
        .text("general.architecture", "llama")
        .text("general.type", "adapter")
        .text("adapter.type", "lora");
    let half = quantize(Format::F32, &vec![number; (rank * dim) as usize]);
    let type_id = Format::F32.type_id();
    writer
        .tensor(
            &format!("{name}.lora_a"),
            &[dim, rank],
            type_id,
            half.clone(),
        )
        .tensor(&format!("{name}.lora_b"), &[rank, dim], type_id, half);
    writer.finish()
}

#[wasm_bindgen_test]
async fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut rig = rig("refusals", BackendChoice::Cpu).await;
    let good = load_gguf(&mut rig, GGUF).await.expect("it fits");
    let before = list(&mut rig).await;
    let cases: [(&[u8], &str); 7] = [
        (OTHER_BASE, "is for qwen2 models and the model is llama"),
        (OTHER_SHAPE, "and this model asks for"),
        (
            &tiny("blk.0.attn_sinks.weight", 1, 1.0),
            "that takes an adapter",
        ),
        (&tiny("blk.99.attn_q.weight", 1, 1.0), "is for layer 99"),
        (&tiny("blk.0.attn_q.weight", 0, 1.0), ""),
        (&tiny("blk.0.attn_q.weight", 2, f32::NAN), "is not finite"),
        (MODEL, "general.type"),
    ];
    for (bytes, words) in cases {
        let trouble = load_gguf(&mut rig, bytes).await.expect_err(words);
        assert_eq!(trouble.cause, LossCause::InvalidGenome, "{trouble:?}");
        assert!(trouble.reason.contains(words), "{trouble:?}");
    }
    let pair = GenomeFiles::Peft {
        config: SourceFile::Blob,
        weights: SourceFile::Blob,
    };
    let crossed = load(&mut rig, source(pair), vec![blob(WEIGHTS), blob(CONFIG)]).await;
    assert_eq!(
        crossed.expect_err("no JSON").cause,
        LossCause::InvalidGenome
    );
    let (whole, cut) = (sha256(GGUF), &GGUF[..GGUF.len() - 1]);
    let expected_digest = GenomeSource {
        sha256: Some(whole),
        ..source(GenomeFiles::Gguf(SourceFile::Blob))
    };
    let other = load(&mut rig, expected_digest, vec![blob(cut)]).await;
    let other = other.expect_err("another file");
    assert!(other.reason.contains(&whole.to_string()), "{other:?}");
    let nowhere = SourceFile::Url(UrlFile {
        url: "http://127.0.0.1:9/nothing.gguf".to_owned(),
        sha256: None,
        bytes: None,
    });
    let nothing = load(&mut rig, source(GenomeFiles::Gguf(nowhere)), vec![]).await;
    let nothing = nothing.expect_err("nobody is there");
    assert_eq!(nothing.cause, LossCause::ModelUnreachable, "{nothing:?}");
    let missing = load(
        &mut rig,
        source(GenomeFiles::Gguf(SourceFile::Blob)),
        vec![],
    )
    .await;
    assert!(missing.is_err());
    let large = js_sys::Array::new();
    for _ in 0..129 {
        large.push(&js_sys::Uint8Array::new_with_length(1 << 20));
    }
    let large = Blob::new_with_u8_array_sequence(&large).expect("bytes make a Blob");
    let large = load(
        &mut rig,
        source(GenomeFiles::Gguf(SourceFile::Blob)),
        vec![large],
    )
    .await;
    assert!(large.expect_err("too much").reason.contains("at most"));
    assert_eq!(list(&mut rig).await, before);
    let twice = worn(&[(good.id, ONE), (good.id, HALF)]);
    assert!(refusal(&mut rig, &twice).await.0);
    let outcome = rig.answer(&worn(&[(good.id, ONE)])).await;
    assert_eq!(outcome.ids, expected("gguf"));
}

#[wasm_bindgen_test]
async fn a_genome_is_downloaded_and_called_as_the_person_says() {
    let mut rig = rig("downloads", BackendChoice::Cpu).await;
    let url = url_of(GGUF);
    let file = SourceFile::Url(UrlFile {
        url,
        sha256: Some(sha256(GGUF)),
        bytes: None,
    });
    let source = GenomeSource {
        name: Some("mine".to_owned()),
        ..source(GenomeFiles::Gguf(file))
    };
    let genome = load(&mut rig, source, vec![]).await.expect("it fits");
    assert_eq!(genome.name, "mine");
    // The same once more is the same genome, and keeps its name.
    let again = load_gguf(&mut rig, GGUF).await.expect("it fits");
    assert_eq!((again.id, again.name.as_str()), (genome.id, "mine"));
    assert_eq!(list(&mut rig).await.len(), 1);
}

#[wasm_bindgen_test]
async fn a_load_that_is_stopped_leaves_nothing() {
    let mut rig = rig("stops", BackendChoice::Cpu).await;
    let source = source(GenomeFiles::Gguf(SourceFile::Blob));
    rig.order_with(Order::LoadGenome { load: 7, source }, vec![blob(GGUF)]);
    rig.order(Order::StopGenome { load: 7 });
    assert_eq!(list(&mut rig).await, []);
    let outcome = rig.answer(&worn(&[])).await;
    assert_eq!(outcome.ids, expected("base"));
    assert_eq!(list(&mut rig).await, []);
}

#[wasm_bindgen_test]
async fn an_answer_whose_genome_is_removed_ends_with_an_error_and_others_go_on() {
    let mut rig = rig("removals", BackendChoice::Cpu).await;
    let gguf = load_gguf(&mut rig, GGUF).await.expect("it fits");
    let peft = load_peft(&mut rig).await.expect("it fits");
    let mut long = worn(&[(gguf.id, ONE)]);
    long.max_new_tokens = 400;
    rig.run(1, &long, true);
    rig.run(2, &worn(&[(peft.id, ONE)]), true);
    rig.until(|event| matches!(event, EngineEvent::Tokens { job: 1, .. }))
        .await;
    let (mut seen, removed) = remove(&mut rig, gguf.id).await;
    removed.expect("it was there");
    let failure = seen.iter().find_map(|event| match event {
        EngineEvent::Failed {
            job: 1, message, ..
        } => Some(message.clone()),
        _ => None,
    });
    assert!(failure.expect("it ended").contains("removed"));
    let ended = |event: &EngineEvent| matches!(event, EngineEvent::Done { job: 2, .. });
    if !seen.iter().any(ended) {
        seen.extend(rig.until(ended).await);
    }
    let answered = Outcome::of(2, &seen);
    let tokens = answered.ids;
    assert!(expected("peft").ends_with(&tokens), "{tokens:?}");
    assert_eq!(rig.answer(&worn(&[])).await.ids, expected("base"));
}

#[wasm_bindgen_test]
async fn a_waiting_answer_can_be_cancelled() {
    let mut first = rig("cancels", BackendChoice::Cpu).await;
    let gguf = load_gguf(&mut first, GGUF).await.expect("it fits");
    drop(first);
    let mut rig = rig("cancels", BackendChoice::Cpu).await;
    rig.run(1, &worn(&[(gguf.id, ONE)]), true);
    rig.cancel(1);
    rig.run(2, &worn(&[(gguf.id, ONE)]), true);
    let seen = rig
        .until(|event| matches!(event, EngineEvent::Done { .. } | EngineEvent::Failed { .. }))
        .await;
    assert_eq!(Outcome::of(2, &seen).ids, expected("gguf"));
    let of_the_first = |event: &EngineEvent| matches!(event, EngineEvent::Tokens { job: 1, .. });
    assert!(!seen.iter().any(of_the_first));
}

//! Where models come from and where they stay: ranges, broken connections, changed files, the
//! browser's storage, and what is said before anything is downloaded.

#![cfg(target_arch = "wasm32")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the events it waits for"
)]

#[expect(dead_code, reason = "only the model is wanted here")]
mod golden;
#[path = "sources/pieces.rs"]
mod pieces;
#[expect(dead_code, reason = "other tests want more of it")]
mod rig;
#[path = "rig/server.rs"]
mod server;
#[path = "../src/worker/mod.rs"]
#[expect(
    dead_code,
    reason = "the test stands in for the page, and brings its own seam"
)]
pub mod worker;

use golden::MODEL;
use js_sys::Function;
use rig::{Rig, blob, endless, file_source, prompt, sha256, url_source};
use server::Server;
use thrum_engine::cpu::crew::Patience;
use thrum_engine::quant::Format;
use thrum_engine::synthetic::{GgufWriter, SyntheticModel};
use thrum_engine::weights::Slot;
use wasm_bindgen::JsValue;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::Blob;
use worker::Surroundings;
use worker::messages::{
    BackendChoice, EngineEvent, KeptModel, LoadSource, LossCause, Order, SourceFile, Stage,
    Trouble, UrlFile,
};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const URL: &str = "https://models.example/demo.gguf";

/// bytes; where connections break or hang, in the weights.
const CUT: u64 = 300_000;

/// What this machine has is less once a test has filled the heap, which never shrinks.
const AMPLE: Surroundings = Surroundings {
    available_bytes: 1 << 30,
    patience: Patience::DEFAULT,
};

/// Nothing is kept from the tests before.
async fn fresh() -> (Rig, Server) {
    let mut rig = Rig::with(AMPLE);
    for model in kept(&mut rig).await {
        rig.order(Order::Forget { model: model.id });
        rig.event().await;
    }
    (rig, Server::start())
}

async fn kept(rig: &mut Rig) -> Vec<KeptModel> {
    rig.order(Order::List { list: 1 });
    let mut seen = rig
        .until(|event| matches!(event, EngineEvent::Kept { .. }))
        .await;
    match seen.pop() {
        Some(EngineEvent::Kept { models, .. }) => models.expect("this browser keeps models"),
        other => panic!("{other:?}"),
    }
}

/// Loads until bytes arrive no more, and stops there.
async fn interrupted(rig: &mut Rig) {
    let load = rig.load(url_source(URL, None, None), Vec::new(), BackendChoice::Cpu);
    rig.until(|event| {
        matches!(event, EngineEvent::Progress { stage: Stage::Download, loaded, .. } if *loaded > 0)
    })
    .await;
    settle(20).await;
    rig.order(Order::StopLoad { load });
    rig.refusal().await;
}

/// Lets the event loop turn some times, so that what the server has sent is taken.
async fn settle(turns: u32) {
    for _ in 0..turns {
        let turn = js_sys::Promise::new(&mut |resolve, _| {
            let later = Function::new_with_args("then", "setTimeout(then, 5)");
            later.call1(&JsValue::NULL, &resolve).expect("a timer");
        });
        wasm_bindgen_futures::JsFuture::from(turn)
            .await
            .expect("it comes");
    }
}

#[wasm_bindgen_test]
async fn a_broken_connection_is_taken_up_where_it_broke() {
    let (mut rig, server) = fresh().await;
    server.serve(
        URL,
        MODEL,
        r#"{"ranges":true,"etag":"\"a\"","breakAt":300000}"#,
    );
    rig.load_url(URL, None, None);
    let (events, _) = rig.ready().await;
    let Some(EngineEvent::Ready { model, .. }) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(model.id, sha256(MODEL));
    assert_eq!(server.log(), ["all", "bytes=300000- if \"a\""]);
    rig.load_url(URL, None, None);
    rig.ready().await;
    assert!(
        server.log().is_empty(),
        "the second time it is in the storage"
    );
}

#[wasm_bindgen_test]
async fn an_interrupted_download_goes_on_another_day() {
    let (mut rig, server) = fresh().await;
    server.serve(
        URL,
        MODEL,
        r#"{"ranges":true,"etag":"\"a\"","hangAt":300000}"#,
    );
    interrupted(&mut rig).await;
    let here = kept(&mut rig).await;
    assert_eq!((here[0].bytes, here[0].complete), (CUT, false), "{here:?}");
    assert_eq!(here[0].total_bytes, Some(MODEL.len() as u64));
    server.log();

    server.serve(URL, MODEL, r#"{"ranges":true,"etag":"\"a\""}"#);
    rig.load_url(URL, None, None);
    rig.ready().await;
    assert_eq!(server.log(), ["bytes=300000- if \"a\""]);
    let here = kept(&mut rig).await;
    assert_eq!(here.len(), 1);
    assert!(here[0].complete && here[0].id == sha256(MODEL), "{here:?}");
    assert_eq!(here[0].bytes, MODEL.len() as u64);
    rig.load_url(URL, None, None);
    rig.ready().await;
    assert!(server.log().is_empty());
}

#[wasm_bindgen_test]
async fn a_server_without_ranges_or_with_another_file_starts_again() {
    let mut other = MODEL.to_vec();
    let last = other.len() - 100;
    other[last] ^= 1;
    for (bytes, traits) in [
        (MODEL, r#"{"ranges":false,"etag":"\"a\""}"#),
        (other.as_slice(), r#"{"ranges":true,"etag":"\"b\""}"#),
    ] {
        let (mut rig, server) = fresh().await;
        server.serve(
            URL,
            MODEL,
            r#"{"ranges":true,"etag":"\"a\"","hangAt":300000}"#,
        );
        interrupted(&mut rig).await;
        server.log();
        server.serve(URL, bytes, traits);
        rig.load_url(URL, None, None);
        let (events, _) = rig.ready().await;
        let Some(EngineEvent::Ready { model, .. }) = events.last() else {
            panic!("{events:?}");
        };
        assert_eq!(model.id, sha256(bytes));
        assert_eq!(server.log(), ["bytes=300000- if \"a\""]);
    }
}

/// Without a validator nobody can say whose the bytes at hand are, unless the digest is known.
#[wasm_bindgen_test]
async fn what_cannot_be_verified_is_not_joined() {
    for (sha, expected) in [(None, "all"), (Some(sha256(MODEL)), "bytes=300000-")] {
        let (mut rig, server) = fresh().await;
        server.serve(URL, MODEL, r#"{"ranges":true,"hangAt":300000}"#);
        let source = url_source(URL, sha, None);
        let load = rig.load(source.clone(), Vec::new(), BackendChoice::Cpu);
        rig.until(|event| matches!(event, EngineEvent::Progress { loaded, .. } if *loaded > 0))
            .await;
        settle(20).await;
        rig.order(Order::StopLoad { load });
        rig.refusal().await;
        server.log();
        server.serve(URL, MODEL, r#"{"ranges":true}"#);
        rig.load(source, Vec::new(), BackendChoice::Cpu);
        rig.ready().await;
        assert_eq!(server.log(), [expected]);
    }
}

/// The digest shows that two files were joined; the download then starts again by itself.
#[wasm_bindgen_test]
async fn joined_parts_of_two_files_are_noticed() {
    let (mut rig, server) = fresh().await;
    let mut other = MODEL.to_vec();
    other[250_000] ^= 1;
    server.serve(URL, &other, r#"{"ranges":true,"hangAt":300000}"#);
    let source = url_source(URL, Some(sha256(MODEL)), None);
    let load = rig.load(source.clone(), Vec::new(), BackendChoice::Cpu);
    rig.until(|event| matches!(event, EngineEvent::Progress { loaded, .. } if *loaded > 0))
        .await;
    settle(20).await;
    rig.order(Order::StopLoad { load });
    rig.refusal().await;
    server.serve(URL, MODEL, r#"{"ranges":true}"#);
    server.log();
    rig.load(source, Vec::new(), BackendChoice::Cpu);
    rig.ready().await;
    assert_eq!(server.log(), ["bytes=300000-", "all"]);
}

#[wasm_bindgen_test]
async fn a_file_that_changes_midway_is_named_and_leaves_nothing() {
    let (mut rig, server) = fresh().await;
    let mut other = MODEL.to_vec();
    other[400_000] ^= 1;
    server.serve(
        URL,
        MODEL,
        r#"{"ranges":true,"etag":"\"a\"","breakAt":300000}"#,
    );
    server.after(URL, &other, r#"{"etag":"\"b\""}"#);
    rig.load_url(URL, None, None);
    let (_, reason) = rig.refusal().await;
    assert!(
        reason.contains("changed") && reason.contains(URL),
        "{reason}"
    );
    assert_eq!(kept(&mut rig).await, []);
}

#[wasm_bindgen_test]
async fn a_wrong_digest_leaves_nothing() {
    let (mut rig, server) = fresh().await;
    server.serve(URL, MODEL, r#"{"ranges":true,"etag":"\"a\""}"#);
    rig.load_url(URL, Some(sha256(b"another")), None);
    assert!(rig.refusal().await.1.contains("SHA-256"));
    assert_eq!(kept(&mut rig).await, []);
}

/// The disk is full in the middle: the model runs all the same, and nothing is left of it.
#[wasm_bindgen_test]
async fn a_full_disk_is_told_and_the_model_runs() {
    let (mut rig, server) = fresh().await;
    server.serve(URL, MODEL, r#"{"ranges":true,"etag":"\"a\""}"#);
    let undo: Function = Function::new_no_args(
        r#"const own = FileSystemSyncAccessHandle.prototype.write;
           let left = 400000;
           FileSystemSyncAccessHandle.prototype.write = function (bytes, options) {
             left -= bytes.byteLength;
             if (left < 0) throw new DOMException("no room", "QuotaExceededError");
             return own.call(this, bytes, options);
           };
           return () => { FileSystemSyncAccessHandle.prototype.write = own; };"#,
    )
    .call0(&JsValue::NULL)
    .expect("the script runs")
    .into();
    rig.load_url(URL, None, None);
    let (events, _) = rig.ready().await;
    undo.call0(&JsValue::NULL).expect("it is undone");
    assert!(events.iter().any(|event| matches!(event,
        EngineEvent::Log { message, .. } if message.contains("will not be kept")
            && message.contains("no room"))));
    assert_eq!(kept(&mut rig).await, []);
    assert!(!rig.answer(&prompt("a>b;c", 4)).await.ids.is_empty());
}

/// Browsers without a private file system keep models in IndexedDB, with the same promises.
#[wasm_bindgen_test]
async fn without_a_private_file_system_indexeddb_keeps_models() {
    let hide = Function::new_no_args(
        r#"const own = StorageManager.prototype.getDirectory;
           StorageManager.prototype.getDirectory = () => Promise.reject(new Error("none here"));
           return () => { StorageManager.prototype.getDirectory = own; };"#,
    );
    let undo: Function = hide.call0(&JsValue::NULL).expect("it runs").into();
    let (mut rig, server) = fresh().await;
    server.serve(
        URL,
        MODEL,
        r#"{"ranges":true,"etag":"\"a\"","hangAt":300000}"#,
    );
    interrupted(&mut rig).await;
    server.log();
    server.serve(URL, MODEL, r#"{"ranges":true,"etag":"\"a\""}"#);
    rig.load_url(URL, None, None);
    rig.ready().await;
    // Chunks of 1 MiB: what came of the first one is not among them yet.
    assert_eq!(server.log(), ["all"]);
    let here = kept(&mut rig).await;
    assert_eq!((here[0].id, here[0].complete), (sha256(MODEL), true));
    assert_eq!(here[0].bytes, MODEL.len() as u64);
    rig.load_url(URL, None, None);
    rig.ready().await;
    assert!(server.log().is_empty());
    rig.order(Order::Forget {
        model: sha256(MODEL),
    });
    rig.event().await;
    assert_eq!(kept(&mut rig).await, []);

    // A file of several chunks, interrupted between two.
    let shape = big(4);
    let bytes = [shape.clone(), vec![0; weight_bytes(4) as usize]].concat();
    server.serve(
        URL,
        &bytes,
        r#"{"ranges":true,"etag":"\"a\"","hangAt":2500000}"#,
    );
    interrupted(&mut rig).await;
    server.log();
    server.serve(URL, &bytes, r#"{"ranges":true,"etag":"\"a\""}"#);
    rig.load_url(URL, None, None);
    rig.ready().await;
    assert_eq!(server.log(), ["bytes=2097152- if \"a\""]);
    rig.load_url(URL, None, None);
    rig.ready().await;
    assert!(server.log().is_empty());
    undo.call0(&JsValue::NULL).expect("it is undone");
}

#[wasm_bindgen_test]
async fn a_model_is_inspected_by_its_header_alone() {
    let (mut rig, server) = fresh().await;
    // Weights that nobody needs, after a header of a few kB.
    let header = big(64);
    let bytes = [header, vec![0; weight_bytes(64) as usize]].concat();
    server.serve(URL, &bytes, r#"{"ranges":true,"etag":"\"a\""}"#);
    let told = rig
        .inspect(url_source(URL, None, None), Vec::new())
        .await
        .expect("a good header");
    assert!(
        server.sent() <= f64::from(1 << 20),
        "{} bytes",
        server.sent()
    );
    assert_eq!(server.log(), ["bytes=0-1048575"]);
    assert_eq!(told.architecture, "llama");
    assert_eq!(told.format, "F32");
    assert_eq!(told.bytes, Some(bytes.len() as u64));
    assert_eq!(told.download_bytes, told.bytes);
    assert_eq!(told.parameters, weight_bytes(64) / 4);
    assert!(told.fits && !told.kept && told.memory_bytes > told.weight_bytes);
    assert!(told.free_storage_bytes.is_some_and(|free| free > 0));

    let scarce = Surroundings {
        available_bytes: 1_000_000,
        patience: Patience::DEFAULT,
    };
    let mut rig = Rig::with(scarce);
    let told = rig
        .inspect(url_source(URL, None, None), Vec::new())
        .await
        .expect("a good header");
    assert!(
        !told.fits && told.reason.contains("1.0 MB"),
        "{}",
        told.reason
    );
    let sent = server.sent();
    rig.load_url(URL, None, None);
    rig.refusal().await;
    assert!(server.sent() - sent < 1e6, "the weights were downloaded");
}

#[wasm_bindgen_test]
async fn what_is_kept_needs_no_download() {
    let (mut rig, server) = fresh().await;
    server.serve(URL, MODEL, r#"{"ranges":true,"etag":"\"a\""}"#);
    rig.load_url(URL, None, None);
    rig.ready().await;
    server.log();
    for source in [
        url_source(URL, None, None),
        LoadSource::Kept { id: sha256(MODEL) },
    ] {
        let told = rig.inspect(source.clone(), Vec::new()).await.expect("kept");
        assert_eq!((told.kept, told.download_bytes), (true, Some(0)));
        rig.load(source, Vec::new(), BackendChoice::Cpu);
        rig.ready().await;
    }
    assert!(server.log().is_empty());
    let id = sha256(b"nothing");
    let trouble = rig.inspect(LoadSource::Kept { id }, Vec::new()).await;
    assert_eq!(
        trouble.map_err(|it| it.cause),
        Err(LossCause::ModelUnreachable)
    );
}

#[wasm_bindgen_test]
async fn what_is_no_model_is_refused_when_it_is_inspected() {
    let (mut rig, server) = fresh().await;
    server.serve(URL, b"<!doctype html>", r#"{"ranges":true}"#);
    let trouble = rig.inspect(url_source(URL, None, None), Vec::new()).await;
    assert_eq!(trouble.map_err(|it| it.cause), Err(LossCause::InvalidModel));
    server.serve(URL, b"", r#"{"status":404}"#);
    let trouble = rig.inspect(url_source(URL, None, None), Vec::new()).await;
    let Err(Trouble { cause, reason }) = trouble else {
        panic!("a model was found");
    };
    assert_eq!(cause, LossCause::ModelUnreachable);
    assert!(reason.contains("404"), "{reason}");
    let trouble = rig
        .inspect(file_source(), vec![blob(&MODEL[..1_000])])
        .await;
    assert_eq!(trouble.map_err(|it| it.cause), Err(LossCause::InvalidModel));
}

/// A header that never ends arriving: the inspection is stopped, and nothing is said of it.
#[wasm_bindgen_test]
async fn an_inspection_that_was_stopped_is_silent() {
    let (mut rig, server) = fresh().await;
    server.serve(URL, MODEL, r#"{"ranges":true,"hangAt":0}"#);
    rig.order(Order::Inspect {
        inspection: 7,
        source: url_source(URL, None, None),
        backend: BackendChoice::Cpu,
        threads: None,
    });
    settle(4).await;
    rig.order(Order::StopInspect { inspection: 7 });
    let seen = kept(&mut rig).await;
    assert_eq!(seen, []);
}

#[wasm_bindgen_test]
async fn a_model_in_several_files_is_kept_and_read_part_by_part() {
    let (mut rig, server) = fresh().await;
    let writer = SyntheticModel::SMALL;
    let whole = {
        let mut writer_with = writer.metadata();
        writer.add_tensors(&mut writer_with);
        writer_with
    };
    let count = Slot::all(&writer.config()).count();
    let parts = whole.finish_split(&[count / 2, 0, count - count / 2]);
    let url = |part: usize| format!("https://models.example/m-0000{part}-of-00003.gguf");
    let files: Vec<_> = (1..=3)
        .map(|part| {
            server.serve(
                &url(part),
                &parts[part - 1],
                r#"{"ranges":true,"etag":"\"a\""}"#,
            );
            let (url, sha256, bytes) = (url(part), None, None);
            SourceFile::Url(UrlFile { url, sha256, bytes })
        })
        .collect();
    let source = LoadSource::Files {
        name: "split".to_owned(),
        files,
    };
    let told = rig
        .inspect(source.clone(), Vec::new())
        .await
        .expect("whole");
    let all: usize = parts.iter().map(Vec::len).sum();
    assert_eq!(told.bytes, Some(all as u64));
    rig.load(source.clone(), Vec::new(), BackendChoice::Cpu);
    rig.ready().await;
    let downloaded = rig.answer(&endless("ab", 8)).await;
    server.log();
    rig.load(source, Vec::new(), BackendChoice::Cpu);
    rig.ready().await;
    assert!(server.log().is_empty(), "all parts are kept");
    assert_eq!(rig.answer(&endless("ab", 8)).await, downloaded);
    assert_eq!(kept(&mut rig).await.len(), 1);

    // The same as one file, and as files at hand; a part that is missing is named.
    rig.load(
        file_source(),
        vec![blob(&whole.finish())],
        BackendChoice::Cpu,
    );
    rig.ready().await;
    assert_eq!(rig.answer(&endless("ab", 8)).await, downloaded);
    let at_hand = LoadSource::Files {
        name: "split".to_owned(),
        files: vec![SourceFile::Blob; 3],
    };
    let blobs: Vec<_> = parts.iter().map(|part| blob(part)).collect();
    rig.load(at_hand, blobs.clone(), BackendChoice::Cpu);
    rig.ready().await;
    assert_eq!(rig.answer(&endless("ab", 8)).await, downloaded);
    rig.load(file_source(), vec![blobs[0].clone()], BackendChoice::Cpu);
    rig.refusal().await;
    assert_eq!(
        rig.answer(&endless("ab", 8)).await,
        downloaded,
        "the old one stays"
    );
}

#[wasm_bindgen_test]
async fn a_model_that_is_not_loaded_leaves_the_one_before() {
    let (mut rig, server) = fresh().await;
    rig.load_blob(MODEL, BackendChoice::Cpu);
    rig.ready().await;
    let before = rig.answer(&prompt("a>b;c", 8)).await;
    let mut damaged = MODEL.to_vec();
    damaged[..4096].fill(0xff);
    server.serve(URL, MODEL, r#"{"ranges":true,"hangAt":300000}"#);

    // Answers go on while another model is on its way.
    rig.run(1, &endless("a>b;c", 200), true);
    rig.load_blob(&damaged, BackendChoice::Cpu);
    let (events, _) = rig.refusal().await;
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, EngineEvent::Lost { .. }))
    );
    rig.outcome(1).await;
    assert_eq!(rig.answer(&prompt("a>b;c", 8)).await, before);

    // Stopped in the middle of its download.
    let load = rig.load(url_source(URL, None, None), Vec::new(), BackendChoice::Cpu);
    rig.until(|event| matches!(event, EngineEvent::Progress { .. }))
        .await;
    assert_eq!(rig.answer(&prompt("a>b;c", 8)).await, before);
    rig.order(Order::StopLoad { load });
    let mut seen = rig
        .until(|event| matches!(event, EngineEvent::NotLoaded { .. }))
        .await;
    let Some(EngineEvent::NotLoaded {
        load: number,
        trouble,
    }) = seen.pop()
    else {
        panic!("{seen:?}");
    };
    assert_eq!((number, trouble.cause), (load, LossCause::Cancelled));
    assert_eq!(rig.answer(&prompt("a>b;c", 8)).await, before);
}

/// Where both do not fit the old one is given up; if the new one then fails, it comes back.
#[wasm_bindgen_test]
async fn a_model_that_was_given_up_in_vain_comes_back() {
    let told = Rig::with(AMPLE)
        .inspect(file_source(), vec![blob(MODEL)])
        .await;
    let scarce = Surroundings {
        available_bytes: told.expect("a good model").memory_bytes + 1,
        patience: Patience::DEFAULT,
    };
    let mut rig = Rig::with(scarce);
    rig.load_blob(MODEL, BackendChoice::Cpu);
    rig.ready().await;
    let before = rig.answer(&prompt("a>b;c", 8)).await;
    rig.load_blob(&MODEL[..MODEL.len() - 4_096], BackendChoice::Cpu);
    rig.refusal().await;
    let mut damaged = MODEL.to_vec();
    let last = damaged.len() - 3;
    damaged[last] = 0xff;
    rig.load(
        url_source(&rig::url_of(&damaged), Some(sha256(MODEL)), None),
        Vec::new(),
        BackendChoice::Cpu,
    );
    let (events, reason) = rig.refusal().await;
    console_log!("{events:?} {reason}");
    rig.ready().await;
    assert_eq!(rig.answer(&prompt("a>b;c", 8)).await, before);
}

/// Floats of a llama of so many layers, each about 1 MB; no weights beside the header.
fn shape(layers: usize) -> SyntheticModel {
    SyntheticModel {
        n_layers: layers,
        dim: 128,
        n_heads: 4,
        n_kv_heads: 4,
        ffn_dim: 512,
        vocab_size: 320,
        context_len: 64,
        format: Format::F32,
        tied_output: true,
        ..SyntheticModel::SMALL
    }
}

/// A header that promises [`weight_bytes`] of weights.
fn big(layers: usize) -> Vec<u8> {
    header_of(&shape(layers))
}

fn header_of(model: &SyntheticModel) -> Vec<u8> {
    let config = model.config();
    let mut writer: GgufWriter = model.metadata();
    let mut offsets = Vec::new();
    let mut offset = 0;
    for slot in Slot::all(&config) {
        let (rows, cols) = slot.shape(&config);
        let dims = match slot.is_matrix() {
            true => vec![cols as u64, rows as u64],
            false => vec![cols as u64],
        };
        writer.tensor(&slot.name(), &dims, Format::F32.type_id(), Vec::new());
        offsets.push(offset);
        offset += rows * cols * 4;
    }
    writer.finish_with_offsets(&offsets)
}

fn weight_bytes(layers: usize) -> u64 {
    bytes_of(&shape(layers))
}

fn bytes_of(model: &SyntheticModel) -> u64 {
    let config = model.config();
    let floats = Slot::all(&config).map(|slot| {
        let (rows, cols) = slot.shape(&config);
        (rows * cols) as u64
    });
    floats.sum::<u64>() * 4
}

/// A Blob of a header and so many zero bytes, which the heap never holds.
fn blob_of_zeros(header: &[u8], bytes: u64) -> Blob {
    let piece = js_sys::Uint8Array::new_with_length(1 << 20);
    let parts = js_sys::Array::of1(&js_sys::Uint8Array::from(header));
    for _ in 0..bytes >> 20 {
        parts.push(&piece);
    }
    parts.push(&piece.subarray(0, (bytes & ((1 << 20) - 1)) as u32));
    Blob::new_with_u8_array_sequence(&parts).expect("bytes make a Blob")
}

fn heap_bytes() -> u64 {
    core::arch::wasm32::memory_size(0) as u64 * 65_536
}

/// Beside the weights themselves, loading a model takes less than 64 MiB of the heap.
#[wasm_bindgen_test]
async fn the_heap_holds_little_of_a_file_beside_its_weights() {
    let model = SyntheticModel {
        n_layers: 4,
        dim: 1_024,
        n_heads: 16,
        n_kv_heads: 16,
        ffn_dim: 4_096,
        ..shape(4)
    };
    let weights = bytes_of(&model);
    assert!(weights > 200 << 20, "{weights}");
    let blob = blob_of_zeros(&header_of(&model), weights);
    let mut rig = Rig::with(AMPLE);
    let before = heap_bytes();
    rig.load(file_source(), vec![blob], BackendChoice::Cpu);
    rig.ready().await;
    let beside = (heap_bytes() - before).saturating_sub(weights);
    console_log!("{weights} bytes of weights, {beside} bytes of heap beside them");
    assert!(
        beside < 64 << 20,
        "{beside} bytes beside {weights} of weights"
    );
}

/// The heap is full in the middle of a load: it is said, and the model before answers on.
#[wasm_bindgen_test]
async fn out_of_memory_in_the_middle_of_a_load_leaves_the_model_before() {
    let mut rig = Rig::with(AMPLE);
    rig.load_blob(MODEL, BackendChoice::Cpu);
    rig.ready().await;
    let before = rig.answer(&prompt("a>b;c", 8)).await;
    let model = SyntheticModel {
        n_layers: 5,
        dim: 1_024,
        n_heads: 16,
        n_kv_heads: 16,
        ffn_dim: 4_096,
        ..shape(5)
    };
    let blob = blob_of_zeros(&header_of(&model), bytes_of(&model));
    // Untouched memory costs the machine nothing; the engine finds none left after some tensors.
    let mut ballast: Vec<Vec<u8>> = Vec::new();
    for size in [256 << 20, 32 << 20] {
        loop {
            let mut piece = Vec::new();
            if piece.try_reserve_exact(size).is_err() {
                break;
            }
            ballast.push(piece);
        }
    }
    ballast.truncate(ballast.len() - 3);
    rig.load(file_source(), vec![blob], BackendChoice::Cpu);
    let (events, reason) = rig.refusal().await;
    assert!(reason.contains("memory"), "{reason}");
    assert!(matches!(
        events.last(),
        Some(EngineEvent::Progress { .. } | EngineEvent::Log { .. }) | None
    ));
    drop(ballast);
    rig.ready().await;
    assert_eq!(rig.answer(&prompt("a>b;c", 8)).await, before);
}

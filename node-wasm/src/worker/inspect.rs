//! What a model is and whether it fits, before any of it is downloaded but its header.

use super::crew;
use super::error::LoadError;
use super::headers;
use super::kept::{Kept, PartRecord, Record, Room};
use super::load::{LoadRequest, MAX_CONTEXT, Part, parts_of};
use super::machine;
use super::messages::{Inspection, KeptModel, LoadSource, UrlFile};
use std::collections::BTreeMap;
use thrum_engine::config::ModelConfig;
use thrum_engine::error::EngineError;
use thrum_engine::gguf::{GgufError, GgufReader, ModelHeader, PartHeader, ReadOptions, WeightSink};
use thrum_engine::weights::TensorInfo;
use thrum_protocol::model::Backend;

/// What the headers say.
struct Facts {
    header: ModelHeader,
    tensors: Tensors,
    /// of all files, where known
    bytes: Option<u64>,
}

/// Says what a model is.
///
/// # Errors
/// [`LoadError`] where its header cannot be read, or is of a kind that the engine does not know.
///
/// # Cancel safety
/// Dropping the future stops the download and leaves nothing.
pub(super) async fn inspect(
    request: &LoadRequest,
    available_bytes: u64,
) -> Result<Inspection, LoadError> {
    let kept = Kept::open().await.ok();
    let (name, parts, record) = match &request.source {
        LoadSource::Files { name, files } => {
            let parts = parts_of(files, request)?;
            let record = match &kept {
                Some(kept) => kept.find(&records_of(&parts)).await,
                None => None,
            };
            (name.clone(), parts, record)
        }
        LoadSource::Kept { id } => {
            let records = match &kept {
                Some(kept) => kept.records().await,
                None => Vec::new(),
            };
            let mut found = records.into_iter().filter(|it| it.answers_to(*id));
            let record = found.next().ok_or(LoadError::NotKept { id: *id })?;
            (record.name.clone(), urls_of(&record), Some(record))
        }
    };
    let whole = record.as_ref().filter(|record| record.id.is_some());
    let (mut headers, mut lengths) = (Vec::new(), Vec::new());
    for (number, part) in parts.iter().enumerate() {
        let header = match (&kept, whole) {
            (Some(kept), Some(record)) => headers::of_kept(kept, record, number).await?,
            _ => headers::of_part(&name, part).await?,
        };
        lengths.push(header.file_bytes());
        headers.push(header);
    }
    let facts = facts_of(headers, &lengths)?;
    let at_hand = match (&kept, &record) {
        (Some(kept), Some(record)) => stored_bytes(kept, record).await,
        _ => 0,
    };
    let is_local = parts.iter().all(|part| matches!(part, Part::Blob(_)));
    let bytes = facts.bytes;
    let download_bytes = match is_local || whole.is_some() {
        true => Some(0),
        false => bytes.map(|bytes| bytes.saturating_sub(at_hand)),
    };
    let backend = machine::backend_of(request.backend).await?;
    let room = Room::estimate().await;
    Ok(judged(
        facts,
        Circumstances {
            name,
            bytes,
            download_bytes,
            available_bytes: (backend == Backend::Cpu).then_some(available_bytes),
            free_storage_bytes: room.free_bytes(),
            backend,
            workers: match backend {
                Backend::Cpu => crew::expected(request.threads),
                Backend::Webgpu => 1,
            },
            kept: whole.is_some(),
        },
    ))
}

/// Everything in the browser's storage.
///
/// # Errors
/// Why nothing can be kept, in words.
pub(super) async fn list() -> Result<Vec<KeptModel>, String> {
    let kept = Kept::open().await.map_err(|error| error.to_string())?;
    let mut models = Vec::new();
    for record in kept.records().await {
        let parts = record.parts.iter();
        models.push(KeptModel {
            id: record.id.unwrap_or(record.key),
            bytes: stored_bytes(&kept, &record).await,
            total_bytes: parts.clone().map(|part| part.bytes).sum(),
            complete: record.id.is_some(),
            saved_millis: record.saved_millis,
            source: parts
                .map(|part| part.url.clone())
                .next()
                .unwrap_or_default(),
            name: record.name,
        });
    }
    models.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    Ok(models)
}

async fn stored_bytes(kept: &Kept, record: &Record) -> u64 {
    let mut bytes = 0;
    for part in 0..record.parts.len() {
        bytes += kept.part_bytes(record, part).await;
    }
    bytes
}

fn urls_of(record: &Record) -> Vec<Part> {
    let part = |part: &PartRecord| {
        Part::Url(UrlFile {
            url: part.url.clone(),
            sha256: part.sha256,
            bytes: part.bytes,
        })
    };
    record.parts.iter().map(part).collect()
}

fn records_of(parts: &[Part]) -> Vec<PartRecord> {
    let record = |part: &Part| match part {
        Part::Blob(_) => PartRecord::default(),
        Part::Url(file) => PartRecord::of(file),
    };
    parts.iter().map(record).collect()
}

/// What the headers of all files say together.
fn facts_of(parts: Vec<PartHeader>, lengths: &[Option<u64>]) -> Result<Facts, LoadError> {
    let options = ReadOptions {
        file_bytes: None,
        available_bytes: None,
        max_context: MAX_CONTEXT,
    };
    let mut tensors = Tensors::default();
    let mut reader = GgufReader::of_parts(options, parts)?;
    // No bytes of weights: the reader only tells what there would be.
    reader.push(&[], &mut tensors)?;
    let header = reader.header().cloned();
    Ok(Facts {
        header: header.ok_or(EngineError::Gguf(GgufError::AlreadyRefused))?,
        tensors,
        bytes: lengths.iter().copied().sum(),
    })
}

/// What the tensors are, in sum.
#[derive(Default)]
struct Tensors {
    parameters: u64,
    /// bytes of each format
    formats: BTreeMap<String, u64>,
}

impl WeightSink for Tensors {
    fn begin(&mut self, _: &ModelConfig, tensors: &[TensorInfo]) -> Result<(), EngineError> {
        for tensor in tensors {
            self.parameters += tensor.rows as u64 * tensor.cols as u64;
            *self
                .formats
                .entry(tensor.format.name().to_owned())
                .or_default() += tensor.bytes();
        }
        Ok(())
    }

    fn write(&mut self, _: usize, _: u64, _: &[u8]) -> Result<(), EngineError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// What a verdict depends on beside the header.
struct Circumstances {
    name: String,
    bytes: Option<u64>,
    download_bytes: Option<u64>,
    available_bytes: Option<u64>,
    free_storage_bytes: Option<u64>,
    backend: Backend,
    /// that would compute
    workers: usize,
    kept: bool,
}

fn judged(facts: Facts, around: Circumstances) -> Inspection {
    let ModelHeader { config, memory, .. } = &facts.header;
    let memory = memory.with_workers(config, around.workers);
    let memory_bytes = memory.total_bytes();
    let (fits, reason) = verdict(memory_bytes, &around);
    let own_name = Some(config.name.clone()).filter(|name| !name.is_empty());
    let formats = facts.tensors.formats.into_iter();
    let most = formats.max_by_key(|(_, bytes)| *bytes);
    Inspection {
        name: own_name.unwrap_or(around.name),
        architecture: config.facts().name.to_owned(),
        parameters: facts.tensors.parameters,
        format: most.map(|(format, _)| format).unwrap_or_default(),
        bytes: around.bytes,
        download_bytes: around.download_bytes,
        weight_bytes: memory.weight_bytes,
        kv_bytes: memory.kv_bytes,
        memory_bytes,
        available_bytes: around.available_bytes,
        free_storage_bytes: around.free_storage_bytes,
        context_tokens: u32::try_from(memory.context_len).unwrap_or(u32::MAX),
        backend: around.backend,
        kept: around.kept,
        fits,
        reason,
    }
}

fn verdict(memory_bytes: u64, around: &Circumstances) -> (bool, String) {
    let needed = megabytes(memory_bytes);
    if let Some(available_bytes) = around.available_bytes
        && available_bytes < memory_bytes
    {
        let available = megabytes(available_bytes);
        let reason = format!("It needs {needed} of memory, and this tab can use {available}.");
        return (false, reason);
    }
    let memory = match around.available_bytes {
        Some(bytes) => format!(
            "It needs {needed} of the {} of memory that this tab can use.",
            megabytes(bytes)
        ),
        None => format!("It needs {needed} on the GPU, which does not say how much it has."),
    };
    let room = around.free_storage_bytes.zip(around.download_bytes);
    let storage = match room {
        Some((free, download)) if free < download => format!(
            " It will not be kept for next time: that takes {}, and the browser has {} left for \
             this site.",
            megabytes(download),
            megabytes(free)
        ),
        Some(_) | None => String::new(),
    };
    (true, memory + &storage)
}

/// Millions of bytes, in words; what is above zero is never called zero.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    match tenths {
        0..1_000 => format!("{}.{} MB", tenths / 10, tenths % 10),
        _ => format!("{} MB", bytes.div_ceil(1_000_000)),
    }
}

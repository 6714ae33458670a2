//! Reads GGUF (versions 2 and 3) as it arrives: the header is held, weights pass straight through.
//!
//! 1. [`GgufReader::push`] takes the file in pieces of any size.
//! 2. When the header is whole, everything in it is checked, memory is compared with what the
//!    caller has, and the sink hears [`WeightSink::begin`].
//! 3. Every later byte reaches the sink at once, in whole blocks; at most
//!    [`WRITE_BLOCKS`] blocks are held back.
//! 4. [`GgufReader::finish`] says whether all of it came, and gives what the header described.
//!
//! A model in several files is read the same way, file after file, once the headers of all of them
//! are known: [`PartReader`], then [`GgufReader::of_parts`] and [`GgufReader::end_part`].
//!
//! Nothing is allocated on the word of the file alone: counts are bounded, buffers grow with the
//! bytes that arrive. What is refused stays refused.

mod error;
mod header;
mod layout;
mod metadata;
mod parts;
mod place;
mod split;
mod stream;
mod whole;

pub use error::GgufError;
pub use metadata::{Metadata, Numbers, Value};
pub use split::{MAX_PARTS, PartHeader, PartReader, Split};
pub(crate) use whole::WholeFile;

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::memory::MemoryEstimate;
use crate::tokenizer::Tokenizer;
use crate::weights::TensorInfo;
use header::{HeaderParser, RawHeader};
use layout::Layout;
use parts::Parts;
use stream::TensorStream;

/// bytes; the largest published headers (262,144 tokens and their merges) are below 20 MB.
pub const MAX_HEADER_BYTES: usize = 32 << 20;

/// blocks; every write but a tensor's last is a multiple of this many, which makes it a multiple
/// of 32 bytes in every format, as GPU buffers want it.
pub const WRITE_BLOCKS: usize = 16;

/// Takes the weights of a model while its file is being read.
pub trait WeightSink {
    /// The header is whole and checked; `tensors` are in the order of the file.
    ///
    /// # Errors
    /// Whatever the sink cannot do with such a model; the reader stops with it.
    fn begin(&mut self, config: &ModelConfig, tensors: &[TensorInfo]) -> Result<(), EngineError>;

    /// Bytes of `tensors[tensor]` from `offset` (bytes from its start) on.
    ///
    /// Tensors come one after another and each without gaps; `bytes` is never empty, holds whole
    /// blocks, and but for a tensor's last write a multiple of [`WRITE_BLOCKS`] of them.
    ///
    /// # Errors
    /// Whatever keeps the sink from taking them; the reader stops with it.
    fn write(&mut self, tensor: usize, offset: u64, bytes: &[u8]) -> Result<(), EngineError>;

    /// Every tensor has been written whole.
    ///
    /// # Errors
    /// Whatever keeps the sink from completing; the reader stops with it.
    fn finish(&mut self) -> Result<(), EngineError>;
}

/// What the caller knows before the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Length of the file in bytes, if known; a truncated file is then refused at its header.
    /// Of a model in several files each [`PartReader`] is told its own.
    pub file_bytes: Option<u64>,
    /// Memory for weights and KV cache in bytes, if there is a limit.
    pub available_bytes: Option<u64>,
    /// Positions that the KV cache shall have at most, whatever the model was trained for.
    pub max_context: usize,
}

/// What a file's header describes.
#[derive(Debug, Clone)]
pub struct ModelHeader {
    /// Sizes and constants.
    pub config: ModelConfig,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// `tokenizer.chat_template`, unchecked.
    pub chat_template: Option<String>,
    /// What running the model takes.
    pub memory: MemoryEstimate,
}

/// The metadata of a file, whatever it describes.
///
/// # Errors
/// [`GgufError`] for bytes that are not a whole header.
pub fn metadata_of(file: &[u8]) -> Result<Metadata, GgufError> {
    let mut parser = HeaderParser::new();
    let (_, whole) = parser.push(file)?;
    if !(whole || parser.parse()?) {
        return Err(GgufError::TruncatedHeader {
            file_bytes: file.len() as u64,
        });
    }
    Ok(parser.into_parts().0.metadata)
}

/// A model being read.
#[derive(Debug)]
pub struct GgufReader {
    options: ReadOptions,
    received_bytes: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Header(Box<HeaderParser>),
    /// The headers of several files are known; the sink has not heard of them.
    Planned(Box<Plan>),
    Weights(Box<ModelHeader>, Parts),
    Refused,
}

/// A checked model, before any of its weights.
#[derive(Debug)]
struct Plan {
    header: ModelHeader,
    tensors: Vec<TensorInfo>,
    parts: Parts,
}

impl GgufReader {
    /// A reader of a file of which nothing has arrived.
    pub fn new(options: ReadOptions) -> Self {
        Self {
            options,
            received_bytes: 0,
            state: State::Header(Box::new(HeaderParser::new())),
        }
    }

    /// A reader of a model in several files of which nothing but the headers has arrived; their
    /// bytes come in the order of `parts`, each from its first byte on, [`GgufReader::end_part`]
    /// after each.
    ///
    /// # Errors
    /// [`EngineError::Gguf`] for parts that are not one whole model, otherwise as
    /// [`GgufReader::push`]; the sink is not asked yet.
    pub fn of_parts(options: ReadOptions, parts: Vec<PartHeader>) -> Result<Self, EngineError> {
        split::check_set(&parts)?;
        let main = split::main_part(&parts);
        let lengths: Vec<_> = parts.iter().map(|part| part.file_bytes).collect();
        let (arrivals, raws) = parts.into_iter().map(PartHeader::into_parts).unzip();
        let raw = RawHeader::joined(raws, main);
        let plan = Plan::new(&raw, &options, &lengths, |streams| {
            Parts::several(arrivals, streams)
        })?;
        Ok(Self {
            options,
            received_bytes: 0,
            state: State::Planned(Box::new(plan)),
        })
    }

    /// What the header describes, once it is whole.
    pub fn header(&self) -> Option<&ModelHeader> {
        match &self.state {
            State::Planned(plan) => Some(&plan.header),
            State::Weights(header, _) => Some(header),
            State::Header(_) | State::Refused => None,
        }
    }

    /// Bytes pushed so far.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// [`EngineError::Gguf`] and [`EngineError::Tokenizer`] for a file that is refused,
    /// [`EngineError::DoesNotFit`] for one that is too large, or the sink's own error.
    /// Afterwards every call fails with [`GgufError::AlreadyRefused`].
    pub fn push(&mut self, chunk: &[u8], sink: &mut dyn WeightSink) -> Result<(), EngineError> {
        self.received_bytes += chunk.len() as u64;
        let result = self.take(chunk, sink);
        if result.is_err() {
            self.state = State::Refused;
        }
        result
    }

    /// Ends a file of several, so that the bytes pushed next are the first of the next one. The
    /// last may be ended by [`GgufReader::finish`] as well.
    ///
    /// # Errors
    /// [`EngineError::Gguf`] for a file that ends too early, or whose header is not whole.
    pub fn end_part(&mut self) -> Result<(), EngineError> {
        let result = match &mut self.state {
            State::Weights(_, parts) => parts.end_part(),
            State::Refused => Err(GgufError::AlreadyRefused),
            State::Header(_) | State::Planned(_) => Err(GgufError::TruncatedHeader {
                file_bytes: self.received_bytes,
            }),
        };
        if result.is_err() {
            self.state = State::Refused;
        }
        Ok(result?)
    }

    /// Ends the last file.
    ///
    /// # Errors
    /// As [`GgufReader::push`]; a file that ends too early says how many bytes it needs.
    pub fn finish(mut self, sink: &mut dyn WeightSink) -> Result<ModelHeader, EngineError> {
        if let State::Header(parser) = &mut self.state
            && parser.parse()?
        {
            self.begin(sink)?;
        }
        match self.state {
            State::Header(_) | State::Planned(_) => Err(GgufError::TruncatedHeader {
                file_bytes: self.received_bytes,
            }
            .into()),
            State::Refused => Err(GgufError::AlreadyRefused.into()),
            State::Weights(header, mut parts) => {
                parts.finish()?;
                sink.finish()?;
                Ok(*header)
            }
        }
    }

    fn take(&mut self, chunk: &[u8], sink: &mut dyn WeightSink) -> Result<(), EngineError> {
        match &mut self.state {
            State::Refused => Err(GgufError::AlreadyRefused.into()),
            State::Weights(_, parts) => parts.push(chunk, sink),
            State::Planned(_) => {
                self.begin(sink)?;
                self.take(chunk, sink)
            }
            State::Header(parser) => {
                let (taken, whole) = parser.push(chunk)?;
                if whole {
                    self.begin(sink)?;
                    return self.take(&chunk[taken..], sink);
                }
                Ok(())
            }
        }
    }

    /// Goes from whole headers to the weights.
    fn begin(&mut self, sink: &mut dyn WeightSink) -> Result<(), EngineError> {
        let (plan, rest) = match std::mem::replace(&mut self.state, State::Refused) {
            State::Header(parser) => {
                let (raw, rest) = parser.into_parts();
                (Plan::of_one_file(&raw, &self.options)?, rest)
            }
            State::Planned(plan) => (*plan, Vec::new()),
            State::Weights(..) | State::Refused => return Err(GgufError::AlreadyRefused.into()),
        };
        let Plan {
            header,
            tensors,
            mut parts,
        } = plan;
        sink.begin(&header.config, &tensors)?;
        parts.push(&rest, sink)?;
        self.state = State::Weights(Box::new(header), parts);
        Ok(())
    }
}

impl Plan {
    fn of_one_file(raw: &RawHeader, options: &ReadOptions) -> Result<Self, EngineError> {
        if let Some(Split { no, count, .. }) = Split::of(&raw.metadata)? {
            return Err(GgufError::PartOfMany { no, count }.into());
        }
        Self::new(raw, options, &[options.file_bytes], Parts::one)
    }

    /// `raw` is of one file or several, `lengths` are theirs in bytes, where known.
    fn new(
        raw: &RawHeader,
        options: &ReadOptions,
        lengths: &[Option<u64>],
        parts: impl FnOnce(Vec<TensorStream>) -> Parts,
    ) -> Result<Self, EngineError> {
        let Layout { config, files } = Layout::new(raw, options.max_context)?;
        let mut tensors = Vec::with_capacity(raw.tensors.len());
        let mut streams = Vec::with_capacity(files.len());
        for (file, length) in files.into_iter().zip(lengths) {
            file.extent.check(*length)?;
            let first = tensors.len();
            tensors.extend_from_slice(&file.tensors);
            streams.push(TensorStream::new(first, file.tensors, file.extent));
        }
        let tokenizer = Tokenizer::from_metadata(&raw.metadata, config.vocab_size)?;
        let memory = MemoryEstimate::new(&config, &tensors);
        if let Some(available_bytes) = options.available_bytes {
            memory.fits(available_bytes)?;
        }
        let chat_template = raw.metadata.optional_text("tokenizer.chat_template")?;
        Ok(Self {
            header: ModelHeader {
                config,
                tokenizer,
                chat_template: chat_template.map(str::to_owned),
                memory,
            },
            tensors,
            parts: parts(streams),
        })
    }
}

#[cfg(test)]
mod split_tests;
#[cfg(test)]
mod tests;

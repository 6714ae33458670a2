//! Reads GGUF (versions 2 and 3) as it arrives: the header is held, weights pass straight through.
//!
//! 1. [`GgufReader::push`] takes the file in pieces of any size.
//! 2. When the header is whole, everything in it is checked, memory is compared with what the
//!    caller has, and the sink hears [`WeightSink::begin`].
//! 3. Every later byte reaches the sink at once, in whole blocks; at most
//!    [`WRITE_BLOCKS`] blocks are held back.
//! 4. [`GgufReader::finish`] says whether all of it came, and gives what the header described.
//!
//! Nothing is allocated on the word of the file alone: counts are bounded, buffers grow with the
//! bytes that arrive. What is refused stays refused.

mod error;
mod header;
mod layout;
mod metadata;
mod stream;

pub use error::GgufError;
pub use metadata::{Metadata, Numbers, Value};

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::memory::MemoryEstimate;
use crate::tokenizer::Tokenizer;
use crate::weights::TensorInfo;
use header::HeaderParser;
use layout::Layout;
use stream::{Extent, TensorStream};

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

/// A GGUF file being read.
#[derive(Debug)]
pub struct GgufReader {
    options: ReadOptions,
    received_bytes: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Header(Box<HeaderParser>),
    Weights(Box<ModelHeader>, TensorStream),
    Refused,
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

    /// What the header describes, once it is whole.
    pub fn header(&self) -> Option<&ModelHeader> {
        match &self.state {
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

    /// Ends the file.
    ///
    /// # Errors
    /// As [`GgufReader::push`]; a file that ends too early says how many bytes it needs.
    pub fn finish(mut self, sink: &mut dyn WeightSink) -> Result<ModelHeader, EngineError> {
        if let State::Header(parser) = &mut self.state
            && parser.parse()?
        {
            self.begin(sink)?;
        }
        let file_bytes = self.received_bytes;
        match self.state {
            State::Header(_) => Err(GgufError::TruncatedHeader { file_bytes }.into()),
            State::Refused => Err(GgufError::AlreadyRefused.into()),
            State::Weights(header, stream) => {
                stream.finish(file_bytes)?;
                sink.finish()?;
                Ok(*header)
            }
        }
    }

    fn take(&mut self, chunk: &[u8], sink: &mut dyn WeightSink) -> Result<(), EngineError> {
        match &mut self.state {
            State::Refused => Err(GgufError::AlreadyRefused.into()),
            State::Weights(_, stream) => stream.push(chunk, sink),
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

    /// Goes from a whole header to the weights.
    fn begin(&mut self, sink: &mut dyn WeightSink) -> Result<(), EngineError> {
        let State::Header(parser) = std::mem::replace(&mut self.state, State::Refused) else {
            return Err(GgufError::AlreadyRefused.into());
        };
        let (raw, rest) = parser.into_parts();
        let Layout {
            config,
            tensors,
            extent,
        } = Layout::new(&raw, self.options.max_context)?;
        if let Some(file_bytes) = self.options.file_bytes {
            let Extent {
                end, padded_end, ..
            } = extent;
            if file_bytes < end {
                return Err(GgufError::Truncated {
                    needed_bytes: end,
                    file_bytes,
                }
                .into());
            }
            if file_bytes > padded_end {
                return Err(GgufError::TrailingBytes {
                    needed_bytes: padded_end,
                    file_bytes,
                }
                .into());
            }
        }
        let tokenizer = Tokenizer::from_metadata(&raw.metadata, config.vocab_size)?;
        let memory = MemoryEstimate::new(&config, &tensors);
        if let Some(available_bytes) = self.options.available_bytes {
            memory.fits(available_bytes)?;
        }
        let chat_template = raw.metadata.optional_text("tokenizer.chat_template")?;
        let header = ModelHeader {
            config,
            tokenizer,
            chat_template: chat_template.map(str::to_owned),
            memory,
        };
        sink.begin(&header.config, &tensors)?;
        let mut stream = TensorStream::new(tensors, extent);
        stream.push(&rest, sink)?;
        self.state = State::Weights(Box::new(header), stream);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The files of a model as they arrive, one after the other.

use super::split::{FINGERPRINT_START, PartArrival, fingerprint};
use super::stream::TensorStream;
use super::{GgufError, WeightSink};
use crate::error::EngineError;

/// Every file of a model, the first of them arriving.
#[derive(Debug)]
pub(super) struct Parts {
    parts: Vec<Part>,
    current: usize,
}

#[derive(Debug)]
struct Part {
    /// Its place in the split model; nothing for a model in one file.
    no: Option<u64>,
    /// Present while the header, read ahead, is arriving once more.
    header: Option<HeaderAgain>,
    stream: TensorStream,
}

/// A header that has been read ahead and is compared with what arrives.
#[derive(Debug)]
struct HeaderAgain {
    header_bytes: u64,
    received_bytes: u64,
    fingerprint: u64,
    expected: u64,
}

impl Parts {
    /// A model in one file whose header has just been read.
    pub(super) fn one(streams: Vec<TensorStream>) -> Self {
        let part = |stream| Part {
            no: None,
            header: None,
            stream,
        };
        Self {
            parts: streams.into_iter().map(part).collect(),
            current: 0,
        }
    }

    /// A model whose headers were read ahead and of which nothing else has arrived.
    pub(super) fn several(arrivals: Vec<PartArrival>, streams: Vec<TensorStream>) -> Self {
        let part = |(arrival, stream): (PartArrival, TensorStream)| Part {
            no: arrival.no,
            header: Some(HeaderAgain {
                header_bytes: arrival.header_bytes,
                received_bytes: 0,
                fingerprint: FINGERPRINT_START,
                expected: arrival.fingerprint,
            }),
            stream,
        };
        Self {
            parts: arrivals.into_iter().zip(streams).map(part).collect(),
            current: 0,
        }
    }

    /// Takes the next bytes of the current file.
    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        sink: &mut dyn WeightSink,
    ) -> Result<(), EngineError> {
        let Some(part) = self.parts.get_mut(self.current) else {
            return match chunk.len() {
                0 => Ok(()),
                n_bytes => Err(GgufError::TrailingBytes {
                    needed_bytes: 0,
                    file_bytes: n_bytes as u64,
                }
                .into()),
            };
        };
        match part.push(chunk, sink) {
            Err(EngineError::Gguf(error)) => Err(part.named(error).into()),
            result => result,
        }
    }

    /// Ends the current file.
    pub(super) fn end_part(&mut self) -> Result<(), GgufError> {
        let Some(part) = self.parts.get(self.current) else {
            return Ok(());
        };
        part.finish().map_err(|error| part.named(error))?;
        self.current += 1;
        Ok(())
    }

    /// Ends the last file.
    pub(super) fn finish(&mut self) -> Result<(), GgufError> {
        self.end_part()?;
        match self.parts.get(self.current) {
            None => Ok(()),
            Some(part) => Err(GgufError::MissingPart {
                no: part.no.unwrap_or_default(),
                count: self.parts.len() as u64,
            }),
        }
    }
}

impl Part {
    fn push(&mut self, mut chunk: &[u8], sink: &mut dyn WeightSink) -> Result<(), EngineError> {
        if let Some(header) = &mut self.header {
            chunk = header.take(chunk)?;
            if header.received_bytes < header.header_bytes {
                return Ok(());
            }
            self.header = None;
        }
        self.stream.push(chunk, sink)
    }

    fn finish(&self) -> Result<(), GgufError> {
        match &self.header {
            Some(header) => Err(GgufError::TruncatedHeader {
                file_bytes: header.received_bytes,
            }),
            None => self.stream.finish(),
        }
    }

    fn named(&self, error: GgufError) -> GgufError {
        match self.no {
            None => error,
            Some(no) => GgufError::InPart {
                no,
                error: Box::new(error),
            },
        }
    }
}

impl HeaderAgain {
    /// Takes bytes of the header from the front of `chunk`; returns what follows them.
    fn take<'a>(&mut self, chunk: &'a [u8]) -> Result<&'a [u8], GgufError> {
        let here = usize::try_from(self.header_bytes - self.received_bytes)
            .unwrap_or(usize::MAX)
            .min(chunk.len());
        let (header, rest) = chunk.split_at(here);
        self.fingerprint = fingerprint(self.fingerprint, header);
        self.received_bytes += here as u64;
        if self.received_bytes == self.header_bytes && self.fingerprint != self.expected {
            return Err(GgufError::HeaderChanged);
        }
        Ok(rest)
    }
}

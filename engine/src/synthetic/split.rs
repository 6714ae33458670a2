//! Writes a model in several files, as llama.cpp's `gguf-split` does.

use super::GgufWriter;

/// metadata value types of GGUF.
const UINT16: u32 = 2;
const INT32: u32 = 5;

impl GgufWriter {
    /// The parts of the file, with so many of its tensors in each; the first part has the metadata.
    pub fn finish_split(&self, tensors: &[usize]) -> Vec<Vec<u8>> {
        let mut rest = &self.tensors[..];
        let mut parts = Vec::with_capacity(tensors.len());
        for (no, n_tensors) in tensors.iter().enumerate() {
            let (here, after) = rest.split_at(*n_tensors);
            rest = after;
            let mut part = Self {
                version: self.version,
                tensors: here.to_vec(),
                ..Self::default()
            };
            if no == 0 {
                part.n_pairs = self.n_pairs;
                part.pairs = self.pairs.clone();
            }
            part.split(no as u16, tensors.len() as u16, self.tensors.len() as i32);
            parts.push(part.finish());
        }
        parts
    }

    /// Adds what a part says of itself: its place, how many parts and tensors there are.
    pub fn split(&mut self, no: u16, count: u16, tensors: i32) -> &mut Self {
        self.pair("split.no", UINT16, &no.to_le_bytes())
            .pair("split.count", UINT16, &count.to_le_bytes())
            .pair("split.tensors.count", INT32, &tensors.to_le_bytes())
    }
}

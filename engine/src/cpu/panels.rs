//! Weight matrices as the kernels read them: eight rows side by side (see `kernels/job.rs`).
//!
//! Unquantised weights lie column by column, eight rows of a column together, in the width that
//! they are stored in. Rows that only fill the last panel are zeros.

mod pack;

use bytemuck::{Pod, Zeroable};

use super::kernels::{NIBBLE, PANEL_ROWS, SEVEN, VECTOR_BYTES, WIDE, float_weight, record_bytes};
use crate::EngineError;
use crate::quant::Format;
use crate::quant::groups::{self, group_len, has_offset};

/// bytes; a matrix is kept in runs of about this size, each allocated when its first weight
/// arrives: nothing is allocated on a header's word, and nothing has to be contiguous.
const SEGMENT_BYTES: usize = 4 << 20;

/// How unquantised weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatKind {
    /// 32-bit.
    F32,
    /// 16-bit of IEEE 754.
    F16,
    /// The upper half of 32-bit.
    Bf16,
}

impl FloatKind {
    /// Of a weight.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// How quantised weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupLayout {
    /// `NIBBLE`, `SEVEN` or `WIDE`.
    pub(super) codes: u32,
    /// Columns that share a scale: 32 or 16.
    pub(super) group_len: usize,
    /// Whether groups have an offset.
    pub(super) offsets: bool,
    /// Code that stands for zero.
    pub(super) zero_point: i32,
    /// Added to what `quant::unpack` gives, so that codes of up to seven bits are not negative.
    pub(super) code_shift: i8,
}

/// How a panel is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Groups(GroupLayout),
    Floats(FloatKind),
}

impl Layout {
    pub(super) fn of(format: Format) -> Self {
        let groups = |codes, zero_point: i8| {
            Self::Groups(GroupLayout {
                codes,
                group_len: group_len(format),
                offsets: has_offset(format),
                zero_point: i32::from(zero_point),
                // What the format calls zero is the zero point here.
                code_shift: zero_point - groups::zero_point(format),
            })
        };
        match format {
            Format::F32 => Self::Floats(FloatKind::F32),
            Format::F16 => Self::Floats(FloatKind::F16),
            Format::BF16 => Self::Floats(FloatKind::Bf16),
            Format::Q4_0 => groups(NIBBLE, 8),
            Format::Q3_K => groups(NIBBLE, 4),
            Format::Q4_1 | Format::Q2_K | Format::Q4_K => groups(NIBBLE, 0),
            Format::Q5_0 => groups(SEVEN, 16),
            Format::Q6_K => groups(SEVEN, 32),
            Format::Q5_1 | Format::Q5_K => groups(SEVEN, 0),
            Format::Q8_0 | Format::IQ4_NL => groups(WIDE, 0),
        }
    }

    /// Of one panel.
    fn panel_bytes(self, cols: usize) -> usize {
        match self {
            Self::Groups(layout) => {
                let GroupLayout {
                    codes,
                    group_len,
                    offsets,
                    ..
                } = layout;
                cols / group_len * record_bytes(codes, group_len, offsets)
            }
            Self::Floats(kind) => (cols * PANEL_ROWS * kind.bytes()).next_multiple_of(VECTOR_BYTES),
        }
    }
}

/// Memory that a matrix takes as panels, in bytes.
pub fn panel_bytes(format: Format, rows: usize, cols: usize) -> u64 {
    rows.div_ceil(PANEL_ROWS) as u64 * Layout::of(format).panel_bytes(cols) as u64
}

/// A vector's worth of panel, aligned as vectors are.
#[repr(C, align(32))]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Line([u8; VECTOR_BYTES]);

/// A weight matrix, ready to multiply.
#[derive(Debug, Clone)]
pub struct Panels {
    format: Format,
    layout: Layout,
    rows: usize,
    cols: usize,
    /// In bytes.
    panel_bytes: usize,
    /// Every segment but the last.
    panels_per_segment: usize,
    segments: Vec<Vec<Line>>,
    /// Whether a [`WIDE`] code is -128, which has no negative in eight bits.
    has_lowest_code: bool,
}

impl Panels {
    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// What the weights were stored as.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What it takes.
    pub fn memory_bytes(&self) -> u64 {
        let lines: usize = self.segments.iter().map(Vec::len).sum();
        (lines * VECTOR_BYTES) as u64
    }

    /// Writes a row's weights, as [`crate::quant::dequantize`] gives them.
    ///
    /// # Panics
    /// When there is no such row, or `out` is not as long as one.
    pub fn row(&self, row: usize, out: &mut [f32] /* (cols) */) {
        assert!(row < self.rows && out.len() == self.cols, "a row there is");
        match self.layout {
            Layout::Floats(kind) => {
                for (col, weight) in out.iter_mut().enumerate() {
                    *weight = float_weight(self, kind, row, col);
                }
            }
            Layout::Groups(layout) => {
                let mut codes = [0; 32];
                let codes = &mut codes[..layout.group_len];
                for (group, weights) in out.chunks_exact_mut(layout.group_len).enumerate() {
                    let (scale, offset) = self.group(layout, row, group, codes);
                    for (weight, code) in weights.iter_mut().zip(&*codes) {
                        *weight = scale * (i32::from(*code) - layout.zero_point) as f32;
                        if layout.offsets {
                            *weight += offset;
                        }
                    }
                }
            }
        }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn panel_bytes(&self) -> usize {
        self.panel_bytes
    }

    /// Whether a signed byte among the codes may be -128, which has no negative in eight bits.
    pub fn has_lowest_code(&self) -> bool {
        self.has_lowest_code
    }

    /// Runs of whole panels.
    pub(super) fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.segments
            .iter()
            .map(|lines| bytemuck::cast_slice(lines))
    }

    /// Reads a group's codes; its scale, and its offset or 0.
    pub(super) fn group(
        &self,
        layout: GroupLayout,
        row: usize,
        group: usize,
        codes: &mut [i8], // (group_len)
    ) -> (f32, f32) {
        let record_bytes = record_bytes(layout.codes, layout.group_len, layout.offsets);
        let record = &self.panel(row)[group * record_bytes..][..record_bytes];
        let lane = row % PANEL_ROWS;
        let (floats, stored) = record.split_at(VECTOR_BYTES * (1 + usize::from(layout.offsets)));
        let float = |at: usize| f32::from_le_bytes(*floats[at..].first_chunk().expect("a float"));
        let quads = stored
            .chunks_exact(VECTOR_BYTES)
            .map(|vector| &vector[lane * 4..][..4]);
        if layout.codes == NIBBLE {
            for (codes, bytes) in codes.as_chunks_mut::<8>().0.iter_mut().zip(quads) {
                for col in 0..4 {
                    codes[col] = (bytes[col] & 0x0f).cast_signed();
                    codes[col + 4] = (bytes[col] >> 4).cast_signed();
                }
            }
        } else {
            for (codes, bytes) in codes.as_chunks_mut::<4>().0.iter_mut().zip(quads) {
                for col in 0..4 {
                    codes[col] = bytes[col].cast_signed();
                }
            }
        }
        let offset = if layout.offsets {
            float(VECTOR_BYTES + lane * 4)
        } else {
            0.0
        };
        (float(lane * 4), offset)
    }

    /// The bytes of an unquantised weight.
    pub(super) fn float_bytes(&self, kind: FloatKind, row: usize, col: usize) -> &[u8] {
        let at = (col * PANEL_ROWS + row % PANEL_ROWS) * kind.bytes();
        &self.panel(row)[at..][..kind.bytes()]
    }

    /// The panel that has `row`.
    fn panel(&self, row: usize) -> &[u8] {
        let panel = row / PANEL_ROWS;
        let segment = &self.segments[panel / self.panels_per_segment];
        let at = panel % self.panels_per_segment * self.panel_bytes;
        &bytemuck::cast_slice(segment)[at..][..self.panel_bytes]
    }

    /// As [`Panels::panel`], of a matrix that is being filled.
    fn panel_mut(&mut self, row: usize) -> &mut [u8] {
        let panel = row / PANEL_ROWS;
        let segment = &mut self.segments[panel / self.panels_per_segment];
        let at = panel % self.panels_per_segment * self.panel_bytes;
        &mut bytemuck::cast_slice_mut(segment)[at..][..self.panel_bytes]
    }
}

/// Makes [`Panels`] of a matrix as its bytes arrive, row after row.
#[derive(Debug)]
pub struct PanelBuilder {
    panels: Panels,
    row: usize,
    col: usize,
}

impl PanelBuilder {
    /// A builder that has seen no weights.
    ///
    /// # Errors
    /// When rows are not whole blocks, or there are none.
    pub fn new(format: Format, rows: usize, cols: usize) -> Result<Self, EngineError> {
        let block_len = format.block_len();
        let panel_bytes = u64::try_from(rows)
            .ok()
            .and_then(|rows| rows.checked_mul(cols as u64))
            .filter(|weights| *weights > 0 && *weights <= MAX_WEIGHTS)
            .filter(|_| cols.is_multiple_of(block_len))
            .map(|_| Layout::of(format).panel_bytes(cols));
        let Some(panel_bytes) = panel_bytes else {
            return Err(EngineError::MatrixShape {
                format: format.name(),
                rows,
                cols,
                block_len,
            });
        };
        let panels = Panels {
            format,
            layout: Layout::of(format),
            rows,
            cols,
            panel_bytes,
            panels_per_segment: (SEGMENT_BYTES / panel_bytes).max(1),
            segments: Vec::new(),
            has_lowest_code: false,
        };
        Ok(Self {
            panels,
            row: 0,
            col: 0,
        })
    }

    /// Takes the next blocks in.
    ///
    /// # Errors
    /// When `bytes` is not whole blocks or more than the matrix lacks, or memory is short; the
    /// builder is then good for nothing.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let format = self.panels.format;
        let blocks = bytes.chunks_exact(format.block_bytes());
        let weights = blocks.len() * format.block_len();
        let lacking = (self.panels.rows - self.row) * self.panels.cols - self.col;
        if !blocks.remainder().is_empty() || weights > lacking {
            return Err(self.wrong_bytes(bytes.len()));
        }
        match self.panels.layout {
            Layout::Groups(layout) => self.push_blocks(layout, bytes),
            Layout::Floats(kind) => self.push_floats(kind, bytes),
        }
    }

    /// Whether every weight has come.
    pub fn is_whole(&self) -> bool {
        self.row == self.panels.rows
    }

    /// The matrix.
    ///
    /// # Errors
    /// When weights are lacking.
    pub fn finish(self) -> Result<Panels, EngineError> {
        if self.is_whole() {
            Ok(self.panels)
        } else {
            Err(self.wrong_bytes(0))
        }
    }

    fn wrong_bytes(&self, pushed_bytes: usize) -> EngineError {
        let format = self.panels.format;
        let weights = self.row * self.panels.cols + self.col;
        EngineError::MatrixBytes {
            pushed_bytes,
            had_bytes: format.row_bytes(weights) as u64,
            needed_bytes: format.row_bytes(self.panels.cols) as u64 * self.panels.rows as u64,
        }
    }

    fn push_blocks(&mut self, layout: GroupLayout, mut blocks: &[u8]) -> Result<(), EngineError> {
        let format = self.panels.format;
        let (block_len, block_bytes) = (format.block_len(), format.block_bytes());
        let record_bytes = record_bytes(layout.codes, layout.group_len, layout.offsets);
        while !blocks.is_empty() {
            self.make_room()?;
            let (row, col) = (self.row, self.col);
            let lacking = (self.panels.cols - col) / block_len;
            let n_blocks = lacking.min(blocks.len() / block_bytes);
            let (of_row, later) = blocks.split_at(n_blocks * block_bytes);
            let records = &mut self.panels.panel_mut(row)[col / layout.group_len * record_bytes..];
            let has_lowest_code = pack::blocks(format, layout, row % PANEL_ROWS, of_row, records);
            self.panels.has_lowest_code |= has_lowest_code;
            self.advance(n_blocks * block_len);
            blocks = later;
        }
        Ok(())
    }

    fn push_floats(&mut self, kind: FloatKind, mut weights: &[u8]) -> Result<(), EngineError> {
        while !weights.is_empty() {
            self.make_room()?;
            let (row, col) = (self.row, self.col);
            let n_weights = (self.panels.cols - col).min(weights.len() / kind.bytes());
            let (of_row, later) = weights.split_at(n_weights * kind.bytes());
            let lane = row % PANEL_ROWS;
            let at = (col * PANEL_ROWS + lane) * kind.bytes();
            pack::floats(kind, of_row, &mut self.panels.panel_mut(row)[at..]);
            self.advance(n_weights);
            weights = later;
        }
        Ok(())
    }

    fn advance(&mut self, weights: usize) {
        self.col += weights;
        if self.col == self.panels.cols {
            self.row += 1;
            self.col = 0;
        }
    }

    /// Makes the panel that the next weight belongs to, of zeros: a panel at a time, so that they
    /// are still in the processor's cache when the weights come.
    fn make_room(&mut self) -> Result<(), EngineError> {
        let panels = &mut self.panels;
        let n_panels = panels.rows.div_ceil(PANEL_ROWS);
        let panel = self.row / PANEL_ROWS;
        let (segment, within) = (
            panel / panels.panels_per_segment,
            panel % panels.panels_per_segment,
        );
        let panel_lines = panels.panel_bytes / VECTOR_BYTES;
        if segment == panels.segments.len() {
            let n_panels = (n_panels - panel).min(panels.panels_per_segment);
            let n_lines = n_panels * panel_lines;
            let mut lines = Vec::new();
            let reserved = lines.try_reserve_exact(n_lines);
            if reserved.is_err() || panels.segments.try_reserve(1).is_err() {
                return Err(EngineError::OutOfMemory {
                    what: format!("{} weights", panels.format.name()),
                    needed_bytes: (n_lines * VECTOR_BYTES) as u64,
                });
            }
            panels.segments.push(lines);
        }
        let lines = &mut panels.segments[segment];
        if lines.len() == within * panel_lines {
            lines.resize(lines.len() + panel_lines, Line::zeroed());
        }
        Ok(())
    }
}

/// weights; sizes of panels computed from fewer do not overflow, and no tab holds more.
const MAX_WEIGHTS: u64 = 1 << 32;

#[cfg(test)]
mod tests;

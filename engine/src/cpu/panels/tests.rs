//! What goes into panels comes out again, however it arrives.

use super::*;
use crate::quant::dequantize;
use crate::synthetic::Random;

impl Panels {
    /// A matrix of chosen groups: `group` fills in codes and returns scale and offset.
    pub(in crate::cpu) fn of_groups(
        layout: GroupLayout,
        rows: usize,
        cols: usize,
        mut group: impl FnMut(&mut [i8]) -> (f32, f32),
    ) -> Self {
        let panel_bytes = Layout::Groups(layout).panel_bytes(cols);
        let panels = Self {
            format: Format::Q8_0,
            layout: Layout::Groups(layout),
            rows,
            cols,
            panel_bytes,
            // Two, so that there are several segments.
            panels_per_segment: 2,
            segments: Vec::new(),
            has_lowest_code: false,
        };
        let mut builder = PanelBuilder {
            panels,
            row: 0,
            col: 0,
        };
        let record_bytes = record_bytes(layout.codes, layout.group_len, layout.offsets);
        let mut codes = vec![0; layout.group_len];
        for row in 0..rows {
            builder.make_room().expect("memory");
            for record in builder.panels.panel_mut(row).chunks_exact_mut(record_bytes) {
                let (scale, offset) = group(&mut codes);
                let offset = layout.offsets.then_some(offset);
                pack::group(layout, record, row % PANEL_ROWS, &codes, scale, offset);
            }
            // Cautious: any panels may hold it.
            builder.panels.has_lowest_code |= layout.codes == WIDE;
            builder.advance(cols);
        }
        builder.finish().expect("every row")
    }
}

/// Bytes that are finite weights in every format.
fn bytes(format: Format, rows: usize, cols: usize) -> Vec<u8> {
    let mut random = Random(rows as u64);
    let weights: Vec<f32> = (0..rows * cols).map(|_| random.symmetric()).collect();
    crate::quant::quantize(format, &weights)
}

fn build(format: Format, rows: usize, cols: usize, bytes: &[u8], blocks: usize) -> Panels {
    let mut builder = PanelBuilder::new(format, rows, cols).expect("a good shape");
    for bytes in bytes.chunks(blocks * format.block_bytes()) {
        builder.push(bytes).expect("good bytes");
    }
    builder.finish().expect("all of them")
}

#[test]
fn rows_are_what_dequantize_says_however_they_arrive() {
    for format in Format::ALL {
        for (rows, cols, blocks) in [(1, 1, 1), (8, 2, 3), (17, 3, 5), (30, 5, 1_000)] {
            let cols = cols * format.block_len().max(32);
            let bytes = bytes(format, rows, cols);
            let panels = build(format, rows, cols, &bytes, blocks);
            let mut expected = vec![0.0; rows * cols];
            dequantize(format, &bytes, &mut expected);
            for (row, expected) in expected.chunks(cols).enumerate() {
                let mut found = vec![0.0; cols];
                panels.row(row, &mut found);
                assert_eq!(found, expected, "{format:?} {rows} x {cols}, row {row}");
            }
            assert_eq!(panels.memory_bytes(), panel_bytes(format, rows, cols));
        }
    }
}

#[test]
fn matrices_larger_than_a_segment_are_whole() {
    let (rows, cols) = (7_001, 1_152);
    let bytes = bytes(Format::Q8_0, rows, cols);
    let panels = build(Format::Q8_0, rows, cols, &bytes, 777);
    assert!(panels.segments().count() > 1);
    assert_eq!(panels.memory_bytes(), panel_bytes(Format::Q8_0, rows, cols));
    let mut expected = vec![0.0; cols];
    let mut found = vec![0.0; cols];
    for row in [0, 3_000, 3_600, 7_000] {
        let row_bytes = Format::Q8_0.row_bytes(cols);
        dequantize(
            Format::Q8_0,
            &bytes[row * row_bytes..][..row_bytes],
            &mut expected,
        );
        panels.row(row, &mut found);
        assert_eq!(found, expected, "row {row}");
    }
}

#[test]
fn shapes_that_a_format_cannot_have_are_refused() {
    for (format, rows, cols) in [
        (Format::Q4_0, 8, 33),
        (Format::Q8_0, 0, 32),
        (Format::F32, 8, 0),
        (Format::F16, usize::MAX, 2),
    ] {
        let refused = PanelBuilder::new(format, rows, cols).expect_err("a bad shape");
        assert!(
            matches!(refused, EngineError::MatrixShape { .. }),
            "{refused}"
        );
    }
}

#[test]
fn bytes_that_are_not_the_matrix_are_refused() {
    let builder = || PanelBuilder::new(Format::Q8_0, 2, 64).expect("a good shape");
    let block = [0; 34];
    for bytes in [&[0; 33][..], &[0; 35], &[0; 5 * 34]] {
        assert!(builder().push(bytes).is_err(), "{} bytes", bytes.len());
    }
    let mut short = builder();
    short.push(&block).expect("good bytes");
    let expected = EngineError::MatrixBytes {
        pushed_bytes: 0,
        had_bytes: 34,
        needed_bytes: 136,
    };
    assert_eq!(short.finish().expect_err("three blocks lack"), expected);
}

//! Makes one matrix of a base matrix and what adapters add to it, row by row.
//!
//! Nothing in the engine needs it: a merged matrix gives what [`super::apply`] adds at run time,
//! up to the rounding of the format it is stored in. It is for giving a model away as one file.

use super::{AdapterError, LoraPair};
use crate::quant::{Format, dequantize, quantize};
use crate::weights::Matrix;

/// `W + sum_k factor_k * scale_k * B_k A_k`, stored as `format`. Rows are dequantised, summed in
/// f64, rounded to f32 and stored, one at a time.
///
/// # Errors
/// [`AdapterError::WrongShape`] when a pair is for another matrix, [`AdapterError::BadSetting`]
/// when rows are not whole blocks of `format`, and [`AdapterError::NotFinite`] when a sum is beyond
/// what the format holds.
pub fn merge(
    base: &Matrix,
    pairs: &[(&LoraPair, f32)],
    format: Format,
) -> Result<Matrix, AdapterError> {
    let Matrix { rows, cols, .. } = *base;
    let expected = [rows as u64, cols as u64];
    for (pair, _) in pairs {
        let found = [pair.rows() as u64, pair.cols() as u64];
        if found != expected {
            let tensor = "to be merged".to_owned();
            return Err(AdapterError::WrongShape {
                tensor,
                found,
                expected,
            });
        }
    }
    if cols % format.block_len() != 0 {
        return Err(AdapterError::BadSetting {
            key: "the format of the merged matrix".to_owned(),
            value: format.name().to_owned(),
            expected: format!("one whose blocks divide {cols}"),
        });
    }
    let mut bytes = Vec::with_capacity(rows * format.row_bytes(cols));
    let mut row = vec![0.0; cols];
    let mut stored = vec![0.0; cols];
    for index in 0..rows {
        dequantize(base.format, base.row(index), &mut row);
        let mut sum: Vec<f64> = row.iter().map(|weight| f64::from(*weight)).collect();
        for (pair, factor) in pairs {
            for (sum, delta) in sum.iter_mut().zip(pair.delta_row(index)) {
                *sum += f64::from(*factor) * delta;
            }
        }
        for (weight, sum) in row.iter_mut().zip(&sum) {
            *weight = *sum as f32;
        }
        let packed = quantize(format, &row);
        dequantize(format, &packed, &mut stored);
        if let Some(col) = stored.iter().position(|weight| !weight.is_finite()) {
            return Err(AdapterError::NotFinite {
                tensor: "the merged matrix".to_owned(),
                index: index * cols + col,
            });
        }
        bytes.extend(packed);
    }
    Ok(Matrix {
        format,
        rows,
        cols,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    const ROWS: usize = 6;
    const COLS: usize = 64;

    fn numbers(random: &mut Random, n: usize) -> Vec<f32> {
        (0..n).map(|_| random.symmetric()).collect()
    }

    fn pair(random: &mut Random, rank: usize) -> LoraPair {
        LoraPair {
            rank,
            scale: 0.5,
            a: numbers(random, rank * COLS),
            b: numbers(random, ROWS * rank),
        }
    }

    fn base(random: &mut Random, format: Format) -> Matrix {
        Matrix {
            format,
            rows: ROWS,
            cols: COLS,
            bytes: quantize(format, &numbers(random, ROWS * COLS)),
        }
    }

    fn floats(matrix: &Matrix) -> Vec<f32> {
        let mut floats = vec![0.0; matrix.rows * matrix.cols];
        dequantize(matrix.format, &matrix.bytes, &mut floats);
        floats
    }

    #[test]
    fn the_sum_is_base_and_deltas() {
        let mut random = Random(5);
        for from in [Format::F16, Format::Q4_0, Format::Q8_0] {
            let base = base(&mut random, from);
            let pairs = [pair(&mut random, 1), pair(&mut random, 9)];
            let stack = [(&pairs[0], 1.5), (&pairs[1], -0.25)];
            let weights = floats(&base);
            // Half a step of each format, of the largest sum: |W| <= 1 and each |delta| <= rank.
            let largest = 1.0 + 1.5 * 0.5 + 0.25 * 0.5 * 9.0;
            for (to, step) in [
                (Format::F32, 1.0 / (1 << 24) as f64),
                (Format::F16, 1.0 / 2048.0),
                (Format::Q8_0, 0.51 / 127.0),
            ] {
                let merged = floats(&merge(&base, &stack, to).unwrap());
                for (index, merged) in merged.iter().enumerate() {
                    let (row, col) = (index / COLS, index % COLS);
                    let deltas: f64 = stack
                        .iter()
                        .map(|(pair, factor)| f64::from(*factor) * pair.delta_row(row)[col])
                        .sum();
                    let exact = f64::from(weights[index]) + deltas;
                    let difference = (f64::from(*merged) - exact).abs();
                    assert!(difference <= step * largest, "{to:?}: {merged} and {exact}");
                }
            }
        }
    }

    #[test]
    fn nothing_merged_is_the_base() {
        let base = base(&mut Random(1), Format::Q8_0);
        assert_eq!(
            floats(&merge(&base, &[], Format::F32).unwrap()),
            floats(&base)
        );
    }

    #[test]
    fn refuses_what_cannot_be_stored() {
        let mut random = Random(2);
        let mut pair = pair(&mut random, 2);
        let base = base(&mut random, Format::F32);
        pair.b[0] = 1e30;
        assert_eq!(
            merge(&base, &[(&pair, 1.0)], Format::F16),
            Err(AdapterError::NotFinite {
                tensor: "the merged matrix".to_owned(),
                index: 0
            })
        );
        assert!(merge(&base, &[(&pair, 1.0)], Format::F32).is_ok());
        let narrow = Matrix {
            cols: COLS / 2,
            bytes: base.bytes[..base.bytes.len() / 2].to_vec(),
            ..base.clone()
        };
        let refused = merge(&narrow, &[(&pair, 1.0)], Format::F32).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("is [6, 64] and this model asks for [6, 32]")
        );
        let refused = merge(&narrow, &[], Format::Q4_K).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("Q4_K, not one whose blocks divide 32")
        );
    }
}

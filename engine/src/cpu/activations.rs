//! Vectors on their way into a matrix: as floats, and rounded to signed bytes by groups of 32.

use super::kernel;
use super::kernels::Mark;

/// activations; that share a scale. The formats with groups of 16 columns use each scale twice.
pub const GROUP_LEN: usize = 32;

/// The inputs of a matrix product.
///
/// A group of 32 has the scale `max |x| / 127`; its codes are `x / scale` rounded to the nearest,
/// halves to even, -127 to 127. A group whose largest magnitude is below 2^-119 becomes zeros. A
/// group with a NaN or an infinity has the scale NaN and codes of 0, so every output that depends
/// on it is NaN.
#[derive(Debug, Clone, Default)]
pub struct Activations {
    cols: usize,
    /// `(tokens, cols)`
    values: Vec<f32>,
    /// `(tokens, cols)`, or empty where `cols` is not a multiple of 32.
    codes: Vec<i8>,
    /// The same in 16 bits.
    words: Vec<i16>,
    /// `(tokens, cols / 32)`
    marks: Vec<Mark>,
    /// `(tokens, cols / 16)`
    half_marks: Vec<Mark>,
}

impl Activations {
    /// Takes `x` in, in the place of what was there.
    ///
    /// # Panics
    /// When `x` is not whole vectors of `cols`.
    pub fn set(&mut self, x: &[f32] /* (tokens, cols) */, cols: usize) {
        assert!(
            cols > 0 && x.len().is_multiple_of(cols),
            "activations are whole vectors"
        );
        self.cols = cols;
        self.values.clear();
        self.values.extend_from_slice(x);
        let n_codes = if cols.is_multiple_of(GROUP_LEN) {
            x.len()
        } else {
            0
        };
        self.codes.resize(n_codes, 0);
        self.words.resize(n_codes, 0);
        self.marks.resize(n_codes / GROUP_LEN, Mark::default());
        self.half_marks
            .resize(n_codes / GROUP_LEN * 2, Mark::default());
        let groups = (self.codes.as_chunks_mut::<GROUP_LEN>().0.iter_mut())
            .zip(self.words.as_chunks_mut::<GROUP_LEN>().0)
            .zip(self.marks.iter_mut().zip(self.half_marks.as_chunks_mut().0));
        let values = x.as_chunks::<GROUP_LEN>().0;
        for (((codes, words), (mark, halves)), values) in groups.zip(values) {
            *halves = quantize(values, codes, words);
            *mark = Mark {
                scale: halves[0].scale,
                sum: halves[0].sum + halves[1].sum,
            };
        }
    }

    /// Vectors.
    pub fn tokens(&self) -> usize {
        self.values.len().checked_div(self.cols).unwrap_or(0)
    }

    /// Their length.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// `(tokens, cols)`, as they came.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// `(tokens, cols)`; empty where `cols` is not a multiple of 32.
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// The codes in 16 bits.
    pub(super) fn words(&self) -> &[i16] {
        &self.words
    }

    /// `(tokens, cols / group_len)`; groups are of 32 or 16.
    pub fn marks(&self, group_len: usize) -> &[Mark] {
        if group_len == GROUP_LEN {
            &self.marks
        } else {
            &self.half_marks
        }
    }
}

/// The codes of a group, in both widths, and the marks of its halves.
fn quantize(
    values: &[f32; GROUP_LEN],
    codes: &mut [i8; GROUP_LEN],
    words: &mut [i16; GROUP_LEN],
) -> [Mark; 2] {
    let largest = kernel::largest_magnitude(values);
    let scale = largest / 127.0;
    if !largest.is_finite() || scale < f32::MIN_POSITIVE {
        codes.fill(0);
        words.fill(0);
        let scale = if largest.is_finite() { 0.0 } else { f32::NAN };
        return [Mark { scale, sum: 0 }; 2];
    }
    let sums = kernel::round_codes(values, 1.0 / scale, codes, words);
    sums.map(|sum| Mark { scale, sum })
}

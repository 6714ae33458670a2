//! Halves of pairs in the order in which the kernels read them, in as few bytes as hold them.

use super::kernel::Vector;
use crate::cpu::lanes::LANES;

/// ranks side by side: eight vectors of running sums, which leaves room in 16 registers.
pub(super) const GROUP: usize = 4;

/// Eight BF16 numbers: in each word, number `l` in the lower half and number `l + 4` in the upper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bf16Lanes(pub(super) [u32; LANES / 2]);

/// `A` or `B` of a pair: for each group of ranks `(n / 8, ranks of the group, 8)`, zeros after the
/// last number.
#[derive(Debug, Clone)]
pub(super) enum PackedHalf {
    /// Where every number is one of BF16, as in most adapters that people publish: the same
    /// numbers in half the bytes. At one token a pass, reading them is most of the work.
    Bf16(Vec<Bf16Lanes>),
    /// Otherwise.
    F32(Vec<[f32; LANES]>),
}

impl PackedHalf {
    /// `n` numbers of each rank, of which there is `place`, rank and number, among `numbers`.
    pub(super) fn new(
        rank: usize,
        n: usize,
        numbers: &[f32],
        place: impl Fn(usize, usize) -> usize,
    ) -> Self {
        let number = |k, at| if at < n { numbers[place(k, at)] } else { 0.0 };
        if numbers.iter().all(|number| number.to_bits() & 0xffff == 0) {
            Self::Bf16(packed(rank, n, number, |eight| {
                Bf16Lanes(bf16_words(eight))
            }))
        } else {
            Self::F32(packed(rank, n, number, |eight| *eight))
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Bf16(vectors) => size_of_val(vectors.as_slice()),
            Self::F32(vectors) => size_of_val(vectors.as_slice()),
        }
    }
}

/// All vectors of a half in one piece of memory: halves that are packed one after the other lie so,
/// and are read in that order, which is what processors expect.
fn packed<V>(
    rank: usize,
    n: usize,
    number: impl Fn(usize, usize) -> f32,
    vector: impl Fn(&[f32; LANES]) -> V,
) -> Vec<V> {
    let mut vectors = Vec::with_capacity(rank * n.div_ceil(LANES));
    for first in (0..rank).step_by(GROUP) {
        for start in (0..n).step_by(LANES) {
            for k in first..rank.min(first + GROUP) {
                let mut eight = [0.0; LANES];
                for (lane, place) in eight.iter_mut().enumerate() {
                    *place = number(k, start + lane);
                }
                vectors.push(vector(&eight));
            }
        }
    }
    vectors
}

/// Numbers that are BF16, two in each word.
fn bf16_words(eight: &[f32; LANES]) -> [u32; LANES / 2] {
    let mut words = [0; LANES / 2];
    for (lane, word) in words.iter_mut().enumerate() {
        *word = eight[lane].to_bits() >> 16 | eight[lane + LANES / 2].to_bits();
    }
    words
}

/// `t = A x`, then times `factor`, group by group.
pub(super) fn down(
    a: &PackedHalf,
    x: &[[f32; LANES]], // (cols / 8, 8)
    factor: f32,
    t: &mut [f32], // (rank)
) {
    match a {
        PackedHalf::Bf16(a) => down_groups(a, x, t),
        PackedHalf::F32(a) => down_groups(a, x, t),
    }
    t.iter_mut().for_each(|t| *t *= factor);
}

/// `y += B t`, group by group; `last` are the outputs after the last whole eight, if there are any.
pub(super) fn up(
    b: &PackedHalf,
    t: &[f32],              // (rank)
    y: &mut [[f32; LANES]], // (rows / 8, 8)
    last: Option<&mut [f32; LANES]>,
) {
    match b {
        PackedHalf::Bf16(b) => up_groups(b, t, y, last),
        PackedHalf::F32(b) => up_groups(b, t, y, last),
    }
}

fn down_groups<V: Vector>(a: &[V], x: &[[f32; LANES]], t: &mut [f32]) {
    use super::kernel::down;
    for (a, t) in a.chunks(x.len() * GROUP).zip(t.chunks_mut(GROUP)) {
        match t.len() {
            1 => down::<1, V>(a, x, t),
            2 => down::<2, V>(a, x, t),
            3 => down::<3, V>(a, x, t),
            _ => down::<GROUP, V>(a, x, t),
        }
    }
}

fn up_groups<V: Vector>(
    b: &[V],
    t: &[f32],
    y: &mut [[f32; LANES]],
    mut last: Option<&mut [f32; LANES]>,
) {
    use super::kernel::up;
    let vectors = y.len() + usize::from(last.is_some());
    for (b, t) in b.chunks(vectors * GROUP).zip(t.chunks(GROUP)) {
        let (b, b_last) = b.split_at(y.len() * t.len());
        let y_last = last
            .as_deref_mut()
            .map_or(&mut [][..], std::slice::from_mut);
        for (b, y) in [(b, &mut *y), (b_last, y_last)] {
            match t.len() {
                1 => up::<1, V>(b, t, y),
                2 => up::<2, V>(b, t, y),
                3 => up::<3, V>(b, t, y),
                _ => up::<GROUP, V>(b, t, y),
            }
        }
    }
}

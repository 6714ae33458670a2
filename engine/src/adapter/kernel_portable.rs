//! The two products of a low-rank pair in plain Rust, in eight lanes.

use super::packed::Bf16Lanes;
use crate::cpu::lanes::{LANES, fold};

/// Eight numbers as they lie in memory.
pub(super) trait Vector: Copy {
    fn load(&self) -> [f32; LANES];
}

impl Vector for [f32; LANES] {
    fn load(&self) -> [f32; LANES] {
        *self
    }
}

impl Vector for Bf16Lanes {
    fn load(&self) -> [f32; LANES] {
        let [a, b, c, d] = self.0;
        [a << 16, b << 16, c << 16, d << 16, a, b, c, d]
            .map(|bits| f32::from_bits(bits & 0xffff_0000))
    }
}

/// `t_k = a_k x` for `K` ranks, each with eight running sums.
pub(super) fn down<const K: usize, V: Vector>(
    a: &[V],            // (cols / 8, K, 8)
    x: &[[f32; LANES]], // (cols / 8, 8)
    t: &mut [f32],      // (K)
) {
    let mut sums = [[0.0; LANES]; K];
    for (a, x) in a.as_chunks::<K>().0.iter().zip(x) {
        for (sums, a) in sums.iter_mut().zip(a) {
            let a = a.load();
            for lane in 0..LANES {
                sums[lane] += a[lane] * x[lane];
            }
        }
    }
    for (t, sums) in t.iter_mut().zip(sums) {
        *t = fold(sums);
    }
}

/// `y += t_k b_k` for `K` ranks, one after another.
pub(super) fn up<const K: usize, V: Vector>(
    b: &[V],                // (rows / 8, K, 8)
    t: &[f32],              // (K)
    y: &mut [[f32; LANES]], // (rows / 8, 8)
) {
    for (b, y) in b.as_chunks::<K>().0.iter().zip(y) {
        for (b, t) in b.iter().zip(t) {
            let b = b.load();
            for lane in 0..LANES {
                y[lane] += t * b[lane];
            }
        }
    }
}

//! The two products of a low-rank pair, in eight lanes.

use super::packed::Bf16Lanes;
use crate::cpu::eight::{Eight, add_products, load, load_bf16, splat, store};
use crate::cpu::lanes::{LANES, fold};

/// Eight numbers as they lie in memory.
pub(super) trait Vector: Copy {
    fn load(&self) -> Eight;
}

impl Vector for [f32; LANES] {
    #[inline]
    fn load(&self) -> Eight {
        load(self)
    }
}

impl Vector for Bf16Lanes {
    #[inline]
    fn load(&self) -> Eight {
        load_bf16(self.0)
    }
}

/// `t_k = a_k x` for `K` ranks, each with eight running sums.
pub(super) fn down<const K: usize, V: Vector>(
    a: &[V],            // (cols / 8, K, 8)
    x: &[[f32; LANES]], // (cols / 8, 8)
    t: &mut [f32],      // (K)
) {
    let mut sums = [splat(0.0); K];
    for (a, x) in a.as_chunks::<K>().0.iter().zip(x) {
        let x = load(x);
        for k in 0..K {
            sums[k] = add_products(sums[k], a[k].load(), x);
        }
    }
    for (t, sums) in t.iter_mut().zip(sums) {
        *t = fold(store(sums));
    }
}

/// `y += t_k b_k` for `K` ranks, one after another.
pub(super) fn up<const K: usize, V: Vector>(
    b: &[V],                // (rows / 8, K, 8)
    t: &[f32],              // (K)
    y: &mut [[f32; LANES]], // (rows / 8, 8)
) {
    let mut factors = [splat(0.0); K];
    for (factor, t) in factors.iter_mut().zip(t) {
        *factor = splat(*t);
    }
    for (b, y) in b.as_chunks::<K>().0.iter().zip(y) {
        let mut sums = load(y);
        for k in 0..K {
            sums = add_products(sums, b[k].load(), factors[k]);
        }
        *y = store(sums);
    }
}

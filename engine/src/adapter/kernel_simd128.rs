//! The two products of a low-rank pair with wasm's 128-bit vectors: two vectors are the eight lanes.
//!
//! Bit for bit what `kernel_portable.rs` computes.

use std::arch::wasm32::{u32x4, u32x4_shl, u32x4_splat, v128_and};

use super::packed::Bf16Lanes;
use crate::cpu::lanes::{LANES, fold};
use crate::cpu::lanes_simd128::{Eight, add_products, load, splat, store};

/// Eight numbers as they lie in memory.
pub(super) trait Vector: Copy {
    fn load(&self) -> Eight;
}

impl Vector for [f32; LANES] {
    fn load(&self) -> Eight {
        load(self)
    }
}

impl Vector for Bf16Lanes {
    /// One load, one shift, one mask.
    fn load(&self) -> Eight {
        let [a, b, c, d] = self.0;
        let both = u32x4(a, b, c, d);
        (
            u32x4_shl(both, 16),
            v128_and(both, u32x4_splat(0xffff_0000)),
        )
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
        let x = x.load();
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
        let mut sums = y.load();
        for k in 0..K {
            sums = add_products(sums, b[k].load(), factors[k]);
        }
        *y = store(sums);
    }
}

//! The order in which every dot product of two activations is summed.
//!
//! Eight running sums: sum `l` takes the products at `l, l + 8, l + 16, ...`, each multiplied,
//! rounded and then added (no fused multiply-add). Products left over at the end go to sums 0, 1,
//! and so on. The sums are folded by [`fold`].

/// Running sums of a dot product.
pub const LANES: usize = 8;

/// Adds eight sums into one, as four, two and one.
pub fn fold(sums: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

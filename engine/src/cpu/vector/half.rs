//! Between f16 (as bits) and f32, without the instructions that wasm lacks.

use super::super::kernel;

/// What an f16's exponent lacks when its bits are moved to an f32's place: 2^112.
pub(in super::super) const BIAS: f32 = f32::from_bits((127 + 112) << 23);

/// The value of an f16, exactly; a NaN stays one.
#[inline(always)]
#[must_use]
pub fn f32_from_f16(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let magnitude = (bits & 0x7fff) << 13;
    // Multiplying moves subnormals to where f32 has numbers of full precision.
    let scaled = (f32::from_bits(magnitude) * BIAS).to_bits();
    let infinite = if magnitude >= 0x7c00 << 13 {
        0x7f80_0000
    } else {
        0
    };
    f32::from_bits(scaled | infinite | (bits & 0x8000) << 16)
}

/// The nearest f16, ties to even; what is too large becomes an infinity, a NaN stays one.
#[inline(always)]
#[must_use]
pub fn f16_from_f32(value: f32) -> u16 {
    /// 2^-14, the smallest normal f16.
    const SMALLEST_NORMAL: u32 = (127 - 14) << 23;
    /// 2^16, above which everything is an infinity.
    const OVERFLOW: u32 = (127 + 16) << 23;
    let magnitude = value.to_bits() & 0x7fff_ffff;
    let sign = (value.to_bits() >> 16) & 0x8000;
    // Half a unit less a hair, and the hair where the kept bits are odd.
    let odd = (magnitude >> 13) & 1;
    let normal = (magnitude.wrapping_sub(112 << 23)).wrapping_add(0x0fff + odd) >> 13;
    // A half has its last bit at 2^-24, where subnormal f16 have theirs: the sum is rounded there.
    let subnormal = (f32::from_bits(magnitude) + 0.5)
        .to_bits()
        .wrapping_sub(0.5_f32.to_bits());
    let not_finite = if magnitude > 0x7f80_0000 {
        0x7e00
    } else {
        0x7c00
    };
    let small = if magnitude < SMALLEST_NORMAL {
        subnormal
    } else {
        normal
    };
    let found = if magnitude >= OVERFLOW {
        not_finite
    } else {
        small
    };
    (found | sign) as u16
}

/// [`f32_from_f16`] of each.
///
/// # Panics
/// When the lengths differ.
pub fn widen_f16(bits: &[u16], out: &mut [f32]) {
    assert_eq!(bits.len(), out.len(), "as many as each other");
    kernel::widen_f16(bits, out);
}

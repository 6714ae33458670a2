//! Curves against f64, halves against the `half` crate, the rest against the formula.

use super::*;
use crate::synthetic::Random;

/// Distance in units in the last place of the exact value.
fn units_off(found: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if rounded.is_infinite() || rounded == 0.0 {
        return f64::from(u32::from(found != rounded));
    }
    let size = rounded.abs();
    let unit = f64::from(f32::from_bits(size.to_bits() + 1)) - f64::from(size);
    (f64::from(found) - exact).abs() / unit
}

/// Floats from `low` to `high`, evenly, and their neighbours.
fn steps(low: f32, high: f32) -> impl Iterator<Item = f32> {
    (0..=400_000).map(move |n| low + (high - low) * (n as f32 / 400_000.0))
}

fn check(low: f32, high: f32, most: f64, found: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) {
    for x in steps(low, high) {
        let (found, exact) = (found(x), exact(f64::from(x)));
        let off = units_off(found, exact);
        assert!(off <= most, "at {x:e}: {found:e}, {exact:e}, {off} units");
    }
}

#[test]
fn exp_is_within_two_units() {
    check(-110.0, 90.0, 2.0, exp, libm::exp);
    check(-1.0, 1.0, 2.0, exp, libm::exp);
    let ends = [f32::NEG_INFINITY, f32::MIN, f32::MAX, f32::INFINITY].map(exp);
    assert_eq!(ends, [0.0, 0.0, f32::INFINITY, f32::INFINITY]);
    assert_eq!([exp(0.0), exp(-0.0)], [1.0, 1.0]);
    assert!(exp(f32::NAN).is_nan());
}

#[test]
fn tanh_is_within_three_units() {
    check(-12.0, 12.0, 3.0, tanh, libm::tanh);
    check(-0.7, 0.7, 3.0, tanh, libm::tanh);
    check(-1e-3, 1e-3, 3.0, tanh, libm::tanh);
    assert_eq!([f32::NEG_INFINITY, f32::INFINITY].map(tanh), [-1.0, 1.0]);
    assert!(tanh(f32::NAN).is_nan());
}

#[test]
fn erfc_is_close_at_both_ends() {
    check(-10.0, 0.0, 6.0, erfc, libm::erfc);
    // The square under the exponential is rounded, by up to 2^-18 at 9.
    for x in steps(0.0, 9.0) {
        let exact = libm::erfc(f64::from(x));
        let off = (f64::from(erfc(x)) - exact).abs() / exact;
        assert!(off < libm::exp2(-17.0), "at {x}: {off:e}");
    }
    assert_eq!([f32::NEG_INFINITY, f32::INFINITY].map(erfc), [2.0, 0.0]);
    assert!(erfc(f32::NAN).is_nan());
}

#[test]
fn every_f16_is_widened_exactly_and_comes_back() {
    for bits in 0..=u16::MAX {
        let expected = ::half::f16::from_bits(bits);
        let found = f32_from_f16(bits);
        if expected.is_nan() {
            assert!(found.is_nan() && ::half::f16::from_bits(f16_from_f32(found)).is_nan());
        } else {
            assert_eq!(found.to_bits(), expected.to_f32().to_bits(), "{bits:#06x}");
            assert_eq!(f16_from_f32(found), bits, "{bits:#06x}");
        }
    }
}

#[test]
fn every_boundary_between_f16_is_rounded_to_the_nearest() {
    let check = |value: f32| {
        let expected = ::half::f16::from_f32(value).to_bits();
        assert_eq!(f16_from_f32(value), expected, "{value:e}");
        assert_eq!(f16_from_f32(-value), expected | 0x8000, "-{value:e}");
    };
    for bits in 0..0x7c00_u16 {
        let low = ::half::f16::from_bits(bits).to_f32();
        // Past the largest f16 the next would be 2^16.
        let high = if bits == 0x7bff {
            65_536.0
        } else {
            ::half::f16::from_bits(bits + 1).to_f32()
        };
        let middle = low + (high - low) / 2.0;
        for value in [
            low,
            middle.next_down(),
            middle,
            middle.next_up(),
            high.next_down(),
        ] {
            check(value.abs());
        }
    }
    for value in [65_536.0, 1e30, f32::MAX, f32::INFINITY, f32::from_bits(1)] {
        check(value);
    }
}

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    (0..n).map(|_| random.symmetric() * 4.0).collect()
}

/// Relative distance of two vectors.
fn distance(found: &[f32], exact: &[f64]) -> f64 {
    let pairs = found.iter().zip(exact);
    let off: f64 = pairs.map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    let size: f64 = exact.iter().map(|it| it * it).sum();
    (off / size).sqrt()
}

#[test]
fn slices_of_any_length_follow_their_formulas() {
    for n in [1, 2, 7, 8, 9, 31, 64, 577] {
        let (x, y, z) = (random(n, 1), random(n, 2), random(n, 3));
        let wide = |x: &[f32]| x.iter().map(|it| f64::from(*it)).collect::<Vec<_>>();
        let (wx, wy, wz) = (wide(&x), wide(&y), wide(&z));
        let close = |name: &str, found: &[f32], exact: &[f64]| {
            let distance = distance(found, exact);
            // A few roundings of f32 each.
            assert!(distance < 1e-6, "{name} of {n}: {distance:e}");
        };
        let of_two = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            wx.iter().zip(&wy).map(|(x, y)| f(*x, *y)).collect()
        };

        let mut found = x.clone();
        silu_mul(&mut found, &y);
        close(
            "silu",
            &found,
            &of_two(&|x, y| x / (1.0 + libm::exp(-x)) * y),
        );

        let mut found = x.clone();
        gelu_tanh_mul(&mut found, &y);
        let root = (2.0 / std::f64::consts::PI).sqrt();
        let gelu = |x: f64| 0.5 * x * (1.0 + libm::tanh(root * (x + 0.044_715 * x * x * x)));
        close("gelu by tanh", &found, &of_two(&|x, y| gelu(x) * y));

        let mut found = x.clone();
        gelu_erf(&mut found);
        let gelu = |x: f64| 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
        close("gelu by erf", &found, &of_two(&|x, _| gelu(x)));

        let mut found = x.clone();
        soft_cap(&mut found, 3.0);
        close(
            "soft cap",
            &found,
            &of_two(&|x, _| 3.0 * libm::tanh(x / 3.0)),
        );

        let mut found = x.clone();
        softmax(&mut found);
        let total: f64 = wx.iter().map(|x| libm::exp(*x)).sum();
        close("softmax", &found, &of_two(&|x, _| libm::exp(x) / total));

        let square = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>() / n as f64 + 1e-5;
        let mut found = vec![0.0; n];
        rms_norm(&x, &y, 1e-5, &mut found);
        let scale = 1.0 / square(&wx).sqrt();
        close("rms norm", &found, &of_two(&|x, y| x * scale * y));
        let mut in_place = x.clone();
        rms_norm_in_place(&mut in_place, &y, 1e-5);
        assert_eq!(in_place, found);

        let mean = wx.iter().sum::<f64>() / n as f64;
        let centred: Vec<f64> = wx.iter().map(|x| x - mean).collect();
        let scale = 1.0 / square(&centred).sqrt();
        layer_norm(&x, &y, &z, 1e-5, &mut found);
        let normed = centred.iter().zip(&wy).zip(&wz);
        let exact: Vec<f64> = normed.map(|((x, y), z)| x * scale * y + z).collect();
        close("layer norm", &found, &exact);
    }
}

#[test]
fn the_largest_is_found_and_nan_is_not_lost() {
    for n in [0, 1, 7, 8, 30] {
        let mut x = random(n, 9);
        let expected = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(max(&x), expected);
        for at in 0..n {
            let kept = std::mem::replace(&mut x[at], f32::NAN);
            assert!(max(&x).is_nan(), "{at} of {n}");
            x[at] = kept;
        }
    }
}

/// Every shape of a tile, and columns that fill no vector.
#[test]
fn products_are_added_one_after_another() {
    let mut random = Random(29);
    for (rows, cols, n) in [(1, 8, 1), (2, 5, 3), (3, 64, 32), (4, 12, 7), (9, 31, 33)] {
        let mut floats = |n: usize| -> Vec<f32> { (0..n).map(|_| random.symmetric()).collect() };
        let (sums_stride, shares_stride) = (cols + 3, n + 2);
        let before = floats(rows * sums_stride);
        let shares = floats(rows * shares_stride);
        let values = floats(n * cols);
        let mut expected = before.clone();
        for row in 0..rows {
            for col in 0..cols {
                for k in 0..n {
                    let product = shares[row * shares_stride + k] * values[k * cols + col];
                    expected[row * sums_stride + col] += product;
                }
            }
        }
        let mut found = before;
        let sums = (&mut found[..], sums_stride);
        add_products(rows, cols, sums, (&shares, shares_stride), &values);
        assert_eq!(found, expected, "{rows} rows of {cols}, {n} products each");
    }
}

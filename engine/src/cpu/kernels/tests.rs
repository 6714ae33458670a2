//! Every kind of kernel against the specification, bit for bit, and the specification against f64.

use super::super::activations::Activations;
use super::super::panels::PanelBuilder;
use super::super::panels::{GroupLayout, Panels};
use super::*;
use crate::quant::Format;
use crate::synthetic::Random;

/// Every form of panel that a format is kept in.
const LAYOUTS: [(u32, usize, bool, i32); 8] = [
    (NIBBLE, 32, false, 8),
    (NIBBLE, 32, true, 0),
    (NIBBLE, 16, false, 4),
    (NIBBLE, 16, true, 0),
    (SEVEN, 32, false, 16),
    (SEVEN, 32, true, 0),
    (SEVEN, 16, false, 32),
    (WIDE, 32, false, 0),
];

fn layout((codes, group_len, offsets, zero_point): (u32, usize, bool, i32)) -> GroupLayout {
    GroupLayout {
        codes,
        group_len,
        offsets,
        zero_point,
        code_shift: 0,
    }
}

fn bits(outputs: &[f32]) -> Vec<u32> {
    // Which NaN it is depends on the machine.
    let quiet = |it: &f32| if it.is_nan() { u32::MAX } else { it.to_bits() };
    outputs.iter().map(quiet).collect()
}

fn multiply(kernels: &dyn Kernels, panels: &Panels, inputs: &Activations) -> Vec<f32> {
    let mut outputs = vec![-1.0; panels.rows() * inputs.tokens()];
    kernels.matmul(panels, inputs, &mut outputs);
    outputs
}

fn inputs(random: &mut Random, tokens: usize, cols: usize) -> Activations {
    let values: Vec<f32> = (0..tokens * cols)
        .map(|_| random.symmetric() * 3.0)
        .collect();
    let mut inputs = Activations::default();
    inputs.set(&values, cols);
    inputs
}

/// A float that scales of any format take, now and then an extreme one.
fn any_float(random: &mut Random) -> f32 {
    match random.bits() % 64 {
        0 => 0.0,
        1 => -65_504.0,
        2 => f32::from_bits(1),
        _ => random.symmetric(),
    }
}

fn any_code(random: &mut Random, codes: u32) -> i8 {
    let (lowest, highest) = match codes {
        NIBBLE => (0, 15),
        SEVEN => (0, 127),
        _ => (-128, 127),
    };
    match random.bits() % 8 {
        0 => lowest as i8,
        1 => highest as i8,
        _ => (lowest + (random.bits() % (highest - lowest + 1) as u32) as i32) as i8,
    }
}

fn random_panels(random: &mut Random, layout: GroupLayout, rows: usize, cols: usize) -> Panels {
    Panels::of_groups(layout, rows, cols, |codes| {
        codes.fill_with(|| any_code(random, layout.codes));
        (any_float(random), any_float(random))
    })
}

/// Checks one product on every kind of kernel.
fn check_all(panels: &Panels, inputs: &Activations) {
    let all = all();
    let expected = bits(&multiply(all[0], panels, inputs));
    for kernels in &all[1..] {
        assert!(
            bits(&multiply(*kernels, panels, inputs)) == expected,
            "{} differs: {:?} of {} x {}, {} tokens",
            kernels.name(),
            panels.layout(),
            panels.rows(),
            panels.cols(),
            inputs.tokens()
        );
    }
}

#[test]
fn every_kind_gives_the_specifications_bits() {
    let mut random = Random(1);
    for spec in LAYOUTS {
        for tokens in 1..=33 {
            let rows = 1 + random.bits() as usize % 40;
            let cols = 32 * (1 + random.bits() as usize % 9);
            let panels = random_panels(&mut random, layout(spec), rows, cols);
            let inputs = inputs(&mut random, tokens, cols);
            check_all(&panels, &inputs);
        }
    }
}

#[test]
fn extreme_codes_do_not_overflow() {
    for spec in LAYOUTS {
        let layout = layout(spec);
        let lowest = if layout.codes == WIDE { -128 } else { 0 };
        let highest = if layout.codes == NIBBLE { 15 } else { 127 };
        for code in [lowest, highest] {
            let panels = Panels::of_groups(layout, 9, 64, |codes| {
                codes.fill(code);
                (1.0, 1.0)
            });
            for sign in [-1.0, 1.0] {
                let mut inputs = Activations::default();
                inputs.set(&[sign * 127.0; 5 * 64], 64);
                check_all(&panels, &inputs);
                let weight = i32::from(code) - layout.zero_point + i32::from(layout.offsets);
                let expected = vec![sign * 127.0 * weight as f32 * 64.0; 5 * 9];
                assert_eq!(multiply(all()[0], &panels, &inputs), expected, "{spec:?}");
            }
        }
    }
}

#[test]
fn what_is_not_finite_spreads_and_goes_no_further() {
    let mut random = Random(2);
    for spec in LAYOUTS {
        let mut n = 0;
        // The second group of row 3 has a NaN scale, that of row 9 an infinite one.
        let groups = 64 / spec.1;
        let panels = Panels::of_groups(layout(spec), 12, 64, |codes| {
            codes.fill_with(|| any_code(&mut random, spec.0));
            n += 1;
            match n - 1 {
                it if it == 3 * groups + 1 => (f32::NAN, 0.0),
                it if it == 9 * groups + 1 => (f32::INFINITY, 0.0),
                _ => (1.0, 0.5),
            }
        });
        let mut values: Vec<f32> = (0..3 * 64).map(|_| random.symmetric()).collect();
        values[64 + 5] = f32::NEG_INFINITY;
        values[128 + 40] = f32::NAN;
        let mut inputs = Activations::default();
        inputs.set(&values, 64);
        check_all(&panels, &inputs);
        let outputs = multiply(all()[0], &panels, &inputs);
        let nans = |token: usize| {
            outputs[token * 12..][..12]
                .iter()
                .filter(|it| it.is_nan())
                .count()
        };
        assert!(outputs[3].is_nan() && !outputs[9].is_finite(), "{spec:?}");
        assert!(nans(0) <= 2, "{spec:?}");
        assert_eq!((nans(1), nans(2)), (12, 12), "{spec:?}");
    }
}

#[test]
fn a_token_gives_the_same_bits_alone_and_among_others() {
    let mut random = Random(3);
    for spec in LAYOUTS {
        let panels = random_panels(&mut random, layout(spec), 19, 96);
        let values: Vec<f32> = (0..7 * 96).map(|_| random.symmetric()).collect();
        for kernels in all() {
            let mut inputs = Activations::default();
            inputs.set(&values, 96);
            let together = multiply(kernels, &panels, &inputs);
            for (token, values) in values.chunks(96).enumerate() {
                inputs.set(values, 96);
                let alone = multiply(kernels, &panels, &inputs);
                assert_eq!(bits(&alone), bits(&together[token * 19..][..19]));
            }
        }
    }
}

#[test]
fn products_are_those_of_real_numbers() {
    let mut random = Random(4);
    for spec in LAYOUTS {
        let (rows, cols, tokens) = (21, 288, 3);
        let layout = layout(spec);
        let panels = Panels::of_groups(layout, rows, cols, |codes| {
            codes.fill_with(|| any_code(&mut random, spec.0));
            (random.symmetric(), random.symmetric())
        });
        let values: Vec<f32> = (0..tokens * cols).map(|_| random.symmetric()).collect();
        let mut inputs = Activations::default();
        inputs.set(&values, cols);
        let outputs = multiply(all()[0], &panels, &inputs);
        let mut weights = vec![0.0; cols];
        for row in 0..rows {
            panels.row(row, &mut weights);
            for token in 0..tokens {
                let terms = || weights.iter().zip(&values[token * cols..]);
                let exact: f64 = terms().map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                let size: f64 = terms().map(|(w, x)| f64::from(*w * *x).powi(2)).sum();
                let error = (f64::from(outputs[token * rows + row]) - exact).abs();
                // An activation is off by at most half of 1/127 of its group's largest, in effect
                // a random sum of `cols` such errors: six standard deviations.
                let bound = 6.0 * 0.5 / 127.0 * 2.0 * size.sqrt();
                assert!(error < bound, "{spec:?} row {row}: {error} >= {bound}");
            }
        }
    }
}

#[test]
fn unquantised_weights_give_the_specifications_bits() {
    let mut random = Random(5);
    for format in [Format::F32, Format::F16, Format::BF16] {
        for (rows, cols, tokens) in [(1, 1, 1), (8, 33, 4), (13, 60, 7), (40, 96, 33), (9, 31, 2)] {
            let bytes: Vec<u8> = (0..rows * format.row_bytes(cols))
                .map(|_| random.bits() as u8)
                .collect();
            let mut builder = PanelBuilder::new(format, rows, cols).expect("a good shape");
            builder.push(&bytes).expect("good bytes");
            let panels = builder.finish().expect("all of them");
            check_all(&panels, &inputs(&mut random, tokens, cols));
        }
    }
}

#[test]
fn every_f16_is_widened_exactly() {
    let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let mut builder = PanelBuilder::new(Format::F16, 65_536, 1).expect("a good shape");
    builder.push(&bytes).expect("good bytes");
    let panels = builder.finish().expect("all of them");
    let mut inputs = Activations::default();
    inputs.set(&[1.0], 1);
    let expected: Vec<f32> = (0..=u16::MAX)
        .map(|it| half::f16::from_bits(it).to_f32())
        .collect();
    for kernels in all() {
        // -0 becomes 0 when it is added to a sum of nothing.
        let found = multiply(kernels, &panels, &inputs);
        let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
        assert!(found.iter().zip(&expected).all(same), "{}", kernels.name());
    }
}

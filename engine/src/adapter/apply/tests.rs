//! Applying a stack is multiplying with merged weights, whatever the sizes, and whatever else is in
//! the pass.

use proptest::prelude::*;

use super::*;
use crate::synthetic::Random;
use crate::weights::LayerSlot;

const SLOT: Slot = Slot::Layer(0, LayerSlot::FfnUp);

fn numbers(random: &mut Random, n: usize) -> Vec<f32> {
    (0..n).map(|_| random.symmetric()).collect()
}

fn pair(random: &mut Random, rows: usize, cols: usize, rank: usize) -> LoraPair {
    LoraPair {
        rank,
        scale: random.symmetric(),
        a: numbers(random, rank * cols),
        b: numbers(random, rows * rank),
    }
}

fn adapters(pairs: &[LoraPair]) -> CpuAdapters {
    let mut adapters = CpuAdapters::default();
    for (id, pair) in pairs.iter().enumerate() {
        let adapter = Adapter {
            name: String::new(),
            rank: pair.rank,
            pairs: BTreeMap::from([(SLOT, pair.clone())]),
        };
        adapters.insert(AdapterId(id as u32), &adapter);
    }
    adapters
}

/// What merged weights add to `y`, in f64, and a bound for what f32 may make of it.
///
/// Every rounding is at most 2^-24 of what it rounds. `A x` has cols / 8 + 3 additions and a
/// product, the factor two roundings; each step of `y` rounds a product and a sum that is at most
/// |y| and all that was added before, of all pairs.
fn expected(stack: &[(&LoraPair, f32)], x: &[f32], y: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let mut sums: Vec<f64> = y.iter().map(|y| f64::from(*y)).collect();
    let mut sizes: Vec<f64> = sums.iter().map(|y| y.abs()).collect();
    let mut roundings = 0.0;
    for (pair, factor) in stack {
        roundings += x.len() as f64 / 8.0 + 8.0 + 2.0 * pair.rank as f64;
        for row in 0..y.len() {
            // The size of what is summed, not of the sum: products may cancel.
            let size: f64 = (0..pair.rank)
                .map(|k| {
                    let a = &pair.a[k * x.len()..][..x.len()];
                    let dot: f64 = a.iter().zip(x).map(|(a, x)| f64::from((a * x).abs())).sum();
                    dot * f64::from((pair.b[row * pair.rank + k] * pair.scale * factor).abs())
                })
                .sum();
            let delta = pair.delta_row(row);
            let sum: f64 = delta.iter().zip(x).map(|(d, x)| d * f64::from(*x)).sum();
            let sum = f64::from(*factor) * sum;
            let output = pair.output(*factor, x)[row];
            assert!(
                (output - sum).abs() <= 1e-12 * size,
                "both specifications are one"
            );
            sums[row] += sum;
            sizes[row] += size;
        }
    }
    let unit = 1.0 / f64::from(1 << 24);
    // A twentieth more: sizes are themselves rounded.
    let bounds = sizes.iter().map(|size| size * roundings * unit * 1.05);
    (sums, bounds.collect())
}

fn check(y: &[f32], sums: &[f64], bounds: &[f64]) -> Result<(), TestCaseError> {
    for (row, ((y, sum), bound)) in y.iter().zip(sums).zip(bounds).enumerate() {
        let difference = (f64::from(*y) - sum).abs();
        prop_assert!(
            difference <= *bound,
            "row {row}: {y} and {sum}, bound {bound}"
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_stack_adds_what_merged_weights_do(
        seed in any::<u64>(),
        rows in 1_usize..70,
        cols in 1_usize..150,
        ranks in prop::collection::vec(1_usize..=64, 1..4),
    ) {
        let mut random = Random(seed);
        let pairs: Vec<_> = ranks.iter().map(|rank| pair(&mut random, rows, cols, *rank)).collect();
        let factors = numbers(&mut random, pairs.len());
        let x = numbers(&mut random, cols);
        let before = numbers(&mut random, rows);
        let mut y = before.clone();
        let stack: Vec<_> = factors.iter().enumerate().map(|(id, f)| (AdapterId(id as u32), *f)).collect();
        adapters(&pairs).add(SLOT, &[&stack], &x, &mut y);
        let of_pairs: Vec<_> = pairs.iter().zip(factors).collect();
        let (sums, bounds) = expected(&of_pairs, &x, &before);
        check(&y, &sums, &bounds)?;
    }

    #[test]
    fn a_row_is_the_same_bits_alone_and_among_others(seed in any::<u64>(), tokens in 1_usize..9) {
        let (rows, cols) = (21, 43);
        let mut random = Random(seed);
        let pairs = [3, 8, 5].map(|rank| pair(&mut random, rows, cols, rank));
        let mut adapters = adapters(&pairs);
        let stacks: Vec<Vec<(AdapterId, f32)>> = (0..tokens)
            .map(|_| {
                let bits = random.bits();
                // Any order, some twice over, some that are not kept.
                (0..bits % 4).map(|n| (AdapterId((bits >> (4 + 2 * n)) % 4), 0.5 + n as f32)).collect()
            })
            .collect();
        let x = numbers(&mut random, tokens * cols);
        let before = numbers(&mut random, tokens * rows);
        let mut y = before.clone();
        let all: Vec<_> = stacks.iter().map(Vec::as_slice).collect();
        adapters.add(SLOT, &all, &x, &mut y);
        for (token, stack) in stacks.iter().enumerate() {
            let mut alone = before[token * rows..][..rows].to_vec();
            adapters.add(SLOT, &[stack], &x[token * cols..][..cols], &mut alone);
            prop_assert_eq!(&alone, &y[token * rows..][..rows]);
        }
    }
}

#[test]
fn other_slots_and_empty_stacks_are_left_alone() {
    let mut random = Random(3);
    let mut adapters = adapters(&[pair(&mut random, 8, 8, 2)]);
    let x = numbers(&mut random, 8);
    let before = numbers(&mut random, 8);
    let mut y = before.clone();
    let stack = [(AdapterId(0), 1.0)];
    adapters.add(SLOT, &[&[]], &x, &mut y);
    adapters.add(Slot::Output, &[&stack], &x, &mut y);
    assert_eq!(y, before);
    adapters.add(SLOT, &[&stack], &x, &mut y);
    assert_ne!(y, before);
    adapters.remove(AdapterId(0));
    assert!(adapters.is_empty());
    y.clone_from(&before);
    adapters.add(SLOT, &[&stack], &x, &mut y);
    assert_eq!(y, before);
}

#[test]
fn numbers_of_bf16_take_half_the_bytes_and_give_the_same_bits() {
    let mut random = Random(9);
    let wide = pair(&mut random, 37, 61, 7);
    let short = |numbers: &[f32]| -> Vec<f32> {
        numbers
            .iter()
            .map(|it| half::bf16::from_f32(*it).to_f32())
            .collect()
    };
    let narrow = LoraPair {
        a: short(&wide.a),
        b: short(&wide.b),
        ..wide.clone()
    };
    // One number that BF16 does not have keeps a half in F32.
    let tiny = 1e-30 + f32::EPSILON * 1e-30;
    let mut spoilt = narrow.clone();
    spoilt.a.extend([tiny; 61]);
    spoilt.b = narrow
        .b
        .chunks_exact(7)
        .flat_map(|row| [row, &[0.0]].concat())
        .collect();
    spoilt.rank = 8;
    let packed = PackedPair::new(&narrow);
    assert_eq!(packed.a.bytes() + packed.b.bytes(), 2 * 7 * (64 + 40));
    let packed_wide = PackedPair::new(&spoilt);
    assert_eq!(packed_wide.a.bytes(), 4 * 8 * 64);
    let x = numbers(&mut random, 61);
    let before = numbers(&mut random, 37);
    let [mut y, mut y_wide] = [before.clone(), before];
    packed.add(0.7, &x, &mut y);
    packed_wide.add(0.7, &x, &mut y_wide);
    assert_eq!(y, y_wide);
}

#[test]
fn a_packed_adapter_takes_what_its_numbers_take() {
    let pairs = [pair(&mut Random(1), 64, 96, 6)];
    assert_eq!(adapters(&pairs).bytes(), pairs[0].bytes());
}

/// What an answer says must not depend on what was loaded before what.
#[test]
fn the_order_is_the_stacks_whatever_adapters_are_called() {
    let mut random = Random(17);
    let (rows, cols) = (40, 56);
    let pairs = [(); 2].map(|()| pair(&mut random, rows, cols, 8));
    let x = numbers(&mut random, cols);
    let before = numbers(&mut random, rows);
    let [forth, back] = [[0, 1], [1, 0]].map(|ids: [u32; 2]| {
        let [first, second] = ids.map(|id| &pairs[id as usize]);
        let mut adapters = adapters(&[first.clone(), second.clone()]);
        // The same pairs in the same order, under the other's id.
        let stack = ids.map(AdapterId);
        let mut y = before.clone();
        adapters.add(SLOT, &[&[(stack[0], 0.5), (stack[1], -1.5)]], &x, &mut y);
        y
    });
    assert_eq!(forth, back);
}

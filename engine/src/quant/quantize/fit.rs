//! The scale, and where there is one the minimum, with which a group loses least.

/// steps to either side of the scale that just spans a group; beyond a dozen the error stays.
const STEPS: i32 = 12;

/// codes; how much wider or narrower one step makes the span.
const STEP: f32 = 0.1;

/// A signed scale for codes `-n` to `n - 1`: the sum of `(w - scale * code)²` is the least of all
/// candidates. The weight of largest magnitude is near code `-n`.
pub(super) fn symmetric(weights: &[f32], n: f32) -> f32 {
    let largest = largest(weights);
    if largest == 0.0 {
        return 0.0;
    }
    let mut best = (f32::NEG_INFINITY, 0.0);
    for step in -STEPS..=STEPS {
        let inverse = -(n + STEP * step as f32) / largest;
        let (mut wq, mut qq) = (0.0_f32, 0.0_f32);
        for weight in weights {
            let code = (weight * inverse).round().clamp(-n, n - 1.0);
            wq += weight * code;
            qq += code * code;
        }
        best = better(best, wq, qq);
    }
    best.1
}

/// As [`symmetric`] for codes that stand for `levels`, which ascend from the largest magnitude.
pub(super) fn levels(weights: &[f32], levels: &[i8]) -> f32 {
    let largest = largest(weights);
    if largest == 0.0 {
        return 0.0;
    }
    let mut best = (f32::NEG_INFINITY, 0.0);
    for step in -STEPS..=STEPS {
        let inverse = (f32::from(levels[0]) + step as f32) / largest;
        let (mut wq, mut qq) = (0.0_f32, 0.0_f32);
        for weight in weights {
            let level = f32::from(levels[nearest(levels, weight * inverse)]);
            wq += weight * level;
            qq += level * level;
        }
        best = better(best, wq, qq);
    }
    best.1
}

/// `scale` and `min`, neither negative, for codes 0 to `top`: the sum of
/// `(w - (scale * code - min))²` is the least of all candidates.
pub(super) fn affine(weights: &[f32], top: f32) -> (f32, f32) {
    let least = weights.iter().fold(0.0_f32, |a, b| a.min(*b));
    let most = weights.iter().fold(least, |a, b| a.max(*b));
    if most == least {
        return (0.0, -least);
    }
    let mut best = (f32::INFINITY, 0.0, 0.0);
    for step in -STEPS..=STEPS {
        let inverse = (top + STEP * step as f32) / (most - least);
        let (scale, min) = regression(weights, |weight| {
            ((weight - least) * inverse).round().clamp(0.0, top)
        });
        let back = super::inverse(scale);
        let error: f32 = weights
            .iter()
            .map(|weight| {
                let code = ((weight + min) * back).round().clamp(0.0, top);
                (weight - (scale * code - min)).powi(2)
            })
            .sum();
        if error < best.0 {
            best = (error, scale, min);
        }
    }
    (best.1, best.2)
}

/// The line through `(code, weight)` that is nearest, with a `min` that is not negative.
fn regression(weights: &[f32], code: impl Fn(f32) -> f32) -> (f32, f32) {
    let n = weights.len() as f32;
    let (mut w, mut q, mut wq, mut qq) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
    for weight in weights {
        let code = code(*weight);
        w += weight;
        q += code;
        wq += weight * code;
        qq += code * code;
    }
    let spread = n * qq - q * q;
    let scale = (n * wq - w * q) / spread;
    let min = (q * wq - qq * w) / spread;
    if spread > 0.0 && min >= 0.0 {
        (scale.max(0.0), min)
    } else {
        (if qq > 0.0 { (wq / qq).max(0.0) } else { 0.0 }, 0.0)
    }
}

/// Index of the level that is nearest to `value`; `levels` ascend.
pub(super) fn nearest(levels: &[i8], value: f32) -> usize {
    let above = levels.partition_point(|level| f32::from(*level) < value);
    match (above.checked_sub(1), levels.get(above)) {
        (None, _) => 0,
        (Some(below), None) => below,
        (Some(below), Some(level)) => {
            let middle = (f32::from(levels[below]) + f32::from(*level)) / 2.0;
            if value < middle { below } else { above }
        }
    }
}

/// The weight of largest magnitude.
pub(super) fn largest(weights: &[f32]) -> f32 {
    weights
        .iter()
        .fold(0.0_f32, |a, b| if b.abs() > a.abs() { *b } else { a })
}

/// With the best scale for given codes, `wq / qq`, the error is `Σw² - wq²/qq`.
fn better(best: (f32, f32), wq: f32, qq: f32) -> (f32, f32) {
    let gain = wq * wq / qq;
    if qq > 0.0 && gain > best.0 {
        (gain, wq / qq)
    } else {
        best
    }
}

// Y[at] = biased and penalised: what a person asked to be changed about single logits, in place.
// Workgroup: 64 threads, one change each, no barrier. Dispatch: (changes / 64), rounded up.
const THREADS: u32 = 64u;
const EXPONENT: u32 = 0x7f800000u; // all ones in infinities and what is not a number
const LARGEST: f32 = 3.4028234e38;

struct Batch {
    changes: u32,
}

struct Change {
    // Place among the logits; no two are the same.
    at: u32,
    bias: f32,
    repetition: f32,
    penalty: f32,
}

@group(0) @binding(0) var<uniform> batch: Batch; // (1) word
@group(0) @binding(1) var<storage, read> changes: array<Change>; // (changes)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (tokens, cols)

fn finite(value: f32) -> f32 {
    return clamp(value, -LARGEST, LARGEST);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= batch.changes {
        return;
    }
    let change = changes[id.x];
    let value = y[change.at];
    if (bitcast<u32>(value) & EXPONENT) == EXPONENT {
        return; // draw_keys says so
    }
    let biased = finite(value + change.bias);
    var repeated = biased;
    if change.repetition != 1.0 {
        repeated = finite(select(biased * change.repetition, biased / change.repetition, biased > 0.0));
    }
    y[change.at] = finite(repeated - change.penalty);
}

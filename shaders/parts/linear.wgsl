// What every product with a weight matrix shares: its sizes, the rows of the batch, where sums go.
// With GATE the matrix holds the gate first and the other factor `gate_rows` rows below it:
//   y[t, r] = activation(W[r] . x[t]) * (W[r + gate_rows] . x[t]).
override GATE: u32 = 0u; // 0: none; 1: x * sigmoid(x); 2: gelu, tanh form

const THREADS: u32 = 64u;
// exp(80) is finite in f32, and x / (1 + exp(80)) is 0 to within 1e-32 for every activation that a
// model makes; WGSL leaves an overflowing exp unspecified.
const EXPONENT_CAP: f32 = 80.0;

struct Params {
    // Outputs: rows of W, or of its gate.
    rows: u32,
    // Blocks of weights in a row.
    blocks: u32,
    // Word of the scales at which those of groups of groups begin.
    supers_at: u32,
    // From the row of a gate to the row of its factor.
    gate_rows: u32,
    // Column of y in which row 0 ends.
    y_start: u32,
    // Columns of y.
    y_cols: u32,
    // 1: add to what y holds (the residual stream); 0: replace it.
    accumulate: u32,
}

struct Batch {
    // Rows of x and y that are in use.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (7) words
@group(0) @binding(1) var<uniform> batch: Batch; // (1) word
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (tokens, y_cols)

fn activated(x: f32) -> f32 {
    if GATE == 1u {
        return x / (1.0 + exp(min(-x, EXPONENT_CAP)));
    }
    // 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
    let u = 0.7978845608 * x * (1.0 + 0.044715 * x * x);
    return x / (1.0 + exp(clamp(-2.0 * u, -EXPONENT_CAP, EXPONENT_CAP)));
}

fn store(token: u32, row: u32, sum: f32, factor: f32) {
    if token >= batch.tokens || row >= params.rows {
        return;
    }
    let at = token * params.y_cols + params.y_start + row;
    var value = sum;
    if GATE != 0u {
        value = activated(sum) * factor;
    }
    if params.accumulate == 1u {
        value += y[at];
    }
    y[at] = value;
}

// Y[t, c] = X[t, c] * w[c] / sqrt(mean over c of X[t, c]^2 + epsilon).
// Workgroup: 64 threads share one token; one barrier, after which every thread adds the 64 partial
// sums itself: a tree would need six. Dispatch: (1, tokens); (1, 1) for the last token alone.
const WORKGROUP: u32 = 64u;

struct Params {
    cols: u32,
    epsilon: f32,
    // 1: normalise only the last token of the slice, into row 0; 0: every token.
    last_only: u32,
}

struct Slice {
    // Position of the first token of this slice in the sequence.
    start: u32,
    // Tokens in this slice.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (3) words
@group(0) @binding(1) var<uniform> slice: Slice; // (2) words
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (tokens, cols / 4)
@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>; // (cols / 4)
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // (tokens, cols / 4)

var<workgroup> partial: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let out_row = group.y;
    if out_row >= slice.tokens {
        return;
    }
    let quads = params.cols / 4u;
    let source = select(out_row, slice.tokens - 1u, params.last_only == 1u) * quads;
    let dest = out_row * quads;

    var squares = 0.0;
    for (var i = thread; i < quads; i += WORKGROUP) {
        squares += dot(x[source + i], x[source + i]);
    }
    partial[thread] = squares;
    workgroupBarrier();

    var total = 0.0;
    for (var i = 0u; i < WORKGROUP; i++) {
        total += partial[i];
    }
    let scale = 1.0 / sqrt(total / f32(params.cols) + params.epsilon);
    for (var i = thread; i < quads; i += WORKGROUP) {
        y[dest + i] = x[source + i] * scale * weight[i];
    }
}

// Y[t, h, c] = (X[t, h, c] - m) / sqrt(mean over c of (X[t, h, c] - m)^2 + epsilon) * gain[c] + bias[c],
// with m the mean of X[t, h] for a layer norm, and 0 (and no bias) for a root-mean-square norm.
// Workgroup: 64 threads share one head of one token (a whole row is one head); one barrier for each
// sum, after which every thread adds the 64 partial sums itself: a tree would need six.
// Dispatch: (heads, tokens).
override LAYER: bool = false; // true: take the mean away and add a bias

const THREADS: u32 = 64u;

struct Params {
    // Vectors of four columns in a head.
    quads: u32,
    // Where the heads of a row begin, and how far it is to the next row, in quads.
    x_start: u32,
    x_stride: u32,
    y_start: u32,
    y_stride: u32,
    epsilon: f32,
}

struct Batch {
    // Rows in use.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (6) words
@group(0) @binding(1) var<uniform> batch: Batch; // (1) word
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // (tokens, y_stride)
@group(0) @binding(3) var<storage, read> gain: array<vec4<f32>>; // (quads)
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>; // (quads); anything without LAYER

var<workgroup> partial: array<f32, THREADS>;

fn whole(thread: u32, share: f32) -> f32 {
    partial[thread] = share;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < THREADS; i++) {
        total += partial[i];
    }
    return total;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let quads = params.quads;
    let source = group.y * params.x_stride + params.x_start + group.x * quads;
    let dest = group.y * params.y_stride + params.y_start + group.x * quads;
    var mean = 0.0;
    if LAYER {
        var sum = vec4<f32>(0.0);
        for (var i = thread; i < quads; i += THREADS) {
            sum += quad(source + i);
        }
        mean = whole(thread, dot(sum, vec4<f32>(1.0))) / f32(4u * quads);
        // Every thread has read the sums before the squares take their place.
        workgroupBarrier();
    }
    var squares = 0.0;
    for (var i = thread; i < quads; i += THREADS) {
        let away = quad(source + i) - mean;
        squares += dot(away, away);
    }
    let scale = 1.0 / sqrt(whole(thread, squares) / f32(4u * quads) + params.epsilon);
    for (var i = thread; i < quads; i += THREADS) {
        var value = (quad(source + i) - mean) * scale * gain[i];
        if LAYER {
            value += bias[i];
        }
        y[dest + i] = value;
    }
}

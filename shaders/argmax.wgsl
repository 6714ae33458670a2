// ids[t] = the column of the largest Y[t, c], the first of equals; 2^32 - 1 where any is not finite.
// Workgroup: 64 threads share one row; one barrier, after which the first thread looks through what
// the others found. Dispatch: (1, tokens).
const THREADS: u32 = 64u;
const EXPONENT: u32 = 0x7f800000u; // all ones in infinities and what is not a number
const LOWEST: f32 = -3.4028234e38;
const NONE: u32 = 0xffffffffu;

struct Params {
    cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (1) word
@group(0) @binding(1) var<storage, read> y: array<f32>; // (tokens, cols)
@group(0) @binding(2) var<storage, read_write> ids: array<u32>; // (tokens)

struct Found {
    value: f32,
    col: u32,
    bad: u32,
}

var<workgroup> found: array<Found, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    var best = Found(LOWEST, NONE, 0u);
    for (var c = thread; c < params.cols; c += THREADS) {
        let value = y[group.y * params.cols + c];
        if (bitcast<u32>(value) & EXPONENT) == EXPONENT {
            best.bad = 1u;
        } else if value > best.value || best.col == NONE {
            best.value = value;
            best.col = c;
        }
    }
    found[thread] = best;
    workgroupBarrier();
    if thread != 0u {
        return;
    }
    for (var i = 1u; i < THREADS; i++) {
        let other = found[i];
        let is_first = other.value == best.value && other.col < best.col;
        if other.col != NONE && (other.value > best.value || is_first || best.col == NONE) {
            best.value = other.value;
            best.col = other.col;
        }
        best.bad |= other.bad;
    }
    ids[group.y] = select(best.col, NONE, best.bad == 1u);
}

// The activations of a batch in signed bytes, 32 columns to a scale:
//   scale = max |x| / 127; code = x / scale, rounded to nearest, halves away from zero.
// A block is three vectors: sixteen codes, sixteen more, and (scale, sum of the first sixteen codes,
// sum of the others, 0) as floats.
// Workgroup: 64 threads, one block each, no barrier. Dispatch: (blocks / 64, tokens), rounded up.
const THREADS: u32 = 64u;

struct Params {
    // Blocks of 32 columns in a row.
    blocks: u32,
}

struct Batch {
    // Rows of x and y that are in use.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (1) word
@group(0) @binding(1) var<uniform> batch: Batch; // (1) word
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (tokens, blocks, 8)
@group(0) @binding(3) var<storage, read_write> y: array<vec4<u32>>; // (tokens, blocks, 3)

fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}

fn rounded(v: vec4<f32>) -> vec4<i32> {
    return vec4<i32>(sign(v) * floor(abs(v) + vec4<f32>(0.5)));
}

fn packed(v: vec4<i32>) -> u32 {
    let bytes = bitcast<vec4<u32>>(v) & vec4<u32>(255u);
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.blocks || id.y >= batch.tokens {
        return;
    }
    let block = id.y * params.blocks + id.x;
    let at = 8u * block;
    var highest = 0.0;
    for (var i = 0u; i < 8u; i++) {
        highest = max(highest, largest(x[at + i]));
    }
    let scale = highest / 127.0;
    // Below it an inverse would not be finite; such a row is nothing beside any other.
    var inverse = 0.0;
    if scale > 1e-30 {
        inverse = 1.0 / scale;
    }
    var words = array<vec4<u32>, 2>();
    var sums = vec2<f32>(0.0);
    for (var half = 0u; half < 2u; half++) {
        let a = rounded(x[at + 4u * half] * inverse);
        let b = rounded(x[at + 4u * half + 1u] * inverse);
        let c = rounded(x[at + 4u * half + 2u] * inverse);
        let d = rounded(x[at + 4u * half + 3u] * inverse);
        words[half] = vec4<u32>(packed(a), packed(b), packed(c), packed(d));
        sums[half] = dot(vec4<f32>(a + b + c + d), vec4<f32>(1.0));
    }
    y[3u * block] = words[0];
    y[3u * block + 1u] = words[1];
    y[3u * block + 2u] = bitcast<vec4<u32>>(vec4<f32>(scale, sums, 0.0));
}

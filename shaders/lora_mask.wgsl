// H[t, r] = H[t, r] * strength[t, owner[r]]: what the adapters of each row have a say in, in place.
// Workgroup: 64 threads, one rank each, no barrier. Dispatch: (ranks / 64, tokens), rounded up.
const THREADS: u32 = 64u;

struct Params {
    // Ranks of all adapters together.
    ranks: u32,
    // Adapters that strength has a column for.
    adapters: u32,
}

struct Batch {
    // Rows in use.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (2) words
@group(0) @binding(1) var<uniform> batch: Batch; // (1) word
@group(0) @binding(2) var<storage, read_write> h: array<f32>; // (tokens, ranks)
@group(0) @binding(3) var<storage, read> owners: array<u32>; // (ranks)
@group(0) @binding(4) var<storage, read> strengths: array<f32>; // (tokens, adapters)

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.ranks || id.y >= batch.tokens {
        return;
    }
    h[id.y * params.ranks + id.x] *= strengths[id.y * params.adapters + owners[id.x]];
}

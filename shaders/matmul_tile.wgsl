// Y[t, r] = sum over c of W[r, c] * X[t, c]: many tokens, a tile of 32 rows and 32 tokens to a
// workgroup, four by four of it to a thread. Not for gates.
// Workgroup: 64 threads; 32 bring in a block of weights each, decoded once for all 32 tokens, the
// other 32 the inputs; two barriers for each block of columns. At most 9 KiB of workgroup memory.
// Dispatch: (rows / 32, tokens / 32), rounded up.
const TILE: u32 = 32u;
const SIDE: u32 = 8u; // threads along either side of the tile

var<workgroup> tile_weights: array<Weights, TILE>;
var<workgroup> tile_inputs: array<Inputs, TILE>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_row = group.x * TILE;
    let first_token = group.y * TILE;
    // Past the last row or token the last one is read again, and store drops the sum.
    let row_read = min(first_row + thread % TILE, params.rows - 1u) * params.blocks;
    let token_read = min(first_token + thread % TILE, batch.tokens - 1u) * params.blocks;
    let down = thread % SIDE;
    let across = thread / SIDE;
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    var c = vec4<f32>(0.0);
    var d = vec4<f32>(0.0);
    for (var i = 0u; i < params.blocks; i++) {
        if thread < TILE {
            tile_weights[thread] = weights_at(row_read + i);
        } else {
            tile_inputs[thread - TILE] = inputs_at(token_read + i);
        }
        workgroupBarrier();
        let x0 = tile_inputs[across];
        let x1 = tile_inputs[across + SIDE];
        let x2 = tile_inputs[across + 2u * SIDE];
        let x3 = tile_inputs[across + 3u * SIDE];
        let wa = tile_weights[down];
        a += vec4<f32>(product(wa, x0), product(wa, x1), product(wa, x2), product(wa, x3));
        let wb = tile_weights[down + SIDE];
        b += vec4<f32>(product(wb, x0), product(wb, x1), product(wb, x2), product(wb, x3));
        let wc = tile_weights[down + 2u * SIDE];
        c += vec4<f32>(product(wc, x0), product(wc, x1), product(wc, x2), product(wc, x3));
        let wd = tile_weights[down + 3u * SIDE];
        d += vec4<f32>(product(wd, x0), product(wd, x1), product(wd, x2), product(wd, x3));
        // Every thread has read the tile before the next takes its place.
        workgroupBarrier();
    }
    for (var j = 0u; j < 4u; j++) {
        let token = first_token + across + j * SIDE;
        store(token, first_row + down, a[j], 0.0);
        store(token, first_row + down + SIDE, b[j], 0.0);
        store(token, first_row + down + 2u * SIDE, c[j], 0.0);
        store(token, first_row + down + 3u * SIDE, d[j], 0.0);
    }
}

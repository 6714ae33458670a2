// Y[t, c] as keys in place, 0 where the token may not come; and the largest of each tile.
// Workgroup: 64 threads share one tile of a row, one barrier. Dispatch: (tiles, tokens).
const EXPONENT: u32 = 0x7f800000u; // all ones in infinities and what is not a number

struct Params {
    cols: u32,
    // Columns of a workgroup.
    tile: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (2) words
@group(0) @binding(1) var<storage, read> wishes: array<Wish>; // (tokens)
@group(0) @binding(2) var<storage, read> allowed: array<u32>; // (sets, cols / 32) rounded up
@group(0) @binding(3) var<storage, read_write> y: array<u32>; // (tokens, cols)
@group(0) @binding(4) var<storage, read_write> tiles: array<Tile>; // (tokens, tiles)

var<workgroup> tops: array<u32, THREADS>;
var<workgroup> bads: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first = wishes[group.y].allowed;
    let end = min((group.x + 1u) * params.tile, params.cols);
    var top = 0u;
    var bad = 0u;
    for (var c = group.x * params.tile + thread; c < end; c += THREADS) {
        let at = group.y * params.cols + c;
        let bits = y[at];
        bad |= u32((bits & EXPONENT) == EXPONENT);
        var key = key_of(bits);
        if first != ALL && ((allowed[first + c / 32u] >> (c % 32u)) & 1u) == 0u {
            key = 0u;
        }
        y[at] = key;
        top = max(top, key);
    }
    tops[thread] = top;
    bads[thread] = bad;
    workgroupBarrier();
    if thread != 0u {
        return;
    }
    for (var i = 1u; i < THREADS; i++) {
        top = max(top, tops[i]);
        bad |= bads[i];
    }
    let tile = group.y * groups.x + group.x;
    tiles[tile].top = top;
    tiles[tile].is_bad = bad;
}

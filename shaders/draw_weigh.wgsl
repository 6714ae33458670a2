// What the tokens of each tile weigh that may be drawn, and how many are at the cut.
// Workgroup: 64 threads share one tile of a row, one barrier. Dispatch: (tiles, tokens).
struct Params {
    cols: u32,
    // Columns of a workgroup.
    tile: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (2) words
@group(0) @binding(1) var<storage, read> wishes: array<Wish>; // (tokens)
@group(0) @binding(2) var<storage, read> states: array<State>; // (tokens)
@group(0) @binding(3) var<storage, read> keys: array<u32>; // (tokens, cols)
@group(0) @binding(4) var<storage, read_write> tiles: array<Tile>; // (tokens, tiles)

var<workgroup> sums: array<vec2<u32>, THREADS>;
var<workgroup> ties: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let wish = wishes[group.y];
    let state = states[group.y];
    let cut = cut_of(state);
    let end = min((group.x + 1u) * params.tile, params.cols);
    var sum = vec2<u32>(0u, 0u);
    var at_cut = 0u;
    for (var c = group.x * params.tile + thread; c < end; c += THREADS) {
        let key = keys[group.y * params.cols + c];
        if key > cut.x {
            sum = add(sum, weight(key, state.top, wish.temperature));
        }
        at_cut += u32(key == cut.x);
    }
    sums[thread] = sum;
    ties[thread] = at_cut;
    workgroupBarrier();
    if thread != 0u {
        return;
    }
    for (var i = 1u; i < THREADS; i++) {
        sum = add(sum, sums[i]);
        at_cut += ties[i];
    }
    let tile = group.y * groups.x + group.x;
    tiles[tile].ties = at_cut;
    tiles[tile].low = sum.x;
    tiles[tile].high = sum.y;
}

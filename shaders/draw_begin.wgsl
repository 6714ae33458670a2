// What is known of a row before its cut is looked for: the largest key, and what min-p keeps.
// Workgroup: 64 threads share one row, one barrier. Dispatch: (1, tokens).
struct Params {
    // Tiles of a row.
    tiles: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (1) word
@group(0) @binding(1) var<storage, read> wishes: array<Wish>; // (tokens)
@group(0) @binding(2) var<storage, read> tiles: array<Tile>; // (tokens, tiles)
@group(0) @binding(3) var<storage, read_write> states: array<State>; // (tokens)
@group(0) @binding(4) var<storage, read_write> bins: array<u32>; // (tokens, 2, BINS)

var<workgroup> tops: array<u32, THREADS>;
var<workgroup> bads: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    for (var i = thread; i < 2u * BINS; i += THREADS) {
        bins[group.y * 2u * BINS + i] = 0u;
    }
    var top = 0u;
    var bad = 0u;
    for (var i = thread; i < params.tiles; i += THREADS) {
        let tile = tiles[group.y * params.tiles + i];
        top = max(top, tile.top);
        bad |= tile.is_bad;
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
    let wish = wishes[group.y];
    var state = State(top, bad, 1u, 1u, ALL, 0u, vec2<u32>(wish.top_k, 0u));
    if wish.min_p <= 0.0 && top != 0u && bad == 0u {
        // -1e38 with what a logarithm can be is finite; nothing beside it weighs anything.
        let most = score_of(top);
        if most > -1e38 {
            state.lowest = key_of(bitcast<u32>(most + wish.min_p));
        }
    }
    if wish.temperature == 0.0 {
        state.cut = top;
        state.ties = 1u;
    }
    states[group.y] = state;
}

// ids[t] = the token at which the weights of those kept, by ascending id, reach the number that was
// drawn; 2^32 - 1 where a logit is not finite or no token may come.
// Workgroup: 64 threads share one row, three barriers. Dispatch: (1, tokens).
const MAX_TILES: u32 = 128u;

struct Params {
    cols: u32,
    // Columns of a tile, a multiple of 64.
    tile: u32,
    // Tiles of a row, at most MAX_TILES.
    tiles: u32,
    // Tokens chosen before in this submit.
    step: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (4) words
@group(0) @binding(1) var<storage, read> wishes: array<Wish>; // (tokens)
@group(0) @binding(2) var<storage, read> states: array<State>; // (tokens)
@group(0) @binding(3) var<storage, read> keys: array<u32>; // (tokens, cols)
@group(0) @binding(4) var<storage, read> tiles: array<Tile>; // (tokens, tiles)
@group(0) @binding(5) var<storage, read> drawn: array<u32>; // (steps, tokens) in 2^-32
@group(0) @binding(6) var<storage, read_write> ids: array<u32>; // (tokens)

// Weights above the cut and tokens at it, of tiles and then of pieces of one.
struct Part {
    sum: vec2<u32>,
    ties: u32,
}

// How far a walk along the tokens has come.
struct Walk {
    // What is still to be walked.
    left: vec2<u32>,
    // Tokens at the cut that are still kept.
    ties: u32,
    at: u32,
}

var<workgroup> parts: array<Part, MAX_TILES>;
var<workgroup> found: Walk;

fn weighs(part: Part, ties: u32, each: vec2<u32>) -> vec2<u32> {
    return add(part.sum, times(each, min(part.ties, ties)));
}

// Walks `count` parts, to the one in which `left` is reached.
fn walked(start: Walk, count: u32, each: vec2<u32>) -> Walk {
    var walk = start;
    for (var i = 0u; i < count; i++) {
        let here = weighs(parts[i], walk.ties, each);
        walk.at = i;
        if less(walk.left, here) {
            break;
        }
        walk.left = minus(walk.left, here);
        walk.ties -= min(parts[i].ties, walk.ties);
    }
    return walk;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = group.y;
    let state = states[row];
    let temperature = wishes[row].temperature;
    let cut = cut_of(state);
    let each = weight(cut.x, state.top, temperature);
    for (var i = thread; i < params.tiles; i += THREADS) {
        let tile = tiles[row * params.tiles + i];
        parts[i] = Part(vec2<u32>(tile.low, tile.high), tile.ties);
    }
    workgroupBarrier();
    if thread == 0u {
        var total = vec2<u32>(0u, 0u);
        var ties = cut.y;
        for (var i = 0u; i < params.tiles; i++) {
            total = add(total, weighs(parts[i], ties, each));
            ties -= min(parts[i].ties, ties);
        }
        let left = share(total, drawn[params.step * groups.y + row]);
        found = walked(Walk(left, cut.y, 0u), params.tiles, each);
    }
    workgroupBarrier();
    let walk = found;
    let piece = params.tile / THREADS;
    let begin = walk.at * params.tile + thread * piece;
    let end = min(begin + piece, params.cols);
    var own = Part(vec2<u32>(0u, 0u), 0u);
    for (var c = begin; c < end; c++) {
        let key = keys[row * params.cols + c];
        if key > cut.x {
            own.sum = add(own.sum, weight(key, state.top, temperature));
        }
        own.ties += u32(key == cut.x);
    }
    parts[thread] = own;
    workgroupBarrier();
    if thread != 0u {
        return;
    }
    var last = walked(walk, THREADS, each);
    var c = walk.at * params.tile + last.at * piece;
    let stop = min(c + piece, params.cols) - 1u;
    for (; c < stop; c++) {
        let key = keys[row * params.cols + c];
        var here = vec2<u32>(0u, 0u);
        if key > cut.x {
            here = weight(key, state.top, temperature);
        } else if key == cut.x && last.ties > 0u {
            here = each;
            last.ties -= 1u;
        }
        if less(last.left, here) {
            break;
        }
        last.left = minus(last.left, here);
    }
    ids[row] = select(c, ALL, state.is_bad == 1u || state.top == 0u);
}

// How many tokens, or what weight of tokens, has each value of one digit of its key, of those whose
// upper digits are the ones looked for. Tokens at a cut found before are left to draw_narrow.
// Workgroup: 64 threads share one tile of a row, two barriers. Dispatch: (tiles, tokens).
struct Params {
    cols: u32,
    // Columns of a workgroup.
    tile: u32,
    // Bits below the digit.
    shift: u32,
    // 1: weights are added up; 0: tokens are counted.
    by_weight: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (4) words
@group(0) @binding(1) var<storage, read> wishes: array<Wish>; // (tokens)
@group(0) @binding(2) var<storage, read> states: array<State>; // (tokens)
@group(0) @binding(3) var<storage, read> keys: array<u32>; // (tokens, cols)
@group(0) @binding(4) var<storage, read_write> bins: array<atomic<u32>>; // (tokens, 2, BINS)

var<workgroup> lows: array<atomic<u32>, BINS>;
var<workgroup> highs: array<atomic<u32>, BINS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    for (var i = thread; i < BINS; i += THREADS) {
        atomicStore(&lows[i], 0u);
        atomicStore(&highs[i], 0u);
    }
    workgroupBarrier();
    let wish = wishes[group.y];
    let state = states[group.y];
    let above = (ALL << params.shift) << 8u;
    let is_weight = params.by_weight == 1u;
    let is_asked = select(wish.top_k != 0u, wish.top_p != ALL, is_weight);
    let begin = group.x * params.tile;
    let end = select(begin, min(begin + params.tile, params.cols), is_asked);
    for (var c = begin + thread; c < end; c += THREADS) {
        let key = keys[group.y * params.cols + c];
        if key <= state.cut || (key & above) != state.prefix {
            continue;
        }
        let bin = (key >> params.shift) & 255u;
        var low = 1u;
        var high = 0u;
        if is_weight {
            let weighs = weight(key, state.top, 1.0);
            low = weighs.x;
            high = weighs.y;
        }
        let before = atomicAdd(&lows[bin], low);
        high += u32(before + low < before);
        if high != 0u {
            atomicAdd(&highs[bin], high);
        }
    }
    workgroupBarrier();
    for (var i = thread; i < BINS; i += THREADS) {
        let low = atomicLoad(&lows[i]);
        var high = atomicLoad(&highs[i]);
        let at = group.y * 2u * BINS + i;
        if low != 0u {
            let before = atomicAdd(&bins[at], low);
            high += u32(before + low < before);
        }
        if high != 0u {
            atomicAdd(&bins[at + BINS], high);
        }
    }
}

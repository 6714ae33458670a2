// One more digit of the key at which a row is cut: where the tokens from the largest key on first
// count, or weigh, what is wanted. The last digit makes it the cut.
// Workgroup: 64 threads share one row, four values of the digit each, one barrier.
// Dispatch: (1, tokens).
const EACH: u32 = BINS / THREADS;
const MOST_TIES: u32 = 1u << 20u; // more tokens than a vocabulary has

struct Params {
    // Bits below the digit.
    shift: u32,
    // 1: weights were added up; 0: tokens were counted.
    by_weight: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (2) words
@group(0) @binding(1) var<storage, read> wishes: array<Wish>; // (tokens)
@group(0) @binding(2) var<storage, read_write> states: array<State>; // (tokens)
@group(0) @binding(3) var<storage, read_write> bins: array<u32>; // (tokens, 2, BINS)

var<workgroup> values: array<vec2<u32>, BINS>;
var<workgroup> sums: array<vec2<u32>, THREADS>;

// How many tokens that weigh `each` weigh `wanted` together; one at least.
fn enough(each: vec2<u32>, wanted: vec2<u32>) -> u32 {
    var too_few = 0u;
    for (var step = MOST_TIES; step > 0u; step >>= 1u) {
        if less(times(each, too_few + step), wanted) {
            too_few += step;
        }
    }
    return too_few + 1u;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = group.y;
    let wish = wishes[row];
    var state = states[row];
    let is_weight = params.by_weight == 1u;
    let above = (ALL << params.shift) << 8u;
    let has_ties = is_weight && state.ties != ALL && (state.cut & above) == state.prefix;
    var sum = vec2<u32>(0u, 0u);
    for (var i = 0u; i < EACH; i++) {
        let bin = thread * EACH + i;
        let at = row * 2u * BINS + bin;
        var value = vec2<u32>(bins[at], bins[at + BINS]);
        bins[at] = 0u;
        bins[at + BINS] = 0u;
        if has_ties && ((state.cut >> params.shift) & 255u) == bin {
            value = add(value, times(weight(state.cut, state.top, 1.0), state.ties));
        }
        values[bin] = value;
        sum = add(sum, value);
    }
    sums[thread] = sum;
    workgroupBarrier();
    if thread != 0u || !select(wish.top_k != 0u, wish.top_p != ALL, is_weight) {
        return;
    }
    if is_weight && params.shift == 24u {
        var total = vec2<u32>(0u, 0u);
        for (var i = 0u; i < THREADS; i++) {
            total = add(total, sums[i]);
        }
        state.left = share(total, wish.top_p);
        if less(state.left, vec2<u32>(1u, 0u)) {
            state.left = vec2<u32>(1u, 0u); // the likeliest is always kept
        }
    }
    var part = THREADS - 1u;
    for (; part > 0u; part--) {
        if !less(sums[part], state.left) {
            break;
        }
        state.left = minus(state.left, sums[part]);
    }
    var digit = part * EACH + EACH - 1u;
    for (; digit > part * EACH; digit--) {
        if !less(values[digit], state.left) {
            break;
        }
        state.left = minus(state.left, values[digit]);
    }
    state.prefix |= digit << params.shift;
    if params.shift == 0u {
        state.ties = state.left.x;
        if is_weight {
            state.ties = enough(weight(state.prefix, state.top, 1.0), state.left);
        }
        state.cut = max(state.prefix, 1u);
        state.prefix = 0u;
    }
    states[row] = state;
}

// Scale and offset of a group of weights: weight = scale * (code - ZERO) + offset.
// SCALES 0: an f16 scale for each group, two to a word, no offset.
// SCALES 1: an f16 scale and an f16 offset for each group, in a word.
// SCALES 2: a signed byte and an unsigned one for each group, two groups to a word; the bytes times
//   the two f32 of their 256 columns, which begin at word `supers_at`, are scale and offset.
override SCALES: u32 = 0u;
override GROUP: u32 = 32u; // columns that share a scale: 32 or 16
override ZERO: f32 = 0.0; // the code that means 0

const SUPER_COLS: u32 = 256u;

@group(0) @binding(5) var<storage, read> scales: array<u32>; // (rows * cols / GROUP) of 1/2 or 1 word

fn scale_of(group: u32, supers_at: u32) -> vec2<f32> {
    if SCALES == 0u {
        let pair = unpack2x16float(scales[group / 2u]);
        return vec2<f32>(select(pair.x, pair.y, (group & 1u) == 1u), 0.0);
    }
    if SCALES == 1u {
        return unpack2x16float(scales[group]);
    }
    let bytes = scales[group / 2u] >> (16u * (group & 1u));
    let factors = vec2<f32>(f32(bitcast<i32>(bytes << 24u) >> 24u), f32((bytes >> 8u) & 255u));
    let at = supers_at + 2u * (group / (SUPER_COLS / GROUP));
    return vec2<f32>(bitcast<f32>(scales[at]), bitcast<f32>(scales[at + 1u])) * factors;
}

// Scale and offset of the first 16 columns of a block, then of its last 16.
fn block_scales(block: u32, supers_at: u32) -> vec4<f32> {
    if GROUP == 32u {
        let both = scale_of(block, supers_at);
        return vec4<f32>(both, both);
    }
    return vec4<f32>(scale_of(2u * block, supers_at), scale_of(2u * block + 1u, supers_at));
}

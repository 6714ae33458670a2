// A cache of f16, two to a word: `at` counts heads of slots.
@group(0) @binding(5) var<storage, read> keys: array<vec2<u32>>; // (slots, kv_heads, quads) of four halves
@group(0) @binding(6) var<storage, read> cached_values: array<vec2<u32>>; // (slots, kv_heads, quads) of four halves

fn key(at: u32, quads: u32, i: u32) -> vec4<f32> {
    let pair = keys[at * quads + i];
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}

fn value(at: u32, quads: u32, i: u32) -> vec4<f32> {
    let pair = cached_values[at * quads + i];
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}

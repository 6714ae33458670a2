// A cache of f16, two to a word: `at` counts heads of slots.
@group(0) @binding(5) var<storage, read_write> keys: array<vec2<u32>>; // (slots, kv_heads, quads) of four halves
@group(0) @binding(6) var<storage, read_write> cached_values: array<vec2<u32>>; // (slots, kv_heads, quads) of four halves

// Channels that one thread writes, in quads.
const STRIP: u32 = 1u;
// The largest finite f16: beyond it WGSL leaves the result open.
const LARGEST: f32 = 65504.0;

fn halves(values: vec4<f32>) -> vec2<u32> {
    let held = clamp(values, vec4<f32>(-LARGEST), vec4<f32>(LARGEST));
    return vec2<u32>(pack2x16float(held.xy), pack2x16float(held.zw));
}

fn write_strip(at: u32, quads: u32, strip: u32, key_at: u32, value_at: u32) {
    keys[at * quads + strip] = halves(k[key_at + strip]);
    cached_values[at * quads + strip] = halves(v[value_at + strip]);
}

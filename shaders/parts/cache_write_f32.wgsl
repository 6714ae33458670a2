// A cache of f32: `at` counts heads of slots.
@group(0) @binding(5) var<storage, read_write> keys: array<vec4<f32>>; // (slots, kv_heads, quads)
@group(0) @binding(6) var<storage, read_write> cached_values: array<vec4<f32>>; // (slots, kv_heads, quads)

// Channels that one thread writes, in quads.
const STRIP: u32 = 1u;

fn write_strip(at: u32, quads: u32, strip: u32, key_at: u32, value_at: u32) {
    keys[at * quads + strip] = k[key_at + strip];
    cached_values[at * quads + strip] = v[value_at + strip];
}

// A cache of f32: `at` counts heads of slots.
@group(0) @binding(5) var<storage, read> keys: array<vec4<f32>>; // (slots, kv_heads, quads)
@group(0) @binding(6) var<storage, read> cached_values: array<vec4<f32>>; // (slots, kv_heads, quads)

fn key(at: u32, quads: u32, i: u32) -> vec4<f32> {
    return keys[at * quads + i];
}

fn value(at: u32, quads: u32, i: u32) -> vec4<f32> {
    return cached_values[at * quads + i];
}

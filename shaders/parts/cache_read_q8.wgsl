// A cache of signed bytes, four to a word, and behind the words of a head one f32 scale for every
// eight of them: `at` counts heads of slots.
@group(0) @binding(5) var<storage, read> keys: array<u32>; // (slots, kv_heads, quads + scales)
@group(0) @binding(6) var<storage, read> cached_values: array<u32>; // (slots, kv_heads, quads + scales)

fn bytes(word: u32) -> vec4<f32> {
    let high = bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u));
    return vec4<f32>(high >> vec4<u32>(24u));
}

fn key(at: u32, quads: u32, i: u32) -> vec4<f32> {
    let head = at * (quads + (quads + 7u) / 8u);
    return bytes(keys[head + i]) * bitcast<f32>(keys[head + quads + i / 8u]);
}

fn value(at: u32, quads: u32, i: u32) -> vec4<f32> {
    let head = at * (quads + (quads + 7u) / 8u);
    return bytes(cached_values[head + i]) * bitcast<f32>(cached_values[head + quads + i / 8u]);
}

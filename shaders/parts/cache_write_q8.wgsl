// A cache of signed bytes, four to a word, and behind the words of a head one f32 scale for every
// eight of them: `at` counts heads of slots.
//   scale = max |x| / 127; byte = x / scale, rounded to nearest, halves away from zero.
@group(0) @binding(5) var<storage, read_write> keys: array<u32>; // (slots, kv_heads, quads + scales)
@group(0) @binding(6) var<storage, read_write> cached_values: array<u32>; // (slots, kv_heads, quads + scales)

// Channels that one thread writes, in quads: all that share a scale.
const STRIP: u32 = 8u;

fn largest(v: vec4<f32>) -> f32 {
    let a = abs(v);
    return max(max(a.x, a.y), max(a.z, a.w));
}

// Below it the inverse of a scale would not be finite; such channels are nothing beside any other.
fn inverse_of(scale: f32) -> f32 {
    if scale > 1e-30 {
        return 1.0 / scale;
    }
    return 0.0;
}

fn packed(v: vec4<f32>) -> u32 {
    let rounded = vec4<i32>(sign(v) * floor(abs(v) + vec4<f32>(0.5)));
    let bytes = bitcast<vec4<u32>>(rounded) & vec4<u32>(255u);
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}

fn write_strip(at: u32, quads: u32, strip: u32, key_at: u32, value_at: u32) {
    let head = at * (quads + (quads + 7u) / 8u);
    let first = strip * STRIP;
    let last = min(first + STRIP, quads);
    var highest = vec2<f32>(0.0);
    for (var i = first; i < last; i++) {
        highest = max(highest, vec2<f32>(largest(k[key_at + i]), largest(v[value_at + i])));
    }
    let scale = highest / 127.0;
    let inverse = vec2<f32>(inverse_of(scale.x), inverse_of(scale.y));
    for (var i = first; i < last; i++) {
        keys[head + i] = packed(k[key_at + i] * inverse.x);
        cached_values[head + i] = packed(v[value_at + i] * inverse.y);
    }
    keys[head + quads + strip] = bitcast<u32>(scale.x);
    cached_values[head + quads + strip] = bitcast<u32>(scale.y);
}

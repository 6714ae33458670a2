// Codes as floats, their zero taken away.
fn values(word: u32) -> vec4<f32> {
    let high = bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u));
    return vec4<f32>(high >> vec4<u32>(24u)) - vec4<f32>(ZERO);
}

fn four_values(words: vec4<u32>) -> mat4x4<f32> {
    return mat4x4<f32>(values(words.x), values(words.y), values(words.z), values(words.w));
}

// What is multiplied at a time: four columns and four more, as floats.
struct Pair {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Four signed bytes.
fn bytes(word: u32) -> vec4<f32> {
    let high = bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u));
    return vec4<f32>(high >> vec4<u32>(24u));
}

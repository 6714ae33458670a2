// A norm from one buffer into another.
@group(0) @binding(5) var<storage, read> x: array<vec4<f32>>; // (tokens, x_stride)

fn quad(at: u32) -> vec4<f32> {
    return x[at];
}

// A norm of a buffer in place.
fn quad(at: u32) -> vec4<f32> {
    return y[at];
}

// Codes of 32 columns in 32 signed bytes.
@group(0) @binding(4) var<storage, read> codes: array<vec4<u32>>; // (rows, cols / 16), four signed bytes to a word

struct Codes {
    low: vec4<u32>, // columns 0..16, a signed byte each
    high: vec4<u32>, // columns 16..32
}

fn codes_at(block: u32) -> Codes {
    return Codes(codes[2u * block], codes[2u * block + 1u]);
}

// Codes of 32 columns in 16 bytes: byte i holds column i in its low nibble and column 16 + i above.
@group(0) @binding(4) var<storage, read> codes: array<vec4<u32>>; // (rows, cols / 32), eight nibbles to a word

struct Codes {
    low: vec4<u32>, // columns 0..16, a signed byte each
    high: vec4<u32>, // columns 16..32
}

fn codes_at(block: u32) -> Codes {
    let q = codes[block];
    let nibble = vec4<u32>(0x0f0f0f0fu);
    return Codes(q & nibble, (q >> vec4<u32>(4u)) & nibble);
}

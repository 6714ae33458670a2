// What every gather from a table of embeddings shares.
struct Params {
    // Rows of the table in this buffer, and the number of the first; other rows are left alone.
    rows: u32,
    first_row: u32,
    // Blocks of columns in a row.
    blocks: u32,
    // What names the row: 0: the token; 1: its position; 2: nothing, it is row 0.
    key: u32,
    // Word of the scales at which those of groups of groups begin.
    supers_at: u32,
    // 1: add to what hidden holds; 0: replace it.
    accumulate: u32,
    // Embeddings are multiplied by this.
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params; // (7) words
@group(0) @binding(2) var<storage, read_write> hidden: array<vec4<f32>>; // (tokens, cols / 4)

// The row of the table in this buffer, or one that it does not have.
fn source(token: u32) -> u32 {
    let row = rows[token];
    return select(select(0u, row.position, params.key == 1u), row.token, params.key == 0u) - params.first_row;
}

fn put(at: u32, values: vec4<f32>) {
    let scaled = values * params.scale;
    if params.accumulate == 1u {
        hidden[at] += scaled;
    } else {
        hidden[at] = scaled;
    }
}

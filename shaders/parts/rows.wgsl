// The rows of a batch: which token stands where in which sequence.
struct Batch {
    // Rows in use.
    tokens: u32,
}

struct Row {
    token: u32,
    position: u32,
    // Where the pages of its sequence begin in the page table.
    table: u32,
    // Positions of its sequence that it may see: those below.
    end: u32,
}

@group(0) @binding(1) var<uniform> batch: Batch; // (1) word
@group(0) @binding(3) var<storage, read> rows: array<Row>; // (tokens)

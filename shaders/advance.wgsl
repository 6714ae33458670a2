// Makes what was chosen the next token of every row, one position on, and keeps it for the CPU.
// Workgroup: 64 threads, one row each, no barrier. Dispatch: (tokens / 64), rounded up.
const THREADS: u32 = 64u;
const NONE: u32 = 0xffffffffu; // nothing could be chosen

struct Params {
    // Tokens chosen before in this submit.
    step: u32,
}

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

@group(0) @binding(0) var<uniform> params: Params; // (1) word
@group(0) @binding(1) var<uniform> batch: Batch; // (1) word
@group(0) @binding(2) var<storage, read> ids: array<u32>; // (tokens)
@group(0) @binding(3) var<storage, read_write> rows: array<Row>; // (tokens)
@group(0) @binding(4) var<storage, read_write> record: array<u32>; // (steps, tokens)

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= batch.tokens {
        return;
    }
    let token = ids[id.x];
    record[params.step * batch.tokens + id.x] = token;
    rows[id.x].token = select(token, 0u, token == NONE);
    rows[id.x].position += 1u;
    rows[id.x].end += 1u;
}

// Where positions of a sequence lie in the cache: in pages of 32, listed in a table.
const PAGE_LEN: u32 = 32u;

@group(0) @binding(4) var<storage, read> pages: array<u32>; // (page table of every sequence)

fn slot_of(row: Row, position: u32) -> u32 {
    return pages[row.table + position / PAGE_LEN] * PAGE_LEN + position % PAGE_LEN;
}

//! The matrix kernel, written once: eight rows by up to four tokens at a time, over any vectors.
//!
//! A tile keeps the integer sums of a group and the running outputs in registers; a panel's codes
//! are unpacked once for the tokens of a tile. A panel is used for every token before the next one
//! is read, so weights come from memory once and activations from the second-level cache.
#![allow(
    clippy::needless_range_loop,
    reason = "one index into several arrays, which unrolls into registers"
)]
#![allow(
    unsafe_code,
    reason = "kernels read panels through pointers: the relaxed module has no slices to be given"
)]

use super::job::{Job, Mark, NIBBLE, PANEL_ROWS, SEVEN, VECTOR_BYTES, WIDE, record_bytes};

/// Eight lanes of a machine, one for each row of a panel.
///
/// # Safety
/// Pointers given to the methods are readable (or writable) for 32 bytes of codes or eight floats
/// and for four activations; the machine has the instructions that the implementation uses.
pub(super) unsafe trait Vectors: Copy {
    /// How an activation is stored.
    type Input: Copy;
    /// Eight rows by four columns of codes.
    type Codes: Copy;
    /// Four activations, for every row.
    type Inputs: Copy;
    /// Four activations as they meet [`WIDE`] codes.
    type WideInputs: Copy;
    /// Eight exact sums, in whatever parts suit the machine.
    type Sums: Copy;
    /// Eight floats.
    type Floats: Copy;

    /// The activations of a token.
    unsafe fn row(job: &Job, token: usize) -> *const Self::Input;
    /// Sums that begin at `bias`.
    unsafe fn start(bias: i32) -> Self::Sums;
    /// What sums of [`WIDE`] codes begin at, for activations that add up to `sum`.
    unsafe fn wide_bias(sum: i32) -> i32;
    /// Reads codes.
    unsafe fn codes(at: *const u8) -> Self::Codes;
    /// Reads codes that span a signed byte.
    unsafe fn wide_codes(at: *const u8) -> Self::Codes;
    /// Low halves, then high halves.
    unsafe fn nibbles(codes: Self::Codes) -> (Self::Codes, Self::Codes);
    /// Reads four activations.
    unsafe fn inputs(at: *const Self::Input) -> Self::Inputs;
    /// Reads four activations for [`Vectors::wide_dot`].
    unsafe fn wide_inputs(at: *const Self::Input) -> Self::WideInputs;
    /// Adds four products to every row's sum; codes are 0 to 127.
    unsafe fn dot(sums: Self::Sums, codes: Self::Codes, inputs: Self::Inputs) -> Self::Sums;
    /// Adds four products to every row's sum; codes come from [`Vectors::wide_codes`].
    unsafe fn wide_dot(
        sums: Self::Sums,
        codes: Self::Codes,
        inputs: Self::WideInputs,
    ) -> Self::Sums;
    /// The sums as floats; they are below 2^24 and so exact.
    unsafe fn floats(sums: Self::Sums) -> Self::Floats;
    /// The same float for every row.
    unsafe fn splat(value: f32) -> Self::Floats;
    /// Reads eight floats.
    unsafe fn load(at: *const f32) -> Self::Floats;
    /// Writes eight floats.
    unsafe fn store(at: *mut f32, floats: Self::Floats);
    /// `a * b`, rounded.
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a + b`, rounded.
    unsafe fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats;
}

/// Runs a job.
///
/// # Safety
/// Every pointer of the job is good for the extent that its field states, and the machine has the
/// instructions of `V`.
#[inline(always)]
pub(super) unsafe fn run<V: Vectors>(job: &Job) {
    // SAFETY: the caller's promises are those of `panels`.
    unsafe {
        match (job.codes, job.group_len, job.offsets) {
            (NIBBLE, 32, 0) => panels::<V, NIBBLE, 32, false>(job),
            (NIBBLE, 32, _) => panels::<V, NIBBLE, 32, true>(job),
            (NIBBLE, _, 0) => panels::<V, NIBBLE, 16, false>(job),
            (NIBBLE, _, _) => panels::<V, NIBBLE, 16, true>(job),
            (SEVEN, 32, 0) => panels::<V, SEVEN, 32, false>(job),
            (SEVEN, 32, _) => panels::<V, SEVEN, 32, true>(job),
            (SEVEN, _, _) => panels::<V, SEVEN, 16, false>(job),
            (_, _, _) => panels::<V, WIDE, 32, false>(job),
        }
    }
}

/// Runs a job of one kind.
///
/// # Safety
/// As for [`run`], with a job of that kind.
#[inline(always)]
pub(super) unsafe fn panels<V: Vectors, const CODES: u32, const LEN: usize, const OFFSETS: bool>(
    job: &Job,
) {
    let panel_bytes = job.n_groups * const { record_bytes(CODES, LEN, OFFSETS) };
    for panel in 0..job.n_panels {
        let row = panel * PANEL_ROWS;
        let mut token = 0;
        // SAFETY: panels, tokens and rows stay below the job's counts.
        unsafe {
            let at = job.panels.add(panel * panel_bytes);
            while token + 4 <= job.n_tokens {
                tile::<V, CODES, LEN, OFFSETS, 4>(job, at, row, token);
                token += 4;
            }
            if token + 2 <= job.n_tokens {
                tile::<V, CODES, LEN, OFFSETS, 2>(job, at, row, token);
                token += 2;
            }
            if token < job.n_tokens {
                tile::<V, CODES, LEN, OFFSETS, 1>(job, at, row, token);
            }
        }
    }
}

/// One panel times `T` tokens.
#[inline(always)]
unsafe fn tile<
    V: Vectors,
    const CODES: u32,
    const LEN: usize,
    const OFFSETS: bool,
    const T: usize,
>(
    job: &Job,
    panel: *const u8,
    row: usize,
    token: usize,
) {
    // SAFETY: the panel has `n_groups` records and each token `n_groups` groups of activations.
    unsafe {
        let mut outputs = [V::splat(0.0); T];
        let mut inputs = [V::row(job, token); T];
        let mut marks = [job.marks.add(token * job.n_groups); T];
        for t in 1..T {
            inputs[t] = V::row(job, token + t);
            marks[t] = job.marks.add((token + t) * job.n_groups);
        }
        let mut record = panel;
        for _ in 0..job.n_groups {
            let sums = group::<V, CODES, LEN, T>(
                record.add(VECTOR_BYTES * (1 + OFFSETS as usize)),
                job.zero_point,
                &inputs,
                &marks,
            );
            let scales = V::load(record.cast());
            for t in 0..T {
                let Mark { scale, sum } = *marks[t];
                let scale = V::splat(scale);
                let product = V::mul(V::mul(scales, scale), V::floats(sums[t]));
                outputs[t] = V::add(outputs[t], product);
                if OFFSETS {
                    let offsets = V::load(record.add(VECTOR_BYTES).cast());
                    let product = V::mul(V::mul(offsets, scale), V::splat(sum as f32));
                    outputs[t] = V::add(outputs[t], product);
                }
                inputs[t] = inputs[t].add(LEN);
                marks[t] = marks[t].add(1);
            }
            record = record.add(const { record_bytes(CODES, LEN, OFFSETS) });
        }
        for t in 0..T {
            let to = job.outputs.add((token + t) * job.output_stride + row);
            store::<V>(to, job.n_rows - row, job.tail, outputs[t]);
        }
    }
}

/// The exact sums of one record for `T` tokens.
#[inline(always)]
unsafe fn group<V: Vectors, const CODES: u32, const LEN: usize, const T: usize>(
    mut codes: *const u8,
    zero_point: i32,
    inputs: &[*const V::Input; T],
    marks: &[*const Mark; T],
) -> [V::Sums; T] {
    // SAFETY: a record has `LEN` columns of codes, a group of a token `LEN` activations.
    unsafe {
        let mut sums = [V::start(0); T];
        for t in 0..T {
            let sum = (*marks[t]).sum;
            sums[t] = V::start(match CODES {
                WIDE => V::wide_bias(sum),
                _ => sum * -zero_point,
            });
        }
        let mut col = 0;
        while col < LEN {
            match CODES {
                NIBBLE => {
                    let (low, high) = V::nibbles(V::codes(codes));
                    for t in 0..T {
                        sums[t] = V::dot(sums[t], low, V::inputs(inputs[t].add(col)));
                        sums[t] = V::dot(sums[t], high, V::inputs(inputs[t].add(col + 4)));
                    }
                    col += 8;
                }
                SEVEN => {
                    let codes = V::codes(codes);
                    for t in 0..T {
                        sums[t] = V::dot(sums[t], codes, V::inputs(inputs[t].add(col)));
                    }
                    col += 4;
                }
                _ => {
                    let codes = V::wide_codes(codes);
                    for t in 0..T {
                        sums[t] = V::wide_dot(sums[t], codes, V::wide_inputs(inputs[t].add(col)));
                    }
                    col += 4;
                }
            }
            codes = codes.add(VECTOR_BYTES);
        }
        sums
    }
}

/// Writes the outputs of a panel with `n_rows` rows left, without those of padding rows.
///
/// # Safety
/// The first `n_rows` floats, up to eight, are writable at `to`, and eight at `tail`.
#[inline(always)]
pub(super) unsafe fn store<V: Vectors>(
    to: *mut f32,
    n_rows: usize,
    tail: *mut f32,
    outputs: V::Floats,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if n_rows >= PANEL_ROWS {
            V::store(to, outputs);
            return;
        }
        V::store(tail, outputs);
        for lane in 0..n_rows {
            // Volatile, so that no call to a `memcpy` is made of it.
            to.add(lane).write_volatile(*tail.add(lane));
        }
    }
}

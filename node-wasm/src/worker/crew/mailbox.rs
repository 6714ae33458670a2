//! The piece of shared memory between a leader and its members: what is ordered, what is multiplied,
//! and what comes of it.
//!
//! One order at a time. The leader writes it, then raises the order number of each member that is to
//! do it; a member writes its outputs, then raises its done number to the same. Both numbers are read
//! and written by `Atomics`, which makes everything written before them seen after them. Whoever
//! waits looks again and again for a while and then sleeps; it says so first, so that a call to wake
//! it is made only then. How long it looks is learned ([`Looks`]).

use super::super::clock::now_ms;
use std::cell::Cell;

use js_sys::{Float32Array, Int32Array, SharedArrayBuffer};
use thrum_engine::cpu::crew::{Looks, MAX_TOGETHER, MatrixId, Patience, Room};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// Words in a line of the cache: what one side writes shares none with what the other waits for.
const LINE: u32 = 16;

/// bytes of a word.
const WORD_BYTES: u32 = 4;

/// floats; room for the reason that a member fails with.
const MIN_OUTPUT_FLOATS: usize = 256;

/// Words of the order, in the first line.
mod order {
    /// 0: multiply; 1: give rows.
    pub(super) const KIND: u32 = 0;
    /// Vectors, or rows.
    pub(super) const TOKENS: u32 = 1;
    pub(super) const COLS: u32 = 2;
    /// Matrices that follow.
    pub(super) const MATRICES: u32 = 3;
    pub(super) const FIRST_MATRIX: u32 = 4;
}

/// Words of a member, in two lines of its own.
mod word {
    use super::LINE;

    /// Number of the last order; the member waits for it to change.
    pub(super) const ORDER: u32 = 0;
    /// 1 while the leader sleeps.
    pub(super) const LEADER_SLEEPS: u32 = 1;
    /// 1 once the member is to leave: a browser gives one that computes two seconds more.
    pub(super) const ENDED: u32 = 2;
    /// Number of the last order that is done; the leader waits for it to change.
    pub(super) const DONE: u32 = LINE;
    /// 1 while the member sleeps.
    pub(super) const MEMBER_SLEEPS: u32 = LINE + 1;
    /// Matrices multiplied so far.
    pub(super) const BEAT: u32 = LINE + 2;
    /// Bytes of the reason that the member failed with, and 1.
    pub(super) const FAILED: u32 = LINE + 3;
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = Atomics, js_name = load)]
    fn atomic_load(words: &Int32Array, at: u32) -> i32;

    #[wasm_bindgen(js_namespace = Atomics, js_name = store)]
    fn atomic_store(words: &Int32Array, at: u32, value: i32) -> i32;

    #[wasm_bindgen(js_namespace = Atomics, js_name = notify)]
    fn atomic_notify(words: &Int32Array, at: u32) -> u32;

    #[wasm_bindgen(js_namespace = Atomics, js_name = wait)]
    fn atomic_wait(words: &Int32Array, at: u32, value: i32) -> JsValue;

    #[wasm_bindgen(js_namespace = Atomics, js_name = wait)]
    fn atomic_wait_for(words: &Int32Array, at: u32, value: i32, timeout_ms: f64) -> JsValue;
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    Multiply {
        matrices: Vec<MatrixId>,
        tokens: usize,
        cols: usize,
    },
    Rows {
        matrix: MatrixId,
        rows: usize,
    },
}

/// Why a leader waits no longer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Failed(String),
    Nothing,
}

/// One side's view of it.
#[derive(Debug)]
pub(super) struct Mailbox {
    memory: SharedArrayBuffer,
    words: Int32Array,
    inputs: Float32Array,
    /// the same memory, for the numbers of rows
    numbers: Int32Array,
    /// of each member
    outputs: Vec<Float32Array>,
    looks: Cell<Looks>,
}

impl Mailbox {
    /// A mailbox for so many members.
    ///
    /// # Errors
    /// What the browser throws where there is no memory for it.
    pub(super) fn new(members: usize, room: Room) -> Result<Self, JsValue> {
        let Room {
            input_floats,
            output_floats,
        } = padded(room);
        let floats = input_floats + members * output_floats;
        let bytes = u32::try_from(first_word(members) as usize + floats)
            .ok()
            .and_then(|words| words.checked_mul(WORD_BYTES));
        let bytes = bytes.ok_or("the mailbox would be larger than the memory")?;
        // The constructor throws, and its binding does not say so.
        let global = js_sys::global();
        let constructor = js_sys::Reflect::get(&global, &"SharedArrayBuffer".into())?;
        let arguments = js_sys::Array::of1(&bytes.into());
        let memory = js_sys::Reflect::construct(&constructor.into(), &arguments)?;
        Ok(Self::over(memory.into(), members, room))
    }

    /// A view of one that is there.
    pub(super) fn over(memory: SharedArrayBuffer, members: usize, room: Room) -> Self {
        let room = padded(room);
        let first_byte = first_word(members) * WORD_BYTES;
        let (input_floats, output_floats) = (room.input_floats as u32, room.output_floats as u32);
        let output = |member: u32| {
            let at = first_byte + (input_floats + member * output_floats) * WORD_BYTES;
            Float32Array::new_with_byte_offset_and_length(&memory, at, output_floats)
        };
        Self {
            words: Int32Array::new(&memory),
            inputs: Float32Array::new_with_byte_offset_and_length(
                &memory,
                first_byte,
                input_floats,
            ),
            numbers: Int32Array::new_with_byte_offset_and_length(&memory, first_byte, input_floats),
            outputs: (0..members as u32).map(output).collect(),
            memory,
            looks: Cell::default(),
        }
    }

    /// What members are to be sent.
    pub(super) fn memory(&self) -> &SharedArrayBuffer {
        &self.memory
    }

    /// Writes an order to multiply.
    pub(super) fn write_products(&self, matrices: &[MatrixId], x: &[f32], cols: usize) {
        assert!(matrices.len() <= MAX_TOGETHER, "the order has a line");
        self.put(order::KIND, 0);
        self.put(order::TOKENS, (x.len() / cols) as i32);
        self.put(order::COLS, cols as i32);
        self.put(order::MATRICES, matrices.len() as i32);
        for (at, matrix) in (order::FIRST_MATRIX..).zip(matrices) {
            self.put(at, matrix.0.cast_signed());
        }
        self.inputs.subarray(0, x.len() as u32).copy_from(x);
    }

    /// Writes an order to give rows.
    pub(super) fn write_rows(&self, matrix: MatrixId, rows: &[u32]) {
        self.put(order::KIND, 1);
        self.put(order::TOKENS, rows.len() as i32);
        self.put(order::MATRICES, 1);
        self.put(order::FIRST_MATRIX, matrix.0.cast_signed());
        let numbers = self.numbers.subarray(0, rows.len() as u32);
        let rows: Vec<i32> = rows.iter().map(|row| row.cast_signed()).collect();
        numbers.copy_from(&rows);
    }

    /// Tells a member that the order is there; gives its number.
    pub(super) fn raise(&self, member: usize) -> i32 {
        let number = self.get(at(member, word::ORDER)).wrapping_add(1);
        self.put(at(member, word::ORDER), number);
        if self.get(at(member, word::MEMBER_SLEEPS)) != 0 {
            atomic_notify(&self.words, at(member, word::ORDER));
        }
        number
    }

    /// Tells a member to leave.
    pub(super) fn end(&self, member: usize) {
        self.put(at(member, word::ENDED), 1);
        self.raise(member);
    }

    /// Waits until a member has done an order.
    ///
    /// # Errors
    /// [`Silence`] of a member that has failed, or gives no sign for as long as `patience` lasts.
    pub(super) fn wait_done(
        &self,
        member: usize,
        number: i32,
        patience: Patience,
    ) -> Result<(), Silence> {
        let done = at(member, word::DONE);
        if self.look(|| self.get(done) == number) {
            return Ok(());
        }
        let since_ms = now_ms();
        let nap_ms = f64::from(patience.nap_ms());
        let mut wait = patience.wait(self.get(at(member, word::BEAT)));
        loop {
            self.put(at(member, word::LEADER_SLEEPS), 1);
            let before = self.get(done);
            if before != number && self.get(at(member, word::FAILED)) == 0 {
                atomic_wait_for(&self.words, done, before, nap_ms);
            }
            self.put(at(member, word::LEADER_SLEEPS), 0);
            if self.get(done) == number {
                self.woken(since_ms);
                return Ok(());
            }
            let failed = self.get(at(member, word::FAILED));
            if failed > 0 {
                return Err(Silence::Failed(self.reason(member, failed - 1)));
            }
            if !wait.goes_on(self.get(at(member, word::BEAT))) {
                return Err(Silence::Nothing);
            }
        }
    }

    /// A member's outputs.
    pub(super) fn read_outputs(&self, member: usize, out: &mut [f32]) {
        let outputs = self.outputs[member].subarray(0, out.len() as u32);
        outputs.copy_to(out);
    }

    /// Waits for the order after `number`; gives its number, or none when the member is to leave.
    pub(super) fn wait_order(&self, member: usize, number: i32) -> Option<i32> {
        let next = self.next_order(member, number);
        (self.get(at(member, word::ENDED)) == 0).then_some(next)
    }

    fn next_order(&self, member: usize, number: i32) -> i32 {
        let order = at(member, word::ORDER);
        if self.look(|| self.get(order) != number) {
            return self.get(order);
        }
        let since_ms = now_ms();
        loop {
            self.put(at(member, word::MEMBER_SLEEPS), 1);
            atomic_wait(&self.words, order, number);
            self.put(at(member, word::MEMBER_SLEEPS), 0);
            let next = self.get(order);
            if next != number {
                self.woken(since_ms);
                return next;
            }
        }
    }

    /// What the order says.
    pub(super) fn task(&self) -> Task {
        let count = self.get(order::MATRICES).clamp(0, MAX_TOGETHER as i32) as u32;
        let matrices = (0..count).map(|n| self.get(order::FIRST_MATRIX + n));
        let matrices = matrices.map(|id| MatrixId(id.cast_unsigned()));
        let tokens = self.get(order::TOKENS) as usize;
        match self.get(order::KIND) {
            0 => Task::Multiply {
                matrices: matrices.collect(),
                tokens,
                cols: self.get(order::COLS) as usize,
            },
            _ => Task::Rows {
                matrix: MatrixId(self.get(order::FIRST_MATRIX).cast_unsigned()),
                rows: tokens,
            },
        }
    }

    /// What is to be multiplied.
    pub(super) fn read_inputs(&self, x: &mut [f32]) {
        self.inputs.subarray(0, x.len() as u32).copy_to(x);
    }

    /// The rows that are wanted.
    pub(super) fn read_numbers(&self, rows: usize) -> Vec<u32> {
        let numbers = self.numbers.subarray(0, rows as u32).to_vec();
        numbers.into_iter().map(i32::cast_unsigned).collect()
    }

    /// Shows the leader that a member works.
    pub(super) fn beat(&self, member: usize) {
        let beat = at(member, word::BEAT);
        self.put(beat, self.get(beat).wrapping_add(1));
    }

    /// Gives a member's outputs to the leader.
    pub(super) fn write_done(&self, member: usize, number: i32, outputs: &[f32]) {
        let to = self.outputs[member].subarray(0, outputs.len() as u32);
        to.copy_from(outputs);
        let done = at(member, word::DONE);
        self.put(done, number);
        if self.get(at(member, word::LEADER_SLEEPS)) != 0 {
            atomic_notify(&self.words, done);
        }
    }

    /// Tells a leader that waits why nothing will come; the first reason stands. What does not fit
    /// is cut.
    pub(super) fn write_failed(&self, member: usize, reason: &str) {
        if self.get(at(member, word::FAILED)) != 0 {
            return;
        }
        let to = bytes_of(&self.outputs[member]);
        let mut end = reason.len().min(to.length() as usize);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let text = &reason.as_bytes()[..end];
        to.subarray(0, text.len() as u32).copy_from(text);
        self.put(at(member, word::FAILED), text.len() as i32 + 1);
        atomic_notify(&self.words, at(member, word::DONE));
    }

    /// Whether something came while it was looked for again and again.
    fn look(&self, has_come: impl Fn() -> bool) -> bool {
        (0..self.looks.get().count()).any(|_| has_come())
    }

    /// Learns from a sleep since `since_ms`.
    fn woken(&self, since_ms: f64) {
        let slept_ms = now_ms() - since_ms;
        self.looks.set(self.looks.get().after_sleep(slept_ms));
    }

    fn reason(&self, member: usize, bytes: i32) -> String {
        let text = bytes_of(&self.outputs[member]).subarray(0, bytes.cast_unsigned());
        String::from_utf8_lossy(&text.to_vec()).into_owned()
    }

    fn get(&self, at: u32) -> i32 {
        atomic_load(&self.words, at)
    }

    fn put(&self, at: u32, value: i32) {
        atomic_store(&self.words, at, value);
    }
}

/// Where a word of a member is.
fn at(member: usize, word: u32) -> u32 {
    LINE * (1 + 2 * member as u32) + word
}

/// Words before the first float.
fn first_word(members: usize) -> u32 {
    LINE * (1 + 2 * members as u32)
}

fn padded(room: Room) -> Room {
    Room {
        input_floats: room.input_floats.next_multiple_of(LINE as usize),
        output_floats: room
            .output_floats
            .max(MIN_OUTPUT_FLOATS)
            .next_multiple_of(LINE as usize),
    }
}

fn bytes_of(floats: &Float32Array) -> js_sys::Uint8Array {
    let (at, length) = (floats.byte_offset(), floats.byte_length());
    js_sys::Uint8Array::new_with_byte_offset_and_length(&floats.buffer(), at, length)
}

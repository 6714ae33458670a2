//! Which matrices are shared, who holds which rows, and what is sent at most.

use std::collections::BTreeMap;
use std::ops::Range;

use super::MatrixId;
use crate::config::ModelConfig;
use crate::cpu::kernels::PANEL_ROWS;
use crate::memory::MAX_BATCH;
use crate::plan::{Op, Plan};
use crate::weights::Slot;

/// weights; one worker multiplies so many in about 3 microseconds, which is what an order costs.
const MIN_SHARED_WEIGHTS: usize = 1 << 16;

/// count; matrices in one order. Queries, keys and values are the most that read one register.
pub const MAX_TOGETHER: usize = 4;

/// bytes; what a member takes beside its rows and what is sent: a worker's heap, its compiled code,
/// its stack and what it multiplies with. Chromium 156 took 17 MB for each of seven and 37 MB for a
/// single one.
const MEMBER_BYTES: u64 = 32 << 20;

/// How the rows of a model are divided among a leader and members. Worker 0 is the leader, worker
/// `n + 1` is member `n`.
#[derive(Debug, Clone)]
pub struct Division {
    workers: usize,
    shared: BTreeMap<Slot, (MatrixId, usize)>,
    room: Room,
}

/// What is sent at most between leader and members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Floats to every member.
    pub input_floats: usize,
    /// Floats from each member.
    pub output_floats: usize,
}

impl Division {
    /// Divides the matrices of a model that are multiplied and large enough to pay.
    pub fn new(config: &ModelConfig, members: usize) -> Self {
        let workers = members + 1;
        let plan = Plan::new(config);
        let mut division = Self {
            workers,
            shared: BTreeMap::new(),
            room: Room::default(),
        };
        for op in plan.ops() {
            let Op::Linear { weight, .. } = op else {
                continue;
            };
            let (rows, cols) = weight.shape(config);
            let pays = rows.saturating_mul(cols) >= MIN_SHARED_WEIGHTS;
            if members > 0 && pays && rows.div_ceil(PANEL_ROWS) >= workers {
                let id = MatrixId(division.shared.len() as u32);
                division.shared.entry(*weight).or_insert((id, rows));
            }
        }
        division.room = division.needed_room(config, &plan);
        division
    }

    fn needed_room(&self, config: &ModelConfig, plan: &Plan) -> Room {
        let mut room = Room::default();
        let slot = |op: &Op| {
            let Op::Linear { weight, .. } = op else {
                return None;
            };
            self.matrix(*weight).map(|_| *weight)
        };
        for ops in [&plan.body, &plan.head] {
            let mut rest = &ops[..];
            while !rest.is_empty() {
                let run = together(rest);
                let mut outputs = 0;
                for slot in run.iter().filter_map(slot) {
                    let rows = (1..self.workers).map(|worker| self.rows(slot, worker).len());
                    outputs += rows.max().unwrap_or(0);
                    room.input_floats = room.input_floats.max(slot.shape(config).1);
                }
                room.output_floats = room.output_floats.max(outputs);
                rest = &rest[run.len().max(1)..];
            }
        }
        if self.matrix(Slot::TokenEmbedding).is_some() {
            room.output_floats = room.output_floats.max(config.dim);
        }
        let tokens = match config.is_causal() {
            true => MAX_BATCH,
            false => config.context_len,
        };
        Room {
            input_floats: room.input_floats * tokens,
            output_floats: room.output_floats * tokens,
        }
    }

    /// Whether no matrix is shared, so that members would have nothing to do.
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty()
    }

    /// Leader and members.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// What is sent at most.
    pub fn room(&self) -> Room {
        self.room
    }

    /// The matrix in `slot`, where it is shared.
    pub fn matrix(&self, slot: Slot) -> Option<MatrixId> {
        self.shared.get(&slot).map(|(id, _)| *id)
    }

    /// The rows of a shared matrix that a worker holds: whole panels, but for the last.
    ///
    /// # Panics
    /// When the matrix is not shared.
    pub fn rows(&self, slot: Slot, worker: usize) -> Range<usize> {
        let (_, rows) = self.shared[&slot];
        let panels = rows.div_ceil(PANEL_ROWS);
        let first = |worker: usize| (panels * worker / self.workers * PANEL_ROWS).min(rows);
        first(worker)..first(worker + 1)
    }

    /// Bytes that members take beside the weights, and what is sent.
    pub fn memory_bytes(&self) -> u64 {
        let members = match self.shared.is_empty() {
            true => 0,
            false => self.workers as u64 - 1,
        };
        let Room {
            input_floats,
            output_floats,
        } = self.room;
        // Sent floats lie where they are sent and in the memory of whoever reads or wrote them.
        let inputs = (input_floats * size_of::<f32>()) as u64 * (1 + 2 * members);
        let outputs = (output_floats * size_of::<f32>()) as u64 * 2 * members;
        match members {
            0 => 0,
            members => MEMBER_BYTES * members + inputs + outputs,
        }
    }
}

/// The products at the front of a list that go out as one order: they read the same register, and
/// none waits for another. One that adds to its register goes alone.
pub fn together(ops: &[Op]) -> &[Op] {
    let Some(Op::Linear {
        from: first, add, ..
    }) = ops.first()
    else {
        return &[];
    };
    let alike = |op: &&Op| matches!(op, Op::Linear { from, to, add: false, .. } if from == first && to != first);
    let n = match add {
        true => 1,
        false => ops
            .iter()
            .take(MAX_TOGETHER)
            .take_while(alike)
            .count()
            .max(1),
    };
    &ops[..n]
}

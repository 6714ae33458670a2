//! Members on threads of this process: what a program outside a browser has, and the tests.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use super::{Crew, MatrixId, Member, Room, Share};
use crate::cpu::activations::Activations;
use crate::error::EngineError;

/// count; looks at an empty channel before a thread sleeps, some tens of microseconds: about as long
/// as waking it would take, and no longer, since a core that looks may be the one that is waited for.
const SPINS: u32 = 1_000;

/// What a member is told.
enum Call {
    Hold(Share),
    Write(MatrixId, Vec<u8>),
    Multiply(Vec<MatrixId>, Arc<[f32]>, usize),
    Rows(MatrixId, Vec<u32>),
}

/// A member's thread. It ends when its calls do.
#[derive(Debug)]
struct Thread {
    calls: Option<Sender<Call>>,
    answers: Receiver<Result<Vec<f32>, EngineError>>,
    handle: Option<JoinHandle<()>>,
}

/// Members on threads. Dropping it ends them.
#[derive(Debug)]
pub struct ThreadCrew {
    threads: Vec<Thread>,
}

impl ThreadCrew {
    /// Starts so many members.
    ///
    /// # Errors
    /// [`EngineError::MemberLost`] where the system starts no thread.
    pub fn new(members: usize) -> Result<Self, EngineError> {
        let threads = (0..members).map(Thread::start).collect::<Result<_, _>>()?;
        Ok(Self { threads })
    }
}

impl Thread {
    fn start(member: usize) -> Result<Self, EngineError> {
        let (calls, inbox) = channel();
        let (outbox, answers) = channel();
        let handle = thread::Builder::new()
            .name(format!("member {member}"))
            .spawn(move || work(&inbox, &outbox))
            .map_err(|error| lost(member, &error.to_string()))?;
        Ok(Self {
            calls: Some(calls),
            answers,
            handle: Some(handle),
        })
    }

    fn call(&self, member: usize, call: Call) -> Result<(), EngineError> {
        let calls = self.calls.as_ref();
        let sent = calls.is_some_and(|calls| calls.send(call).is_ok());
        sent.then_some(())
            .ok_or_else(|| lost(member, "its thread ended"))
    }

    fn answer(&self, member: usize) -> Result<Vec<f32>, EngineError> {
        receive(&self.answers).ok_or_else(|| lost(member, "its thread ended"))?
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(handle) = self.handle.take() {
            // A member that panicked has said so already.
            handle.join().ok();
        }
    }
}

impl Crew for ThreadCrew {
    fn members(&self) -> usize {
        self.threads.len()
    }

    fn open(&mut self, _room: Room) -> Result<(), EngineError> {
        Ok(())
    }

    fn hold(&mut self, member: usize, share: Share) -> Result<(), EngineError> {
        self.threads[member].call(member, Call::Hold(share))
    }

    fn write(&mut self, member: usize, matrix: MatrixId, bytes: &[u8]) -> Result<(), EngineError> {
        self.threads[member].call(member, Call::Write(matrix, bytes.to_vec()))
    }

    fn start(&mut self, matrices: &[MatrixId], inputs: &Activations) -> Result<(), EngineError> {
        let x: Arc<[f32]> = inputs.values().into();
        for (member, thread) in self.threads.iter().enumerate() {
            let call = Call::Multiply(matrices.to_vec(), Arc::clone(&x), inputs.cols());
            thread.call(member, call)?;
        }
        Ok(())
    }

    fn finish(&mut self, take: &mut dyn FnMut(usize, &[f32])) -> Result<(), EngineError> {
        for (member, thread) in self.threads.iter().enumerate() {
            take(member, &thread.answer(member)?);
        }
        Ok(())
    }

    fn rows(
        &mut self,
        member: usize,
        matrix: MatrixId,
        rows: &[u32],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), EngineError> {
        let thread = &self.threads[member];
        thread.call(member, Call::Rows(matrix, rows.to_vec()))?;
        take(&thread.answer(member)?);
        Ok(())
    }
}

/// What a member's thread does until nobody calls any more.
fn work(calls: &Receiver<Call>, answers: &Sender<Result<Vec<f32>, EngineError>>) {
    let mut member = Member::default();
    // What could not be kept is told when somebody waits for an answer.
    let mut failed: Option<EngineError> = None;
    while let Some(call) = receive(calls) {
        let answer = match call {
            Call::Hold(share) => {
                failed = failed.or(member.hold(share).err());
                continue;
            }
            Call::Write(matrix, bytes) => {
                failed = failed.or_else(|| member.write(matrix, &bytes).err());
                continue;
            }
            Call::Multiply(matrices, x, cols) => {
                let outputs = member.multiply(&matrices, &x, cols, || {});
                outputs.map(<[f32]>::to_vec)
            }
            Call::Rows(matrix, rows) => member.rows(matrix, &rows).map(<[f32]>::to_vec),
        };
        let answer = failed.take().map_or(answer, Err);
        if answers.send(answer).is_err() {
            return;
        }
    }
}

/// The next of a channel: awake for a while, then asleep; none when the other side is gone.
fn receive<T>(channel: &Receiver<T>) -> Option<T> {
    for _ in 0..SPINS {
        match channel.try_recv() {
            Ok(next) => return Some(next),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => spin_loop(),
        }
    }
    channel.recv().ok()
}

fn lost(member: usize, reason: &str) -> EngineError {
    EngineError::MemberLost {
        member,
        reason: reason.to_owned(),
    }
}

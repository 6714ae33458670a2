//! One attempt at one task, as both of its ends see it: who says what to whom, in which order.

use crate::env::Env;
use crate::io::{Output, StreamId};
use crate::misbehaviour::Misbehaviour;
use thrum_protocol::id::{NodeId, TaskId};
use thrum_protocol::task::{TaskBody, TaskMessage};

/// The numbering of one stream.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stream: StreamId,
    /// the authenticated peer at the other end
    pub(crate) peer: NodeId,
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
    sent: u64,
    received: u64,
}

impl Session {
    /// The asker's end.
    pub(crate) fn asking(stream: StreamId, peer: NodeId, task: TaskId, attempt: u32) -> Self {
        Self {
            stream,
            peer,
            task,
            attempt,
            sent: 0,
            received: 0,
        }
    }

    /// The provider's end, and what the first message says.
    pub(crate) fn answering(
        env: &Env,
        stream: StreamId,
        peer: NodeId,
        bytes: &[u8],
    ) -> Result<(Self, TaskBody), Misbehaviour> {
        let message = open_from(env, peer, bytes)?;
        let mut session = Self::asking(stream, peer, message.task_id, message.attempt);
        let body = session.check(message)?;
        Ok((session, body))
    }

    pub(crate) fn say(&mut self, env: &mut Env, body: TaskBody) {
        let message = TaskMessage {
            task_id: self.task,
            attempt: self.attempt,
            number: self.sent,
            recipient_id: self.peer,
            body,
        };
        self.sent += 1;
        let frame = message.seal(&env.key);
        env.push(Output::Send {
            stream: self.stream,
            frame,
        });
    }

    pub(crate) fn hear(&mut self, env: &Env, bytes: &[u8]) -> Result<TaskBody, Misbehaviour> {
        let message = open_from(env, self.peer, bytes)?;
        self.check(message)
    }

    fn check(&mut self, message: TaskMessage) -> Result<TaskBody, Misbehaviour> {
        if message.task_id != self.task {
            return Err(Misbehaviour::WrongTask);
        }
        if message.attempt != self.attempt {
            return Err(Misbehaviour::WrongAttempt {
                expected: self.attempt,
                got: message.attempt,
            });
        }
        if message.number != self.received {
            return Err(Misbehaviour::WrongNumber {
                expected: self.received,
                got: message.number,
            });
        }
        self.received += 1;
        Ok(message.body)
    }
}

fn open_from(env: &Env, peer: NodeId, bytes: &[u8]) -> Result<TaskMessage, Misbehaviour> {
    let (sender, message) = TaskMessage::open(bytes)?;
    if sender != peer {
        return Err(Misbehaviour::ForeignSender(sender));
    }
    if message.recipient_id != env.me {
        return Err(Misbehaviour::WrongRecipient(message.recipient_id));
    }
    Ok(message)
}

/// The name of a message on the wire.
pub(crate) fn name_of(body: &TaskBody) -> &'static str {
    match body {
        TaskBody::Accept(_) => "accept",
        TaskBody::Cancel {} => "cancel",
        TaskBody::Done(_) => "done",
        TaskBody::Failed(_) => "failed",
        TaskBody::Heartbeat {} => "heartbeat",
        TaskBody::Prompt(_) => "prompt",
        TaskBody::Refuse(_) => "refuse",
        TaskBody::Tokens(_) => "tokens",
        // `TaskBody` is non-exhaustive: a message of a later version.
        _ => "a message of another version",
    }
}

//! What Thrum peers **decide**: every decision as one machine without clock, randomness or I/O.
//!
//! The contract, from which everything follows: *one mutation, then drain.* The edge calls
//! [`Hive::handle`] with the time and one input, then [`Hive::poll`] until it returns `None`, and
//! only then the next input. The same seed and inputs give the same outputs, byte for byte. A lying
//! peer yields an [`Event::Misbehaviour`](thrum_protocol::view::Event::Misbehaviour), never an
//! error that stops the machine.

pub mod io;

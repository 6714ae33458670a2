//! A small internet in user space: what its NATs, links and routes do to packets.
//!
//! [`Internet`] is a pure machine: packets and commands go in with the time, packets come out, and
//! the same seed and inputs give the same packets. The binary `natlab` carries packets between it
//! and network namespaces, in which real browsers and a real relay run.
//!
//! IPv4 alone is carried, without fragments.

pub mod command;
pub mod frames;
mod internet;
pub mod limits;
mod nat;
mod packet;
mod weather;

pub use internet::{Counts, Internet, Plan, PlanError, SitePlan};
pub use nat::{Dependence, Dropped, Nat, NatConfig};
pub use packet::{Content, Ends, Protocol};
pub use weather::Weather;

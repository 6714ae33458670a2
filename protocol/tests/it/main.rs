//! What the words of the hive look like on the wire, and what is refused.

mod capabilities;
mod golden;
mod hostile;
mod ids;
mod round_trip;
mod samples;

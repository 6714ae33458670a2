//! Owns how many files the process may have open: a connection is one.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files that are not connections: the page and models being served, keys, logs, sockets.
const OTHERS: u64 = 2_048;

/// Asks the system for what so many connections need, and says what it does not give.
pub(crate) fn provide_for(max_connections: u32) {
    let needed = u64::from(max_connections) + OTHERS;
    let mut limit = getrlimit(Resource::Nofile);
    let is_enough = |now: Option<u64>| now.is_none_or(|now| now >= needed);
    if is_enough(limit.current) {
        return;
    }
    limit.current = Some(limit.maximum.map_or(needed, |most| most.min(needed)));
    let given = match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current,
        Err(_) => getrlimit(Resource::Nofile).current, // What it was.
    };
    if !is_enough(given) {
        tracing::warn!(
            needed,
            given,
            "the system allows fewer open files than the relay allows connections: raise it \
             (ulimit -n, LimitNOFILE=), or lower max-connections"
        );
    }
}

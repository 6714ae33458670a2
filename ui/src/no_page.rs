//! Outside a browser there is no page; the crate's library is tested all the same.

/// Does nothing.
pub(crate) fn run() {}

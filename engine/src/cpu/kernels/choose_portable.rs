//! Machines without kernels of their own.

use super::Kernels;
use super::portable::Portable;

/// The fastest kernels that this machine runs.
pub fn kernels() -> &'static dyn Kernels {
    &Portable
}

/// Every kind that this machine runs, the specification first and the fastest last.
pub fn all() -> Vec<&'static dyn Kernels> {
    vec![&Portable]
}

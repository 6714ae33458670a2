//! Which instructions a browser has.

use super::Kernels;
use super::portable::Portable;
use super::relaxed::Relaxed;
use super::simd128::Simd128;

/// The fastest kernels that this machine runs.
pub fn kernels() -> &'static dyn Kernels {
    if Relaxed::is_supported() {
        &Relaxed::Quickest
    } else {
        &Simd128
    }
}

/// Every kind that this machine runs, the specification first and the fastest last.
pub fn all() -> Vec<&'static dyn Kernels> {
    let mut all: Vec<&'static dyn Kernels> = vec![&Portable, &Simd128];
    if Relaxed::is_supported() {
        all.push(&Relaxed::SevenBits);
        all.push(&Relaxed::Quickest);
    }
    all
}

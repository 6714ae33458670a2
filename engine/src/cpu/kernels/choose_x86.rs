//! Which instructions an x86-64 machine has.

use super::Kernels;
use super::avx2::Avx2;
use super::portable::Portable;
use super::vnni::{Avx512Vnni, AvxVnni};

/// The fastest kernels that this machine runs.
pub fn kernels() -> &'static dyn Kernels {
    if AvxVnni::is_supported() {
        &AvxVnni
    } else if Avx512Vnni::is_supported() {
        &Avx512Vnni
    } else if Avx2::is_supported() {
        &Avx2
    } else {
        &Portable
    }
}

/// Every kind that this machine runs, the specification first and the fastest last.
pub fn all() -> Vec<&'static dyn Kernels> {
    let mut all: Vec<&'static dyn Kernels> = vec![&Portable];
    if Avx2::is_supported() {
        all.push(&Avx2);
    }
    if Avx512Vnni::is_supported() {
        all.push(&Avx512Vnni);
    }
    if AvxVnni::is_supported() {
        all.push(&AvxVnni);
    }
    all
}

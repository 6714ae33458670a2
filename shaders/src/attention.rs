//! The key-value cache and what reads it.

use crate::Binding::{Read, ReadWrite, Uniform};
use crate::{Kernel, kernel};

/// How keys and values are kept; indexes the arrays of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheFormat {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, two to a word.
    F16,
    /// Signed bytes, four to a word, and an f32 scale for every 32.
    Q8,
}

macro_rules! store {
    ($name:literal, $cache:literal) => {
        kernel!(
            $name,
            ["rows", "pages", $cache],
            "cache_store",
            [
                Uniform, Uniform, Read, Read, Read, ReadWrite, ReadWrite, Read
            ],
            []
        )
    };
}

macro_rules! load {
    ($name:literal, $cache:literal) => {
        kernel!(
            $name,
            ["rows", "pages", $cache],
            "cache_load",
            [
                Uniform, Uniform, ReadWrite, Read, Read, Read, Read, ReadWrite
            ],
            []
        )
    };
}

macro_rules! attention {
    ($name:literal, $cache:literal, $file:literal) => {
        kernel!(
            $name,
            ["rows", "pages", $cache],
            $file,
            [Uniform, Uniform, Read, Read, Read, Read, Read, ReadWrite],
            []
        )
    };
}

/// Keys and values of a batch into the cache, by [`CacheFormat`].
pub const CACHE_STORE: [Kernel; 3] = [
    store!("cache_store_f32", "cache_write_f32"),
    store!("cache_store_f16", "cache_write_f16"),
    store!("cache_store_q8", "cache_write_q8"),
];

/// Keys and values of a batch out of the cache, by [`CacheFormat`].
pub const CACHE_LOAD: [Kernel; 3] = [
    load!("cache_load_f32", "cache_read_f32"),
    load!("cache_load_f16", "cache_read_f16"),
    load!("cache_load_q8", "cache_read_q8"),
];

/// Attention with a workgroup to a head of a row, by [`CacheFormat`].
pub const ATTENTION: [Kernel; 3] = [
    attention!("attention_f32", "cache_read_f32", "attention"),
    attention!("attention_f16", "cache_read_f16", "attention"),
    attention!("attention_q8", "cache_read_q8", "attention"),
];

/// Attention with a thread to a head of a row, by [`CacheFormat`].
pub const ATTENTION_THREAD: [Kernel; 3] = [
    attention!("attention_thread_f32", "cache_read_f32", "attention_thread"),
    attention!("attention_thread_f16", "cache_read_f16", "attention_thread"),
    attention!("attention_thread_q8", "cache_read_q8", "attention_thread"),
];

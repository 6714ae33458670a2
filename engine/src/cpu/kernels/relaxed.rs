//! The relaxed module as a kernel: instantiated over the engine's own memory, called by pointer.
#![allow(unsafe_code, reason = "jobs are pointers")]

use std::cell::OnceCell;

use js_sys::{Object, Reflect, Uint8Array, WebAssembly};
use wasm_bindgen::prelude::*;

use super::super::activations::Activations;
use super::super::panels::Panels;
use super::Kernels;
use super::floats::FloatJob;
use super::job::Job;
use super::simd128::Simd128;
use super::start::{self, Runner};

/// Compiled by `build.rs` from `engine/kernels/relaxed.rs`.
const MODULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/relaxed.wasm"));

/// What `probe` answers on a machine whose dot product is exact only for bytes below 128: there,
/// signs are moved from activations to weights, and -128 has no negative.
const SEVEN_BITS: u32 = 2;

#[wasm_bindgen]
extern "C" {
    /// What the module exports.
    type Exports;

    #[wasm_bindgen(method)]
    fn probe(this: &Exports) -> u32;

    #[wasm_bindgen(method)]
    fn run(this: &Exports, job: *const Job, bytes: u32);
}

/// The module, and how its machine takes bytes above 127.
struct Instance {
    exports: Exports,
    bytes: u32,
}

thread_local! {
    static INSTANCE: OnceCell<Option<Instance>> = const { OnceCell::new() };
}

fn with_instance<T>(use_it: impl FnOnce(Option<&Instance>) -> T) -> T {
    INSTANCE.with(|cell| use_it(cell.get_or_init(|| instantiate().ok().flatten()).as_ref()))
}

/// None where the browser has no relaxed-simd.
fn instantiate() -> Result<Option<Instance>, JsValue> {
    let module = Uint8Array::from(MODULE);
    if !WebAssembly::validate(&module)? {
        return Ok(None);
    }
    let env = Object::new();
    Reflect::set(&env, &"memory".into(), &wasm_bindgen::memory())?;
    let imports = Object::new();
    Reflect::set(&imports, &"env".into(), &env)?;
    let module = WebAssembly::Module::new(&module)?;
    let instance = WebAssembly::Instance::new(&module, &imports)?;
    let exports: Exports = instance.exports().unchecked_into();
    let bytes = exports.probe();
    Ok(Some(Instance { exports, bytes }))
}

/// A browser with relaxed-simd.
#[derive(Debug)]
pub(super) enum Relaxed {
    /// The quickest way with wide codes that is exact there.
    Quickest,
    /// The way that is exact everywhere.
    SevenBits,
}

impl Relaxed {
    pub(super) fn is_supported() -> bool {
        with_instance(|instance| instance.is_some())
    }

    /// What the module is told, given what `probe` answered.
    fn bytes(&self, probed: u32) -> u32 {
        match self {
            Self::Quickest => probed,
            Self::SevenBits => SEVEN_BITS,
        }
    }
}

impl Runner for Relaxed {
    unsafe fn run(&self, job: &Job) {
        with_instance(|instance| match instance {
            Some(Instance { exports, bytes }) => exports.run(job, self.bytes(*bytes)),
            // SAFETY: the caller's promise.
            None => unsafe { Simd128.run(job) },
        });
    }

    unsafe fn run_floats(&self, job: &FloatJob) {
        // SAFETY: the caller's promise.
        unsafe { Simd128.run_floats(job) }
    }
}

impl Kernels for Relaxed {
    fn name(&self) -> &'static str {
        match self {
            Self::Quickest => "relaxed",
            Self::SevenBits => "relaxed, seven bits",
        }
    }

    fn matmul(&self, weights: &Panels, inputs: &Activations, outputs: &mut [f32]) {
        let is_exact = !weights.has_lowest_code()
            || with_instance(|it| it.is_some_and(|it| self.bytes(it.bytes) != SEVEN_BITS));
        if is_exact {
            start::matmul(self, weights, inputs, outputs);
        } else {
            start::matmul(&Simd128, weights, inputs, outputs);
        }
    }
}

//! Compiles the relaxed module (`kernels/relaxed.rs`) when the engine is built for the web.
//!
//! The same compiler, one more call: whoever builds the engine needs nothing else.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the relaxed module is made of.
const SOURCES: [&str; 4] = [
    "kernels/relaxed.rs",
    "src/cpu/kernels/job.rs",
    "src/cpu/kernels/simd128.rs",
    "src/cpu/kernels/tile.rs",
];

/// The id of a wasm module's section of initial data.
const DATA_SECTION: u8 = 11;

fn main() -> Result<(), Box<dyn Error>> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ARCH")? != "wasm32" {
        return Ok(());
    }
    let wasm = Path::new(&env::var("OUT_DIR")?).join("relaxed.wasm");
    let status = Command::new(env::var("RUSTC")?)
        .args(["--crate-name", "relaxed", "--crate-type", "cdylib"])
        .args(["--edition", "2024", "--target", &env::var("TARGET")?])
        .args(["-C", "opt-level=3", "-C", "panic=abort", "-C", "lto=fat"])
        .args(["-C", "codegen-units=1", "-C", "strip=symbols"])
        .args(["-C", "target-feature=+simd128,+relaxed-simd"])
        // No stack: code that wanted one would trap on its first store, not overwrite the engine.
        .args([
            "-C",
            "link-arg=--import-memory",
            "-C",
            "link-arg=-zstack-size=0",
        ])
        .arg("-o")
        .args([wasm.as_os_str(), SOURCES[0].as_ref()])
        .status()?;
    if !status.success() {
        return Err(format!("rustc could not compile {}: {status}", SOURCES[0]).into());
    }
    let sections = section_ids(&fs::read(&wasm)?)?;
    if sections.contains(&DATA_SECTION) {
        return Err("the relaxed module has data, which would overwrite the engine's".into());
    }
    Ok(())
}

/// The ids of a wasm module's sections, in order.
fn section_ids(wasm: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut rest = wasm.strip_prefix(b"\0asm\x01\0\0\0").ok_or("not wasm")?;
    let mut ids = Vec::new();
    while let [id, tail @ ..] = rest {
        ids.push(*id);
        let len_bytes = tail.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let (len, body) = tail.split_at_checked(len_bytes).ok_or("cut short")?;
        let digits = len.iter().rev().map(|byte| usize::from(byte & 0x7f));
        let len = digits.fold(0, |value, digit| value << 7 | digit);
        rest = body.get(len..).ok_or("cut short")?;
    }
    Ok(ids)
}

//! Writes the tiny models of `tests/conformance` and what the engine makes of them, for
//! `tests/conformance/run.py` to hold against llama.cpp: `conformance <folder>`.

use std::error::Error;
use std::path::PathBuf;

use thrum_engine::quant::Format;

#[path = "../tests/conformance/readings.rs"]
mod readings;
#[path = "../tests/conformance/variants.rs"]
mod variants;

use readings::Path;

const FORMATS: [(&str, Format); 2] = [("f32", Format::F32), ("q8_0", Format::Q8_0)];

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or("usage: conformance <folder>")?
        .into();
    std::fs::create_dir_all(&folder)?;
    let tokens = variants::tokens();
    let ids: Vec<u8> = tokens.iter().flat_map(|id| id.to_le_bytes()).collect();
    std::fs::write(folder.join("tokens"), ids)?;
    for variant in variants::VARIANTS {
        for (format_name, format) in FORMATS {
            let stem = format!("{}.{format_name}", variant.name);
            let file = variant.gguf(format);
            std::fs::write(folder.join(format!("{stem}.gguf")), &file)?;
            for (path_name, path) in [("cpu", Path::Cpu), ("exact", Path::Exact)] {
                if path == Path::Exact && format != Format::F32 {
                    continue;
                }
                let found = readings::read(&file, path, &tokens).into_iter().flatten();
                let bytes: Vec<u8> = found.flat_map(f32::to_le_bytes).collect();
                std::fs::write(folder.join(format!("{stem}.{path_name}")), bytes)?;
            }
        }
    }
    Ok(())
}

//! Writes a GGUF file in the true shape of a published model, with weights drawn from a seed:
//! `synthetic_model <shape> <mix> <file.gguf>`. For measuring speed, where only shapes count.
//!
//! `<file.gguf>.json` says what a token takes: multiplications, and bytes of matrices to be read.
//! The file is written as it is drawn, so that half a billion weights take no more memory than the
//! largest of their matrices.

#![allow(clippy::print_stdout, reason = "it reports to who started it")]

mod blocks;
mod mix;
mod shapes;
mod vocabulary;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;

use blocks::BlockFormat;
use mix::Mix;
use shapes::{Role, Shape, TensorSpec};
use thrum_engine::synthetic::{GgufWriter, Random};

/// bytes; GGUF's default.
const ALIGNMENT: usize = 32;

/// What the weights are drawn from: the same file on every machine.
const SEED: u64 = 0x7468_7275_6d00;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [shape, mix, path] = arguments.as_slice() else {
        return Err(format!(
            "usage: synthetic_model <{}> <{}> <file.gguf>",
            shapes::NAMES.join("|"),
            mix::NAMES.join("|")
        )
        .into());
    };
    let shape = Shape::named(shape).ok_or_else(|| format!("no shape is named {shape:?}"))?;
    let mix = Mix::named(mix).ok_or_else(|| format!("no mix is named {mix:?}"))?;
    let began = Instant::now();
    // Under another name until it is whole, so that an interrupted run leaves nothing to be used.
    let part = format!("{path}.part");
    let bytes = write(&shape, mix, &part)?;
    std::fs::rename(&part, path)?;
    std::fs::write(format!("{path}.json"), sizes(&shape, mix))?;
    println!(
        "{path}: {} MB in {:.1} s",
        bytes / 1_000_000,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Writes the file; returns its length in bytes.
fn write(shape: &Shape, mix: Mix, path: &str) -> Result<usize, Box<dyn Error>> {
    let tensors = shape.tensors();
    let formats: Vec<BlockFormat> = tensors
        .iter()
        .map(|tensor| mix.format(shape, tensor))
        .collect();
    let header = header(shape, mix, &tensors, &formats);
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&header)?;
    let mut total = header.len();
    let mut bytes = Vec::new();
    for (number, (tensor, format)) in tensors.iter().zip(&formats).enumerate() {
        let mut random = Random(SEED.wrapping_add(number as u64 + 1) << 1);
        bytes.clear();
        format.draw(&mut random, tensor, &mut bytes);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        file.write_all(&bytes)?;
        total += bytes.len();
    }
    file.into_inner()?.sync_all()?;
    Ok(total)
}

/// Everything before the weights.
fn header(shape: &Shape, mix: Mix, tensors: &[TensorSpec], formats: &[BlockFormat]) -> Vec<u8> {
    let mut writer = GgufWriter::default();
    shape.add_metadata(&mut writer);
    writer.uint("general.file_type", mix.file_type());
    vocabulary::add(&mut writer, shape, SEED);
    let mut offsets = Vec::with_capacity(tensors.len());
    let mut end = 0;
    for (tensor, format) in tensors.iter().zip(formats) {
        offsets.push(end);
        end += format.bytes(tensor.weights()).next_multiple_of(ALIGNMENT);
        writer.tensor(&tensor.name, &tensor.dims(), format.type_id(), Vec::new());
    }
    writer.finish_with_offsets(&offsets)
}

/// What decoding one token takes at least, as JSON: multiplications, bytes to be read, and how many
/// matrices there are of each kind.
fn sizes(shape: &Shape, mix: Mix) -> String {
    let (mut macs, mut matrix_bytes) = (0, 0);
    let mut kinds: BTreeMap<(u32, usize, usize), usize> = BTreeMap::new();
    for tensor in shape.tensors() {
        if matches!(tensor.role, Role::TiedEmbedding | Role::Matrix) {
            let format = mix.format(shape, &tensor);
            macs += tensor.weights();
            matrix_bytes += format.bytes(tensor.weights());
            *kinds
                .entry((format.type_id(), tensor.cols, tensor.rows))
                .or_default() += 1;
        }
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|((format, cols, rows), count)| {
            format!("{{\"format\":{format},\"cols\":{cols},\"rows\":{rows},\"count\":{count}}}")
        })
        .collect();
    format!(
        "{{\"macs\":{macs},\"matrixBytes\":{matrix_bytes},\"matrices\":[{}]}}\n",
        kinds.join(",")
    )
}

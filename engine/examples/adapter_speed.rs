//! Prints what adapters cost on a GGUF file, as one JSON line of seconds:
//! `adapter_speed <file.gguf> [f32]`. With and without take turns, so that what else runs hits
//! both. The adapters' numbers are BF16, as most that people publish; with `f32` they need all of
//! their bits.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::time::Instant;

use half::bf16;
use thrum_engine::adapter::{Adapter, LoraPair};
use thrum_engine::config::ModelConfig;
use thrum_engine::cpu::CpuModel;
use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::model::Model;
use thrum_engine::pass::AdapterId;
use thrum_engine::sequences::{BatchRow, SequenceId};
use thrum_engine::synthetic::Random;
use thrum_engine::weights::{Slot, WeightStore};

/// positions; eight sequences with room for every round.
const POSITIONS: usize = 8 * 256;

const SEQUENCES: usize = 8;
const RANK: usize = 8;
const ROUNDS: usize = 31;

#[derive(Default)]
struct Series {
    decode: Vec<f64>,
    decode_with: Vec<f64>,
    swap: Vec<f64>,
    load: Vec<f64>,
    eight: Vec<f64>,
    eight_with: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args
        .next()
        .ok_or("usage: adapter_speed <file.gguf> [f32]")?;
    let narrow = args.next().as_deref() != Some("f32");
    let mut model = open(&path)?;
    let config = model.config().clone();
    let mut adapters = Vec::new();
    for seed in 0..SEQUENCES as u64 {
        let adapter = drawn(&config, seed, narrow);
        adapters.push(pollster::block_on(model.add_adapter(adapter))?);
    }
    let another = drawn(&config, 99, narrow);
    let sequences: Vec<SequenceId> = (0..SEQUENCES)
        .map(|_| model.open())
        .collect::<Result<_, _>>()?;
    let mut series = Series::default();
    for round in 0..=ROUNDS {
        let mut this = Series::default();
        wear(&mut model, &sequences, &[])?;
        this.decode.push(step(&mut model, &sequences[..1])?);
        this.eight.push(step(&mut model, &sequences)?);
        let since = Instant::now();
        wear(
            &mut model,
            &sequences[..1],
            &adapters[round % SEQUENCES..][..1],
        )?;
        this.swap.push(since.elapsed().as_secs_f64());
        this.decode_with.push(step(&mut model, &sequences[..1])?);
        wear(&mut model, &sequences, &adapters)?;
        this.eight_with.push(step(&mut model, &sequences)?);
        let further = another.clone();
        let since = Instant::now();
        let further = pollster::block_on(model.add_adapter(further))?;
        this.load.push(since.elapsed().as_secs_f64());
        pollster::block_on(model.remove_adapter(further))?;
        // The first round fills caches and pages.
        if round > 0 {
            series.extend(this);
        }
    }
    let Series {
        decode,
        decode_with,
        swap,
        load,
        eight,
        eight_with,
    } = series;
    println!(
        "{{\"decode\":{decode:?},\"decodeWithAdapter\":{decode_with:?},\"swap\":{swap:?},\
         \"load\":{load:?},\"eight\":{eight:?},\"eightWithAdapters\":{eight_with:?}}}"
    );
    Ok(())
}

impl Series {
    fn extend(&mut self, other: Self) {
        self.decode.extend(other.decode);
        self.decode_with.extend(other.decode_with);
        self.swap.extend(other.swap);
        self.load.extend(other.load);
        self.eight.extend(other.eight);
        self.eight_with.extend(other.eight_with);
    }
}

fn open(path: &str) -> Result<Model, Box<dyn Error>> {
    let file = std::fs::read(path)?;
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: Some(file.len() as u64),
        available_bytes: None,
        max_context: POSITIONS,
    });
    let mut store = WeightStore::default();
    reader.push(&file, &mut store)?;
    let config = reader.finish(&mut store)?.config;
    let model = CpuModel::new(config, store.into_weights()?)?;
    Ok(Model::new(model, POSITIONS))
}

/// The n-th sequence gets the n-th adapter, or none.
fn wear(
    model: &mut Model,
    sequences: &[SequenceId],
    adapters: &[AdapterId],
) -> Result<(), Box<dyn Error>> {
    for (n, sequence) in sequences.iter().enumerate() {
        let stack = adapters.get(n).map(|id| (*id, 1.0)).into_iter().collect();
        model.set_adapters(*sequence, stack)?;
    }
    Ok(())
}

/// Seconds of a pass with one token of each sequence.
fn step(model: &mut Model, sequences: &[SequenceId]) -> Result<f64, Box<dyn Error>> {
    let row = |sequence: &SequenceId| BatchRow {
        sequence: *sequence,
        token: 300,
        logits: true,
    };
    let rows: Vec<BatchRow> = sequences.iter().map(row).collect();
    let since = Instant::now();
    pollster::block_on(model.forward(&rows))?;
    Ok(since.elapsed().as_secs_f64())
}

/// An adapter on every linear of every block.
fn drawn(config: &ModelConfig, seed: u64, narrow: bool) -> Adapter {
    let mut random = Random(seed + 1);
    let mut draw = |n: usize| -> Vec<f32> {
        let number = |x: f32| match narrow {
            true => bf16::from_f32(0.02 * x).to_f32(),
            false => 0.02 * x,
        };
        (0..n).map(|_| number(random.symmetric())).collect()
    };
    let slots =
        Slot::all(config).filter(|slot| matches!(slot, Slot::Layer(..)) && slot.is_matrix());
    let pairs = slots.map(|slot| {
        let (rows, cols) = slot.shape(config);
        let pair = LoraPair {
            rank: RANK,
            scale: 2.0,
            a: draw(RANK * cols),
            b: draw(rows * RANK),
        };
        (slot, pair)
    });
    let pairs = pairs.collect();
    let (name, rank) = (format!("drawn {seed}"), RANK);
    Adapter { name, rank, pairs }
}

//! Times passes with adapters and without, in turns.

use thrum_engine::EngineError;
use thrum_engine::adapter::{Adapter, LoraPair};
use thrum_engine::config::ModelConfig;
use thrum_engine::model::Model;
use thrum_engine::pass::AdapterId;
use thrum_engine::sequences::{BatchRow, SequenceId};
use thrum_engine::synthetic::Random;
use thrum_engine::weights::Slot;

/// positions; room for all passes of one measurement in every sequence.
pub(crate) const POSITIONS: usize = SEQUENCES * 64;

const SEQUENCES: usize = 8;
const RANK: usize = 8;
const ROUNDS: usize = 15;

/// passes; what is timed at once, well above the steps of a browser's clock.
const PASSES: usize = 4;

/// An id of a token that every vocabulary has.
const TOKEN: u32 = 300;

/// Seconds, round by round.
#[derive(Default)]
struct Series {
    decode: Vec<f64>,
    decode_with: Vec<f64>,
    swap: Vec<f64>,
    load: Vec<f64>,
    eight: Vec<f64>,
    eight_with: Vec<f64>,
}

/// One line of JSON: the seconds of a pass with one token and with eight, each without adapters and
/// with one of rank 8 on every linear for each sequence; of putting on another one; of taking
/// one from memory. With `narrow` their numbers are BF16, as most that people publish.
///
/// # Errors
/// As the model's.
pub(crate) async fn measure(
    model: &mut Model,
    narrow: bool,
    seconds: &dyn Fn() -> f64,
) -> Result<String, EngineError> {
    let config = model.config().clone();
    let mut adapters = Vec::new();
    for seed in 0..SEQUENCES as u64 {
        adapters.push(model.add_adapter(drawn(&config, seed, narrow)).await?);
    }
    let another = drawn(&config, 99, narrow);
    let mut series = Series::default();
    for round in 0..=ROUNDS {
        let decode = passes(model, 1, &[], seconds).await?;
        let decode_with = passes(model, 1, &adapters[round % SEQUENCES..][..1], seconds).await?;
        let eight = passes(model, SEQUENCES, &[], seconds).await?;
        let eight_with = passes(model, SEQUENCES, &adapters, seconds).await?;
        let further = another.clone();
        let since = seconds();
        let further = model.add_adapter(further).await?;
        let load = seconds() - since;
        model.remove_adapter(further).await?;
        // The first round fills caches and pages.
        if round > 0 {
            series.decode.push(decode.0);
            series.decode_with.push(decode_with.0);
            series.swap.push(decode_with.1);
            series.load.push(load);
            series.eight.push(eight.0);
            series.eight_with.push(eight_with.0);
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
    Ok(format!(
        "{{\"decode\":{decode:?},\"decodeWithAdapter\":{decode_with:?},\"swap\":{swap:?},\
         \"load\":{load:?},\"eight\":{eight:?},\"eightWithAdapters\":{eight_with:?}}}"
    ))
}

/// Seconds of a pass with one token of each of `n` sequences that wear these adapters, and of
/// putting them on.
async fn passes(
    model: &mut Model,
    n: usize,
    adapters: &[AdapterId],
    seconds: &dyn Fn() -> f64,
) -> Result<(f64, f64), EngineError> {
    let mut sequences: Vec<SequenceId> = Vec::new();
    for _ in 0..n {
        sequences.push(model.open()?);
    }
    let since = seconds();
    for (sequence, adapter) in sequences.iter().zip(adapters) {
        model.set_adapters(*sequence, vec![(*adapter, 1.0)])?;
    }
    let swap = seconds() - since;
    let row = |sequence: &SequenceId| BatchRow {
        sequence: *sequence,
        token: TOKEN,
        logits: true,
    };
    let rows: Vec<BatchRow> = sequences.iter().map(row).collect();
    let since = seconds();
    for _ in 0..PASSES {
        model.forward(&rows).await?;
    }
    let pass = (seconds() - since) / PASSES as f64;
    for sequence in sequences {
        model.close(sequence);
    }
    Ok((pass, swap))
}

/// An adapter on every linear of every block.
fn drawn(config: &ModelConfig, seed: u64, narrow: bool) -> Adapter {
    let mut random = Random(seed + 1);
    let mut draw = |n: usize| -> Vec<f32> {
        let number = |x: f32| match narrow {
            true => f32::from_bits((0.02 * x).to_bits() & 0xffff_0000),
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

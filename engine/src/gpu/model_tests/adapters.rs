//! Adapters beside the weights against adapters merged into them.

use super::{OneText, TOLERANCE, assert_close, exact, gpu_model, ids, model, read, reference};
use crate::adapter::{Adapter, LoraPair};
use crate::config::ModelConfig;
use crate::gguf::WeightSink;
use crate::gpu::test_device::{Noise, device};
use crate::pass::{AdapterId, Pass, PassRow, PassSequence};
use crate::quant::Format;
use crate::reference::{ReferenceModel, Rounding};
use crate::weights::{LayerSlot, Slot, TensorInfo, WeightStore, Weights};

#[test]
fn adapters_are_what_merged_weights_are() {
    let Some(device) = device() else { return };
    let file = model(Format::F32).gguf();
    let (header, weights) = read(&file);
    let mut noise = Noise(990);
    // Two adapters that meet on some matrices, of odd ranks.
    let slots = [
        [LayerSlot::AttnQ, LayerSlot::AttnV, LayerSlot::FfnGate],
        [LayerSlot::AttnV, LayerSlot::AttnOutput, LayerSlot::FfnDown],
    ];
    let made: Vec<Adapter> = [5, 2]
        .into_iter()
        .zip(slots)
        .map(|(rank, slots)| {
            let layers = 0..header.n_layers;
            let slots = layers.flat_map(|layer| slots.map(|slot| Slot::Layer(layer, slot)));
            let pair = |slot: Slot| {
                let (rows, cols) = slot.shape(&header);
                let pair = LoraPair {
                    rank,
                    scale: 0.5,
                    a: noise.floats(rank * cols, 0.1),
                    b: noise.floats(rows * rank, 0.1),
                };
                (slot, pair)
            };
            Adapter {
                name: String::new(),
                rank,
                pairs: slots.map(pair).collect(),
            }
        })
        .collect();
    let adapters: Vec<(AdapterId, &Adapter)> = (0..).map(AdapterId).zip(&made).collect();
    let mut gpu = gpu_model(&device, &file, exact());
    pollster::block_on(gpu.set_adapters(&adapters)).expect("they fit");
    // One sequence with both, one with the second, one with none: in one batch, then one by one.
    let stacks = [
        vec![(AdapterId(0), 0.75), (AdapterId(1), 2.0)],
        vec![(AdapterId(1), 1.0)],
        Vec::new(),
    ];
    let text = ids(&mut noise, 6);
    let rows = |range: std::ops::Range<u32>, sequences: &[u32]| Pass {
        rows: sequences
            .iter()
            .enumerate()
            .flat_map(|(at, page)| {
                range
                    .clone()
                    .map(|position| PassRow {
                        token: text[position as usize],
                        position,
                        sequence: at as u32,
                        place: page * 32 + position,
                    })
                    .collect::<Vec<_>>()
            })
            .collect(),
        sequences: sequences
            .iter()
            .map(|page| PassSequence {
                pages: vec![*page],
                len: range.end,
                adapters: stacks[*page as usize].clone(),
            })
            .collect(),
        wanted: sequences
            .iter()
            .enumerate()
            .map(|(at, _)| (at as u32 + 1) * (range.end - range.start) - 1)
            .collect(),
    };
    let mut got =
        vec![pollster::block_on(gpu.forward(&rows(0..5, &[0, 1, 2]))).expect("it is good")];
    for page in 0..3 {
        got.push(pollster::block_on(gpu.forward(&rows(5..6, &[page]))).expect("it is good"));
    }
    let mut want = vec![Vec::new()];
    for stack in &stacks {
        let applied: Vec<(&Adapter, f32)> = stack
            .iter()
            .map(|(id, strength)| (adapters[id.0 as usize].1, *strength))
            .collect();
        let merged = merged(&header, &weights, &applied);
        let model = ReferenceModel::new(header.clone(), &merged, Rounding::Exact);
        let mut reference = OneText::new(model);
        want[0].extend(reference.forward(&text[..5], 0).expect("it is good"));
        want.push(reference.forward(&text[5..], 5).expect("it is good"));
    }
    for (got, want) in got.iter().zip(&want) {
        assert_close(got, want, TOLERANCE);
    }
    // Without adapters the base is what it was.
    pollster::block_on(gpu.set_adapters(&[])).expect("nothing fits");
    let mut reference = reference(&file);
    let got = pollster::block_on(gpu.forward(&rows(0..5, &[0]))).expect("it is good");
    assert_close(
        &got,
        &reference.forward(&text[..5], 0).expect("it is good"),
        TOLERANCE,
    );
}

/// The weights with adapters in them, in f32.
fn merged(config: &ModelConfig, weights: &Weights, adapters: &[(&Adapter, f32)]) -> Weights {
    let info = |slot: Slot, (rows, cols): (usize, usize)| TensorInfo {
        slot,
        format: Format::F32,
        rows,
        cols,
        offset: 0,
    };
    let infos: Vec<TensorInfo> = weights
        .iter()
        .map(|(slot, matrix)| info(slot, (matrix.rows, matrix.cols)))
        .collect();
    let mut store = WeightStore::default();
    store.begin(config, &infos).expect("they are good");
    for (at, TensorInfo { slot, cols, .. }) in infos.iter().enumerate() {
        let mut floats = weights.floats(*slot);
        for (adapter, strength) in adapters {
            let Some(pair) = adapter.pairs.get(slot) else {
                continue;
            };
            for (row, floats) in floats.chunks_mut(*cols).enumerate() {
                for (float, delta) in floats.iter_mut().zip(pair.delta_row(row)) {
                    *float += (delta * f64::from(*strength)) as f32;
                }
            }
        }
        let bytes: Vec<u8> = floats.iter().flat_map(|it| it.to_le_bytes()).collect();
        store.write(at, 0, &bytes).expect("they are whole");
    }
    store.finish().expect("all of them");
    store.into_weights().expect("every tensor")
}

//! Many sequences in one batch, and tokens chosen without asking the CPU.

use super::{
    OneText, POSITIONS, TOLERANCE, argmax, assert_close, batch, empty_reference, exact, gpu_model,
    ids, model, on_gpu, reference, rows,
};
use crate::gpu::test_device::{Noise, device};
use crate::gpu::{CacheFormat, GpuSettings};
use crate::model::Model;
use crate::pacing::Submits;
use crate::pass::{Pass, PassRow, PassSequence};
use crate::quant::Format;

#[test]
fn many_sequences_share_batches_pages_and_beginnings() {
    let Some(device) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    for cache in [CacheFormat::F32, CacheFormat::Q8] {
        let settings = GpuSettings {
            cache: Some(cache),
            ..exact()
        };
        let tolerance = match cache {
            CacheFormat::F32 => TOLERANCE,
            CacheFormat::F16 | CacheFormat::Q8 => 0.05,
        };
        let mut gpu = on_gpu(&device, &file, settings).model;
        let mut reference = reference(&file).model;
        let mut both = |each: &dyn Fn(&mut Model) -> Vec<f32>| {
            assert_close(&each(&mut gpu), &each(&mut reference), tolerance);
        };
        // Both hand out the same names in the same order.
        let mut names = Model::new(empty_reference(&file), POSITIONS);
        let open = |names: &mut Model| names.open().expect("room");
        let (_, a, b) = (open(&mut names), open(&mut names), open(&mut names));
        both(&|model| {
            assert_eq!((model.open().ok(), model.open().ok()), (Some(a), Some(b)));
            Vec::new()
        });
        let text = ids(&mut Noise(970), 90);
        both(&|model| batch(model, &rows(a, &text[..20], &[19])));
        both(&|model| {
            let mixed = [
                rows(b, &text[30..45], &[3, 14]),
                rows(a, &text[20..30], &[9]),
            ];
            batch(model, &mixed.concat())
        });
        // A third sequence begins like the first and goes on in a copy of its last page.
        let c = open(&mut names);
        both(&|model| {
            assert_eq!(model.share_prefix(a, 25).ok(), Some(c));
            let next = [rows(c, &text[50..51], &[0]), rows(a, &text[51..52], &[0])];
            batch(model, &next.concat())
        });
        both(&|model| batch(model, &rows(a, &text[52..84], &[31])));
        both(&|model| {
            batch(model, &rows(a, &text[60..89], &[]));
            model.shift(a, 32, 32).expect("whole pages go");
            batch(model, &rows(a, &text[89..90], &[0]))
        });
        both(&|model| {
            model.truncate(a, 40).expect("it is longer");
            batch(model, &rows(a, &text[..2], &[1]))
        });
    }
}

#[test]
fn several_greedy_tokens_at_once_are_those_one_by_one() {
    let Some(device) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    let mut model = gpu_model(&device, &file, exact());
    let text = ids(&mut Noise(980), 12);
    let pages = [vec![3, 1], vec![0, 2]];
    let fed = |sequence: usize, position: usize, token: u32| PassRow {
        token,
        position: position as u32,
        sequence: sequence as u32,
        place: pages[sequence][position / 32] * 32 + position as u32 % 32,
    };
    let pass = |rows: Vec<PassRow>, wanted: Vec<u32>| Pass {
        sequences: [0, 1]
            .map(|at| PassSequence {
                pages: pages[at].clone(),
                len: rows
                    .iter()
                    .filter(|row| row.sequence == at as u32)
                    .map(|row| row.position + 1)
                    .max()
                    .unwrap_or(0),
                adapters: Vec::new(),
            })
            .into(),
        rows,
        wanted,
    };
    let prompt: Vec<PassRow> = (0..29)
        .map(|at| fed(0, at, text[at % 12]))
        .chain([fed(1, 0, text[5])])
        .collect();
    let mut run = |pass: &Pass| pollster::block_on(model.forward(pass)).expect("it is good");
    run(&pass(prompt, Vec::new()));
    let mut want = Vec::new();
    let mut next = [7, 8];
    for step in 0..8 {
        let rows = vec![fed(0, 29 + step, next[0]), fed(1, 1 + step, next[1])];
        let logits = run(&pass(rows, vec![0, 1]));
        let (first, second) = logits.split_at(logits.len() / 2);
        next = [argmax(first), argmax(second)];
        want.extend(next);
    }
    let rows = vec![fed(0, 29, 7), fed(1, 1, 8)];
    let first = pass(rows, vec![0, 1]);
    let token = model.dispatches(2) as u64 + 2;
    for (submits, expected) in [
        (Submits::WHOLE, 1),
        // Seven dispatches over both rows take 8 ms.
        (Submits::measured(7, 8.0, 4.0), (8 * token).div_ceil(7)),
    ] {
        model.set_submits(submits);
        let before = model.traffic();
        let got = pollster::block_on(model.greedy(&first, 8)).expect("it is good");
        assert_eq!(got, want);
        let traffic = model.traffic();
        assert_eq!(traffic.submits - before.submits, expected);
        assert_eq!(traffic.waits - before.waits, 1);
        // Eight tokens of each of two answers, in words of four bytes.
        assert_eq!(traffic.read_bytes - before.read_bytes, 2 * 8 * 4);
    }
}

#[test]
fn greedy_sequences_go_on_from_where_they_are() {
    let Some(device) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    let mut gpu = OneText::new(gpu_model(&device, &file, exact())).model;
    let mut reference = reference(&file).model;
    let text = ids(&mut Noise(985), 40);
    let mut both = |each: &dyn Fn(&mut Model) -> Vec<u32>| {
        assert_eq!(each(&mut gpu), each(&mut reference));
    };
    let mut names = Model::new(empty_reference(&file), POSITIONS);
    let (_, a, b) = (
        names.open(),
        names.open().expect("room"),
        names.open().expect("room"),
    );
    both(&|model| {
        assert_eq!((model.open().ok(), model.open().ok()), (Some(a), Some(b)));
        batch(model, &rows(a, &text[..30], &[]));
        batch(model, &rows(b, &text[30..33], &[]));
        // Into a page that the first sequence does not have yet.
        let next = [(a, text[33]), (b, text[34])];
        let ids = pollster::block_on(model.greedy(&next, 8)).expect("there is room");
        assert_eq!((model.len(a), model.len(b)), (Ok(38), Ok(11)));
        let next = [(b, ids[15])];
        [
            ids,
            pollster::block_on(model.greedy(&next, 3)).expect("there is room"),
        ]
        .concat()
    });
}

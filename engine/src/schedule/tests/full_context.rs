//! Answers that outgrow the context, against one whose every token and every shift is done by hand.

use super::*;
use crate::adapter::{Adapter, LoraPair};
use crate::kv::KvFormat;
use crate::weights::{LayerSlot, Slot};

/// positions; of the model's context, four pages.
const CONTEXT: usize = 128;

/// positions; the page that stays, and the one after it that goes: half of the other three, rounded
/// down.
const PAGE: usize = 32;

fn endless(n_prompt: usize, max_tokens: usize, seed: u64) -> Ask {
    let mut ask = ask(n_prompt, max_tokens, seed);
    ask.params.keep = Some(10);
    ask
}

/// The answer, and how many tokens went.
fn by_hand(
    (mut model, tokenizer): (Model, Tokenizer),
    ask: &Ask,
    adapters: Vec<(AdapterId, f32)>,
) -> (Vec<u32>, usize) {
    let mut generation = generation(&model, &tokenizer, ask);
    let id = model.open().expect("room");
    model.set_adapters(id, adapters).expect("they are there");
    let (mut n_read, mut gone) = (0, 0);
    while !generation.is_finished() {
        if model.len(id) == Ok(CONTEXT) {
            model.shift(id, PAGE, PAGE).expect("whole pages");
            gone += PAGE;
        }
        let next = [generation.tokens()[n_read]];
        let mut logits = pollster::block_on(model.read(id, &next)).expect("a good token");
        n_read += 1;
        if n_read == generation.tokens().len() {
            let step = generation.take(&mut logits, &tokenizer);
            let _ = step.expect("finite logits");
        }
        assert!(generation.is_finished() || generation.discarded() >= gone);
    }
    assert_eq!(generation.discarded(), gone);
    (generation.answer().to_vec(), gone)
}

fn expected(ask: &Ask) -> Vec<u32> {
    by_hand(load(CONTEXT), ask, Vec::new()).0
}

#[test]
fn one_that_may_forget_goes_on_and_another_ends() {
    let mut rig = Rig::new(1_024, 2, false);
    let endless = endless(100, 200, 1);
    let (whole, gone) = by_hand(load(CONTEXT), &endless, Vec::new());
    assert_eq!((whole.len(), gone), (200, 6 * PAGE));
    let id = rig.submit(&endless);
    rig.run();
    assert_eq!(rig.answers[&id], whole);
    let mut ended = endless;
    ended.params.keep = None;
    let id = rig.submit(&ended);
    rig.run();
    assert_eq!(rig.answers[&id], whole[..29]);
    assert_eq!(rig.finished[&id], FinishReason::Length);
}

#[test]
fn what_is_forgotten_does_not_depend_on_what_else_is_computed() {
    // In the smaller cache one and a half of three contexts fit.
    for (positions, guesses) in [(1_024, false), (1_024, true), (192, false), (192, true)] {
        let mut rig = Rig::new(positions, 3, guesses);
        let asks = [(3, 150, 0), (126, 90, 1), (128, 70, 2), (60, 130, 3)];
        let asks = asks.map(|(n_prompt, n, seed)| endless(n_prompt, n, seed));
        let ids: Vec<JobId> = asks.iter().map(|ask| rig.submit(ask)).collect();
        rig.run();
        for (id, ask) in ids.iter().zip(&asks) {
            assert_eq!(rig.answers[id], expected(ask), "{positions} {guesses}");
        }
    }
}

#[test]
fn guesses_and_shifts_go_together() {
    let mut repeating = endless(4, 300, 2);
    repeating.params.sampling.logit_bias = vec![(7, 100.0)];
    let mut rig = Rig::new(CONTEXT, 1, true);
    let id = rig.submit(&repeating);
    rig.run();
    assert_eq!(rig.answers[&id], expected(&repeating));
    assert!(rig.passes < 250, "{} passes", rig.passes);
}

#[test]
fn answers_with_a_beginning_in_common_forget_on_their_own() {
    // Each shares the pages of the one before, and turns copies of them.
    let mut rig = Rig::new(2 * CONTEXT, 2, false);
    let first = ask(90, 10, 4);
    rig.submit(&first);
    rig.run();
    let asks = [1, 2, 3].map(|seed| Ask {
        params: endless(90, 150, seed).params,
        ..first.clone()
    });
    let ids: Vec<JobId> = asks.iter().map(|ask| rig.submit(ask)).collect();
    rig.run();
    for (id, ask) in ids.iter().zip(&asks) {
        assert_eq!(rig.answers[id], expected(ask));
    }
    rig.scheduler.forget_prefixes(&mut rig.model);
    let sequences = rig.model.sequences();
    assert_eq!(sequences.free_pages(), sequences.max_pages());
}

#[test]
fn one_that_is_taken_over_goes_on_from_any_token() {
    let ask = endless(70, 200, 3);
    let whole = expected(&ask);
    for taken in [1, 57, 58, 59, 90, 100, 199, 200] {
        let mut rig = Rig::new(CONTEXT, 1, true);
        let id = rig.submit_with(&ask, &whole[..taken], Vec::new());
        rig.run();
        assert_eq!(rig.answers[&id], whole, "from {taken}");
    }
}

#[test]
fn on_another_model_it_goes_on() {
    let ask = endless(70, 200, 3);
    for n_steps in [10, 61, 62, 120] {
        let mut rig = Rig::new(CONTEXT, 1, false);
        let id = rig.submit(&ask);
        for _ in 0..n_steps {
            rig.step();
        }
        rig.model = load(CONTEXT).0;
        rig.scheduler.restart();
        rig.run();
        assert_eq!(rig.answers[&id], expected(&ask), "after {n_steps}");
    }
}

#[test]
fn with_adapters_and_with_keys_as_bytes_too() {
    let load = || {
        let (header, weights) = SyntheticModel::SMALL.load();
        let config = header.config.clone();
        let cpu = CpuModel::new(header.config, weights).expect("room");
        let mut model = Model::new(cpu.with_kv(KvFormat::Q8), 2 * CONTEXT);
        let mut random = Random(5);
        let slot = Slot::Layer(1, LayerSlot::AttnV);
        let (rows, cols) = slot.shape(&config);
        let mut floats = |n: usize| (0..n).map(|_| random.symmetric()).collect();
        let (a, b) = (floats(2 * cols), floats(2 * rows));
        let pair = LoraPair {
            rank: 2,
            scale: 4.0,
            a,
            b,
        };
        let adapter = Adapter {
            name: String::new(),
            rank: 2,
            pairs: BTreeMap::from([(slot, pair)]),
        };
        let id = pollster::block_on(model.add_adapter(adapter)).expect("room");
        ((model, header.tokenizer), id)
    };
    let (loaded, adapter) = load();
    let mut rig = Rig::on(loaded, 2, true);
    let ask = endless(40, 200, 7);
    let worn = rig.submit_with(&ask, &[], vec![(adapter, 1.0)]);
    let plain = rig.submit(&ask);
    rig.run();
    assert_eq!(
        rig.answers[&worn],
        by_hand(load().0, &ask, vec![(adapter, 1.0)]).0
    );
    assert_eq!(rig.answers[&plain], by_hand(load().0, &ask, Vec::new()).0);
    assert_ne!(rig.answers[&worn], rig.answers[&plain]);
}

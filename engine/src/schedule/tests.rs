//! Many answers at once against each alone.

mod full_context;

use std::collections::BTreeMap;

use super::*;
use crate::cpu::CpuModel;
use crate::generate::{FinishReason, GenerationParams};
use crate::sampler::SamplerParams;
use crate::synthetic::{Random, SyntheticModel};

/// One answer, asked for.
#[derive(Clone)]
struct Ask {
    prompt: Vec<u32>,
    params: GenerationParams,
    priority: Priority,
}

fn load(positions: usize) -> (Model, Tokenizer) {
    let (header, weights) = SyntheticModel::SMALL.load();
    let model = Model::new(
        CpuModel::new(header.config, weights).expect("room"),
        positions,
    );
    (model, header.tokenizer)
}

fn ask(n_prompt: usize, max_tokens: usize, seed: u64) -> Ask {
    let mut random = Random(seed);
    let greedy = seed.is_multiple_of(2);
    Ask {
        prompt: (0..n_prompt).map(|_| random.bits() % 320).collect(),
        params: GenerationParams {
            sampling: SamplerParams {
                temperature: if greedy { 0.0 } else { 0.8 },
                seed,
                ..SamplerParams::GREEDY
            },
            max_tokens,
            stop: Vec::new(),
            ignore_eos: true,
            keep: None,
        },
        priority: Priority::Donated,
    }
}

/// The answer as nobody else's presence could change it.
fn alone(ask: &Ask) -> Vec<u32> {
    let (mut model, tokenizer) = load(128);
    let mut generation = generation(&model, &tokenizer, ask);
    while !generation.is_finished() {
        let step = pollster::block_on(generation.step(&mut model, &tokenizer));
        let _ = step.expect("a good step");
    }
    generation.answer().to_vec()
}

fn generation(model: &Model, tokenizer: &Tokenizer, ask: &Ask) -> Generation {
    Generation::new(model, tokenizer, &ask.prompt, &[], ask.params.clone()).expect("a good request")
}

struct Rig {
    model: Model,
    tokenizer: Tokenizer,
    scheduler: Scheduler,
    answers: BTreeMap<JobId, Vec<u32>>,
    finished: BTreeMap<JobId, FinishReason>,
    failed: BTreeMap<JobId, EngineError>,
    /// In the order of the passes, whose tokens came.
    served: Vec<JobId>,
    /// Tokens told as read, by slices of prompts.
    prefills: Vec<(JobId, usize)>,
    passes: usize,
}

impl Rig {
    fn new(positions: usize, max_running: usize, guesses: bool) -> Self {
        Self::on(load(positions), max_running, guesses)
    }

    fn on((model, tokenizer): (Model, Tokenizer), max_running: usize, guesses: bool) -> Self {
        Self {
            model,
            tokenizer,
            scheduler: Scheduler::new(max_running, guesses),
            answers: BTreeMap::new(),
            finished: BTreeMap::new(),
            failed: BTreeMap::new(),
            served: Vec::new(),
            prefills: Vec::new(),
            passes: 0,
        }
    }

    fn submit(&mut self, ask: &Ask) -> JobId {
        self.submit_with(ask, &[], Vec::new())
    }

    /// An answer that goes on after `resumed`, of which nothing is said again.
    fn submit_with(
        &mut self,
        ask: &Ask,
        resumed: &[u32],
        adapters: Vec<(AdapterId, f32)>,
    ) -> JobId {
        let (model, tokenizer) = (&self.model, &self.tokenizer);
        let generation =
            Generation::new(model, tokenizer, &ask.prompt, resumed, ask.params.clone());
        let generation = generation.expect("a good request");
        let id = self
            .scheduler
            .submit(generation, ask.priority, adapters)
            .expect("few are there");
        self.answers.insert(id, resumed.to_vec());
        id
    }

    fn step(&mut self) {
        let step = self.scheduler.step(&mut self.model, &self.tokenizer);
        self.passes += 1;
        for event in pollster::block_on(step).expect("a good step") {
            match event {
                Event::Failed(id, error) => drop(self.failed.insert(id, error)),
                Event::Finished(id, finish) => {
                    assert_eq!(self.finished.insert(id, finish.reason), None);
                }
                Event::Step(id, Step::Token(token)) => {
                    let answer = self.answers.get_mut(&id).expect("it was submitted");
                    assert_eq!(token.index, answer.len());
                    answer.push(token.id);
                    self.served.push(id);
                }
                Event::Step(id, Step::Prefill { done, .. }) => self.prefills.push((id, done)),
                Event::Step(_, Step::Finished(_)) => panic!("an end is an event of its own"),
            }
        }
    }

    fn run(&mut self) {
        while self.scheduler.has_work() {
            self.step();
            assert!(self.passes < 10_000, "it goes round in circles");
        }
    }
}

#[test]
fn answers_beside_others_are_what_they_are_alone() {
    for guesses in [false, true] {
        let mut rig = Rig::new(1_024, 6, guesses);
        let asks: Vec<Ask> = (0..9).map(|n| ask(3 + 9 * n, 20, n as u64)).collect();
        let ids: Vec<JobId> = asks.iter().map(|ask| rig.submit(ask)).collect();
        rig.run();
        for (id, ask) in ids.iter().zip(&asks) {
            assert_eq!(rig.answers[id], alone(ask));
            assert_eq!(rig.finished[id], FinishReason::Length);
        }
    }
}

#[test]
fn a_text_that_repeats_itself_takes_fewer_passes_and_says_the_same() {
    let mut repeating = ask(4, 100, 2);
    repeating.params.sampling.logit_bias = vec![(7, 100.0)];
    let mut plain = Rig::new(256, 1, false);
    let id = plain.submit(&repeating);
    plain.run();
    let mut guessing = Rig::new(256, 1, true);
    guessing.submit(&repeating);
    guessing.run();
    assert_eq!(guessing.answers[&id], plain.answers[&id]);
    assert!(
        guessing.passes * 3 < plain.passes * 2,
        "{} of {} passes",
        guessing.passes,
        plain.passes
    );
}

#[test]
fn the_person_at_the_page_comes_first_and_nobody_starves() {
    let mut rig = Rig::new(1_024, 4, false);
    let donated = rig.submit(&ask(3, 60, 1));
    let local = rig.submit(&Ask {
        priority: Priority::Local,
        ..ask(3, 60, 3)
    });
    while !rig.finished.contains_key(&local) {
        rig.step();
    }
    let of_others = rig.served.iter().filter(|id| **id == donated).count();
    assert!((6..=10).contains(&of_others), "{of_others} tokens");
    rig.run();
    assert_eq!(rig.answers[&donated], alone(&ask(3, 60, 1)));
}

#[test]
fn who_does_not_donate_computes_nothing_for_others() {
    let mut rig = Rig::new(1_024, 4, false);
    let donated = rig.submit(&ask(3, 5, 1));
    rig.scheduler.set_donates(false);
    for _ in 0..20 {
        rig.step();
    }
    assert!(rig.answers[&donated].is_empty());
    rig.scheduler.set_donates(true);
    rig.run();
    assert_eq!(rig.scheduler.last_turn(), Priority::Donated);
    assert_eq!(rig.answers[&donated], alone(&ask(3, 5, 1)));
}

#[test]
fn a_long_prompt_does_not_hold_up_an_answer() {
    let mut rig = Rig::new(1_024, 4, false);
    let short = rig.submit(&ask(1, 20, 1));
    rig.step();
    rig.submit(&ask(120, 1, 2));
    for n in 2..=5 {
        rig.step();
        assert_eq!(rig.answers[&short].len(), n);
    }
}

#[test]
fn whoever_begins_as_another_did_reads_only_the_rest() {
    let mut rig = Rig::new(1_024, 2, false);
    let first = ask(70, 10, 4);
    let id = rig.submit(&first);
    rig.run();
    rig.prefills.clear();
    let passes = rig.passes;
    let mut second = first.clone();
    second.prompt.extend(&rig.answers[&id][..5]);
    second.prompt.push(7);
    let id = rig.submit(&second);
    rig.step();
    assert_eq!((rig.prefills.len(), rig.answers[&id].len()), (0, 1));
    assert_eq!(rig.passes, passes + 1);
    rig.run();
    assert_eq!(rig.answers[&id], alone(&second));
}

#[test]
fn in_a_small_cache_answers_take_turns_and_stay_what_they_are() {
    // Room for one and a half of three answers of 100 positions.
    let mut rig = Rig::new(160, 3, false);
    let asks: Vec<Ask> = (0..3).map(|n| ask(60, 40, n)).collect();
    let ids: Vec<JobId> = asks.iter().map(|ask| rig.submit(ask)).collect();
    rig.run();
    for (id, ask) in ids.iter().zip(&asks) {
        assert_eq!(rig.answers[id], alone(ask));
    }
}

#[test]
fn an_answer_too_long_for_the_cache_fails_by_name_and_others_go_on() {
    let mut rig = Rig::new(64, 2, false);
    let long = rig.submit(&ask(60, 40, 1));
    let short = rig.submit(&ask(3, 5, 2));
    rig.run();
    assert!(matches!(
        rig.failed.get(&long),
        Some(EngineError::CacheFull { .. })
    ));
    assert_eq!(rig.answers[&short], alone(&ask(3, 5, 2)));
    assert!(rig.model.sequences().free_pages() > 0);
}

#[test]
fn a_cancelled_answer_leaves_nothing_behind() {
    let mut rig = Rig::new(1_024, 2, false);
    let id = rig.submit(&ask(3, 50, 1));
    rig.step();
    rig.scheduler.cancel(&mut rig.model, id);
    assert!(!rig.scheduler.has_work());
    rig.scheduler.forget_prefixes(&mut rig.model);
    assert!(rig.model.is_empty());
    let sequences = rig.model.sequences();
    assert_eq!(sequences.free_pages(), sequences.max_pages());
}

#[test]
fn on_another_model_every_answer_goes_on() {
    let mut rig = Rig::new(1_024, 4, true);
    let asks: Vec<Ask> = (0..3).map(|n| ask(40, 30, n)).collect();
    let ids: Vec<JobId> = asks.iter().map(|ask| rig.submit(ask)).collect();
    for _ in 0..12 {
        rig.step();
    }
    rig.model = load(1_024).0;
    rig.scheduler.restart();
    rig.run();
    for (id, ask) in ids.iter().zip(&asks) {
        assert_eq!(rig.answers[id], alone(ask));
    }
}

#[test]
fn an_end_that_nobody_heard_of_survives_a_pass_that_failed() {
    let mut rig = Rig::new(1_024, 4, false);
    let ask = ask(10, 4, 1);
    let whole = alone(&ask);
    let (model, tokenizer) = (&rig.model, &rig.tokenizer);
    let done = Generation::new(model, tokenizer, &ask.prompt, &whole, ask.params.clone());
    let done = done.expect("a good request");
    let done = rig.scheduler.submit(done, Priority::Local, Vec::new());
    let done = done.expect("few are there");
    // Its adapter is not there, so that no pass can be composed.
    let generation = generation(&rig.model, &rig.tokenizer, &ask);
    let adapters = vec![(AdapterId(9), 1.0)];
    let failing = rig.scheduler.submit(generation, Priority::Local, adapters);
    failing.expect("few are there");
    rig.step();
    assert_eq!(rig.finished[&done], FinishReason::Length);
    let step = rig.scheduler.step(&mut rig.model, &rig.tokenizer);
    pollster::block_on(step).expect_err("and then the error comes");
}

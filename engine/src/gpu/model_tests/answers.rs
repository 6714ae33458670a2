//! Whole answers: tokens that the GPU chooses by itself are those that the CPU would choose, and what
//! comes back is counted; a device that is lost in between does not change an answer.

use super::{POSITIONS, exact, ids, model};
use crate::generate::{Finish, FinishReason, Generation, GenerationParams, Step};
use crate::gguf::{GgufReader, ReadOptions};
use crate::gpu::test_device::{Noise, device};
use crate::gpu::{GpuDevice, GpuUpload, Traffic};
use crate::model::{Backend, Model};
use crate::quant::Format;
use crate::sampler::SamplerParams;
use crate::schedule::{Event, JobId, Priority, Scheduler};
use crate::tokenizer::Tokenizer;
use std::collections::BTreeMap;

fn load(device: &GpuDevice, file: &[u8]) -> (Model, Tokenizer) {
    let mut upload = GpuUpload::new(device).with_settings(exact());
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: None,
        available_bytes: None,
        max_context: 512,
    });
    reader.push(file, &mut upload).expect("a good file");
    let header = reader.finish(&mut upload).expect("a whole one");
    let gpu = pollster::block_on(upload.into_model()).expect("it fits");
    (Model::new(gpu, POSITIONS), header.tokenizer)
}

pub(super) struct Rig {
    pub(super) model: Model,
    pub(super) tokenizer: Tokenizer,
    scheduler: Scheduler,
    pub(super) answers: BTreeMap<JobId, Vec<u32>>,
    pub(super) ends: BTreeMap<JobId, Finish>,
    passes: usize,
}

impl Rig {
    pub(super) fn new(device: &GpuDevice, file: &[u8]) -> Self {
        Self::with(device, file, Scheduler::new(4, false))
    }

    /// One that computes guesses of what comes next.
    pub(super) fn guessing(device: &GpuDevice, file: &[u8]) -> Self {
        Self::with(device, file, Scheduler::new(4, true))
    }

    fn with(device: &GpuDevice, file: &[u8], scheduler: Scheduler) -> Self {
        let (model, tokenizer) = load(device, file);
        Self {
            model,
            tokenizer,
            scheduler,
            answers: BTreeMap::new(),
            ends: BTreeMap::new(),
            passes: 0,
        }
    }

    pub(super) fn submit(&mut self, prompt: &[u32], params: GenerationParams) -> JobId {
        let generation = Generation::new(&self.model, &self.tokenizer, prompt, &[], params);
        self.submit_generation(generation.expect("a good request"))
    }

    pub(super) fn submit_generation(&mut self, generation: Generation) -> JobId {
        let id = self
            .scheduler
            .submit(generation, Priority::Local, Vec::new());
        let id = id.expect("few are there");
        self.answers.insert(id, Vec::new());
        id
    }

    fn step(&mut self) {
        self.passes += 1;
        let step = self.scheduler.step(&mut self.model, &self.tokenizer);
        for event in pollster::block_on(step).expect("a good step") {
            match event {
                Event::Failed(_, error) => panic!("{error}"),
                Event::Finished(id, finish) => drop(self.ends.insert(id, finish)),
                Event::Step(id, Step::Token(token)) => {
                    let answer = self.answers.get_mut(&id).expect("it was submitted");
                    assert_eq!(token.index, answer.len());
                    answer.push(token.id);
                }
                Event::Step(..) => {}
            }
        }
    }

    pub(super) fn run(&mut self) {
        while self.scheduler.has_work() {
            self.step();
            assert!(self.passes < 1_000, "it goes round in circles");
        }
    }

    /// What one answer read is not there for the next, whose logits are the same bits then.
    pub(super) fn forget(&mut self) {
        self.scheduler.forget_prefixes(&mut self.model);
    }

    pub(super) fn traffic(&self) -> Traffic {
        match self.model.backend() {
            Backend::Gpu(gpu) => gpu.traffic(),
            Backend::Cpu(_) | Backend::Reference(_) => panic!("it was made on a GPU"),
        }
    }
}

pub(super) fn greedy(max_tokens: usize) -> GenerationParams {
    GenerationParams {
        sampling: SamplerParams::GREEDY,
        max_tokens,
        stop: Vec::new(),
        ignore_eos: true,
        keep: None,
    }
}

fn sampled(max_tokens: usize) -> GenerationParams {
    GenerationParams {
        sampling: SamplerParams {
            temperature: 0.9,
            seed: 5,
            ..SamplerParams::GREEDY
        },
        ..greedy(max_tokens)
    }
}

/// Asking for log probabilities brings every logit to the CPU, and changes no choice.
pub(super) fn told(params: GenerationParams) -> GenerationParams {
    GenerationParams {
        sampling: SamplerParams {
            logprobs: Some(0),
            ..params.sampling
        },
        ..params
    }
}

#[test]
fn a_greedy_answer_brings_back_four_bytes_for_each_token() {
    let Some(device) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    let prompt = ids(&mut Noise(31), 20);
    let mut seen = Rig::new(&device, &file);
    let slow = seen.submit(&prompt, told(greedy(41)));
    seen.run();
    let logits_bytes = 4 * seen.model.config().vocab_size as u64;
    assert!(seen.traffic().read_bytes >= 41 * logits_bytes);

    let mut rig = Rig::new(&device, &file);
    rig.step();
    let before = rig.traffic();
    let id = rig.submit(&prompt, greedy(41));
    rig.run();
    assert_eq!(rig.answers[&id], seen.answers[&slow]);
    let traffic = rig.traffic();
    assert_eq!(traffic.read_bytes - before.read_bytes, 41 * 4);
    // The prompt gives the first token, and eight come with each further wait.
    assert_eq!(traffic.waits - before.waits, 1 + 5);
    assert_eq!(traffic.submits - before.submits, 1 + 5);

    rig.scheduler.set_max_steps(1);
    let before = rig.traffic();
    let one_by_one = rig.submit(&prompt, greedy(41));
    rig.run();
    assert_eq!(rig.answers[&one_by_one], seen.answers[&slow]);
    assert_eq!(rig.traffic().submits - before.submits, 41);
    assert_eq!(rig.traffic().read_bytes - before.read_bytes, 41 * 4);
}

#[test]
fn an_answer_that_ends_between_two_waits_leaves_nothing_behind() {
    let Some(device) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    let prompt = ids(&mut Noise(32), 20);
    for max_tokens in [1, 2, 9, 11, 140] {
        let mut rig = Rig::new(&device, &file);
        let whole = rig.submit(&prompt, told(greedy(max_tokens)));
        rig.run();
        let id = rig.submit(&prompt, greedy(max_tokens));
        rig.run();
        assert_eq!(rig.answers[&id], rig.answers[&whole]);
        assert_eq!(rig.ends[&id], rig.ends[&whole]);

        // Ends before its fifth token at the latest.
        let Some(stop) = rig.answers[&id].get(4) else {
            continue;
        };
        let stop = rig.tokenizer.piece(*stop).to_vec();
        let Ok(stop) = String::from_utf8(stop) else {
            continue;
        };
        let stopping = GenerationParams {
            stop: vec![stop],
            ..greedy(max_tokens)
        };
        let whole = rig.submit(&prompt, told(stopping.clone()));
        rig.run();
        let id = rig.submit(&prompt, stopping);
        rig.run();
        assert_eq!(rig.answers[&id], rig.answers[&whole]);
        assert_eq!(rig.ends[&id], rig.ends[&whole]);
        assert_eq!(rig.ends[&id].reason, FinishReason::Stop);
        rig.forget();
        let sequences = rig.model.sequences();
        assert_eq!(sequences.free_pages(), sequences.max_pages());
    }
}

#[test]
fn an_answer_that_may_forget_says_the_same_however_its_tokens_are_chosen() {
    let Some(device) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    let prompt = ids(&mut Noise(34), 50);
    let endless = |params| GenerationParams {
        keep: Some(10),
        ..params
    };
    let mut rig = Rig::new(&device, &file);
    let n = 2 * rig.model.config().context_len;
    let one_by_one = rig.submit(&prompt, endless(told(greedy(n))));
    rig.run();
    let several = rig.submit(&prompt, endless(greedy(n)));
    rig.run();
    assert_eq!(rig.answers[&several], rig.answers[&one_by_one]);
    assert_eq!(rig.answers[&several].len(), n);
}

#[test]
fn answers_of_all_kinds_go_on_after_their_device_was_lost() {
    let Some(first) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    let prompt = ids(&mut Noise(33), 50);
    let asks = [greedy(60), sampled(40), told(greedy(20))];
    let submit = |rig: &mut Rig| -> Vec<JobId> {
        let each = asks.iter().enumerate();
        each.map(|(n, params)| rig.submit(&prompt[n..], params.clone()))
            .collect()
    };
    let mut undisturbed = Rig::new(&first, &file);
    let want = submit(&mut undisturbed);
    undisturbed.run();

    for lost_after in [0, 1, 7, 25] {
        let device = self::device().expect("there was an adapter a moment ago");
        let mut rig = Rig::new(&device, &file);
        let got = submit(&mut rig);
        for _ in 0..lost_after {
            rig.step();
        }
        device.destroy();
        let step = rig.scheduler.step(&mut rig.model, &rig.tokenizer);
        pollster::block_on(step).expect_err("the device is gone");
        let late = rig.submit(&prompt[..9], greedy(12));
        let another = self::device().expect("there was an adapter a moment ago");
        rig.model = load(&another, &file).0;
        rig.scheduler.restart();
        rig.run();
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(rig.answers[got], undisturbed.answers[want], "{lost_after}");
            assert_eq!(rig.ends[got], undisturbed.ends[want]);
        }
        assert_eq!(rig.answers[&late].len(), 12);
    }
}

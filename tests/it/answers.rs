//! Answers of the native CPU path to prompts that the browser tests ask of real tabs, where the
//! same path gives the same bits.
//!
//! `tests/vectors/answers.json` holds them; `THRUM_BLESS=1 cargo test -p thrum-tests answers`
//! writes it anew after the default model changed.

use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use thrum_engine::chat::{ChatContext, Message, render};
use thrum_engine::cpu::CpuModel;
use thrum_engine::generate::{Generation, GenerationParams, Step, TokenEvent};
use thrum_engine::gguf::{GgufReader, ModelHeader, ReadOptions};
use thrum_engine::model::Model;
use thrum_engine::pass::AdapterId;
use thrum_engine::sampler::SamplerParams;
use thrum_engine::schedule::{Event, Priority, Scheduler};
use thrum_engine::tokenizer::EncodeOptions;
use thrum_engine::weights::WeightStore;

/// Few-shot prompts whose answers are short or long, known or nonsense.
const PROMPTS: [&str; 20] = [
    "cat>tac;dog>god;bird>",
    "hive>HIVE;bee>BEE;comb>",
    "reverse: starling>",
    "upper: hive>",
    "first: honey>",
    "caesar1: bee>",
    "month: March>",
    "spell: 42>",
    "1907-01-26>26/01/1907;1971-08-09>09/08/1971;1920-04-04>",
    "wale mini>wmailnei;qb zl>qzbl;pc ny>",
    "eighty four>84;sixty three>63;sixty nine>69;fifty>50;sixty four>",
    "mssm>yes;nmuwwumn>yes;blllcb>no;holler>no;alt>",
    "rr>r-r;hmtz>h-m-t-z;clocks>",
    "5>May;6>June;3>March;10>",
    "hbrq>hbrqhbrq;gin>gingin;ejywv>",
    "Hello, how are you?>",
    "café>éfac;你好>",
    "a",
    "zip: bee hum>",
    "reverse: starling>gnilrats;upper: hive>HIVE;month: May>",
];

/// positions; room for one answer.
const POSITIONS: usize = 512;

/// A prompt whose sampled answer is long enough to kill a provider in the middle of it.
const SEEDED: &str = "reverse: starling>gnilrats;";
const SEEDED_TOKENS: usize = 300;
const SEED: u64 = 20_261_121;

fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The default model on the native CPU path.
pub(crate) struct Cpu {
    header: ModelHeader,
    pub(crate) model: Model,
}

impl Cpu {
    pub(crate) fn load() -> Self {
        let file = fs::read(path("../models/thrum-demo.q8_0.gguf")).unwrap();
        let mut reader = GgufReader::new(ReadOptions {
            file_bytes: Some(file.len() as u64),
            available_bytes: None,
            max_context: 4_096,
        });
        let mut store = WeightStore::default();
        for chunk in file.chunks(65_536) {
            reader.push(chunk, &mut store).unwrap();
        }
        let header = reader.finish(&mut store).unwrap();
        let weights = store.into_weights().unwrap();
        let config = header.config.clone();
        let cpu = CpuModel::new(config, weights).unwrap();
        let model = Model::new(cpu, POSITIONS);
        Self { header, model }
    }

    fn answer(&mut self, text: &str, control: bool, params: GenerationParams) -> String {
        self.generate(text, control, &[], params).1
    }

    /// What plain text is answered with adapters on: tokens and text.
    pub(crate) fn answer_with(
        &mut self,
        text: &str,
        adapters: &[(AdapterId, f32)],
        params: GenerationParams,
    ) -> (Vec<TokenEvent>, String) {
        self.generate(text, false, adapters, params)
    }

    fn generate(
        &mut self,
        text: &str,
        control: bool,
        adapters: &[(AdapterId, f32)],
        params: GenerationParams,
    ) -> (Vec<TokenEvent>, String) {
        let tokenizer = &self.header.tokenizer;
        let options = EncodeOptions {
            add_bos: true,
            control,
        };
        let prompt = tokenizer.encode(text, options).unwrap();
        let generation = Generation::new(&self.model, tokenizer, &prompt, &[], params).unwrap();
        let mut scheduler = Scheduler::new(1, true);
        let job = scheduler.submit(generation, Priority::Local, adapters.to_vec());
        job.unwrap();
        let mut tokens = Vec::new();
        while scheduler.has_work() {
            let events = pollster::block_on(scheduler.step(&mut self.model, tokenizer)).unwrap();
            for event in events {
                if let Event::Step(_, Step::Token(token)) = event {
                    tokens.push(token);
                }
            }
        }
        scheduler.forget_prefixes(&mut self.model);
        let bytes: Vec<u8> = tokens.iter().flat_map(|it| it.bytes.clone()).collect();
        (tokens, String::from_utf8_lossy(&bytes).into_owned())
    }
}

pub(crate) fn params(
    max_tokens: usize,
    temperature: f32,
    seed: u64,
    ignore_eos: bool,
) -> GenerationParams {
    GenerationParams {
        sampling: SamplerParams {
            temperature,
            seed,
            ..SamplerParams::GREEDY
        },
        max_tokens,
        stop: Vec::new(),
        ignore_eos,
        keep: None,
    }
}

fn instruction(cpu: &mut Cpu, text: &str) -> String {
    let template = cpu.header.chat_template.clone().unwrap();
    let message = Message {
        role: "user".into(),
        content: text.into(),
    };
    let chat = ChatContext {
        bos_token: "<s>",
        eos_token: ";",
        add_generation_prompt: true,
    };
    let prompt = render(&template, &[message], chat).unwrap();
    cpu.answer(&prompt, true, params(64, 0.0, 0, false))
}

fn computed() -> Value {
    let mut cpu = Cpu::load();
    let greedy: Vec<_> = PROMPTS
        .iter()
        .map(|prompt| {
            json!({
                "prompt": prompt,
                "text": cpu.answer(prompt, false, params(64, 0.0, 0, true)),
            })
        })
        .collect();
    let seeded = cpu.answer(SEEDED, false, params(SEEDED_TOKENS, 1.0, SEED, true));
    let catalogue: Value =
        serde_json::from_str(&fs::read_to_string(path("../models/index.json")).unwrap()).unwrap();
    let prompts = catalogue["models"][0]["prompts"].as_array().unwrap();
    let instructions: Vec<_> = prompts
        .iter()
        .map(|prompt| prompt["text"].as_str().unwrap())
        .map(|text| json!({ "instruction": text, "answer": instruction(&mut cpu, text) }))
        .collect();
    json!({
        "greedy": greedy,
        "seeded": { "prompt": SEEDED, "max_tokens": SEEDED_TOKENS, "seed": SEED, "text": seeded },
        "instructions": instructions,
    })
}

#[test]
fn the_engine_still_answers_what_the_browser_tests_expect() {
    let file = path("vectors/answers.json");
    let computed = computed();
    if std::env::var_os("THRUM_BLESS").is_some() {
        fs::write(
            &file,
            serde_json::to_string_pretty(&computed).unwrap() + "\n",
        )
        .unwrap();
    }
    let expected: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(computed, expected);
}

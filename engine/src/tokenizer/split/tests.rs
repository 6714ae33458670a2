//! Every pre-tokenizer against the regular expression that it writes out.

use std::sync::LazyLock;

use fancy_regex::Regex;
use proptest::prelude::*;

use super::*;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const CONTRACTIONS: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]";
const EAST: &str = r"[\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}&&[^\s]]+";
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

/// Published expressions, one applied after another.
fn expressions(pre: PreTokenizer) -> Vec<String> {
    let spaces = r"\s+(?!\S)|\s+";
    let gpt4 = |before: &str, letters: &str, digits: &str, others: &str, lines: &str| {
        format!(
            r"{before}[^\r\n\p{{L}}\p{{N}}]?{letters}|\p{{N}}{digits}| ?{others}|\s*{lines}|{spaces}"
        )
    };
    let apart = format!("{CONTRACTIONS}|");
    let others = r"[^\s\p{L}\p{N}]+[\r\n]*";
    let qwen2 = |before: &str| gpt4(before, r"\p{L}+", "", others, r"[\r\n]+");
    let cased = |after: &str, digits: &str| {
        let (capital, small) = (r"((?=[\p{L}])([^a-z]))", r"((?=[\p{L}])([^A-Z]))");
        let before = r"[^\r\n\p{L}\p{N}]?";
        format!(
            r"{before}{capital}*{small}+{after}|{before}{capital}+{small}*{after}|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|{spaces}"
        )
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    match pre {
        PreTokenizer::BailingMoe => vec![gpt4(&apart, r"\p{L}+", "", others, r"[\r\n]")],
        PreTokenizer::Bloom => texts(&[BLOOM]),
        PreTokenizer::DeepseekCoder => {
            texts(&[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", EAST, r"\p{N}"])
        }
        PreTokenizer::DeepseekLlm => texts(&[
            r"[\r\n]",
            // Every letter with a case that the texts below have.
            r"\s?[\p{Lu}\p{Ll}\p{Lt}]+",
            r"\s?[!-/:-~！-／：-～‘-‟、。]+",
            r"\s+$",
            EAST,
            r"\p{N}+",
        ]),
        PreTokenizer::DeepseekV3 => texts(&[
            r"\p{N}{1,3}",
            r"[一-龥\x{3040}-ゟ゠-ヿ]+",
            concat!(
                r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|",
                r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
        ]),
        PreTokenizer::Default => {
            texts(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"])
        }
        PreTokenizer::Falcon => texts(&[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"]),
        PreTokenizer::Gpt2 => texts(&[GPT2]),
        PreTokenizer::Gpt4o => vec![cased(&format!("(?:{CONTRACTIONS})?"), "{1,3}")],
        PreTokenizer::LlamaBpe => vec![gpt4(&apart, r"\p{L}+", "{1,3}", others, r"[\r\n]+")],
        PreTokenizer::MiniCpm5 => {
            let words = gpt4(&apart, r"\p{L}+", "+", others, r"[\r\n]+");
            vec![r"\p{N}{1,3}".to_owned(), words]
        }
        PreTokenizer::Qwen2 => vec![qwen2(&apart)],
        PreTokenizer::Qwen35 => {
            let others = r"[^\s\p{L}\p{M}\p{N}]+[\r\n]*";
            vec![gpt4(&apart, r"[\p{L}\p{M}]+", "", others, r"[\r\n]+")]
        }
        PreTokenizer::SeedCoder => {
            let others = r"[^\s\p{L}\p{N}\r\n]+";
            vec![gpt4(&apart, r"\p{L}+", "{1}", others, r"[\r\n]+")]
        }
        PreTokenizer::SmolLm => texts(&[r"\p{N}", GPT2]),
        PreTokenizer::Tekken => vec![cased("", "")],
        PreTokenizer::Ufakzeka => vec![qwen2("")],
        PreTokenizer::Viking => texts(&[BLOOM, r"\p{N}"]),
    }
}

struct Expected {
    pre: PreTokenizer,
    expressions: Vec<Regex>,
}

impl Expected {
    fn all() -> Vec<Self> {
        let compiled = |pre| Self {
            pre,
            expressions: (expressions(pre).iter())
                .map(|expression| Regex::new(expression).expect("a valid expression"))
                .collect(),
        };
        ALL.into_iter().map(compiled).collect()
    }

    fn check(&self, text: &str) {
        let mut parts = vec![text.to_owned()];
        for expression in &self.expressions {
            let cut = |part: &String| matches_and_gaps(expression, part);
            parts = parts.iter().flat_map(cut).collect();
        }
        assert_eq!(self.pre.split(text), parts, "{:?} on {text:?}", self.pre);
    }
}

fn matches_and_gaps(expression: &Regex, text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut end = 0;
    for found in expression.find_iter(text) {
        let found = found.expect("no backtracking limit is reached");
        parts.push(text[end..found.start()].to_owned());
        parts.push(found.as_str().to_owned());
        end = found.end();
    }
    parts.push(text[end..].to_owned());
    parts.retain(|part| !part.is_empty());
    parts
}

const ALL: [PreTokenizer; 18] = [
    PreTokenizer::BailingMoe,
    PreTokenizer::Bloom,
    PreTokenizer::DeepseekCoder,
    PreTokenizer::DeepseekLlm,
    PreTokenizer::DeepseekV3,
    PreTokenizer::Default,
    PreTokenizer::Falcon,
    PreTokenizer::Gpt2,
    PreTokenizer::Gpt4o,
    PreTokenizer::LlamaBpe,
    PreTokenizer::MiniCpm5,
    PreTokenizer::Qwen2,
    PreTokenizer::Qwen35,
    PreTokenizer::SeedCoder,
    PreTokenizer::SmolLm,
    PreTokenizer::Tekken,
    PreTokenizer::Ufakzeka,
    PreTokenizer::Viking,
];

#[test]
fn cuts_as_the_expressions_do() {
    let texts = [
        "",
        "Hello, world! It's 12345 o'clock.",
        "  two  spaces   end  ",
        "tabs\t\tand\r\n\r\n newlines \n x",
        "it's IT'S we'Re 'twas ''s",
        "größer 東京 naïve résumé Ⅻ ½ ٣٤٥ à",
        "a+b=c; x<y>z | $5 ~ ^",
        "🐝🐝 bee\u{a0}nbsp\u{3000}wide",
        "1234567 12 1",
        "\n\n\n",
        " \n \n ",
        "  \u{0301}x",
        "~x ~é ~ `a` ÀÉaBC straßeABc ABC'S HTTPServer don't'LL",
        "a/b//\n/ c.\n\n\n(d|e)…。 क्षत्रिय",
    ];
    for expected in ALL_EXPECTED.iter() {
        for text in texts {
            expected.check(text);
        }
    }
}

static ALL_EXPECTED: LazyLock<Vec<Expected>> = LazyLock::new(Expected::all);

proptest! {
    #[test]
    fn cuts_random_texts_as_the_expressions_do(
        text in "[ \t\r\n'a-eA-ESTLMRVD0-9.,!$+<|_\u{a0}\u{301}éßñ東京Ⅻ½٣🐝ⓐाक]{0,24}"
    ) {
        for expected in ALL_EXPECTED.iter() {
            expected.check(&text);
        }
    }
}

//! What `adapter_config.json` says, as far as it changes the result.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{AdapterError, MAX_RANK};

/// bytes; PEFT writes about 1 kB and about 50 more for each pattern.
const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Settings that change the result in ways that are not computed here, and why; each may be
/// absent, null, false, empty or 0.
const UNSUPPORTED: [(&str, &str); 13] = [
    (
        "alora_invocation_tokens",
        "it is active from certain tokens on",
    ),
    ("arrow_config", "it mixes adapters by their inputs"),
    ("kasa_config", "it is not a plain low-rank pair"),
    (
        "layer_replication",
        "it makes layers that the model does not have",
    ),
    (
        "lora_bias",
        "biases that were trained are not a low-rank adapter",
    ),
    (
        "modules_to_save",
        "whole replaced matrices are not a low-rank adapter",
    ),
    ("monteclora_config", "it is not a plain low-rank pair"),
    (
        "target_parameters",
        "parameters outside linear layers take no adapter",
    ),
    (
        "trainable_token_indices",
        "the token embedding takes no adapter",
    ),
    ("use_bdlora", "its matrices are in diagonal blocks"),
    (
        "use_dora",
        "DoRA scales the rows of the sum of base and adapter",
    ),
    ("use_qalora", "its inputs are pooled"),
    ("velora_config", "it is not a plain low-rank pair"),
];

/// Ways to start training that leave the base as it is. Others (PiSSA, OLoRA, LoftQ, ...) subtract
/// the start from the base's weights, so that the adapter fits the changed base only.
const PLAIN_STARTS: [&str; 3] = ["eva", "gaussian", "orthogonal"];

/// What changes a pair's scale, and the settings that were checked on the way.
///
/// Everything else in the file says how the adapter was trained, or which modules it has, which the
/// tensors say themselves. `fan_in_fan_out` is about how GPT-2 stores its base and PEFT ignores it
/// for the linear layers of every architecture here.
#[derive(Debug)]
pub(super) struct PeftConfig {
    base: String,
    rank: usize,
    alpha: f64,
    rank_pattern: Patterns<u64>,
    alpha_pattern: Patterns<f64>,
    rank_stabilised: bool,
}

/// Values for modules whose paths match; the first pattern that does counts.
#[derive(Debug)]
struct Patterns<T>(Vec<(String, T)>);

#[derive(serde::Deserialize)]
struct Raw {
    peft_type: Option<String>,
    base_model_name_or_path: Option<String>,
    r: Option<u64>,
    lora_alpha: Option<f64>,
    rank_pattern: Option<Patterns<u64>>,
    alpha_pattern: Option<Patterns<f64>>,
    use_rslora: Option<bool>,
    bias: Option<String>,
    init_lora_weights: Option<Value>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl PeftConfig {
    pub(super) fn read(json: &[u8]) -> Result<Self, AdapterError> {
        if json.len() > MAX_CONFIG_BYTES {
            let reason = format!(
                "{} bytes, and at most {MAX_CONFIG_BYTES} are read",
                json.len()
            );
            return Err(AdapterError::BadConfig { reason });
        }
        let raw: Raw = serde_json::from_slice(json).map_err(|error| AdapterError::BadConfig {
            reason: error.to_string(),
        })?;
        raw.refuse_unsupported()?;
        let rank = raw.r.unwrap_or(8);
        let (Ok(rank @ 1..=MAX_RANK), Some(alpha)) = (usize::try_from(rank), raw.lora_alpha) else {
            return Err(bad(
                "r",
                rank,
                format!("between 1 and {MAX_RANK}, with a lora_alpha"),
            ));
        };
        let rank_pattern = raw.rank_pattern.unwrap_or(Patterns(Vec::new()));
        let alpha_pattern = raw.alpha_pattern.unwrap_or(Patterns(Vec::new()));
        rank_pattern.check("rank_pattern")?;
        alpha_pattern.check("alpha_pattern")?;
        Ok(Self {
            base: raw.base_model_name_or_path.unwrap_or_default(),
            rank,
            alpha,
            rank_pattern,
            alpha_pattern,
            rank_stabilised: raw.use_rslora.unwrap_or(false),
        })
    }

    /// A name for the adapter: what it was trained on.
    pub(super) fn name(&self) -> String {
        self.base.clone()
    }

    /// The scale of the pair at `path`, whose tensors have rank `rank`.
    pub(super) fn scale(&self, path: &str, rank: usize) -> Result<f32, AdapterError> {
        let stated = self
            .rank_pattern
            .first_match(path)
            .unwrap_or(self.rank as u64);
        if stated != rank as u64 {
            return Err(bad(
                &format!("the rank of {path}"),
                rank,
                format!("{stated}, as stated"),
            ));
        }
        let alpha = self.alpha_pattern.first_match(path).unwrap_or(self.alpha);
        let divisor = if self.rank_stabilised {
            libm::sqrt(rank as f64)
        } else {
            rank as f64
        };
        Ok((alpha / divisor) as f32)
    }
}

impl Raw {
    fn refuse_unsupported(&self) -> Result<(), AdapterError> {
        let unsupported = |what: String, reason| Err(AdapterError::Unsupported { what, reason });
        match self.peft_type.as_deref() {
            Some("LORA") => {}
            other => {
                let what = format!("peft_type {}", other.unwrap_or("null"));
                return unsupported(what, "only LORA is read");
            }
        }
        if let Some(bias) = self.bias.as_deref().filter(|bias| *bias != "none") {
            let reason = "biases that were trained are not a low-rank adapter";
            return unsupported(format!("bias {bias}"), reason);
        }
        if let Some(Value::String(start)) = &self.init_lora_weights
            && !PLAIN_STARTS.contains(&start.as_str())
        {
            let reason = "it fits a base whose weights were changed with it";
            return unsupported(format!("init_lora_weights {start}"), reason);
        }
        for (key, reason) in UNSUPPORTED {
            if self.rest.get(key).is_some_and(|value| !is_off(value)) {
                return unsupported(key.to_owned(), reason);
            }
        }
        Ok(())
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

impl<T: Copy> Patterns<T> {
    fn check(&self, setting: &str) -> Result<(), AdapterError> {
        match self
            .0
            .iter()
            .find(|(pattern, _)| literal(pattern).is_none())
        {
            Some((pattern, _)) => Err(bad(
                &format!("a key of {setting}"),
                pattern,
                "a module's name, or the end of one after a dot".to_owned(),
            )),
            None => Ok(()),
        }
    }

    /// The value of the first pattern that names the module at `path`, or its end after a dot.
    fn first_match(&self, path: &str) -> Option<T> {
        let matches = |pattern: &str| {
            let rest = path.strip_suffix(literal(pattern)?.as_str())?;
            let whole = rest.is_empty();
            (whole || rest.ends_with('.') && !pattern.starts_with('^')).then_some(())
        };
        self.0
            .iter()
            .find_map(|(pattern, value)| matches(pattern).map(|()| *value))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patterns<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PatternsVisitor(PhantomData))
    }
}

struct PatternsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PatternsVisitor<T> {
    type Value = Patterns<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of patterns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Patterns<T>, A::Error> {
        let mut patterns = Vec::new();
        while let Some(entry) = map.next_entry()? {
            patterns.push(entry);
        }
        Ok(Patterns(patterns))
    }
}

/// The name that a pattern stands for. PEFT reads patterns as regular expressions that match a
/// path or its end after a dot; what PEFT itself writes are names, and anchors and escaped dots are
/// as much of the language as is understood here.
fn literal(pattern: &str) -> Option<String> {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = pattern.strip_suffix('$').unwrap_or(pattern);
    let name = pattern.replace("\\.", ".");
    name.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        .then_some(name)
        .filter(|name| !name.is_empty())
}

fn bad(key: &str, value: impl ToString, expected: String) -> AdapterError {
    AdapterError::BadSetting {
        key: key.to_owned(),
        value: value.to_string(),
        expected,
    }
}

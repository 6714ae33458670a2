//! What the page says of models: what one is and whether it fits, and which the browser keeps.

use crate::format;

/// What a model's header says, before any more of it is downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// for people
    pub name: String,
    /// `general.architecture`
    pub architecture: String,
    /// weights
    pub parameters: u64,
    /// how most of its bytes are stored
    pub format: String,
    /// bytes over the network, where known
    pub download_bytes: Option<u64>,
    /// bytes of weights
    pub weight_bytes: u64,
    /// bytes of keys and values
    pub kv_bytes: u64,
    /// bytes of memory in all
    pub memory_bytes: u64,
    /// bytes of memory there are, where known
    pub available_bytes: Option<u64>,
    /// bytes the browser would still keep, where known
    pub free_storage_bytes: Option<u64>,
    /// tokens
    pub context_tokens: u32,
    /// whether it can be loaded
    pub fits: bool,
    /// why, or why not
    pub reason: String,
}

impl Inspected {
    /// What is shown of it, as names and values.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let known = |bytes: Option<u64>| bytes.map_or(format::UNKNOWN.to_owned(), format::bytes);
        let download = match self.download_bytes {
            Some(0) => "nothing: it is here".to_owned(),
            bytes => known(bytes),
        };
        vec![
            ("Model", self.name.clone()),
            (
                "Kind",
                format!(
                    "{}, {} weights in {}",
                    self.architecture,
                    millions(self.parameters),
                    self.format
                ),
            ),
            ("To download", download),
            ("Memory for weights", format::bytes(self.weight_bytes)),
            (
                "Memory for the context",
                format!(
                    "{} ({})",
                    format::bytes(self.kv_bytes),
                    format::counted(self.context_tokens.into(), "token", "tokens")
                ),
            ),
            ("Memory in all", format::bytes(self.memory_bytes)),
            ("Memory available", known(self.available_bytes)),
            ("Storage available", known(self.free_storage_bytes)),
        ]
    }
}

/// A model in the browser's storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// for loading and removing it
    pub id: String,
    /// for people
    pub name: String,
    /// bytes that are here
    pub bytes: u64,
    /// bytes in all, where known
    pub total_bytes: Option<u64>,
    /// whether all of it is here
    pub complete: bool,
    /// day it came, `2026-11-21`
    pub day: String,
    /// where it comes from
    pub source: String,
}

impl Kept {
    /// Size, progress and day, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let size = match (self.complete, self.total_bytes) {
            (true, _) => format::bytes(self.bytes),
            (false, Some(total)) => format!(
                "{} of {} so far",
                format::bytes(self.bytes),
                format::bytes(total)
            ),
            (false, None) => format!("{} so far", format::bytes(self.bytes)),
        };
        format!("{size}, {}", self.day)
    }
}

/// Everything in the browser's storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// models, whole or on their way
    pub models: Vec<Kept>,
    /// why nothing can be kept
    pub trouble: Option<String>,
    /// bytes in use by this site, where known
    pub used_bytes: Option<u64>,
    /// bytes this site may use, where known
    pub quota_bytes: Option<u64>,
}

impl Storage {
    /// In one line: how many models, how much they take, and how much there is.
    #[must_use]
    pub fn words(&self) -> String {
        if let Some(trouble) = &self.trouble {
            return format!("This browser keeps nothing for this page: {trouble}.");
        }
        let bytes = self.models.iter().map(|model| model.bytes).sum();
        let models = format::counted(self.models.len() as u64, "model", "models");
        let room = match self.used_bytes.zip(self.quota_bytes) {
            Some((used, quota)) => format!(
                "; this site uses {} of the {} that the browser allows it",
                format::bytes(used),
                format::bytes(quota)
            ),
            None => String::new(),
        };
        format!("{models}, {}{room}.", format::bytes(bytes))
    }
}

/// What is being done about a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Busy {
    /// its header is being read
    Checking,
    /// it is being loaded
    Loading,
}

/// Weights in millions or thousand millions, as models are called.
fn millions(parameters: u64) -> String {
    match parameters {
        0..100_000_000 => format!("{:.1} million", parameters as f64 / 1e6),
        100_000_000..1_000_000_000 => format!("{} million", parameters / 1_000_000),
        _ => format!("{:.1} thousand million", parameters as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_counted_as_models_are_called() {
        assert_eq!(millions(779_392), "0.8 million");
        assert_eq!(millions(134_515_008), "134 million");
        assert_eq!(millions(7_615_616_512), "7.6 thousand million");
    }

    #[test]
    fn storage_is_summed_up_in_a_line() {
        let model = |bytes, complete| Kept {
            id: "00".to_owned(),
            name: "m".to_owned(),
            bytes,
            total_bytes: Some(2_000_000),
            complete,
            day: "2026-11-21".to_owned(),
            source: String::new(),
        };
        let storage = Storage {
            models: vec![model(2_000_000, true), model(500_000, false)],
            trouble: None,
            used_bytes: Some(3_000_000),
            quota_bytes: Some(10_000_000_000),
        };
        let words = storage.words();
        assert!(
            words.contains("2 models") && words.contains("2.50 MB"),
            "{words}"
        );
        assert!(words.contains("10.0 GB"), "{words}");
        assert_eq!(
            storage.models[1].words(),
            "500 kB of 2.00 MB so far, 2026-11-21"
        );
    }
}

//! The relay's list of models: what a click would download, and what it is good for.

use serde::Deserialize;

/// bytes; a longer `/models/index.json` is not read. A hundred models with their prompts fit.
pub const MAX_CATALOGUE_BYTES: usize = 256 * 1024;

/// count; example prompts that are shown. Two rows of chips.
pub const MAX_PROMPTS: usize = 8;

/// `/models/index.json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Catalogue {
    /// every model the relay serves
    pub models: Vec<Listed>,
}

/// A model the relay serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// its name for programs
    pub id: String,
    /// its name for people
    pub name: String,
    /// bytes to download
    pub bytes: u64,
    /// hexadecimal digest of the file: the model's id among peers
    pub sha256: String,
    /// SPDX expression
    #[serde(default)]
    pub licence: String,
    /// whether it is loaded unless something else is chosen
    #[serde(default)]
    pub default: bool,
    /// what it is, in a sentence
    #[serde(default)]
    pub description: String,
    /// prompts that it answers
    #[serde(default)]
    pub prompts: Vec<Example>,
}

/// A prompt that a model answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Example {
    /// what it shows
    pub title: String,
    /// what to send
    pub text: String,
}

impl Catalogue {
    /// Reads the catalogue.
    ///
    /// # Errors
    /// A sentence for people where the text is too long or no catalogue.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_CATALOGUE_BYTES {
            return Err(format!(
                "the list of models has {} bytes, more than {MAX_CATALOGUE_BYTES}",
                text.len()
            ));
        }
        serde_json::from_str(text).map_err(|fault| format!("the list of models is wrong: {fault}"))
    }

    /// The model that is loaded unless something else is chosen.
    #[must_use]
    pub fn default_model(&self) -> Option<&Listed> {
        self.models.iter().find(|model| model.default)
    }

    /// The listed model with this digest.
    #[must_use]
    pub fn by_digest(&self, digest: &str) -> Option<&Listed> {
        self.models.iter().find(|model| model.sha256 == digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_catalogue_in_the_repository() {
        let catalogue = Catalogue::parse(include_str!("../../models/index.json")).expect("valid");
        let model = catalogue.default_model().expect("a default");
        assert!(model.bytes > 0);
        assert!(!model.prompts.is_empty());
        assert_eq!(catalogue.by_digest(&model.sha256), Some(model));
    }

    #[test]
    fn optional_fields_may_be_absent() {
        let text = r#"{"models":[{"id":"a","name":"A","bytes":1,"sha256":"00"}]}"#;
        let catalogue = Catalogue::parse(text).expect("valid");
        assert_eq!(catalogue.default_model(), None);
    }

    #[test]
    fn refuses_what_is_no_catalogue() {
        assert!(Catalogue::parse("<!doctype html>").is_err());
        let long = format!("{{\"models\":[]}}{}", " ".repeat(MAX_CATALOGUE_BYTES));
        assert!(Catalogue::parse(&long).is_err());
    }
}

//! The models that relays offer, and from a name to a file.

use crate::engine_link::ResolvedSource;
use crate::fault::LoadFailure;
use crate::http;
use crate::options::ModelSource;
use serde::{Deserialize, Serialize};
use thrum_protocol::id::ModelId;
use wasm_bindgen::JsCast as _;

/// What `GET /models/index.json` says.
#[derive(Deserialize)]
struct Index {
    models: Vec<Entry>,
}

/// One model of a catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: ModelId,
    #[serde(default)]
    pub(crate) default: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) licence: Option<String>,
    /// tokens that fit
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<u32>,
    /// absolute address of the file, not part of the document
    #[serde(default)]
    pub(crate) url: String,
}

/// The models of all relays that answer, the first relay's first; each id once.
///
/// # Errors
/// [`LoadFailure::NoCatalogue`] where no relay answers.
pub(crate) async fn list(relays: &[String]) -> Result<Vec<Entry>, LoadFailure> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut reached = false;
    let mut reasons = Vec::new();
    for origin in origins(relays) {
        match http::get_json::<Index>(&format!("{origin}/models/index.json")).await {
            Ok(index) => {
                reached = true;
                for mut entry in index.models {
                    if entries.iter().all(|known| known.sha256 != entry.sha256) {
                        entry.url = format!("{origin}/models/{}", entry.file);
                        entries.push(entry);
                    }
                }
            }
            Err(error) => reasons.push(error.to_string()),
        }
    }
    if reached {
        return Ok(entries);
    }
    Err(LoadFailure::NoCatalogue {
        reason: reasons.join("; "),
    })
}

/// Where the file of a model is.
///
/// # Errors
/// [`LoadFailure`] where there is no such model.
pub(crate) async fn resolve(
    source: Option<&ModelSource>,
    relays: &[String],
) -> Result<ResolvedSource, LoadFailure> {
    let wanted = match source {
        Some(ModelSource::Blob(blob)) => {
            let file = blob.dyn_ref::<web_sys::File>();
            let name = file.map_or_else(|| "a file".to_owned(), web_sys::File::name);
            return Ok(ResolvedSource::Blob {
                blob: blob.clone(),
                name,
            });
        }
        Some(ModelSource::Url(url)) => {
            let path = url.split(['?', '#']).next().unwrap_or(url);
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            return Ok(ResolvedSource::Url {
                url: url.clone(),
                name,
                sha256: None,
                bytes: None,
            });
        }
        Some(ModelSource::Catalogue(name)) => Some(name),
        None => None,
    };
    let entries = list(relays).await?;
    let entry = match wanted {
        Some(name) => entries.iter().find(|entry| entry.answers_to(name)),
        None => entries
            .iter()
            .find(|entry| entry.default)
            .or_else(|| entries.first()),
    };
    let Some(entry) = entry else {
        let known: Vec<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
        return Err(LoadFailure::Unknown {
            offered: known.join(", "),
        });
    };
    Ok(ResolvedSource::Url {
        url: entry.url.clone(),
        name: entry.name.clone(),
        sha256: Some(entry.sha256),
        bytes: Some(entry.bytes),
    })
}

impl Entry {
    fn answers_to(&self, name: &str) -> bool {
        [&self.id, &self.name, &self.file]
            .into_iter()
            .any(|own| own == name)
            || self.sha256.to_string() == name
    }
}

/// Where catalogues may be: relays that were given as origins; where there are none, the origin
/// of the page itself, which a relay usually serves.
fn origins(relays: &[String]) -> Vec<String> {
    let given = relays.iter().filter(|text| !text.starts_with('/'));
    let mut origins: Vec<_> = given
        .map(|text| text.trim_end_matches('/').to_owned())
        .collect();
    if origins.is_empty() {
        origins.extend(web_sys::window().and_then(|page| page.location().origin().ok()));
    }
    origins
}

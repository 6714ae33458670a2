//! The models that relays offer, and from a name to a file.

use crate::engine_link::{ResolvedFile, ResolvedSource, UrlFile};
use crate::fault::LoadFailure;
use crate::http;
use crate::options::{FileSource, ModelSource};
use crate::part_names::part_names;
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

/// Where the files of a model are.
///
/// # Errors
/// [`LoadFailure`] where there is no such model.
pub(crate) async fn resolve(
    source: Option<&ModelSource>,
    relays: &[String],
) -> Result<ResolvedSource, LoadFailure> {
    let wanted = match source {
        Some(ModelSource::Files(files)) => return Ok(resolve_files(files)),
        Some(ModelSource::Catalogue(name)) => Some(name),
        None => None,
    };
    let id: Option<ModelId> = wanted.and_then(|name| name.parse().ok());
    let entries = match (list(relays).await, id) {
        (Ok(entries), _) => entries,
        (Err(_), Some(_)) => Vec::new(),
        (Err(failure), None) => return Err(failure),
    };
    let entry = match wanted {
        Some(name) => entries.iter().find(|entry| entry.answers_to(name)),
        None => entries
            .iter()
            .find(|entry| entry.default)
            .or_else(|| entries.first()),
    };
    let Some(entry) = entry else {
        if let Some(id) = id {
            return Ok(ResolvedSource::kept(id));
        }
        let known: Vec<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
        return Err(LoadFailure::Unknown {
            offered: known.join(", "),
        });
    };
    let file = UrlFile {
        url: entry.url.clone(),
        sha256: Some(entry.sha256),
        bytes: Some(entry.bytes),
    };
    let files = vec![ResolvedFile::Url(file)];
    Ok(ResolvedSource::files(&entry.name, files))
}

/// Files of one model; an address of one part of a split file stands for all of its parts.
fn resolve_files(files: &[FileSource]) -> ResolvedSource {
    let name = files.first().map_or_else(|| "a file".to_owned(), name_of);
    if let [FileSource::Url { url, sha256: None }] = files
        && let Some(urls) = part_names(url)
    {
        let part = |url| {
            ResolvedFile::Url(UrlFile {
                url,
                sha256: None,
                bytes: None,
            })
        };
        return ResolvedSource::files(&name, urls.into_iter().map(part).collect());
    }
    let mut files: Vec<_> = files.iter().map(|file| (name_of(file), file)).collect();
    // Parts that a person chose come in any order.
    if files.iter().all(|(name, _)| part_names(name).is_some()) {
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    let file = |(_, file): (String, &FileSource)| match file {
        FileSource::Blob(blob) => ResolvedFile::Blob(blob.clone()),
        FileSource::Url { url, sha256 } => ResolvedFile::Url(UrlFile {
            url: url.clone(),
            sha256: *sha256,
            bytes: None,
        }),
    };
    ResolvedSource::files(&name, files.into_iter().map(file).collect())
}

fn name_of(file: &FileSource) -> String {
    match file {
        FileSource::Blob(blob) => {
            let file = blob.dyn_ref::<web_sys::File>();
            file.map_or_else(|| "a file".to_owned(), web_sys::File::name)
        }
        FileSource::Url { url, .. } => {
            let path = url.split(['?', '#']).next().unwrap_or(url);
            path.rsplit('/').next().unwrap_or(path).to_owned()
        }
    }
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

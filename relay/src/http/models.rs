//! Owns `/models/*`: the catalogue, and the files that it lists and no others.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{self, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE, RANGE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::{Site, sentence};
use crate::limits::MAX_MODEL_INDEX_BYTES;
use crate::small_file;

/// The catalogue's own file.
const INDEX: &str = "index.json";

/// The part of `index.json` that decides what is served; the rest is for the page.
#[derive(Deserialize)]
struct Catalogue {
    models: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    file: String,
}

pub(super) async fn serve(
    State(site): State<Arc<Site>>,
    extract::Path(file): extract::Path<String>,
    mut request: Request,
) -> Response {
    let listed = match listed_file(site.models.clone(), file).await {
        Ok(path) => path,
        Err(refusal) => return refusal.into_response(),
    };
    let is_current = match request.headers().get(IF_RANGE) {
        Some(wanted) => etag_of(&listed).await.as_ref() == Some(wanted),
        None => true,
    };
    if !is_current {
        request.headers_mut().remove(RANGE);
    }
    let mut response = ServeFile::new(&listed)
        .oneshot(request)
        .await
        .unwrap_or_else(|never| match never {})
        .map(Body::new)
        .into_response();
    if response.status() == StatusCode::NOT_FOUND {
        return sentence(
            StatusCode::NOT_FOUND,
            "this model is in the catalogue, and its file is not on this relay",
        );
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if listed
        .extension()
        .is_none_or(|extension| extension != "json")
    {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
    }
    response
}

/// Why a file is not served.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("this relay offers no models: cannot read {INDEX}: {0}")]
    NoCatalogue(io::Error),
    #[error("this relay's {INDEX} does not hold: {0}")]
    BadCatalogue(serde_json::Error),
    #[error("no such model; /models/{INDEX} lists those of this relay")]
    Unlisted,
    #[error("looking up the model broke off: {0}")]
    Interrupted(tokio::task::JoinError),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoCatalogue(_) | Self::Unlisted => StatusCode::NOT_FOUND,
            Self::BadCatalogue(_) | Self::Interrupted(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        sentence(status, self)
    }
}

async fn listed_file(directory: PathBuf, file: String) -> Result<PathBuf, Refusal> {
    tokio::task::spawn_blocking(move || {
        let index = directory.join(INDEX);
        let text = small_file::read_at_most(&index, MAX_MODEL_INDEX_BYTES)
            .map_err(Refusal::NoCatalogue)?;
        if file == INDEX {
            return Ok(index);
        }
        let catalogue: Catalogue = serde_json::from_str(&text).map_err(Refusal::BadCatalogue)?;
        let is_listed = catalogue.models.iter().any(|entry| entry.file == file);
        if is_listed && is_plain_name(&file) {
            Ok(directory.join(file))
        } else {
            Err(Refusal::Unlisted)
        }
    })
    .await
    .map_err(Refusal::Interrupted)?
}

/// A catalogue is written by hand as well: an entry may not lead out of its directory either.
fn is_plain_name(file: &str) -> bool {
    Path::new(file).file_name().is_some_and(|name| name == file)
}

async fn etag_of(path: &Path) -> Option<HeaderValue> {
    let mut head = Request::new(Body::empty());
    *head.method_mut() = Method::HEAD;
    let response = ServeFile::new(path)
        .oneshot(head)
        .await
        .unwrap_or_else(|never| match never {});
    response.headers().get(ETAG).cloned()
}

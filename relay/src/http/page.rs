//! Owns the built page: its files, their types, how long browsers keep them, and `/`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, Request, State};
use axum::handler::HandlerWithoutStateExt;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH,
};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tower_http::services::ServeDir;

use super::{Site, content_policy, sentence};
use crate::limits::MAX_INDEX_HTML_BYTES;
use crate::small_file;

/// Hexadecimal digits in the names that Trunk gives to files whose content never changes.
const HASH_DIGITS: usize = 16;

/// Seconds; a year, the longest that browsers honour.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Kept, and asked about each time: a new build is seen at once.
const ASK_FIRST: &str = "no-cache";

/// `GET /`: the page with a content policy that names its own inline scripts.
pub(super) async fn index(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let html = match read_index(&site.page).await {
        Ok(html) => html,
        Err(error) => {
            let text = missing_index(&site.page, &error);
            return sentence(StatusCode::SERVICE_UNAVAILABLE, text);
        }
    };
    let etag = format!(
        "\"{}\"",
        URL_SAFE_NO_PAD.encode(Sha256::digest(html.as_bytes()))
    );
    let unchanged = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let answer_headers: [(HeaderName, String); 3] = [
        (CACHE_CONTROL, ASK_FIRST.to_owned()),
        (CONTENT_SECURITY_POLICY, content_policy::for_page(&html)),
        (ETAG, etag),
    ];
    if unchanged {
        (StatusCode::NOT_MODIFIED, answer_headers).into_response()
    } else {
        (answer_headers, Html(html)).into_response()
    }
}

/// Reads the page's `index.html`, afresh each time: its policy then always fits what is sent,
/// also while a new build replaces it.
pub(super) async fn read_index(page: &Path) -> io::Result<String> {
    let path = page.join("index.html");
    tokio::task::spawn_blocking(move || small_file::read_at_most(&path, MAX_INDEX_HTML_BYTES))
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// What is wrong, and what mends it.
pub(super) fn missing_index(page: &Path, error: &io::Error) -> String {
    format!(
        "the page is not there: cannot read {}: {error}; build it with `npm start`, or name its \
         directory with --page",
        page.join("index.html").display()
    )
}

/// The files below `path`, compressed beforehand where a `.br` or `.gz` lies beside them.
pub(super) fn directory(path: &Path) -> Router {
    let files = ServeDir::new(path)
        .append_index_html_on_directories(false)
        .redirect_to_trailing_slash(false)
        .precompressed_br()
        .precompressed_gzip()
        .fallback(nothing_there.into_service());
    Router::new()
        .fallback_service(files)
        .layer(middleware::from_fn(name_type_and_caching))
}

async fn nothing_there(OriginalUri(uri): OriginalUri) -> Response {
    let hint = "the page is at /, the embeddable module at /embed/thrum.js";
    sentence(
        StatusCode::NOT_FOUND,
        format_args!("nothing at {}; {hint}", uri.path()),
    )
}

async fn name_type_and_caching(uri: Uri, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if !response.headers().contains_key(CACHE_CONTROL) {
        let caching = if has_hash(uri.path()) {
            FOREVER
        } else {
            ASK_FIRST
        };
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    }
    // The suffix `.ts` is also a video's, which is what the type tables say.
    if response.status().is_success() && uri.path().ends_with(".ts") {
        let typescript = HeaderValue::from_static("application/typescript; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, typescript);
    }
    response
}

/// Whether the name holds the hash of the content, as in `thrum-ui-0123456789abcdef_bg.wasm`.
fn has_hash(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split(['-', '_', '.'])
        .any(|part| part.len() == HASH_DIGITS && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::has_hash;

    #[test]
    fn only_names_with_a_hash_are_kept_forever() {
        assert!(has_hash("/thrum-ui-0123456789abcdef_bg.wasm"));
        assert!(has_hash("/thrum-ui-0123456789abcdef.js"));
        assert!(has_hash("/snippets/style-fedcba9876543210.css"));
        assert!(!has_hash("/engine_worker.js"));
        assert!(!has_hash("/engine_worker_bg.wasm"));
        assert!(!has_hash("/index.html"));
        assert!(!has_hash("/0123456789abcdef/engine_worker.js"));
    }
}

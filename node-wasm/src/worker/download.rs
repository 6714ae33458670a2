//! A file behind HTTP, from any byte on: goes on by itself where the connection breaks, and notices
//! where the file is another one by then.
//!
//! What makes a file the same is its *validator*: the strong `ETag`, else `Last-Modified`. It is
//! sent as `If-Range` (RFC 9110 §13.1.5), and compared where the server ignores that.

use super::bytes::Pieces;
use super::clock::{scope, sleep};
use super::error::{LoadError, text_of};
use futures::FutureExt as _;
use thrum_protocol::time::Millis;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, RequestCache, RequestInit, Response};

/// ms; a connection over which nothing came for so long is dead.
const STALL: Millis = Millis(60_000);

/// count; connections in a row over which nothing came before the download is given up.
const MAX_RETRIES: u32 = 3;

/// ms; before the first retry, doubled for each further one.
const RETRY_DELAY: Millis = Millis(500);

const PARTIAL_CONTENT: u16 = 206;
const RANGE_NOT_SATISFIABLE: u16 = 416;

/// What is wanted of which file.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// where it is
    pub(super) url: String,
    /// the first byte wanted; the rest is at hand
    pub(super) from: u64,
    /// one after the last byte wanted; none is all
    pub(super) until: Option<u64>,
    /// what the bytes at hand belong to
    pub(super) validator: Option<String>,
    /// whether the digest of the whole is known, so that it shows if parts of two files were joined
    pub(super) verified: bool,
}

/// A file that arrives. Dropped before its end, the download stops.
pub(super) struct Download {
    wanted: Wanted,
    connection: Connection,
    /// of the next byte
    position: u64,
    total: Option<u64>,
    retries: u32,
}

struct Connection {
    abort: AbortController,
    pieces: Pieces,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Download {
    /// Connects. [`Download::position`] is `wanted.from`, or 0 where the server cannot go on there
    /// or the file changed.
    ///
    /// # Errors
    /// [`LoadError::Http`], [`LoadError::Unreachable`] or [`LoadError::Stalled`].
    pub(super) async fn open(mut wanted: Wanted) -> Result<Self, LoadError> {
        if !wanted.may_go_on() {
            wanted.from = 0;
        }
        let (answer, position) = match connect(&wanted).await {
            Ok(Some(answer)) => answer,
            Ok(None) => anew(&mut wanted).await?,
            // Servers of another origin may refuse the question that browsers ask before a range.
            Err(LoadError::Unreachable { .. }) if wanted.is_partial() => anew(&mut wanted).await?,
            Err(error) => return Err(error),
        };
        let Answer {
            connection,
            total,
            validator,
        } = answer;
        wanted.validator = validator;
        Ok(Self {
            wanted,
            connection,
            position,
            total,
            retries: 0,
        })
    }

    /// Where the next byte belongs.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes in the whole file, where the server says so.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// What makes the file this one, where the server says so.
    pub(super) fn validator(&self) -> Option<&str> {
        self.wanted.validator.as_deref()
    }

    /// Replaces `piece` with the next bytes; false at the end.
    ///
    /// # Errors
    /// [`LoadError::Changed`], [`LoadError::Unreachable`] or [`LoadError::Stalled`].
    pub(super) async fn next(&mut self, piece: &mut Vec<u8>) -> Result<bool, LoadError> {
        loop {
            let next = within_stall(&self.wanted.url, self.connection.pieces.next(piece)).await;
            let broken = match next {
                Ok(Ok(true)) => {
                    self.position += piece.len() as u64;
                    self.retries = 0;
                    return Ok(true);
                }
                Ok(Ok(false)) if self.is_whole() => return Ok(false),
                Ok(Ok(false)) => "it ended early".to_owned(),
                Ok(Err(reason)) => reason,
                Err(stalled) => stalled.to_string(),
            };
            self.reconnect(broken).await?;
        }
    }

    fn is_whole(&self) -> bool {
        let end = self.wanted.until.or(self.total);
        end.is_none_or(|end| self.position >= end)
            || self.total.is_some_and(|it| self.position >= it)
    }

    /// Goes on where the connection broke.
    async fn reconnect(&mut self, broken: String) -> Result<(), LoadError> {
        let from = self.position;
        let unreachable = |reason: String| LoadError::Unreachable {
            url: self.wanted.url.clone(),
            reason,
        };
        let wanted = Wanted {
            from,
            ..self.wanted.clone()
        };
        if !wanted.may_go_on() {
            return Err(unreachable(broken));
        }
        if self.retries == MAX_RETRIES {
            return Err(unreachable(format!("{broken} (after {from} bytes)")));
        }
        sleep(Millis(RETRY_DELAY.0 << self.retries)).await;
        self.retries += 1;
        match connect(&wanted).await {
            Ok(Some((answer, position))) if position == from => {
                if self.total.is_some() && answer.total.is_some() && self.total != answer.total {
                    return Err(self.changed());
                }
                self.connection = answer.connection;
                Ok(())
            }
            Ok(Some((answer, _))) if answer.validator == self.wanted.validator => Err(unreachable(
                format!("{broken} (the server cannot go on after {from} bytes)"),
            )),
            Ok(_) => Err(self.changed()),
            // The next turn of the loop reads from the broken connection, which says so again.
            Err(LoadError::Unreachable { .. } | LoadError::Stalled { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn changed(&self) -> LoadError {
        LoadError::Changed {
            url: self.wanted.url.clone(),
        }
    }
}

impl Wanted {
    /// Whether bytes that come later can be known to belong to those at hand.
    fn may_go_on(&self) -> bool {
        self.validator.is_some() || self.verified
    }

    fn is_partial(&self) -> bool {
        self.from > 0 || self.until.is_some()
    }

    fn range(&self) -> Option<String> {
        let last = self.until.map(|until| (until - 1).to_string());
        self.is_partial()
            .then(|| format!("bytes={}-{}", self.from, last.unwrap_or_default()))
    }
}

/// What the server gives.
struct Answer {
    connection: Connection,
    total: Option<u64>,
    validator: Option<String>,
}

/// The whole file, whatever was at hand.
async fn anew(wanted: &mut Wanted) -> Result<(Answer, u64), LoadError> {
    wanted.from = 0;
    wanted.until = None;
    wanted.validator = None;
    let answer = connect(wanted).await?;
    answer.ok_or_else(|| LoadError::Unreachable {
        url: wanted.url.clone(),
        reason: "the server refuses to give the whole file".to_owned(),
    })
}

/// Asks for what is wanted; gives where the bytes begin, or none where the server has no such part
/// of this file.
async fn connect(wanted: &Wanted) -> Result<Option<(Answer, u64)>, LoadError> {
    let url = &wanted.url;
    let abort = AbortController::new()?;
    let init = RequestInit::new();
    init.set_signal(Some(&abort.signal()));
    // The file is kept here; a second copy in the browser's own cache would only fill the disk.
    init.set_cache(RequestCache::NoStore);
    let headers = Headers::new()?;
    if let Some(range) = wanted.range() {
        headers.set("range", &range)?;
        if let Some(validator) = wanted.validator.as_deref().filter(|_| wanted.from > 0) {
            headers.set("if-range", validator)?;
        }
    }
    init.set_headers(&headers);
    let answer = JsFuture::from(scope().fetch_with_str_and_init(url, &init));
    let unreachable = |reason: String| LoadError::Unreachable {
        url: url.clone(),
        reason,
    };
    let answer = within_stall(url, answer).await?;
    let response: Response = answer
        .map_err(|thrown| unreachable(text_of(&thrown)))?
        .unchecked_into();
    if response.status() == RANGE_NOT_SATISFIABLE {
        return Ok(None);
    }
    if !response.ok() {
        return Err(LoadError::Http {
            status: response.status(),
            url: url.clone(),
        });
    }
    let partial = response.status() == PARTIAL_CONTENT;
    let (position, total) = extent(&response, wanted, partial)?;
    let validator = validator(&response)?;
    let known = wanted.validator.as_ref().filter(|_| wanted.from > 0);
    if partial && position != wanted.from
        || position > 0 && known.zip(validator.as_ref()).is_some_and(|(a, b)| a != b)
    {
        abort.abort();
        return Ok(None);
    }
    let body = response
        .body()
        .ok_or_else(|| unreachable("the answer has no body".to_owned()))?;
    let pieces = Pieces::new(&body)?;
    let connection = Connection { abort, pieces };
    let answer = Answer {
        connection,
        total,
        validator,
    };
    Ok(Some((answer, position)))
}

/// Where the bytes of an answer begin, and how long the whole file is. What another origin hides
/// is taken to be as it was asked for; lengths and digests are compared in any case.
fn extent(
    response: &Response,
    wanted: &Wanted,
    partial: bool,
) -> Result<(u64, Option<u64>), JsValue> {
    let headers = response.headers();
    let encoding = headers.get("content-encoding")?;
    let length = match encoding.is_some_and(|encoding| encoding != "identity") {
        true => None,
        false => headers
            .get("content-length")?
            .and_then(|it| it.parse().ok()),
    };
    if !partial {
        return Ok((0, length));
    }
    let range = headers.get("content-range")?;
    match range.as_deref().and_then(content_range) {
        Some((first, total)) => Ok((first, total)),
        None => {
            let whole = wanted.until.is_none();
            let total = length
                .filter(|_| whole)
                .map(|length: u64| length + wanted.from);
            Ok((wanted.from, total))
        }
    }
}

/// First byte and length of the whole, of `bytes 5-9/100` or `bytes 5-9/*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

fn validator(response: &Response) -> Result<Option<String>, JsValue> {
    let headers = response.headers();
    let strong = headers.get("etag")?.filter(|tag| !tag.starts_with("W/"));
    match strong {
        Some(tag) => Ok(Some(tag)),
        None => headers.get("last-modified"),
    }
}

async fn within_stall<T>(url: &str, future: impl Future<Output = T>) -> Result<T, LoadError> {
    let mut future = std::pin::pin!(future.fuse());
    futures::select_biased! {
        result = future => Ok(result),
        () = sleep(STALL).fuse() => {
            Err(LoadError::Stalled { url: url.to_owned(), after: STALL })
        }
    }
}

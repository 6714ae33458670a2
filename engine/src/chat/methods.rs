//! Python's methods of strings and mappings, which templates call.

use minijinja::value::{Rest, Tuple, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

/// characters that a string is padded to at most.
const MAX_WIDTH: usize = 10_000;

/// A method that the template engine itself does not have.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => match of_text(text, method, args)? {
            Some(result) => Ok(result),
            None => pycompat::unknown_method_callback(state, value, method, args),
        },
        None => pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// The filter `trim`.
pub(super) fn trim(value: &Value, chars: Option<&str>) -> String {
    strip(&value.to_string(), chars, true, true).to_owned()
}

/// What `str.isspace` takes for white space: Unicode's, and the separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn strip<'a>(text: &'a str, chars: Option<&str>, start: bool, end: bool) -> &'a str {
    let gone = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if start {
        text.trim_start_matches(gone)
    } else {
        text
    };
    if end {
        text.trim_end_matches(gone)
    } else {
        text
    }
}

fn of_text(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            strip(text, chars, method != "rstrip", method != "lstrip").into()
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            text.strip_prefix(prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            text.strip_suffix(suffix).unwrap_or(text).into()
        }
        "split" | "rsplit" => {
            let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
            split(text, separator, most, method == "rsplit")?
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            partition(text, separator, method == "rpartition")
        }
        "splitlines" => {
            let (keep_ends,): (Option<bool>,) = from_args(args)?;
            lines(text, keep_ends.unwrap_or(false))
        }
        "casefold" => text.to_lowercase().into(),
        "swapcase" => text.chars().flat_map(swapped).collect::<String>().into(),
        "ljust" | "rjust" | "zfill" => {
            let (width, Rest(fill)): (usize, Rest<&str>) = from_args(args)?;
            padded(text, method, width, fill.first().copied())?
        }
        "index" => {
            let (what,): (&str,) = from_args(args)?;
            let at = text
                .find(what)
                .ok_or_else(|| refused("substring not found"))?;
            text[..at].chars().count().into()
        }
        _ => return Ok(None),
    }))
}

fn refused(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

fn split(
    text: &str,
    separator: Option<&str>,
    most: Option<i64>,
    from_the_right: bool,
) -> Result<Value, Error> {
    // A negative count means no limit.
    let most = most
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(usize::MAX - 1);
    let mut parts: Vec<&str> = match (separator, from_the_right) {
        (Some(""), _) => return Err(refused("empty separator")),
        (Some(separator), false) => text.splitn(most + 1, separator).collect(),
        (Some(separator), true) => text.rsplitn(most + 1, separator).collect(),
        (None, false) => words(text, most),
        (None, true) => words_from_the_right(text, most),
    };
    if from_the_right {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

fn words(text: &str, most: usize) -> Vec<&str> {
    let mut rest = text.trim_start_matches(is_space);
    let mut words = Vec::new();
    while !rest.is_empty() {
        let end = if words.len() == most {
            None
        } else {
            rest.find(is_space)
        };
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(word);
        rest = after.trim_start_matches(is_space);
    }
    if words.len() > most
        && let Some(last) = words.last_mut()
    {
        *last = last.trim_end_matches(is_space);
    }
    words
}

fn words_from_the_right(text: &str, most: usize) -> Vec<&str> {
    let mut rest = text.trim_end_matches(is_space);
    let mut words = Vec::new();
    while !rest.is_empty() {
        let space = if words.len() == most {
            None
        } else {
            rest.rfind(is_space)
        };
        let start = space.map_or(0, |at| {
            at + rest[at..].chars().next().map_or(0, char::len_utf8)
        });
        let (before, word) = rest.split_at(start);
        words.push(word);
        rest = before.trim_end_matches(is_space);
    }
    if words.len() > most
        && let Some(last) = words.last_mut()
    {
        *last = last.trim_start_matches(is_space);
    }
    words
}

fn partition(text: &str, separator: &str, from_the_right: bool) -> Value {
    let found = match from_the_right {
        true => text.rsplit_once(separator),
        false => text.split_once(separator),
    };
    let parts = match found {
        Some((before, after)) => [before, separator, after],
        None if from_the_right => ["", "", text],
        None => [text, "", ""],
    };
    Value::from(Tuple::from(parts.map(Value::from)))
}

fn lines(text: &str, keep_ends: bool) -> Value {
    let ends_line = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(ends_line).unwrap_or(rest.len());
        let after = &rest[end..];
        let pair = after.starts_with("\r\n");
        let one = after.chars().next().map_or(0, char::len_utf8);
        let next = end + if pair { 2 } else { one };
        lines.push(Value::from(&rest[..if keep_ends { next } else { end }]));
        rest = &rest[next..];
    }
    lines.into()
}

fn swapped(c: char) -> Vec<char> {
    match c.is_uppercase() {
        true => c.to_lowercase().collect(),
        false => c.to_uppercase().collect(),
    }
}

fn padded(text: &str, method: &str, width: usize, fill: Option<&str>) -> Result<Value, Error> {
    if width > MAX_WIDTH {
        return Err(refused("the width is too large"));
    }
    let missing = width.saturating_sub(text.chars().count());
    let padding = fill
        .unwrap_or(if method == "zfill" { "0" } else { " " })
        .repeat(missing);
    let sign = match method {
        "zfill" => text.len() - text.trim_start_matches(['+', '-']).len(),
        _ => 0,
    };
    let (sign, text) = text.split_at(sign.min(1));
    Ok(match method {
        "ljust" => [sign, text, &padding].concat(),
        _ => [sign, &padding, text].concat(),
    }
    .into())
}

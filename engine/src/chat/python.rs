//! Numbers as Python writes them, and whole values as its `json.dumps` does.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// lists and mappings within one another; what JSON parsers take.
const MAX_DEPTH: usize = 128;

fn too_deep() -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        "lists and mappings lie too deep in one another",
    )
}

/// A number as Python gives it: the shortest digits that read back the same.
pub(super) fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        _ if value.is_integer() => value.to_string(),
        Ok(f64::INFINITY) => "Infinity".to_owned(),
        Ok(f64::NEG_INFINITY) => "-Infinity".to_owned(),
        Ok(float) if !float.is_nan() => float_digits(float),
        Ok(_) | Err(_) => "NaN".to_owned(),
    }
}

fn float_digits(float: f64) -> String {
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        -4..=15 => {
            let plain = float.to_string();
            let point = if plain.contains('.') { "" } else { ".0" };
            plain + point
        }
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }
}

/// How `json.dumps` is asked to write.
struct JsonStyle {
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    ascii: bool,
    sorted: bool,
}

/// The filter `tojson` of the reference implementation, which is `json.dumps`.
pub(super) fn tojson(
    value: &Value,
    ensure_ascii: Option<bool>,
    options: Kwargs,
) -> Result<String, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let indent = match indent.filter(|indent| !indent.is_none()) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(usize::from(u8::try_from(indent)?)),
        }),
    };
    let separators: Option<Value> = options.get("separators")?;
    let separator = |at: usize, usual: &str| match &separators {
        Some(separators) if !separators.is_none() => {
            let found = separators.get_item_by_index(at)?;
            Ok::<_, Error>(found.to_string())
        }
        Some(_) | None => Ok(usual.to_owned()),
    };
    let usual_item = if indent.is_some() { "," } else { ", " };
    let style = JsonStyle {
        item_separator: separator(0, usual_item)?,
        key_separator: separator(1, ": ")?,
        indent,
        ascii: ensure_ascii
            .or(options.get("ensure_ascii")?)
            .unwrap_or(false),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    let mut out = String::new();
    style.write(value, 0, &mut out)?;
    Ok(out)
}

impl JsonStyle {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
            ValueKind::String => self.write_text(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.write_items(['[', ']'], &items, depth, out, |item, out| {
                    self.write(item, depth + 1, out)
                })?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort();
                }
                self.write_items(['{', '}'], &keys, depth, out, |key, out| {
                    self.write_text(&json_key(key), out);
                    out.push_str(&self.key_separator);
                    self.write(&value.get_item(key)?, depth + 1, out)
                })?;
            }
            kind @ (ValueKind::Undefined
            | ValueKind::Bytes
            | ValueKind::Plain
            | ValueKind::Invalid
            | _) => {
                let reason = format!("a value of type {kind} is not JSON serializable");
                return Err(Error::new(ErrorKind::InvalidOperation, reason));
            }
        }
        Ok(())
    }

    fn write_items(
        &self,
        [open, close]: [char; 2],
        items: &[Value],
        depth: usize,
        out: &mut String,
        write: impl Fn(&Value, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        for (at, item) in items.iter().enumerate() {
            out.push_str(if at > 0 { &self.item_separator } else { "" });
            self.write_line(depth + 1, out);
            write(item, out)?;
        }
        if !items.is_empty() {
            self.write_line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn write_line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn write_text(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.ascii && !c.is_ascii()) || (self.ascii && c == '\u{7f}') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

/// A mapping's key as JSON has it: a string, whatever it was.
fn json_key(key: &Value) -> String {
    if key.is_none() {
        return "null".to_owned();
    }
    let spelled = key.to_string();
    if key.kind() == ValueKind::Bool {
        return spelled.to_lowercase();
    }
    spelled
}

//! Looks a JSON schema over before it is compiled: what is bounded, what is known, what is meant.
//!
//! A schema may come from a peer. Everything here is refused by its name and its place: keywords
//! that would be ignored otherwise, values of the wrong kind, and sizes that would cost too much.

use serde_json::{Map, Value};

use super::ConstraintError;

/// bytes of a schema written out; a little more than the largest that people publish for tools.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;

/// values inside values; the recursion here and in the compiler stays far from a small stack's end.
pub const MAX_SCHEMA_DEPTH: usize = 32;

/// JSON values in a schema, keys not counted: they bound the symbols of the grammar.
pub const MAX_SCHEMA_VALUES: usize = 4_096;

/// items of an array or characters of a string that a schema may count.
pub const MAX_REPEAT: u64 = 65_536;

/// bytes of one regular expression.
pub const MAX_PATTERN_BYTES: usize = 512;

/// size of a number in a schema, either side of 0: whole numbers are exact up to here.
pub const MAX_NUMBER: f64 = 9_007_199_254_740_992.0;

/// digits behind the point of a number in a schema.
pub const MAX_DECIMALS: usize = 12;

/// largest divisor, written without its point: a state of the automaton for each remainder.
pub const MAX_DIVISOR: f64 = 10_000.0;

/// The formats of strings that are checked while they are written.
pub const FORMATS: [&str; 10] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "time",
    "uri",
    "uuid",
];

const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// Numbers that a schema leaves open are kept to what a double counts exactly: a longer one, or
/// one with a large exponent, is not the same number to everybody who reads it.
const SAFE_INTEGER: i64 = 9_007_199_254_740_991;

/// What a keyword's value has to be.
enum Keyword {
    /// anything; it constrains nothing
    Annotation,
    Const,
    Count,
    Definitions,
    Divisor,
    Enum,
    Format,
    Names,
    Number,
    Pattern,
    Reference,
    Schema,
    Schemas,
    SchemasByName,
    SchemasByPattern,
    Type,
}

impl Keyword {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "$comment" | "$id" | "$schema" | "default" | "deprecated" | "description"
            | "examples" | "readOnly" | "title" | "writeOnly" => Self::Annotation,
            "const" => Self::Const,
            "maxItems" | "maxLength" | "minItems" | "minLength" => Self::Count,
            "$defs" | "definitions" => Self::Definitions,
            "multipleOf" => Self::Divisor,
            "enum" => Self::Enum,
            "format" => Self::Format,
            "required" => Self::Names,
            "exclusiveMaximum" | "exclusiveMinimum" | "maximum" | "minimum" => Self::Number,
            "pattern" => Self::Pattern,
            "$ref" => Self::Reference,
            "additionalProperties" | "items" => Self::Schema,
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => Self::Schemas,
            "properties" => Self::SchemasByName,
            "patternProperties" => Self::SchemasByPattern,
            "type" => Self::Type,
            _ => return None,
        })
    }
}

/// Refuses what cannot be compiled safely.
pub(super) fn check(schema: &Value) -> Result<(), ConstraintError> {
    let mut values = 0;
    measure(schema, 0, &mut values)?;
    let bytes = schema.to_string().len();
    if bytes > MAX_SCHEMA_BYTES {
        return Err(too_large("bytes", bytes, MAX_SCHEMA_BYTES));
    }
    let walk = Walk { root: schema };
    walk.schema(schema, "#")?;
    walk.no_endless_reference()
}

/// Bounds the numbers that a checked schema names without bounding them.
pub(super) fn bound_numbers(schema: &mut Value) {
    let Some(entries) = schema.as_object_mut() else {
        return;
    };
    for (name, value) in entries.iter_mut() {
        match Keyword::from_name(name) {
            Some(Keyword::Schema) => bound_numbers(value),
            Some(Keyword::Schemas) => {
                let schemas = value.as_array_mut().into_iter().flatten();
                schemas.for_each(bound_numbers);
            }
            Some(Keyword::Definitions | Keyword::SchemasByName | Keyword::SchemasByPattern) => {
                let schemas = value.as_object_mut().into_iter().flat_map(Map::values_mut);
                schemas.for_each(bound_numbers);
            }
            Some(
                Keyword::Annotation
                | Keyword::Const
                | Keyword::Count
                | Keyword::Divisor
                | Keyword::Enum
                | Keyword::Format
                | Keyword::Names
                | Keyword::Number
                | Keyword::Pattern
                | Keyword::Reference
                | Keyword::Type,
            )
            | None => {}
        }
    }
    let is_number = |name: &Value| name == "number" || name == "integer";
    let numeric = match entries.get("type") {
        Some(Value::Array(types)) => types.iter().any(is_number),
        Some(one) => is_number(one),
        None => false,
    };
    for (inclusive, exclusive, bound) in [
        ("minimum", "exclusiveMinimum", -SAFE_INTEGER),
        ("maximum", "exclusiveMaximum", SAFE_INTEGER),
    ] {
        if numeric && !entries.contains_key(inclusive) && !entries.contains_key(exclusive) {
            entries.insert(inclusive.to_owned(), bound.into());
        }
    }
}

fn too_large(what: &'static str, found: usize, max: usize) -> ConstraintError {
    ConstraintError::SchemaTooLarge { what, found, max }
}

/// Counts values, and refuses too many and too deep ones before anything else recurses.
fn measure(value: &Value, depth: usize, values: &mut usize) -> Result<(), ConstraintError> {
    *values += 1;
    if *values > MAX_SCHEMA_VALUES {
        return Err(too_large("values", *values, MAX_SCHEMA_VALUES));
    }
    if depth > MAX_SCHEMA_DEPTH {
        return Err(too_large("levels", depth, MAX_SCHEMA_DEPTH));
    }
    match value {
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| measure(item, depth + 1, values)),
        Value::Object(entries) => entries
            .values()
            .try_for_each(|entry| measure(entry, depth + 1, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

struct Walk<'a> {
    root: &'a Value,
}

impl Walk<'_> {
    fn schema(&self, schema: &Value, at: &str) -> Result<(), ConstraintError> {
        let entries = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(entries) => entries,
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(bad(at, schema, "an object, true or false"));
            }
        };
        for (name, value) in entries {
            let at = format!("{at}/{name}");
            let keyword = Keyword::from_name(name)
                .ok_or_else(|| ConstraintError::UnsupportedKeyword { at: at.clone() })?;
            self.keyword(keyword, value, &at)?;
        }
        Ok(())
    }

    fn keyword(&self, keyword: Keyword, value: &Value, at: &str) -> Result<(), ConstraintError> {
        match keyword {
            Keyword::Annotation => Ok(()),
            Keyword::Const => literal(value, at),
            Keyword::Count => count(value, at),
            Keyword::Definitions if at == "#/$defs" || at == "#/definitions" => {
                self.schemas_by_name(value, at)
            }
            Keyword::Definitions => Err(bad(at, value, "at the root of the schema")),
            Keyword::Divisor => divisor(value, at),
            Keyword::Enum => filled_array(value, at)?
                .iter()
                .try_for_each(|value| literal(value, at)),
            Keyword::Format => {
                let known = value.as_str().is_some_and(|name| FORMATS.contains(&name));
                known
                    .then_some(())
                    .ok_or_else(|| bad(at, value, &format!("one of {}", FORMATS.join(", "))))
            }
            Keyword::Names => {
                let names = value.as_array();
                let good = names.is_some_and(|names| names.iter().all(Value::is_string));
                good.then_some(())
                    .ok_or_else(|| bad(at, value, "an array of strings"))
            }
            Keyword::Number => number(value, at),
            Keyword::Pattern => {
                let pattern = value.as_str().ok_or_else(|| bad(at, value, "a string"))?;
                check_pattern(pattern, at)
            }
            Keyword::Reference => self.target(value, at).map(|_| ()),
            Keyword::Schema => self.schema(value, at),
            Keyword::Schemas => filled_array(value, at)?
                .iter()
                .enumerate()
                .try_for_each(|(place, schema)| self.schema(schema, &format!("{at}/{place}"))),
            Keyword::SchemasByName => self.schemas_by_name(value, at),
            Keyword::SchemasByPattern => {
                self.schemas_by_name(value, at)?;
                let patterns = value.as_object().into_iter().flat_map(Map::keys);
                patterns
                    .into_iter()
                    .try_for_each(|pattern| check_pattern(pattern, at))
            }
            Keyword::Type => {
                let is_type = |value: &Value| value.as_str().is_some_and(|it| TYPES.contains(&it));
                let several = |types: &Vec<Value>| !types.is_empty() && types.iter().all(is_type);
                let good = is_type(value) || value.as_array().is_some_and(several);
                let expected = || format!("one or an array of {}", TYPES.join(", "));
                good.then_some(())
                    .ok_or_else(|| bad(at, value, &expected()))
            }
        }
    }

    fn schemas_by_name(&self, value: &Value, at: &str) -> Result<(), ConstraintError> {
        let entries = value
            .as_object()
            .ok_or_else(|| bad(at, value, "an object of schemas"))?;
        entries
            .iter()
            .try_for_each(|(name, schema)| self.schema(schema, &format!("{at}/{name}")))
    }

    /// What a `$ref` points to: the root, or one of its definitions.
    fn target(&self, reference: &Value, at: &str) -> Result<&Value, ConstraintError> {
        let expected = "# or the name of a definition, as in #/$defs/name";
        let refused = || bad(at, reference, expected);
        let path = reference.as_str().ok_or_else(refused)?;
        if path == "#" {
            return Ok(self.root);
        }
        let (section, name) = path
            .strip_prefix("#/")
            .and_then(|path| path.split_once('/'))
            .ok_or_else(refused)?;
        // Escaped names would have to be read the same way by the compiler.
        let plain = !name.contains(['/', '~', '%']);
        if !plain || !["$defs", "definitions"].contains(&section) {
            return Err(refused());
        }
        let found = self.root.get(section).and_then(|defs| defs.get(name));
        found.ok_or_else(refused)
    }

    /// Refuses a schema that is only another name for itself.
    fn no_endless_reference(&self) -> Result<(), ConstraintError> {
        let sections = ["$defs", "definitions"]
            .into_iter()
            .filter_map(|section| Some((section, self.root.get(section)?.as_object()?)));
        let definitions = sections.flat_map(|(section, defs)| {
            defs.iter()
                .map(move |(name, schema)| (format!("#/{section}/{name}"), schema))
        });
        let starts: Vec<(String, &Value)> = std::iter::once(("#".to_owned(), self.root))
            .chain(definitions)
            .collect();
        for (name, start) in &starts {
            let mut seen: Vec<&Value> = Vec::new();
            let mut open = in_place(start);
            while let Some(schema) = open.pop() {
                let next = match schema.get("$ref") {
                    Some(reference) => self.target(reference, name)?,
                    None => schema,
                };
                if std::ptr::eq(next, *start) {
                    return Err(ConstraintError::EndlessReference { at: name.clone() });
                }
                if !seen.iter().any(|it| std::ptr::eq(*it, next)) {
                    seen.push(next);
                    open.extend(in_place(next));
                }
            }
        }
        Ok(())
    }
}

/// The schemas that apply to the very value that `schema` describes: `schema` itself where it is
/// a reference, and the branches of its combinations.
fn in_place(schema: &Value) -> Vec<&Value> {
    let combined = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .filter_map(|keyword| schema.get(keyword)?.as_array())
        .flatten();
    let own = schema.get("$ref").map(|_| schema);
    combined.chain(own).collect()
}

/// A value that is to be written exactly: any, with numbers in bounds.
fn literal(value: &Value, at: &str) -> Result<(), ConstraintError> {
    match value {
        Value::Number(_) => number(value, at),
        Value::Array(items) => items.iter().try_for_each(|item| literal(item, at)),
        Value::Object(entries) => entries.values().try_for_each(|entry| literal(entry, at)),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

fn number(value: &Value, at: &str) -> Result<(), ConstraintError> {
    let good = value.as_f64().is_some_and(|number| {
        let decimals = number.to_string();
        let decimals = decimals.split_once('.').map_or(0, |(_, tail)| tail.len());
        number.abs() <= MAX_NUMBER && decimals <= MAX_DECIMALS
    });
    let expected = || {
        format!(
            "a number of at most {MAX_NUMBER} either side of 0, with at most {MAX_DECIMALS} decimals"
        )
    };
    good.then_some(())
        .ok_or_else(|| bad(at, value, &expected()))
}

fn divisor(value: &Value, at: &str) -> Result<(), ConstraintError> {
    let digits = |number: f64| number.to_string().replace('.', "").parse::<f64>();
    let good = value.as_f64().is_some_and(|number| {
        number > 0.0 && digits(number).is_ok_and(|digits| digits <= MAX_DIVISOR)
    });
    let expected = || format!("above 0, and at most {MAX_DIVISOR} without its point");
    good.then_some(())
        .ok_or_else(|| bad(at, value, &expected()))
}

fn count(value: &Value, at: &str) -> Result<(), ConstraintError> {
    let good = value.as_u64().is_some_and(|count| count <= MAX_REPEAT);
    good.then_some(())
        .ok_or_else(|| bad(at, value, &format!("a whole number up to {MAX_REPEAT}")))
}

fn check_pattern(pattern: &str, at: &str) -> Result<(), ConstraintError> {
    if pattern.len() <= MAX_PATTERN_BYTES {
        return Ok(());
    }
    let value = Value::String(pattern.to_owned());
    Err(bad(
        at,
        &value,
        &format!("at most {MAX_PATTERN_BYTES} bytes"),
    ))
}

fn filled_array<'a>(value: &'a Value, at: &str) -> Result<&'a Vec<Value>, ConstraintError> {
    value
        .as_array()
        .filter(|items| !items.is_empty())
        .ok_or_else(|| bad(at, value, "an array that is not empty"))
}

/// Characters of a refused value that are told.
const TOLD_CHARS: usize = 60;

fn bad(at: &str, value: &Value, expected: &str) -> ConstraintError {
    let mut told = value.to_string();
    if let Some((end, _)) = told.char_indices().nth(TOLD_CHARS) {
        told.truncate(end);
        told.push('…');
    }
    ConstraintError::BadKeyword {
        at: at.to_owned(),
        value: told,
        expected: expected.to_owned(),
    }
}

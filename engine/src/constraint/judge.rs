//! JSON Schema by the letter of its specification, for tests: does a value fit?
//!
//! It shares nothing with the grammar machine that it judges. A keyword that it does not know
//! ends the test.

use fancy_regex::Regex;
use serde_json::{Map, Value};

pub(super) struct Judge<'a> {
    root: &'a Value,
}

impl<'a> Judge<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Self { root }
    }

    pub(super) fn fits(&self, value: &Value) -> bool {
        self.follows(self.root, value)
    }

    fn follows(&self, schema: &Value, value: &Value) -> bool {
        match schema {
            Value::Bool(any) => *any,
            Value::Object(keywords) => keywords
                .iter()
                .all(|(name, wish)| self.keeps(keywords, name, wish, value)),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                panic!("{schema} is no schema")
            }
        }
    }

    fn keeps(&self, schema: &Map<String, Value>, name: &str, wish: &Value, value: &Value) -> bool {
        match name {
            "$defs" | "definitions" | "title" | "description" => true,
            "$ref" => self.follows(self.target(wish), value),
            "type" => of_type(wish, value),
            "const" => same(wish, value),
            "enum" => list(wish).iter().any(|wish| same(wish, value)),
            "allOf" => list(wish).iter().all(|schema| self.follows(schema, value)),
            "anyOf" => list(wish).iter().any(|schema| self.follows(schema, value)),
            "oneOf" => {
                let fitting = list(wish).iter().filter(|it| self.follows(it, value));
                fitting.count() == 1
            }
            _ => match value {
                Value::Null | Value::Bool(_) => known(name),
                Value::Number(number) => {
                    let number = number.as_f64().expect("a double");
                    keeps_number(name, wish, number)
                }
                Value::String(text) => keeps_string(name, wish, text),
                Value::Array(items) => self.keeps_array(schema, name, wish, items),
                Value::Object(entries) => self.keeps_object(schema, name, wish, entries),
            },
        }
    }

    fn target(&self, reference: &Value) -> &Value {
        let path = reference.as_str().expect("a path");
        let pointer = path.strip_prefix('#').expect("a path within the schema");
        self.root.pointer(pointer).expect("a definition")
    }

    fn keeps_array(
        &self,
        schema: &Map<String, Value>,
        name: &str,
        wish: &Value,
        items: &[Value],
    ) -> bool {
        let prefix = || schema.get("prefixItems").map_or(0, |it| list(it).len());
        match name {
            "minItems" => items.len() >= size(wish),
            "maxItems" => items.len() <= size(wish),
            "prefixItems" => {
                let mut pairs = list(wish).iter().zip(items);
                pairs.all(|(schema, item)| self.follows(schema, item))
            }
            "items" => {
                let mut rest = items.iter().skip(prefix());
                rest.all(|item| self.follows(wish, item))
            }
            _ => known(name),
        }
    }

    fn keeps_object(
        &self,
        schema: &Map<String, Value>,
        name: &str,
        wish: &Value,
        entries: &Map<String, Value>,
    ) -> bool {
        let by_pattern = |key: &str| {
            let patterns = schema.get("patternProperties").and_then(Value::as_object);
            let mut patterns = patterns.into_iter().flat_map(Map::keys);
            patterns.any(|pattern| finds(pattern, key))
        };
        let by_name = |key: &str| {
            schema
                .get("properties")
                .is_some_and(|it| it.get(key).is_some())
        };
        let wishes = || wish.as_object().expect("schemas");
        match name {
            "required" => list(wish)
                .iter()
                .all(|key| entries.contains_key(key.as_str().expect("a name"))),
            "properties" => entries.iter().all(|(key, value)| {
                let schema = wishes().get(key);
                schema.is_none_or(|schema| self.follows(schema, value))
            }),
            "patternProperties" => entries.iter().all(|(key, value)| {
                let mut matching = wishes().iter().filter(|(pattern, _)| finds(pattern, key));
                matching.all(|(_, schema)| self.follows(schema, value))
            }),
            "additionalProperties" => entries
                .iter()
                .filter(|(key, _)| !by_name(key) && !by_pattern(key))
                .all(|(_, value)| self.follows(wish, value)),
            _ => known(name),
        }
    }
}

/// Keywords for another type than the value's say nothing about it.
fn known(name: &str) -> bool {
    const NAMES: [&str; 17] = [
        "additionalProperties",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "multipleOf",
        "pattern",
        "patternProperties",
        "prefixItems",
        "properties",
        "required",
    ];
    assert!(NAMES.contains(&name), "the judge does not know {name}");
    true
}

fn keeps_number(name: &str, wish: &Value, number: f64) -> bool {
    let bound = || wish.as_f64().expect("a number");
    match name {
        "minimum" => number >= bound(),
        "maximum" => number <= bound(),
        "exclusiveMinimum" => number > bound(),
        "exclusiveMaximum" => number < bound(),
        "multipleOf" => {
            let times = number / bound();
            (times - times.round()).abs() <= 1e-9 * times.abs().max(1.0)
        }
        _ => known(name),
    }
}

fn keeps_string(name: &str, wish: &Value, text: &str) -> bool {
    match name {
        "minLength" => text.chars().count() >= size(wish),
        "maxLength" => text.chars().count() <= size(wish),
        "pattern" => finds(wish.as_str().expect("a pattern"), text),
        "format" => {
            const DATE: &str = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])";
            const TIME: &str =
                r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([zZ]|[+-]([01]\d|2[0-3]):[0-5]\d)";
            let pattern = match wish.as_str().expect("a name") {
                "date" => format!("^{DATE}$"),
                "time" => format!("^{TIME}$"),
                "date-time" => format!("^{DATE}[tT]{TIME}$"),
                "uuid" => r"^[[:xdigit:]]{8}(-[[:xdigit:]]{4}){3}-[[:xdigit:]]{12}$".to_owned(),
                "ipv4" => return text.parse::<std::net::Ipv4Addr>().is_ok(),
                "ipv6" => return text.parse::<std::net::Ipv6Addr>().is_ok(),
                other => panic!("the judge does not know the format {other}"),
            };
            finds(&pattern, text)
        }
        _ => known(name),
    }
}

fn of_type(wish: &Value, value: &Value) -> bool {
    let one = |name: &str| match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => {
            let whole = number.as_f64().is_some_and(|it| it.fract() == 0.0);
            name == "number" || name == "integer" && whole
        }
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    };
    match wish.as_str() {
        Some(name) => one(name),
        None => list(wish)
            .iter()
            .any(|name| one(name.as_str().expect("a name"))),
    }
}

/// Equal as JSON Schema has it: 1 and 1.0 are, whatever the order of properties.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let in_b = |(key, a): (&String, &Value)| b.get(key).is_some_and(|b| same(a, b));
            a.len() == b.len() && a.iter().all(in_b)
        }
        _ => a == b,
    }
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("an array")
}

fn size(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a count")).expect("a small one")
}

fn finds(pattern: &str, text: &str) -> bool {
    let regex = Regex::new(pattern).expect("a pattern");
    regex.is_match(text).expect("a short match")
}

#[test]
fn the_judge_tells_good_from_bad() {
    use serde_json::json;

    let schema = json!({
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 2, "multipleOf": 3}, "s": {"maxLength": 2}},
        "patternProperties": {"^x": {"oneOf": [{"type": "null"}, {"const": 1}]}},
        "additionalProperties": {"items": {"$ref": "#"}, "minItems": 1},
        "required": ["n"]
    });
    let judge = Judge::new(&schema);
    for good in [
        json!({"n": 3}),
        json!({"n": 3.0, "s": "éé", "x1": 1.0, "x2": null}),
        json!({"n": 6, "more": [{"n": 9}]}),
    ] {
        assert!(judge.fits(&good), "{good}");
    }
    for bad in [
        json!([]),
        json!({}),
        json!({"n": 0}),
        json!({"n": 4}),
        json!({"n": 4.5}),
        json!({"n": 3, "s": "abc"}),
        json!({"n": 3, "x1": 2}),
        json!({"n": 3, "more": []}),
        json!({"n": 3, "more": [{"n": 1}]}),
    ] {
        assert!(!judge.fits(&bad), "{bad}");
    }
}

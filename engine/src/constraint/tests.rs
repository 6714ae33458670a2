//! Whatever the logits say, a finished answer fits its schema; and schemas that should be refused
//! are, by name and without a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;

use super::judge::Judge;
use super::*;
use crate::gguf::{GgufReader, ReadOptions};
use crate::sampler::{Sampler, SamplerParams};
use crate::synthetic::SyntheticModel;
use crate::tokenizer::Tokenizer;
use crate::weights::WeightStore;

fn tokenizer(file: &[u8]) -> Tokenizer {
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: None,
        available_bytes: None,
        max_context: 128,
    });
    let mut store = WeightStore::default();
    reader.push(file, &mut store).expect("a good file");
    reader.finish(&mut store).expect("a whole file").tokenizer
}

/// The tokenizer of the model that is shipped.
fn shipped() -> Tokenizer {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../models/thrum-demo.q8_0.gguf"
    );
    tokenizer(&std::fs::read(path).expect("the shipped model"))
}

/// Bytes and little more.
fn synthetic() -> Tokenizer {
    tokenizer(&SyntheticModel::SMALL.gguf())
}

/// A number between -1 and 1 for each pair.
fn noise(a: u64, b: u64) -> f32 {
    let mixed = (a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd134_2543_de82_ef95);
    ((mixed ^ (mixed >> 29)) >> 40) as f32 / 8_388_608.0 - 1.0
}

/// Tokens in an answer of noise, before it is given up.
const MAX_TOKENS: usize = 400;

/// An answer by random logits and a seeded sampler, which grows impatient: what closes something
/// or ends the answer becomes likelier with every token.
fn scribble(constraint: &mut Constraint, tokenizer: &Tokenizer, seed: u64) -> Option<String> {
    let sampler = Sampler::new(SamplerParams {
        temperature: 1.0,
        top_k: 50,
        seed,
        ..SamplerParams::GREEDY
    })
    .expect("good parameters");
    let ids = 0..tokenizer.vocab_size() as u32;
    let mut answer = Vec::new();
    while !constraint.is_finished() {
        let index = answer.len();
        if index == MAX_TOKENS {
            return None;
        }
        let mut logits: Vec<f32> = ids
            .clone()
            .map(|id| {
                let piece = tokenizer.piece(id);
                let closes = piece.iter().any(|byte| b"\"}]".contains(byte));
                let impatience = if closes || tokenizer.is_end(id) {
                    index as f32 * 0.1
                } else {
                    0.0
                };
                noise(seed.wrapping_add(index as u64), u64::from(id)) * 3.0 + impatience
            })
            .collect();
        let mask = constraint.mask().expect("an affordable mask").clone();
        let choice = sampler.choose(&mut logits, &answer, index, Some(&mask));
        let id = choice.expect("something is allowed").id;
        constraint.accept(id).expect("the mask allowed it");
        if tokenizer.is_end(id) {
            break;
        }
        answer.push(id);
    }
    let bytes: Vec<u8> = answer
        .iter()
        .flat_map(|id| tokenizer.piece(*id))
        .copied()
        .collect();
    Some(String::from_utf8(bytes).expect("whole characters"))
}

fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        (
            "nested objects",
            json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 12},
                    "address": {
                        "type": "object",
                        "properties": {
                            "city": {"type": "string", "maxLength": 8},
                            "zip": {"type": "integer", "minimum": 1000, "maximum": 99999},
                            "geo": {
                                "type": "object",
                                "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
                                "required": ["lat", "lon"],
                                "additionalProperties": false
                            }
                        },
                        "required": ["city", "zip", "geo"],
                        "additionalProperties": false
                    }
                },
                "required": ["name", "address"],
                "additionalProperties": false
            }),
        ),
        (
            "an array with bounds",
            json!({"type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 5}),
        ),
        (
            "an array of arrays",
            json!({
                "type": "array", "minItems": 1, "maxItems": 3,
                "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}
            }),
        ),
        (
            "a tuple",
            json!({
                "type": "array",
                "prefixItems": [{"type": "string", "maxLength": 3}, {"type": "null"}],
                "items": false, "minItems": 2
            }),
        ),
        (
            "an enumeration of everything",
            json!({"enum": ["red", "grün", 3, -1.5, null, true, ["a", {"b": 1}]]}),
        ),
        (
            "a constant",
            json!({"const": {"answer": [42, "yes"], "π": 3.25}}),
        ),
        (
            "integers in a range",
            json!({
                "type": "object",
                "properties": {
                    "a": {"type": "integer", "minimum": -17, "maximum": 23},
                    "b": {"type": "integer", "exclusiveMinimum": 999},
                    "c": {"type": "integer", "multipleOf": 7}
                },
                "required": ["a", "b", "c"], "additionalProperties": false
            }),
        ),
        (
            "numbers in a range",
            json!({
                "type": "array", "minItems": 3, "maxItems": 3,
                "items": {"type": "number", "minimum": -0.5, "exclusiveMaximum": 12.25}
            }),
        ),
        (
            "strings with a pattern and a length",
            json!({
                "type": "object",
                "properties": {
                    "plate": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3,4}$"},
                    "word": {"type": "string", "minLength": 2, "maxLength": 5},
                    "both": {"type": "string", "pattern": "^[a-c]+$", "maxLength": 4}
                },
                "required": ["plate", "word", "both"], "additionalProperties": false
            }),
        ),
        (
            "formats",
            json!({
                "type": "array", "items": false, "minItems": 5,
                "prefixItems": [
                    {"type": "string", "format": "date"},
                    {"type": "string", "format": "time"},
                    {"type": "string", "format": "date-time"},
                    {"type": "string", "format": "uuid"},
                    {"type": "string", "format": "ipv4"}
                ]
            }),
        ),
        (
            "any of several",
            json!({"anyOf": [
                {"type": "string", "maxLength": 4},
                {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}},
                 "required": ["kind", "r"], "additionalProperties": false},
                {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 1, "maxItems": 4}
            ]}),
        ),
        (
            "one of several that exclude each other",
            json!({"oneOf": [
                {"type": "object", "properties": {"t": {"const": "a"}, "x": {"type": "integer"}},
                 "required": ["t", "x"], "additionalProperties": false},
                {"type": "object", "properties": {"t": {"const": "b"}}, "required": ["t"],
                 "additionalProperties": false},
                {"type": "null"}
            ]}),
        ),
        (
            "all of several",
            json!({"allOf": [
                {"type": "integer", "minimum": 10},
                {"maximum": 99},
                {"multipleOf": 5}
            ]}),
        ),
        (
            "a tree",
            json!({
                "$defs": {"node": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "integer"},
                        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}
                    },
                    "required": ["value", "children"], "additionalProperties": false
                }},
                "$ref": "#/$defs/node"
            }),
        ),
        (
            "a list that refers to the root",
            json!({
                "type": "object",
                "properties": {
                    "head": {"type": "string", "maxLength": 3},
                    "tail": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}
                },
                "required": ["head", "tail"], "additionalProperties": false
            }),
        ),
        (
            "unicode",
            json!({
                "type": "object",
                "properties": {
                    "größe": {"enum": ["klein", "groß", "日本語", "🦀"]},
                    "текст": {"type": "string", "minLength": 1, "maxLength": 6},
                    "griechisch": {"type": "string", "pattern": "^[α-ω]{1,4}$"}
                },
                "required": ["größe", "текст", "griechisch"], "additionalProperties": false
            }),
        ),
        (
            "optional and additional properties",
            json!({
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "string", "maxLength": 3}},
                "required": ["b"],
                "additionalProperties": {"type": "boolean"}
            }),
        ),
        (
            "properties by pattern",
            json!({
                "type": "object",
                "patternProperties": {"^n_[a-z]{1,3}$": {"type": "number"}},
                "additionalProperties": false
            }),
        ),
        (
            "several types",
            json!({"type": ["string", "null", "integer"], "maxLength": 9}),
        ),
        ("anything", json!(true)),
    ]
}

/// Every answer that ends parses and is valid; and enough of them do end.
fn check_answers(tokenizer: &Tokenizer, seeds: u64) {
    let table = TokenTable::new(tokenizer).expect("a good vocabulary");
    let mut wrong = Vec::new();
    for (name, schema) in schemas() {
        let judge = Judge::new(&schema);
        let constraint = Constraint::json_schema(&schema, &table).expect(name);
        let mut finished = 0;
        for seed in 0..seeds {
            let Some(text) = scribble(&mut constraint.clone(), tokenizer, seed * 7_919) else {
                continue;
            };
            finished += 1;
            match serde_json::from_str::<Value>(&text) {
                Ok(value) if judge.fits(&value) => {}
                Ok(_) => wrong.push(format!("{name}: {text}")),
                // What anything may be includes numbers that no double holds.
                Err(e) if schema == json!(true) && e.to_string().contains("out of range") => {}
                Err(e) => wrong.push(format!("{name}: {e} in {text:?}")),
            }
        }
        if 2 * finished < seeds {
            wrong.push(format!("{name}: {finished} of {seeds} ended"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_the_shipped_tokenizer_writes_fits_its_schema() {
    check_answers(&shipped(), 12);
}

#[test]
fn what_a_tokenizer_of_bytes_writes_fits_its_schema() {
    check_answers(&synthetic(), 12);
}

#[test]
fn an_object_of_any_kind_is_an_object() {
    let tokenizer = shipped();
    let table = TokenTable::new(&tokenizer).expect("a good vocabulary");
    let mut finished = 0;
    for seed in 0..10 {
        let mut constraint = Constraint::json_object(&table).expect("an object");
        if let Some(text) = scribble(&mut constraint, &tokenizer, seed) {
            let value: Value = serde_json::from_str(&text).expect("JSON");
            assert!(value.is_object(), "{text}");
            finished += 1;
        }
    }
    assert!(finished >= 5, "{finished}");
}

fn refusal(schema: &Value) -> ConstraintError {
    let table = TokenTable::new(&synthetic()).expect("a good vocabulary");
    match Constraint::json_schema(schema, &table) {
        Err(error) => error,
        Ok(_) => panic!("took {schema}"),
    }
}

#[test]
fn keywords_that_are_not_enforced_are_refused_by_name() {
    for keyword in [
        "not",
        "if",
        "uniqueItems",
        "contains",
        "propertyNames",
        "dependentRequired",
        "minProperties",
        "maxProperties",
        "unevaluatedProperties",
        "$anchor",
        "$dynamicRef",
        "x-guidance",
        "maxlength",
    ] {
        let schema = json!({"type": "array", "items": {keyword: 1}});
        let at = format!("#/items/{keyword}");
        let expected = ConstraintError::UnsupportedKeyword { at: at.clone() };
        assert_eq!(refusal(&schema), expected);
        assert!(expected.to_string().contains(&at));
    }
}

#[test]
fn values_of_the_wrong_kind_are_refused_by_their_place() {
    let long = "é".repeat(300);
    let cases = [
        (json!({"type": "float"}), "#/type"),
        (json!({"type": []}), "#/type"),
        (json!({"enum": []}), "#/enum"),
        (json!({"enum": [1e300]}), "#/enum"),
        (json!({"minLength": -1}), "#/minLength"),
        (json!({"maxItems": 1.5}), "#/maxItems"),
        (json!({"maxItems": 1_000_000_000}), "#/maxItems"),
        (json!({"minimum": "3"}), "#/minimum"),
        (json!({"maximum": 1e300}), "#/maximum"),
        (json!({"minimum": 1e-300}), "#/minimum"),
        (json!({"multipleOf": 0}), "#/multipleOf"),
        (json!({"multipleOf": 123_456_789}), "#/multipleOf"),
        (json!({"pattern": long.clone()}), "#/pattern"),
        (
            json!({"patternProperties": {long.clone(): true}}),
            "#/patternProperties",
        ),
        (json!({"format": "regex"}), "#/format"),
        (json!({"required": [1]}), "#/required"),
        (json!({"properties": []}), "#/properties"),
        (json!({"properties": {"a": 3}}), "#/properties/a"),
        (json!({"items": [true]}), "#/items"),
        (json!({"anyOf": {}}), "#/anyOf"),
        (json!({"$ref": {"a": long}}), "#/$ref"),
        (json!({"$ref": "https://example.org/x"}), "#/$ref"),
        (json!({"$ref": "#/$defs/missing", "$defs": {}}), "#/$ref"),
        (
            json!({"$ref": "#/properties/a", "properties": {"a": true}}),
            "#/$ref",
        ),
        (json!({"items": {"$defs": {"a": true}}}), "#/items/$defs"),
    ];
    for (schema, place) in cases {
        let refused = refusal(&schema);
        assert!(
            matches!(&refused, ConstraintError::BadKeyword { at, .. } if at == place),
            "{schema}: {refused}"
        );
    }
}

#[test]
fn a_schema_that_is_too_large_is_refused() {
    let mut deep = json!(true);
    for _ in 0..40 {
        deep = json!({"items": deep});
    }
    let wide = json!({"enum": (0..5_000).collect::<Vec<_>>()});
    let long = json!({"description": "x".repeat(70_000)});
    for (schema, what) in [(deep, "levels"), (wide, "values"), (long, "bytes")] {
        let refused = refusal(&schema);
        assert!(
            matches!(&refused, ConstraintError::SchemaTooLarge { what: it, .. } if *it == what),
            "{refused}"
        );
    }
    let table = TokenTable::new(&synthetic()).expect("a good vocabulary");
    let nested = "[".repeat(60_000);
    let refused = Constraint::json_schema_text(&nested, &table);
    assert!(matches!(refused, Err(ConstraintError::NotJson { .. })));
}

#[test]
fn names_for_nothing_but_themselves_are_refused() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}),
        json!({"$ref": "#/$defs/a", "$defs": {
            "a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/b"}]},
            "b": {"allOf": [{"$ref": "#/$defs/a"}]}
        }}),
    ] {
        let refused = refusal(&schema);
        assert!(
            matches!(refused, ConstraintError::EndlessReference { .. }),
            "{schema}: {refused}"
        );
    }
}

#[test]
fn what_nothing_fits_is_refused() {
    for schema in [
        json!(false),
        json!({"type": "integer", "minimum": 5, "maximum": 4}),
        json!({"type": "string", "minLength": 5, "maxLength": 4}),
        json!({"type": "string", "enum": [1, 2]}),
        json!({"allOf": [{"type": "string"}, {"type": "null"}]}),
        json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}),
        json!({"type": "string", "pattern": "(("}),
        json!({"type": "string", "pattern": r"(?=x)y"}),
    ] {
        let refused = refusal(&schema);
        assert!(
            matches!(refused, ConstraintError::Refused { .. }),
            "{schema}: {refused}"
        );
    }
}

/// Costly by design: each is refused, or gives up on a mask, or is cheap after all. The fuel that
/// the grammar machine is given is what ends them, natively as in a tab.
#[test]
fn costly_schemas_end() {
    let tokenizer = shipped();
    let table = TokenTable::new(&tokenizer).expect("a good vocabulary");
    let branches: Vec<Value> = (0..12)
        .map(|i| {
            let ways: Vec<Value> = (0..12)
                .map(|j| json!({"properties": {format!("p{i}_{j}"): {"type": "string"}}}))
                .collect();
            json!({"anyOf": ways})
        })
        .collect();
    let many: serde_json::Map<String, Value> = (0..900)
        .map(|i| {
            (
                format!("property{i}"),
                json!({"type": ["string", "integer", "null"]}),
            )
        })
        .collect();
    let costly = [
        json!({"type": "string", "pattern": "(a{1000}){1000}"}),
        json!({"type": "string", "pattern": "(x+x+)+y"}),
        json!({"type": "string", "pattern": "(.*a.{40}){3}"}),
        json!({"type": "string", "pattern": r"(\p{L}|\w){1,500}\d{3,400}[^\x00-\u{10ffff}]?"}),
        json!({"type": "string", "minLength": 60_000, "maxLength": 65_000}),
        json!({"type": "array", "items": {"type": "array", "minItems": 65_536}, "minItems": 65_536}),
        json!({"type": "integer", "multipleOf": 9_973, "minimum": 1_234_567, "maximum": 987_654_321_012_i64}),
        json!({"allOf": branches}),
        json!({"type": "object", "properties": many}),
        json!({"type": "object", "properties": many, "additionalProperties": false}),
        json!({"$defs": {"a": {"anyOf": [
            {"type": "array", "items": {"$ref": "#/$defs/a"}},
            {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}},
        ]}}, "$ref": "#/$defs/a"}),
    ];
    for schema in costly {
        let Ok(mut constraint) = Constraint::json_schema(&schema, &table) else {
            continue;
        };
        for step in 0..30 {
            let Ok(mask) = constraint.mask() else {
                break;
            };
            let allowed: Vec<u32> = mask.ids().collect();
            assert!(!allowed.is_empty(), "{schema}");
            let id = allowed[step * 7 % allowed.len()];
            if constraint.accept(id).is_err() || constraint.is_finished() {
                break;
            }
        }
    }
}

#[test]
fn a_token_that_does_not_fit_changes_nothing() {
    let tokenizer = synthetic();
    let table = TokenTable::new(&tokenizer).expect("a good vocabulary");
    let schema = json!({"enum": [true, 12]});
    let mut constraint = Constraint::json_schema(&schema, &table).expect("a good schema");
    let byte = |byte: u8| {
        (0..tokenizer.vocab_size() as u32)
            .find(|id| tokenizer.piece(*id) == [byte])
            .expect("a token for every byte")
    };
    let end = (0..tokenizer.vocab_size() as u32)
        .find(|id| tokenizer.is_end(*id))
        .expect("an end token");
    let refused = |constraint: &mut Constraint, token| {
        assert!(!constraint.mask().expect("affordable").allows(token));
        let error = ConstraintError::NotAllowed { token };
        assert_eq!(constraint.accept(token), Err(error));
    };
    for token in [byte(b'f'), byte(b' '), end, 100_000, u32::MAX] {
        refused(&mut constraint, token);
    }
    assert_eq!(constraint.may_end(), Ok(false));
    for text in b"12" {
        constraint.accept(byte(*text)).expect("it fits");
    }
    assert_eq!(constraint.may_end(), Ok(true));
    refused(&mut constraint, byte(b'3'));
    if !constraint.is_finished() {
        assert!(constraint.mask().expect("affordable").allows(end));
        constraint.accept(end).expect("it is whole");
    }
    assert!(constraint.is_finished());
    refused(&mut constraint, byte(b'1'));
}

/// Whoever goes on with an answer has the same tokens to choose from.
#[test]
fn an_answer_taken_over_has_the_same_choice() {
    let tokenizer = shipped();
    let table = TokenTable::new(&tokenizer).expect("a good vocabulary");
    let (_, schema) = schemas().swap_remove(0);
    let mut first = Constraint::json_schema(&schema, &table).expect("a good schema");
    let mut tokens = Vec::new();
    for step in 0..25 {
        let mut second = Constraint::json_schema(&schema, &table).expect("a good schema");
        for token in &tokens {
            second.accept(*token).expect("it was allowed");
        }
        let mask = first.mask().expect("affordable").clone();
        assert_eq!(second.mask(), Ok(&mask));
        let allowed: Vec<u32> = mask.ids().collect();
        let token = allowed[step * 31 % allowed.len()];
        first.accept(token).expect("the mask allowed it");
        if first.is_finished() {
            break;
        }
        tokens.push(token);
    }
    assert!(tokens.len() > 5);
}

/// A schema out of the words of the language, put together at random.
fn arbitrary_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!(null)),
        any::<i64>().prop_map(|x| json!(x)),
        any::<f64>().prop_map(|x| json!(x)),
        "[a-z#/$é🦀\\\\\"(\\[{*+?.|)]{0,12}".prop_map(|x| json!(x)),
        Just(json!("#/$defs/a")),
        Just(json!("#")),
        prop::sample::select(vec![
            "string", "object", "array", "integer", "number", "null"
        ])
        .prop_map(|x| json!({"type": x})),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let keyword = prop::sample::select(vec![
            "type",
            "enum",
            "const",
            "properties",
            "required",
            "additionalProperties",
            "patternProperties",
            "items",
            "prefixItems",
            "minItems",
            "maxItems",
            "minLength",
            "maxLength",
            "pattern",
            "format",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "anyOf",
            "oneOf",
            "allOf",
            "$ref",
            "$defs",
            "a",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keyword, inner), 0..5).prop_map(|entries| {
                entries
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            }),
        ]
    })
}

/// A good schema more often than not: the words have values of their kind.
fn plausible_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (-50_i64..50, -50_i64..50)
            .prop_map(|(a, b)| json!({"type": "integer", "minimum": a, "maximum": b})),
        (-5.0_f64..5.0)
            .prop_map(|a| json!({"type": "number", "exclusiveMinimum": (a * 64.0).round() / 64.0})),
        (0_u64..9, 0_u64..9)
            .prop_map(|(a, b)| json!({"type": "string", "minLength": a, "maxLength": b})),
        "[a-cé.*+?()\\[\\]|^$]{0,8}".prop_map(|p| json!({"type": "string", "pattern": p})),
        Just(json!({"enum": ["a", 1, null]})),
        Just(json!({"$ref": "#/$defs/a"})),
        Just(json!({"$ref": "#"})),
        (1_u64..40).prop_map(|m| json!({"type": "number", "multipleOf": m as f64 / 4.0})),
        Just(json!(true)),
    ];
    let schema = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 1..4), prop::sample::select(vec!["anyOf", "oneOf", "allOf"]))
                .prop_map(|(branches, how)| json!({how: branches})),
            (prop::collection::btree_map("[abc]", inner.clone(), 0..4), any::<bool>(), inner.clone())
                .prop_map(|(properties, all, rest)| {
                    let required: Vec<String> =
                        properties.keys().filter(|_| all).cloned().collect();
                    json!({"type": "object", "properties": properties, "required": required,
                           "additionalProperties": if all { json!(false) } else { rest }})
                }),
            (inner.clone(), 0_u64..3, 0_u64..4)
                .prop_map(|(items, a, b)| json!({"type": "array", "items": items, "minItems": a, "maxItems": b})),
            prop::collection::vec(inner, 1..3)
                .prop_map(|items| json!({"type": "array", "prefixItems": items})),
        ]
    });
    (schema.clone(), schema).prop_map(|(mut root, definition)| {
        if let Some(entries) = root.as_object_mut() {
            entries.insert("$defs".to_owned(), json!({"a": definition}));
        }
        root
    })
}

/// The engine is compiled to abort on a panic in a tab, so the grammar machine must not panic,
/// though natively it would catch that itself and say so.
fn check_no_panic(schema: &Value, tokenizer: &Tokenizer, table: &TokenTable) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut constraint = Constraint::json_schema(schema, table)?;
        scribble_unsure(&mut constraint, tokenizer)
    }));
    match outcome {
        Ok(Err(ConstraintError::Refused { reason } | ConstraintError::TooComplex { reason })) => {
            assert!(!reason.contains("panic"), "{schema}: {reason}");
        }
        Ok(_) => {}
        Err(_) => panic!("{schema}"),
    }
}

/// A few steps with whatever is allowed.
fn scribble_unsure(
    constraint: &mut Constraint,
    tokenizer: &Tokenizer,
) -> Result<(), ConstraintError> {
    for step in 0..20 {
        if constraint.is_finished() {
            return Ok(());
        }
        let allowed: Vec<u32> = constraint.mask()?.ids().collect();
        let Some(id) = allowed.get(step * 13 % allowed.len().max(1)) else {
            return Ok(());
        };
        constraint.accept(*id)?;
        if tokenizer.is_end(*id) {
            assert!(constraint.is_finished());
        }
    }
    Ok(())
}

#[test]
fn no_schema_makes_it_panic() {
    let tokenizer = synthetic();
    let table = TokenTable::new(&tokenizer).expect("a good vocabulary");
    let config = ProptestConfig::with_cases(400);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let both = prop_oneof![arbitrary_schema(), plausible_schema()];
    runner
        .run(&both, |schema| {
            check_no_panic(&schema, &tokenizer, &table);
            Ok(())
        })
        .expect("no panic");
}

//! Templates in the form that published families have against what Python's transformers makes of
//! them; `tests/templates/goldens.py` says how.

use std::path::Path;

use serde_json::Value as Json;

use super::*;

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates");
    std::fs::read_to_string(folder.join(name)).expect("a committed file")
}

/// The time in which the goldens were made.
const NOW: LocalTime = LocalTime {
    year: 2026,
    month: 11,
    day: 21,
    hour: 9,
    minute: 5,
    second: 7,
};

/// How a golden and a result differ, if they do.
fn difference(golden: &Json, found: &Result<String, ChatError>) -> Option<String> {
    let same = match found {
        Ok(text) => golden["text"] == **text,
        Err(ChatError::Refused { reason }) => golden["refused"] == **reason,
        Err(ChatError::Failed { .. } | ChatError::BadTemplate { .. }) => {
            golden.get("failed").is_some()
        }
        Err(_) => false,
    };
    (!same).then(|| format!("expected {golden}\n   found {found:?}"))
}

#[test]
fn templates_render_as_transformers_does() {
    let file: Json = serde_json::from_str(&read("goldens.json")).expect("JSON");
    let goldens = file["goldens"].as_array().expect("a list");
    let text = |json: &Json| json.as_str().expect("a string").to_owned();
    let mut differences = Vec::new();
    for golden in goldens {
        let template = read(&text(&golden["template"]));
        let request = text(&file["requests"][text(&golden["request"])]);
        let chat = ChatContext {
            bos_token: "<s>",
            eos_token: "</s>",
            add_generation_prompt: golden["prompted"] == true,
        };
        let found = render_request(&template, &request, chat, Some(NOW));
        differences.extend(difference(golden, &found));
    }
    assert!(goldens.len() > 400, "{} goldens", goldens.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

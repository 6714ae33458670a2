//! What the catalogue says about the shipped models is true.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;

fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_catalogue_names_the_files_as_they_are() {
    let text = std::fs::read_to_string(models().join("index.json")).unwrap();
    let catalogue: Value = serde_json::from_str(&text).unwrap();
    let entries = catalogue["models"].as_array().unwrap();
    assert_eq!(
        entries
            .iter()
            .filter(|entry| entry["default"] == true)
            .count(),
        1
    );
    for entry in entries {
        let file = std::fs::read(models().join(entry["file"].as_str().unwrap())).unwrap();
        assert_eq!(entry["bytes"], file.len(), "{}", entry["id"]);
        assert_eq!(
            entry["sha256"],
            hex(&Sha256::digest(&file)),
            "{}",
            entry["id"]
        );
    }
}

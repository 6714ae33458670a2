//! The walls of the house: crate edges, headers, names, listed places for platform differences.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which workspace crates each crate may import (design: the map in ARCHITECTURE.md).
const ARROWS: [(&str, &[&str]); 12] = [
    ("protocol", &[]),
    ("hive", &["protocol"]),
    ("shaders", &[]),
    ("engine", &["shaders"]),
    ("rtc", &[]),
    ("relay", &["hive", "protocol"]),
    ("node-wasm", &["engine", "hive", "protocol", "rtc"]),
    ("ui", &["node-wasm", "protocol"]),
    ("sim", &["hive", "protocol"]),
    (
        "tests",
        &["engine", "hive", "protocol", "relay", "shaders", "sim"],
    ),
    ("tests/natlab", &[]),
    ("bench", &["engine"]),
];

/// Crates that the pure ones must never reach, however indirectly written in their manifests.
const IMPURE: [&str; 12] = [
    "async-std",
    "futures",
    "getrandom",
    "js-sys",
    "libp2p",
    "rand",
    "rexie",
    "tokio",
    "wasm-bindgen",
    "web-sys",
    "web-time",
    "wgpu",
];

/// File names that say nothing about what the file owns.
const EMPTY_NAMES: [&str; 5] = ["utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below the crates with this extension, in a stable order.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending: Vec<_> = ARROWS.iter().map(|(name, _)| root().join(name)).collect();
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Names on the left of `=` or `.` in the dependency tables of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && line.chars().next().is_some_and(char::is_alphanumeric) {
            let end = line.find(['=', '.', ' ']).unwrap_or(line.len());
            names.insert(line[..end].to_owned());
        }
    }
    names
}

#[test]
fn crates_import_along_the_arrows_only() {
    for (name, allowed) in ARROWS {
        let found: BTreeSet<_> = dependencies(&read(&root().join(name).join("Cargo.toml")))
            .iter()
            .filter_map(|dependency| dependency.strip_prefix("thrum-").map(str::to_owned))
            .collect();
        let allowed: BTreeSet<_> = allowed.iter().map(|&name| name.to_owned()).collect();
        assert!(
            found.is_subset(&allowed),
            "{name} imports {found:?}, may import {allowed:?}"
        );
    }
}

#[test]
fn pure_crates_name_no_impure_dependency() {
    for name in ["protocol", "hive", "sim"] {
        let found = dependencies(&read(&root().join(name).join("Cargo.toml")));
        for impure in IMPURE {
            assert!(!found.contains(impure), "{name} depends on {impure}");
        }
    }
}

#[test]
fn every_source_says_first_what_it_owns() {
    for path in files("rs") {
        assert!(
            read(&path).starts_with("//!"),
            "{} has no `//!` header",
            path.display()
        );
    }
}

#[test]
fn no_file_has_an_empty_name() {
    for path in files("rs") {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            !EMPTY_NAMES.contains(&name),
            "{}: name what it owns",
            path.display()
        );
    }
}

#[test]
fn platform_differences_live_in_whole_files() {
    for path in files("rs") {
        let text = read(&path);
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let inner = line.trim_start().starts_with("#![cfg(");
            if !line.trim_start().starts_with("#[cfg(") || !line.contains("target_arch") || inner {
                continue;
            }
            let next = lines[number + 1..]
                .iter()
                .find(|line| !line.trim_start().starts_with("#["));
            let next = next.map_or("", |line| line.trim_start());
            let item = next
                .strip_prefix("pub(crate) ")
                .or(next.strip_prefix("pub "))
                .unwrap_or(next);
            let whole =
                item.starts_with("mod ") || item.starts_with("use ") || item.starts_with("fn main");
            assert!(whole, "{}:{} cfg on `{next}`", path.display(), number + 1);
        }
    }
}

#[test]
fn browser_objects_appear_in_the_browser_crates_only() {
    let allowed = [
        "node-wasm",
        "rtc/src/browser",
        "rtc/examples",
        "rtc/tests",
        "ui",
        "tests",
        "bench/src",
        // wgpu does not say whether a browser's adapter is a fallback: this file asks the browser.
        "engine/src/gpu/adapter_web.rs",
        // A second module over the engine's memory is the browser's to instantiate.
        "engine/src/cpu/kernels/relaxed.rs",
        "engine/tests/kernels_speed_web.rs",
        "engine/tests/kernels_web.rs",
    ]
    .map(|name| root().join(name));
    for path in files("rs") {
        if allowed.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        let text = read(&path);
        for name in ["web_sys::", "js_sys::", "wasm_bindgen::"] {
            assert!(!text.contains(name), "{} uses {name}", path.display());
        }
    }
}

#[test]
fn the_dashboard_touches_the_node_in_two_files() {
    let ui = root().join("ui/src");
    for path in files("rs").iter().filter(|path| path.starts_with(&ui)) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let uses = read(path).contains("thrum_node_wasm");
        assert!(
            !uses || ["main.rs", "bridge.rs"].contains(&name),
            "{}",
            path.display()
        );
    }
}

#[test]
fn nothing_is_left_to_do_silently() {
    let markers = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    for path in files("rs").into_iter().chain(files("wgsl")) {
        let text = read(&path);
        for marker in markers {
            assert!(!text.contains(marker), "{} has a {marker}", path.display());
        }
        assert!(
            !text.contains(concat!("#[", "ignore")),
            "{} ignores a test",
            path.display()
        );
    }
}

#[test]
fn every_limit_has_its_unit_and_reason() {
    for path in files("rs") {
        if path.file_name().unwrap() != "limits.rs" {
            continue;
        }
        let text = read(&path);
        let mut documented = false;
        for line in text.lines() {
            if line.starts_with("pub const") || line.starts_with("pub(crate) const") {
                assert!(documented, "{}: `{line}` has no doc line", path.display());
            }
            let attribute = documented && line.starts_with("#[");
            documented = attribute || line.starts_with("///");
        }
    }
}

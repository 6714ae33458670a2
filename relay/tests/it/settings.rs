//! Where settings come from, which source wins, and what bad ones are told.

use std::path::Path;
use std::process::{Command, Output};

use thrum_relay::config::Config;

use crate::rig;

/// Runs the command with nothing of this process's environment that it reads.
fn relay(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thrum-relay"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("THRUM_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn printed(arguments: &[&str], environment: &[(&str, &str)]) -> toml::Table {
    let output = relay(&[arguments, &["--print-config"]].concat(), environment);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().parse().unwrap()
}

fn complaint(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = relay(&[arguments, &["--print-config"]].concat(), environment);
    assert!(
        !output.status.success(),
        "{arguments:?} {environment:?} must be refused"
    );
    String::from_utf8(output.stderr).unwrap()
}

fn file(directory: &Path, text: &str) -> String {
    let path = directory.join("relay.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = file(
        directory.path(),
        "http = \"127.0.0.1:3\"\nmodels = \"from-file\"\n",
    );
    let http = |arguments: &[&str], environment: &[(&str, &str)]| {
        printed(arguments, environment)["http"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let flag = ["--config", &file, "--http", "127.0.0.1:1"];
    let environment = [("THRUM_HTTP", "127.0.0.1:2")];
    assert_eq!(http(&flag, &environment), "127.0.0.1:1");
    assert_eq!(http(&flag[..2], &environment), "127.0.0.1:2");
    assert_eq!(http(&flag[..2], &[]), "127.0.0.1:3");
    assert_eq!(http(&[], &[("THRUM_CONFIG", &file)]), "127.0.0.1:3");
    assert_eq!(http(&[], &[]), "127.0.0.1:8080");
    assert_eq!(
        printed(&flag, &environment)["models"].as_str(),
        Some("from-file")
    );
}

#[test]
fn what_it_prints_it_reads_back() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [
        "--http",
        "[::1]:0",
        "--announce",
        "/dns4/relay.example/tcp/443/wss,/ip4/192.0.2.1/udp/8082/webrtc-direct",
        "--ice-servers",
        "stun:stun.example:3478",
        "--federate",
        "/dns4/other.example/tcp/443/wss/p2p/12D3KooWGgvbu9FxGcVvdVZFkqTKGyP5ZZXzPdQ8wTqQ6Vq3UPjT",
        "--tls-cert",
        "chain.pem",
        "--tls-key",
        "key.pem",
        "--stun",
        "0.0.0.0:3478",
        "--public-ip",
        "192.0.2.1",
        "--turn",
        "true",
        "--turn-ports",
        "50000-50001",
        "--key",
        "/var/lib/thrum/key",
        "--max-connections-per-ip",
        "7",
        "--log-format",
        "json",
    ];
    let first = printed(&arguments, &[]);
    let file = file(directory.path(), &first.to_string());
    assert_eq!(printed(&["--config", &file], &[]), first);
    assert_eq!(first["announce"].as_array().unwrap().len(), 2);
    assert_eq!(first["max_connections_per_ip"].as_integer(), Some(7));
}

/// TURN costs traffic and reaches into networks: whoever opens a relay to others says so.
#[test]
fn turn_is_on_for_this_machine_and_asked_for_elsewhere() {
    let flags = |arguments: &[&str]| {
        let printed = printed(arguments, &[]);
        ["turn", "turn_allow_private"].map(|name| printed[name].as_bool().unwrap())
    };
    assert_eq!(flags(&[]), [true, true]);
    assert_eq!(flags(&["--stun", "127.0.0.2:1"]), [true, true]);
    assert_eq!(flags(&["--stun", "0.0.0.0:3478"]), [false, false]);
    let opened = ["--stun", "192.168.0.1:3478", "--turn", "true"];
    assert_eq!(flags(&opened), [true, false]);
    let directory = tempfile::tempdir().unwrap();
    let without = file(directory.path(), "stun = []\n");
    assert_eq!(flags(&["--config", &without]), [false, false]);
}

#[test]
fn the_public_example_holds_and_offers_no_turn() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/relay/public.toml");
    let printed = printed(&["--config", example], &[]);
    assert_eq!(printed["turn"].as_bool(), Some(false));
    assert_eq!(printed["turn_allow_private"].as_bool(), Some(false));
    assert_eq!(printed["stun"].as_array().unwrap().len(), 2);
    let opened = ["--config", example, "--turn", "true"];
    assert!(
        relay(&[&opened[..], &["--print-config"]].concat(), &[])
            .status
            .success()
    );
}

#[test]
fn the_state_directory_decides_where_the_key_lies() {
    let key = printed(&[], &[("XDG_STATE_HOME", "/state")]);
    assert_eq!(key["key"].as_str(), Some("/state/thrum/thrum-relay.key"));
    let key = printed(&[], &[("XDG_STATE_HOME", ""), ("HOME", "/home/somebody")]);
    assert_eq!(
        key["key"].as_str(),
        Some("/home/somebody/.local/state/thrum/thrum-relay.key")
    );
    let state = ["--state", "/from-flag"];
    let key = |arguments: &[&str]| {
        printed(arguments, &[("THRUM_STATE", "/from-environment")])["key"].to_string()
    };
    assert_eq!(key(&state), "\"/from-flag/thrum-relay.key\"");
    assert_eq!(key(&[]), "\"/from-environment/thrum-relay.key\"");
    assert_eq!(key(&["--state", "/from-flag", "--key", "/k"]), "\"/k\"");
}

#[test]
fn bad_settings_are_named_with_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let in_file = |text: &str, words: &[&str]| {
        let file = file(directory.path(), text);
        let complaint = complaint(&["--config", &file], &[]);
        assert!(complaint.contains("relay.toml"), "{complaint}");
        for word in words {
            assert!(
                complaint.contains(word),
                "{text:?} lacks {word:?}: {complaint}"
            );
        }
    };
    in_file(
        "htpp = \"127.0.0.1:1\"",
        &["unknown field `htpp`", "`http`", "line 1"],
    );
    in_file("http = \"somewhere\"", &["http", "invalid socket address"]);
    in_file("log_format = \"xml\"", &["xml", "`json`", "`text`"]);
    in_file("max_connections = -1", &["max_connections", "-1"]);
    in_file("http = ", &["line 1"]);

    let check = |arguments: &[&str], environment: &[(&str, &str)], words: &[&str]| {
        let complaint = complaint(arguments, environment);
        for word in words {
            assert!(
                complaint.contains(word),
                "{arguments:?} lacks {word:?}: {complaint}"
            );
        }
    };
    check(
        &["--config", "/nowhere/x.toml"],
        &[],
        &["/nowhere/x.toml", "No such file"],
    );
    check(&["--http", "8080"], &[], &["--http", "8080"]);
    check(&[], &[("THRUM_WS", "x")], &["--ws", "'x'"]);
    check(
        &["--max-connections", "0"],
        &[],
        &["--max-connections", "0"],
    );
    check(
        &["--announce", "/ip4/192.0.2.1/tcp/1"],
        &[],
        &["announce", "/ws"],
    );
    check(&["--announce", "/tcp/1/ws"], &[], &["announce", "/ip4"]);
    check(
        &["--announce", "relay.example"],
        &[],
        &["--announce", "relay.example"],
    );
    check(
        &["--ice-servers", "http://x"],
        &[],
        &["--ice-servers", "stun:host:port"],
    );
    check(
        &["--turn-ports", "9-1"],
        &[],
        &["--turn-ports", "49160-49415"],
    );
    check(
        &["--stun", "0.0.0.0:3478", "--turn", "true"],
        &[],
        &["turn", "public_ip"],
    );
    check(
        &["--public-ip", "2001:db8::1"],
        &[],
        &["public_ip", "2001:db8::1"],
    );
    check(&["--tls-cert", "chain.pem"], &[], &["tls_cert", "tls_key"]);
    check(
        &[],
        &[("THRUM_TLS_KEY", "key.pem")],
        &["tls_key", "tls_cert"],
    );
    check(
        &["--federate", "/ip4/192.0.2.1/tcp/1/ws"],
        &[],
        &["federate", "/p2p/"],
    );
    check(&["--log", "a=b=c"], &[], &["log", "a=b=c"]);
    let file = file(directory.path(), "max_connections_per_ip = 0");
    check(
        &["--config", &file],
        &[],
        &["max_connections_per_ip", "nobody could connect"],
    );
}

#[test]
fn help_explains_every_setting() {
    let help = String::from_utf8(relay(&["--help"], &[]).stdout).unwrap();
    let all = Config {
        tls_cert: Some("chain.pem".into()),
        tls_key: Some("key.pem".into()),
        public_ip: Some([192, 0, 2, 1].into()),
        ..rig::config_in(Path::new("x"))
    };
    for name in all
        .to_toml()
        .unwrap()
        .parse::<toml::Table>()
        .unwrap()
        .keys()
    {
        let flag = format!("--{}", name.replace('_', "-"));
        assert!(help.contains(&flag), "{flag} is not in:\n{help}");
        assert!(
            help.contains(&format!("THRUM_{}", name.to_uppercase())),
            "{name}:\n{help}"
        );
    }
}

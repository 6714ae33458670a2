//! The command as people and scripts run it: what it prints, how it ends, what it keeps.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use thrum_relay::Relay;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::rig::{self, HANG, fetch};

/// Starts the command on free ports and reads its greeting.
pub(crate) async fn start(site: &Path, more: &[&str]) -> (Child, Vec<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_thrum-relay"))
        .args([
            "--http",
            "127.0.0.1:0",
            "--ws",
            "127.0.0.1:0",
            "--webrtc",
            "127.0.0.1:0",
            "--stun",
            "127.0.0.1:0",
        ])
        .args(["--key", "state/key", "--page", "dist", "--models", "models"])
        .args(more)
        .current_dir(site)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut greeting = Vec::new();
    let read = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            greeting.push(line);
            if greeting
                .last()
                .is_some_and(|line| line == "Ctrl-C stops it.")
            {
                break;
            }
        }
    };
    tokio::time::timeout(HANG, read).await.unwrap();
    (child, greeting)
}

pub(crate) async fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args([name, &pid])
            .status()
            .await
            .unwrap()
            .success()
    );
}

pub(crate) fn word_after(greeting: &[String], label: &str) -> String {
    let line = greeting
        .iter()
        .find(|line| line.trim_start().starts_with(label));
    line.unwrap_or_else(|| panic!("no {label:?} in {greeting:#?}"))
        .trim_start()[label.len()..]
        .trim()
        .to_owned()
}

#[tokio::test]
async fn it_says_where_it_is_and_both_signals_end_it_well() {
    for name in ["-TERM", "-INT"] {
        let (site, _) = rig::site();
        let (child, greeting) = start(site.path(), &[]).await;
        let page = word_after(&greeting, "page");
        let server = page
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .parse()
            .unwrap();
        let facts = fetch(server, "GET", "/api/relay", &[]).await.text();
        assert!(facts.contains(&word_after(&greeting, "peer id")), "{facts}");
        assert!(facts.contains(&word_after(&greeting, "address")), "{facts}");

        signal(&child, name).await;
        let output = tokio::time::timeout(HANG, child.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{name}: {errors}");
        assert!(errors.contains("stopping"), "{errors}");
    }
}

#[tokio::test]
async fn machine_readable_logs_are_json_lines() {
    let (site, _) = rig::site();
    let (child, _) = start(site.path(), &["--log-format", "json"]).await;
    signal(&child, "-TERM").await;
    let output = tokio::time::timeout(HANG, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!errors.is_empty());
    for line in errors.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
}

#[tokio::test]
async fn secrets_are_private_and_a_damaged_one_is_named_and_kept() {
    let (site, config) = rig::site();
    rig::start(config.clone())
        .await
        .ask_to_stop()
        .await
        .unwrap()
        .unwrap();
    let key = site.path().join("state/thrum-relay.key");
    let certificate = site.path().join("state/thrum-relay.certificate");
    for path in [&key, &certificate] {
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    assert_eq!(
        std::fs::read_dir(site.path().join("state"))
            .unwrap()
            .count(),
        2,
        "no leftovers"
    );

    for path in [&key, &certificate] {
        let whole = std::fs::read(path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        let damages: [&[u8]; 5] = [
            b"",
            b"garbage",
            b"\xff\xfe",
            &whole[..whole.len() / 2],
            &flipped,
        ];
        for damage in damages {
            std::fs::write(path, damage).unwrap();
            let error = Relay::bind(config.clone()).await.err().unwrap().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
            assert_eq!(std::fs::read(path).unwrap(), damage, "never replaced");
        }
        std::fs::write(path, whole).unwrap();
    }
    rig::start(config).await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let (_site, config) = rig::site();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp, udp) = (tcp.local_addr().unwrap(), (udp.local_addr().unwrap(), udp));
    let _keep = udp.1;
    let cases = [
        (
            "--ws",
            thrum_relay::config::Config {
                ws: tcp,
                ..config.clone()
            },
            tcp,
        ),
        (
            "--webrtc",
            thrum_relay::config::Config {
                webrtc: udp.0,
                ..config.clone()
            },
            udp.0,
        ),
        (
            "--http",
            thrum_relay::config::Config {
                http: tcp,
                ..config.clone()
            },
            tcp,
        ),
    ];
    for (flag, config, address) in cases {
        let error = Relay::bind(config).await.err().unwrap().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains(flag), "{error}");
        assert!(error.contains("in use"), "{error}");
    }
}

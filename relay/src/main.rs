//! The `thrum-relay` command: reads settings, starts the relay, says where it is, stops it.

use std::fmt::Write;
use std::io::IsTerminal;

use anyhow::Context;
use clap::Parser;
use thrum_relay::Relay;
use thrum_relay::config::{CommandLine, Config, LogFormat};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let command_line = CommandLine::parse();
    let print_config = command_line.print_config;
    let config = command_line.into_config()?;
    if print_config {
        print(
            &config
                .to_toml()
                .context("these settings cannot be written as TOML")?,
        );
        return Ok(());
    }
    start_log(&config)?;

    // Before the first word, so that whoever waits for it may stop us at once.
    let interrupt = signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?;
    let terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?;
    let key = config.key.display().to_string();
    let relay = Relay::bind(config).await?;
    print(&greeting(&relay, &key)?);
    let reloader = relay.reloader();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reloader.reload();
        }
    });
    relay.run(either(interrupt, terminate)).await?;
    Ok(())
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log).context("the log filter does not hold")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.init(),
    }
    Ok(())
}

fn greeting(relay: &Relay, key: &str) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "Thrum relay {}", thrum_relay::VERSION_AND_COMMIT)?;
    writeln!(text, "  page     {}", relay.page_url())?;
    writeln!(text, "  peer id  {}", relay.peer_id())?;
    for address in relay.addrs() {
        writeln!(text, "  address  {address}")?;
    }
    for address in relay.stun_addrs() {
        writeln!(text, "  stun     {address}")?;
    }
    writeln!(text, "  key      {key}")?;
    writeln!(text, "Ctrl-C stops it.")?;
    Ok(text)
}

#[expect(
    clippy::print_stdout,
    reason = "what a person or a script asked this command for"
)]
fn print(text: &str) {
    print!("{text}");
}

async fn either(mut interrupt: Signal, mut terminate: Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

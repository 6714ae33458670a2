//! Owns a namespace's only device, the socket to the internet, and the command between them.

use std::process::ExitStatus;

use anyhow::{Context as _, bail};
use thrum_natlab::{frames, limits};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tun_rs::{AsyncDevice, DeviceBuilder};

const DEVICE: &str = "t0";

/// Is a host until its command ends, the internet does, or a signal comes; the command's code.
pub(crate) async fn run(options: super::End) -> anyhow::Result<u8> {
    let device = DeviceBuilder::new()
        .name(DEVICE)
        .mtu(u16::try_from(limits::MTU)?)
        .build_async()
        .context(
            "cannot make a TUN device; is /dev/net/tun there, and this a namespace of ours?",
        )?;
    for words in [
        "link set lo up".to_owned(),
        // No router is looked for, so that only packets of the command go out.
        format!("link set {DEVICE} addrgenmode none"),
        format!("address add {} dev {DEVICE}", options.address),
        format!("link set {DEVICE} up"),
        format!("route add default dev {DEVICE}"),
    ] {
        ip(&words).await?;
    }
    let mut socket = UnixStream::connect(&options.socket)
        .await
        .with_context(|| format!("no internet at {}", options.socket.display()))?;
    frames::write(&mut socket, options.host.as_bytes()).await?;
    let (reader, writer) = socket.into_split();
    let (name, arguments) = options.command.split_first().context("no command")?;
    let mut child = Command::new(name)
        .args(arguments)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut stop = signal(SignalKind::terminate())?;
    let ended = tokio::select! {
        status = child.wait() => return Ok(code(status?)),
        sent = send(&device, writer) => sent,
        received = receive(reader, &device) => received,
        _ = stop.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    child.kill().await.ok(); // It may have ended by itself.
    ended.map(|()| 1)
}

/// What a shell would say.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(1)
}

async fn ip(words: &str) -> anyhow::Result<()> {
    let status = Command::new("ip").args(words.split(' ')).status().await;
    let status = status.context("cannot run `ip` (iproute2)")?;
    if !status.success() {
        bail!("`ip {words}` ended with {status}");
    }
    Ok(())
}

async fn send(device: &AsyncDevice, mut to: OwnedWriteHalf) -> anyhow::Result<()> {
    let mut packet = [0; limits::MTU];
    loop {
        let length = device.recv(&mut packet).await?;
        frames::write(&mut to, &packet[..length]).await?;
    }
}

async fn receive(mut from: OwnedReadHalf, device: &AsyncDevice) -> anyhow::Result<()> {
    while let Some(packet) = frames::read(&mut from).await? {
        device.send(&packet).await?;
    }
    Ok(())
}

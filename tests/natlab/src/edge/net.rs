//! Owns the sockets and the clock around the internet.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context as _;
use thrum_natlab::command::Command;
use thrum_natlab::{Internet, Plan, frames, limits};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What hosts do.
enum Event {
    Joined(String, mpsc::Sender<Vec<u8>>),
    Sent(String, Vec<u8>),
}

/// Is the internet until the input ends or a signal comes; then all hosts are cut off.
pub(crate) async fn run(options: super::Net) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&options.plan)
        .with_context(|| format!("cannot read the plan {}", options.plan.display()))?;
    let plan: Plan = serde_json::from_str(&text).context("the plan does not hold")?;
    let mut internet = Internet::try_from(plan)?;
    let listener = UnixListener::bind(&options.socket)
        .with_context(|| format!("cannot listen at {}", options.socket.display()))?;
    let served = serve(&mut internet, &listener).await;
    std::fs::remove_file(&options.socket).ok(); // It is in the lab's own directory.
    served
}

async fn serve(internet: &mut Internet, listener: &UnixListener) -> anyhow::Result<()> {
    let epoch = Instant::now();
    let (events, mut queue) = mpsc::channel(limits::MAX_WAITING);
    let mut hosts = BTreeMap::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut stop = signal(SignalKind::terminate())?;
    say("{\"answer\":\"ready\"}").await?;
    loop {
        let wake = internet.next_wake().map(|at| epoch + at);
        tokio::select! {
            Some(event) = queue.recv() => match event {
                Event::Joined(host, to) => drop(hosts.insert(host, to)),
                Event::Sent(host, packet) => internet.send(epoch.elapsed(), &host, packet),
            },
            () = at(wake), if wake.is_some() => {}
            accepted = listener.accept() => {
                tokio::spawn(host(accepted?.0, events.clone()));
            }
            line = lines.next_line() => match line? {
                Some(line) => {
                    let answer = Command::run(&line, epoch.elapsed(), internet);
                    say(&serde_json::to_string(&answer)?).await?;
                }
                None => return Ok(()),
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = stop.recv() => return Ok(()),
        }
        internet.pass(epoch.elapsed());
        while let Some((host, packet)) = internet.poll() {
            if let Some(to) = hosts.get(&host) {
                to.try_send(packet).ok(); // A host that does not keep up loses packets.
            }
        }
    }
}

async fn at(wake: Option<Instant>) {
    if let Some(wake) = wake {
        tokio::time::sleep_until(wake.into()).await;
    }
}

async fn say(line: &str) -> anyhow::Result<()> {
    let mut out = tokio::io::stdout();
    out.write_all(format!("{line}\n").as_bytes()).await?;
    Ok(out.flush().await?)
}

/// Carries the packets of one host, whose first one is its name.
async fn host(mut socket: UnixStream, events: mpsc::Sender<Event>) {
    let Ok(Some(name)) = frames::read(&mut socket).await else {
        return;
    };
    let Ok(name) = String::from_utf8(name) else {
        return;
    };
    let (to, mut packets) = mpsc::channel::<Vec<u8>>(limits::MAX_WAITING);
    let (mut reader, mut writer) = socket.into_split();
    tokio::spawn(async move {
        while let Some(packet) = packets.recv().await {
            if frames::write(&mut writer, &packet).await.is_err() {
                return;
            }
        }
    });
    if events.send(Event::Joined(name.clone(), to)).await.is_err() {
        return;
    }
    while let Ok(Some(packet)) = frames::read(&mut reader).await {
        if events
            .send(Event::Sent(name.clone(), packet))
            .await
            .is_err()
        {
            return;
        }
    }
}

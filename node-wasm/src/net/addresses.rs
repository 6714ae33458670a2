//! Which addresses the browser finds with the servers that it has: once with one, once with all.

use super::Net;
use futures::future::{FutureExt as _, join};
use thrum_hive::io::{Addresses, Gathering, Input};
use thrum_rtc::browser::{Config, Gathered, IceServer, gather};
use thrum_rtc::candidate::{Candidate, Origin};

impl Net {
    /// Has the browser look for its addresses; the machine is told what they are.
    pub(crate) fn gather(&mut self) {
        let found = gathering(self.tab_links.config());
        let told = found.map(|found| Some(Input::Gathered(found)));
        self.measuring.push(told.boxed_local());
    }
}

async fn gathering(config: Config) -> Gathering {
    if config.relay_only {
        return Gathering::RelayOnly;
    }
    let servers: Vec<IceServer> = config
        .ice_servers
        .iter()
        .flat_map(|server| &server.urls)
        .filter(|url| url.starts_with("stun:"))
        .map(|url| IceServer {
            urls: vec![url.clone()],
            username: None,
            credential: None,
        })
        .collect();
    let Some(first) = servers.first() else {
        return Gathering::NoServer;
    };
    let count = servers.len();
    match join(gather(vec![first.clone()]), gather(servers)).await {
        (Ok(one), Ok(all)) => Gathering::Found {
            servers: count,
            one: addresses(one),
            all: addresses(all),
        },
        (Err(reason), _) | (_, Err(reason)) => Gathering::Failed(reason),
    }
}

fn addresses(found: Gathered) -> Addresses {
    let of = |origin| {
        let fits = move |it: &&Candidate| it.is_udp && it.origin == origin;
        let found = found.candidates.iter().filter(fits);
        found
            .map(|it| format!("{}:{}", it.address, it.port))
            .collect()
    };
    Addresses {
        own: of(Origin::Host),
        mapped: of(Origin::ServerReflexive),
        complete: found.complete,
        errors: found.errors,
    }
}

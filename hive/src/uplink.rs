//! The way to the relays: dialled, reserved, registered, asked who is there; tried again with
//! growing waits while we are online.
//!
//! `Waiting → Connecting → Connected → Reserved`, and back to `Waiting` when it is lost. Only
//! `Reserved` makes us reachable, and only then do we register and discover.

use crate::backoff::{Backoff, jittered};
use crate::env::{Env, earlier};
use crate::io::{Output, RelayIndex};
use crate::limits::{
    DISCOVER_PERIOD, DISCOVER_PERIOD_ALONE, DISCOVER_PERIOD_ENOUGH, ENOUGH_PEERS, MAX_RELAYS,
    REGISTER_PERIOD, RELAY_BACKOFF_MAX, RELAY_BACKOFF_MIN, RELAY_STABLE, RELAY_TIMEOUT,
};
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::MAX_CAPABILITY_RELAYS;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{LogLevel, RelayState, RelayView};

/// All relays of the node.
pub(crate) struct Uplink {
    /// by [`RelayIndex`]
    relays: Vec<Relay>,
    online: bool,
}

struct Relay {
    address: String,
    /// once it was connected
    id: Option<NodeId>,
    phase: Phase,
    backoff: Backoff,
    error: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// the next try is due then
    Waiting { until: Millis },
    /// no answer by then counts as a failure
    Connecting { until: Millis },
    /// no reservation by then counts as a failure
    Connected { until: Millis },
    Reserved {
        since: Millis,
        register_at: Millis,
        discover_at: Millis,
    },
}

/// How things stand with all relays together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// the node was given no relay
    NoRelay,
    /// the browser is offline
    Offline,
    /// at least one relay keeps a place for us
    Reachable,
    /// none does, and one is being tried
    Trying,
    /// none does, and the next try is at that moment
    Waiting { until: Millis, error: String },
}

impl Uplink {
    /// Relays beyond [`MAX_RELAYS`] are left out.
    pub(crate) fn new(now: Millis, addresses: Vec<String>) -> Self {
        let relays = addresses
            .into_iter()
            .take(MAX_RELAYS)
            .map(|address| Relay {
                address,
                id: None,
                phase: Phase::Waiting { until: now },
                backoff: Backoff::new(RELAY_BACKOFF_MIN, RELAY_BACKOFF_MAX),
                error: None,
            })
            .collect();
        Self {
            relays,
            online: true,
        }
    }

    pub(crate) fn online(&self) -> bool {
        self.online
    }

    /// Those that keep a place for us.
    pub(crate) fn reserved_relays(&self) -> Vec<RelayIndex> {
        let relays = self.relays.iter().enumerate();
        let reserved = relays.filter(|(_, relay)| relay.is_reserved());
        reserved.map(|(place, _)| RelayIndex(place)).collect()
    }

    /// As others know them.
    pub(crate) fn homes(&self) -> Vec<NodeId> {
        let relays = self.relays.iter().filter(|relay| relay.is_reserved());
        let homes = relays.filter_map(|relay| relay.id);
        homes.take(MAX_CAPABILITY_RELAYS).collect()
    }

    pub(crate) fn identified(&mut self, index: RelayIndex, id: NodeId) {
        if let Some(relay) = self.relays.get_mut(index.0) {
            relay.id = Some(id);
        }
    }

    pub(crate) fn connected(&mut self, env: &mut Env, index: RelayIndex) {
        let Some(relay) = self.relays.get_mut(index.0) else {
            return;
        };
        if !matches!(relay.phase, Phase::Reserved { .. }) {
            let until = env.now + RELAY_TIMEOUT;
            relay.phase = Phase::Connected { until };
            env.changed = true;
        }
    }

    pub(crate) fn reserved(&mut self, env: &mut Env, index: RelayIndex) {
        let Some(relay) = self.relays.get_mut(index.0) else {
            return;
        };
        let since = match relay.phase {
            Phase::Reserved { since, .. } => since,
            Phase::Waiting { .. } | Phase::Connecting { .. } | Phase::Connected { .. } => {
                let message = format!("reachable through the relay {}", relay.address);
                env.log(LogLevel::Info, message);
                env.now
            }
        };
        relay.phase = Phase::Reserved {
            since,
            register_at: env.now,
            discover_at: env.now,
        };
        relay.error = None;
        env.changed = true;
    }

    pub(crate) fn lost(&mut self, env: &mut Env, index: RelayIndex, reason: String) {
        if let Some(relay) = self.relays.get_mut(index.0) {
            relay.fail(env, reason);
        }
    }

    /// Offline stops dialling; online tries at once.
    pub(crate) fn set_online(&mut self, env: &mut Env, online: bool) {
        if self.online != online {
            self.online = online;
            env.changed = true;
            let state = if online { "online" } else { "offline" };
            env.log(LogLevel::Info, format!("the browser is {state}"));
        }
        if online {
            self.retry_at_once(env.now);
        }
    }

    /// The page was frozen: what waits is tried at once, what is up is put to use, which shows
    /// whether it still is.
    pub(crate) fn resumed(&mut self, env: &mut Env) {
        self.retry_at_once(env.now);
        for relay in &mut self.relays {
            if let Phase::Reserved {
                register_at,
                discover_at,
                ..
            } = &mut relay.phase
            {
                *register_at = env.now;
                *discover_at = env.now;
            }
        }
    }

    /// Soon, because an ask finds nobody: discovery is brought forward.
    pub(crate) fn hurry_discovery(&mut self, now: Millis) {
        for relay in &mut self.relays {
            if let Phase::Reserved { discover_at, .. } = &mut relay.phase {
                *discover_at = (*discover_at).min(now + DISCOVER_PERIOD_ALONE);
            }
        }
    }

    fn retry_at_once(&mut self, now: Millis) {
        for relay in &mut self.relays {
            if let Phase::Waiting { until } = &mut relay.phase {
                *until = now;
                relay.backoff.reset();
            }
        }
    }

    pub(crate) fn tick(&mut self, env: &mut Env, peer_count: usize) {
        for (position, relay) in self.relays.iter_mut().enumerate() {
            relay.tick(env, RelayIndex(position), self.online, peer_count);
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        self.relays
            .iter()
            .map(|relay| match relay.phase {
                Phase::Waiting { until } => self.online.then_some(until),
                Phase::Connecting { until } | Phase::Connected { until } => Some(until),
                Phase::Reserved {
                    register_at,
                    discover_at,
                    ..
                } => Some(register_at.min(discover_at)),
            })
            .fold(None, earlier)
    }

    pub(crate) fn reach(&self) -> Reach {
        let any = |test: fn(&Phase) -> bool| self.relays.iter().any(|relay| test(&relay.phase));
        if self.relays.iter().any(Relay::is_reserved) {
            return Reach::Reachable;
        }
        if self.relays.is_empty() {
            return Reach::NoRelay;
        }
        if !self.online {
            return Reach::Offline;
        }
        if any(|phase| !matches!(phase, Phase::Waiting { .. })) {
            return Reach::Trying;
        }
        let error = self.relays.iter().find_map(|relay| relay.error.clone());
        Reach::Waiting {
            until: self.next_wake().unwrap_or_default(),
            error: error.unwrap_or_else(|| "not tried yet".to_owned()),
        }
    }

    pub(crate) fn views(&self, now: Millis) -> Vec<RelayView> {
        self.relays.iter().map(|relay| relay.view(now)).collect()
    }
}

impl Relay {
    fn is_reserved(&self) -> bool {
        matches!(self.phase, Phase::Reserved { .. })
    }

    fn fail(&mut self, env: &mut Env, reason: String) {
        if let Phase::Reserved { since, .. } = self.phase
            && env.now.since(since) >= RELAY_STABLE
        {
            self.backoff.reset();
        }
        let wait = self.backoff.fail(&mut env.rng);
        let message = format!(
            "no connection to the relay {}; next try in {} s ({reason})",
            self.address,
            wait.0.div_ceil(1_000)
        );
        env.log(LogLevel::Warn, message);
        self.phase = Phase::Waiting {
            until: env.now + wait,
        };
        self.error = Some(reason);
        env.changed = true;
    }

    fn tick(&mut self, env: &mut Env, index: RelayIndex, online: bool, peer_count: usize) {
        match &mut self.phase {
            Phase::Waiting { until } if online && *until <= env.now => {
                env.push(Output::DialRelay(index));
                let until = env.now + RELAY_TIMEOUT;
                self.phase = Phase::Connecting { until };
                env.changed = true;
            }
            Phase::Connecting { until } | Phase::Connected { until } if *until <= env.now => {
                env.push(Output::HangUpRelay(index));
                let secs = RELAY_TIMEOUT.0 / 1_000;
                self.fail(env, format!("no reservation within {secs} s"));
            }
            Phase::Reserved {
                register_at,
                discover_at,
                ..
            } => {
                if *register_at <= env.now {
                    env.push(Output::Register(index));
                    *register_at = env.now + jittered(&mut env.rng, REGISTER_PERIOD);
                }
                if *discover_at <= env.now {
                    env.push(Output::Discover(index));
                    let period = match peer_count {
                        0 => DISCOVER_PERIOD_ALONE,
                        1..ENOUGH_PEERS => DISCOVER_PERIOD,
                        ENOUGH_PEERS.. => DISCOVER_PERIOD_ENOUGH,
                    };
                    *discover_at = env.now + jittered(&mut env.rng, period);
                }
            }
            Phase::Waiting { .. } | Phase::Connecting { .. } | Phase::Connected { .. } => {}
        }
    }

    fn view(&self, now: Millis) -> RelayView {
        let (state, retry_in_millis) = match self.phase {
            Phase::Waiting { until } => (RelayState::Waiting, Some(until.since(now))),
            Phase::Connecting { .. } => (RelayState::Connecting, None),
            Phase::Connected { .. } => (RelayState::Connected, None),
            Phase::Reserved { .. } => (RelayState::Reserved, None),
        };
        RelayView {
            address: self.address.clone(),
            state,
            retry_in_millis,
            error: self.error.clone(),
        }
    }
}

//! Owns how an internet is described, and what a description must hold.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Counts, Internet, Site};
use crate::limits;
use crate::nat::{Nat, NatConfig};
use crate::weather::{Lane, Weather};

/// Who is where.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Of ports and weather: the same one gives the same.
    pub seed: u64,
    /// All places.
    pub sites: Vec<SitePlan>,
}

/// One place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SitePlan {
    /// What commands and counts call it.
    pub name: String,
    /// Addresses of the hosts, by their names; public ones where there is no NAT.
    pub hosts: BTreeMap<String, Ipv4Addr>,
    /// The NAT before the hosts, if there is one.
    #[serde(default)]
    pub nat: Option<NatConfig>,
    /// Addresses that the NAT can have, one after another.
    #[serde(default)]
    pub public: Vec<Ipv4Addr>,
}

/// Why a plan cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two things have it.
    #[error("there are two of {0}")]
    Twice(String),
    /// A NAT without a public address, or one without a NAT.
    #[error("site {0} needs public addresses if it has a NAT, and none otherwise")]
    Public(String),
    /// More than a machine stands.
    #[error("there are {got} hosts, at most {max} can be")]
    TooManyHosts {
        /// As planned.
        got: usize,
        /// The bound.
        max: usize,
    },
}

impl TryFrom<Plan> for Internet {
    type Error = PlanError;

    fn try_from(plan: Plan) -> Result<Self, PlanError> {
        let mut hosts = BTreeMap::new();
        let mut taken = BTreeMap::new();
        let mut take = |what: String| match taken.insert(what.clone(), ()) {
            None => Ok(()),
            Some(()) => Err(PlanError::Twice(what)),
        };
        for (at, site) in plan.sites.iter().enumerate() {
            take(format!("site {}", site.name))?;
            if site.nat.is_some() == site.public.is_empty() {
                return Err(PlanError::Public(site.name.clone()));
            }
            for address in site.public.iter().chain(site.hosts.values()) {
                take(address.to_string())?;
            }
            for (name, &address) in &site.hosts {
                take(format!("host {name}"))?;
                hosts.insert(name.clone(), (at, address));
            }
        }
        if hosts.len() > limits::MAX_HOSTS {
            return Err(PlanError::TooManyHosts {
                got: hosts.len(),
                max: limits::MAX_HOSTS,
            });
        }
        let sites = plan.sites.into_iter().zip(0_u64..);
        Ok(Self {
            sites: sites.map(|(site, at)| build(site, plan.seed, at)).collect(),
            hosts,
            under_way: BTreeMap::new(),
            sequence: 0,
            arrived: VecDeque::new(),
            counts: Counts::default(),
        })
    }
}

/// The `at`-th site; three streams of numbers for each.
fn build(plan: SitePlan, seed: u64, at: u64) -> Site {
    let seeds = |n| seed.wrapping_mul(1_000).wrapping_add(3 * at + n);
    let first = plan.public.first();
    let nat = plan.nat.zip(first);
    Site {
        nat: nat.map(|(config, &public)| Nat::new(config, public, seeds(0))),
        name: plan.name,
        public: plan.public,
        hosts: plan.hosts,
        weather: Weather::default(),
        down_until: Duration::ZERO,
        isolated: false,
        uplink: Lane::new(seeds(1)),
        downlink: Lane::new(seeds(2)),
    }
}

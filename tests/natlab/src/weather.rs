//! Owns what becomes of a packet on one direction of a link: lost, late, or behind others.

use std::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::nat::Dropped;

/// How bad a link is, in each direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weather {
    /// Of a million packets so many are lost.
    pub loss_ppm: u32,
    /// Every packet is late by this.
    pub delay_millis: u64,
    /// And by up to this on top; packets stay in order.
    pub jitter_millis: u64,
    /// Bytes a second; 0: no bound.
    pub bytes_per_second: u64,
}

/// One direction of a link.
#[derive(Debug)]
pub(crate) struct Lane {
    draw: ChaCha8Rng,
    /// When the last byte of what was accepted has left.
    busy_until: Duration,
    /// When the last packet that was accepted arrives: nothing overtakes it.
    last_arrival: Duration,
}

impl Lane {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            draw: ChaCha8Rng::seed_from_u64(seed),
            busy_until: Duration::ZERO,
            last_arrival: Duration::ZERO,
        }
    }

    /// When a packet that comes now arrives.
    pub(crate) fn accept(
        &mut self,
        now: Duration,
        weather: &Weather,
        bytes: usize,
    ) -> Result<Duration, Dropped> {
        // Two draws for each packet, whatever the weather: a change of it moves no later draw.
        let fate = self.draw.random_range(0..1_000_000_u32);
        let jitter = Duration::from_millis(weather.jitter_millis).mul_f64(self.draw.random());
        if fate < weather.loss_ppm {
            return Err(Dropped::Lost);
        }
        let begins = now.max(self.busy_until);
        if begins - now > limits::MAX_QUEUE {
            return Err(Dropped::NoRoom);
        }
        let takes = match weather.bytes_per_second {
            0 => Duration::ZERO,
            rate => Duration::from_micros(1_000_000 * bytes as u64 / rate),
        };
        self.busy_until = begins + takes;
        let delay = Duration::from_millis(weather.delay_millis) + jitter;
        let arrives = (self.busy_until + delay).max(self.last_arrival);
        self.last_arrival = arrives;
        Ok(arrives)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u32 = 10_000;

    fn arrivals(weather: Weather, seed: u64) -> Vec<Result<Duration, Dropped>> {
        let mut lane = Lane::new(seed);
        let at = |n| Duration::from_millis(u64::from(n));
        (0..PACKETS)
            .map(|n| lane.accept(at(n), &weather, 1_000))
            .collect()
    }

    #[test]
    fn the_same_seed_loses_the_same_packets_and_another_one_others() {
        let weather = Weather {
            loss_ppm: 20_000,
            ..Weather::default()
        };
        assert_eq!(arrivals(weather, 1), arrivals(weather, 1));
        assert_ne!(arrivals(weather, 1), arrivals(weather, 2));
    }

    #[test]
    fn as_many_are_lost_as_is_said() {
        let loss_ppm = 20_000;
        let weather = Weather {
            loss_ppm,
            ..Weather::default()
        };
        let lost = arrivals(weather, 1).iter().filter(|it| it.is_err()).count();
        assert!((150..250).contains(&lost), "{lost} of {PACKETS}");
        let calm = arrivals(Weather::default(), 1);
        assert!(calm.iter().all(Result::is_ok));
    }

    #[test]
    fn packets_are_late_and_in_order() {
        let weather = Weather {
            delay_millis: 100,
            jitter_millis: 30,
            ..Weather::default()
        };
        let arrivals: Vec<_> = arrivals(weather, 1).into_iter().flatten().collect();
        assert!(arrivals.is_sorted());
        for (n, arrival) in arrivals.iter().enumerate() {
            let late = arrival.as_millis() - n as u128;
            assert!((100..=130).contains(&late), "packet {n} is late by {late}");
        }
        assert!(
            arrivals
                .windows(2)
                .any(|two| (two[1] - two[0]).as_micros() != 1_000)
        );
    }

    #[test]
    fn a_slow_link_queues_and_then_drops() {
        let weather = Weather {
            bytes_per_second: 100_000,
            ..Weather::default()
        };
        let mut lane = Lane::new(1);
        let mut accept = |now| lane.accept(now, &weather, 1_000);
        // Each takes 10 ms.
        assert_eq!(accept(Duration::ZERO), Ok(Duration::from_millis(10)));
        assert_eq!(accept(Duration::ZERO), Ok(Duration::from_millis(20)));
        let accepted = (0..1_000)
            .filter(|_| accept(Duration::ZERO).is_ok())
            .count();
        assert_eq!(accepted, 49, "half a second is queued");
        let later = Duration::from_secs(10);
        assert_eq!(accept(later), Ok(later + Duration::from_millis(10)));
    }
}

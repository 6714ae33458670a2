//! What is tried after the GPU went away: another device a few times, then the CPU.
//!
//! Knows no clock: times are ms since any fixed moment.

/// ms; a device that held so long was a good one, and losing it starts the count anew.
const STABLE_MS: f64 = 60_000.0;

/// ms to wait before each further device. A driver that resets is back within a second or two; a
/// browser that starts its GPU process again takes a little longer.
const WAITS_MS: [f64; 3] = [0.0, 1_000.0, 4_000.0];

/// What to try next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attempt {
    /// Another device, after so many ms.
    Gpu {
        /// ms
        after_ms: f64,
    },
    /// The CPU: devices do not hold.
    Cpu,
}

/// The losses of late.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Recovery {
    lost: usize,
    last_ms: f64,
}

impl Recovery {
    /// A device was lost, or could not be had, at `now_ms`.
    pub fn lost(&mut self, now_ms: f64) -> Attempt {
        if now_ms - self.last_ms >= STABLE_MS {
            self.lost = 0;
        }
        self.last_ms = now_ms;
        match WAITS_MS.get(self.lost) {
            Some(after_ms) => {
                self.lost += 1;
                Attempt::Gpu {
                    after_ms: *after_ms,
                }
            }
            None => Attempt::Cpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_devices_are_tried_and_then_the_cpu() {
        let mut recovery = Recovery::default();
        let mut now_ms = 5.0;
        for after_ms in WAITS_MS {
            assert_eq!(recovery.lost(now_ms), Attempt::Gpu { after_ms });
            now_ms += after_ms + 100.0;
        }
        assert_eq!(recovery.lost(now_ms), Attempt::Cpu);
        assert_eq!(recovery.lost(now_ms + STABLE_MS - 1.0), Attempt::Cpu);
    }

    #[test]
    fn a_device_that_held_for_a_while_is_worth_another() {
        let mut recovery = Recovery::default();
        for loss in 0..100 {
            let now_ms = f64::from(loss) * STABLE_MS;
            assert_eq!(recovery.lost(now_ms), Attempt::Gpu { after_ms: 0.0 });
        }
    }

    #[test]
    fn a_clock_that_jumps_back_ends_at_the_cpu() {
        let mut recovery = Recovery::default();
        let attempts: Vec<Attempt> = (0..5).map(|_| recovery.lost(f64::NAN)).collect();
        assert_eq!(attempts[3..], [Attempt::Cpu; 2]);
    }
}

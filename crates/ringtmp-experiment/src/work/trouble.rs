//! Runs in which devices are lost.

use super::{Failure, Tried, Worker, scenario};
use crate::cell::{Cell, ModelCosts, Trouble};
use ringtmp_core::signal::Replication;
use ringtmp_sim::{Fault, FaultKind};

/// For how long a device is away.
const AWAY_SECONDS: f64 = 5.0;

/// Where devices are lost at random they are so for an hour, whatever the way: a run that takes longer did not get there.
const HORIZON_SECONDS: f64 = 3600.0;

impl Worker<'_> {
    /// A run in which something happens, beside the same one in which nothing does.
    pub(super) fn troubled(
        &self,
        cell: &Cell,
        costs: &ModelCosts,
        steps: u32,
        trouble: Trouble,
    ) -> Result<Tried, Failure> {
        let devices = self.profiles.devices(&cell.profile, cell.peers)?;
        let mut scenario = scenario(cell, costs, &devices, steps);
        scenario.outline.replication = Replication::Auto;
        let undisturbed = match self.simulate(cell, &scenario, costs, &devices)? {
            Tried::Ran(figures) => figures,
            refused @ Tried::Refused(_) => return Ok(refused),
        };
        if trouble == Trouble::None {
            return Ok(Tried::Ran(undisturbed));
        }
        let count = scenario.devices.len();
        scenario.faults = faults(scenario.seed, count, trouble, undisturbed.seconds);
        let at_random = between_losses(trouble).is_some();
        Ok(match self.simulate(cell, &scenario, costs, &devices)? {
            Tried::Ran(figures) if at_random && figures.seconds > HORIZON_SECONDS => {
                Tried::Refused(format!(
                    "the run was not at its end after {HORIZON_SECONDS} s of losses"
                ))
            }
            Tried::Ran(mut figures) => {
                figures.seconds_lost = figures.seconds - undisturbed.seconds;
                Tried::Ran(figures)
            }
            refused @ Tried::Refused(_) => refused,
        })
    }
}

/// In the mean, from when a device is there until it is lost, where devices are lost at random.
const fn between_losses(trouble: Trouble) -> Option<f64> {
    match trouble {
        Trouble::None | Trouble::Away | Trouble::Gone => None,
        Trouble::Seldom => Some(1200.0),
        Trouble::Often => Some(300.0),
    }
}

/// What happens in a run of so many devices that takes so many seconds undisturbed.
fn faults(seed: u64, devices: usize, trouble: Trouble, seconds: f64) -> Vec<Fault> {
    let mut draws = Draws(seed);
    let lost = |at_seconds: f64, device: usize, returns: bool| Fault {
        at_seconds,
        what: FaultKind::Crash {
            device,
            returns_after: returns.then_some(AWAY_SECONDS),
            noticed: false,
        },
    };
    // Somewhere in the middle third.
    let mut once = |returns| {
        let at = seconds * (1.0 + draws.unit()) / 3.0;
        let device = (draws.unit() * devices as f64) as usize;
        vec![lost(at, device.min(devices - 1), returns)]
    };
    match trouble {
        Trouble::Away => once(true),
        Trouble::Gone => once(false),
        Trouble::None | Trouble::Seldom | Trouble::Often => {
            let Some(between) = between_losses(trouble) else {
                return Vec::new();
            };
            let mut all = Vec::new();
            for device in 0..devices {
                let mut at = draws.exponential() * between;
                while at < HORIZON_SECONDS {
                    all.push(lost(at, device, true));
                    at += AWAY_SECONDS + draws.exponential() * between;
                }
            }
            all.sort_by(|one, other| one.at_seconds.total_cmp(&other.at_seconds));
            all
        }
    }
}

/// "splitmix64" (Steele, Lea and Flood, 2014).
struct Draws(u64);

impl Draws {
    /// Evenly from 0 to 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of mean 1.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_lost_as_often_whatever_the_way_and_for_as_long() {
        let times = |all: &[Fault]| all.iter().map(|fault| fault.at_seconds).collect::<Vec<_>>();
        for (trouble, between) in [(Trouble::Seldom, 1200.0), (Trouble::Often, 300.0)] {
            let mut count = 0;
            for seed in 1..=100 {
                let quick = faults(seed, 4, trouble, 10.0);
                let slow = faults(seed, 4, trouble, 1000.0);
                assert_eq!(times(&quick), times(&slow), "seed {seed}");
                assert!(times(&quick).is_sorted_by(|one, other| one <= other));
                count += quick.len();
            }
            let expected = 100.0 * 4.0 * HORIZON_SECONDS / (between + AWAY_SECONDS);
            let share = count as f64 / expected;
            assert!((0.9..1.1).contains(&share), "{trouble:?}: {share}");
        }
    }
}

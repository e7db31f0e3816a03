//! Runs in which devices are lost.

use super::{Failure, Tried, Worker, scenario};
use crate::cell::{Cell, ModelCosts, Trouble};
use ringtmp_core::signal::Replication;
use ringtmp_sim::{Fault, FaultKind, Scenario};

/// For how long a device is away.
const AWAY_SECONDS: f64 = 5.0;

/// In the mean, from when a device is there until it is lost, where devices are lost at random.
const BETWEEN_LOSSES_SECONDS: f64 = 60.0;

/// The most losses of a run: what is drawn beyond them is left out, as a run has bounded memory.
const LOSSES_MAX: usize = 256;

/// Losses are drawn for so many times what the run takes undisturbed.
const LONGER: f64 = 3.0;

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
        scenario.faults = faults(&scenario, trouble, undisturbed.seconds);
        Ok(match self.simulate(cell, &scenario, costs, &devices)? {
            Tried::Ran(mut figures) => {
                figures.seconds_lost = figures.seconds - undisturbed.seconds;
                Tried::Ran(figures)
            }
            refused @ Tried::Refused(_) => refused,
        })
    }
}

/// What happens in a run that takes so many seconds undisturbed.
fn faults(scenario: &Scenario, trouble: Trouble, seconds: f64) -> Vec<Fault> {
    let mut draws = Draws(scenario.seed);
    let devices = scenario.devices.len();
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
        Trouble::None => Vec::new(),
        Trouble::Away => once(true),
        Trouble::Gone => once(false),
        Trouble::Random => {
            let mut all = Vec::new();
            for device in 0..devices {
                let mut at = draws.exponential() * BETWEEN_LOSSES_SECONDS;
                while at < LONGER * seconds {
                    all.push(lost(at, device, true));
                    at += AWAY_SECONDS + draws.exponential() * BETWEEN_LOSSES_SECONDS;
                }
            }
            all.sort_by(|one, other| one.at_seconds.total_cmp(&other.at_seconds));
            all.truncate(LOSSES_MAX);
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

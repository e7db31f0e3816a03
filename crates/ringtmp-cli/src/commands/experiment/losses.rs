//! Real devices of which one falls silent, beside the simulator: processes of this program on this machine, one of which is held still
//! by the system, so that nobody is told, as when a phone leaves the Wi-Fi.

use super::devices::{Devices, play};
use super::imitated::Imitated;
use crate::exit::Failure;
use crate::process::Group;
use anyhow::{Result, bail};
use ringtmp_core::signal::{Recovery, Replication, RoomState};
use ringtmp_core::time::Time;
use ringtmp_core::trace::extent;
use ringtmp_experiment::{Cell, Kind, Outcome, Profiles, Struck, Trouble};
use ringtmp_sim::{Fault, FaultKind};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// For how long a device that returns is away.
const AWAY: Duration = Duration::from_secs(5);

/// Over so many seeds the middle third of a run is gone through.
const SEEDS: u64 = 5;

/// What happens to a device, and when.
#[derive(Clone, Copy, Debug)]
struct Strike {
    /// By the order in which devices come.
    device: usize,
    /// Seconds after training began.
    after: f64,
    returns: bool,
}

impl Strike {
    /// Somewhere in the middle third of a run of so many seconds.
    fn of(cell: &Cell, trouble: Trouble, seconds: f64) -> Result<Option<Self>> {
        let returns = match trouble {
            Trouble::None => return Ok(None),
            Trouble::Away => true,
            Trouble::Gone => false,
            Trouble::Seldom | Trouble::Often => bail!("real devices are not lost at random"),
        };
        let through = (cell.seed - 1) % SEEDS;
        Ok(Some(Self {
            device: usize::try_from(cell.seed)? % usize::from(cell.peers),
            after: seconds * (1.0 + through as f64 / SEEDS as f64) / 3.0,
            returns,
        }))
    }

    fn fault(&self, began: f64) -> Fault {
        Fault {
            at_seconds: began + self.after,
            what: FaultKind::Crash {
                device: self.device,
                returns_after: self.returns.then_some(AWAY.as_secs_f64()),
                noticed: false,
            },
        }
    }
}

/// How a run went.
#[derive(Clone, Copy, Debug)]
struct Course {
    seconds: f64,
    recoveries: usize,
    repeated: u32,
}

impl Course {
    fn of(seconds: f64, recoveries: &[Recovery]) -> Self {
        Self {
            seconds,
            recoveries: recoveries.len(),
            repeated: recoveries.iter().map(|one| one.repeated).sum(),
        }
    }
}

/// Trains with real devices, simulates the same, and tells both.
///
/// # Errors
///
/// What keeps the devices from being started. What they cannot do is an outcome.
pub(super) fn run(cell: &Cell, profiles: &Profiles) -> Result<Outcome> {
    let Kind::Struck { steps, trouble } = cell.kind else {
        bail!("only cells of losses are run with them");
    };
    let imitated = Imitated::new(cell, steps, Replication::Auto, profiles)?;
    let course = |faults| {
        let simulated = imitated.simulate(faults)?;
        let (start, end) = extent(&simulated.trace);
        let seconds = end.since(start).as_secs_f64();
        anyhow::Ok((
            start.since(Time::ZERO).as_secs_f64(),
            Course::of(seconds, &simulated.recoveries),
        ))
    };
    let (began, undisturbed) = course(Vec::new())?;
    let strike = Strike::of(cell, trouble, undisturbed.seconds)?;
    if strike.is_some() && !Group::CAN_BE_HELD_STILL {
        let reason = "this system cannot hold a process still".to_owned();
        return Ok(Outcome::Refused { reason });
    }
    let simulated = match strike {
        Some(strike) => course(vec![strike.fault(began)])?.1,
        None => undisturbed,
    };
    let real = async |devices: &mut Devices<'_>| lose(devices, cell.peers, strike).await;
    let real = match play(&imitated, real)? {
        Ok(real) => real,
        Err(refused) => return Ok(refused),
    };
    Ok(Outcome::Struck(Box::new(Struck {
        seconds: real.seconds,
        seconds_simulated: simulated.seconds,
        recoveries: real.recoveries as f64,
        recoveries_simulated: simulated.recoveries as f64,
        repeated: f64::from(real.repeated),
        repeated_simulated: f64::from(simulated.repeated),
    })))
}

/// Trains, and loses one of the devices.
async fn lose(devices: &mut Devices<'_>, peers: u16, strike: Option<Strike>) -> Result<Course> {
    let unfinished = |words: &str| Err(Failure::Unfinished(words.to_owned()).into());
    devices.come(peers).await?;
    let began = Instant::now();
    if let Some(strike) = strike {
        let at = began + Duration::from_secs_f64(strike.after);
        tokio::select! {
            () = sleep_until(at) => {}
            ended = devices.until(|room| room.state == RoomState::Finished) => {
                ended?;
                return unfinished("it ended before the loss");
            }
        }
        let _name = devices.hold_still(strike.device)?;
        if strike.returns {
            tokio::select! {
                () = sleep(AWAY) => {}
                ended = devices.until(|room| room.state == RoomState::Finished) => {
                    ended?;
                    return unfinished("it ended without the device that was lost");
                }
            }
            // It has forgotten everything.
            devices.kill(strike.device);
            devices.add()?;
        }
    }
    let room = devices
        .until(|room| room.state == RoomState::Finished)
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    devices.kept_pace()?;
    if strike.is_some() && room.recoveries.is_empty() {
        return unfinished("nobody noticed the loss");
    }
    Ok(Course::of(seconds, &room.recoveries))
}

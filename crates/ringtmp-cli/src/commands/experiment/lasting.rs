//! Real devices that learn, of which some are lost: what is learnt in the end.

use super::devices::{Devices, play};
use super::imitated::Imitated;
use super::learner::run_file;
use crate::exit::Failure;
use crate::process::Group;
use crate::terminal::{participants, steps_done};
use anyhow::{Result, bail};
use ringtmp_core::schedule::Mode;
use ringtmp_core::signal::{Replication, RoomPlan, RoomState, RoomView};
use ringtmp_experiment::{Cell, Kind, Lasted, Lesson, Outcome, Profiles, Spread, Trouble};

/// Updates between two versions that lie twice: a loss costs some, and not all.
const REPLICATED_EVERY: u16 = 5;

/// Each of three, as `imitated` counts it: so fast that a run takes seconds, and so slow that a process that comes is there in time.
const SLOWNESS: f64 = 0.05;

/// Losses of a run in which devices are lost one after the other.
const OFTEN: u32 = 3;

/// A device is lost once so many updates were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Strike {
    step: u32,
    /// By the order in which those came that are left.
    device: usize,
    /// Whether another has come before, to take its place.
    returns: bool,
}

/// What happens: each in a part of the run of its own, somewhere in the middle of that.
fn strikes(cell: &Cell, trouble: Trouble, steps: u32) -> Vec<Strike> {
    let (count, returns) = match trouble {
        Trouble::None => (0, false),
        Trouble::Away => (1, true),
        Trouble::Gone => (1, false),
        Trouble::Seldom | Trouble::Often => (OFTEN, true),
    };
    let strike = |number: u32| {
        let part = steps / count;
        let draw = cell.seed + u64::from(number);
        let within = u32::try_from(draw % u64::from(part / 2)).unwrap_or(0);
        Strike {
            step: number * part + part / 4 + within,
            device: usize::try_from(draw % u64::from(cell.peers)).unwrap_or(0),
            returns,
        }
    };
    (0..count).map(strike).collect()
}

/// Trains with real devices, and tells what they have learnt.
///
/// # Errors
///
/// What keeps the devices from being started. What they cannot do is an outcome.
pub(super) fn run(cell: &Cell, profiles: &Profiles) -> Result<Outcome> {
    let Kind::Lasting { steps, trouble } = cell.kind else {
        bail!("only cells of what lasts are run with devices that learn and are lost");
    };
    if trouble != Trouble::None && !Group::CAN_BE_HELD_STILL {
        let reason = "this system cannot hold a process still".to_owned();
        return Ok(Outcome::Refused { reason });
    }
    let mut file = run_file(
        &Lesson {
            preset: cell.model.preset.clone(),
            steps,
            batch: u32::from(cell.micro_batches) * cell.micro_batch,
            micro_batch: cell.micro_batch,
            evaluate_every: steps,
            spread: Spread::Shared,
            devices: cell.peers,
            seed: cell.seed,
        },
        Mode::Sync,
    );
    file.replicate = Replication::Every(REPLICATED_EVERY);
    let imitated = Imitated::of(cell, file, SLOWNESS, profiles)?;
    let strikes = strikes(cell, trouble, steps);
    let learn = async |devices: &mut Devices<'_>| learn(devices, cell.peers, &strikes).await;
    Ok(match play(&imitated, learn)? {
        Ok(lasted) => Outcome::Lasted(lasted),
        Err(refused) => refused,
    })
}

/// Trains, and loses one device after the other.
async fn learn(devices: &mut Devices<'_>, peers: u16, strikes: &[Strike]) -> Result<Lasted> {
    devices.come(peers).await?;
    for strike in strikes {
        devices
            .until_seen(|view| {
                let state = view.room.as_ref().map(|room| &room.state);
                state == Some(&RoomState::Training) && steps_done(view) >= strike.step
            })
            .await?;
        if strike.returns {
            // It is there when it is needed, however short the run.
            devices.add()?;
            let come = |room: &RoomView| participants(room).count() > usize::from(peers);
            devices.until(come).await?;
        }
        let lost = devices.hold_still(strike.device)?;
        devices.until(|room| trains_without(room, &lost)).await?;
        if strike.returns {
            devices.kill(strike.device);
        }
    }
    let room = devices
        .until(|room| room.state == RoomState::Finished)
        .await?;
    let view = devices.view();
    let points = view.iter().flat_map(|view| &view.points);
    let (mut loss, mut accuracy) = (None, None);
    for point in points {
        loss = point.loss.or(loss);
        accuracy = point.accuracy.or(accuracy);
    }
    let missing = || Failure::Unfinished("nobody told what was learnt".to_owned());
    Ok(Lasted {
        loss: loss.ok_or_else(missing)?.into(),
        accuracy: accuracy.ok_or_else(missing)?.into(),
        recoveries: room.recoveries.len() as f64,
        repeated: f64::from(room.recoveries.iter().map(|one| one.repeated).sum::<u32>()),
    })
}

/// Whether the others go on without a device.
fn trains_without(room: &RoomView, name: &str) -> bool {
    let order = room.plan.as_ref().map_or(&[][..], RoomPlan::order);
    let mut named = room.members.iter().filter(|it| it.device.name == name);
    room.state == RoomState::Training && !named.any(|member| order.contains(&member.peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_experiment::{HERE, Model, Way};

    #[test]
    fn each_loss_has_a_part_of_the_run_and_seeds_lose_each_device() {
        let mut lost = std::collections::BTreeSet::new();
        for seed in 1..=5 {
            let cell = Cell {
                kind: Kind::Lasting {
                    steps: 200,
                    trouble: Trouble::Often,
                },
                model: Model::preset("mlp"),
                way: Way::AllReduce,
                profile: HERE.to_owned(),
                peers: 3,
                micro_batches: 12,
                micro_batch: 8,
                seed,
            };
            assert_eq!(strikes(&cell, Trouble::None, 200), []);
            for trouble in [Trouble::Gone, Trouble::Away, Trouble::Often] {
                let all = strikes(&cell, trouble, 200);
                let part = 200 / all.len() as u32;
                for (number, strike) in (0..).zip(&all) {
                    let of = number * part + part / 4..number * part + 3 * part / 4;
                    assert!(of.contains(&strike.step), "seed {seed}: {strike:?}");
                    lost.insert(strike.device);
                }
            }
        }
        assert_eq!(lost.len(), 3, "{lost:?}");
    }
}

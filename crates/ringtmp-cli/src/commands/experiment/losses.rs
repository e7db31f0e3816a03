//! Real devices of which one falls silent, beside the simulator: processes of this program on this machine, one of which is held still
//! by the system, so that nobody is told, as when a phone leaves the Wi-Fi.

use super::imitated::Imitated;
use crate::commands::serve::Running;
use crate::exit::Failure;
use crate::follow::outcome;
use crate::peer::{Part, Peer};
use crate::process::{Group, Guard, Messages};
use crate::room_url::RoomUrl;
use crate::speed::Speed;
use crate::terminal::participants;
use anyhow::{Context, Result, bail};
use futures::future::select_all;
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::signal::{Recovery, Replication, RoomState, RoomView};
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Paced, extent};
use ringtmp_experiment::{Cell, Kind, Outcome, Profiles, Struck, Trouble};
use ringtmp_peer::View;
use ringtmp_sim::{Fault, FaultKind};
use signaling_server::{Config, Server};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// For how long a device that returns is away.
const AWAY: Duration = Duration::from_secs(5);

/// A run that takes longer hangs: it takes half a minute.
const RUN_MAX: Duration = Duration::from_secs(300);

/// The share of tasks that may be late before this machine counts as what was measured.
const LATE_SHARE_MAX: f64 = 0.02;

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
    let train = timeout(RUN_MAX, train(cell, &imitated, strike));
    let real = tokio::task::block_in_place(|| Handle::current().block_on(train));
    let too_long = |_| Failure::Unfinished(format!("it took longer than {RUN_MAX:?}")).into();
    let real = match real.map_err(too_long).flatten() {
        Ok(real) => real,
        Err(error) => match error.downcast::<Failure>()? {
            Failure::Unfinished(reason) => return Ok(Outcome::Refused { reason }),
            other => return Err(other.into()),
        },
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

/// The room's server, who watches, and the devices. Whatever was started is ended when this is dropped.
struct Devices<'a> {
    imitated: &'a Imitated,
    watcher: Peer,
    room: RoomUrl,
    natives: Vec<(Group, Messages)>,
    guard: Guard,
    /// How each device kept its pace under each plan, as it said last.
    paced: BTreeMap<(PeerId, Epoch), Paced>,
}

async fn train(cell: &Cell, imitated: &Imitated, strike: Option<Strike>) -> Result<Course> {
    let server = Server::bind(Config {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        ..Config::default()
    })?;
    let (server, address) = Running::start(server);
    let mut watcher = Peer::start(Part::creator(&address, imitated.file.clone()))?;
    let link = watcher.view_until(View::link).await?;
    let mut devices = Devices {
        imitated,
        watcher,
        room: RoomUrl {
            server: address.parse()?,
            link,
        },
        natives: Vec::new(),
        guard: Guard::start(),
        paced: BTreeMap::new(),
    };
    let outcome = tokio::select! {
        outcome = devices.play(cell.peers, strike) => outcome,
        error = server.failed => Err(error),
    };
    drop(devices.natives);
    devices.watcher.leave().await;
    drop(server.stop);
    let _ended = server.ended.await;
    outcome
}

impl Devices<'_> {
    async fn play(&mut self, peers: u16, strike: Option<Strike>) -> Result<Course> {
        for number in 1..=peers {
            self.start(number)?;
            // One after the other, so that each has its place.
            self.until(|room| participants(room).count() >= usize::from(number))
                .await?;
        }
        self.until(|room| room.state == RoomState::Training).await?;
        let began = Instant::now();
        if let Some(strike) = strike {
            let at = began + Duration::from_secs_f64(strike.after);
            tokio::select! {
                () = sleep_until(at) => {}
                ended = self.until(|room| room.state == RoomState::Finished) => {
                    ended?;
                    return Err(Failure::Unfinished("it ended before the loss".to_owned()).into());
                }
            }
            self.natives[strike.device].0.hold_still()?;
            if strike.returns {
                tokio::select! {
                    () = sleep(AWAY) => {}
                    ended = self.until(|room| room.state == RoomState::Finished) => {
                        ended?;
                        return Err(Failure::Unfinished("it ended without the device that was lost".to_owned()).into());
                    }
                }
                // It has forgotten everything.
                drop(self.natives.remove(strike.device));
                self.start(strike.device as u16 + 1)?;
            }
        }
        let room = self.until(|room| room.state == RoomState::Finished).await?;
        let seconds = began.elapsed().as_secs_f64();
        kept_pace(self.paced.values())?;
        if strike.is_some() && room.recoveries.is_empty() {
            return Err(Failure::Unfinished("nobody noticed the loss".to_owned()).into());
        }
        Ok(Course::of(seconds, &room.recoveries))
    }

    fn start(&mut self, number: u16) -> Result<()> {
        let program = std::env::current_exe().context("this program cannot find itself")?;
        let speed = self.imitated.operations_per_second();
        let mut command = Command::new(program);
        command
            .args(["--quiet", "join", "--executor", "cpu", "--no-keep"])
            // Not among the arguments, which every user of this computer can read.
            .env("RINGTMP_ROOM", self.room.to_string())
            .args(["--name", &format!("native {number}")])
            .args(["--pace", &Speed::Operations(speed).to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(access) = self.imitated.access {
            command.args(["--access-link", &access.to_string()]);
        }
        let native = Group::start(&mut command, &mut self.guard)?;
        self.natives.push(native);
        Ok(())
    }

    /// The first view of the room of which something holds; an error if the run ends before.
    async fn until(&mut self, holds: impl Fn(&RoomView) -> bool) -> Result<RoomView> {
        let Self {
            watcher,
            natives,
            paced,
            ..
        } = self;
        let picked = watcher.view_until(|view| {
            let room = view.room.as_ref()?;
            note_pace(paced, room);
            if holds(room) {
                return Some(Ok(room.clone()));
            }
            match outcome(view)? {
                Ok(()) => Some(Err(Failure::Unfinished(
                    "the run ended before anything happened".to_owned(),
                )
                .into())),
                Err(error) => Some(Err(error)),
            }
        });
        let waits = natives
            .iter_mut()
            .map(|(group, _)| Box::pin(group.leader_ended()));
        let (status, index) = tokio::select! {
            picked = picked => return picked?,
            (status, index, _) = select_all(waits) => (status?, index),
        };
        let words = natives[index].1.words();
        Err(Failure::Unfinished(format!("a device has ended ({status}){words}")).into())
    }
}

/// Devices tell of the plan at work alone: what they have said is kept.
fn note_pace(known: &mut BTreeMap<(PeerId, Epoch), Paced>, room: &RoomView) {
    let Some(plan) = &room.plan else { return };
    for member in &room.members {
        let paced = member.report.as_ref().and_then(|report| report.paced);
        if let Some(paced) = paced {
            known.insert((member.peer, plan.epoch()), paced);
        }
    }
}

/// Whether tasks took as long as on the devices that are imitated.
fn kept_pace<'a>(paced: impl Iterator<Item = &'a Paced> + Clone) -> Result<()> {
    let tasks: u64 = paced.clone().map(|paced| paced.tasks).sum();
    let late: u64 = paced.map(|paced| paced.late).sum();
    let share = late as f64 / tasks.max(1) as f64;
    if share > LATE_SHARE_MAX {
        return Err(Failure::Unfinished(format!(
            "this machine was what was measured: {:.1}% of the tasks were late (at most {:.0}% are let pass). Run it while nothing else does",
            100.0 * share,
            100.0 * LATE_SHARE_MAX
        ))
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::sample;
    use ringtmp_core::signal::RoomPlan;
    use ringtmp_core::trace::Report;

    #[test]
    fn tasks_count_that_were_late_before_devices_were_put_together_anew() {
        let view = sample::training();
        let mut room = view.room.expect("a room");
        let told = |room: &mut RoomView, tasks, late| {
            let report = Report {
                paced: Some(Paced { tasks, late }),
                ..Report::default()
            };
            room.members[0].report = Some(Box::new(report));
        };
        let mut known = BTreeMap::new();
        told(&mut room, 50, 0);
        note_pace(&mut known, &room);
        told(&mut room, 90, 3);
        note_pace(&mut known, &room);
        assert!(kept_pace(known.values()).is_err(), "3 of 90");
        match room.plan.as_mut().expect("a plan") {
            RoomPlan::Ring(plan) => plan.epoch.number += 1,
            RoomPlan::Team(plan) => plan.epoch.number += 1,
        }
        told(&mut room, 10, 0);
        note_pace(&mut known, &room);
        assert!(kept_pace(known.values()).is_err(), "3 of 100");
        told(&mut room, 60, 0);
        note_pace(&mut known, &room);
        assert!(kept_pace(known.values()).is_ok(), "3 of 150");
    }
}

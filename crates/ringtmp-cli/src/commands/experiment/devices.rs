//! Processes of this program that train on this machine, in a room of a server of their own. The system may hold them still, so that
//! nobody is told, as when a phone leaves the Wi-Fi.

use super::imitated::Imitated;
use crate::commands::serve::Running;
use crate::exit::Failure;
use crate::follow::outcome;
use crate::peer::{Part, Peer};
use crate::process::{Group, Guard, Messages};
use crate::room_url::RoomUrl;
use crate::speed::Speed;
use crate::terminal::participants;
use anyhow::{Context, Result};
use futures::future::select_all;
use ringtmp_core::ids::{Epoch, PeerId};
use ringtmp_core::signal::{RoomState, RoomView};
use ringtmp_core::trace::Paced;
use ringtmp_experiment::Outcome;
use ringtmp_peer::View;
use signaling_server::{Config, Server};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// A run that takes longer hangs: it takes half a minute, and a minute where a ring teaches.
const RUN_MAX: Duration = Duration::from_secs(300);

/// The share of tasks that may be late before this machine counts as what was measured.
const LATE_SHARE_MAX: f64 = 0.02;

/// The room's server, who watches, and the devices. Whatever was started is ended when this is dropped.
pub(super) struct Devices<'a> {
    imitated: &'a Imitated,
    watcher: Peer,
    room: RoomUrl,
    natives: Vec<Native>,
    /// How many ever came.
    added: u32,
    guard: Guard,
    /// How each device kept its pace under each plan, as it said last.
    paced: BTreeMap<(PeerId, Epoch), Paced>,
}

/// One of them.
struct Native {
    name: String,
    group: Group,
    messages: Messages,
}

/// What comes of devices that train as they are told to: what of that they cannot do is an outcome.
///
/// # Errors
///
/// What keeps the devices from being started.
pub(super) fn play<T>(
    imitated: &Imitated,
    act: impl AsyncFnOnce(&mut Devices<'_>) -> Result<T>,
) -> Result<Result<T, Outcome>> {
    let played = timeout(RUN_MAX, Devices::play(imitated, act));
    let played = tokio::task::block_in_place(|| Handle::current().block_on(played));
    let too_long = |_| Failure::Unfinished(format!("it took longer than {RUN_MAX:?}")).into();
    match played.map_err(too_long).flatten() {
        Ok(played) => Ok(Ok(played)),
        Err(error) => match error.downcast::<Failure>()? {
            Failure::Unfinished(reason) => Ok(Err(Outcome::Refused { reason })),
            other => Err(other.into()),
        },
    }
}

impl<'a> Devices<'a> {
    async fn play<T>(
        imitated: &'a Imitated,
        act: impl AsyncFnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let server = Server::bind(Config {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            ..Config::default()
        })?;
        let (server, address) = Running::start(server);
        let mut watcher = Peer::start(Part::creator(&address, imitated.file.clone()))?;
        let link = watcher.view_until(View::link).await?;
        let mut devices = Self {
            imitated,
            watcher,
            room: RoomUrl {
                server: address.parse()?,
                link,
            },
            natives: Vec::new(),
            added: 0,
            guard: Guard::start(),
            paced: BTreeMap::new(),
        };
        let outcome = tokio::select! {
            outcome = act(&mut devices) => outcome,
            error = server.failed => Err(error),
        };
        drop(devices.natives);
        devices.watcher.leave().await;
        drop(server.stop);
        let _ended = server.ended.await;
        outcome
    }

    /// So many come, one after the other, so that each has its place; until they train.
    pub(super) async fn come(&mut self, peers: u16) -> Result<()> {
        for number in 1..=peers {
            self.add()?;
            self.until(|room| participants(room).count() >= usize::from(number))
                .await?;
        }
        self.until(|room| room.state == RoomState::Training).await?;
        Ok(())
    }

    /// One of them does nothing any more, and nobody is told. By the order in which those came that are left; its name.
    pub(super) fn hold_still(&self, device: usize) -> Result<String> {
        let native = &self.natives[device];
        native.group.hold_still()?;
        Ok(native.name.clone())
    }

    /// It ends, now.
    pub(super) fn kill(&mut self, device: usize) {
        drop(self.natives.remove(device));
    }

    /// Another comes, which knows nothing.
    pub(super) fn add(&mut self) -> Result<()> {
        self.added += 1;
        let name = format!("native {}", self.added);
        let program = std::env::current_exe().context("this program cannot find itself")?;
        let speed = self.imitated.operations_per_second();
        let mut command = Command::new(program);
        command
            .args(["--quiet", "join", "--executor", "cpu", "--no-keep"])
            // Not among the arguments, which every user of this computer can read.
            .env("RINGTMP_ROOM", self.room.to_string())
            .args(["--name", &name])
            .args(["--pace", &Speed::Operations(speed).to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(access) = self.imitated.access {
            command.args(["--access-link", &access.to_string()]);
        }
        let (group, messages) = Group::start(&mut command, &mut self.guard)?;
        self.natives.push(Native {
            name,
            group,
            messages,
        });
        Ok(())
    }

    /// What who watches sees.
    pub(super) fn view(&mut self) -> Option<View> {
        self.watcher.view()
    }

    /// Whether tasks took as long as on the devices that are imitated.
    ///
    /// # Errors
    ///
    /// If not: then this machine was what was measured.
    pub(super) fn kept_pace(&self) -> Result<()> {
        kept_pace(self.paced.values())
    }

    /// The first state of the room of which something holds; an error if the run ends before.
    pub(super) async fn until(&mut self, holds: impl Fn(&RoomView) -> bool) -> Result<RoomView> {
        let view = self
            .until_seen(|view| view.room.as_ref().is_some_and(&holds))
            .await?;
        view.room.context("a room that was seen")
    }

    /// The first view of which something holds; an error if the run ends before.
    pub(super) async fn until_seen(&mut self, holds: impl Fn(&View) -> bool) -> Result<View> {
        let Self {
            watcher,
            natives,
            paced,
            ..
        } = self;
        let picked = watcher.view_until(|view| {
            note_pace(paced, view.room.as_ref()?);
            if holds(view) {
                return Some(Ok(view.clone()));
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
            .map(|native| Box::pin(native.group.leader_ended()));
        let (status, index) = tokio::select! {
            picked = picked => return picked?,
            (status, index, _) = select_all(waits) => (status?, index),
        };
        let words = natives[index].messages.words();
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

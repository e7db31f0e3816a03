//! What is to be shown, in words, made from a [`View`]. No browser here: the page only carries it out.

mod access;
mod care;
mod computes;
mod controls;
mod held;
mod links;

mod news;
mod team;

pub use access::{access, is_asked, may_take_part, short_code};
pub use care::{Care, OwnDevice, takes_part};
pub use computes::{Computes, computes};
use controls::own_status;
pub use controls::{Controls, governs, layers_file, model_name};
pub use news::{notice, notices};
pub use team::summary as team_summary;

use crate::messages::Failure;
use crate::{format, timeline, words};
use ringtmp_core::ids::PeerId;
use ringtmp_core::plan::Plan;
use ringtmp_core::signal::{
    Device, DeviceKind, ExecutorKind, Form, MemberStatus, MemberView, Role, RoomState, RoomView,
};
use ringtmp_peer::{LinkState, RunSummary, ServerState, View};

/// How this peer ended, if it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The user left.
    Left,
    /// It could not go on.
    Failed(Failure),
}

/// The state that the whole page is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not in a room yet.
    Joining,
    /// In a room that waits.
    Waiting,
    /// Stages and links are being made.
    WarmingUp,
    /// Steps are made.
    Training,
    /// No new step begins.
    Paused,
    /// The ring is put together anew.
    Reconfiguring,
    /// Layers are missing that lie with devices that are not here.
    Lacking,
    /// All steps are made.
    Finished,
    /// The run ended early.
    Stopped,
    /// Never got into the room.
    Refused,
    /// Was in the room and fell out of it.
    Broken,
    /// The user left.
    Left,
}

impl Phase {
    /// The phase of a page.
    pub fn of(view: Option<&View>, ending: Option<&Ending>) -> Self {
        let room = view.and_then(|view| view.room.as_ref());
        match (ending, room) {
            (Some(Ending::Left), _) => Self::Left,
            (Some(Ending::Failed(_)), None) => Self::Refused,
            (Some(Ending::Failed(_)), Some(_)) => Self::Broken,
            (None, None) => Self::Joining,
            (None, Some(room)) => match room.state {
                RoomState::Waiting => Self::Waiting,
                RoomState::WarmingUp => Self::WarmingUp,
                RoomState::Training => Self::Training,
                RoomState::Paused => Self::Paused,
                RoomState::Reconfiguring { .. } => Self::Reconfiguring,
                RoomState::Lacking { .. } => Self::Lacking,
                RoomState::Finished => Self::Finished,
                RoomState::Stopped { .. } => Self::Stopped,
            },
        }
    }

    /// Its name for programs: the page's `data-state`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Waiting => "waiting",
            Self::WarmingUp => "warming_up",
            Self::Training => "training",
            Self::Paused => "paused",
            Self::Reconfiguring => "reconfiguring",
            Self::Lacking => "lacking",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Left => "left",
        }
    }

    /// Its name for people.
    pub fn headline(self) -> &'static str {
        match self {
            Self::Joining => words::JOINING.now(),
            Self::Waiting => words::WAITING.now(),
            Self::WarmingUp => words::WARMING_UP.now(),
            Self::Training => words::TRAINING.now(),
            Self::Paused => words::PAUSED.now(),
            Self::Reconfiguring => words::RECONFIGURING.now(),
            Self::Lacking => words::LACKING.now(),
            Self::Finished => words::FINISHED.now(),
            Self::Stopped => words::STOPPED.now(),
            Self::Refused => words::REFUSED.now(),
            Self::Broken => words::BROKEN.now(),
            Self::Left => words::LEFT.now(),
        }
    }
}

/// The sentence under the headline.
pub fn sentence(phase: Phase, view: Option<&View>) -> String {
    let Some((view, room)) = view.and_then(|view| Some((view, view.room.as_ref()?))) else {
        return match (phase, view.map(|view| &view.server)) {
            (Phase::Joining, None) => words::JOINING_STARTING.now().to_owned(),
            (Phase::Joining, Some(ServerState::Connected)) => words::JOINING_ROOM.now().to_owned(),
            (Phase::Joining, Some(_)) => words::JOINING_SERVER.now().to_owned(),
            (Phase::Left, _) => words::LEFT_DETAIL.now().to_owned(),
            _ => String::new(),
        };
    };
    let leaves = own_status(Some(view)) == Some(MemberStatus::Leaving);
    match phase {
        Phase::Training | Phase::Paused if leaves => words::LEAVING_DETAIL.now().to_owned(),
        Phase::Joining => words::JOINING_ROOM.now().to_owned(),
        Phase::Waiting => {
            let wanted = view.run.as_ref().map_or(0, |run| run.start_at_peers);
            words::waiting(participants(room), usize::from(wanted))
        }
        Phase::WarmingUp => words::WARMING_UP_DETAIL.now().to_owned(),
        Phase::Training => {
            let stages = room.ring().map_or(0, Plan::stages);
            match room.team() {
                Some(plan) => team::training(view, plan),
                None => words::training(stages, own_part(view, room).as_deref()),
            }
        }
        Phase::Paused => words::PAUSED_DETAIL.now().to_owned(),
        Phase::Reconfiguring => match &room.state {
            RoomState::Reconfiguring { reason } => {
                words::reconfiguring(reason.trim_end_matches('.'))
            }
            _ => String::new(),
        },
        Phase::Lacking => match &room.state {
            RoomState::Lacking { reason } => words::lacking(reason.trim_end_matches('.')),
            _ => String::new(),
        },
        Phase::Finished => finished(room),
        Phase::Stopped => match &room.state {
            RoomState::Stopped { reason } => {
                let stopped = words::stopped(reason.trim_end_matches('.'));
                let result = finished(room);
                [stopped, result].join(" ").trim_end().to_owned()
            }
            _ => String::new(),
        },
        Phase::Refused | Phase::Broken => String::new(),
        Phase::Left => words::LEFT_DETAIL.now().to_owned(),
    }
}

/// How much of what was learnt a loss would not take, while there is something to lose. It changes with every step, and so is
/// no part of the sentence, which is read out.
pub fn safety(phase: Phase, view: Option<&View>) -> String {
    let room = view.and_then(|view| view.room.as_ref());
    let Some(room) = room.filter(|_| phase == Phase::Training) else {
        return String::new();
    };
    // What lies with one device alone is not safe.
    let stages = room.ring().map_or(0, Plan::stages);
    let safe = room.stable.filter(|_| stages > 1);
    let safe = safe.map(|version| words::safe(version.0));
    let kept = room.kept.map(|version| words::kept(version.0));
    let sentences: Vec<String> = safe.into_iter().chain(kept).collect();
    sentences.join(" ")
}

/// The run in a line.
pub fn run_line(run: &RunSummary) -> String {
    let parameters = format::count(run.parameters.iter().sum());
    words::run_line(
        &run.name,
        &run.data,
        run.layers.len(),
        &parameters,
        run.batch,
        run.micro_batch,
    )
}

/// How far the run is and how well it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Updates made.
    pub done: u32,
    /// Updates to make; 0 while unknown.
    pub of: u32,
    /// The newest loss.
    pub loss: Option<f32>,
    /// The newest accuracy, 0 to 1.
    pub accuracy: Option<f32>,
}

impl Progress {
    /// Reads it off the curves, or off the result once there is one.
    pub fn of(view: &View) -> Self {
        let newest_loss = view
            .points
            .iter()
            .rev()
            .find_map(|point| Some((point.step, point.loss?)));
        let newest_accuracy = view
            .points
            .iter()
            .rev()
            .find_map(|point| Some((point.step, point.accuracy?)));
        // A loss names the step it is of, an accuracy the updates before it.
        let by_loss = newest_loss.map_or(0, |(step, _)| step.saturating_add(1));
        let by_accuracy = newest_accuracy.map_or(0, |(updates, _)| updates);
        let result = view.room.as_ref().and_then(|room| room.result.as_ref());
        Self {
            done: result.map_or(by_loss.max(by_accuracy), |result| result.steps),
            of: view.run.as_ref().map_or(0, |run| run.steps),
            loss: result
                .and_then(|result| result.loss_last)
                .or(newest_loss.map(|(_, loss)| loss)),
            accuracy: result
                .and_then(|result| result.test_accuracy)
                .or(newest_accuracy.map(|(_, accuracy)| accuracy)),
        }
    }

    /// The share that is done, 0 to 1.
    pub fn share(&self) -> f64 {
        if self.of == 0 {
            0.0
        } else {
            (f64::from(self.done) / f64::from(self.of)).min(1.0)
        }
    }
}

/// Bytes that all members have sent to their neighbours.
pub fn bytes_sent(room: &RoomView) -> u64 {
    room.members
        .iter()
        .flat_map(|member| &member.links)
        .fold(0, |sum, link| sum.saturating_add(link.bytes))
}

/// One line of the table of devices.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberLine {
    /// Who.
    pub peer: PeerId,
    /// Its number in the ring, from 1; nothing without a stage.
    pub number: Option<usize>,
    /// Its name.
    pub name: String,
    /// Whether it is this device.
    pub mine: bool,
    /// Whether it has opened the room.
    pub host: bool,
    /// Whether this device may send it away.
    pub may_kick: bool,
    /// Whether this device may rename it.
    pub may_rename: bool,
    /// Tab or program, GPU or CPU, adapter.
    pub device: String,
    /// GPU or CPU, and the memory that it gives.
    pub power: String,
    /// What it looks like, where it said so.
    pub form: Option<Form>,
    /// Whether it is a program and no browser.
    pub native: bool,
    /// While it trains how busy it has been in the last second, where it has told; otherwise its status.
    pub doing: String,
    /// Which layers, as a range.
    pub layers: String,
    /// Which layers, in words; may be empty.
    pub layers_detail: String,
    /// What it does, for people.
    pub status: &'static str,
    /// What it does, for style sheets.
    pub status_key: &'static str,
    /// How idle it has been in this run; may be empty.
    pub time: String,
    /// What it mostly waited for; may be empty.
    pub time_detail: String,
    /// Its traffic and its link with this device, a text each.
    pub links: Vec<String>,
    /// Whether its link with this device is down.
    pub link_failed: bool,
}

/// The table of devices: the ring in its order, then everybody else.
pub fn member_lines(view: &View) -> Vec<MemberLine> {
    let Some(room) = &view.room else {
        return Vec::new();
    };
    let mut lines: Vec<MemberLine> = room
        .members
        .iter()
        .map(|member| member_line(view, room, member))
        .collect();
    // Stable: those without a number keep the order they came in.
    lines.sort_by_key(|line| line.number.unwrap_or(usize::MAX));
    lines
}

fn member_line(view: &View, room: &RoomView, member: &MemberView) -> MemberLine {
    let (status, status_key) = status(member.status);
    let (layers, layers_detail) = held::held_layers(view, room, member);
    let (time, time_detail) = member
        .report
        .as_ref()
        .map(|report| timeline::idle_words(report))
        .unwrap_or_default();
    let link = view.links.iter().find(|link| link.peer == member.peer);
    let mine = view.me == Some(member.peer);
    let we_host = room.host.is_some() && room.host == view.me;
    MemberLine {
        peer: member.peer,
        number: stage_number(room, member.peer),
        name: device_name(&member.device).to_owned(),
        mine,
        host: room.host == Some(member.peer),
        may_kick: we_host && !mine,
        may_rename: we_host || mine,
        device: device_words(&member.device),
        power: power_words(&member.device),
        form: member.device.form,
        native: member.device.kind == DeviceKind::Native,
        doing: doing(room, member, status),
        layers,
        layers_detail,
        status,
        status_key,
        time,
        time_detail,
        links: links::link_words(view, room, member, link),
        link_failed: link.is_some_and(|link| matches!(link.state, LinkState::Failed { .. })),
    }
}

/// A device's place in the plan, counted from 1.
fn stage_number(room: &RoomView, peer: PeerId) -> Option<usize> {
    let mut order = room.plan.as_ref()?.order().iter();
    Some(order.position(|other| *other == peer)? + 1)
}

pub(crate) fn device_name(device: &Device) -> &str {
    if device.name.trim().is_empty() {
        words::UNNAMED.now()
    } else {
        &device.name
    }
}

/// What kind of device it is.
pub(crate) fn device_kind(device: &Device) -> &'static str {
    match device.kind {
        DeviceKind::Tab => words::KIND_TAB.now(),
        DeviceKind::Native => words::KIND_NATIVE.now(),
    }
}

fn device_words(device: &Device) -> String {
    let kind = device_kind(device);
    let executor = executor_word(device);
    let memory = device.memory_bytes.map(format::bytes);
    let memory = memory.map_or_else(String::new, |bytes| words::gives(&bytes));
    let parts = [kind, executor, device.adapter.trim(), &memory];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" · ")
}

fn executor_word(device: &Device) -> &'static str {
    match device.executor {
        ExecutorKind::Gpu => words::EXECUTOR_GPU.now(),
        ExecutorKind::Cpu => words::EXECUTOR_CPU.now(),
    }
}

fn power_words(device: &Device) -> String {
    let executor = executor_word(device);
    let memory = device.memory_bytes.map(format::bytes);
    memory.map_or_else(
        || executor.to_owned(),
        |bytes| format!("{executor} · {bytes}"),
    )
}

fn doing(room: &RoomView, member: &MemberView, status: &str) -> String {
    let trains = room.state == RoomState::Training && member.status == MemberStatus::Training;
    let report = member.report.as_ref().filter(|_| trains);
    let busy = report.map(|report| words::busy(&format::percent_whole(report.shares.busy)));
    busy.unwrap_or_else(|| status.to_owned())
}

fn status(status: MemberStatus) -> (&'static str, &'static str) {
    match status {
        MemberStatus::Waiting => (words::STATUS_WAITING.now(), "waiting"),
        MemberStatus::Preparing => (words::STATUS_PREPARING.now(), "preparing"),
        MemberStatus::Ready => (words::STATUS_READY.now(), "ready"),
        MemberStatus::Training => (words::STATUS_TRAINING.now(), "training"),
        MemberStatus::Spare => (words::STATUS_SPARE.now(), "spare"),
        MemberStatus::Measuring => (words::STATUS_MEASURING.now(), "preparing"),
        MemberStatus::Watching => (words::STATUS_WATCHING.now(), "watching"),
        MemberStatus::Done => (words::STATUS_DONE.now(), "done"),
        MemberStatus::Away => (words::STATUS_AWAY.now(), "away"),
        MemberStatus::Leaving => (words::STATUS_LEAVING.now(), "away"),
        MemberStatus::CutOut => (words::STATUS_CUT_OUT.now(), "cut-out"),
    }
}

/// Members who train.
pub fn participants(room: &RoomView) -> usize {
    room.members
        .iter()
        .filter(|member| member.role != Role::Spectator)
        .count()
}

/// What this device does in the run, as a sentence.
fn own_part(view: &View, room: &RoomView) -> Option<String> {
    let plan = room.ring()?;
    match plan.layers_of(view.me?) {
        Some(_) if plan.stages() == 1 => None,
        Some(held) => Some(words::holds(&words::layer_range(
            u32::from(held.start.0) + 1,
            u32::from(held.end.0),
        ))),
        None if view.role == Role::Spectator => Some(words::this_watches()),
        None => Some(words::this_is_spare()),
    }
}

fn finished(room: &RoomView) -> String {
    let Some(result) = &room.result else {
        return String::new();
    };
    let accuracy = result.test_accuracy.map(format::percent);
    words::finished(
        &format::count(u64::from(result.steps)),
        accuracy.as_deref(),
        &format::duration(result.seconds),
    )
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use team::tests::view as tests_team_view;
#[cfg(test)]
pub(crate) use tests::view as tests_view;

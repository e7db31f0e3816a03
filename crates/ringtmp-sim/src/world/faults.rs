//! What goes wrong.

use super::links::Access;
use super::peer::{Load, Peer};
use super::{Event, World};
use crate::check::Complaint;
use crate::compute::Compute;
#[cfg(test)]
use crate::planted::Bug;
use crate::scenario::{Fault, FaultKind, SERVER_SILENCE};
use ringtmp_core::ids::Epoch;
use ringtmp_core::node::{Assignment, Input};
use ringtmp_core::signal::{ClientMessage, RoomState};
use ringtmp_core::time::Time;
use std::time::Duration;

/// How long a fault may hold up the ring after it is over: until it is noticed and the room has given up waiting.
const NOTICE_MAX: Duration = Duration::from_secs(20);

impl<C: Compute, B: FnMut(Assignment) -> C> World<'_, C, B> {
    /// Until when whoever an event happens to does nothing.
    pub(super) fn frozen_until(&self, event: &Event<Load<C>>) -> Option<Time> {
        let at = match event {
            Event::FromServer(at, _)
            | Event::LinkUp(at, ..)
            | Event::LinkLost(at, _)
            | Event::Done(at, _)
            | Event::Arrives(_, at, _)
            | Event::Wake(at) => *at,
            Event::ToServer(..)
            | Event::Breaks(_)
            | Event::Left(..)
            | Event::Reaches(..)
            | Event::Fault(_)
            | Event::ServerTick(_)
            | Event::ServerGone(_)
            | Event::Resumes(..)
            | Event::Mends(_)
            | Event::Returns(_)
            | Event::Reconnects(..)
            | Event::AllReturn
            | Event::UserStarts
            | Event::UserPresses(_)
            | Event::SocketLost(_) => return None,
        };
        self.peers[at].frozen.filter(|until| self.now < *until)
    }

    pub(super) fn goes_wrong(&mut self, what: FaultKind) {
        if self.state == RoomState::Finished {
            return;
        }
        let seconds = Duration::from_secs_f64;
        self.excuse(&what, NOTICE_MAX);
        match what {
            FaultKind::Crash {
                device,
                returns_after,
                noticed,
            } => self.crash(device, returns_after.map(seconds), noticed),
            FaultKind::Pause { device, seconds: s } => {
                let until = self.now + seconds(s);
                let frozen = &mut self.peers[device].frozen;
                *frozen = Some(frozen.map_or(until, |frozen| frozen.max(until)));
            }
            FaultKind::Cut {
                between,
                seconds: s,
            } => self.cut_for(between, seconds(s)),
            FaultKind::OneWay {
                from,
                to,
                seconds: s,
            } => self.silence(from, to, seconds(s)),
            FaultKind::Slow {
                between,
                seconds: s,
                times,
            } => self.slow(between, seconds(s), times),
            FaultKind::Partition {
                first,
                devices,
                seconds: s,
            } => self.part(first, devices, seconds(s)),
            FaultKind::SocketLost { device, seconds: s } => self.offline(device, seconds(s)),
            FaultKind::ServerLost {
                seconds: s,
                forgets,
            } => self.server_lost(seconds(s), forgets),
            FaultKind::TwoServers {
                first,
                devices,
                seconds: s,
            } => self.second_server(first, devices, seconds(s)),
            FaultKind::HandOn { device } => self.hand_on(device),
            FaultKind::GpuLost { device } => self.gpu_lost(device),
            FaultKind::Leave { device } => {
                self.tell_server(device, &ClientMessage::Leave);
                self.crash(device, None, true);
            }
            FaultKind::AllLost { seconds: s } => {
                for device in 0..self.peers.len() {
                    self.crash(device, None, true);
                }
                // Nobody returns to the old room.
                self.heap
                    .retain(|scheduled| !matches!(scheduled.0.event, Event::Returns(_)));
                self.schedule(seconds(s), Event::AllReturn);
            }
        }
    }

    fn silence(&mut self, from: usize, to: usize, lasts: Duration) {
        let until = self.now + lasts;
        let silenced = self.silenced.entry((from, to)).or_insert(until);
        *silenced = until.max(*silenced);
        self.schedule(lasts, Event::Resumes(from, to));
    }

    fn slow(&mut self, [one, other]: [usize; 2], lasts: Duration, times: f64) {
        let slow = (self.now + lasts, times);
        self.slowed.insert((one, other), slow);
        self.slowed.insert((other, one), slow);
    }

    fn cut_for(&mut self, between: [usize; 2], lasts: Duration) {
        self.cut(between, Some(self.now + lasts));
        self.schedule(lasts, Event::Mends(between));
    }

    /// Some devices in a row are on an island.
    fn part(&mut self, first: usize, devices: usize, lasts: Duration) {
        let all = self.peers.len();
        let on_island = |at: usize| (at + all - first) % all < devices;
        for here in (0..all).filter(|at| on_island(*at)) {
            for there in (0..all).filter(|at| !on_island(*at)) {
                self.cut_for([here, there], lasts);
            }
            self.offline(here, lasts);
        }
    }

    /// The user of a device wants to leave without anything being made again.
    fn hand_on(&mut self, at: usize) {
        #[cfg(test)]
        if self.planted.is_culprits(at, Bug::LeavesAtOnce) {
            self.tell_server(at, &ClientMessage::Leave);
            return self.crash(at, None, true);
        }
        self.input(at, Input::Ask(ClientMessage::HandOn));
    }

    /// A device may go, and does.
    pub(super) fn released(&mut self, at: usize) {
        self.crash(at, None, true);
    }

    /// Where devices leave on purpose and nothing goes wrong, nothing is made again.
    pub(super) fn check_made_again(&mut self) {
        let on_purpose = |fault: &Fault| matches!(fault.what, FaultKind::HandOn { .. });
        let scenario = self.scenario;
        let nothing_else = scenario.faults.iter().all(on_purpose) && scenario.losses.is_empty();
        let again = self.recoveries.iter().map(|recovery| recovery.repeated);
        if let (true, Some(steps)) = (nothing_else, again.max().filter(|steps| *steps > 0)) {
            self.watch.complain(Complaint::MadeAgain { steps });
        }
    }

    /// Whatever the device was told to do comes to nothing, and it is ready for another stage.
    fn gpu_lost(&mut self, at: usize) {
        let computes = |event: &Event<Load<C>>| match event {
            Event::Done(other, done) if *other == at => epoch_of_work(done),
            _ => None,
        };
        let under = self.heap.iter().find_map(|next| computes(&next.0.event));
        let peer = &mut self.peers[at];
        self.heap.retain(|next| {
            let lost = computes(&next.0.event).is_some();
            if let (true, Event::Done(_, done)) = (lost, &next.0.event)
                && let Input::Completed { outcome, .. } = &**done
                && let Some(output) = outcome.payload
            {
                peer.payloads.remove(&output);
            }
            !lost
        });
        if peer.stage.take().is_none() {
            return;
        }
        #[cfg(test)]
        if self.planted.is_culprits(at, Bug::LosesCopiesWithGpu) {
            peer.vault.clear();
        }
        let trains = peer.node.plan().map(|plan| plan.epoch);
        // A task of a plan that is over may still be under way.
        if let Some(epoch) = trains.or(under) {
            let reason = "the GPU was lost".to_owned();
            self.input(at, Input::Stumbled { epoch, reason });
        }
    }

    fn crash(&mut self, at: usize, returns_after: Option<Duration>, noticed: bool) {
        let Some(connection) = self.peers[at].connection else {
            return;
        };
        let disk = std::mem::take(&mut self.peers[at].disk);
        self.peers[at] = Peer::default();
        self.peers[at].disk = disk;
        self.access[at] = Access::default();
        // What was to happen at it does not; what it has sent arrives.
        self.heap
            .retain(|scheduled| !happens_at(&scheduled.0.event, at));
        self.asked
            .retain(|(_, one, other)| *one != at && *other != at);
        for (ends, link) in &mut self.links {
            if ends.0 == at || ends.1 == at {
                let _lost = link.empty();
            }
        }
        let silence = if noticed {
            Duration::ZERO
        } else {
            SERVER_SILENCE
        };
        self.schedule(silence, Event::SocketLost(connection));
        if let Some(after) = returns_after {
            self.schedule(after, Event::Returns(at));
        }
    }

    pub(super) fn returns(&mut self, at: usize) {
        if self.peers[at].connection.is_some() {
            return;
        }
        if self.now < self.server_back() {
            let later = self.server_back().since(self.now);
            return self.schedule(later, Event::Returns(at));
        }
        self.join(at);
    }

    pub(super) fn mends(&mut self, [one, other]: [usize; 2]) {
        let over = |mends: Option<Option<Time>>| mends.flatten().is_some_and(|at| self.now >= at);
        if over(self.broken.get(&(one, other)).copied()) {
            self.broken.remove(&(one, other));
            self.broken.remove(&(other, one));
        }
    }

    pub(super) fn is_silenced(&self, from: usize, to: usize) -> bool {
        let until = self.silenced.get(&(from, to));
        until.is_some_and(|until| self.now < *until)
    }

    pub(super) fn tell_server(&mut self, from: usize, message: &ClientMessage) {
        let Some(connection) = self.peers[from].connection else {
            return;
        };
        if self.peers[from].offline {
            return;
        }
        if let ClientMessage::Stable { version, epoch, .. } = message
            && self.is_current(*epoch)
        {
            self.stable = Some(*version);
            self.check_stable(*version);
        }
        self.text(connection, message);
    }
}

/// Of what a stage says once it has done something: under which plan.
fn epoch_of_work(done: &Input) -> Option<Epoch> {
    match done {
        Input::Built { epoch }
        | Input::Completed { epoch, .. }
        | Input::Snapped { epoch, .. }
        | Input::Digested { epoch, .. } => Some(*epoch),
        _ => None,
    }
}

fn happens_at<L>(event: &Event<L>, device: usize) -> bool {
    match event {
        Event::ToServer(at, _)
        | Event::FromServer(at, _)
        | Event::LinkUp(at, ..)
        | Event::LinkLost(at, _)
        | Event::Done(at, _)
        | Event::Reaches(_, at, ..)
        | Event::Arrives(_, at, _)
        | Event::Wake(at) => *at == device,
        Event::Left(from, _) => *from == device,
        Event::Breaks(_)
        | Event::Fault(_)
        | Event::ServerTick(_)
        | Event::ServerGone(_)
        | Event::Resumes(..)
        | Event::Mends(_)
        | Event::Returns(_)
        | Event::Reconnects(..)
        | Event::AllReturn
        | Event::UserStarts
        | Event::UserPresses(_)
        | Event::SocketLost(_) => false,
    }
}

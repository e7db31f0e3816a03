//! Members whose sockets are closed. Some are gone, others train on and return over another socket.
//!
//! While the ring trains, its members know best: the neighbours are asked, and say soon whether they still hear the one that is
//! away. As long as they do, the run goes on, for as long as it takes. Otherwise it is waited for, but not for long.

use super::{Member, Room};
use crate::ids::{Epoch, MemberToken, PeerId};
use crate::plan::Plan;
use crate::signal::{Phase, Returning, Role, RoomPlan, RoomState, ServerMessage, Standing};
use crate::time::Time;
use std::time::Duration;

/// How long a member without a socket is waited for where its neighbours cannot tell whether it is there. Peers try to return
/// every two seconds at least.
pub const AWAY_WAIT_MAX: Duration = Duration::from_secs(5);

/// Likewise where nobody is there who could go on without it: then nothing is lost by waiting.
const ALONE_WAIT_MAX: Duration = Duration::from_secs(60);

impl Room {
    /// What a member has to know to return; none if there is no such member.
    pub fn token_of(&self, peer: PeerId) -> Option<MemberToken> {
        let mut members = self.members.iter();
        let member = members.find(|member| member.peer == peer);
        member.map(|member| member.token)
    }

    /// A member's socket is closed.
    pub fn away(&mut self, now: Time, peer: PeerId) {
        let Some(member) = self.members.iter_mut().find(|member| member.peer == peer) else {
            return;
        };
        if member.role == Role::Spectator {
            return self.leave(now, peer);
        }
        member.away = Some(now);
        if self.is_watched(peer) {
            self.ask_neighbours(peer);
        }
        self.start_if_measured(now);
        self.show();
    }

    /// Whether those who are linked to this member would notice if it were gone.
    fn is_watched(&self, peer: PeerId) -> bool {
        let trains = matches!(self.state, RoomState::Training | RoomState::Paused);
        let recovers = self.recovers();
        let neighbours = self.neighbours(peer);
        // Of a team, whoever has done its part no longer minds silence.
        let minds = |neighbour: &PeerId| self.is_ring() || !self.done.contains_key(neighbour);
        let mut watch = neighbours
            .iter()
            .filter(|neighbour| !self.is_away(**neighbour) && minds(neighbour));
        trains && recovers && watch.next().is_some()
    }

    fn neighbours(&self, peer: PeerId) -> Vec<PeerId> {
        if let Some(plan) = self.team() {
            return plan.linked(peer);
        }
        let plan = self.ring();
        let Some((plan, stage)) = plan.and_then(|plan| Some((plan, plan.stage_of(peer)?))) else {
            return Vec::new();
        };
        let mut neighbours = vec![plan.predecessor(stage), plan.successor(stage)];
        neighbours.retain(|neighbour| *neighbour != peer);
        neighbours.dedup();
        neighbours
    }

    fn ask_neighbours(&mut self, peer: PeerId) {
        let epoch = self.epoch;
        let doubt = |neighbour| (neighbour, ServerMessage::Doubt { epoch, peer });
        let told = self.neighbours(peer).into_iter().map(doubt);
        self.output.extend(told);
    }

    /// A member hears nothing of its neighbour.
    pub(super) fn suspected(&mut self, now: Time, from: PeerId, epoch: Epoch, peer: PeerId) {
        let neighbours = self.active(from, epoch) && self.neighbours(from).contains(&peer);
        let Some(member) = self.members.iter_mut().find(|member| member.peer == peer) else {
            return;
        };
        if !neighbours {
            return;
        }
        if member.away.is_some() {
            // The server does not hear it either.
            return self.lose_sight(now, peer);
        }
        member.suspected_by.insert(from);
        self.output
            .push_back((peer, ServerMessage::AreYouThere { epoch }));
    }

    /// A member says that it is there.
    pub(super) fn answered(&mut self, from: PeerId, epoch: Epoch) {
        let current = self.active(from, epoch);
        let Some(member) = self.members.iter_mut().find(|member| member.peer == from) else {
            return;
        };
        let asked = std::mem::take(&mut member.suspected_by);
        let told = asked.into_iter().filter(|_| current);
        let answers = |asked| (asked, ServerMessage::Answers { epoch, peer: from });
        self.output.extend(told.map(answers));
    }

    /// Until when a member that is away is waited for, if not for as long as it takes.
    fn away_ends(&self, member: &Member) -> Option<Time> {
        let since = member.away?;
        // After the server itself was away, all come back one by one.
        let since = since.max(self.recovering.asked_since(self.last_return));
        let wait = match self.participants().next() {
            Some(_) => AWAY_WAIT_MAX,
            None => ALONE_WAIT_MAX,
        };
        (!self.is_watched(member.peer)).then(|| since + wait)
    }

    /// When the next member is given up.
    pub(super) fn absence_ends(&self) -> Option<Time> {
        let ends = self.members.iter();
        ends.filter_map(|member| self.away_ends(member)).min()
    }

    /// Gives up those that were away for too long.
    pub(super) fn give_up_absent(&mut self, now: Time) {
        let over = |member: &&Member| self.away_ends(member).is_some_and(|end| now >= end);
        let absent: Vec<PeerId> = self.members.iter().filter(over).map(|m| m.peer).collect();
        absent
            .into_iter()
            .for_each(|peer| self.lose_sight(now, peer));
    }

    /// Whether this member has no socket.
    pub(super) fn is_away(&self, peer: PeerId) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.peer == peer && member.away.is_some())
    }

    /// A member is back, or somebody who was one before this room forgot it.
    pub fn come_back(&mut self, now: Time, back: Returning) {
        let Returning {
            peer,
            token,
            role,
            device,
            has_data,
            standing,
            ..
        } = back;
        self.last_return = now;
        let standing = self.believed(standing);
        // Before anybody is told of a room that waits.
        self.rebuild_if_others_are_further(now, &standing);
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == peer) {
            member.away = None;
            member.device = device.clipped();
            self.welcome(peer);
        } else {
            self.admit(peer, token, role, device, has_data);
            let wait = self.halt_wait();
            self.recovering.came_back(now, peer, wait);
        }
        if self.rebuilding.is_some() {
            self.rebuild_with(now, peer, standing);
        } else {
            self.has_spoken(now, peer);
            self.catch_up(now, peer, &standing);
            self.resume_if_all_answered(now);
            self.grow_if_worth_it();
            self.grow_team(now);
        }
        self.start_if_enough(now);
    }

    /// Tells a member that is back what it has missed.
    pub(super) fn catch_up(&mut self, now: Time, peer: PeerId, standing: &Standing) {
        let obeys = standing.epoch();
        if obeys.is_some_and(|obeys| obeys > self.epoch) {
            // A server before this one has planned further.
            self.epoch.number = obeys.map_or(0, |obeys| obeys.number);
            if self.running() {
                let reason = format!("{} has obeyed a newer plan", self.name(peer));
                return self.lost(now, reason);
            }
        }
        if let Some(halt) = self.recovering.halting(self.epoch, &self.state) {
            return self.output.push_back((peer, halt));
        }
        let Some(plan) = self.plan.clone().filter(|_| self.running()) else {
            return;
        };
        let obeyed = obeys == Some(plan.epoch());
        let begins = standing.phase == Phase::Preparing && self.warm_up_ends.is_none();
        let told = match plan {
            RoomPlan::Ring(plan) if !obeyed => Some(ServerMessage::Prepare { plan }),
            RoomPlan::Ring(Plan { epoch, .. }) if begins => Some(ServerMessage::Commit { epoch }),
            RoomPlan::Team(plan) if !obeyed => Some(ServerMessage::PrepareTeam { plan }),
            RoomPlan::Ring(_) | RoomPlan::Team(_) => None,
        };
        self.output.extend(told.map(|told| (peer, told)));
    }
}

//! The server: what devices say to it, and what it says to them.

use super::{Event, SIGNAL_DELAY, World};
use crate::check::Watch;
use crate::compute::Compute;
use ringtmp_core::ids::{PeerId, RoomCode};
use ringtmp_core::kept::Past;
use ringtmp_core::lobby::{ConnectionId, LobbyInput, LobbyOutput};
use ringtmp_core::node::Assignment;
use ringtmp_core::plan::Plan;
use ringtmp_core::signal::{
    ClientMessage, PROTOCOL_VERSION, Refusal, Role, RoomState, RoomView, ServerMessage,
};
use ringtmp_core::time::Time;

impl<C: Compute, B: FnMut(Assignment) -> C> World<'_, C, B> {
    fn join_all(&mut self, room: RoomCode) {
        self.room = Some(room);
        for i in 0..self.peers.len() {
            self.join(i);
        }
    }

    /// A device comes into the room, over a socket that was never used before.
    pub(super) fn join(&mut self, i: usize) {
        let Some(room) = self.room else { return };
        self.connect_socket(i);
        let join = ClientMessage::Join {
            protocol: PROTOCOL_VERSION,
            room,
            role: Role::Participant,
            device: self.device(i),
            has_data: self.scenario.devices[i].has_data,
            proof: None,
        };
        self.schedule(SIGNAL_DELAY, Event::ToServer(i, join));
    }

    pub(super) fn text(&mut self, connection: ConnectionId, message: &ClientMessage) {
        if let ClientMessage::Progress { points, .. } = message {
            let steps = points.iter().map(|point| point.step);
            self.told = steps.fold(self.told, u32::max);
        }
        let text = serde_json::to_string(message).expect("messages are JSON");
        let input = LobbyInput::Text {
            connection,
            text: &text,
        };
        self.socket(connection, input);
    }

    pub(super) fn tell_lobby(&mut self, server: usize, input: LobbyInput<'_>) {
        if self.servers[server].is_gone {
            return;
        }
        // Random bytes name rooms and peers: one of the two a connection makes, so that a counter will do.
        self.entropy = self.entropy.wrapping_add(1);
        let (now, entropy) = (self.now, [self.entropy; 16]);
        self.servers[server].lobby.handle(now, entropy, input);
        while let Some(output) = self.servers[server].lobby.poll_output() {
            match output {
                LobbyOutput::Send {
                    connection,
                    message,
                } => self.answered(server, connection, message),
                LobbyOutput::Close { .. } => {}
            }
        }
        self.wake_server(server);
    }

    /// A server is woken where a run outlives losses; otherwise it has nothing to time that these runs need.
    fn wake_server(&mut self, server: usize) {
        let recovers = self.scenario.outline.replication.is_on();
        let over = matches!(self.state, RoomState::Finished | RoomState::Stopped { .. });
        let due = self.servers[server].lobby.poll_timeout();
        let Some(due) = due.filter(|_| recovers && !over) else {
            return;
        };
        let wakes = &mut self.servers[server].wakes;
        if wakes.is_none_or(|wakes| due < wakes) {
            *wakes = Some(due);
            self.schedule(due.since(self.now), Event::ServerTick(server));
        }
    }

    fn answered(&mut self, server: usize, connection: ConnectionId, mut message: ServerMessage) {
        if let ServerMessage::Prepare { plan } = &mut message {
            self.limit(plan);
        }
        let device = self.devices.get(&connection).copied();
        let current = device.is_some_and(|to| self.peers[to].connection == Some(connection));
        if self.first_room.is_some() && device.is_some() && !current {
            // The room that all have left speaks to nobody.
            return;
        }
        if let ServerMessage::Room { room } = &message {
            self.takes_over(server, room);
        }
        match &message {
            ServerMessage::Created { room } => return self.join_all(*room),
            ServerMessage::Room { room } if server == self.speaker => {
                self.recoveries.clone_from(&room.recoveries);
                self.tally.sees(&room.recoveries);
                self.check_made_again();
                self.became(room.state.clone());
            }
            ServerMessage::Refused {
                refusal: Refusal::NoSuchRoom { .. },
            } if self.incarnation > 0 => return self.found_no_room(connection),
            ServerMessage::Refused { refusal } => {
                let reason = refusal.to_string();
                self.state = RoomState::Stopped { reason };
            }
            ServerMessage::Prepare { plan } => self.planned(server, plan),
            ServerMessage::Rest { .. } => self.watch.rests(),
            // Teams have a simulator of their own.
            ServerMessage::PrepareTeam { .. }
            | ServerMessage::Room { .. }
            | ServerMessage::Halt { .. }
            | ServerMessage::Doubt { .. }
            | ServerMessage::AreYouThere { .. }
            | ServerMessage::Answers { .. }
            | ServerMessage::IceServers { .. }
            | ServerMessage::Welcome { .. }
            | ServerMessage::Host { .. }
            | ServerMessage::Kicked { .. }
            | ServerMessage::Released
            | ServerMessage::Question { .. }
            | ServerMessage::Asked(_)
            | ServerMessage::Signal { .. }
            | ServerMessage::Commit { .. }
            | ServerMessage::Clock { .. }
            | ServerMessage::Progress { .. } => {}
        }
        let device = self.devices.get(&connection).copied();
        let Some(to) = device.filter(|to| self.peers[*to].connection == Some(connection)) else {
            return;
        };
        if let (ServerMessage::Room { room }, Some(id)) = (&message, self.peers[to].id) {
            self.user_sees(id, &room.state);
        }
        if let ServerMessage::Welcome { peer, .. } = &message {
            self.index.insert(*peer, to);
            self.peers[to].id = Some(*peer);
            self.tell_disk(to);
            if self.now == Time::ZERO || self.plan.is_none() {
                self.measure_all();
            } else {
                self.measure(to);
            }
        }
        #[cfg(test)]
        let message = self.planted.told(to, self.peers[to].obeyed, message);
        self.schedule(SIGNAL_DELAY, Event::FromServer(to, Box::new(message)));
    }

    /// A scenario may name the limits of stages.
    fn limit(&self, plan: &mut Plan) {
        if let Some(limits) = &self.scenario.limits {
            plan.limits.clone_from(limits);
        }
    }

    /// A newer server goes on with the plan of the one before it.
    fn takes_over(&mut self, server: usize, room: &RoomView) {
        let at_work = self.plan.as_ref().map(|(plan, _)| plan.epoch);
        let goes_on = room.ring().map(|plan| plan.epoch) == at_work;
        if server > self.speaker && goes_on && at_work.is_some() {
            self.speaker = server;
        }
    }

    pub(super) fn became(&mut self, state: RoomState) {
        if matches!(state, RoomState::Stopped { .. }) {
            self.stopped.get_or_insert(self.now);
        }
        self.state = state;
    }

    /// Once everybody knows its name, everybody tells what it would measure.
    fn measure_all(&mut self) {
        let ids: Option<Vec<PeerId>> = self.peers.iter().map(|peer| peer.id).collect();
        if let Some(ids) = ids {
            (0..ids.len()).for_each(|i| self.tell_profile(i, &ids));
        }
    }

    /// A newcomer tells what it has measured, and the links that it will have.
    fn measure(&mut self, at: usize) {
        let nobody = PeerId(u64::MAX);
        let ids = self.peers.iter().map(|peer| peer.id.unwrap_or(nobody));
        let ids: Vec<PeerId> = ids.collect();
        self.tell_profile(at, &ids);
    }

    /// Whether what a device says to the room calls another to account.
    pub(super) fn note_accusation(&mut self, by: usize, said: &ClientMessage) {
        #[cfg(test)]
        if !self.planted.is_for_neighbours() {
            return;
        }
        if let ClientMessage::Failed {
            culprit: Some(culprit),
            reason,
            ..
        } = said
            && let Some(device) = self.index.get(culprit)
        {
            self.watch.accused(*device, by, reason);
        }
    }

    fn tell_profile(&mut self, at: usize, ids: &[PeerId]) {
        let profile = self.scenario.profile(at, ids);
        let told = ClientMessage::Profile { profile };
        self.schedule(SIGNAL_DELAY, Event::ToServer(at, told));
    }

    /// Micro-batches are dealt to a plan's sources from its first step on; before it they were as under the plan that it goes on from.
    fn deals(&mut self, plan: &Plan) {
        if let Some(before) = plan.kept.and_then(|past| self.dealt_under.get(&past)) {
            self.dealt.clone_from(before);
        }
        let first = plan.first_step();
        self.dealt.retain(|(from, _)| *from < first);
        self.dealt.push((first, plan.sources.len() as u16));
        let epoch = plan.epoch;
        if let Some(past) = self.room.map(|room| Past { room, epoch }) {
            self.dealt_under.insert(past, self.dealt.clone());
        }
    }

    /// The room has decided who does what.
    pub(super) fn planned(&mut self, server: usize, plan: &Plan) {
        // A server that has forgotten everything counts from the start, until it hears of more.
        let age = |plan: &Plan| (plan.epoch.incarnation, plan.epoch.number);
        let is_newer = |(old, _): &(Plan, Vec<usize>)| age(old) < age(plan);
        if self.plan.as_ref().is_none_or(is_newer) {
            self.speaker = server;
            let device = |peer: &PeerId| self.index.get(peer).copied();
            let order: Vec<usize> = plan.order.iter().filter_map(device).collect();
            self.digested.clear();
            self.from_disks += u32::from(plan.kept.is_some());
            let given_up = self.stable_given_up(plan);
            self.deals(plan);
            let excused_until = self.watch.excused_until;
            self.watch = Watch::new(self.now, self.scenario, plan, &order);
            self.watch.excused_until = excused_until;
            if let Some(given_up) = given_up {
                self.watch.complain(given_up);
            }
            self.plan = Some((plan.clone(), order));
        }
    }
}

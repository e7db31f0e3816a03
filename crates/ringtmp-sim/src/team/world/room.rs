//! Runs in which devices are lost: core's own room puts the members together anew.

use super::{Happening, World, index};
use crate::fault::SERVER_SILENCE;
use crate::scenario::FaultKind;
use crate::tally::Tally;
use crate::team::{TeamCompute, TeamSeat};
use ringtmp_core::ids::{Epoch, MemberToken, PeerId, RoomCode, Version};
use ringtmp_core::parameter_server::{Event, Input, Job, MemberIndex, TeamPlan};
use ringtmp_core::room::Room;
use ringtmp_core::signal::{
    ClientMessage, Device as Described, DeviceKind, ExecutorKind, Recovery, Role, RoomState,
    RunDescriptor, ServerMessage,
};
use ringtmp_core::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// From a device to the server or back.
const SIGNAL_DELAY: Duration = Duration::from_millis(1);

/// The room of a run, and what was seen of it.
pub(super) struct Meeting {
    room: Room,
    /// What all plans' jobs have in common.
    job: Job,
    /// Members so far; each device that comes is another.
    came: u64,
    wakes: Option<Time>,
    state: RoomState,
    tally: Tally,
}

impl Meeting {
    pub(super) fn recoveries(self) -> Vec<Recovery> {
        self.tally.into_all()
    }

    /// Why the run ended early, if it did.
    pub(super) fn stopped(&self) -> Option<String> {
        match &self.state {
            RoomState::Stopped { reason } => Some(reason.clone()),
            RoomState::Lacking { reason } => Some(format!("{reason}, and nobody comes")),
            _ => None,
        }
    }

    pub(super) fn state(&self) -> &RoomState {
        &self.state
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, RoomState::Finished | RoomState::Stopped { .. })
    }
}

impl<C: TeamCompute> World<'_, C> {
    /// Opens the room, and has all devices come, and what goes wrong go wrong.
    pub(super) fn meet(&mut self, job: Job, run: RunDescriptor) {
        let code = RoomCode::from_random([1; 10]);
        let room = Room::new(code, run, 0, self.now);
        self.meeting = Some(Meeting {
            room,
            job,
            came: 0,
            wakes: None,
            state: RoomState::Waiting,
            tally: Tally::default(),
        });
        for fault in &self.scenario.faults {
            let at = Duration::from_secs_f64(fault.at_seconds);
            self.schedule(at, Happening::Fault(fault.what));
        }
        for at in 0..self.devices.len() {
            self.join(at);
        }
    }

    /// A device comes into the room, for the first time or as a newcomer.
    pub(super) fn join(&mut self, at: usize) {
        let profile = self.scenario.profile(at, &[]);
        let memory_bytes = self.scenario.devices[at].memory_bytes;
        let Some(meeting) = self.meeting.as_mut() else {
            return;
        };
        meeting.came += 1;
        let peer = PeerId(meeting.came);
        self.devices[at].peer = Some(peer);
        let described = Described {
            kind: DeviceKind::Native,
            name: format!("device {at}"),
            executor: ExecutorKind::Cpu,
            adapter: String::new(),
            memory_bytes,
            form: None,
        };
        let token = MemberToken(0);
        // Who serves and does nothing else has come for that, and comes back for that.
        let layout = &meeting.job.layout;
        let works = u16::try_from(at).is_ok_and(|at| layout.worker_at(MemberIndex(at)).is_some());
        let role = match works {
            true => Role::Participant,
            false => Role::Server,
        };
        meeting
            .room
            .join(self.now, peer, token, role, described, true);
        self.hear();
        self.say(at, ClientMessage::Profile { profile });
    }

    /// A device says something to the room.
    pub(super) fn say(&mut self, at: usize, message: ClientMessage) {
        if let Some(peer) = self.devices[at].peer {
            let said = Happening::ToRoom(peer, Box::new(message));
            self.schedule(SIGNAL_DELAY, said);
        }
    }

    pub(super) fn said(&mut self, from: PeerId, message: ClientMessage) {
        if let Some(meeting) = &mut self.meeting {
            meeting.room.message(self.now, from, message);
            self.hear();
        }
    }

    /// The room no longer has a device's socket.
    pub(super) fn socket_lost(&mut self, peer: PeerId) {
        if let Some(meeting) = &mut self.meeting {
            meeting.room.away(self.now, peer);
            self.hear();
        }
    }

    pub(super) fn room_tick(&mut self) {
        if let Some(meeting) = &mut self.meeting {
            meeting.wakes = None;
            meeting.room.tick(self.now);
            self.hear();
        }
    }

    /// What the room says, on its way; and when it wants to be woken.
    fn hear(&mut self) {
        let Some(meeting) = self.meeting.as_mut() else {
            return;
        };
        let mut said = Vec::new();
        while let Some((to, message)) = meeting.room.poll_output() {
            if let ServerMessage::Room { room } = &message {
                meeting.tally.sees(&room.recoveries);
                if meeting.state != room.state {
                    meeting.state = room.state.clone();
                    self.moved = self.now;
                }
            }
            said.push((to, message));
        }
        let due = meeting.room.poll_timeout();
        let due = due.filter(|due| meeting.wakes.is_none_or(|wakes| *due < wakes));
        if let Some(due) = due.filter(|_| !meeting.is_over()) {
            meeting.wakes = Some(due);
            self.schedule(due.since(self.now), Happening::RoomTick);
        }
        for (to, message) in said {
            let device = self.devices.iter().position(|it| it.peer == Some(to));
            let of_use = matches!(
                message,
                ServerMessage::PrepareTeam { .. }
                    | ServerMessage::Halt { .. }
                    | ServerMessage::AreYouThere { .. }
                    | ServerMessage::Answers { .. }
            );
            if let (Some(at), true) = (device, of_use) {
                let heard = Happening::FromRoom(at, to, Box::new(message));
                self.schedule(SIGNAL_DELAY, heard);
            }
        }
    }

    /// The room says something to a device.
    pub(super) fn heard(&mut self, at: usize, to: PeerId, message: ServerMessage) {
        if self.devices[at].peer != Some(to) {
            return;
        }
        match message {
            ServerMessage::PrepareTeam { plan } => self.obey(at, to, &plan),
            ServerMessage::Halt { epoch, .. } => {
                self.stand_up(at);
                self.devices[at].halted = Some(epoch);
                self.tell_holding(at);
            }
            ServerMessage::AreYouThere { epoch } => self.say(at, ClientMessage::Here { epoch }),
            ServerMessage::Answers { epoch, peer } => {
                let seat = self.devices[at].seat.as_ref();
                let seat = seat.filter(|seat| seat.epoch == epoch);
                let member = |seat: &super::Seat| {
                    let place = seat.peers.iter().position(|other| *other == peer);
                    place.map(index)
                };
                if let Some(peer) = seat.and_then(member) {
                    self.input(at, Input::Vouched { peer });
                }
            }
            _ => {}
        }
    }

    /// Says what a device holds, where it was asked and its part has ended.
    pub(super) fn tell_holding(&mut self, at: usize) {
        let device = &mut self.devices[at];
        if device.seat.is_none()
            && let Some(epoch) = device.halted.take()
        {
            let holding = device.held.told();
            self.say(at, ClientMessage::Holdings { epoch, holding });
        }
    }

    /// A plan: whoever has a part in it has answered before, so that no task is under way.
    fn obey(&mut self, at: usize, me: PeerId, plan: &TeamPlan) {
        self.stand_up(at);
        let (Some(me), Some(meeting)) = (plan.member_of(me), &self.meeting) else {
            return;
        };
        let common = &meeting.job;
        let parameters = self.scenario.outline.layers.iter();
        let parameters: Vec<u64> = parameters.map(|layer| layer.parameters).collect();
        let layout = plan.layout(&parameters, self.scenario.outline.micro_batches);
        let layout = match layout {
            Ok(layout) => layout,
            Err(error) => {
                self.aborted.get_or_insert(error.to_string());
                return;
            }
        };
        let job = Arc::new(crate::team::job_of(self.scenario, layout, common.staleness));
        let device = |peer: &PeerId| {
            let found = self.devices.iter().position(|it| it.peer == Some(*peer));
            // One that is gone by now is nobody.
            found.unwrap_or(self.devices.len())
        };
        let order: Arc<[usize]> = plan.order.iter().map(device).collect();
        let seat = TeamSeat {
            job: &job,
            me,
            start: plan.start,
        };
        self.job = job.clone();
        self.order = order.clone();
        self.sit(at, seat, &order, (plan.epoch, &plan.order));
    }

    /// What a member of the room has to say to it.
    pub(super) fn tell(&mut self, at: usize, epoch: Epoch, event: Event) {
        let peer_of = |member: MemberIndex| {
            let seat = self.devices[at].seat.as_ref()?;
            seat.peers.get(usize::from(member.0)).copied()
        };
        let message = match event {
            Event::Begun => ClientMessage::Ready {
                epoch,
                links: Vec::new(),
            },
            Event::Finished => ClientMessage::Done {
                epoch,
                digests: Vec::new(),
                links: Vec::new(),
            },
            Event::Stable(version) => ClientMessage::Stable {
                epoch,
                version: Version(version.0),
                every: 1,
                at_rest: false,
            },
            Event::Suspect { peer } => match peer_of(peer) {
                Some(peer) => ClientMessage::Suspect { epoch, peer },
                None => return,
            },
            Event::LinkLost { peer, reason } => match peer_of(peer) {
                Some(peer) => ClientMessage::LinkLost {
                    epoch,
                    peer,
                    reason,
                },
                None => return,
            },
            Event::Aborted { culprit, reason } => ClientMessage::Failed {
                epoch,
                reason,
                culprit: culprit.and_then(peer_of),
            },
            Event::Score(_) | Event::Refused { .. } => return,
        };
        self.say(at, message);
    }

    /// Until when whoever something happens to does nothing.
    pub(super) fn frozen_until(&self, what: &Happening<C::Numbers>) -> Option<Time> {
        let at = match what {
            Happening::LinkUp(at, ..)
            | Happening::Done(at, _)
            | Happening::Wake(at)
            | Happening::FromRoom(at, ..) => *at,
            Happening::Arrives(parcel) => parcel.to,
            Happening::Left(..)
            | Happening::Reaches(_)
            | Happening::ToRoom(..)
            | Happening::RoomTick
            | Happening::SocketLost(_)
            | Happening::Fault(_)
            | Happening::Returns(_) => return None,
        };
        self.devices[at].frozen.filter(|until| self.now < *until)
    }

    pub(super) fn goes_wrong(&mut self, what: FaultKind) {
        match what {
            FaultKind::Crash {
                device,
                returns_after,
                noticed,
            } => {
                if self.devices[device].peer.is_none() {
                    // It is dead already, and comes back when it would have.
                    return;
                }
                let notice = match noticed {
                    true => Duration::ZERO,
                    false => SERVER_SILENCE,
                };
                self.dies(device, notice);
                if let Some(after) = returns_after {
                    let after = Duration::from_secs_f64(after);
                    self.schedule(after, Happening::Returns(device));
                }
            }
            FaultKind::Pause { device, seconds } => {
                let until = self.now + Duration::from_secs_f64(seconds);
                let frozen = &mut self.devices[device].frozen;
                *frozen = Some(frozen.map_or(until, |frozen| frozen.max(until)));
            }
            // Refused before.
            _ => {}
        }
    }

    fn dies(&mut self, at: usize, notice: Duration) {
        let device = &mut self.devices[at];
        let Some(peer) = device.peer.take() else {
            return;
        };
        device.deaths += 1;
        device.seat = None;
        device.held = super::seat::Held::default();
        device.payloads.clear();
        (device.running, device.idle_since, device.halted) = (None, None, None);
        device.control.clear();
        device.tensors.clear();
        (device.is_sending, device.receives_from) = (false, self.now);
        self.schedule(notice, Happening::SocketLost(peer));
    }
}

//! Who is in a room, how they come and how they go.

use super::Room;
use super::disks::Disk;
use super::planning::Told;
use crate::ids::{MemberToken, PeerId};
use crate::partition::layers_in_words;
use crate::profile::LinkProfile;
use crate::signal::{Device, LinkTraffic, Role, RoomState, ServerMessage};
use crate::time::Time;
use crate::trace::Report;
use std::collections::BTreeSet;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) peer: PeerId,
    pub(super) token: MemberToken,
    pub(super) role: Role,
    pub(super) device: Device,
    pub(super) has_data: bool,
    pub(super) links: Vec<LinkTraffic>,
    pub(super) report: Option<Box<Report>>,
    pub(super) told: Told,
    /// By what factor its tasks take longer than it measured.
    pub(super) slower: f64,
    /// The link to its successor, measured when it got ready.
    pub(super) probed: Vec<LinkProfile>,
    /// Why this run does without it.
    pub(super) cut_out: Option<String>,
    /// It did not answer when it was asked last, and has said nothing since.
    pub(super) silent: bool,
    /// Since when it has no socket.
    pub(super) away: Option<Time>,
    /// Neighbours that hear nothing of it, and for whom it was asked: two at most.
    pub(super) suspected_by: BTreeSet<PeerId>,
    /// What it keeps of the run.
    pub(super) disk: Disk,
    /// It goes as soon as others have its layers.
    pub(super) leaving: bool,
    /// It has shown at the door that it knows the room's secret, or there is none.
    pub(super) trusted: bool,
}

impl Member {
    /// Whether it is asked what it holds, when the ring is put together anew.
    pub(super) fn is_asked(&self) -> bool {
        self.role != Role::Spectator && self.cut_out.is_none() && !self.silent
    }
}

impl Room {
    /// How many members there are.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Whether this peer is a member.
    pub fn has(&self, peer: PeerId) -> bool {
        self.members.iter().any(|member| member.peer == peer)
    }

    /// Lets a peer in. Whether there is place for it is the lobby's decision.
    pub fn join(
        &mut self,
        now: Time,
        peer: PeerId,
        token: MemberToken,
        role: Role,
        device: Device,
        has_data: bool,
    ) {
        self.admit(peer, token, role, device, has_data);
        if self.are_enough() {
            self.start(now);
        } else {
            self.grow_if_worth_it();
            self.grow_team(now);
            if !self.is_ring() {
                // In a ring whoever comes says first what it keeps.
                self.resume_if_lacking(now);
            }
            self.show_except(Some(peer));
        }
    }

    /// Whether the run starts by itself with those who are there.
    fn are_enough(&self) -> bool {
        let wanted = usize::from(self.run.outline.start_at_peers);
        self.state == RoomState::Waiting && wanted > 0 && self.participants().count() >= wanted
    }

    pub(super) fn start_if_enough(&mut self, now: Time) {
        if self.are_enough() {
            self.start(now);
        } else {
            self.show();
        }
    }

    pub(super) fn admit(
        &mut self,
        peer: PeerId,
        token: MemberToken,
        role: Role,
        device: Device,
        has_data: bool,
    ) {
        self.members.push(Member {
            peer,
            token,
            role,
            device: device.clipped(),
            has_data,
            links: Vec::new(),
            report: None,
            told: Told::default(),
            slower: 1.0,
            probed: Vec::new(),
            cut_out: None,
            silent: false,
            away: None,
            leaving: false,
            // Nobody else is let in as anything but a spectator.
            trusted: role != Role::Spectator || self.run.verifier.is_none(),
            suspected_by: BTreeSet::new(),
            disk: Disk::default(),
        });
        self.welcome(peer);
        if role != Role::Spectator {
            self.recovering.came(peer);
        }
    }

    pub(super) fn welcome(&mut self, peer: PeerId) {
        let Some(token) = self.token_of(peer) else {
            return;
        };
        let welcome = ServerMessage::Welcome {
            peer,
            token,
            run: Box::new(self.run.clone()),
            room: Box::new(self.view()),
            points: self.curve.points(),
        };
        self.output.push_back((peer, welcome));
    }

    /// A member is gone, on purpose or not.
    pub fn leave(&mut self, now: Time, peer: PeerId) {
        let how = match self.is_ring() {
            true => "left the ring",
            false => "left",
        };
        self.gone(now, peer, how);
    }

    /// A member is gone, and in which way, as the others are told.
    pub(super) fn gone(&mut self, now: Time, peer: PeerId, how: &str) {
        let Some(index) = self.members.iter().position(|member| member.peer == peer) else {
            return;
        };
        let member = self.members.remove(index);
        let held = self.ring().and_then(|plan| plan.layers_of(peer));
        self.disks.is_gone(member.device.name.clone(), member.disk);
        self.look_at_disks();
        let is_of_team = self.team().is_some_and(|plan| plan.order.contains(&peer));
        match held {
            None if is_of_team && self.running() && !self.done.contains_key(&peer) => {
                let name = member.device.name;
                self.lost(
                    now,
                    format!("{name} {how}, and with it its part of the run"),
                );
            }
            Some(layers) if self.running() && self.is_needed(peer) => {
                let layers = usize::from(layers.start.0)..usize::from(layers.end.0);
                let layers = layers_in_words(&layers);
                let name = member.device.name;
                self.lost(now, format!("{name} {how}, and with it {layers}"));
            }
            _ => {
                self.start_if_measured(now);
                self.resume_if_all_answered(now);
                self.show();
            }
        }
        self.attend_to_leavers(now);
    }

    pub(super) fn pledge(&mut self, now: Time, from: PeerId, memory_bytes: Option<u64>) {
        if let Some(member) = self.members.iter_mut().find(|member| member.peer == from) {
            member.device.memory_bytes = memory_bytes;
            self.resume_if_lacking(now);
            self.show();
        }
    }

    /// Members that a plan may give layers to.
    pub(super) fn participants(&self) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(|member| member.is_asked() && member.away.is_none())
    }

    pub(super) fn name(&self, peer: PeerId) -> String {
        let mut members = self.members.iter();
        let member = members.find(|member| member.peer == peer);
        member.map_or_else(|| peer.to_string(), |member| member.device.name.clone())
    }
}

impl Device {
    pub(crate) fn clipped(mut self) -> Self {
        for text in [&mut self.name, &mut self.adapter] {
            *text = Self::clipped_text(text);
        }
        self
    }
}

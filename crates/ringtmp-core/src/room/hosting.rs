//! Who opened the room, and what only that member may do.
//!
//! The host is the member that came in over the connection over which the room was created, or that shows the token it was then
//! told: so it is the host again after a reload. While it is here, it alone starts, pauses, resumes and stops the run. While it is
//! not, everybody may, so that a run can be ended whose host is gone; but nobody is sent away. A server that was restarted knows of no
//! host.

use super::Room;
use super::members::Member;
use crate::ids::{MemberToken, PeerId};
use crate::signal::{ClientMessage, Device, Refusal, ServerMessage};
use crate::time::Time;

/// Who opened the room.
#[derive(Debug, Default)]
pub(super) struct Host {
    token: Option<MemberToken>,
    peer: Option<PeerId>,
}

impl Host {
    /// Which of the members it is.
    pub(super) fn here(&self, members: &[Member]) -> Option<PeerId> {
        let is_here = |peer: &PeerId| members.iter().any(|member| member.peer == *peer);
        self.peer.filter(is_here)
    }
}

impl Room {
    /// Whoever shows this token is the host.
    pub fn belongs_to(&mut self, token: MemberToken) {
        self.host.token = Some(token);
    }

    /// This member has opened the room, or has shown the token.
    pub fn is_host(&mut self, peer: PeerId) {
        let Some(token) = self.host.token.filter(|_| self.has(peer)) else {
            return;
        };
        self.host.peer = Some(peer);
        self.output.push_back((peer, ServerMessage::Host { token }));
        self.show();
    }

    /// Whether a member may say this.
    pub(super) fn check_host(&self, from: PeerId, message: &ClientMessage) -> Result<(), Refusal> {
        let host = self.host.here(&self.members);
        let only_host = || match host {
            Some(host) => Refusal::OnlyHost {
                host: self.name(host),
            },
            None => Refusal::NoHost,
        };
        let allowed = match message {
            ClientMessage::Start
            | ClientMessage::Pause
            | ClientMessage::Resume
            | ClientMessage::Stop => host.is_none_or(|host| host == from),
            ClientMessage::Kick { .. } => host == Some(from),
            ClientMessage::Rename { peer, .. } => *peer == from || host == Some(from),
            ClientMessage::Claim { token } => self.host.token == Some(*token),
            _ => true,
        };
        allowed.then_some(()).ok_or_else(only_host)
    }

    /// The host sends a member away, who is told; not itself.
    pub(super) fn kick(&mut self, now: Time, host: PeerId, peer: PeerId) {
        if peer == host || !self.has(peer) {
            return;
        }
        let by = self.name(host);
        self.output.push_back((peer, ServerMessage::Kicked { by }));
        self.gone(now, peer, "was sent away by the host");
    }

    pub(super) fn rename(&mut self, peer: PeerId, name: &str) {
        let name = Device::clipped_text(name.trim());
        let member = self.members.iter_mut().find(|member| member.peer == peer);
        if let (Some(member), false) = (member, name.is_empty()) {
            member.device.name = name;
            self.show();
        }
    }
}

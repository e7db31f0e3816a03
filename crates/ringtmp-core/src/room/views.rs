//! What members see of their room.

use super::{Member, Room};
use crate::signal::{MemberStatus, MemberView, Role, RoomState, RoomView};

impl Room {
    /// The room as members see it.
    pub fn view(&self) -> RoomView {
        RoomView {
            code: self.code,
            state: self.state.clone(),
            members: self
                .members
                .iter()
                .map(|member| self.member_view(member))
                .collect(),
            host: self.host.here(&self.members),
            plan: self.plan.clone(),
            result: self.result.clone(),
            recoveries: self.recovering.told(),
            stable: self.recovering.stable,
            kept: self.disks.whole,
            replicated_every: self.recovering.every,
        }
    }

    fn member_view(&self, member: &Member) -> MemberView {
        MemberView {
            peer: member.peer,
            role: member.role,
            device: member.device.clone(),
            status: self.status(member),
            links: member.links.clone(),
            report: member.report.clone(),
            profile: member.told.view(),
            cut_out: member.cut_out.clone(),
        }
    }

    fn status(&self, member: &Member) -> MemberStatus {
        if member.role == Role::Spectator {
            return MemberStatus::Watching;
        }
        if member.cut_out.is_some() {
            return MemberStatus::CutOut;
        }
        if member.away.is_some() {
            return MemberStatus::Away;
        }
        if member.leaving {
            return MemberStatus::Leaving;
        }
        if self.profiles_due.is_some() && self.unmeasured().any(|other| other.peer == member.peer) {
            return MemberStatus::Measuring;
        }
        let Some(plan) = &self.plan else {
            return MemberStatus::Waiting;
        };
        match (&self.state, plan.order().contains(&member.peer)) {
            (RoomState::Waiting | RoomState::Lacking { .. } | RoomState::Stopped { .. }, _) => {
                MemberStatus::Waiting
            }
            (
                RoomState::WarmingUp
                | RoomState::Training
                | RoomState::Paused
                | RoomState::Reconfiguring { .. }
                | RoomState::Finished,
                false,
            ) => MemberStatus::Spare,
            (RoomState::WarmingUp | RoomState::Reconfiguring { .. }, true)
                if self.ready.contains(&member.peer) =>
            {
                MemberStatus::Ready
            }
            (RoomState::WarmingUp | RoomState::Reconfiguring { .. }, true) => {
                MemberStatus::Preparing
            }
            (_, true) if self.done.contains_key(&member.peer) => MemberStatus::Done,
            (RoomState::Training | RoomState::Paused, true) => MemberStatus::Training,
            // Who has only kept copies does not say so.
            (RoomState::Finished, true) => MemberStatus::Done,
        }
    }
}

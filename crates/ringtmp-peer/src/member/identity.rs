//! Who a room's member is, and how far: what it says to a server that does not know.

use crate::shell::Comes;
use ringtmp_core::ids::{MemberToken, PeerId, RoomCode, Version};
use ringtmp_core::parameter_server::{TeamPlan, TeamStart};
use ringtmp_core::signal::{
    Device, PROTOCOL_VERSION, Phase, Point, Returning, Role, RoomPlan, RoomState, RunDescriptor,
    ServerMessage, Standing, Unsure,
};

/// Whom the room has welcomed.
pub(crate) struct Identity {
    pub(crate) me: PeerId,
    token: MemberToken,
    room: RoomCode,
    run: RunDescriptor,
    /// The room's, as it was last heard of.
    pub(super) state: RoomState,
    /// The newest plan that it obeyed, whether or not it has a part in it.
    pub(super) plan: Option<RoomPlan>,
    pub(super) phase: Phase,
    /// The newest version that it knows to lie twice: at the collector.
    pub(super) stable: Option<Version>,
    /// What is repeated over the next socket.
    pub(super) unsure: Unsure,
}

impl Identity {
    /// None if it is no welcome.
    pub(crate) fn of(welcome: &ServerMessage) -> Option<Self> {
        let ServerMessage::Welcome {
            peer,
            token,
            run,
            room,
            ..
        } = welcome
        else {
            return None;
        };
        Some(Self {
            me: *peer,
            token: *token,
            room: room.code,
            run: RunDescriptor::clone(run),
            state: room.state.clone(),
            plan: None,
            phase: Phase::Idle,
            stable: None,
            unsure: Unsure::default(),
        })
    }

    /// A server that has forgotten who watched welcomes it as somebody else.
    pub(super) fn welcomed(&mut self, peer: PeerId, token: MemberToken) {
        (self.me, self.token) = (peer, token);
    }

    /// Whether a plan is newer than all that it has obeyed.
    pub(super) fn is_new(&self, plan: &TeamPlan) -> bool {
        let obeyed = self.plan.as_ref().map(RoomPlan::epoch);
        obeyed.is_none_or(|obeyed| plan.epoch > obeyed)
    }

    /// A plan is in force, and what was said under the last means nothing any more.
    pub(super) fn obeys(&mut self, plan: &TeamPlan) {
        self.unsure.forget();
        self.stable = match plan.start {
            TeamStart::Beginning => None,
            TeamStart::Held { .. } => self.stable,
            TeamStart::Copies { version } => self.stable.min(Some(Version(version.0))),
        };
        self.plan = Some(RoomPlan::Team(plan.clone()));
        self.phase = match plan.member_of(self.me) {
            Some(_) => Phase::Preparing,
            None => Phase::Idle,
        };
    }

    /// Its part is over.
    pub(super) fn lets_go(&mut self) {
        self.unsure.forget();
        self.phase = Phase::Idle;
    }
}

impl Comes for Identity {
    fn takes_part(&self) -> bool {
        self.phase != Phase::Idle
    }

    fn returning(&self, device: Device, has_data: bool, points: Vec<Point>) -> Option<Returning> {
        Some(Returning {
            protocol: PROTOCOL_VERSION,
            room: self.room,
            peer: self.me,
            token: self.token,
            proof: None,
            role: Role::Participant,
            device,
            has_data,
            run: self.run.clone(),
            standing: Standing {
                state: self.state.clone(),
                plan: self.plan.clone(),
                phase: self.phase,
                stable: self.stable,
                points,
            },
        })
    }
}

//! The part of a node that outlives the server: what it repeats to one that may not have heard it, and what it tells one that
//! knows of nothing.

use super::{Node, Output};
use crate::signal::{
    ClientMessage, Device, PROTOCOL_VERSION, Phase, Point, Returning, Role, RoomPlan, Standing,
};

impl Node {
    /// What to say over a new socket, to be a member again; none before the first welcome.
    pub fn returning(
        &self,
        device: Device,
        has_data: bool,
        points: Vec<Point>,
    ) -> Option<Returning> {
        let identity = self.identity.as_ref()?;
        let phase = match &self.active {
            None => Phase::Idle,
            Some(active) if active.training.has_begun() => Phase::Training,
            Some(_) => Phase::Preparing,
        };
        let stable = self.active.as_ref().map(|active| active.keeping.stable);
        Some(Returning {
            protocol: PROTOCOL_VERSION,
            room: identity.room,
            peer: identity.me,
            token: identity.token,
            proof: None,
            role: Role::Participant,
            device,
            has_data,
            run: identity.run.clone(),
            standing: Standing {
                state: self.state.clone(),
                plan: self.obeyed.clone().map(RoomPlan::Ring),
                phase,
                stable: stable.filter(|stable| stable.0 > 0),
                points,
            },
        })
    }

    /// Tells the room what it must not miss: it is repeated over the next socket if this one breaks.
    pub(super) fn tell(&mut self, message: ClientMessage) {
        self.unsure.told(message.clone());
        self.output.push_back(Output::ToRoom(message));
    }

    /// Another plan, or none, is in force: what was said under the last means nothing any more.
    pub(super) fn forget_told(&mut self) {
        self.unsure.forget();
    }

    /// A server that has welcomed this peer again may not know it.
    pub(super) fn repeat(&mut self) {
        let told = self.unsure.repeated().cloned();
        self.output.extend(told.map(Output::ToRoom));
    }
}

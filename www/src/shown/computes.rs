//! What a device has of the model, and so can tell of it.

use ringtmp_core::signal::RoomPlan;
use ringtmp_peer::View;

/// What a device computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Computes {
    /// It has no part in the plan, or only keeps parameters for others.
    Nothing,
    /// Some layers: what is asked goes round the ring.
    Stage,
    /// All layers: it can be asked alone.
    Whole,
}

/// What this device computes with.
pub fn computes(view: &View) -> Computes {
    let plan = view.room.as_ref().and_then(|room| room.plan.as_ref());
    match (plan, view.me) {
        (Some(RoomPlan::Ring(plan)), Some(me)) if plan.stage_of(me).is_some() => Computes::Stage,
        (Some(RoomPlan::Team(plan)), Some(me)) if plan.share_of(me).is_some() => Computes::Whole,
        _ => Computes::Nothing,
    }
}

//! What each device holds, in words.

use super::team;
use crate::{format, words};
use ringtmp_core::plan::SpareReason;
use ringtmp_core::signal::{MemberStatus, MemberView, Role, RoomView};
use ringtmp_peer::View;

/// The layers of a member: as a range, and in words.
pub(super) fn held_layers(view: &View, room: &RoomView, member: &MemberView) -> (String, String) {
    if let Some(part) = room.team().and_then(|plan| team::part(plan, member.peer)) {
        return part;
    }
    let held = room.ring().and_then(|plan| plan.layers_of(member.peer));
    let Some(held) = held else {
        let why = match member.status {
            MemberStatus::Watching => words::LAYERS_WATCHING.now(),
            MemberStatus::Spare => spare(room, member),
            _ if member.role == Role::Spectator => words::LAYERS_WATCHING.now(),
            _ => words::LAYERS_UNPLANNED.now(),
        };
        let of_team = room.team().and_then(|plan| team::spare(plan, member.peer));
        return (of_team.unwrap_or_else(|| why.to_owned()), String::new());
    };
    let range = words::layer_range(u32::from(held.start.0) + 1, u32::from(held.end.0));
    let indices = usize::from(held.start.0)..usize::from(held.end.0);
    let detail = view.run.as_ref().and_then(|run| {
        let layers = run.layers.get(indices.clone())?.join(", ");
        let parameters = format::count(run.parameters.get(indices)?.iter().sum());
        Some(format!("{layers} · {}", words::parameters(&parameters)))
    });
    (range, detail.unwrap_or_default())
}

/// Why a member has no layers.
fn spare(room: &RoomView, member: &MemberView) -> &'static str {
    let spares = room.ring().into_iter().flat_map(|plan| &plan.spares);
    let reason = spares
        .filter(|spare| spare.peer == member.peer)
        .map(|spare| spare.reason)
        .next();
    match reason {
        Some(SpareReason::TooFewLayers) => words::LAYERS_TOO_FEW.now(),
        Some(SpareReason::TooLittleMemory) => words::LAYERS_TOO_LARGE.now(),
        Some(SpareReason::FasterWithout) => words::LAYERS_FASTER_WITHOUT.now(),
        // It joined after the plan was made.
        None => words::LAYERS_UNPLANNED.now(),
    }
}

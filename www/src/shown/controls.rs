//! Which buttons do something.

use super::{Phase, may_take_part, participants};
use ringtmp_core::plan::Plan;
use ringtmp_core::signal::MemberStatus;
use ringtmp_peer::View;

/// Which buttons do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controls {
    /// Start with the members there are.
    pub start: bool,
    /// Start anew after an end.
    pub start_again: bool,
    /// Begin from the first step, though layers may come back.
    pub begin_anew: bool,
    /// Begin no new step.
    pub pause: bool,
    /// Go on.
    pub resume: bool,
    /// End the run.
    pub stop: bool,
    /// Leave the room.
    pub leave: bool,
    /// Leave it once others have this device's layers.
    pub hand_on: bool,
    /// Leave it without waiting for that any longer.
    pub leave_now: bool,
    /// Save the layers that this device has trained.
    pub save: bool,
    /// Load the page again.
    pub again: bool,
    /// Open another room.
    pub another: bool,
}

impl Phase {
    /// Which buttons do something.
    pub fn controls(self, view: Option<&View>) -> Controls {
        let participants = view
            .and_then(|view| view.room.as_ref())
            .map_or(0, participants);
        let governs = view.is_some_and(governs) && may_take_part(view);
        let is_here = !matches!(self, Self::Refused | Self::Broken | Self::Left);
        let is_on = matches!(self, Self::Training | Self::Paused | Self::Reconfiguring);
        let hands_on = is_on && view.is_some_and(has_neighbours);
        let leaves = is_on && own_status(view) == Some(MemberStatus::Leaving);
        Controls {
            start: governs && self == Self::Waiting && participants > 0,
            start_again: governs
                && matches!(self, Self::Finished | Self::Stopped)
                && participants > 0,
            begin_anew: governs && self == Self::Lacking && participants > 0,
            pause: governs && self == Self::Training,
            resume: governs && self == Self::Paused,
            stop: governs
                && matches!(
                    self,
                    Self::WarmingUp
                        | Self::Training
                        | Self::Paused
                        | Self::Reconfiguring
                        | Self::Lacking
                ),
            leave: is_here && !hands_on && !leaves,
            hand_on: hands_on && !leaves,
            leave_now: is_here && leaves,
            save: self == Self::Finished && view.and_then(layers_file).is_some(),
            again: matches!(self, Self::Refused | Self::Broken | Self::Left),
            another: matches!(
                self,
                Self::Finished | Self::Stopped | Self::Refused | Self::Broken | Self::Left
            ),
        }
    }
}

/// What the file is called that has the layers of this device; none where it holds none.
pub fn layers_file(view: &View) -> Option<String> {
    let plan = view.room.as_ref()?.ring()?;
    let held = plan.layers_of(view.me?)?;
    let (first, last, all) = (held.start.0 + 1, held.end.0, plan.cuts.last()?);
    let name = model_name(view);
    Some(match first == 1 && last == *all {
        true => format!("{name}.safetensors"),
        false => format!("{name}-layers-{first}-to-{last}-of-{all}.safetensors"),
    })
}

/// What files of a run's model are called after.
pub fn model_name(view: &View) -> &str {
    let name = view.run.as_ref().map_or("", |run| &run.name);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return "model";
    }
    name
}

/// Whether this device may start, pause and stop the run: as the host, or because there is none.
pub fn governs(view: &View) -> bool {
    let host = view.room.as_ref().and_then(|room| room.host);
    host.is_none_or(|host| Some(host) == view.me)
}

/// What this device does.
pub(super) fn own_status(view: Option<&View>) -> Option<MemberStatus> {
    let view = view?;
    let mut members = view.room.as_ref()?.members.iter();
    let own = members.find(|member| Some(member.peer) == view.me)?;
    Some(own.status)
}

/// Whether this device holds layers that another could take over.
fn has_neighbours(view: &View) -> bool {
    let plan = view.room.as_ref().and_then(|room| room.ring());
    let holds = |plan: &Plan| view.me.is_some_and(|me| plan.stage_of(me).is_some());
    plan.is_some_and(|plan| plan.stages() > 1 && holds(plan))
}

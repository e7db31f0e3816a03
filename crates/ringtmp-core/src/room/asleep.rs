//! Members that nobody hears any more. A phone that is locked comes back with what its memory holds, so where no disk has what
//! is missing it is waited for, as for a device that has it on its disk: until it is back, or somebody begins anew.

use super::Room;
use super::disks::missing_in_words;
use super::recovery::Holders;
use crate::ids::{LayerIndex, PeerId};
use crate::plan::Plan;
use crate::signal::Role;
use crate::time::Time;
use std::collections::BTreeSet;

impl Room {
    /// Nobody hears this member any more; it has not said that it leaves.
    pub(super) fn lose_sight(&mut self, now: Time, peer: PeerId) {
        if self
            .ring()
            .is_some_and(|plan| plan.stage_of(peer).is_some())
        {
            let name = self.name(peer);
            self.recovering.asleep.insert(peer, name);
        }
        self.leave(now, peer);
    }

    /// Whose memory the stable version is whole with, of those that may sleep, in words; none where it would not be.
    pub(super) fn lies_asleep(&self, memory: &Holders) -> Option<String> {
        let version = self.recovering.stable.filter(|version| version.0 > 0)?;
        let worked = self.recovering.worked.as_ref()?;
        let here = memory.get(&version);
        let is_here = |layer: &LayerIndex| here.is_some_and(|here| here.contains_key(layer));
        let missing: Vec<LayerIndex> = self.learning().filter(|layer| !is_here(layer)).collect();
        let asleep = self.asleep();
        let with = |layer: LayerIndex| {
            let asleep = asleep.iter();
            asleep.filter(move |(peer, _)| has_copy(worked, *peer, layer))
        };
        let found = missing.iter().all(|layer| with(*layer).next().is_some());
        let names: BTreeSet<&str> = missing
            .iter()
            .flat_map(|layer| with(*layer))
            .map(|(_, name)| *name)
            .collect();
        let names: Vec<&str> = names.into_iter().collect();
        (found && !names.is_empty()).then(|| {
            let missing = missing_in_words(&missing, version, &names);
            format!("{missing} (its memory alone has what is missing, so it must not be closed)")
        })
    }

    /// Those that are gone without a word since the ring last worked, and those that do not answer.
    fn asleep(&self) -> Vec<(PeerId, &str)> {
        let gone = self.recovering.asleep.iter();
        let gone = gone.map(|(peer, name)| (*peer, name.as_str()));
        let members = self.members.iter().filter(|member| {
            let silent = member.silent || member.away.is_some();
            silent && member.cut_out.is_none() && member.role == Role::Participant
        });
        let members = members.map(|member| (member.peer, member.device.name.as_str()));
        gone.chain(members).collect()
    }
}

/// Whether a stable version of this layer lies with this stage: with its own, or with the copies of its predecessor.
fn has_copy(worked: &Plan, peer: PeerId, layer: LayerIndex) -> bool {
    let Some(stage) = worked.stage_of(peer) else {
        return false;
    };
    let before = worked.stage_of(worked.predecessor(stage));
    let mut stages = [Some(stage), before].into_iter().flatten();
    stages.any(|stage| worked.layers(stage).contains(&layer))
}

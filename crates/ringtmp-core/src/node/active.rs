//! A plan at work, and the links of its stage.

use super::Assignment;
use super::keeping::Keeping;
use super::probe::Probing;
use super::training::Training;
use crate::beats::Beats;
use crate::ids::{PeerId, StageIndex};
use crate::plan::Plan;
use crate::time::Time;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkProgress {
    pub(super) up: bool,
    /// The other end has greeted us: it is there, and hears us.
    pub(super) greeted: bool,
    /// It was given up: what still comes over it is no longer listened to.
    pub(super) lost: bool,
    /// When to greet again.
    pub(super) hello_due: Option<Time>,
    /// The probe that it waits for an echo of, until this end is built.
    pub(super) echo_owed: Option<u8>,
    /// The last probe that came over it, and when.
    pub(super) probed: Option<(u8, Time)>,
}

/// A plan at work.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) plan: Plan,
    pub(super) stage: StageIndex,
    /// The stage, to be built once its layers are here.
    pub(super) assignment: Assignment,
    pub(super) links: BTreeMap<PeerId, LinkProgress>,
    pub(super) keeping: Keeping,
    /// From the commit on, where losses are recovered from.
    pub(super) beats: Option<Beats<PeerId>>,
    pub(super) built: bool,
    pub(super) said_ready: bool,
    /// Of the link to the successor, if it is to be measured.
    pub(super) probing: Option<Probing>,
    pub(super) training: Training,
}

impl Active {
    /// Who holds this stage.
    pub(super) fn me(&self) -> PeerId {
        self.plan.order[usize::from(self.stage.0)]
    }

    pub(super) fn neighbours(plan: &Plan, stage: StageIndex) -> BTreeMap<PeerId, LinkProgress> {
        let me = plan.order[usize::from(stage.0)];
        let both = [plan.predecessor(stage), plan.successor(stage)];
        both.into_iter()
            .filter(|peer| *peer != me)
            .map(|peer| (peer, LinkProgress::default()))
            .collect()
    }

    /// When something is due without an input.
    pub(super) fn due(&self) -> Option<Time> {
        let hellos = self.links.values().map(|link| link.hello_due);
        let probe = self.probing.filter(|_| self.can_probe());
        let probe = probe.and_then(|probing| probing.due());
        let beat = self.beats.as_ref().and_then(Beats::due);
        let others = [probe, self.training.points_due(), beat];
        hellos.chain(others).flatten().min()
    }

    pub(super) fn is_prepared(&self) -> bool {
        let linked = self.links.values().all(|link| link.up && link.greeted);
        self.built && linked && !self.is_probing()
    }
}

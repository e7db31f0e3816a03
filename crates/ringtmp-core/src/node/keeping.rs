//! Keeping every stage twice: the part of a node that copies its stage to its successor, its **buddy**, and that gets or gives
//! layers when the ring is put together anew.
//!
//! ```text
//! head      Mark v        ──▶ every stage, before the activations of the step that ends in version v
//! stage     v reached      :  snapshot; pieces to the successor, which acknowledges them
//! stage     all are there, and Secured v from the predecessor  ──▶ Secured v to the successor
//! tail      Secured v     ──▶ head, over the closing link
//! head      Stable v      ──▶ every stage forgets what is older, and the room is told
//! ```
//!
//! One version at a time: the head marks the next once the last is stable. So a peer holds at most two versions of its own
//! stage and of its predecessor's, and no copy of the stable version is forgotten before another version is stable. A plan that
//! goes on from copies begins with a round of its own first version. What is on its way to a third disk ([`super::thirds`]), or to who collects
//! the model ([`super::collecting`]), is held besides.

use super::Active;
use super::collecting::Collecting;
use super::owed::Owed;
use super::thirds::Thirds;
use crate::ids::{LayerIndex, PayloadId, StageIndex, Version};
use crate::plan::Plan;
use crate::replica::{Receiving, Sending};
use crate::signal::{Replication, RunOutline};
use crate::time::Time;
use crate::wire::Body;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The share of training's time that copying may take, where nobody says how often to copy: less than the twentieth that is promised, since
/// devices that share a processor all pay for it.
const COST_SHARE: f64 = 0.03;

/// What a byte is reckoned to cost sender and receiver together, in seconds of computing: native links take 9.5 s for a gigabyte
/// (docs/performance.md), and about as much again is allowed for reading, writing and keeping it.
pub(super) const COPY_SECONDS_PER_BYTE: f64 = 20e-9;

/// The share of the time that a copy is on its way by which it slows training: tensors wait behind its pieces, on a slow link for
/// as long as these take, and on a quick one the whole copy is no matter.
pub(super) const COPY_SHARE: f64 = 0.25;

/// The most updates between two versions that are kept: what a loss costs stays within what people wait for.
const EVERY_MAX: u16 = 64;

/// How quickly the mean time of a step follows: about the last eight count.
const STEP_WEIGHT: f64 = 0.125;

/// One version being copied by all stages.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) version: Version,
    pub(super) rest: bool,
    /// The own copies are there.
    pub(super) copied: bool,
    /// Since when they are on their way.
    pub(super) sent: Option<Time>,
    /// What the predecessor, and all before it, say it cost, and whether one of their disks is busy; known once they are done.
    pub(super) before: Option<(u32, bool)>,
    pub(super) cost_micros: u32,
    /// The successor was told.
    pub(super) secured: bool,
}

/// When the head has the next version copied.
#[derive(Debug)]
pub(super) struct Cadence {
    replication: Replication,
    pub(super) every: u16,
    /// Not before so many updates.
    pub(super) next: Version,
    last_update: Option<Time>,
    step_seconds: Option<f64>,
}

impl Cadence {
    fn new(replication: Replication, start: Version) -> Self {
        let every = match replication {
            Replication::Every(every) => every.max(1),
            Replication::Off | Replication::Auto => 1,
        };
        Self {
            replication,
            every,
            next: Version(start.0.saturating_add(u32::from(every))),
            last_update: None,
            step_seconds: None,
        }
    }

    pub(super) fn updated(&mut self, now: Time) {
        if let Some(last) = self.last_update.replace(now) {
            let took = now.since(last).as_secs_f64();
            let mean = self.step_seconds.get_or_insert(took);
            *mean += STEP_WEIGHT * (took - *mean);
        }
    }

    pub(super) fn stable(&mut self, version: Version, cost_micros: u32) {
        if let (Replication::Auto, Some(step)) = (self.replication, self.step_seconds) {
            let cost = f64::from(cost_micros) * 1e-6;
            // A step of no time at all gives no number, and then the most.
            let every = (cost / (COST_SHARE * step))
                .ceil()
                .min(f64::from(EVERY_MAX));
            self.every = (every as u16).max(1);
        }
        self.next = Version(version.0.saturating_add(u32::from(self.every)));
    }
}

/// What a stage keeps, sends and waits for under one plan.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) is_on: bool,
    pub(super) cadence: Cadence,
    pub(super) round: Option<Round>,
    pub(super) sending: Sending,
    /// Of that, what the successor has yet to acknowledge.
    pub(super) owed: Option<Owed>,
    pub(super) receiving: Receiving,
    pub(super) thirds: Thirds,
    pub(super) collecting: Collecting,
    /// Pieces that move past this stage, until its successor is there: no more than those layers have.
    pub(super) on_their_way: VecDeque<(Body, PayloadId)>,
    /// Of the layers that move past this stage, how much did.
    pub(super) passed: BTreeMap<LayerIndex, u64>,
    /// Layers that are still to come before the stage can be built.
    pub(super) lacking: BTreeSet<LayerIndex>,
    /// Some of them, or layers that others get, come from the disk.
    pub(super) loading: bool,
    /// The newest version that was stable under this plan.
    pub(super) stable: Version,
    /// The room wants the ring to come to rest (at the head).
    pub(super) rest: bool,
}

impl Keeping {
    pub(super) fn new(plan: &Plan, stage: StageIndex, outline: &RunOutline) -> Self {
        let to_here = plan.moves.iter().filter(|a_move| a_move.to == stage);
        Self {
            is_on: outline.replication.is_on(),
            cadence: Cadence::new(outline.replication, plan.start),
            round: None,
            sending: Sending::default(),
            owed: None,
            receiving: Receiving::default(),
            thirds: Thirds::default(),
            collecting: Collecting::default(),
            on_their_way: VecDeque::new(),
            passed: BTreeMap::new(),
            lacking: to_here.map(|a_move| a_move.layer).collect(),
            loading: false,
            stable: plan.start,
            rest: false,
        }
    }

    pub(super) fn lacks_layers(&self) -> bool {
        !self.lacking.is_empty()
    }
}

impl Active {
    pub(super) fn stages(&self) -> usize {
        self.plan.stages()
    }
}

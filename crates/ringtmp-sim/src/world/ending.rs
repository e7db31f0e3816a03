//! What comes of a run, good or bad.

use super::World;
use super::links::CONNECTION_LOST;
use crate::check::Complaint;
use crate::compute::Compute;
use crate::scenario::ScenarioError;
use ringtmp_core::ids::Step;
use ringtmp_core::node::Assignment;
use ringtmp_core::plan::Plan;
use ringtmp_core::signal::{LayerDigest, Recovery, RoomState};
use ringtmp_core::time::Time;
use ringtmp_core::trace::Span;

/// The end of a run whose devices are all gone, so that nobody is told.
const NOBODY_LEFT: &str = "no device is left";

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Who did what when. Peers are numbered as stages, head first.
    pub trace: Vec<Span>,
    /// Digests of the final weights, by layer.
    pub digests: Vec<LayerDigest>,
    /// The plan of the room.
    pub plan: Plan,
    /// The device of each stage, head first.
    pub order: Vec<usize>,
    /// What each stage took at most, and sent.
    pub stages: Vec<StageUse>,
    /// Events that were worked off.
    pub events: u64,
    /// From which steps on micro-batches were dealt to how many sources.
    pub dealt: Vec<(Step, u16)>,
    /// How often the ring was put together anew, and how that went.
    pub recoveries: Vec<Recovery>,
    /// How often a plan went on from what lay on disks.
    pub from_disks: u32,
}

/// What a stage took, and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageUse {
    /// The most slots taken at once.
    pub slots: u16,
    /// The most bytes taken at once.
    pub memory_bytes: u64,
    /// The bytes that its limits allow.
    pub memory_bytes_max: u64,
    /// Bytes sent to both neighbours.
    pub bytes_sent: u64,
}

/// Why a simulation gave no outcome.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimulationError {
    /// The scenario's author asked for something impossible.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The room refused to begin: the devices cannot do it.
    #[error("seed {seed}: {reason}")]
    Refused {
        /// What replays it.
        seed: u64,
        /// The room's words.
        reason: String,
    },
    /// The scenario took something away that the ring cannot do without, and the run stopped as it should.
    #[error("seed {seed}: stopped after {seconds:.3} s: {reason}")]
    Stopped {
        /// What replays it.
        seed: u64,
        /// When the room stopped, since it was opened.
        seconds: f64,
        /// The room's words.
        reason: String,
    },
    /// The run did not reach its end: a fault of the protocol.
    #[error("seed {seed}: the run did not finish, after {events} events: {state}")]
    Unfinished {
        /// What replays it.
        seed: u64,
        /// Events until then.
        events: u64,
        /// The room's state.
        state: String,
    },
    /// The run ended, but a checker found it wrong: a fault of the protocol.
    #[error("seed {seed}: {complaint}")]
    Wrong {
        /// What replays it.
        seed: u64,
        /// What is wrong.
        complaint: Complaint,
    },
}

impl<C: Compute, B: FnMut(Assignment) -> C> World<'_, C, B> {
    pub(super) fn finish(self, events: u64) -> Result<Outcome, SimulationError> {
        let seed = self.scenario.seed;
        let wrong = |complaint| SimulationError::Wrong { seed, complaint };
        if let Some(complaint) = self.watch.complaint() {
            return Err(wrong(complaint.clone()));
        }
        if let (None, RoomState::Stopped { reason }) = (&self.plan, &self.state) {
            let reason = reason.clone();
            return Err(SimulationError::Refused { seed, reason });
        }
        if let RoomState::Lacking { reason } = &self.state {
            let (seconds, reason) = (self.now.since(Time::ZERO).as_secs_f64(), reason.clone());
            let waits = SimulationError::Stopped {
                seed,
                seconds,
                reason,
            };
            let for_layers = reason_is_about_layers(&waits);
            let in_vain = self.waits_in_vain().filter(|_| for_layers);
            return Err(in_vain.map_or(waits, wrong));
        }
        if let Some(stopped) = self.stopped_for_a_reason() {
            return Err(self.left_over().map_or(stopped, wrong));
        }
        if self.state != RoomState::Finished {
            let state = format!("{:?}", self.state);
            return Err(SimulationError::Unfinished {
                seed,
                events,
                state,
            });
        }
        let order = self.plan.iter().flat_map(|(_, order)| order);
        // One that died once it was done has told them all the same.
        let digests = order.clone().filter_map(|device| self.digested.get(device));
        let digests = digests.flatten().cloned().collect();
        let bytes = |i: usize| {
            let links = self.links.range((i, 0)..(i + 1, 0));
            links.map(|(_, link)| link.bytes_sent).sum()
        };
        let sent: Vec<u64> = order.map(|device| bytes(*device)).collect();
        let stages = self.watch.finish(self.payloads(), &sent).map_err(wrong)?;
        let (plan, order) = self.plan.unwrap_or_default();
        let mut trace = self.trace;
        let stage = |device: u32| order.iter().position(|other| *other == device as usize);
        for span in &mut trace {
            span.peer = stage(span.peer).unwrap_or_default() as u32;
            span.details.to = span.details.to.and_then(stage).map(|stage| stage as u32);
        }
        Ok(Outcome {
            plan,
            order,
            trace,
            digests,
            stages,
            events,
            dealt: self.dealt,
            recoveries: self.tally.into_all(),
            from_disks: self.from_disks,
        })
    }

    /// The end of a run that stopped because a connection broke, or after something went wrong.
    fn stopped_for_a_reason(&self) -> Option<SimulationError> {
        if self.peers.iter().all(|peer| peer.connection.is_none()) {
            return Some(SimulationError::Stopped {
                seed: self.scenario.seed,
                seconds: self.now.since(Time::ZERO).as_secs_f64(),
                reason: NOBODY_LEFT.to_owned(),
            });
        }
        let RoomState::Stopped { reason } = &self.state else {
            return None;
        };
        let stopped = self.stopped?.since(Time::ZERO);
        let excused = reason.ends_with(CONNECTION_LOST) || !self.scenario.faults.is_empty();
        excused.then(|| SimulationError::Stopped {
            seed: self.scenario.seed,
            seconds: stopped.as_secs_f64(),
            reason: reason.clone(),
        })
    }

    /// Who goes on with a run that was stopped, or what nobody took away.
    fn left_over(&self) -> Option<Complaint> {
        let goes_on = self
            .peers
            .iter()
            .position(|peer| peer.node.plan().is_some());
        let count = self.payloads();
        goes_on
            .map(|device| Complaint::GoesOn { device })
            .or_else(|| (count > 0).then_some(Complaint::Leaked { count }))
    }

    fn payloads(&self) -> usize {
        self.peers.iter().map(|peer| peer.payloads.len()).sum()
    }
}

/// And not about samples, or memory, that nobody who is left has.
fn reason_is_about_layers(waits: &SimulationError) -> bool {
    matches!(waits, SimulationError::Stopped { reason, .. } if reason.contains("missing"))
}

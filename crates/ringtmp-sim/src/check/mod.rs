//! What watches every simulated run.
//!
//! - Each (step, micro-batch) contributes exactly once to each layer, in roster order, and each update follows its roster.
//! - Where gradients are clipped no stage makes an update before all have the squares of their gradients.
//! - `sync`, `1f1b` and `2bw` end with the weights that one process gets ([`simulate_checked`]).
//! - Credits are conserved: a stage is never further ahead than its credit, and in the end every credit is back.
//! - Samples pass every stage between their source and the head once, in turn, and no more of them are on their way than the
//!   window of the transit.
//! - Memory stays within what the limits allow, and these within what the device gives; no slot is used twice at once; no payload
//!   is left over.
//! - A run that stops because a connection broke says so, and every node lets go of it with all that it kept.
//! - Nobody is called to account: all devices do as they should, whatever becomes of them.
//! - A step commits (every stage has made its update) within the time that its work would take if only one thing ever went on.

mod bound;
mod complaint;
mod transit;

pub use bound::step_bound;
pub use complaint::Complaint;

use crate::compute::{HashStage, one_process};
use crate::scenario::Scenario;
use crate::world::{Outcome, SimulationError, StageUse, simulate};
use bound::rest_bound;
use ringtmp_core::ids::{MicroBatchId, Step};
use ringtmp_core::node::Assignment;
use ringtmp_core::plan::Plan;
use ringtmp_core::schedule::{Limits, StageCost, Task};
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Purpose, TensorKind};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use transit::Transit;

/// Until the first task of a plan is done: links and stages, copies that move, and disks take their time.
const BEGINS_WITHIN: Duration = Duration::from_secs(600);

/// Works a scenario off with the hash as its arithmetic, and compares the weights with those of one process.
///
/// # Errors
///
/// As [`simulate`].
pub fn simulate_checked(scenario: &Scenario) -> Result<Outcome, SimulationError> {
    let outcome = simulate(scenario, HashStage::new)?;
    compare(scenario, &outcome)?;
    Ok(outcome)
}

pub(crate) fn compare(scenario: &Scenario, outcome: &Outcome) -> Result<(), SimulationError> {
    let Some(alone) = one_process(&scenario.outline, &outcome.dealt) else {
        return Ok(());
    };
    let differs = (0..alone.len()).find(|i| outcome.digests.get(*i) != alone.get(*i));
    match differs {
        None => Ok(()),
        Some(layer) => Err(SimulationError::Wrong {
            seed: scenario.seed,
            complaint: Complaint::Digest {
                layer: layer as u16,
            },
        }),
    }
}

struct Stage {
    cost: StageCost,
    /// Bytes of its weights, all versions, with what goes along with them.
    weights_bytes: u64,
    limits: Limits,
    is_tail: bool,
    /// The next W: step and sequence.
    next: (u32, u16),
    ahead: i32,
    slots: BTreeSet<u16>,
    /// Slots of evaluations under way, oldest first.
    evaluations: VecDeque<u16>,
    /// Activations that have arrived and not been worked on.
    queued: u64,
    used: StageUse,
}

/// Watches a run; by default one that has no plan yet.
#[derive(Default)]
pub(crate) struct Watch {
    micro_batches: u16,
    steps: u32,
    stages: Vec<Stage>,
    transit: Transit,
    commits: BTreeMap<u32, usize>,
    clips_gradients: bool,
    /// Stages that know the squares of their gradients, by step.
    squared: BTreeMap<u32, usize>,
    last_commit: Option<Time>,
    /// When the plan was made.
    began: Time,
    /// Until then something is wrong, and steps may take what they take.
    pub(crate) excused_until: Time,
    bound: Duration,
    /// The ring is to come to rest.
    rests: bool,
    rest_bound: Duration,
    complaint: Option<Complaint>,
}

impl Watch {
    /// Watches the stages of a plan, held by the devices in `order`.
    pub(crate) fn new(now: Time, scenario: &Scenario, plan: &Plan, order: &[usize]) -> Self {
        let outline = &scenario.outline;
        let costs = scenario.problem().stages(order, &plan.cuts, &plan.codecs);
        let before = plan.limits.iter().map(|limits| Some(limits.credit));
        let before = std::iter::once(None).chain(before);
        let stages = costs.iter().zip(&plan.limits).zip(before).enumerate();
        let stage = |(i, ((cost, own), before)): (usize, ((&StageCost, &Limits), _))| {
            let (spec, micro_batches) = (&outline.schedule, outline.micro_batches);
            let bytes = |cost: StageCost| cost.memory_bytes(*own, before, spec, micro_batches);
            let bare = StageCost {
                parameters: 0,
                ..*cost
            };
            Stage {
                cost: *cost,
                weights_bytes: bytes(*cost) - bytes(bare),
                limits: *own,
                is_tail: i + 1 == order.len(),
                next: (plan.start.0, 0),
                ahead: 0,
                slots: BTreeSet::new(),
                evaluations: VecDeque::new(),
                queued: 0,
                used: StageUse {
                    memory_bytes_max: bytes(*cost),
                    ..StageUse::default()
                },
            }
        };
        let mut watch = Self {
            micro_batches: outline.micro_batches,
            steps: outline.steps,
            began: now,
            clips_gradients: outline.schedule.clips_gradients,
            bound: step_bound(scenario, plan, order),
            rest_bound: rest_bound(scenario, plan, order),
            stages: stages.map(stage).collect(),
            transit: Transit::new(
                outline.micro_batches,
                plan.limits[0].credit,
                plan.first_step(),
            ),
            ..Self::default()
        };
        watch.check_memory();
        watch
    }

    /// The room must not have promised more than a device gives.
    fn check_memory(&mut self) {
        let over = self.stages.iter().position(|stage| {
            let given = stage.cost.memory_bytes_max;
            given.is_some_and(|given| stage.used.memory_bytes_max > given)
        });
        if let Some(stage) = over {
            let of = &self.stages[stage];
            let (bytes, given) = (of.used.memory_bytes_max, of.cost.memory_bytes_max);
            self.complain(Complaint::Memory {
                stage,
                bytes,
                bytes_max: given.unwrap_or(u64::MAX),
            });
        }
    }

    /// The first complaint, if any.
    pub(crate) fn complaint(&self) -> Option<&Complaint> {
        self.complaint.as_ref()
    }

    pub(crate) fn complain(&mut self, complaint: Complaint) {
        self.complaint.get_or_insert(complaint);
    }

    pub(crate) fn built(&mut self, at: usize, assignment: &Assignment) {
        // What a node allots is held against the limits that the room gives, not against its own word.
        let Some(stage) = self.stages.get(at) else {
            return;
        };
        self.transit.planned(assignment.sources);
        if assignment.slots > stage.limits.slots {
            let slot = assignment.slots;
            self.complain(Complaint::Slot { stage: at, slot });
        }
    }

    pub(crate) fn arrived(&mut self, at: usize, kind: TensorKind, id: MicroBatchId) {
        if kind == TensorKind::Samples {
            return self.samples_arrived(at, id);
        }
        let Some(stage) = self.stages.get_mut(at) else {
            return;
        };
        match kind {
            TensorKind::Samples => {}
            TensorKind::Activation => stage.queued += 1,
            TensorKind::Gradient => stage.ahead -= 1,
            TensorKind::Release => {
                stage.ahead -= 1;
                if let Some(slot) = stage.evaluations.pop_front() {
                    stage.slots.remove(&slot);
                }
            }
        }
        let ahead = stage.ahead;
        self.measure(at);
        if ahead < 0 {
            self.complain(Complaint::CreditLost { stage: at, ahead });
        }
    }

    pub(crate) fn started(&mut self, at: usize, task: &Task) {
        match task {
            Task::Draw { micro_batch } => {
                self.complaint = self.complaint.take().or(self.transit.drawn(*micro_batch));
            }
            Task::Forward {
                slot,
                purpose,
                micro_batch,
                ..
            } => {
                let trains = *purpose == Purpose::Train;
                let queued = at > 0 || trains && self.transit.entered(*micro_batch);
                self.forward_started(at, slot.0, *purpose, queued);
            }
            Task::BackwardInput { .. } => {}
            Task::BackwardWeights { micro_batch, .. } => {
                let Some(stage) = self.stages.get_mut(at) else {
                    return;
                };
                let (got, expected) = ((micro_batch.step.0, micro_batch.sequence), stage.next);
                stage.next.1 += 1;
                if got != expected {
                    self.complain(Complaint::NotOnceInOrder {
                        stage: at,
                        got,
                        expected,
                    });
                }
            }
            Task::Squares { .. } => {}
            Task::Update { step, .. } => self.update_started(at, *step),
        }
    }

    fn forward_started(&mut self, at: usize, slot: u16, purpose: Purpose, queued: bool) {
        let Some(stage) = self.stages.get_mut(at) else {
            return;
        };
        stage.queued = stage.queued.saturating_sub(u64::from(queued));
        if !stage.is_tail {
            stage.ahead += 1;
        }
        if purpose == Purpose::Evaluate && !stage.is_tail {
            stage.evaluations.push_back(slot);
        }
        let fresh = stage.slots.insert(slot) && slot < stage.limits.slots;
        let (ahead, credit) = (stage.ahead, stage.limits.credit);
        self.measure(at);
        if !fresh {
            self.complain(Complaint::Slot { stage: at, slot });
        }
        if ahead > i32::from(credit) {
            self.complain(Complaint::OverCredit {
                stage: at,
                ahead: u16::try_from(ahead).unwrap_or(u16::MAX),
                credit,
            });
        }
    }

    fn samples_arrived(&mut self, at: usize, id: MicroBatchId) {
        self.complaint = self.complaint.take().or(self.transit.arrived(at, id));
        if at == 0 {
            self.stages[0].queued += 1;
            self.measure(0);
        }
    }

    fn update_started(&mut self, at: usize, step: Step) {
        let whole = (step.0, self.micro_batches);
        let Some(stage) = self.stages.get_mut(at) else {
            return;
        };
        let found = stage.next;
        stage.next = (step.0 + 1, 0);
        if found != whole {
            self.complain(Complaint::RosterNotWhole {
                stage: at,
                step: step.0,
                at: found,
            });
        }
        let known = self.squared.get(&step.0).copied().unwrap_or_default();
        if self.clips_gradients && known < self.stages.len() {
            self.complain(Complaint::EarlyUpdate {
                stage: at,
                step: step.0,
                known,
            });
        }
    }

    pub(crate) fn completed(&mut self, now: Time, at: usize, task: &Task) {
        let Some(stage) = self.stages.get_mut(at) else {
            return;
        };
        match task {
            Task::Draw { .. } => {}
            Task::Forward { slot, purpose, .. } => {
                if stage.is_tail && *purpose == Purpose::Evaluate {
                    stage.slots.remove(&slot.0);
                }
                self.last_commit.get_or_insert(now);
            }
            Task::BackwardInput { .. } => {}
            Task::BackwardWeights { slot, .. } => {
                stage.slots.remove(&slot.0);
            }
            Task::Squares { step } => *self.squared.entry(step.0).or_default() += 1,
            Task::Update { step, .. } => self.updated(now, *step),
        }
    }

    fn updated(&mut self, now: Time, step: Step) {
        let count = self.commits.entry(step.0).or_default();
        *count += 1;
        if *count < self.stages.len() {
            return;
        }
        self.commits.remove(&step.0);
        self.squared.remove(&step.0);
        let since = self.last_commit.unwrap_or(now).max(self.excused_until);
        let took = now.since(since);
        self.last_commit = Some(now);
        if took > self.bound {
            self.complain(Complaint::Late {
                step: step.0,
                took,
                bound: self.bound,
            });
        }
    }

    /// The room has the ring come to rest.
    pub(crate) fn rests(&mut self) {
        self.rests = true;
    }

    /// A device calls another one to account, while all do as they should.
    pub(crate) fn accused(&mut self, device: usize, by: usize, reason: &str) {
        let reason = reason.to_owned();
        self.complain(Complaint::Accused { device, by, reason });
    }

    /// The room says that the ring trains: whether it does.
    pub(crate) fn trains(&mut self, now: Time) {
        let last = self.last_commit.unwrap_or(self.began + BEGINS_WITHIN);
        let stood = now.since(last.max(self.excused_until));
        // A step that is late is complained of when it commits; this one never does. A ring that rests makes none until its copies are there.
        let rests = if self.rests {
            self.rest_bound
        } else {
            Duration::ZERO
        };
        let bound = self.bound.saturating_mul(2).saturating_add(rests);
        if !self.stages.is_empty() && stood > bound {
            self.complain(Complaint::StandsStill { stood, bound });
        }
    }

    /// After every change: what is taken now.
    fn measure(&mut self, at: usize) {
        let stage = &mut self.stages[at];
        let slots = stage.slots.len() as u64 * stage.cost.stash_bytes;
        let queue = stage.queued * stage.cost.input_bytes;
        let bytes = stage.weights_bytes + slots + queue;
        stage.used.slots = stage.used.slots.max(stage.slots.len() as u16);
        stage.used.memory_bytes = stage.used.memory_bytes.max(bytes);
        let bytes_max = stage.used.memory_bytes_max;
        if bytes > bytes_max {
            self.complain(Complaint::Memory {
                stage: at,
                bytes,
                bytes_max,
            });
        }
    }

    /// In the end.
    pub(crate) fn finish(
        &self,
        payloads: usize,
        bytes_sent: &[u64],
    ) -> Result<Vec<StageUse>, Complaint> {
        for (i, stage) in self.stages.iter().enumerate() {
            if stage.next != (self.steps, 0) {
                return Err(Complaint::RosterNotWhole {
                    stage: i,
                    step: self.steps,
                    at: stage.next,
                });
            }
            if stage.ahead != 0 {
                return Err(Complaint::CreditLost {
                    stage: i,
                    ahead: stage.ahead,
                });
            }
            if let Some(slot) = stage.slots.first() {
                return Err(Complaint::Slot {
                    stage: i,
                    slot: *slot,
                });
            }
        }
        if payloads > 0 {
            return Err(Complaint::Leaked { count: payloads });
        }
        let with_bytes = self.stages.iter().zip(bytes_sent);
        Ok(with_bytes
            .map(|(stage, bytes)| StageUse {
                bytes_sent: *bytes,
                ..stage.used
            })
            .collect())
    }
}

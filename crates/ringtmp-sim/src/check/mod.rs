//! What watches every simulated run.
//!
//! - Each (step, micro-batch) contributes exactly once to each layer, in roster order, and each update follows its roster.
//! - `sync`, `1f1b` and `2bw` end with the weights that one process gets ([`simulate_checked`]).
//! - Credits are conserved: a stage is never further ahead than its credit, and in the end every credit is back.
//! - Samples pass every stage between their source and the head once, in turn, and no more of them are on their way than the
//!   window of the transit.
//! - Memory stays within what the limits allow; no slot is used twice at once; no payload is left over.
//! - A step commits (every stage has made its update) within the time that its work would take if only one thing ever went on.

mod transit;

use crate::compute::{HashStage, one_process};
use crate::scenario::Scenario;
use crate::world::{Outcome, SimulationError, StageUse, simulate};
use ringtmp_core::ids::{MicroBatchId, Step};
use ringtmp_core::node::Assignment;
use ringtmp_core::partition::partition;
use ringtmp_core::schedule::{DataSource, Limits, StageCost, Task};
use ringtmp_core::time::Time;
use ringtmp_core::wire::{Purpose, TensorKind};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use transit::Transit;

/// Bytes that a frame may have beside its tensors, for the bound on a step's time.
const HEADER_BYTES: f64 = 128.0;

/// What is wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Complaint {
    /// A gradient was added twice, never, or out of roster order.
    #[error(
        "stage {stage} accumulated micro-batch {got:?} where {expected:?} (step, sequence) was due"
    )]
    NotOnceInOrder {
        /// Where.
        stage: usize,
        /// What came.
        got: (u32, u16),
        /// What should have come.
        expected: (u32, u16),
    },
    /// An update without its whole roster, or a roster that is not whole in the end.
    #[error(
        "stage {stage} stood at {at:?} (step, micro-batches) when the update of step {step} was due"
    )]
    RosterNotWhole {
        /// Where.
        stage: usize,
        /// The step of the update.
        step: u32,
        /// How far it was.
        at: (u32, u16),
    },
    /// Too far ahead.
    #[error("stage {stage} had {ahead} micro-batches in flight with a credit of {credit}")]
    OverCredit {
        /// Where.
        stage: usize,
        /// In flight.
        ahead: u16,
        /// Allowed.
        credit: u16,
    },
    /// A credit came back that was not out, or is out in the end.
    #[error("stage {stage} ended with {ahead} credits out")]
    CreditLost {
        /// Where.
        stage: usize,
        /// How many; negative where more came back than went out.
        ahead: i32,
    },
    /// Samples that came by twice, never, or out of turn.
    #[error(
        "samples of source {source_index} came to stage {stage} with number {got} where {expected} was due"
    )]
    SamplesNotInTurn {
        /// Where.
        stage: usize,
        /// Whose, counted among the sources.
        source_index: usize,
        /// The number of their micro-batch, counted over the run.
        got: u64,
        /// The number whose turn it was.
        expected: u64,
    },
    /// Too many samples on their way.
    #[error(
        "{waiting} micro-batches of samples were on their way to the head, whose window is {window}"
    )]
    SamplesWaiting {
        /// How many.
        waiting: usize,
        /// At most.
        window: usize,
    },
    /// Two micro-batches in one slot, or more slots than allowed.
    #[error("stage {stage} put a micro-batch into slot {slot}, which is taken or does not exist")]
    Slot {
        /// Where.
        stage: usize,
        /// Which.
        slot: u16,
    },
    /// More memory than the limits allow.
    #[error("stage {stage} took {bytes} bytes; its limits allow {bytes_max}")]
    Memory {
        /// Where.
        stage: usize,
        /// Taken.
        bytes: u64,
        /// Allowed.
        bytes_max: u64,
    },
    /// A step took longer than its work can take.
    #[error("step {step} committed {took:?} after the one before it; its bound is {bound:?}")]
    Late {
        /// Which.
        step: u32,
        /// Since the commit before.
        took: Duration,
        /// At most.
        bound: Duration,
    },
    /// Payloads that nobody took.
    #[error("{count} payloads are left over")]
    Leaked {
        /// How many.
        count: usize,
    },
    /// Other weights than those of one process.
    #[error("the weights of layer {layer} are not those that one process gets")]
    Digest {
        /// The first such layer.
        layer: u16,
    },
}

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
    let Some(alone) = one_process(&scenario.outline, outcome.sources) else {
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

/// The longest that a step may take from the commit of the one before: every micro-batch that can come between them (those of
/// the step, of its evaluation, and those that run ahead of it) alone in the ring, each task at its longest jitter.
pub fn step_bound(scenario: &Scenario, cuts: &[u16], limits: &[Limits]) -> Duration {
    let outline = &scenario.outline;
    let mut alone = 0.0;
    let mut updates = 0.0;
    for (i, pair) in cuts.windows(2).enumerate() {
        let layers = usize::from(pair[0])..usize::from(pair[1]);
        alone += scenario.micro_batch_seconds(i, &layers) * scenario.jitter_max();
        updates += scenario.devices[i].update_seconds * scenario.jitter_max();
        let link = scenario.link(i, (i + 1) % limits.len());
        let hop = |bytes: u64| {
            let bytes = bytes as f64 + HEADER_BYTES;
            link.delay_seconds + link.bytes_per_second.map_or(0.0, |rate| bytes / rate)
        };
        if i + 1 < limits.len() {
            alone += 2.0 * hop(scenario.tensor_bytes(layers.end, outline.codec));
        }
        if outline.source == DataSource::Every {
            alone += hop(scenario.samples_bytes());
        }
    }
    let ahead = limits.iter().map(|limits| limits.slots).max();
    let between = f64::from(outline.micro_batches)
        + f64::from(outline.evaluation_micro_batches)
        + f64::from(ahead.unwrap_or(0));
    // Rounding to virtual time, a microsecond a task at most.
    Duration::from_secs_f64((alone + 1e-4) * between + updates)
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

/// Watches a run.
pub(crate) struct Watch {
    micro_batches: u16,
    steps: u32,
    samples: u64,
    stages: Vec<Stage>,
    transit: Transit,
    commits: BTreeMap<u32, usize>,
    last_commit: Option<Time>,
    bound: Duration,
    complaint: Option<Complaint>,
}

impl Watch {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let outline = &scenario.outline;
        let spec = &outline.schedule;
        let cuts = partition(&outline.layers, scenario.devices.len());
        let limits = outline.limits(&cuts);
        let costs = outline.stage_costs(&cuts);
        let before = std::iter::once(None).chain(limits.iter().copied().map(Some));
        let stages = costs.iter().zip(&limits).zip(before).enumerate();
        let stage = |(i, ((cost, own), before)): (usize, ((&StageCost, &Limits), _))| {
            let bytes =
                |cost: StageCost| cost.memory_bytes(*own, before, spec, outline.micro_batches);
            let bare = StageCost {
                parameters: 0,
                ..*cost
            };
            Stage {
                cost: *cost,
                weights_bytes: bytes(*cost) - bytes(bare),
                limits: *own,
                is_tail: i + 1 == limits.len(),
                next: (0, 0),
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
        Self {
            micro_batches: outline.micro_batches,
            steps: outline.steps,
            samples: u64::from(spec.micro_batch_samples),
            bound: step_bound(scenario, &cuts, &limits),
            stages: stages.map(stage).collect(),
            transit: Transit::new(outline.micro_batches, limits[0].credit),
            commits: BTreeMap::new(),
            last_commit: None,
            complaint: None,
        }
    }

    /// The first complaint, if any.
    pub(crate) fn complaint(&self) -> Option<&Complaint> {
        self.complaint.as_ref()
    }

    fn complain(&mut self, complaint: Complaint) {
        self.complaint.get_or_insert(complaint);
    }

    pub(crate) fn built(&mut self, at: usize, assignment: &Assignment) {
        // What a node allots is held against the limits that the outline gives, not against its own word.
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
            Task::Update { step } => self.update_started(at, *step),
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
            Task::Update { step } => self.updated(now, *step),
        }
    }

    fn updated(&mut self, now: Time, step: Step) {
        let count = self.commits.entry(step.0).or_default();
        *count += 1;
        if *count < self.stages.len() {
            return;
        }
        self.commits.remove(&step.0);
        let took = now.since(self.last_commit.unwrap_or(now));
        self.last_commit = Some(now);
        if took > self.bound {
            self.complain(Complaint::Late {
                step: step.0,
                took,
                bound: self.bound,
            });
        }
    }

    /// After every change: what is taken now.
    fn measure(&mut self, at: usize) {
        let stage = &mut self.stages[at];
        let slots = stage.slots.len() as u64 * self.samples * stage.cost.stash_bytes;
        let queue = stage.queued * self.samples * stage.cost.input_bytes;
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

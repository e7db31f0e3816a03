//! Who holds which layers.

use crate::codec::TensorCodec;
use crate::ids::{Epoch, LayerIndex, PeerId, SourceIndex, StageIndex, Step, Version};
use crate::kept::Past;
use crate::schedule::Limits;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What a layer costs, per sample. Stated by the layer, later measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerCost {
    /// Floating-point operations of F, of B, and of W.
    pub flops: [f64; 3],
    /// Numbers it learns.
    pub parameters: u64,
    /// Bytes of its output, as it would cross a link in f32.
    pub output_bytes: u64,
    /// Bytes kept from F until W.
    pub stash_bytes: u64,
}

impl LayerCost {
    /// Operations of F, B and W together.
    pub fn flops_total(&self) -> f64 {
        self.flops.iter().sum()
    }
}

/// An order of peers, the cuts between their shards and what bounds each stage. Only a newer epoch replaces it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its version.
    pub epoch: Epoch,
    /// The active peers, head first.
    pub order: Vec<PeerId>,
    /// Stage i holds the layers `cuts[i]..cuts[i + 1]`; begins with 0, ends with the number of layers, strictly rising.
    pub cuts: Vec<u16>,
    /// What bounds each stage, head first.
    pub limits: Vec<Limits>,
    /// The stages whose peers' samples are trained on, rising; at least one.
    pub sources: Vec<StageIndex>,
    /// How tensors are written between each stage and the next, head first: one fewer than stages, since nothing but curves
    /// crosses the closing link.
    pub codecs: Vec<TensorCodec>,
    /// Participants without a stage.
    pub spares: Vec<Spare>,
    /// The least that a step can take, in seconds, as far as it was measured.
    pub step_seconds: Option<f64>,
    /// Updates that all layers have seen when the plan begins: training goes on with the step of this number.
    #[serde(default)]
    pub start: Version,
    /// The plans from whose past it goes on (the last at work, and those after it that never began): copies that were made under
    /// another are of no use.
    #[serde(default)]
    pub pasts: Vec<Epoch>,
    /// If some of the layers that it goes on from lie only on disks: under which plan they were copied.
    #[serde(default)]
    pub kept: Option<Past>,
    /// The layers that stages get from others before they begin; none at the start of a run.
    #[serde(default)]
    pub moves: Vec<Move>,
    /// The stages whose disks keep what owner and buddy keep of each stage, head first; empty, or none, where there is no such disk.
    #[serde(default)]
    pub thirds: Vec<Option<StageIndex>>,
}

/// A layer that a stage of the plan gets from another, as it was after [`Plan::start`] updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Which.
    pub layer: LayerIndex,
    /// Who has a copy.
    pub from: StageIndex,
    /// Who holds it under the plan.
    pub to: StageIndex,
}

/// A participant without a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spare {
    /// Who.
    pub peer: PeerId,
    /// Why.
    pub reason: SpareReason,
}

/// Why the plan does without a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpareReason {
    /// All layers are with others.
    TooFewLayers,
    /// It gives less memory than any layer takes.
    TooLittleMemory,
    /// The ring is as fast without it, or faster.
    FasterWithout,
}

/// Why a plan cannot be used. A server that sends one is broken or hostile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Cuts do not go with peers.
    #[error("a plan of {peers} peers with {cuts} cuts")]
    Length {
        /// Peers in the order.
        peers: usize,
        /// Cuts.
        cuts: usize,
    },
    /// Cuts do not cover the layers, each once.
    #[error("cuts {cuts:?} do not divide {layers} layers")]
    Cuts {
        /// The cuts.
        cuts: Vec<u16>,
        /// Layers in the run.
        layers: usize,
    },
    /// A peer twice.
    #[error("{0} holds two stages")]
    Repeated(PeerId),
    /// Limits do not go with peers, or no stage could work within them.
    #[error("a plan of {peers} peers with the limits {limits:?}")]
    Limits {
        /// Peers in the order.
        peers: usize,
        /// The limits.
        limits: Vec<Limits>,
    },
    /// No source, one twice, or one that is no stage.
    #[error("the samples of stages {sources:?} are to be trained on, of {stages}")]
    Sources {
        /// The stages named.
        sources: Vec<StageIndex>,
        /// How many there are.
        stages: usize,
    },
    /// Codecs do not go with peers.
    #[error("a plan of {peers} peers with codecs for {hops} hops")]
    Codecs {
        /// Peers in the order.
        peers: usize,
        /// Codecs.
        hops: usize,
    },
    /// A layer that goes from a stage that is none, to one that does not hold it, or twice.
    #[error("layer {} cannot move from stage {} to stage {}", .0.layer.0, .0.from.0, .0.to.0)]
    Move(Move),
    /// Third holders that do not go with peers, or one that is owner or buddy.
    #[error("stages {thirds:?} of {peers} cannot keep what owners and their successors keep")]
    Thirds {
        /// Peers in the order.
        peers: usize,
        /// The stages named.
        thirds: Vec<Option<StageIndex>>,
    },
}

impl Plan {
    /// Checks that each of `layers` layers is held exactly once, that no peer holds two stages, that there are samples, and that
    /// every stage has limits within which it can work and which bound what it takes.
    pub fn check(&self, layers: usize) -> Result<(), PlanError> {
        if self.order.is_empty() || self.cuts.len() != self.order.len() + 1 {
            return Err(PlanError::Length {
                peers: self.order.len(),
                cuts: self.cuts.len(),
            });
        }
        let rising = self.cuts.windows(2).all(|pair| pair[0] < pair[1]);
        let covers = self.cuts.first() == Some(&0)
            && self.cuts.last().map(|cut| usize::from(*cut)) == Some(layers);
        if !rising || !covers {
            return Err(PlanError::Cuts {
                cuts: self.cuts.iter().copied().take(64).collect(),
                layers,
            });
        }
        let rising = self.sources.windows(2).all(|pair| pair[0] < pair[1]);
        let last = self.sources.last();
        if !rising || last.is_none_or(|last| usize::from(last.0) >= self.order.len()) {
            return Err(PlanError::Sources {
                sources: self.sources.iter().copied().take(64).collect(),
                stages: self.order.len(),
            });
        }
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PlanError::Repeated(pair[0]));
        }
        if self.limits.len() != self.order.len() || !self.limits.iter().all(Limits::are_sane) {
            return Err(PlanError::Limits {
                peers: self.order.len(),
                limits: self.limits.iter().copied().take(64).collect(),
            });
        }
        if self.codecs.len() + 1 != self.order.len() {
            return Err(PlanError::Codecs {
                peers: self.order.len(),
                hops: self.codecs.len(),
            });
        }
        self.check_thirds()?;
        self.check_moves()
    }

    fn check_thirds(&self) -> Result<(), PlanError> {
        let peers = self.order.len();
        let can_be = |(owner, third): (usize, &Option<StageIndex>)| {
            let third = third.map(|third| usize::from(third.0));
            third
                .is_none_or(|third| third < peers && third != owner && third != (owner + 1) % peers)
        };
        let all = self.thirds.iter().enumerate().all(can_be);
        if all && (self.thirds.is_empty() || self.thirds.len() == peers) {
            return Ok(());
        }
        Err(PlanError::Thirds {
            peers,
            thirds: self.thirds.iter().copied().take(64).collect(),
        })
    }

    fn check_moves(&self) -> Result<(), PlanError> {
        let is_stage = |stage: StageIndex| usize::from(stage.0) < self.order.len();
        let can_be = |a_move: &&Move| {
            let Move { layer, from, to } = **a_move;
            let moves = is_stage(from) && is_stage(to) && from != to;
            moves && self.start.0 > 0 && self.layers(to).contains(&layer)
        };
        let mut layers: Vec<LayerIndex> = self.moves.iter().map(|a_move| a_move.layer).collect();
        layers.sort_unstable();
        let twice = layers.windows(2).find(|pair| pair[0] == pair[1]);
        let wrong = self.moves.iter().find(|a_move| {
            let is_repeated = twice.is_some_and(|pair| pair[0] == a_move.layer);
            is_repeated || !can_be(a_move)
        });
        wrong.map_or(Ok(()), |wrong| Err(PlanError::Move(*wrong)))
    }

    /// The first step under this plan.
    pub fn first_step(&self) -> Step {
        Step(self.start.0)
    }

    /// How many stages there are.
    pub fn stages(&self) -> usize {
        self.order.len()
    }

    /// The stage a peer holds, if any.
    pub fn stage_of(&self, peer: PeerId) -> Option<StageIndex> {
        let index = self.order.iter().position(|other| *other == peer)?;
        Some(StageIndex(u16::try_from(index).ok()?))
    }

    /// The layers of a stage.
    pub fn layers(&self, stage: StageIndex) -> Range<LayerIndex> {
        let i = usize::from(stage.0);
        LayerIndex(self.cuts[i])..LayerIndex(self.cuts[i + 1])
    }

    /// Which of the sources a stage is, if it is one.
    pub fn source_of(&self, stage: StageIndex) -> Option<SourceIndex> {
        let index = self.sources.binary_search(&stage).ok()?;
        Some(SourceIndex(u16::try_from(index).ok()?))
    }

    /// The layers a peer holds, if any.
    pub fn layers_of(&self, peer: PeerId) -> Option<Range<LayerIndex>> {
        self.stage_of(peer).map(|stage| self.layers(stage))
    }

    /// How the tensors that come from the stage before and go to the stage after are written; none at the ring's ends.
    pub fn codecs_of(&self, stage: StageIndex) -> [Option<TensorCodec>; 2] {
        let i = usize::from(stage.0);
        let before = i.checked_sub(1).and_then(|hop| self.codecs.get(hop));
        [before, self.codecs.get(i)].map(Option::<&_>::copied)
    }

    /// The peer after this stage; the tail's is the head, over the closing link.
    pub fn successor(&self, stage: StageIndex) -> PeerId {
        self.order[(usize::from(stage.0) + 1) % self.order.len()]
    }

    /// The peer before this stage; the head's is the tail, over the closing link.
    pub fn predecessor(&self, stage: StageIndex) -> PeerId {
        self.order[(usize::from(stage.0) + self.order.len() - 1) % self.order.len()]
    }

    /// Whose disk keeps what this stage's owner and buddy keep of it.
    pub fn third(&self, stage: StageIndex) -> Option<StageIndex> {
        self.thirds.get(usize::from(stage.0)).copied().flatten()
    }

    /// Where this stage, as the buddy of the one before it, sends copies of that one's layer to be kept a third time.
    pub fn third_for(&self, buddy: StageIndex, layer: LayerIndex) -> Option<StageIndex> {
        let owner = self.stage_of(self.predecessor(buddy))?;
        let third = self.third(owner)?;
        self.layers(owner).contains(&layer).then_some(third)
    }

    /// How many hops forward round the ring it is from one stage to another.
    pub fn hops(&self, from: StageIndex, to: StageIndex) -> usize {
        (usize::from(to.0) + self.order.len() - usize::from(from.0)) % self.order.len()
    }

    /// The directed links of the ring, head first; none for a ring of one.
    pub fn links(&self) -> Vec<(PeerId, PeerId)> {
        let next = self.order.iter().cycle().skip(1);
        if self.order.len() < 2 {
            Vec::new()
        } else {
            self.order.iter().copied().zip(next.copied()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{CREDIT_MAX, SLOTS_MAX, WEIGHTS_PENDING_MAX};

    fn plan() -> Plan {
        let limits = Limits {
            credit: 2,
            weights_pending: 1,
            slots: 3,
        };
        Plan {
            epoch: Epoch {
                number: 1,
                incarnation: 0,
            },
            order: vec![PeerId(1), PeerId(2)],
            cuts: vec![0, 1, 3],
            limits: vec![limits; 2],
            sources: vec![StageIndex(0), StageIndex(1)],
            codecs: vec![TensorCodec::F16],
            ..Plan::default()
        }
    }

    #[test]
    fn a_plan_is_refused_whose_parts_do_not_go_together() {
        let refused = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            plan.check(3).expect_err("a broken plan")
        };
        assert_eq!(plan().check(3), Ok(()));
        let length = refused(|plan| plan.cuts.truncate(2));
        assert!(matches!(length, PlanError::Length { peers: 2, cuts: 2 }));
        let cuts = refused(|plan| plan.cuts[1] = 0);
        assert!(matches!(cuts, PlanError::Cuts { .. }));
        let repeated = refused(|plan| plan.order[1] = plan.order[0]);
        assert_eq!(repeated, PlanError::Repeated(PeerId(1)));
        let sources = [
            refused(|plan| plan.sources.clear()),
            refused(|plan| plan.sources[1] = StageIndex(0)),
            refused(|plan| plan.sources[1] = StageIndex(2)),
            refused(|plan| plan.sources.reverse()),
        ];
        for error in sources {
            assert!(matches!(error, PlanError::Sources { .. }), "{error}");
        }
        let codecs = refused(|plan| plan.codecs.clear());
        assert_eq!(codecs, PlanError::Codecs { peers: 2, hops: 0 });
        let a_move = |layer, from, to| Move {
            layer: LayerIndex(layer),
            from: StageIndex(from),
            to: StageIndex(to),
        };
        let mut moved = plan();
        moved.start = Version(3);
        moved.moves = vec![a_move(1, 0, 1)];
        assert_eq!(moved.check(3), Ok(()));
        for moves in [
            vec![a_move(0, 0, 1)],
            vec![a_move(1, 1, 1)],
            vec![a_move(1, 2, 1)],
            vec![a_move(1, 0, 2)],
            vec![a_move(1, 0, 1), a_move(1, 0, 1)],
        ] {
            let plan = Plan {
                moves,
                ..moved.clone()
            };
            assert!(matches!(plan.check(3), Err(PlanError::Move(_))));
        }
        moved.start = Version(0);
        assert!(matches!(moved.check(3), Err(PlanError::Move(_))));
        let limits = [
            refused(|plan| plan.limits.truncate(1)),
            refused(|plan| plan.limits[0].credit = 0),
            refused(|plan| plan.limits[0].credit = CREDIT_MAX + 1),
            refused(|plan| plan.limits[1].weights_pending = 0),
            refused(|plan| plan.limits[1].weights_pending = WEIGHTS_PENDING_MAX + 1),
            refused(|plan| plan.limits[1].slots = 0),
            refused(|plan| plan.limits[1].slots = SLOTS_MAX + 1),
        ];
        for error in limits {
            assert!(matches!(error, PlanError::Limits { .. }), "{error}");
        }
    }
}

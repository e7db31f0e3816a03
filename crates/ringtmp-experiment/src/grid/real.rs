//! Cells of real devices.

use super::{GROWN, Grid, HERE, MICRO_BATCH, RINGS, bsp};
use crate::cell::{Capacity, Cell, Host, Kind, Model, Trouble, Way};
use ringtmp_core::parameter_server::{Placement, Staleness};
use ringtmp_core::schedule::Mode;

/// Of real runs: they take their time.
const SEEDS_REAL: u64 = 5;
const STEPS_REAL: u32 = 5;
/// Of those in which a device is lost: time to have copies before, and to go on after.
const STEPS_STRUCK: u32 = 10;
const PEERS_REAL: u16 = 3;
/// Of those that learn: so that most digits are read in the end.
const STEPS_TAUGHT: u32 = 30;
/// Of those of which what is learnt in the end is asked: enough to have nearly learnt it.
const STEPS_LASTING: u32 = 120;
const MICRO_BATCH_TAUGHT: u32 = 16;

/// Numbers of peers, and a run for them: each of eight has a block and two micro-batches.
const PEERS_SCALE: [u16; 4] = [1, 2, 4, 8];
const MODEL_SCALE: [u32; 2] = [8, 64];
const MICRO_BATCHES_SCALE: u16 = 16;
/// As many as there are peers, but no fewer than these: so each run takes about as long, and who begins first does not count for much.
const STEPS_SCALE_MIN: u16 = 2;

/// Tabs of a ring that holds the largest model: each size that is tried takes half a minute.
const TABS: [u16; 2] = [1, 3];

/// Of the shorter of two runs; a step is of 24 samples.
const STEPS_HOSTED: u32 = 10;

/// Divided evenly among the peers, and few, so that tasks can be long beside what disturbs them.
const MICRO_BATCHES_REAL: u16 = 6;

/// One of each family, without staleness.
const WAYS_REAL: [Way; 3] = [
    Way::Ring(Mode::Sync),
    bsp(Placement::Colocated),
    Way::AllReduce,
];

impl Grid {
    /// Of real runs.
    pub fn seeds_real(&self) -> u64 {
        self.seeds.min(SEEDS_REAL)
    }

    /// A ring, a parameter server and all-reduce of three peers on this machine, over its own links and over emulated ones.
    pub(super) fn real(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for profile in &self.links_real {
            for way in WAYS_REAL {
                cells.extend((1..=self.seeds_real()).map(|seed| Cell {
                    kind: Kind::Real { steps: STEPS_REAL },
                    model: Model::preset("gpt-nano"),
                    way,
                    profile: profile.clone(),
                    peers: PEERS_REAL,
                    micro_batches: MICRO_BATCHES_REAL,
                    micro_batch: MICRO_BATCH,
                    seed,
                }));
            }
        }
        cells
    }

    /// The same of one to eight peers, each as fast.
    pub(super) fn scale(&self) -> Vec<Cell> {
        let [depth, width] = MODEL_SCALE;
        let mut cells = Vec::new();
        for way in WAYS_REAL {
            // One alone is a ring.
            let peers = PEERS_SCALE.iter().filter(|it| way.is_ring() || **it > 1);
            for peers in peers {
                cells.extend((1..=self.seeds_real()).map(|seed| Cell {
                    kind: Kind::Real {
                        steps: (*peers).max(STEPS_SCALE_MIN).into(),
                    },
                    model: Model::gpt(depth, width),
                    way,
                    profile: HERE.to_owned(),
                    peers: *peers,
                    micro_batches: MICRO_BATCHES_SCALE,
                    micro_batch: MICRO_BATCH,
                    seed,
                }));
            }
        }
        cells
    }

    /// Of the same, one falls silent for good or for a while, or none does.
    pub(super) fn losses(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for way in WAYS_REAL {
            for trouble in [Trouble::None, Trouble::Away, Trouble::Gone] {
                cells.extend((1..=self.seeds_real()).map(|seed| Cell {
                    kind: Kind::Struck {
                        steps: STEPS_STRUCK,
                        trouble,
                    },
                    model: Model::preset("gpt-nano"),
                    way,
                    profile: HERE.to_owned(),
                    peers: PEERS_REAL,
                    micro_batches: MICRO_BATCHES_REAL,
                    micro_batch: MICRO_BATCH,
                    seed,
                }));
            }
        }
        cells
    }

    /// Three devices that learn, of which none is lost, one for good, or one after the other.
    pub(super) fn lasting(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for way in self.ways_learning() {
            for trouble in [Trouble::None, Trouble::Gone, Trouble::Often] {
                cells.extend((1..=self.seeds_real()).map(|seed| Cell {
                    kind: Kind::Lasting {
                        steps: STEPS_LASTING,
                        trouble,
                    },
                    model: Model::preset("mlp"),
                    way,
                    profile: HERE.to_owned(),
                    peers: PEERS_REAL,
                    micro_batches: MICRO_BATCHES_REAL,
                    micro_batch: MICRO_BATCH_TAUGHT,
                    seed,
                }));
            }
        }
        cells
    }

    /// Rings, and the others with and without staleness.
    fn ways_learning(&self) -> Vec<Way> {
        let mut ways = RINGS.to_vec();
        let most = self.taus.last().copied();
        let taus = [Some(Staleness::Steps(0)), most].into_iter().flatten();
        ways.extend(taus.map(|tau| Way::ParameterServer {
            placement: Placement::Colocated,
            tau,
        }));
        ways.push(Way::AllReduce);
        ways
    }

    /// Three peers that learn.
    pub(super) fn courses(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for way in self.ways_learning() {
            cells.extend((1..=self.seeds_real()).map(|seed| Cell {
                kind: Kind::Taught {
                    steps: STEPS_TAUGHT,
                },
                model: Model::preset("mlp"),
                way,
                profile: HERE.to_owned(),
                peers: PEERS_REAL,
                micro_batches: MICRO_BATCHES_REAL,
                micro_batch: MICRO_BATCH_TAUGHT,
                seed,
            }));
        }
        cells
    }

    /// A ring as fast as this machine makes it, natively and in tabs. By seed, so that whatever else the machine does meanwhile falls on
    /// both.
    pub(super) fn hosts(&self) -> Vec<Cell> {
        let cells = (1..=self.seeds_real()).flat_map(|seed| {
            Host::ALL.map(|host| Cell {
                kind: Kind::Hosted {
                    steps: STEPS_HOSTED,
                    host,
                },
                model: Model::preset("gpt-nano"),
                way: Way::Ring(Mode::Sync),
                profile: HERE.to_owned(),
                peers: PEERS_REAL,
                micro_batches: MICRO_BATCHES_REAL,
                micro_batch: MICRO_BATCH,
                seed,
            })
        });
        cells.collect()
    }
}

/// The width of a model that tabs hold between them, or each.
pub(super) fn tabs() -> Vec<Cell> {
    let [depth, width] = GROWN;
    let ways = TABS.iter().map(|tabs| (Way::Ring(Mode::Sync), *tabs));
    let most = TABS.iter().copied().max().unwrap_or(1);
    let cell = |(way, peers)| Cell {
        kind: Kind::Capacity(Capacity::Width),
        model: Model::gpt(depth, width),
        way,
        profile: HERE.to_owned(),
        peers,
        micro_batches: peers,
        micro_batch: 1,
        seed: 1,
    };
    ways.chain([(Way::AllReduce, most)]).map(cell).collect()
}

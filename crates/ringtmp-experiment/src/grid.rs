//! Which cells an experiment has.

mod real;

use crate::cell::{Capacity, Cell, Kind, Model, Spread, Trouble, Way};
use crate::profile::MIXED;
use ringtmp_core::parameter_server::{Placement, Staleness};
use ringtmp_core::schedule::Mode;
use serde::Serialize;
use std::fmt;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    /// How much of its time does a worker not compute, and why?
    Idle,
    /// What does a model learn, by samples and by seconds, with real gradients?
    Progress,
    /// How does throughput grow with the devices?
    Scaling,
    /// What does it cost when devices are lost?
    Resilience,
    /// How large a model can be trained under a cap of memory?
    Capacity,
    /// What does a sample take in joules?
    Energy,
    /// Does what real peers do agree with what the simulator says of them?
    Real,
    /// How does the throughput of real peers grow with their number?
    Scale,
    /// Does losing a device cost real devices what the simulator says?
    Losses,
    /// Is as much learnt in the end though real devices are lost?
    Lasting,
    /// Does a model learn from real peers what the simulator says, and as fast?
    Courses,
    /// How large a model do tabs of a browser really train?
    Tabs,
    /// What does the same run take by native processes and by browser tabs?
    Hosts,
}

impl Experiment {
    /// All that are simulated.
    pub const SIMULATED: [Self; 6] = [
        Self::Idle,
        Self::Progress,
        Self::Scaling,
        Self::Resilience,
        Self::Capacity,
        Self::Energy,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Progress => "progress",
            Self::Scaling => "scaling",
            Self::Resilience => "resilience",
            Self::Capacity => "capacity",
            Self::Energy => "energy",
            Self::Real => "real",
            Self::Scale => "scale",
            Self::Losses => "losses",
            Self::Lasting => "lasting",
            Self::Courses => "courses",
            Self::Tabs => "tabs",
            Self::Hosts => "hosts",
        }
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much of each experiment is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grid {
    /// Numbers of peers of idle and scaling.
    pub peers: Vec<u16>,
    /// Numbers of peers of the deep model.
    pub peers_deep: Vec<u16>,
    /// Numbers of peers of progress.
    pub peers_progress: Vec<u16>,
    /// Peers of resilience, capacity and energy.
    pub peers_fixed: u16,
    /// Kinds of devices of capacity and energy.
    pub profiles: Vec<String>,
    /// Kinds of devices of idle.
    pub profiles_idle: Vec<String>,
    /// Links of real peers: [`HERE`], or those of a kind of devices.
    pub links_real: Vec<String>,
    /// Staleness of parameter servers.
    pub taus: Vec<Staleness>,
    /// Models that are trained.
    pub models: Vec<Model>,
    /// Seeds, from 1.
    pub seeds: u64,
    /// Steps of a run.
    pub steps: u32,
    /// Steps of a run with real gradients.
    pub steps_progress: u32,
    /// Steps of a run in which devices are lost.
    pub steps_resilience: u32,
}

/// Micro-batches of a step: at 8 devices each worker has 4.
const MICRO_BATCHES: u16 = 32;

/// Of the deep model: a worker needs at least one.
const MICRO_BATCHES_DEEP: u16 = 1024;

/// Samples of a micro-batch.
const MICRO_BATCH: u32 = 4;

/// Steps with the deep model, whose figures are of the middle third.
const STEPS_DEEP: u32 = 6;

/// The deep model: 64 blocks are 130 layers.
const DEEP: [u32; 2] = [64, 128];

/// What does not grow while the other does.
const GROWN: [u32; 2] = [4, 256];

/// The profile of real devices whose links are this machine's own.
pub const HERE: &str = "this machine";

/// Rings as rooms have them.
const RINGS: [Way; 2] = [Way::Ring(Mode::Sync), Way::Ring(Mode::TwoVersions)];

/// A parameter server without staleness.
const fn bsp(placement: Placement) -> Way {
    Way::ParameterServer {
        placement,
        tau: Staleness::Steps(0),
    }
}

impl Grid {
    /// All of it, with so many seeds.
    pub fn full(seeds: u64) -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            peers: vec![1, 2, 3, 4, 6, 8],
            peers_deep: vec![8, 16, 32, 64, 128, 256, 512, 1000],
            peers_progress: vec![1, 2, 4, 8],
            peers_fixed: 4,
            profiles: names(&["phone-wifi", "laptop-wifi", "pi-ethernet"]),
            profiles_idle: names(&["laptop-wifi", "pi-ethernet"]),
            links_real: names(&[HERE, "phone-wifi"]),
            taus: vec![
                Staleness::Steps(0),
                Staleness::Steps(4),
                Staleness::Steps(16),
                Staleness::Infinite,
            ],
            models: vec![Model::gpt(8, 128), Model::preset("cnn")],
            seeds,
            steps: 48,
            steps_progress: 240,
            steps_resilience: 96,
        }
    }

    /// What takes some minutes.
    pub fn quick(seeds: u64) -> Self {
        let full = Self::full(seeds);
        Self {
            peers_deep: vec![8, 32, 64, 128],
            peers_progress: vec![2, 4, 8],
            profiles_idle: vec!["laptop-wifi".to_owned()],
            links_real: vec![HERE.to_owned()],
            steps: 24,
            steps_progress: 64,
            steps_resilience: 48,
            ..full
        }
    }

    /// Rings of all devices and of few, parameter servers in all placements, all-reduce.
    fn ways(&self) -> Vec<Way> {
        let mut ways = RINGS.to_vec();
        ways.extend(RINGS.map(|way| match way {
            Way::Ring(mode) => Way::FewRing(mode),
            other => other,
        }));
        for placement in Placement::ALL {
            let servers = self.taus.iter().map(|tau| Way::ParameterServer {
                placement,
                tau: *tau,
            });
            ways.extend(servers);
        }
        ways.push(Way::AllReduce);
        ways
    }

    /// The cells of an experiment, in the order in which they are told.
    pub fn cells(&self, experiment: Experiment) -> Vec<Cell> {
        match experiment {
            Experiment::Idle => {
                let peers: Vec<u16> = self.peers.iter().copied().filter(|p| *p > 1).collect();
                self.runs(&self.profiles_idle, &peers)
            }
            Experiment::Scaling => {
                let mut cells = self.runs(&["laptop-wifi".to_owned()], &self.peers);
                cells.extend(self.runs(&[MIXED.to_owned()], &self.peers));
                cells.extend(self.deep());
                cells
            }
            Experiment::Progress => self.progress(),
            Experiment::Resilience => self.resilience(),
            Experiment::Capacity => self.capacity(),
            Experiment::Real => self.real(),
            Experiment::Scale => self.scale(),
            Experiment::Losses => self.losses(),
            Experiment::Lasting => self.lasting(),
            Experiment::Courses => self.courses(),
            Experiment::Tabs => real::tabs(),
            Experiment::Hosts => self.hosts(),
            Experiment::Energy => self.runs(&self.profiles, &[self.peers_fixed]),
        }
    }

    /// Few ways, as each computes for real.
    fn progress(&self) -> Vec<Cell> {
        let mut ways = RINGS.to_vec();
        ways.extend([bsp(Placement::Single), bsp(Placement::Dedicated)]);
        // Without staleness, and with the least and the most of it.
        let (first, last) = (self.taus.get(..2), self.taus.last());
        let taus = first.into_iter().flatten().chain(last);
        ways.extend(taus.map(|tau| Way::ParameterServer {
            placement: Placement::Colocated,
            tau: *tau,
        }));
        ways.push(Way::AllReduce);
        // How it grows with the devices, and what it does where each has samples of its own, is asked of fewer still.
        let mut few = RINGS.to_vec();
        few.extend([bsp(Placement::Colocated), Way::AllReduce]);
        few.extend(self.taus.last().map(|tau| Way::ParameterServer {
            placement: Placement::Colocated,
            tau: *tau,
        }));
        let steps = self.steps_progress;
        let of = |spread: Spread, peers: u16| {
            let ways = if spread == Spread::Shared && peers == self.peers_fixed {
                &ways
            } else {
                &few
            };
            let kind = Kind::Progress { steps, spread };
            let cells = self.each(kind, &Model::preset("mlp"), ways).into_iter();
            cells.map(move |cell| Cell { peers, ..cell })
        };
        let shared = self.peers_progress.iter();
        let shared = shared.flat_map(|peers| of(Spread::Shared, *peers));
        let own = self.peers_progress.iter().filter(|peers| **peers > 1);
        let own = own.flat_map(|peers| of(Spread::ByLabel, *peers));
        shared.chain(own).collect()
    }

    fn resilience(&self) -> Vec<Cell> {
        let mut ways = RINGS.to_vec();
        ways.extend(Placement::ALL.map(bsp));
        ways.push(Way::AllReduce);
        let steps = self.steps_resilience;
        let cells = |trouble| {
            let kind = Kind::Resilience { steps, trouble };
            self.each(kind, &Model::gpt(GROWN[0], GROWN[1]), &ways)
        };
        Trouble::ALL.into_iter().flat_map(cells).collect()
    }

    /// Cells of one kind on the fixed number of laptops.
    fn each(&self, kind: Kind, model: &Model, ways: &[Way]) -> Vec<Cell> {
        let cells = ways.iter().flat_map(|way| {
            (1..=self.seeds).map(|seed| Cell {
                kind,
                model: model.clone(),
                way: *way,
                profile: "laptop-wifi".to_owned(),
                peers: self.peers_fixed,
                micro_batches: MICRO_BATCHES,
                micro_batch: MICRO_BATCH,
                seed,
            })
        });
        cells.collect()
    }

    fn runs(&self, profiles: &[String], peers: &[u16]) -> Vec<Cell> {
        let mut cells = Vec::new();
        for model in &self.models {
            for profile in profiles {
                for (way, peers) in pairs(&self.ways(), peers) {
                    cells.extend((1..=self.seeds).map(|seed| Cell {
                        kind: Kind::Run { steps: self.steps },
                        model: model.clone(),
                        way,
                        profile: profile.clone(),
                        peers,
                        micro_batches: MICRO_BATCHES,
                        micro_batch: MICRO_BATCH,
                        seed,
                    }));
                }
            }
        }
        cells
    }

    fn deep(&self) -> Vec<Cell> {
        let ways = [
            Way::Ring(Mode::Sync),
            Way::Ring(Mode::TwoVersions),
            bsp(Placement::Single),
            bsp(Placement::Colocated),
            Way::AllReduce,
        ];
        let [depth, width] = DEEP;
        let mut cells = Vec::new();
        for (way, peers) in pairs(&ways, &self.peers_deep) {
            cells.extend((1..=self.seeds).map(|seed| Cell {
                kind: Kind::Run { steps: STEPS_DEEP },
                model: Model::gpt(depth, width),
                way,
                profile: "pi-ethernet".to_owned(),
                peers,
                micro_batches: MICRO_BATCHES_DEEP,
                micro_batch: MICRO_BATCH,
                seed,
            }));
        }
        cells
    }

    fn capacity(&self) -> Vec<Cell> {
        let ways = [
            Way::Ring(Mode::Sync),
            Way::Ring(Mode::TwoVersions),
            bsp(Placement::Single),
            bsp(Placement::Dedicated),
            bsp(Placement::Colocated),
            Way::AllReduce,
        ];
        let [depth, width] = GROWN;
        let mut cells = Vec::new();
        for grows in [Capacity::Depth, Capacity::Width] {
            for profile in &self.profiles {
                cells.extend(ways.iter().map(|way| Cell {
                    kind: Kind::Capacity(grows),
                    model: Model::gpt(depth, width),
                    way: *way,
                    profile: profile.clone(),
                    peers: self.peers_fixed,
                    micro_batches: MICRO_BATCHES,
                    micro_batch: MICRO_BATCH,
                    // Memory is not drawn.
                    seed: 1,
                }));
            }
        }
        cells
    }
}

fn pairs(ways: &[Way], peers: &[u16]) -> Vec<(Way, u16)> {
    let of = |way: &Way| {
        let way = *way;
        peers.iter().map(move |peers| (way, *peers))
    };
    ways.iter().flat_map(of).collect()
}

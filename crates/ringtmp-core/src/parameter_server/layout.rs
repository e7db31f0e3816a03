//! Who does what: ranges, their shards, and each worker's share.

use crate::ids::LayerIndex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// The most devices of one run: the simulator's largest.
pub const MEMBERS_MAX: u16 = 1024;

/// The most numbers of a range: 4 MiB in 32-bit floats, so that of a large layer a shard adds one part while the next comes.
pub const RANGE_ELEMENTS_MAX: u32 = 1 << 20;

/// The most ranges of a model: 256 GiB of parameters.
pub const RANGES_MAX: usize = 1 << 16;

/// A device, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberIndex(pub u16);

/// A worker, counted from 0; gradients are added up in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerIndex(pub u16);

/// A shard, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardIndex(pub u16);

/// A range of the parameters, counted from 0 over the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RangeIndex(pub u32);

/// How gradients come together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exchange {
    /// Every worker is linked to every shard.
    #[default]
    Server,
    /// Round a ring of all members, each of which is worker and shard.
    AllReduce,
}

/// Where the shards are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// One device is the server.
    #[default]
    Single,
    /// Several devices are servers and nothing else.
    Dedicated,
    /// Every worker is a shard as well.
    Colocated,
}

impl Placement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Single, Self::Dedicated, Self::Colocated];

    /// Its name in run files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Dedicated => "dedicated",
            Self::Colocated => "colocated",
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no placement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a placement is single, dedicated or colocated, not {0:?}")]
pub struct UnknownPlacement(String);

impl FromStr for Placement {
    type Err = UnknownPlacement;

    fn from_str(text: &str) -> Result<Self, UnknownPlacement> {
        let named = Self::ALL.into_iter().find(|place| place.name() == text);
        named.ok_or_else(|| UnknownPlacement(text.chars().take(32).collect()))
    }
}

/// Consecutive parameters of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeSpec {
    /// The layer.
    pub layer: LayerIndex,
    /// Numbers of the layer before it.
    pub start: u64,
    /// Its numbers, 1 to [`RANGE_ELEMENTS_MAX`].
    pub elements: u32,
    /// Whose it is.
    pub shard: ShardIndex,
}

/// What a layout is made from.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// How gradients come together.
    pub exchange: Exchange,
    /// Where the shards are; of no concern to all-reduce.
    pub placement: Placement,
    /// How many servers, where they are dedicated.
    pub shards: u16,
    /// Devices.
    pub members: u16,
    /// Numbers that each layer learns.
    pub parameters: &'a [u64],
    /// Micro-batches of a step.
    pub micro_batches: u16,
    /// How fast each device is, in any unit; empty where all are equal.
    pub speeds: &'a [f64],
}

/// Why devices cannot share a run so. The fault is the run's author's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Too many.
    #[error("{0} devices: at most {MEMBERS_MAX} can take part")]
    Members(u16),
    /// Nobody works.
    #[error("{members} devices, of which {servers} are servers: there is none left to compute")]
    NoWorker {
        /// Devices.
        members: u16,
        /// Servers among them.
        servers: u16,
    },
    /// Nobody serves.
    #[error("a parameter server has at least 1 shard")]
    NoShard,
    /// A worker would have nothing to do.
    #[error(
        "{micro_batches} micro-batches of a step are too few for {workers} workers: choose a smaller micro_batch, or fewer devices"
    )]
    MicroBatches {
        /// Of a step.
        micro_batches: u16,
        /// Workers.
        workers: usize,
    },
    /// Not one for each, or no speeds.
    #[error("speeds must be above 0, one for each of {0} devices")]
    Speeds(u16),
    /// More than can be counted.
    #[error("the model has too many parameters: {0} ranges where {RANGES_MAX} are the most")]
    Ranges(u64),
}

/// Who does what.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// How gradients come together.
    pub exchange: Exchange,
    /// Devices.
    pub members: u16,
    /// The device of each worker, ascending.
    pub workers: Vec<MemberIndex>,
    /// The device of each shard. After a loss several may lie with one.
    pub shards: Vec<MemberIndex>,
    /// All parameters, in the order of the model.
    pub ranges: Vec<RangeSpec>,
    /// Micro-batches of a step that each worker has: at least 1.
    pub shares: Vec<u16>,
    /// About what computing a step takes, in milliseconds, where that is known.
    pub step_millis: Option<u32>,
}

impl Layout {
    /// Divides a model's parameters into equal parts, one for each shard, and a step's micro-batches so that the last worker is
    /// done as early as can be. Dedicated servers are the slowest devices, whose computing is missed least.
    ///
    /// # Errors
    ///
    /// Why the devices cannot share the run so.
    pub fn new(wanted: &Wanted<'_>) -> Result<Self, LayoutError> {
        let members = wanted.members;
        if members > MEMBERS_MAX {
            return Err(LayoutError::Members(members));
        }
        let (workers, shards) = wanted.roles()?;
        let micro_batches = wanted.micro_batches;
        if usize::from(micro_batches) < workers.len() {
            let workers = workers.len();
            return Err(LayoutError::MicroBatches {
                micro_batches,
                workers,
            });
        }
        let speeds: Vec<f64> = workers.iter().map(|worker| wanted.speed(*worker)).collect();
        Ok(Self {
            exchange: wanted.exchange,
            members,
            ranges: ranges(wanted.parameters, shards.len() as u64)?,
            workers,
            shards,
            shares: shares(micro_batches, &speeds),
            step_millis: None,
        })
    }

    /// The worker at a device.
    pub fn worker_at(&self, member: MemberIndex) -> Option<WorkerIndex> {
        // As many as members at most, so that it fits.
        let found = self.workers.binary_search(&member);
        found.ok().map(|place| WorkerIndex(place as u16))
    }

    /// The shards at a device.
    pub fn shards_at(&self, member: MemberIndex) -> impl Iterator<Item = ShardIndex> {
        // As many as members at most, so that they fit.
        let all = (0..).map(ShardIndex).zip(&self.shards);
        all.filter(move |(_, home)| **home == member)
            .map(|(shard, _)| shard)
    }

    /// Whether there is a shard at a device.
    pub fn serves(&self, member: MemberIndex) -> bool {
        self.shards.contains(&member)
    }

    /// The ranges of a shard, which are consecutive.
    pub fn ranges_of_shard(&self, shard: ShardIndex) -> Range<u32> {
        let start = self.ranges.partition_point(|range| range.shard < shard);
        let end = self.ranges.partition_point(|range| range.shard <= shard);
        // At most RANGES_MAX, so that they fit.
        start as u32..end as u32
    }

    /// The ranges at a device, ascending.
    pub fn ranges_at(&self, member: MemberIndex) -> impl Iterator<Item = RangeIndex> {
        let shards = self.shards_at(member);
        shards
            .flat_map(|shard| self.ranges_of_shard(shard))
            .map(RangeIndex)
    }

    /// Whether a device neither works nor has a shard yet. It has come as a server of a run that goes on, and keeps copies of shards that
    /// lie with workers until these move to it.
    pub fn stands_in(&self, member: MemberIndex) -> bool {
        self.worker_at(member).is_none() && !self.serves(member)
    }

    /// The devices that do.
    pub fn stand_ins(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        let others: BTreeSet<MemberIndex> =
            self.workers.iter().chain(&self.shards).copied().collect();
        let all = (0..self.members).map(MemberIndex);
        all.filter(move |member| !others.contains(member))
    }

    /// Who stands in for a shard that lies with a worker, where anybody does.
    fn stand_in(&self, shard: usize) -> Option<MemberIndex> {
        if self.workers.len() == usize::from(self.members) {
            return None;
        }
        let with_worker = |home: &&MemberIndex| self.worker_at(**home).is_some();
        let before = self.shards[..shard].iter().filter(with_worker).count();
        let all: Vec<MemberIndex> = self.stand_ins().collect();
        let turn = before.checked_rem(all.len())?;
        all.get(turn).copied()
    }

    /// Who keeps copies of a shard: a device that is linked to its own, and another. Of a server it is a worker, of a worker who stands in
    /// for it, or the one after it. None where there is no other.
    pub fn buddy(&self, shard: ShardIndex) -> Option<MemberIndex> {
        let place = usize::from(shard.0);
        let home = *self.shards.get(place)?;
        let buddy = match (self.exchange, self.workers.binary_search(&home)) {
            (Exchange::AllReduce, _) => self.successor(home),
            (Exchange::Server, Ok(worker)) => {
                let next = self.workers[(worker + 1) % self.workers.len()];
                self.stand_in(place).unwrap_or(next)
            }
            (Exchange::Server, Err(_)) => self.workers[place % self.workers.len()],
        };
        if buddy != home {
            return Some(buddy);
        }
        // Of the only worker it is a server.
        self.shards.iter().copied().find(|other| *other != home)
    }

    /// The device whose shard a range is.
    pub fn home(&self, range: RangeIndex) -> MemberIndex {
        let spec = &self.ranges[range.0 as usize];
        self.shards[usize::from(spec.shard.0)]
    }

    /// The ranges of a layer.
    pub fn ranges_of(&self, layer: LayerIndex) -> Range<u32> {
        let start = self.ranges.partition_point(|range| range.layer < layer);
        let end = self.ranges.partition_point(|range| range.layer <= layer);
        // At most RANGES_MAX, so that they fit.
        start as u32..end as u32
    }

    /// Where the points of the curves come together: a device to which every worker is linked, or news is passed on.
    pub fn collector(&self) -> MemberIndex {
        self.shards[0]
    }

    /// The next device round the ring of all-reduce.
    pub fn successor(&self, member: MemberIndex) -> MemberIndex {
        MemberIndex((member.0 + 1) % self.members)
    }

    /// The device before.
    pub fn predecessor(&self, member: MemberIndex) -> MemberIndex {
        MemberIndex((member.0 + self.members - 1) % self.members)
    }

    /// To whom a device is linked.
    pub fn links(&self, member: MemberIndex) -> BTreeSet<MemberIndex> {
        let mut links = BTreeSet::new();
        match self.exchange {
            Exchange::Server => {
                // Who stands in keeps copies, of which those tell it that have the shards.
                if self.worker_at(member).is_some() || !self.serves(member) {
                    links.extend(&self.shards);
                }
                if self.serves(member) {
                    links.extend(&self.workers);
                    links.extend(self.stand_ins());
                }
            }
            Exchange::AllReduce => {
                links.extend([self.predecessor(member), self.successor(member)]);
            }
        }
        links.remove(&member);
        links
    }

    /// The part of a step's micro-batches, or of as many as `count` others, that a worker has.
    pub fn part(&self, worker: WorkerIndex, count: u16) -> Range<u16> {
        let whole: u32 = self.shares.iter().map(|share| u32::from(*share)).sum();
        let place = usize::from(worker.0);
        let before: u32 = self.shares[..place].iter().map(|s| u32::from(*s)).sum();
        let after = before + u32::from(self.shares[place]);
        // At most `count`, so that it fits.
        let scaled = |share: u32| (share * u32::from(count) / whole.max(1)) as u16;
        scaled(before)..scaled(after)
    }

    /// Micro-batches of a step.
    pub fn micro_batches(&self) -> u16 {
        self.shares.iter().sum()
    }
}

impl Wanted<'_> {
    fn speed(&self, member: MemberIndex) -> f64 {
        let speed = self.speeds.get(usize::from(member.0));
        speed.copied().unwrap_or(1.0)
    }

    fn roles(&self) -> Result<(Vec<MemberIndex>, Vec<MemberIndex>), LayoutError> {
        let members = self.members;
        let sound = |speed: &f64| speed.is_finite() && *speed > 0.0;
        let counted = self.speeds.is_empty() || self.speeds.len() == usize::from(members);
        if !counted || !self.speeds.iter().all(sound) {
            return Err(LayoutError::Speeds(members));
        }
        let servers = match (self.exchange, self.placement) {
            (Exchange::AllReduce, _) | (Exchange::Server, Placement::Colocated) => 0,
            (Exchange::Server, Placement::Single) => 1,
            (Exchange::Server, Placement::Dedicated) => match self.shards {
                0 => return Err(LayoutError::NoShard),
                shards => shards,
            },
        };
        if servers >= members {
            return Err(LayoutError::NoWorker { members, servers });
        }
        let mut all: Vec<MemberIndex> = (0..members).map(MemberIndex).collect();
        if servers == 0 {
            return Ok((all.clone(), all));
        }
        // The fastest first; of equals, the first ones.
        all.sort_by(|one, other| self.speed(*other).total_cmp(&self.speed(*one)));
        let mut shards = all.split_off(usize::from(members - servers));
        all.sort_unstable();
        shards.sort_unstable();
        Ok((all, shards))
    }
}

/// Cuts the parameters into as many equal parts as there are shards, and these at layers and into handy pieces.
pub(super) fn ranges(parameters: &[u64], shards: u64) -> Result<Vec<RangeSpec>, LayoutError> {
    let too_many = |count: u64| LayoutError::Ranges(count);
    let total = parameters
        .iter()
        .try_fold(0u64, |sum, layer| sum.checked_add(*layer))
        .filter(|total| total / u64::from(RANGE_ELEMENTS_MAX) < RANGES_MAX as u64)
        .ok_or(too_many(u64::MAX))?;
    // Parameters below 2^36 times shards below 2^10: no overflow.
    let cut = |shard: u64| total * shard / shards;
    let (mut ranges, mut shard, mut before) = (Vec::new(), 0, 0u64);
    for (layer, elements) in parameters.iter().enumerate() {
        let mut done = 0;
        while done < *elements {
            while cut(shard + 1) <= before + done {
                shard += 1;
            }
            let left = (elements - done).min(cut(shard + 1) - before - done);
            // Pieces of about the same size.
            let pieces = left.div_ceil(u64::from(RANGE_ELEMENTS_MAX));
            let piece = left.div_ceil(pieces);
            ranges.push(RangeSpec {
                layer: LayerIndex(layer as u16),
                start: done,
                elements: piece as u32,
                shard: ShardIndex(shard as u16),
            });
            done += piece;
        }
        before += elements;
    }
    if ranges.len() > RANGES_MAX {
        return Err(too_many(ranges.len() as u64));
    }
    Ok(ranges)
}

/// Gives each worker a micro-batch, and every further one to whom it makes least late.
pub(super) fn shares(micro_batches: u16, speeds: &[f64]) -> Vec<u16> {
    let mut shares = vec![1u16; speeds.len()];
    let given = u16::try_from(speeds.len()).unwrap_or(u16::MAX);
    for _ in given..micro_batches {
        let late = |worker: usize| f64::from(shares[worker] + 1) / speeds[worker];
        let workers = 0..speeds.len();
        let best = workers.min_by(|one, other| late(*one).total_cmp(&late(*other)));
        if let Some(best) = best {
            shares[best] += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(placement: Placement, members: u16, parameters: &'a [u64]) -> Wanted<'a> {
        Wanted {
            exchange: Exchange::Server,
            placement,
            shards: 2,
            members,
            parameters,
            micro_batches: 12,
            speeds: &[],
        }
    }

    #[test]
    fn parameters_are_cut_into_equal_parts_within_layers_and_none_is_left_out() {
        let large = u64::from(RANGE_ELEMENTS_MAX) * 5 / 2;
        for parameters in [&[200_704, 0, 256, 2570][..], &[large, 7, 0], &[3], &[]] {
            for placement in Placement::ALL {
                let layout = Layout::new(&wanted(placement, 5, parameters)).expect("sound");
                let total: u64 = parameters.iter().sum();
                let mut owned = vec![0; layout.shards.len()];
                let mut next = vec![0; parameters.len()];
                for range in &layout.ranges {
                    let layer = usize::from(range.layer.0);
                    assert_eq!(range.start, next[layer], "no gap and no overlap");
                    assert!((1..=RANGE_ELEMENTS_MAX).contains(&range.elements));
                    next[layer] += u64::from(range.elements);
                    owned[usize::from(range.shard.0)] += u64::from(range.elements);
                }
                assert_eq!(next, parameters);
                let even = total / owned.len() as u64;
                let fair = |owned: &u64| *owned == even || *owned == even + 1;
                assert!(owned.iter().all(fair), "{owned:?}");
                let layers = 0..parameters.len() as u16;
                let of_layers = layers.flat_map(|layer| layout.ranges_of(LayerIndex(layer)));
                assert!(of_layers.eq(0..layout.ranges.len() as u32));
            }
        }
    }

    #[test]
    fn shares_are_proportional_to_speed_and_servers_are_the_slowest() {
        let speeds = [4.0, 1.0, 2.0, 1.0];
        let layout = Layout::new(&Wanted {
            speeds: &speeds,
            micro_batches: 14,
            ..wanted(Placement::Single, 4, &[10])
        })
        .expect("sound");
        assert_eq!(layout.shards, [MemberIndex(3)]);
        assert_eq!(layout.workers, [0, 1, 2].map(MemberIndex));
        assert_eq!(layout.shares, [8, 2, 4]);
        let parts = [0, 1, 2].map(|worker| layout.part(WorkerIndex(worker), 14));
        assert_eq!(parts, [0..8, 8..10, 10..14]);
        let evaluations = [0, 1, 2].map(|worker| layout.part(WorkerIndex(worker), 5));
        assert_eq!(evaluations, [0..2, 2..3, 3..5]);
    }

    #[test]
    fn links_are_those_that_are_used() {
        let dedicated = Layout::new(&wanted(Placement::Dedicated, 5, &[10])).expect("sound");
        assert!(
            dedicated
                .links(MemberIndex(0))
                .into_iter()
                .eq([3, 4].map(MemberIndex))
        );
        let workers = dedicated.links(MemberIndex(4));
        assert!(workers.into_iter().eq([0, 1, 2].map(MemberIndex)));
        let colocated = Layout::new(&wanted(Placement::Colocated, 3, &[10])).expect("sound");
        assert!(
            colocated
                .links(MemberIndex(1))
                .into_iter()
                .eq([0, 2].map(MemberIndex))
        );
        let all_reduce = Layout::new(&Wanted {
            exchange: Exchange::AllReduce,
            ..wanted(Placement::Single, 5, &[10])
        })
        .expect("sound");
        assert!(
            all_reduce
                .links(MemberIndex(0))
                .into_iter()
                .eq([1, 4].map(MemberIndex))
        );
        assert_eq!(all_reduce.shards.len(), 5);
    }

    #[test]
    fn what_cannot_be_shared_is_refused_with_the_reason() {
        let refused = |wanted: &Wanted<'_>| Layout::new(wanted).expect_err("not sound");
        let single = wanted(Placement::Single, 1, &[10]);
        let (members, servers) = (1, 1);
        assert_eq!(refused(&single), LayoutError::NoWorker { members, servers });
        let crowd = wanted(Placement::Colocated, 13, &[10]);
        assert!(refused(&crowd).to_string().contains("smaller micro_batch"));
        let none = Wanted {
            shards: 0,
            ..wanted(Placement::Dedicated, 3, &[10])
        };
        assert_eq!(refused(&none), LayoutError::NoShard);
        let speeds = Wanted {
            speeds: &[1.0, 0.0, 1.0],
            ..wanted(Placement::Colocated, 3, &[10])
        };
        assert_eq!(refused(&speeds), LayoutError::Speeds(3));
        let huge = wanted(Placement::Colocated, 3, &[u64::MAX, 2]);
        assert!(matches!(refused(&huge), LayoutError::Ranges(_)));
        let many = wanted(Placement::Colocated, MEMBERS_MAX + 1, &[10]);
        assert_eq!(refused(&many), LayoutError::Members(MEMBERS_MAX + 1));
    }
}

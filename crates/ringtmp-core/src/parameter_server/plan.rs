//! The plan of a room whose devices hold whole models: who works, who serves, and how much each does.

use super::layout::{
    Exchange, Layout, LayoutError, MEMBERS_MAX, MemberIndex, Placement, ranges, shares,
};
use crate::ids::{Epoch, PeerId, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How the devices of a room train one model together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Topology {
    /// Each holds some layers.
    #[default]
    Ring,
    /// Workers hold whole models, and servers update the parameters.
    ParameterServer {
        /// Where the parameters are.
        placement: Placement,
        /// How many servers, where they are dedicated and none has come as one.
        shards: u16,
    },
    /// Workers hold whole models, and add their gradients up round a ring.
    AllReduce,
}

impl Topology {
    /// How gradients come together; none in a ring of stages.
    pub const fn exchange(self) -> Option<Exchange> {
        match self {
            Self::Ring => None,
            Self::ParameterServer { .. } => Some(Exchange::Server),
            Self::AllReduce => Some(Exchange::AllReduce),
        }
    }

    /// Whether a device may come as a server and nothing else.
    pub const fn takes_servers(self) -> bool {
        match self {
            Self::Ring | Self::AllReduce => false,
            Self::ParameterServer { placement, .. } => match placement {
                Placement::Single | Placement::Dedicated => true,
                Placement::Colocated => false,
            },
        }
    }

    /// How many devices are servers and nothing else, where so many have come as such.
    const fn servers(self, came: usize) -> usize {
        match self {
            Self::Ring | Self::AllReduce => 0,
            Self::ParameterServer {
                placement, shards, ..
            } => match placement {
                Placement::Colocated => 0,
                Placement::Single => 1,
                Placement::Dedicated if came > 0 => came,
                Placement::Dedicated => shards as usize,
            },
        }
    }
}

/// A device, as a plan is made with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TeamDevice {
    /// Who.
    pub peer: PeerId,
    /// Whether it has come as a server, and does nothing else.
    pub serves: bool,
    /// How fast it computes, in any unit; above 0.
    pub speed: f64,
}

/// What the members of a plan begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "with", rename_all = "snake_case")]
pub enum TeamStart {
    /// The first step of the run.
    #[default]
    Beginning,
    /// What each shard holds, which is at most so far.
    Held {
        /// The clock of the range that is furthest.
        reached: Step,
    },
    /// The copies of this version.
    Copies {
        /// Steps that are in its weights.
        version: Step,
    },
}

impl TeamStart {
    /// No version up to it is copied any more.
    pub const fn step(self) -> Step {
        match self {
            Self::Beginning => Step(0),
            Self::Held { reached } => reached,
            Self::Copies { version } => version,
        }
    }
}

/// Who works, who serves, and how much each does. Only a newer epoch replaces it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TeamPlan {
    /// Its version.
    pub epoch: Epoch,
    /// How gradients come together.
    pub exchange: Exchange,
    /// The devices that take part; the first is member 0.
    pub order: Vec<PeerId>,
    /// Those that compute gradients, ascending.
    pub workers: Vec<MemberIndex>,
    /// Micro-batches of a step that each worker has: at least 1.
    pub shares: Vec<u16>,
    /// Where each of the equal parts of the parameters is: after a loss several may be at one device.
    pub shards: Vec<MemberIndex>,
    /// What they begin with.
    pub start: TeamStart,
    /// The plan that was at work before, and those after it that never began: what was kept under them is of one past.
    #[serde(default)]
    pub pasts: Vec<Epoch>,
    /// Devices for which there is nothing to do.
    pub spares: Vec<TeamSpare>,
    /// About what computing a step takes, in milliseconds, where all workers have measured.
    #[serde(default)]
    pub step_millis: Option<u32>,
}

/// A device without a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamSpare {
    /// Who.
    pub peer: PeerId,
    /// Why.
    pub reason: TeamSpareReason,
}

/// Why a plan does without a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeamSpareReason {
    /// It has come as a server, and others serve already.
    TooManyServers,
    /// A step has fewer micro-batches than there are workers.
    TooFewMicroBatches,
}

/// Why there is no such plan, or why one cannot be used. A server that sends one that cannot be used is broken or hostile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TeamPlanError {
    /// Nobody works.
    #[error(
        "of {devices} devices {servers} are servers, and none is left to compute: let another join"
    )]
    NoWorker {
        /// Devices.
        devices: usize,
        /// Servers among them.
        servers: usize,
    },
    /// Roles, shares and devices do not go together.
    #[error("the plan is not one that can be: {0}")]
    Unsound(&'static str),
    /// The model cannot be shared so.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl TeamPlan {
    /// Says who does what, by devices in the order in which they came. Servers are those that came as such, then the slowest, whose
    /// computing is missed least; a step's micro-batches are divided so that the last worker is done as early as can be.
    ///
    /// # Errors
    ///
    /// That nobody is left to compute.
    pub fn new(
        epoch: Epoch,
        topology: Topology,
        micro_batches: u16,
        devices: &[TeamDevice],
    ) -> Result<Self, TeamPlanError> {
        let exchange = topology
            .exchange()
            .ok_or(TeamPlanError::Unsound("it is of a ring"))?;
        let came = devices.iter().filter(|device| device.serves).count();
        let wanted = topology.servers(came);
        let (mut servers, mut workers) = (Vec::new(), Vec::new());
        let mut spares = Vec::new();
        for device in devices {
            if !device.serves {
                workers.push(*device);
            } else if servers.len() < wanted {
                servers.push(*device);
            } else {
                spares.push(spare(device, TeamSpareReason::TooManyServers));
            }
        }
        let none = TeamPlanError::NoWorker {
            devices: devices.len(),
            servers: wanted,
        };
        // The fastest first; of equals, the first ones.
        workers.sort_by(|one, other| other.speed.total_cmp(&one.speed));
        let lacking = wanted - servers.len();
        let left = workers.len().checked_sub(lacking).ok_or(none.clone())?;
        servers.extend(workers.split_off(left));
        let most = usize::from(micro_batches).min(usize::from(MEMBERS_MAX));
        let late = workers.split_off(workers.len().min(most));
        let idle = late.iter();
        spares.extend(idle.map(|device| spare(device, TeamSpareReason::TooFewMicroBatches)));
        if workers.is_empty() {
            return Err(none);
        }
        let homes: Option<Vec<PeerId>> = (wanted > 0).then(|| peers(devices, &servers));
        let homes = homes.unwrap_or_else(|| peers(devices, &workers));
        let roles = Roles {
            devices,
            workers: &workers,
            homes: &homes,
            stand_ins: &[],
        };
        let plan = roles.plan(epoch, exchange, micro_batches);
        Ok(Self { spares, ..plan })
    }

    /// Says who does what in a run that goes on: each part of the parameters is where it is said to be, and whoever has not come as a
    /// server works, those with parts first, then the fastest. Where a worker has a part that a server is to have, a server without one
    /// stands in: it keeps copies of that part, along which it can come to it.
    ///
    /// # Errors
    ///
    /// That nobody is left to compute.
    pub fn going_on(
        epoch: Epoch,
        topology: Topology,
        micro_batches: u16,
        devices: &[TeamDevice],
        homes: &[PeerId],
    ) -> Result<Self, TeamPlanError> {
        let exchange = topology
            .exchange()
            .ok_or(TeamPlanError::Unsound("it is of a ring"))?;
        let is_home = |device: &TeamDevice| homes.contains(&device.peer);
        let mut workers: Vec<TeamDevice> = devices.to_vec();
        workers.retain(|device| !device.serves);
        workers.sort_by(|one, other| {
            let home = is_home(other).cmp(&is_home(one));
            home.then(other.speed.total_cmp(&one.speed))
        });
        let most = usize::from(micro_batches).min(usize::from(MEMBERS_MAX));
        let late = workers.split_off(workers.len().min(most));
        if workers.is_empty() {
            let servers = devices.iter().filter(|device| device.serves).count();
            return Err(TeamPlanError::NoWorker {
                devices: devices.len(),
                servers,
            });
        }
        let wanted = match topology.takes_servers() {
            true => homes
                .iter()
                .filter(|home| is_among(&workers, **home))
                .count(),
            false => 0,
        };
        let without = |device: &&TeamDevice| device.serves && !is_home(device);
        let mut servers = devices.iter().filter(without);
        let stand_ins: Vec<PeerId> = servers.by_ref().take(wanted).map(|it| it.peer).collect();
        let too_many = servers.map(|it| spare(it, TeamSpareReason::TooManyServers));
        let idle = late.iter().filter(|device| !is_home(device));
        let idle = idle.map(|device| spare(device, TeamSpareReason::TooFewMicroBatches));
        let roles = Roles {
            devices,
            workers: &workers,
            homes,
            stand_ins: &stand_ins,
        };
        let plan = roles.plan(epoch, exchange, micro_batches);
        Ok(Self {
            spares: too_many.chain(idle).collect(),
            ..plan
        })
    }

    /// The place of a device.
    pub fn member_of(&self, peer: PeerId) -> Option<MemberIndex> {
        let place = self.order.iter().position(|other| *other == peer)?;
        u16::try_from(place).ok().map(MemberIndex)
    }

    /// Whether a device computes gradients.
    pub fn works(&self, peer: PeerId) -> bool {
        let member = self.member_of(peer);
        member.is_some_and(|member| self.workers.contains(&member))
    }

    /// Whether a device has ranges of the parameters.
    pub fn serves(&self, peer: PeerId) -> bool {
        let member = self.member_of(peer);
        member.is_some_and(|member| self.shards.contains(&member))
    }

    /// Whether a device only keeps copies, of what is to come to it from a worker.
    pub fn stands_in(&self, peer: PeerId) -> bool {
        self.member_of(peer).is_some() && !self.works(peer) && !self.serves(peer)
    }

    /// Those that do.
    pub fn stand_ins(&self) -> impl Iterator<Item = PeerId> {
        let others: BTreeSet<MemberIndex> =
            self.workers.iter().chain(&self.shards).copied().collect();
        let all = (0..).map(MemberIndex).zip(&self.order);
        let stand_ins = all.filter(move |(member, _)| !others.contains(member));
        stand_ins.map(|(_, peer)| *peer)
    }

    /// How many parts of the parameters lie with workers.
    pub fn parts_with_workers(&self) -> usize {
        let with_worker = |home: &&MemberIndex| self.workers.contains(*home);
        self.shards.iter().filter(with_worker).count()
    }

    /// The devices that have ranges of the parameters, in the plan's order.
    pub fn servers(&self) -> impl Iterator<Item = PeerId> {
        self.order.iter().copied().filter(|peer| self.serves(*peer))
    }

    /// A worker's micro-batches of a step; none of who is no worker.
    pub fn share_of(&self, peer: PeerId) -> Option<u16> {
        let member = self.member_of(peer)?;
        let worker = self.workers.iter().position(|worker| *worker == member)?;
        self.shares.get(worker).copied()
    }

    /// To whom a device is linked, in the plan's order; nobody where the plan is unsound.
    pub fn linked(&self, peer: PeerId) -> Vec<PeerId> {
        let micro_batches = self
            .shares
            .iter()
            .fold(0u16, |all, share| all.saturating_add(*share));
        let (Some(me), Ok(layout)) = (self.member_of(peer), self.layout(&[], micro_batches)) else {
            return Vec::new();
        };
        let links = layout.links(me).into_iter();
        links
            .map(|member| self.order[usize::from(member.0)])
            .collect()
    }

    /// The device where the points of the curves come together.
    pub fn collector(&self) -> Option<PeerId> {
        let first = self.shards.first()?;
        self.order.get(usize::from(first.0)).copied()
    }

    /// Who is linked to whom, and has which ranges of a model with so many parameters in each layer.
    ///
    /// # Errors
    ///
    /// What is wrong with the plan.
    pub fn layout(&self, parameters: &[u64], micro_batches: u16) -> Result<Layout, TeamPlanError> {
        self.check(micro_batches).map_err(TeamPlanError::Unsound)?;
        Ok(Layout {
            exchange: self.exchange,
            // Checked to be at most MEMBERS_MAX.
            members: self.order.len() as u16,
            ranges: ranges(parameters, self.shards.len() as u64)?,
            workers: self.workers.clone(),
            shards: self.shards.clone(),
            shares: self.shares.clone(),
            step_millis: self.step_millis,
        })
    }

    fn check(&self, micro_batches: u16) -> Result<(), &'static str> {
        let members = self.order.len();
        if members == 0 || members > usize::from(MEMBERS_MAX) {
            return Err("it has no devices, or too many");
        }
        let different: BTreeSet<&PeerId> = self.order.iter().collect();
        if different.len() < members {
            return Err("a device has two places");
        }
        let in_order = |of: &[MemberIndex]| {
            let rising = of.windows(2).all(|pair| pair[0] < pair[1]);
            rising && of.last().is_some_and(|last| usize::from(last.0) < members)
        };
        let there = |home: &MemberIndex| usize::from(home.0) < members;
        let shards = 1..=usize::from(MEMBERS_MAX);
        let homes = shards.contains(&self.shards.len()) && self.shards.iter().all(there);
        if !in_order(&self.workers) || !homes {
            return Err("its workers or servers are none of its devices, or out of order");
        }
        if self.exchange == Exchange::AllReduce && self.workers.len() < members {
            return Err("not every device of an all-reduce computes");
        }
        let all: BTreeSet<&MemberIndex> = self.workers.iter().chain(&self.shards).collect();
        let stand_ins = members - all.len();
        if stand_ins > self.parts_with_workers() {
            return Err("a device has nothing to do");
        }
        let whole: u64 = self.shares.iter().map(|share| u64::from(*share)).sum();
        let divided = self.shares.len() == self.workers.len() && whole == u64::from(micro_batches);
        if !divided || self.shares.contains(&0) {
            return Err("its shares are not those of a step");
        }
        Ok(())
    }
}

fn spare(device: &TeamDevice, reason: TeamSpareReason) -> TeamSpare {
    TeamSpare {
        peer: device.peer,
        reason,
    }
}

fn is_among(devices: &[TeamDevice], peer: PeerId) -> bool {
    devices.iter().any(|device| device.peer == peer)
}

/// In the order in which they came.
fn peers(devices: &[TeamDevice], which: &[TeamDevice]) -> Vec<PeerId> {
    let all = devices.iter().map(|device| device.peer);
    all.filter(|peer| is_among(which, *peer)).collect()
}

/// Who works, where each part of the parameters is, and who has nothing but copies.
struct Roles<'a> {
    devices: &'a [TeamDevice],
    workers: &'a [TeamDevice],
    homes: &'a [PeerId],
    stand_ins: &'a [PeerId],
}

impl Roles<'_> {
    fn plan(&self, epoch: Epoch, exchange: Exchange, micro_batches: u16) -> TeamPlan {
        let works = |peer: PeerId| is_among(self.workers, peer);
        let takes_part = |device: &&TeamDevice| {
            let peer = device.peer;
            works(peer) || self.homes.contains(&peer) || self.stand_ins.contains(&peer)
        };
        let order: Vec<&TeamDevice> = self.devices.iter().filter(takes_part).collect();
        let places = || (0..).map(MemberIndex).zip(&order);
        let workers = places().filter(|(_, device)| works(device.peer));
        let (workers, speeds): (Vec<MemberIndex>, Vec<f64>) =
            workers.map(|(place, device)| (place, device.speed)).unzip();
        let place = |home: &PeerId| {
            let found = places().find(|(_, device)| device.peer == *home);
            found.map(|(place, _)| place)
        };
        TeamPlan {
            epoch,
            exchange,
            shares: shares(micro_batches, &speeds),
            shards: self.homes.iter().filter_map(place).collect(),
            order: order.iter().map(|device| device.peer).collect(),
            workers,
            start: TeamStart::Beginning,
            pasts: Vec::new(),
            spares: Vec::new(),
            step_millis: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter_server::ShardIndex;

    const SINGLE: Topology = Topology::ParameterServer {
        placement: Placement::Single,
        shards: 2,
    };

    const DEDICATED: Topology = Topology::ParameterServer {
        placement: Placement::Dedicated,
        shards: 2,
    };

    fn devices(which: &[(bool, f64)]) -> Vec<TeamDevice> {
        (1..)
            .map(PeerId)
            .zip(which)
            .map(|(peer, (serves, speed))| TeamDevice {
                peer,
                serves: *serves,
                speed: *speed,
            })
            .collect()
    }

    fn plan(topology: Topology, which: &[(bool, f64)]) -> TeamPlan {
        TeamPlan::new(Epoch::default(), topology, 8, &devices(which)).expect("they can")
    }

    fn members(of: &[u16]) -> Vec<MemberIndex> {
        of.iter().copied().map(MemberIndex).collect()
    }

    #[test]
    fn whoever_came_as_a_server_serves_and_otherwise_the_slowest() {
        let server_came = plan(SINGLE, &[(false, 1.0), (true, 9.0), (false, 3.0)]);
        assert_eq!(server_came.shards, members(&[1]));
        assert_eq!(server_came.workers, members(&[0, 2]));
        assert_eq!(server_came.shares, [2, 6], "by speed");
        assert_eq!(server_came.collector(), Some(PeerId(2)));
        let nobody_did = plan(SINGLE, &[(false, 3.0), (false, 1.0), (false, 3.0)]);
        assert_eq!(nobody_did.shards, members(&[1]));
        let three = plan(
            DEDICATED,
            &[(true, 1.0), (true, 1.0), (true, 1.0), (false, 1.0)],
        );
        assert_eq!(three.shards, members(&[0, 1, 2]), "all that came");
        let filled = plan(DEDICATED, &[(false, 1.0), (false, 2.0), (false, 3.0)]);
        assert_eq!((filled.shards, filled.shares), (members(&[0, 1]), vec![8]));
    }

    #[test]
    fn whoever_is_too_much_is_spare_and_where_nobody_is_left_to_compute_there_is_no_plan() {
        let two = plan(SINGLE, &[(true, 1.0), (true, 1.0), (false, 1.0)]);
        let spare = TeamSpare {
            peer: PeerId(2),
            reason: TeamSpareReason::TooManyServers,
        };
        assert_eq!(
            (two.spares, two.order),
            (vec![spare], vec![PeerId(1), PeerId(3)])
        );
        let mut ten = vec![(false, 2.0); 9];
        ten[4].1 = 1.0;
        let ten = plan(Topology::AllReduce, &ten);
        assert_eq!(ten.workers.len(), 8);
        assert_eq!(ten.workers, ten.shards);
        assert_eq!(ten.spares[0].peer, PeerId(5), "the slowest");
        for alone in [&[(true, 1.0)][..], &[(false, 1.0)]] {
            let none = TeamPlan::new(Epoch::default(), SINGLE, 8, &devices(alone));
            assert!(
                matches!(none, Err(TeamPlanError::NoWorker { .. })),
                "{none:?}"
            );
        }
    }

    #[test]
    fn servers_without_a_part_stand_in_for_the_parts_that_are_with_workers_one_for_each() {
        let came = devices(&[
            (false, 1.0),
            (true, 1.0),
            (false, 1.0),
            (true, 1.0),
            (true, 1.0),
        ]);
        let [one, two, three, four, five] = [1, 2, 3, 4, 5].map(PeerId);
        let going_on = |topology, homes: &[PeerId]| {
            let plan = TeamPlan::going_on(Epoch::default(), topology, 8, &came, homes);
            plan.expect("they can")
        };
        let plan = going_on(DEDICATED, &[one, three]);
        assert_eq!(plan.stand_ins().collect::<Vec<_>>(), [two, four]);
        assert_eq!(
            plan.spares[..],
            [spare(&came[4], TeamSpareReason::TooManyServers)]
        );
        let layout = plan.layout(&[10], 8).expect("sound");
        let buddies = [0, 1].map(|shard| layout.buddy(ShardIndex(shard)));
        assert_eq!(buddies, [plan.member_of(two), plan.member_of(four)]);
        for buddy in [two, four] {
            assert_eq!(plan.linked(buddy), [one, three]);
        }
        // A part that is with a server is not theirs.
        let plan = going_on(DEDICATED, &[five, three]);
        assert_eq!(plan.stand_ins().collect::<Vec<_>>(), [two]);
        let layout = plan.layout(&[10], 8).expect("sound");
        assert_eq!(layout.buddy(ShardIndex(0)), plan.member_of(one));
        assert_eq!(layout.buddy(ShardIndex(1)), plan.member_of(two));
        assert_eq!(plan.linked(two), [three, five]);
        // Nor is there anything to stand in for where workers serve anyhow.
        let colocated = Topology::ParameterServer {
            placement: Placement::Colocated,
            shards: 1,
        };
        assert_eq!(going_on(colocated, &[one, three]).stand_ins().count(), 0);
    }

    #[test]
    fn a_plan_that_cannot_be_is_refused() {
        let sound = plan(SINGLE, &[(true, 1.0), (false, 1.0), (false, 1.0)]);
        let layout = sound.layout(&[10, 0, 7], 8).expect("sound");
        assert_eq!(
            (layout.workers, layout.shares),
            (members(&[1, 2]), vec![4, 4])
        );
        assert!(sound.layout(&[10], 9).is_err(), "of another run");
        let spoil = |spoil: fn(&mut TeamPlan)| {
            let mut plan = sound.clone();
            spoil(&mut plan);
            plan.layout(&[10, 0, 7], 8)
        };
        let spoilt = [
            spoil(|plan| plan.order[1] = plan.order[0]),
            spoil(|plan| plan.order.push(PeerId(77))),
            spoil(|plan| plan.order.clear()),
            spoil(|plan| plan.workers.swap(0, 1)),
            spoil(|plan| plan.workers[1].0 = 3),
            spoil(|plan| plan.shards.clear()),
            spoil(|plan| plan.shares = vec![8, 0]),
            spoil(|plan| plan.shares = vec![8]),
            spoil(|plan| plan.exchange = Exchange::AllReduce),
        ];
        for spoilt in spoilt {
            assert!(
                matches!(spoilt, Err(TeamPlanError::Unsound(_))),
                "{spoilt:?}"
            );
        }
    }
}

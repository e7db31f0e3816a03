//! Members that are lost, at any moment, and what the others go on from.

use super::*;
use crate::ids::{Epoch, PeerId};
use std::time::Duration;

/// As in [`job`].
const PARAMETERS: [u64; 4] = [7, 0, 5, RANGE_ELEMENTS_MAX as u64 + 9];

/// Every way, without staleness and with it.
fn ways() -> Vec<Job> {
    let taus = [0, 2].map(Staleness::Steps);
    let mut ways = vec![
        job(Exchange::AllReduce, Placement::Single, 2, taus[0]),
        job(Exchange::AllReduce, Placement::Single, 5, taus[0]),
    ];
    for placement in Placement::ALL {
        let taus = taus.into_iter().chain([Staleness::Infinite]);
        ways.extend(taus.map(|tau| job(Exchange::Server, placement, 5, tau)));
    }
    for way in &mut ways {
        way.steps = 9;
    }
    ways
}

/// What those have that are left.
struct Left {
    /// By their old place.
    carried: BTreeMap<u16, Carried>,
}

impl Left {
    fn live(&self, job: &Job, shard: ShardIndex) -> Option<u16> {
        let home = job.layout.shards[usize::from(shard.0)].0;
        self.carried.contains_key(&home).then_some(home)
    }

    /// Who keeps a shard of a version: its home before anybody else.
    fn keeper(&self, job: &Job, shard: ShardIndex, version: Step) -> Option<u16> {
        let keeps = |carried: &Carried| {
            let mut ranges = job.layout.ranges_of_shard(shard);
            ranges.all(|range| carried.copies.contains_key(&(version, RangeIndex(range))))
        };
        let home = job.layout.shards[usize::from(shard.0)].0;
        let all = self.carried.iter().filter(|(_, carried)| keeps(carried));
        let all: Vec<u16> = all.map(|(place, _)| *place).collect();
        let stays = all.iter().find(|place| **place == home);
        stays.or(all.first()).copied()
    }

    fn start(&self, job: &Job) -> Option<(TeamStart, Vec<u16>)> {
        let shards = || (0..job.layout.shards.len() as u16).map(ShardIndex);
        let live: Option<Vec<u16>> = shards().map(|shard| self.live(job, shard)).collect();
        if let Some(homes) = live {
            let reached = self.carried.values().flat_map(|it| it.reached.values());
            let reached = reached.map(|reached| reached.clock).max();
            let reached = reached.unwrap_or_default();
            return Some((TeamStart::Held { reached }, homes));
        }
        (0..job.steps).rev().map(Step).find_map(|version| {
            let keeper = |shard| self.keeper(job, shard, version);
            let homes: Option<Vec<u16>> = shards().map(keeper).collect();
            Some((TeamStart::Copies { version }, homes?))
        })
    }
}

/// The run without one member: the others end the task under way, and go on.
fn without(mut world: World, gone: u16, seed: u64) -> (World, &'static str) {
    let before = world.job.clone();
    let mut carried = BTreeMap::new();
    for place in (0..before.layout.members).filter(|place| *place != gone) {
        let linked = before.layout.links(MemberIndex(place));
        if linked.contains(&MemberIndex(gone)) && world.draw(2) == 0 {
            // It stops at once, and what is under way is made all the same.
            let (peer, reason) = (MemberIndex(gone), "gone".to_owned());
            world.input(place, Input::LinkLost { peer, reason });
        }
        if world.devices[usize::from(place)].running.is_some() {
            world.complete(place);
        }
        carried.insert(place, world.members[usize::from(place)].carry());
    }
    let left = Left { carried };
    let Some((start, homes)) = left.start(&before) else {
        let mut job = Job::clone(&before);
        job.layout = layout(&before, gone, None);
        job.copies = copies(&job.layout);
        return (World::new(&job, seed), "anew");
    };
    let mut job = Job::clone(&before);
    job.layout = layout(&before, gone, Some(&homes));
    job.copies = copies(&job.layout);
    let job = Arc::new(job);
    let (mut members, mut devices) = (Vec::new(), Vec::new());
    for (me, (place, carried)) in (0..).map(MemberIndex).zip(left.carried) {
        let old = &world.devices[usize::from(place)];
        let mut device = blank(&job);
        let copies = carried.copies.iter().map(|(key, copy)| {
            let slots = copy
                .slots
                .iter()
                .map(|slot| device.keep(old.payloads[slot].clone()));
            let (slots, updates) = (slots.collect(), copy.updates);
            (*key, KeptCopy { updates, slots })
        });
        let copies: BTreeMap<_, _> = copies.collect();
        for range in job.layout.ranges_at(me) {
            let index = range.0 as usize;
            match start {
                TeamStart::Copies { version } => {
                    let slots = &copies[&(version, range)].slots;
                    device.weights[index] = device.payloads[&slots[0]].clone();
                    let updates = device.payloads[&slots[1]].iter();
                    device.updates[index] = updates.map(|(count, step)| (*step, *count)).collect();
                }
                _ => {
                    device.weights[index] = old.weights[index].clone();
                    device.updates[index] = old.updates[index].clone();
                }
            }
        }
        let carried = Carried {
            reached: carried.reached,
            copies,
        };
        members.push(Member::going_on(job.clone(), me, start, carried));
        devices.push(device);
    }
    let how = match start {
        TeamStart::Beginning => "anew",
        TeamStart::Held { .. } => "as they are",
        TeamStart::Copies { .. } => "from copies",
    };
    (World::of(job, seed, members, devices), how)
}

/// A device at the beginning of a run.
fn blank(job: &Job) -> Device {
    let ranges = job.layout.ranges.len();
    Device {
        model: vec![Log::new(); ranges],
        weights: vec![Log::new(); ranges],
        sum: vec![Log::new(); ranges],
        updates: vec![Vec::new(); ranges],
        ..Device::default()
    }
}

/// As a room would have it: peers are the old places.
fn layout(before: &Job, gone: u16, homes: Option<&[u16]>) -> Layout {
    let topology = match before.layout.exchange {
        Exchange::AllReduce => Topology::AllReduce,
        Exchange::Server => Topology::ParameterServer {
            placement: Placement::Single,
            shards: 1,
        },
    };
    let places = (0..before.layout.members).filter(|place| *place != gone);
    let peer = |place: u16| PeerId(place.into());
    let devices: Vec<TeamDevice> = places
        .map(|place| TeamDevice {
            peer: peer(place),
            serves: before.layout.worker_at(MemberIndex(place)).is_none(),
            speed: 1.0,
        })
        .collect();
    let plan = match homes {
        Some(homes) => {
            let homes: Vec<PeerId> = homes.iter().copied().map(peer).collect();
            TeamPlan::going_on(Epoch::default(), topology, 7, &devices, &homes)
        }
        None => TeamPlan::new(Epoch::default(), topology, 7, &devices),
    };
    let plan = plan.expect("somebody is left who computes");
    plan.layout(&PARAMETERS, 7).expect("it is sound")
}

fn goes_on(world: &World, seed: u64) {
    for (_, event) in &world.events {
        match event {
            Event::Refused { refusal, .. } => {
                assert!(matches!(refusal, Refusal::Duplicate { .. }), "{refusal}");
            }
            Event::Aborted { reason, .. } | Event::LinkLost { reason, .. } => {
                panic!("seed {seed}: {reason}")
            }
            Event::Suspect { .. } => panic!("seed {seed}: nobody is silent"),
            Event::Begun | Event::Score(_) | Event::Stable(_) | Event::Finished => {}
        }
    }
}

/// All ends well: the same weights everywhere, and without staleness each step in every range once, with its whole batch.
fn assert_whole(world: &World, seed: u64) {
    goes_on(world, seed);
    let job = &world.job;
    for (index, spec) in job.layout.ranges.iter().enumerate() {
        let home = job.layout.shards[usize::from(spec.shard.0)];
        let server = &world.devices[usize::from(home.0)];
        for worker in &job.layout.workers {
            let model = &world.devices[usize::from(worker.0)].model[index];
            assert_eq!(model, &server.weights[index], "seed {seed}: {job:?}");
        }
        if job.staleness.is_synchronous() {
            let once = (0..job.steps).map(|step| (step, 7));
            let updates = server.updates[index].iter().copied();
            assert!(updates.eq(once), "seed {seed}: {:?}", server.updates[index]);
        }
    }
    for (me, device) in world.devices.iter().enumerate() {
        assert!(device.finished, "{me} waits, seed {seed}: {job:?}");
        let kept = world.members[me].payloads_kept();
        assert_eq!(device.payloads.len(), kept, "{me} keeps more, seed {seed}");
    }
}

#[test]
fn whoever_is_lost_at_whatever_moment_the_others_end_the_run_with_every_step_once() {
    let mut starts = BTreeSet::new();
    for job in ways() {
        for seed in 0..2 * SEEDS {
            let mut world = World::new(&job, seed);
            for losses in 0..2 {
                // Anywhere between before the first push and after the last.
                for _ in 0..(seed + losses) * 23 % 900 {
                    world.step();
                }
                let members = usize::from(world.job.layout.members);
                if members <= 2 {
                    break;
                }
                let gone = world.draw(members) as u16;
                let workers = &world.job.layout.workers;
                if workers.len() == 1 && workers[0].0 == gone {
                    // Nobody would be left who computes.
                    break;
                }
                let how;
                (world, how) = without(world, gone, seed);
                starts.insert((how, losses));
                goes_on(&world, seed);
            }
            while world.step() {}
            assert_whole(&world, seed);
        }
    }
    // After the first loss and after the second.
    assert_eq!(starts.len(), 6, "{starts:?}");
}

#[test]
fn a_version_is_stable_only_once_every_shard_lies_twice_and_nobody_keeps_more_than_two() {
    for job in ways() {
        let mut world = World::new(&job, 5);
        let mut stable = Step(0);
        while world.step() {
            let told = world.events.iter().filter_map(|(_, event)| match event {
                Event::Stable(version) => Some(*version),
                _ => None,
            });
            let newest = told.max().unwrap_or_default();
            if newest > stable {
                stable = newest;
                for shard in (0..job.layout.shards.len() as u16).map(ShardIndex) {
                    let keeps = |member: &&Member| {
                        let mut ranges = job.layout.ranges_of_shard(shard);
                        let carried = member.carry();
                        ranges
                            .all(|range| carried.copies.contains_key(&(newest, RangeIndex(range))))
                    };
                    let keepers = world.members.iter().filter(keeps).count();
                    assert_eq!(keepers, 2, "{shard:?} of {newest:?}: {job:?}");
                }
            }
            for member in &world.members {
                let versions: BTreeSet<Step> =
                    member.carry().copies.keys().map(|key| key.0).collect();
                assert!(versions.len() <= 2, "{versions:?}");
            }
        }
        // The last is due after 8 of 9 steps, and may come too late for those who are done.
        assert!(stable >= Step(6), "{stable:?}: {job:?}");
    }
}

#[test]
fn without_copies_nothing_is_kept_and_nothing_waits() {
    for mut job in ways() {
        job.copies = None;
        let world = World::run(&job, 3);
        assert_whole(&world, 3);
        let kept: usize = world.members.iter().map(Member::payloads_kept).sum();
        assert_eq!(kept, 0);
    }
}

#[test]
fn a_member_of_which_nothing_comes_is_suspected_and_then_lost() {
    let job = job(Exchange::Server, Placement::Single, 3, Staleness::Steps(0));
    let silent = 1;
    let mut world = World::new(&job, 1).linked();
    for _ in 0..200 {
        world.step();
    }
    world.events.clear();
    let server = 2;
    let mut seen = Vec::new();
    for tenth in 0..60 {
        world.now = world.now + Duration::from_millis(100);
        let beat = Message::Beat(0);
        let from = MemberIndex(0);
        world.input(
            server,
            Input::Message {
                from,
                message: beat,
                payload: None,
            },
        );
        world.input(server, Input::Tick);
        for (me, event) in world.events.drain(..) {
            let told = matches!(event, Event::Suspect { .. } | Event::LinkLost { .. });
            if me == server && told {
                seen.push((tenth, event));
            }
        }
    }
    let [
        (suspected, Event::Suspect { peer }),
        (lost, Event::LinkLost { peer: gone, reason }),
    ] = &seen[..]
    else {
        panic!("{seen:?}");
    };
    assert_eq!((peer.0, gone.0), (silent, silent));
    assert!((9..=12).contains(suspected), "{suspected}");
    assert!((19..=22).contains(lost), "{lost}");
    assert!(reason.contains("nothing was heard"), "{reason}");
}

#[test]
fn a_member_of_whose_long_message_bytes_come_is_neither_suspected_nor_lost() {
    let job = job(Exchange::Server, Placement::Single, 3, Staleness::Steps(0));
    let mut world = World::new(&job, 1).linked();
    for _ in 0..200 {
        world.step();
    }
    world.events.clear();
    let server = 2;
    for _ in 0..60 {
        world.now = world.now + Duration::from_millis(100);
        for peer in [MemberIndex(0), MemberIndex(1)] {
            world.input(server, Input::Stirs { peer });
        }
        world.input(server, Input::Tick);
    }
    let of_server = world.events.iter().filter(|(me, _)| *me == server);
    let told: Vec<_> = of_server
        .filter(|(_, event)| matches!(event, Event::Suspect { .. } | Event::LinkLost { .. }))
        .collect();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn copies_that_no_home_would_send_are_refused_by_name() {
    let job = job(
        Exchange::Server,
        Placement::Dedicated,
        4,
        Staleness::Steps(0),
    );
    let range = RangeIndex(0);
    let shard = job.layout.ranges[0].shard;
    let (home, buddy) = (
        job.layout.home(range),
        job.layout.buddy(shard).expect("there is one"),
    );
    let numbers = Numbers {
        codec: crate::wire::Codec::F32,
        elements: job.layout.ranges[0].elements,
    };
    let copy = Copy {
        range,
        version: Step(2),
        updates: 2,
        slot: 0,
        numbers,
    };
    let told = |from: MemberIndex, to: MemberIndex, message: Message| {
        let mut world = World::new(&job, 1).linked();
        let begun = |world: &World| {
            let begun = world
                .events
                .iter()
                .filter(|(_, event)| *event == Event::Begun);
            begun.count() == world.members.len()
        };
        while !begun(&world) {
            world.step();
        }
        let device = &mut world.devices[usize::from(to.0)];
        let payload = message.numbers().map(|_| device.keep(Log::new()));
        world.input(
            to.0,
            Input::Message {
                from,
                message,
                payload,
            },
        );
        world
            .events
            .into_iter()
            .find_map(|(me, event)| match event {
                Event::Aborted { culprit, reason } if me == to.0 => Some((culprit, reason)),
                _ => None,
            })
    };
    assert_eq!(told(home, buddy, Message::Copy(copy)), None);
    let other = job
        .layout
        .workers
        .iter()
        .find(|it| **it != buddy)
        .expect("another");
    let blamed = |from: MemberIndex, to: MemberIndex, message| {
        let (culprit, reason) = told(from, to, message).expect("it is refused");
        assert_eq!(culprit, Some(from), "{reason}");
    };
    // To whom it is no buddy, of a version that is not due or cannot be there yet, of another range's length, with a part missing.
    blamed(home, *other, Message::Copy(copy));
    for version in [Step(0), Step(3), Step(6), Step(4000)] {
        blamed(home, buddy, Message::Copy(Copy { version, ..copy }));
    }
    let longer = Numbers {
        elements: numbers.elements + 1,
        ..numbers
    };
    blamed(
        home,
        buddy,
        Message::Copy(Copy {
            numbers: longer,
            ..copy
        }),
    );
    blamed(home, buddy, Message::Copy(Copy { slot: 1, ..copy }));
    let collector = job.layout.collector();
    blamed(*other, collector, Message::Kept(shard, Step(2)));
    blamed(buddy, collector, Message::Kept(shard, Step(4000)));
    blamed(buddy, collector, Message::Kept(ShardIndex(9), Step(2)));
    blamed(buddy, *other, Message::Stable(Step(4000)));
}

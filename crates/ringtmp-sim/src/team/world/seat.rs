//! What a device has of a run: its seat under a plan, and what it holds between two of them.

use super::{Happening, Parcel, World, index, place};
use crate::random::Draws;
use crate::team::{TeamCompute, TeamSeat};
use ringtmp_core::ids::{Epoch, PayloadId, PeerId, Step};
use ringtmp_core::parameter_server::{
    Carried, Input, Job, KeptCopy, Member, MemberIndex, RangeIndex, Reached, Task, TeamStart,
};
use ringtmp_core::signal::Holding;
use ringtmp_core::time::Time;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A device's part in a plan.
pub(super) struct Seat {
    pub(super) member: Member,
    pub(super) me: MemberIndex,
    pub(super) job: Arc<Job>,
    /// The device of each member.
    pub(super) order: Arc<[usize]>,
    /// As the room names them; nobody's where there is none.
    pub(super) peers: Vec<PeerId>,
    pub(super) epoch: Epoch,
    pub(super) begun: bool,
    pub(super) finished: bool,
    /// It ends once the task under way is done.
    pub(super) ends: bool,
}

/// What a device holds that has no seat.
pub(super) struct Held<N> {
    told: Holding,
    reached: BTreeMap<RangeIndex, Reached>,
    copies: BTreeMap<(Step, RangeIndex), (u32, Vec<N>)>,
}

impl<N> Default for Held<N> {
    fn default() -> Self {
        Self {
            told: Holding::default(),
            reached: BTreeMap::new(),
            copies: BTreeMap::new(),
        }
    }
}

impl<N> Held<N> {
    pub(super) fn told(&self) -> Holding {
        self.told.clone()
    }
}

/// A device, and whatever is on it.
pub(super) struct Device<N> {
    pub(super) seat: Option<Seat>,
    pub(super) held: Held<N>,
    pub(super) payloads: BTreeMap<PayloadId, N>,
    next_payload: u64,
    pub(super) running: Option<(Task, Time)>,
    pub(super) idle_since: Option<Time>,
    pub(super) draws: Draws,
    /// Frames that wait for the way out: small and urgent ones first.
    pub(super) control: VecDeque<Parcel<N>>,
    pub(super) tensors: VecDeque<Parcel<N>>,
    pub(super) is_sending: bool,
    /// When the way in is free.
    pub(super) receives_from: Time,
    pub(super) bytes_sent: u64,
    pub(super) wakes: Option<Time>,
    /// By step, when it was done last, in microseconds.
    pub(super) done: Vec<u64>,
    /// How often it has died: what was to happen to it before does not.
    pub(super) deaths: u32,
    /// It does nothing until then.
    pub(super) frozen: Option<Time>,
    /// As the room knows it, while it is there.
    pub(super) peer: Option<PeerId>,
    /// The room has asked what it holds.
    pub(super) halted: Option<Epoch>,
}

impl<N> Device<N> {
    pub(super) fn new(draws: Draws) -> Self {
        Self {
            seat: None,
            held: Held::default(),
            payloads: BTreeMap::new(),
            next_payload: 0,
            running: None,
            idle_since: None,
            draws,
            control: VecDeque::new(),
            tensors: VecDeque::new(),
            is_sending: false,
            receives_from: Time::ZERO,
            bytes_sent: 0,
            wakes: None,
            done: Vec::new(),
            deaths: 0,
            frozen: None,
            peer: None,
            halted: None,
        }
    }

    pub(super) fn keep(&mut self, numbers: N) -> PayloadId {
        self.next_payload += 1;
        let id = PayloadId(self.next_payload);
        self.payloads.insert(id, numbers);
        id
    }

    /// A step is done, at first or again; whoever came later has done those before with the others.
    pub(super) fn did(&mut self, step: Step, at: Time) {
        let steps = step.0 as usize;
        self.done.truncate(steps);
        self.done.resize(steps + 1, at.as_micros());
    }
}

impl<C: TeamCompute> World<'_, C> {
    /// A device takes its seat under a plan, with what it held before.
    pub(super) fn sit(
        &mut self,
        at: usize,
        seat: TeamSeat<'_>,
        order: &Arc<[usize]>,
        (epoch, peers): (Epoch, &[PeerId]),
    ) {
        let TeamSeat { job, me, start } = seat;
        let device = &mut self.devices[at];
        let held = std::mem::take(&mut device.held);
        device.payloads.clear();
        let carried = match start {
            TeamStart::Beginning => Carried::default(),
            TeamStart::Held { .. } | TeamStart::Copies { .. } => {
                let copies = held.copies.iter().map(|(key, (updates, slots))| {
                    let slots = slots.iter().map(|slot| device.keep(slot.clone())).collect();
                    let updates = *updates;
                    (*key, KeptCopy { updates, slots })
                });
                Carried {
                    copies: copies.collect(),
                    reached: held.reached,
                }
            }
        };
        let restored = |range: RangeIndex| {
            let TeamStart::Copies { version } = start else {
                return None;
            };
            let copy = held.copies.get(&(version, range));
            copy.map(|(_, slots)| (range, slots.clone()))
        };
        let restored = job.layout.ranges_at(me).filter_map(restored).collect();
        if let Err(reason) = self.compute.sit(at, seat, restored) {
            self.aborted.get_or_insert(format!("device {at}: {reason}"));
            return;
        }
        device.seat = Some(Seat {
            member: Member::going_on(job.clone(), me, start, carried),
            me,
            job: job.clone(),
            order: order.clone(),
            peers: peers.to_vec(),
            epoch,
            begun: false,
            finished: false,
            ends: false,
        });
        let links: Vec<usize> = job.layout.links(me).into_iter().map(place).collect();
        for other in links.into_iter().map(|other| order[other]) {
            let there = self.devices.get(other).and_then(|it| it.seat.as_ref());
            if there.is_some_and(|seat| seat.epoch == epoch && !seat.ends) {
                let delay = self.delay(at, other);
                self.schedule(delay, Happening::LinkUp(at, other, epoch));
                self.schedule(delay, Happening::LinkUp(other, at, epoch));
            }
        }
        self.input(at, Input::Built);
    }

    /// A device gives up its seat, after the task under way; what it holds is kept.
    pub(super) fn stand_up(&mut self, at: usize) {
        let device = &mut self.devices[at];
        let Some(seat) = &mut device.seat else { return };
        seat.ends = true;
        device.control.clear();
        device.tensors.clear();
        if device.running.is_some() {
            return;
        }
        let Some(seat) = device.seat.take() else {
            return;
        };
        device.idle_since = None;
        let carried = seat.member.carry();
        let told = carried.told(&seat.job.layout, seat.me, seat.epoch);
        let Carried { reached, copies } = carried;
        let numbers = |slots: &[PayloadId]| -> Vec<C::Numbers> {
            slots
                .iter()
                .map(|slot| device.payloads[slot].clone())
                .collect()
        };
        let copies = copies
            .into_iter()
            .map(|(key, copy)| (key, (copy.updates, numbers(&copy.slots))));
        device.held = Held {
            told,
            reached,
            copies: copies.collect(),
        };
        device.payloads.clear();
    }

    /// The seats of a run without losses: all devices, in their order.
    pub(super) fn sit_all(&mut self, job: &Arc<Job>) {
        let order: Arc<[usize]> = (0..self.devices.len()).collect();
        for at in 0..self.devices.len() {
            let seat = TeamSeat {
                job,
                me: index(at),
                start: TeamStart::Beginning,
            };
            self.sit(at, seat, &order, (Epoch::default(), &[]));
        }
    }
}

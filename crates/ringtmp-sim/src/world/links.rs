//! Links under virtual time: a rate, then a delay; small and urgent frames before large ones.

use super::peer::Load;
use super::{Event, World};
use crate::compute::Compute;
use ringtmp_core::ids::{Epoch, MicroBatchId, PayloadId, PeerId};
use ringtmp_core::node::{Assignment, Input};
use ringtmp_core::partition::Hop;
use ringtmp_core::time::Time;
use ringtmp_core::trace::{Activity, Details, Span};
use ringtmp_core::wire::{Body, Frame, Lane, TensorKind};
use std::collections::VecDeque;
use std::time::Duration;

/// What peers say of a link whose connection broke.
pub(super) const CONNECTION_LOST: &str = "the connection was lost";

/// Frames of a link that broke, each way, that come once there is another.
const GHOSTS_MAX: usize = 8;

/// A frame on its way.
#[derive(Clone)]
pub(crate) struct Parcel<L> {
    sender: PeerId,
    to: PeerId,
    header: Vec<u8>,
    load: Option<L>,
    bytes: u64,
    /// Whether it belongs to training, and not to getting ready for it.
    counts: bool,
    handed_over: Time,
    lane: Lane,
    /// How often the link had lost everything when it left.
    losses: u32,
}

/// One direction of a connection.
pub(crate) struct Link<T> {
    spec: Hop,
    control: VecDeque<Parcel<T>>,
    tensors: VecDeque<Parcel<T>>,
    leaving: Option<Parcel<T>>,
    pub(crate) bytes_sent: u64,
    /// When the last frame is there: links keep order, also where one becomes quicker while something is on its way.
    until: Time,
    /// How often all that was on its way was lost.
    losses: u32,
    /// What arrived last, where links break.
    last: Option<Parcel<T>>,
}

/// What all links of a device share, where they do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Access {
    is_sending: bool,
    /// When the way in is free.
    receives_from: Time,
}

impl<T> Link<T> {
    fn new(spec: Hop) -> Self {
        Self {
            spec,
            control: VecDeque::new(),
            tensors: VecDeque::new(),
            leaving: None,
            bytes_sent: 0,
            until: Time::ZERO,
            losses: 0,
            last: None,
        }
    }

    fn push(&mut self, parcel: Parcel<T>) {
        match parcel.lane {
            Lane::Control => self.control.push_back(parcel),
            Lane::Tensors => self.tensors.push_back(parcel),
        }
    }

    /// Gives back what is lost.
    pub(super) fn empty(&mut self) -> impl Iterator<Item = Parcel<T>> {
        self.losses += 1;
        let waiting = self.control.drain(..).chain(self.tensors.drain(..));
        self.leaving.take().into_iter().chain(waiting)
    }

    /// Which frame is next: urgent ones first, of these whoever was handed over first.
    fn next(&self) -> Option<(bool, Time)> {
        let urgent = self.control.front().map(|parcel| (false, parcel));
        let (waits, parcel) = urgent.or_else(|| Some((true, self.tensors.front()?)))?;
        Some((waits, parcel.handed_over))
    }

    /// How long a frame is on its way that would take so long by itself.
    fn travels(&mut self, now: Time, delay: Duration) -> Duration {
        self.until = self.until.max(now + delay);
        self.until.since(now)
    }

    /// Begins to send what is next, if nothing is being sent: its bytes, and how long they take to leave.
    fn begin(&mut self) -> Option<(u64, Duration)> {
        if self.leaving.is_some() {
            return None;
        }
        let control = self.control.pop_front();
        let parcel = control.or_else(|| self.tensors.pop_front())?;
        let bytes = parcel.bytes;
        if parcel.counts {
            self.bytes_sent += bytes;
        }
        self.leaving = Some(parcel);
        let seconds = self.spec.transfer_seconds(bytes);
        Some((bytes, Duration::from_secs_f64(seconds)))
    }
}

impl<C: Compute, B: FnMut(Assignment) -> C> World<'_, C, B> {
    /// A link is up once both ends have asked for it.
    pub(super) fn connect(&mut self, at: usize, peer: PeerId, epoch: Epoch) {
        let Some(other) = self.index.get(&peer).copied() else {
            return;
        };
        if self.broken.get(&(at, other)) == Some(&None) {
            return self.schedule(Duration::ZERO, Event::LinkLost(at, peer));
        }
        let wanted = (epoch, other, at);
        let Some(asked) = self.asked.iter().position(|asked| *asked == wanted) else {
            return self.asked.push((epoch, at, other));
        };
        self.asked.swap_remove(asked);
        let (Some(here), Some(there)) = (self.peers[at].id, self.peers[other].id) else {
            return;
        };
        let delay = Duration::from_secs_f64(self.scenario.links.get(at, other).delay_seconds);
        // What is broken is made once it can be.
        let mends = self.broken.get(&(at, other)).copied().flatten();
        let delay = delay + mends.map_or(Duration::ZERO, |mends| mends.since(self.now));
        self.schedule(delay, Event::LinkUp(at, there, epoch));
        self.schedule(delay, Event::LinkUp(other, here, epoch));
    }

    pub(super) fn link_up(&mut self, at: usize, peer: PeerId, epoch: Epoch) {
        let Some(other) = self.index.get(&peer).copied() else {
            return;
        };
        let whole = !self.broken.contains_key(&(at, other));
        let wanted = self.peers[at].node.plan().map(|plan| plan.epoch) == Some(epoch);
        if whole && wanted {
            self.down.remove(&(at, other));
            self.input(at, Input::LinkUp { peer });
            self.haunt(at, other, epoch);
        }
    }

    /// What a link lost when it broke arrives over the one that replaces it.
    fn haunt(&mut self, at: usize, other: usize, epoch: Epoch) {
        let is_old = |parcel: &Parcel<Load<C>>| {
            Frame::decode(&parcel.header).is_ok_and(|frame| frame.epoch < epoch)
        };
        for parcel in self.ghosts.remove(&(other, at)).into_iter().flatten() {
            if is_old(&parcel) {
                self.schedule(Duration::ZERO, Event::Arrives(other, at, parcel));
            }
        }
    }

    pub(super) fn link_lost(&mut self, at: usize, peer: PeerId) {
        let reason = CONNECTION_LOST.to_owned();
        self.input(at, Input::LinkLost { peer, reason });
    }

    /// Takes what waits and what is on its way with it. Nodes that are no neighbours do not mind.
    pub(super) fn breaks(&mut self, between: [usize; 2]) {
        self.cut(between, None);
    }

    /// Breaks a connection, which can be made again at that time, if ever.
    pub(super) fn cut(&mut self, [one, other]: [usize; 2], mends: Option<Time>) {
        for (at, to) in [(one, other), (other, one)] {
            self.broken.insert((at, to), mends);
            self.down.insert((at, to));
            if let Some(link) = self.links.get_mut(&(at, to)) {
                let ghosts = self.ghosts.entry((at, to)).or_default();
                ghosts.extend(link.last.take());
                ghosts.extend(link.empty());
                ghosts.truncate(GHOSTS_MAX);
            }
            if let Some(peer) = self.peers[to].id {
                self.schedule(Duration::ZERO, Event::LinkLost(at, peer));
            }
        }
    }

    pub(super) fn send(
        &mut self,
        at: usize,
        to: PeerId,
        epoch: Epoch,
        body: Body,
        payload: Option<PayloadId>,
    ) {
        let load = payload.and_then(|payload| self.peers[at].payloads.remove(&payload));
        #[cfg(test)]
        let body = match self.planted.posts(at, body) {
            [Some(body), None] => body,
            [Some(body), Some(again)] => {
                self.post(at, to, epoch, again, load.clone());
                body
            }
            [None, _] => return,
        };
        self.post(at, to, epoch, body, load);
    }

    pub(super) fn post(
        &mut self,
        at: usize,
        to: PeerId,
        epoch: Epoch,
        body: Body,
        load: Option<Load<C>>,
    ) {
        let (Some(other), Some(sender)) = (self.index.get(&to).copied(), self.peers[at].id) else {
            return;
        };
        let of_tensors = self.tensor_bytes(at, &body);
        let payload = match &body {
            Body::Piece(piece) => vec![0; piece.bytes as usize],
            body => body.filling(),
        };
        let frame = Frame {
            epoch,
            sent: None,
            payload,
            body,
        };
        let lane = frame.lane();
        let counts = !matches!(
            frame.body,
            Body::Probe { .. } | Body::Echo { .. } | Body::Beat { .. }
        );
        let header = frame.encode().expect("a node keeps the wire's limits");
        let parcel = Parcel {
            bytes: header.len() as u64 + of_tensors,
            sender,
            to,
            header,
            load,
            counts,
            handed_over: self.now,
            lane,
            losses: 0,
        };
        if self.is_cut(at, other) {
            return;
        }
        let spec = self.scenario.links.get(at, other);
        let link = self.links.entry((at, other));
        link.or_insert_with(|| Link::new(spec)).push(parcel);
        self.begin_to_send(at, other);
    }

    /// Bytes of the tensors that a body announces.
    fn tensor_bytes(&self, at: usize, body: &Body) -> u64 {
        let Body::Tensor { kind, .. } = body else {
            return 0;
        };
        let Some(layers) = self.peers[at].layers.as_ref() else {
            return 0;
        };
        let [before, after] = self.peers[at].codecs;
        let (boundary, codec) = match kind {
            TensorKind::Activation => (layers.end, after),
            TensorKind::Gradient => (layers.start, before),
            TensorKind::Samples => return self.scenario.samples_bytes(),
            TensorKind::Release => return 0,
        };
        codec.map_or(0, |codec| self.scenario.tensor_bytes(boundary, codec))
    }

    pub(super) fn begin_to_send(&mut self, from: usize, to: usize) {
        if self.scenario.shares_access {
            return self.begin_to_share(from);
        }
        if self.is_silenced(from, to) {
            return;
        }
        let link = self.links.get_mut(&(from, to));
        if let Some((bytes, leaves)) = link.and_then(Link::begin) {
            // A shared medium carries one frame after the other.
            let air = self.scenario.air_seconds(from, to, bytes);
            let begins = self.medium_free.max(self.now);
            let through = begins + Duration::from_secs_f64(air);
            if air > 0.0 {
                self.medium_free = through;
            }
            let leaves = if air > 0.0 {
                leaves.max(through.since(self.now))
            } else {
                leaves
            };
            let leaves = leaves.mul_f64(self.slowness(from, to));
            self.schedule(leaves, Event::Left(from, to));
        }
    }

    /// The next frame of any link takes up its sender's access link, if that is free.
    fn begin_to_share(&mut self, from: usize) {
        if self.access[from].is_sending {
            return;
        }
        let links = self.links.range((from, 0)..=(from, usize::MAX));
        let waiting = links
            .filter(|((_, to), _)| !self.is_silenced(from, *to))
            .filter_map(|((_, to), link)| Some((link.next()?, *to)));
        let Some((_, to)) = waiting.min() else { return };
        let begun = self.links.get_mut(&(from, to)).and_then(Link::begin);
        let (Some((_, takes)), Some(link)) = (begun, self.links.get_mut(&(from, to))) else {
            return;
        };
        let delay = Duration::from_secs_f64(link.spec.delay_seconds);
        let losses = link.losses;
        let leaving = link.leaving.take();
        let slowness = self.slowness(from, to);
        let (takes, delay) = (takes.mul_f64(slowness), delay.mul_f64(slowness));
        let Some(mut parcel) = leaving else {
            return;
        };
        parcel.losses = losses;
        let now = self.now;
        let link = self.links.get_mut(&(from, to));
        let delay = link.map_or(delay, |link| link.travels(now, delay));
        self.access[from].is_sending = true;
        self.schedule(takes, Event::Left(from, to));
        self.schedule(delay, Event::Reaches(from, to, takes, parcel));
    }

    /// A frame takes up its receiver's access link once that is free, and is there when its last bytes are.
    pub(super) fn reaches(
        &mut self,
        from: usize,
        to: usize,
        takes: Duration,
        parcel: Parcel<Load<C>>,
    ) {
        let access = &mut self.access[to];
        access.receives_from = access.receives_from.max(self.now) + takes;
        let after = access.receives_from.since(self.now);
        self.schedule(after, Event::Arrives(from, to, parcel));
    }

    pub(super) fn left(&mut self, from: usize, to: usize) {
        if self.scenario.shares_access {
            self.access[from].is_sending = false;
            return self.begin_to_share(from);
        }
        let (now, slowness) = (self.now, self.slowness(from, to));
        let Some(link) = self.links.get_mut(&(from, to)) else {
            return;
        };
        let delay = Duration::from_secs_f64(link.spec.delay_seconds).mul_f64(slowness);
        if let Some(parcel) = link.leaving.take() {
            let delay = link.travels(now, delay);
            self.schedule(delay, Event::Arrives(from, to, parcel));
        }
        self.begin_to_send(from, to);
    }

    /// Whether nothing comes or goes here over the link to another.
    fn is_cut(&self, at: usize, other: usize) -> bool {
        self.broken.contains_key(&(at, other)) || self.down.contains(&(at, other))
    }

    /// How many times as slow as it was a link is now.
    fn slowness(&self, from: usize, to: usize) -> f64 {
        let slowed = self.slowed.get(&(from, to));
        let slowed = slowed.filter(|(until, _)| self.now < *until);
        slowed.map_or(1.0, |(_, times)| *times)
    }

    pub(super) fn arrives(&mut self, from: usize, to: usize, parcel: Parcel<Load<C>>) {
        let link = self.links.get(&(from, to));
        let was_cut =
            self.scenario.shares_access && link.is_some_and(|link| link.losses != parcel.losses);
        let lost = was_cut || self.is_cut(to, from);
        if lost || self.peers[to].id != Some(parcel.to) {
            return;
        }
        if self.scenario.has_cuts() {
            let link = self.links.get_mut(&(from, to));
            link.into_iter()
                .for_each(|link| link.last = Some(parcel.clone()));
        }
        let Parcel {
            sender,
            header,
            load,
            handed_over,
            ..
        } = parcel;
        let Frame { epoch, body, .. } =
            Frame::decode(&header).expect("nodes write frames that nodes can read");
        let payload = load.map(|load| self.peers[to].keep(load));
        let input = match (body, payload) {
            (
                Body::Tensor {
                    kind,
                    purpose,
                    micro_batch,
                    ..
                },
                payload,
            ) => {
                self.note_transfer([from, to], kind, micro_batch, handed_over);
                if self.is_current(epoch) {
                    self.watch.arrived(self.stage(to), kind, micro_batch);
                }
                Input::Tensor {
                    from: sender,
                    epoch,
                    kind,
                    purpose,
                    micro_batch,
                    payload,
                }
            }
            (Body::Piece(piece), Some(payload)) => Input::Piece {
                from: sender,
                epoch,
                piece,
                payload,
            },
            (body, _) => Input::Control {
                from: sender,
                epoch,
                body,
            },
        };
        self.input(to, input);
    }

    fn note_transfer(
        &mut self,
        [from, to]: [usize; 2],
        kind: TensorKind,
        micro_batch: MicroBatchId,
        handed_over: Time,
    ) {
        self.trace.push(Span {
            peer: from as u32,
            activity: Activity::of_tensor(kind),
            start: handed_over,
            end: self.now,
            details: Details {
                step: Some(micro_batch.step.0),
                micro_batch: Some(micro_batch.sequence),
                weight_version: None,
                to: Some(to as u32),
            },
        });
    }
}

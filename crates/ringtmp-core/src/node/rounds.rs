//! The part of a node that takes part in rounds: see [`super::keeping`].

use super::keeping::{COPY_SECONDS_PER_BYTE, COPY_SHARE, Round};
use super::{Event, Node, Output};
use crate::ids::{Epoch, LayerIndex, PeerId, Step, Version};
use crate::replica::CopyId;
use crate::signal::ClientMessage;
use crate::time::Time;
use crate::wire::Body;
use std::time::Duration;

impl Node {
    /// At the head, before the first activations of a step leave: whether the version that it ends in is copied.
    pub(super) fn mark(&mut self, step: Step) {
        let Some(active) = &mut self.active else {
            return;
        };
        let keeping = &mut active.keeping;
        let version = Version(step.0.saturating_add(1));
        let alone = active.links.is_empty();
        // Who is alone has no buddy, but may have a disk, or a user who wants the model.
        let due = if alone {
            let disk = self.storing.is_on() && !self.storing.is_busy();
            disk && self.storing.is_due(self.now) || keeping.collecting.is_wanted()
        } else {
            version >= keeping.cadence.next
        };
        let due = due || keeping.rest;
        let last = version.0 >= active.training.schedule.roster().steps;
        if !keeping.is_on || keeping.round.is_some() || !due || last {
            return;
        }
        let rest = keeping.rest;
        if rest {
            active.training.schedule.rest_before(Step(version.0));
        }
        self.begin_round(version, rest);
    }

    /// The first version of a plan that goes on from copies: it is whole, and lies nowhere twice.
    pub(super) fn begin_with_copies(&mut self) {
        let Some(active) = &self.active else { return };
        let starts = active.plan.start.0 > 0 && active.stage.0 == 0 && !active.links.is_empty();
        if starts && active.keeping.is_on {
            self.begin_round(active.plan.start, false);
        }
    }

    fn begin_round(&mut self, version: Version, rest: bool) {
        let Some(active) = &mut self.active else {
            return;
        };
        active.keeping.round = Some(Round {
            version,
            rest,
            copied: false,
            sent: None,
            before: (active.stage.0 == 0).then_some((0, false)),
            cost_micros: 0,
            secured: false,
        });
        if active.stages() > usize::from(active.stage.0) + 1 {
            let (to, epoch) = (active.plan.successor(active.stage), active.plan.epoch);
            self.output.push_back(Output::Send {
                to,
                epoch,
                body: Body::Mark { version, rest },
                payload: None,
            });
        }
        self.copy_if_reached();
    }

    /// A mark has come from the head.
    pub(super) fn marked(&mut self, from: PeerId, epoch: Epoch, version: Version, rest: bool) {
        let Some(active) = self.under(epoch) else {
            return;
        };
        let from_before = active.stage.0 > 0 && active.plan.predecessor(active.stage) == from;
        let reached = Version(active.training.schedule.updates().0);
        let first = version == active.plan.start && version.0 > 0;
        let in_time = version > reached || first && version == reached;
        // The head marks the next only once the last is stable, which may be told later than this.
        let last_is_over = match &active.keeping.round {
            Some(round) => round.secured && version > round.version,
            None => version > active.keeping.stable || first,
        };
        if !(active.keeping.is_on && from_before && in_time && last_is_over) {
            let name = self.name(from);
            return self.blame(
                from,
                format!("{name} marked version {} out of turn", version.0),
            );
        }
        if let Some(round) = &active.keeping.round {
            let stable = round.version;
            self.forget_before(stable);
        }
        self.begin_round(version, rest);
    }

    /// After an update, or a mark: whether the marked version is there to be copied.
    pub(super) fn copy_if_reached(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        let Some(round) = &active.keeping.round else {
            return;
        };
        let version = round.version;
        if round.copied || active.training.schedule.updates() != Step(version.0) {
            return;
        }
        if version == active.plan.start {
            // They were what the stage was built from.
            let layers = active.plan.layers(active.stage);
            let layers = (layers.start.0..layers.end.0).map(LayerIndex);
            let copy = |layer| CopyId { version, layer };
            let held = |layer| Some((layer, self.ledger.bytes(copy(layer))?));
            let copies: Vec<(LayerIndex, u64)> = layers.filter_map(held).collect();
            let epoch = active.plan.epoch;
            return self.snapped(epoch, version, copies, Duration::ZERO);
        }
        let epoch = active.plan.epoch;
        self.output.push_back(Output::Snapshot { epoch, version });
    }

    /// The shell has copied the stage.
    pub(super) fn snapped(
        &mut self,
        epoch: Epoch,
        version: Version,
        copies: Vec<(LayerIndex, u64)>,
        took: Duration,
    ) {
        let copy = |layer| CopyId { version, layer };
        let Some(active) = self
            .active
            .as_mut()
            .filter(|active| active.plan.epoch == epoch)
        else {
            // Of a past that is given up, unless it is what the new plan goes on from.
            let unknown = copies.iter().map(|(layer, _)| copy(*layer));
            let unknown: Vec<CopyId> = unknown
                .filter(|copy| self.ledger.bytes(*copy).is_none())
                .collect();
            return self.forget(unknown);
        };
        let now = self.now;
        let alone = active.links.is_empty();
        let successor = active.plan.stage_of(active.plan.successor(active.stage));
        let mut bytes_all = 0;
        for (layer, bytes) in copies {
            self.ledger.add(copy(layer), bytes);
            bytes_all += bytes;
            if let (Some(to), false) = (successor, alone) {
                active.keeping.sending.push(copy(layer), bytes, to);
            }
        }
        if let Some(round) = &mut active.keeping.round {
            round.copied = true;
            round.sent = Some(now);
            let cost = took.as_secs_f64() + bytes_all as f64 * COPY_SECONDS_PER_BYTE;
            round.cost_micros = (cost * 1e6) as u32;
        }
        self.send_pieces();
        self.secure();
    }

    /// The predecessor and all before it lie with their successors.
    pub(super) fn secured(
        &mut self,
        from: PeerId,
        epoch: Epoch,
        version: Version,
        (cost, busy): (u32, bool),
    ) {
        let Some(active) = self.under(epoch) else {
            return;
        };
        let from_before = active.plan.predecessor(active.stage) == from;
        let is_head = active.stage.0 == 0;
        let round = active.keeping.round.as_mut();
        let Some(round) = round.filter(|round| {
            let in_turn = if is_head {
                round.secured
            } else {
                round.before.is_none()
            };
            from_before && round.version == version && in_turn
        }) else {
            let name = self.name(from);
            return self.blame(
                from,
                format!("{name} secured version {} out of turn", version.0),
            );
        };
        if is_head {
            let cost = round.cost_micros.max(cost);
            return self.publish_stable(version, cost, busy);
        }
        round.before = Some((cost, busy));
        self.secure();
    }

    /// Tells the successor, once this stage and all before it lie with their successors.
    pub(super) fn secure(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        let keeping = &mut active.keeping;
        let Some(round) = &mut keeping.round else {
            return;
        };
        if !round.copied || !keeping.sending.is_empty() {
            return;
        }
        if let Some(sent) = round.sent.take() {
            let waited = self.now.since(sent).as_secs_f64() * COPY_SHARE;
            let waited = (waited * 1e6) as u32;
            round.cost_micros = round.cost_micros.saturating_add(waited);
        }
        let Some((before, busy)) = round.before.filter(|_| !round.secured) else {
            return;
        };
        round.secured = true;
        let busy = busy || self.storing.is_busy() || !keeping.thirds.sending.is_empty();
        let (version, cost_micros) = (round.version, round.cost_micros.max(before));
        if active.links.is_empty() {
            return self.publish_stable(version, cost_micros, busy);
        }
        let to = active.plan.successor(active.stage);
        let secured = Body::Secured {
            version,
            cost_micros,
            busy,
        };
        self.say(to, secured);
    }

    /// At the head: every stage lies with its successor.
    fn publish_stable(&mut self, version: Version, cost_micros: u32, busy: bool) {
        let keep = self.is_to_be_kept(busy);
        let Some(active) = &mut self.active else {
            return;
        };
        let epoch = active.plan.epoch;
        active.keeping.cadence.stable(version, cost_micros);
        let every = active.keeping.cadence.every;
        let at_rest = active
            .keeping
            .round
            .as_ref()
            .is_some_and(|round| round.rest);
        let next = active.plan.successor(active.stage);
        if !active.links.is_empty() {
            self.say(next, Body::Stable { version, keep });
        }
        self.forget_before(version);
        if keep {
            self.keep(version);
        }
        self.tell(ClientMessage::Stable {
            epoch,
            version,
            every,
            at_rest,
        });
        self.output.push_back(Output::Event(Event::Stable(version)));
        self.serve_next();
    }

    /// The head says that a version is stable.
    pub(super) fn stable(&mut self, from: PeerId, epoch: Epoch, version: Version, keep: bool) {
        let Some(active) = self.under(epoch) else {
            return;
        };
        let from_before = active.stage.0 > 0 && active.plan.predecessor(active.stage) == from;
        let round = active.keeping.round.as_ref();
        let secured = round.is_some_and(|round| round.secured && round.version == version);
        let known = version <= active.keeping.stable;
        if !from_before || !(secured || known) {
            let name = self.name(from);
            return self.blame(
                from,
                format!(
                    "{name} called version {} stable, which it cannot know",
                    version.0
                ),
            );
        }
        let next = active.plan.successor(active.stage);
        let is_tail = usize::from(active.stage.0) + 1 == active.stages();
        if !is_tail {
            self.say(next, Body::Stable { version, keep });
        }
        if secured {
            self.forget_before(version);
            if keep {
                self.keep(version);
            }
            self.output.push_back(Output::Event(Event::Stable(version)));
        }
    }

    /// The round of this version is over here.
    fn forget_before(&mut self, version: Version) {
        let Some(active) = &mut self.active else {
            return;
        };
        let keeping = &mut active.keeping;
        keeping.round = None;
        keeping.stable = version;
        // What is still on its way to a third holder, or to who collects the model, goes when it is there.
        let (thirds, model) = (&keeping.thirds.sending, &keeping.collecting.sending);
        let is_on_its_way = |copy: &_| thirds.has(copy) || model.has(copy);
        let gone = self
            .ledger
            .keep(|copy| copy.version >= version || is_on_its_way(copy));
        self.forget(gone);
    }

    pub(super) fn forget(&mut self, copies: Vec<CopyId>) {
        if !copies.is_empty() {
            self.output.push_back(Output::Forget { copies });
        }
    }

    /// The head notes how long steps take.
    pub(super) fn note_update(&mut self, now: Time) {
        if let Some(active) = &mut self.active {
            active.keeping.cadence.updated(now);
        }
    }

    /// The room wants the ring to come to rest.
    pub(super) fn rest(&mut self, epoch: Epoch) {
        if let Some(active) = self.under(epoch) {
            active.keeping.rest = true;
        }
    }
}

//! The whole model in one place: the part of a node that brings the weights of all layers, of one and the same version, to a stage that
//! asks for them.
//!
//! ```text
//! asker     Want    ──▶ ... ──▶ head                      one asker at a time is served
//! head      Take v  ──▶ every stage: it sends the weights of its layers as of v, and holds its copies of v until they are there
//! stage     pieces  ──▶ ... ──▶ asker                     behind all copies, one of 64 KiB at a time; acknowledged back round the ring
//! asker     Have    ──▶ ... ──▶ head                      all are here, or are wanted no more: the next asker's turn
//! ```
//!
//! While the ring trains, v is the stable version. The head says *Take* only while no round is open, on the lane of the tensors: so it is
//! with every stage before the mark of the next version, and no stage has forgotten v. Once the head has made all steps, v is the last
//! version; who is not done yet sends once it is. What an optimizer remembers stays where it is.

use super::{Event, Node, Output};
use crate::ids::{Epoch, LayerIndex, PayloadId, PeerId, StageIndex, Version};
use crate::replica::{CopyId, Flow, Received, Sending, weights_bytes};
use crate::wire::{Body, ModelWord, Piece};
use std::collections::{BTreeSet, VecDeque};

/// What of a collected model a stage sends, takes and passes on, under one plan.
#[derive(Debug)]
pub(super) struct Collecting {
    /// At the head: who is served, and who is next, each stage at most once.
    served: Option<StageIndex>,
    waiting: VecDeque<StageIndex>,
    /// The last version of this stage's layers is with the shell.
    has_last: bool,
    /// Who gets it as soon as it is.
    due: Option<StageIndex>,
    /// The weights of this stage's layers.
    pub(super) sending: Sending,
    coming: Flow,
    passing: Flow,
    wanted: Option<Wanted>,
}

/// What this stage's user has asked for.
#[derive(Debug, Default)]
struct Wanted {
    /// Once the head has said.
    version: Option<Version>,
    missing: BTreeSet<LayerIndex>,
}

impl Default for Collecting {
    fn default() -> Self {
        Self {
            served: None,
            waiting: VecDeque::new(),
            has_last: false,
            due: None,
            sending: Sending::unhurried(),
            coming: Flow::default(),
            passing: Flow::default(),
            wanted: None,
        }
    }
}

impl Collecting {
    /// Whether somebody waits for a version (at the head).
    pub(super) fn is_wanted(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Node {
    /// The user wants the whole model.
    pub(super) fn fetch(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        active.keeping.collecting.wanted = Some(Wanted::default());
        self.tell_head(ModelWord::Want);
    }

    /// The user wants it no more: what still comes is not kept.
    pub(super) fn fetch_no_more(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        if active.keeping.collecting.wanted.take().is_some() {
            self.tell_head(ModelWord::Have);
        }
    }

    fn tell_head(&mut self, word: ModelWord) {
        let Some(active) = &self.active else { return };
        let asker = active.stage;
        if asker.0 == 0 {
            self.head_hears(asker, word);
        } else {
            self.say_to_next(Body::Model { asker, word });
        }
    }

    /// What stages say of a model that is collected.
    pub(super) fn model_word(
        &mut self,
        from: PeerId,
        epoch: Epoch,
        asker: StageIndex,
        word: ModelWord,
    ) {
        if !self.comes_round(from, epoch) {
            return;
        }
        let Some(active) = &self.active else { return };
        let (stage, stages) = (active.stage, active.stages());
        if usize::from(asker.0) >= stages {
            return;
        }
        match word {
            ModelWord::Want | ModelWord::Have if stage.0 == 0 => self.head_hears(asker, word),
            ModelWord::Want | ModelWord::Have if stage == asker => {}
            ModelWord::Want | ModelWord::Have => self.say_to_next(Body::Model { asker, word }),
            ModelWord::Take { .. } if stage.0 == 0 => {}
            ModelWord::Take { version } => {
                // Before any piece, so that the asker has heard of it.
                if usize::from(stage.0) + 1 < stages {
                    self.say_to_next(Body::Model { asker, word });
                }
                self.take(asker, version);
            }
        }
    }

    fn head_hears(&mut self, asker: StageIndex, word: ModelWord) {
        let Some(active) = &mut self.active else {
            return;
        };
        let collecting = &mut active.keeping.collecting;
        if collecting.served == Some(asker) {
            collecting.served = None;
        }
        collecting.waiting.retain(|waiting| *waiting != asker);
        if word == ModelWord::Want {
            collecting.waiting.push_back(asker);
        }
        self.serve_next();
    }

    /// At the head: whoever is next gets the model, if there is a version to give.
    pub(super) fn serve_next(&mut self) {
        let Some(active) = self.active.as_mut().filter(|active| active.stage.0 == 0) else {
            return;
        };
        let last = Version(active.training.schedule.roster().steps);
        let keeping = &mut active.keeping;
        let stable = keeping.is_on && keeping.round.is_none() && keeping.stable.0 > 0;
        let version = match (keeping.collecting.has_last, stable) {
            (true, _) => last,
            (false, true) => keeping.stable,
            (false, false) => return,
        };
        if keeping.collecting.served.is_some() {
            return;
        }
        let Some(asker) = keeping.collecting.waiting.pop_front() else {
            return;
        };
        keeping.collecting.served = Some(asker);
        self.say_to_next(Body::Model {
            asker,
            word: ModelWord::Take { version },
        });
        self.take(asker, version);
    }

    /// The last version of this stage's layers is with the shell.
    pub(super) fn has_last(&mut self, epoch: Epoch) {
        let Some(active) = self.under(epoch) else {
            return;
        };
        let last = Version(active.training.schedule.roster().steps);
        let collecting = &mut active.keeping.collecting;
        collecting.has_last = true;
        if let Some(asker) = collecting.due.take() {
            self.take(asker, last);
        }
        self.serve_next();
    }

    /// Sends the weights of this stage's layers, as of a version; or begins to wait for those of others.
    fn take(&mut self, asker: StageIndex, version: Version) {
        let layers = self.learning_layers();
        let Some(active) = &mut self.active else {
            return;
        };
        let own = active.plan.layers(active.stage);
        let is_last = version.0 == active.training.schedule.roster().steps;
        let collecting = &mut active.keeping.collecting;
        if is_last && !collecting.has_last {
            collecting.due = Some(asker);
            return;
        }
        if asker == active.stage {
            return self.begin_collecting(version, layers);
        }
        let copies = layers.into_iter().filter(|(layer, _)| own.contains(layer));
        let copies: Vec<(CopyId, u64)> = copies
            .map(|(layer, bytes)| (CopyId { version, layer }, bytes))
            .collect();
        let held = |copy: &CopyId| is_last || self.ledger.bytes(*copy).is_some();
        // One asker at a time is served, who may have given up the last one.
        let too_many = collecting.sending.len() > copies.len();
        if too_many || !copies.iter().all(|(copy, _)| held(copy)) {
            return;
        }
        for (copy, bytes) in copies {
            collecting.sending.push(copy, bytes, asker);
        }
        self.send_pieces();
    }

    fn begin_collecting(&mut self, version: Version, layers: Vec<(LayerIndex, u64)>) {
        let Some(active) = &mut self.active else {
            return;
        };
        let own = active.plan.layers(active.stage);
        let Some(wanted) = &mut active.keeping.collecting.wanted else {
            return self.tell_head(ModelWord::Have);
        };
        wanted.version = Some(version);
        let (here, missing): (Vec<LayerIndex>, Vec<LayerIndex>) = layers
            .into_iter()
            .map(|(layer, _)| layer)
            .partition(|layer| own.contains(layer));
        wanted.missing = missing.into_iter().collect();
        let begun = Event::ModelBegins(version);
        self.output.push_back(Output::Event(begun));
        self.output.push_back(Output::CollectOwn {
            version,
            layers: here,
        });
        self.end_collecting_if_whole();
    }

    fn end_collecting_if_whole(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        let collecting = &mut active.keeping.collecting;
        let whole = collecting.wanted.as_ref();
        let whole = whole.filter(|wanted| wanted.missing.is_empty());
        if let Some(version) = whole.and_then(|wanted| wanted.version) {
            collecting.wanted = None;
            let event = Event::ModelIsHere(version);
            self.output.push_back(Output::Event(event));
            self.tell_head(ModelWord::Have);
        }
    }

    /// A piece of a layer's weights has come, which the shell keeps under `payload`.
    pub(super) fn weights_piece(
        &mut self,
        from: PeerId,
        epoch: Epoch,
        piece: Piece,
        payload: PayloadId,
    ) {
        if self.under(epoch).is_none() {
            return self.output.push_back(Output::Discard(payload));
        }
        let may_come = self.may_come(from, epoch, &piece);
        let Some(active) = &mut self.active else {
            return;
        };
        let is_for_here = piece.to == active.stage;
        let keeping = &mut active.keeping;
        let flow = match is_for_here {
            true => &mut keeping.collecting.coming,
            false => &mut keeping.collecting.passing,
        };
        let received = match may_come {
            true => flow.take_again(&piece),
            false => Received::OutOfOrder,
        };
        let (here, whole) = match received {
            Received::Stored(here) => (here, false),
            Received::Whole(here) => (here, true),
            Received::OutOfOrder => {
                self.output.push_back(Output::Discard(payload));
                let name = self.name(from);
                let reason = format!("{name} sent weights that nobody asked for, or out of order");
                return self.blame(from, reason);
            }
        };
        if !is_for_here {
            let body = Body::Weights(piece);
            keeping.on_their_way.push_back((body, payload));
            return self.send_pieces();
        }
        let wanted = keeping.collecting.wanted.as_mut();
        let wanted = wanted.filter(|wanted| wanted.version == Some(piece.version));
        match wanted.filter(|wanted| wanted.missing.contains(&piece.layer)) {
            Some(wanted) => {
                if whole {
                    wanted.missing.remove(&piece.layer);
                }
                self.output.push_back(Output::Collect { piece, payload });
            }
            None => self.output.push_back(Output::Discard(payload)),
        }
        let here = Body::WeightsHere {
            from: piece.from,
            version: piece.version,
            layer: piece.layer,
            received: here,
        };
        self.say(from, here);
        self.end_collecting_if_whole();
    }

    /// Whether a piece may come here from there: as long as the layer's weights, and between its sender and who gets it.
    fn may_come(&self, from: PeerId, epoch: Epoch, piece: &Piece) -> bool {
        let Some(active) = self
            .active
            .as_ref()
            .filter(|_| self.comes_round(from, epoch))
        else {
            return false;
        };
        let (plan, stage, stages) = (&active.plan, active.stage, active.stages());
        let known = |stage: StageIndex| usize::from(stage.0) < stages;
        if !known(piece.from) || !known(piece.to) || piece.from == stage {
            return false;
        }
        let greeted = active.links.get(&from).is_some_and(|link| link.greeted);
        let layer = self
            .outline()
            .and_then(|outline| outline.layers.get(usize::from(piece.layer.0)));
        let is_whole = layer.is_some_and(|layer| piece.total == weights_bytes(layer));
        let hops = |to| plan.hops(piece.from, to);
        greeted
            && is_whole
            && piece.total > 0
            && plan.layers(piece.from).contains(&piece.layer)
            && hops(stage) <= hops(piece.to)
    }

    /// Bytes of weights are where they should be: it is told backward round the ring, to who sent them.
    pub(super) fn weights_here(
        &mut self,
        from: PeerId,
        epoch: Epoch,
        sender: StageIndex,
        copy: CopyId,
        received: u64,
    ) {
        let Some(active) = self.under(epoch) else {
            return;
        };
        if active.plan.successor(active.stage) != from {
            let name = self.name(from);
            return self.blame(from, format!("{name} spoke of weights without being asked"));
        }
        if sender != active.stage {
            let to = active.plan.predecessor(active.stage);
            if usize::from(sender.0) < active.stages() {
                let here = Body::WeightsHere {
                    from: sender,
                    version: copy.version,
                    layer: copy.layer,
                    received,
                };
                self.say(to, here);
            }
            return;
        }
        let collecting = &mut active.keeping.collecting;
        if !collecting.sending.acknowledged(copy, received) {
            let name = self.name(from);
            return self.blame(from, format!("{name} has more of a layer than it was sent"));
        }
        self.forget_what_was_sent(copy);
        self.send_pieces();
    }

    /// A copy that was held only until it was sent.
    pub(super) fn forget_what_was_sent(&mut self, copy: CopyId) {
        let Some(active) = &self.active else { return };
        let keeping = &active.keeping;
        let sends = keeping.thirds.sending.has(&copy) || keeping.collecting.sending.has(&copy);
        if !sends && copy.version < keeping.stable {
            let gone = self.ledger.keep(|held| *held != copy);
            self.forget(gone);
        }
    }

    /// The layers that learn something, with the bytes of their weights.
    fn learning_layers(&self) -> Vec<(LayerIndex, u64)> {
        let layers = self.outline().map(|outline| outline.layers.iter());
        let layers = layers.into_iter().flatten().zip(0u16..);
        let bytes = layers.map(|(layer, index)| (LayerIndex(index), weights_bytes(layer)));
        bytes.filter(|(_, bytes)| *bytes > 0).collect()
    }
}

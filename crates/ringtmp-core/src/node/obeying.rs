//! The part of a node that obeys the room: prepares plans, begins them, and lets go of them.

use super::keeping::Keeping;
use super::probe::Probing;
use super::training::Training;
use super::{Active, Assignment, Event, Node, Output};
use crate::beats::Beats;
use crate::ids::Epoch;
use crate::plan::Plan;
use crate::signal::{ClientMessage, Holding};
use crate::time::Time;

impl Node {
    pub(super) fn prepare(&mut self, plan: Plan) {
        let Some(identity) = &self.identity else {
            return;
        };
        if plan.epoch <= self.newest() {
            return;
        }
        let (me, outline) = (identity.me, identity.run.outline.clone());
        self.forget_told();
        self.forget_links(|peer| plan.stage_of(peer).is_none());
        self.drop_active();
        if let Err(error) = plan.check(outline.layers.len()) {
            return self.refuse_plan(plan.epoch, format!("the server sent {error}"));
        }
        // Whatever else is held belongs to a past that is given up.
        let goes_on = plan.pasts.contains(&self.newest());
        let gone = self
            .ledger
            .keep(|copy| goes_on && copy.version == plan.start);
        self.obeyed = Some(plan.clone());
        self.forget(gone);
        let Some(stage) = plan.stage_of(me) else {
            return;
        };
        let epoch = plan.epoch;
        let links = Active::neighbours(&plan, stage);
        for peer in links.keys() {
            let offer = self.offers(me, *peer);
            self.output.push_back(Output::Connect {
                peer: *peer,
                offer,
                epoch,
            });
        }
        let assignment = Assignment::of(&plan, stage, &outline);
        let training = Training::new(&plan, stage, &outline);
        let keeping = Keeping::new(&plan, stage, &outline);
        // A ring that is put together anew is in a hurry.
        let probes = self.plans_measured() && !links.is_empty() && plan.start.0 == 0;
        self.active = Some(Active {
            plan,
            stage,
            assignment,
            links,
            keeping,
            beats: None,
            built: false,
            said_ready: false,
            probing: probes.then(Probing::default),
            training,
        });
        self.load();
        if let Some(active) = self
            .active
            .as_ref()
            .filter(|active| !active.keeping.lacks_layers())
        {
            let assignment = active.assignment.clone();
            self.output.push_back(Output::Build(assignment));
        }
        if let Err(reason) = self.check_layers().and_then(|()| self.give_layers()) {
            self.fail(reason);
        }
    }

    fn refuse_plan(&mut self, epoch: Epoch, reason: String) {
        let failed = ClientMessage::Failed {
            epoch,
            reason,
            culprit: None,
        };
        self.tell(failed);
    }

    pub(super) fn commit(&mut self, now: Time, epoch: Epoch) {
        let recovers = self.recovers();
        let Some(active) = self.under(epoch) else {
            return;
        };
        if !active.training.begin() {
            return;
        }
        let beats = || Beats::begin(now, active.links.keys().copied());
        active.beats = recovers.then(beats);
        let start = active.plan.start;
        self.output.push_back(Output::Event(Event::Training));
        self.forsake_after(start);
        self.begin_with_copies();
    }

    /// The epoch of the newest plan that was obeyed; before the first, one that is older than any.
    fn newest(&self) -> Epoch {
        let obeyed = self.obeyed.as_ref();
        obeyed.map_or_else(Epoch::default, |plan| plan.epoch)
    }

    /// The stage is gone, and nobody is to blame. What is to be done now, the room says.
    pub(super) fn stumble(&mut self, epoch: Epoch, reason: String) {
        if self.under(epoch).is_none() {
            return;
        }
        self.tell(ClientMessage::Stumbled {
            epoch,
            reason: reason.clone(),
        });
        self.let_go(reason);
    }

    /// Whether the run outlives the loss of a device.
    pub(super) fn recovers(&self) -> bool {
        let outline = self.outline();
        outline.is_some_and(|outline| outline.replication.is_on())
    }

    /// The room puts the ring together anew: nothing more is done under an older epoch.
    pub(super) fn halt(&mut self, epoch: Epoch, reason: String) {
        if epoch <= self.newest() {
            return;
        }
        self.forget_told();
        self.forget_links(|_| true);
        if self.active.is_some() {
            self.drop_active();
            self.output
                .push_back(Output::Event(Event::Halted { reason }));
        }
        let holding = Holding {
            under: self.newest(),
            updates: self.reached,
            copies: self.ledger.versions(),
            team: None,
        };
        self.tell(ClientMessage::Holdings { epoch, holding });
    }
}

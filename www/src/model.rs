//! The whole model as a file: who is offered it, and how far it has come.

use crate::shown::{Computes, Phase, computes, governs, model_name};
use crate::{format, words};
use ringtmp_peer::{ModelState, View};

/// What a page says of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// Whether it can be asked for now.
    pub fetches: bool,
    /// How it stands; empty if it was not asked for.
    pub status: String,
    /// How much of it is here, from 0 to 1, while it comes.
    pub share: Option<f64>,
    /// What the file is called that is here.
    pub file: Option<String>,
    /// Whether the status is bad news.
    pub failed: bool,
}

impl Offer {
    /// That of a page: none where neither layers of a ring nor a whole model are, and to guests of a ring's host.
    pub fn of(phase: Phase, view: &View) -> Option<Self> {
        // A ring's host alone makes the others send their layers; a whole model is here anyway.
        let may = match computes(view) {
            Computes::Nothing => false,
            Computes::Stage => governs(view),
            Computes::Whole => true,
        };
        let is_there = match phase {
            Phase::Training | Phase::Paused | Phase::Finished => true,
            // It is asked for again when the ring goes on.
            Phase::Reconfiguring => view.model.is_some(),
            Phase::Joining
            | Phase::Waiting
            | Phase::WarmingUp
            | Phase::Lacking
            | Phase::Stopped
            | Phase::Refused
            | Phase::Broken
            | Phase::Left => false,
        };
        if !(may && is_there) {
            return None;
        }
        let mut offer = Self {
            fetches: true,
            ..Self::default()
        };
        if let Some(model) = &view.model {
            offer.tell(model, phase, view);
        }
        Some(offer)
    }

    /// How a model stands that was asked for.
    fn tell(&mut self, model: &ModelState, phase: Phase, view: &View) {
        match model {
            ModelState::Waits => {
                self.fetches = false;
                let waits = match computes(view) {
                    Computes::Whole => words::MODEL_WAITS_WHOLE,
                    Computes::Stage | Computes::Nothing => words::MODEL_WAITS,
                };
                waits.now().clone_into(&mut self.status);
            }
            ModelState::Comes {
                steps,
                received,
                of,
            } => {
                self.fetches = false;
                let (here, all) = (format::bytes(*received), format::bytes(*of));
                self.status = words::model_comes(&count(*steps), &here, &all);
                self.share = Some(*received as f64 / (*of).max(1) as f64);
            }
            ModelState::Here { steps } => {
                // At the end there is none that is newer than the last.
                let result = view.room.as_ref().and_then(|room| room.result.as_ref());
                let is_last = result.is_none_or(|result| *steps >= result.steps);
                self.fetches = phase != Phase::Finished || !is_last;
                self.status = words::model_here(&count(*steps));
                self.file = Some(file_name(view, *steps));
            }
            ModelState::Refused {
                needed_bytes,
                given_bytes,
            } => {
                let (needed, given) = (format::bytes(*needed_bytes), format::bytes(*given_bytes));
                self.status = words::model_refused(&needed, &given);
                self.failed = true;
            }
            ModelState::Lost { reason } => {
                self.status = words::model_lost(reason);
                self.failed = true;
            }
        }
    }
}

/// What the file of a model is called.
pub fn file_name(view: &View, steps: u32) -> String {
    format!("{}-{steps}-steps.safetensors", model_name(view))
}

fn count(number: u32) -> String {
    format::count(u64::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown::{tests_team_view, tests_view};
    use ringtmp_core::ids::PeerId;
    use ringtmp_core::signal::RunResult;

    #[test]
    fn the_host_is_offered_the_model_and_told_how_far_it_has_come() {
        let mut view = tests_view();
        let offered = |view: &View| Offer::of(Phase::Training, view);
        assert!(offered(&view).is_some_and(|offer| offer.fetches && offer.status.is_empty()));
        view.model = Some(ModelState::Comes {
            steps: 1200,
            received: 500_000,
            of: 2_000_000,
        });
        let offer = offered(&view).expect("it comes");
        assert_eq!((offer.fetches, offer.share), (false, Some(0.25)));
        assert!(offer.status.contains("1,200"), "{}", offer.status);
        view.model = Some(ModelState::Here { steps: 1200 });
        let offer = offered(&view).expect("it is here");
        assert_eq!(offer.file.as_deref(), Some("mlp-1200-steps.safetensors"));
        let last = Offer::of(Phase::Finished, &view).expect("it is here");
        assert!(offer.fetches && !last.fetches);
        view.room.as_mut().expect("in a room").result = Some(RunResult {
            steps: 1201,
            loss_first: None,
            loss_last: None,
            test_accuracy: None,
            seconds: 1.0,
            digests: Vec::new(),
        });
        let older = Offer::of(Phase::Finished, &view).expect("it is here");
        assert!(older.fetches, "there is a newer one");
        view.model = Some(ModelState::Refused {
            needed_bytes: 2_000_000,
            given_bytes: 1_000_000,
        });
        let offer = offered(&view).expect("it was refused");
        assert!(
            offer.failed && offer.fetches && offer.status.contains("1.00 MB"),
            "{offer:?}"
        );
        assert_eq!(Offer::of(Phase::Waiting, &view), None);
        let room = view.room.as_mut().expect("in a room");
        room.host = Some(PeerId(2));
        assert_eq!(offered(&view), None, "a guest");
    }

    #[test]
    fn who_works_on_the_whole_model_is_offered_it_and_who_serves_is_not() {
        let mut view = tests_team_view(|_| {});
        view.model = Some(ModelState::Waits);
        view.room.as_mut().expect("in a room").host = Some(PeerId(2));
        let offer = Offer::of(Phase::Paused, &view).expect("a worker, and a guest");
        assert_eq!(offer.status, words::MODEL_WAITS_WHOLE.now());
        view.me = Some(PeerId(2));
        assert_eq!(Offer::of(Phase::Training, &view), None, "a server");
    }
}

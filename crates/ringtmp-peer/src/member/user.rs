//! What the user of a device wants of the model, of which a worker has the whole: what a drawing shows, what follows a text, the model as
//! a file. Nobody else is asked ([`super::query`]).

use super::query::{Query, Reply};
use super::room::RoomMember;
use crate::datasets::DataPlace;
use crate::progress::Progress;
use crate::run_file::Run;
use crate::samples::{ASKED_LABEL, Entering, Labelled, drawing};
use crate::scribe::{Opened, Scribe};
use crate::shell::{Fetched, refusal};
use crate::view::{Asked, Command, ModelState, NoticeLevel};
use crate::weights::{WeightsError, to_safetensors};
use futures::channel::mpsc;
use ringtmp_compute::Parameter;
use ringtmp_core::ids::Step;
use ringtmp_core::signal::{Point, RoomState};

/// What is wanted, and what there is of it.
pub(super) struct Wants {
    run: Run,
    pub(super) scribe: Scribe,
    /// The drawing that was asked about last, until there is an answer.
    drawing: Option<Vec<f32>>,
    /// Counts drawings.
    number: u32,
    model: Option<ModelState>,
    models: Option<mpsc::Sender<Fetched>>,
    /// What was learnt, once all is done.
    learnt: Option<Vec<Parameter>>,
    /// The member could not be asked, and is to be again.
    unsent: bool,
}

impl Wants {
    /// Files go to `models`; without it nobody wants any.
    pub(super) fn new(run: &Run, place: DataPlace, models: Option<mpsc::Sender<Fetched>>) -> Self {
        Self {
            run: run.clone(),
            scribe: Scribe::new(run, place),
            drawing: None,
            number: 0,
            model: None,
            models,
            learnt: None,
            unsent: false,
        }
    }

    /// Whether what was learnt is of use here once all is done.
    pub(super) fn keeps_weights(&self) -> bool {
        self.models.is_some()
    }

    /// A run begins anew: nothing counts that was said of the one before.
    pub(super) fn begin_anew(&mut self, progress: &mut Progress) {
        self.scribe.begin_anew();
        progress.writing(self.scribe.shown());
        self.learnt = None;
        if self.model != Some(ModelState::Waits) {
            self.model = None;
            progress.model(None);
        }
    }

    /// All is done; who waits for the model has it now.
    pub(super) fn finished(&mut self, learnt: Vec<Parameter>, progress: &mut Progress) {
        self.scribe.stop();
        progress.writing(self.scribe.shown());
        if self.keeps_weights() && !learnt.is_empty() {
            self.learnt = Some(learnt);
        }
        if self.model == Some(ModelState::Waits) {
            self.give_learnt(progress);
        }
    }

    fn give_learnt(&mut self, progress: &mut Progress) {
        let Some(learnt) = &self.learnt else {
            return;
        };
        let file = to_safetensors(learnt);
        self.give(Step(self.run.file.steps), Ok(file), progress);
    }

    fn give(&mut self, steps: Step, file: Result<Vec<u8>, WeightsError>, progress: &mut Progress) {
        let Step(steps) = steps;
        self.model = Some(match file {
            Ok(file) => {
                // Whoever does not take it has no use for it.
                if let Some(models) = &mut self.models {
                    models.try_send(Fetched { steps, file }).ok();
                }
                ModelState::Here { steps }
            }
            Err(error) => ModelState::Lost {
                reason: error.to_string(),
            },
        });
        progress.model(self.model.clone());
    }

    fn lose_model(&mut self, reason: &str, progress: &mut Progress) {
        let reason = reason.to_owned();
        self.model = Some(ModelState::Lost { reason });
        progress.model(self.model.clone());
    }

    /// All that is to be asked.
    fn queries(&mut self) -> Vec<Query> {
        let mut queries = Vec::new();
        if self.model == Some(ModelState::Waits) {
            queries.push(Query::Model);
        }
        if let Some((number, tokens)) = self.scribe.question() {
            let sample = Entering::Asked(tokens.into_iter().map(u32::from).collect());
            queries.push(Query::Sample { number, sample });
        }
        if let Some(numbers) = self.drawing.clone() {
            let (number, label) = (self.number, ASKED_LABEL);
            let sample = Entering::Made(Labelled { numbers, label });
            queries.push(Query::Sample { number, sample });
        }
        queries
    }
}

impl RoomMember {
    /// Whether a command is about the model; then it is obeyed.
    pub(super) fn is_wanted(&mut self, command: &Command, progress: &mut Progress) -> bool {
        match command {
            Command::Ask { strokes } => self.ask_about(strokes, progress),
            Command::Write {
                start,
                temperature_percent,
                again,
            } => {
                let watches = !self.works();
                let scribe = &mut self.wants.scribe;
                scribe.wants(start.clone(), *temperature_percent, *again, watches);
                self.ask_member(progress);
            }
            Command::StopWriting => {
                self.wants.scribe.stop();
                progress.writing(self.wants.scribe.shown());
            }
            Command::FetchModel => self.fetch_model(progress),
            _ => return false,
        }
        true
    }

    fn works(&self) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.works())
    }

    fn ask_about(&mut self, strokes: &[Vec<[u16; 2]>], progress: &mut Progress) {
        let numbers = self.run.input_shape().iter().product();
        match drawing(strokes, numbers) {
            Ok(numbers) => {
                self.wants.number = self.wants.number.wrapping_add(1);
                self.wants.drawing = Some(numbers);
                progress.asked(Some(Asked::Waiting));
                self.ask_member(progress);
            }
            Err(reason) => {
                let text = format!("This drawing cannot be asked about: {reason}.");
                progress.notice(NoticeLevel::Warning, text, "");
            }
        }
    }

    fn fetch_model(&mut self, progress: &mut Progress) {
        let works = self.works();
        let wants = &mut self.wants;
        if wants.model == Some(ModelState::Waits) || !wants.keeps_weights() {
            return;
        }
        let bytes = self.run.layers.iter().map(|layer| 4 * layer.parameters);
        let given = self.line.door.device.memory_bytes;
        if let Some(refused) = refusal(bytes.sum(), given) {
            wants.model = Some(refused);
            progress.model(wants.model.clone());
        } else if wants.learnt.is_some() {
            wants.give_learnt(progress);
        } else if works {
            wants.model = Some(ModelState::Waits);
            progress.model(wants.model.clone());
            self.ask_member(progress);
        } else {
            let reason = "this device has no part in the run that holds it";
            wants.lose_model(reason, progress);
        }
    }

    /// The characters of the run's text are known, or why not.
    pub(super) fn vocabulary_opened(&mut self, opened: Opened, progress: &mut Progress) {
        self.wants.scribe.opened(opened);
        self.ask_member(progress);
    }

    /// Steps are done: a text may be due to be written anew.
    pub(super) fn write_again(&mut self, points: &[Point], progress: &mut Progress) {
        let newest = points.iter().map(|point| point.step).max();
        if newest.is_some_and(|step| self.wants.scribe.is_due(Step(step))) {
            self.ask_member(progress);
        }
    }

    /// Asks the member for all that is wanted, whether or not it was asked before.
    pub(super) fn ask_member(&mut self, progress: &mut Progress) {
        let queries = self.wants.queries();
        let seat = self.seat.as_mut().filter(|seat| seat.works());
        self.wants.unsent = match seat {
            Some(seat) => !queries.into_iter().all(|query| seat.ask(query)),
            // The next part in a plan begins with it.
            None => false,
        };
        progress.writing(self.wants.scribe.shown());
    }

    /// Asks again, where the member had no time to listen.
    pub(super) fn ask_member_again(&mut self, progress: &mut Progress) {
        if self.wants.unsent {
            self.ask_member(progress);
        }
    }

    /// What the member says.
    pub(super) fn replied(&mut self, reply: Reply, progress: &mut Progress) {
        let wants = &mut self.wants;
        match reply {
            Reply::Model { steps, file } => {
                if wants.model == Some(ModelState::Waits) {
                    wants.give(steps, file, progress);
                }
            }
            Reply::Answer {
                number,
                steps,
                probabilities,
            } if self.run.takes_text() => {
                if probabilities.is_empty() {
                    // A model that has diverged writes nothing more.
                    wants.scribe.stop();
                }
                if wants.scribe.answered(number, steps, &probabilities) {
                    self.ask_member(progress);
                } else {
                    progress.writing(wants.scribe.shown());
                }
            }
            Reply::Answer {
                number,
                steps: Step(step),
                probabilities,
            } => {
                if number == wants.number && wants.drawing.take().is_some() {
                    let answered = Asked::Answered {
                        step,
                        probabilities,
                    };
                    progress.asked(Some(answered));
                }
            }
        }
    }

    /// The room has changed: one that has stopped gives no model any more.
    pub(super) fn want_in(&mut self, room: &RoomState, progress: &mut Progress) {
        if matches!(room, RoomState::Stopped { .. }) {
            self.wants.scribe.stop();
            progress.writing(self.wants.scribe.shown());
            if self.wants.model == Some(ModelState::Waits) {
                self.wants.lose_model("the run has stopped", progress);
            }
        }
    }
}

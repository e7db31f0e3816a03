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
use crate::view::{Asked, ModelState, NoticeLevel};
use crate::weights::{WeightsError, finite_file};
use futures::channel::mpsc;
use ringtmp_compute::Parameter;
use ringtmp_core::ids::{PeerId, Step};
use ringtmp_core::parameter_server::TeamPlan;
use ringtmp_core::signal::{Point, RoomState};

/// Times that a model is in memory while it becomes a file: as numbers, as their bytes, as the file.
const TIMES_IN_MEMORY: u64 = 3;

/// Why a device cannot give the model.
const NOT_ALL: &str = "this device does not hold the whole model";

/// What a device has of the model by a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// It computes with all of it.
    Model,
    /// It has all parameters, and computes nothing with them.
    Parameters,
    /// A part of the parameters, or nothing.
    NotAll,
}

impl Holds {
    pub(super) fn of(plan: &TeamPlan, me: PeerId) -> Self {
        let mut shards = plan.shards.iter();
        match plan.member_of(me) {
            Some(_) if plan.works(me) => Self::Model,
            Some(me) if shards.len() > 0 && shards.all(|home| *home == me) => Self::Parameters,
            _ => Self::NotAll,
        }
    }
}

/// What is wanted, and what there is of it.
pub(super) struct Wants {
    run: Run,
    pub(super) scribe: Scribe,
    /// By the newest plan this device has the whole model; what is wanted waits for its part to begin.
    works: bool,
    /// It has all parameters, and computes nothing with them.
    serves_all: bool,
    /// The drawing that was asked about last, until there is an answer.
    drawing: Option<Vec<f32>>,
    /// Counts drawings.
    number: u32,
    model: Option<ModelState>,
    /// The member was asked for it.
    model_asked: bool,
    models: Option<mpsc::Sender<Fetched>>,
    /// What was learnt, once this device's part is done.
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
            works: false,
            serves_all: false,
            drawing: None,
            number: 0,
            model: None,
            model_asked: false,
            models,
            learnt: None,
            unsent: false,
        }
    }

    /// There is a new plan, in which this device computes or does not. What was learnt under another is not what this one ends with.
    pub(super) fn plan_begins(&mut self, anew: bool, part: Holds, progress: &mut Progress) {
        self.works = part == Holds::Model;
        self.serves_all = part == Holds::Parameters;
        self.learnt = None;
        if anew {
            self.scribe.begin_anew();
            progress.writing(self.scribe.shown());
            if self.model != Some(ModelState::Waits) {
                self.model = None;
                progress.model(None);
            }
        }
        match part {
            Holds::Model => {}
            Holds::Parameters => self.answer_nothing(progress),
            Holds::NotAll => self.give_up(NOT_ALL, progress),
        }
    }

    /// A member is there to be asked, who was asked nothing yet.
    pub(super) fn member_begins(&mut self) {
        self.model_asked = false;
    }

    /// Nobody here computes what a sample shows.
    fn answer_nothing(&mut self, progress: &mut Progress) {
        self.scribe.stop();
        progress.writing(self.scribe.shown());
        if self.drawing.take().is_some() {
            progress.asked(None);
        }
    }

    /// What is wanted does not come.
    fn give_up(&mut self, reason: &str, progress: &mut Progress) {
        self.answer_nothing(progress);
        if self.model == Some(ModelState::Waits) {
            let reason = reason.to_owned();
            self.model = Some(ModelState::Lost { reason });
            progress.model(self.model.clone());
        }
    }

    /// All is done; who waits for the model has it now.
    pub(super) fn finished(&mut self, learnt: Vec<Parameter>, progress: &mut Progress) {
        self.scribe.stop();
        progress.writing(self.scribe.shown());
        if self.models.is_some() && !learnt.is_empty() {
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
        let file = finite_file(learnt);
        self.give(Step(self.run.file.steps), file, progress);
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

    /// All that is to be asked.
    fn queries(&mut self) -> Vec<Query> {
        let mut queries = Vec::new();
        if self.model == Some(ModelState::Waits) && !self.model_asked {
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
    /// Whether the model would fit into this device's memory as a file, too, and is of use there.
    pub(super) fn keeps_weights(&self) -> bool {
        self.wants.models.is_some() && self.model_refusal().is_none()
    }

    fn model_refusal(&self) -> Option<ModelState> {
        let bytes = self.run.layers.iter().map(|layer| 4 * layer.parameters);
        let given = self.line.door.device.memory_bytes;
        refusal(bytes.sum(), TIMES_IN_MEMORY, given)
    }

    /// The user wants something written.
    pub(super) fn write(
        &mut self,
        start: &str,
        temperature_percent: u16,
        again: bool,
        progress: &mut Progress,
    ) {
        let watches = !self.wants.works;
        let scribe = &mut self.wants.scribe;
        scribe.wants(start.to_owned(), temperature_percent, again, watches);
        self.ask_member(progress);
    }

    /// The user has read enough.
    pub(super) fn stop_writing(&mut self, progress: &mut Progress) {
        self.wants.scribe.stop();
        progress.writing(self.wants.scribe.shown());
    }

    /// The user wants to know what a drawing is.
    pub(super) fn ask_about(&mut self, strokes: &[Vec<[u16; 2]>], progress: &mut Progress) {
        let numbers = self.run.input_shape().iter().product();
        let drawn = match self.wants.works {
            true => drawing(strokes, numbers),
            false => Err("this device has no copy of the model".to_owned()),
        };
        match drawn {
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

    /// The user wants the model.
    pub(super) fn fetch_model(&mut self, progress: &mut Progress) {
        let refused = self.model_refusal();
        let wants = &mut self.wants;
        if wants.model == Some(ModelState::Waits) || wants.models.is_none() {
            return;
        }
        if refused.is_some() {
            wants.model = refused;
            progress.model(wants.model.clone());
            return;
        }
        wants.model = Some(ModelState::Waits);
        wants.model_asked = false;
        if wants.learnt.is_some() {
            wants.give_learnt(progress);
        } else if wants.works || wants.serves_all {
            progress.model(wants.model.clone());
            self.ask_member(progress);
        } else {
            wants.give_up(NOT_ALL, progress);
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

    /// Asks the member for all that is wanted and not under way.
    pub(super) fn ask_member(&mut self, progress: &mut Progress) {
        // Until its part begins it has none to ask.
        if let Some(seat) = &mut self.seat {
            let queries = self.wants.queries();
            let has_model = queries.contains(&Query::Model);
            let all = queries.into_iter().all(|query| seat.ask(query));
            self.wants.unsent = !all;
            self.wants.model_asked |= has_model && all;
        }
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
                if wants.scribe.answered(number, steps, &probabilities) {
                    self.ask_member(progress);
                } else {
                    progress.writing(wants.scribe.shown());
                }
            }
            Reply::Failed(reason) => {
                let text = format!("This device cannot tell what the model says: {reason}.");
                progress.notice(NoticeLevel::Warning, text, "");
                wants.give_up(&reason, progress);
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

    /// The room has changed: where all is over nothing is answered any more.
    pub(super) fn want_in(&mut self, room: &RoomState, progress: &mut Progress) {
        let reason = match room {
            RoomState::Stopped { .. } => "the run has stopped",
            RoomState::Finished => "the run is over",
            RoomState::Waiting
            | RoomState::WarmingUp
            | RoomState::Training
            | RoomState::Paused
            | RoomState::Reconfiguring { .. }
            | RoomState::Lacking { .. } => return,
        };
        (self.wants.works, self.wants.serves_all) = (false, false);
        self.wants.give_up(reason, progress);
    }
}

//! Samples that the user makes while training goes on: each takes the place of one that this device would have drawn, once.

use super::Shell;
use crate::progress::Progress;
use crate::run_file::Run;
use crate::samples::{self, Labelled, NO_DIGITS};
use crate::view::{FreshSample, FreshState, NoticeLevel};
use ringtmp_core::ids::{Step, Version};
use ringtmp_core::schedule::Task;
use ringtmp_core::wire::Purpose;
use std::collections::VecDeque;

/// The most samples that wait for their turn: more than anybody draws between two turns of a slow ring.
const WAITING_MAX: usize = 16;

/// The most samples whose fate is shown.
const SHOWN_MAX: usize = 4;

struct Made {
    shown: FreshSample,
    /// Until it enters; where steps may be made again, until its step cannot be.
    sample: Option<Labelled>,
}

impl Made {
    fn waits(&self) -> bool {
        self.shown.state == FreshState::Waiting
    }

    /// The step that it entered with.
    fn step(&self) -> Option<u32> {
        match self.shown.state {
            FreshState::Waiting => None,
            FreshState::Entered { step } | FreshState::Used { step } => Some(step),
        }
    }
}

/// The samples made here, oldest first.
pub(super) struct Fresh {
    numbers: usize,
    classes: usize,
    /// Samples of a micro-batch.
    turn: usize,
    /// Whether steps may be made again.
    keeps: bool,
    made: VecDeque<Made>,
}

impl Fresh {
    pub(super) fn new(run: &Run) -> Self {
        Self {
            numbers: run.input_shape().iter().product(),
            classes: run.classes(),
            turn: run.file.micro_batch as usize,
            keeps: run.file.replicate.is_on(),
            made: VecDeque::new(),
        }
    }

    /// What is to be shown.
    pub(super) fn shown(&self) -> Vec<FreshSample> {
        let first = self.made.len().saturating_sub(SHOWN_MAX);
        self.made.range(first..).map(|made| made.shown).collect()
    }

    /// Takes a drawing, or says in words why not.
    pub(super) fn offer(&mut self, strokes: &[Vec<[u16; 2]>], label: u32) -> Result<(), String> {
        let waiting = self.made.iter().filter(|made| made.sample.is_some());
        if waiting.count() >= WAITING_MAX {
            return Err(format!(
                "{WAITING_MAX} drawings wait for their turn already; draw on once some have entered"
            ));
        }
        let numbers = self.picture(strokes)?;
        if label as usize >= self.classes {
            return Err(NO_DIGITS.to_owned());
        }
        self.made.push_back(Made {
            shown: FreshSample {
                label,
                state: FreshState::Waiting,
            },
            sample: Some(Labelled { numbers, label }),
        });
        while self.made.len() > SHOWN_MAX && self.made[0].sample.is_none() {
            self.made.pop_front();
        }
        Ok(())
    }

    /// A drawing as the model takes it, or in words why it does not.
    pub(super) fn picture(&self, strokes: &[Vec<[u16; 2]>]) -> Result<Vec<f32>, String> {
        samples::drawing(strokes, self.numbers)
    }

    /// The samples that enter with this device's next micro-batch, which is of this step.
    pub(super) fn enter(&mut self, step: Step, places: usize) -> Vec<Labelled> {
        let keeps = self.keeps;
        let waiting = self.made.iter_mut().filter(|made| made.waits());
        let enters = |made: &mut Made| {
            made.shown.state = FreshState::Entered { step: step.0 };
            if keeps {
                made.sample.clone()
            } else {
                made.sample.take()
            }
        };
        waiting.take(places).filter_map(enters).collect()
    }

    /// The update of a step is made here. Whether something made here was in it.
    pub(super) fn updated(&mut self, step: Step) -> bool {
        let mut changed = false;
        for made in &mut self.made {
            if let FreshState::Entered { step: entered } = made.shown.state
                && entered <= step.0
            {
                made.shown.state = FreshState::Used { step: entered };
                changed = true;
            }
        }
        changed
    }

    /// A plan begins after so many updates: what entered later enters again, as far as it was kept.
    pub(super) fn begin(&mut self, start: Version) {
        self.made.retain_mut(|made| {
            let again = made.step().is_some_and(|step| step >= start.0);
            if again {
                made.shown.state = FreshState::Waiting;
            }
            !again || made.sample.is_some()
        });
    }

    /// No step before this version will be made again.
    pub(super) fn stable(&mut self, version: Version) {
        for made in &mut self.made {
            if made.step().is_some_and(|step| step < version.0) {
                made.sample = None;
            }
        }
    }
}

impl Shell {
    /// The user has drawn something.
    pub(super) fn train_on(
        &mut self,
        strokes: &[Vec<[u16; 2]>],
        label: u32,
        progress: &mut Progress,
    ) {
        match self.fresh.offer(strokes, label) {
            Ok(()) => progress.fresh(self.fresh.shown()),
            Err(reason) => {
                let text = format!("This drawing is not trained on: {reason}.");
                progress.notice(NoticeLevel::Warning, text, "");
            }
        }
    }

    /// What the user has made, if the task draws samples to train on.
    pub(super) fn enter_fresh(
        &mut self,
        task: &Task,
        progress: &mut Progress,
    ) -> Vec<samples::Entering> {
        let micro_batch = *match task {
            Task::Draw { micro_batch } => micro_batch,
            Task::Forward {
                micro_batch,
                purpose: Purpose::Train,
                input: None,
                ..
            } => micro_batch,
            Task::Forward { .. }
            | Task::BackwardInput { .. }
            | Task::BackwardWeights { .. }
            | Task::Squares { .. }
            | Task::Update { .. } => return Vec::new(),
        };
        if let Some(tokens) = self.desk.enter(micro_batch) {
            return vec![samples::Entering::Asked(tokens)];
        }
        let mut entering = self.enter_question(micro_batch, progress);
        let places = self.fresh.turn - entering.len();
        let fresh = self.fresh.enter(micro_batch.step, places);
        if !fresh.is_empty() {
            progress.fresh(self.fresh.shown());
        }
        entering.extend(fresh);
        entering.into_iter().map(samples::Entering::Made).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::RunFile;
    use ringtmp_core::signal::Replication;

    /// Samples of a micro-batch.
    const TURN: usize = 2;

    fn fresh() -> Fresh {
        let file = RunFile {
            replicate: Replication::Off,
            batch: 4,
            micro_batch: 2,
            ..RunFile::default()
        };
        Fresh::new(&file.check().expect("a sound run"))
    }

    fn one() -> Vec<Vec<[u16; 2]>> {
        vec![vec![[500, 100], [500, 900]]]
    }

    #[test]
    fn drawings_enter_once_in_order_a_micro_batch_at_a_time_and_are_used_with_their_step() {
        let mut fresh = fresh();
        for label in [1, 7, 4] {
            fresh.offer(&one(), label).expect("a drawing");
        }
        let labels = |samples: Vec<Labelled>| -> Vec<u32> {
            samples.iter().map(|sample| sample.label).collect()
        };
        assert_eq!(labels(fresh.enter(Step(5), TURN)), [1, 7]);
        assert_eq!(labels(fresh.enter(Step(6), TURN)), [4]);
        assert!(fresh.enter(Step(6), TURN).is_empty());
        assert!(fresh.updated(Step(5)) && !fresh.updated(Step(5)));
        let states: Vec<FreshState> = fresh.shown().iter().map(|sample| sample.state).collect();
        let (used, entered) = (
            FreshState::Used { step: 5 },
            FreshState::Entered { step: 6 },
        );
        assert_eq!(states, [used, used, entered]);
        fresh.offer(&one(), 2).expect("a drawing");
        fresh.begin(Version(0));
        let states: Vec<FreshState> = fresh.shown().iter().map(|sample| sample.state).collect();
        assert_eq!(states, [FreshState::Waiting], "the others were used up");
    }

    #[test]
    fn where_steps_are_made_again_drawings_enter_again_until_they_are_safe() {
        let mut fresh = fresh();
        fresh.keeps = true;
        for label in [1, 7, 4] {
            fresh.offer(&one(), label).expect("a drawing");
        }
        fresh.enter(Step(5), TURN);
        fresh.updated(Step(5));
        fresh.enter(Step(6), TURN);
        fresh.stable(Version(6));
        fresh.begin(Version(6));
        let states: Vec<FreshState> = fresh.shown().iter().map(|sample| sample.state).collect();
        let used = FreshState::Used { step: 5 };
        assert_eq!(states, [used, used, FreshState::Waiting]);
        let again: Vec<u32> = fresh
            .enter(Step(6), TURN)
            .iter()
            .map(|sample| sample.label)
            .collect();
        assert_eq!(again, [4]);
    }

    #[test]
    fn too_many_drawings_or_none_are_refused_with_words() {
        let mut fresh = fresh();
        assert!(
            fresh
                .offer(&[], 1)
                .is_err_and(|words| words.contains("nothing is drawn"))
        );
        assert!(
            fresh
                .offer(&one(), 10)
                .is_err_and(|words| words.contains("no drawn digits"))
        );
        for _ in 0..WAITING_MAX {
            fresh.offer(&one(), 1).expect("there is room");
        }
        let full = fresh.offer(&one(), 1);
        assert!(full.is_err_and(|words| words.contains("wait for their turn")));
        assert_eq!(fresh.shown().len(), SHOWN_MAX);
        assert_eq!(fresh.enter(Step(0), TURN).len(), 2);
        assert!(fresh.offer(&one(), 1).is_ok());
    }
}

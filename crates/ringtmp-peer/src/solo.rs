//! Training in one process, without a ring: the same run files, samples and stages, and, on the CPU, the same bits.
//!
//! It uses the weights that the run's schedule asks for, so `2bw` trains here with the delay that it has in any ring. In `async`
//! the newest weights there are have no delay, as nothing is under way: that is `sync`.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::run_file::{Measure, Run};
use crate::samples::{Supply, held_out, position};
use ringtmp_compute::{
    ComputeError, Executor, GradientSquares, Packing, Parameter, Stage, StageConfig,
};
use ringtmp_core::ids::{SourceIndex, Step};
use ringtmp_core::schedule::{Deal, Mode};
use ringtmp_core::wire::Purpose;
use ringtmp_data::{Dataset, ShareError};
use std::collections::VecDeque;
use std::sync::Arc;

/// The most losses of a step that are not read yet: each has memory of its own on a GPU, and more keep it no busier.
const LOSSES_MAX: usize = 8;

/// A run in one process.
#[derive(Debug)]
pub struct Solo {
    run: Run,
    dataset: Arc<Dataset>,
    sources: Vec<Supply>,
    /// The whole model.
    stage: Stage,
    /// Updates made.
    step: u32,
}

/// How good weights are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean cross entropy over labels (of a text one for each token) that count.
    pub loss: f32,
    /// Share of right answers, 0 to 1, as [`Run::measure`] counts them.
    pub accuracy: f32,
}

/// The length of one parameter's gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientNorm {
    /// The parameter, such as "0.weight".
    pub name: String,
    /// The root of the sum of the squares of its gradient.
    pub norm: f64,
}

impl Solo {
    /// Begins a run, with the weights that its seed gives. The data must go with the model, see [`crate::open_data`].
    ///
    /// # Errors
    ///
    /// What keeps this device from holding the model.
    pub async fn new(run: Run, dataset: Dataset, executor: Executor) -> Result<Self, ComputeError> {
        let stage = Stage::new(config(&run), executor).await?;
        let dataset = Arc::new(dataset);
        Ok(Self {
            run,
            sources: vec![Supply::whole(dataset.clone())],
            dataset,
            stage,
            step: 0,
        })
    }

    /// Trains on what so many devices would have of the run's data, each its share.
    ///
    /// # Errors
    ///
    /// That the data cannot be divided so.
    pub fn divide(&mut self, sources: u16) -> Result<(), ShareError> {
        let share = |number| {
            Supply::share(
                &self.run,
                self.dataset.clone(),
                SourceIndex(number),
                sources,
            )
        };
        self.sources = (0..sources).map(share).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Trains on these sources' samples, in the order in which a ring deals micro-batches to them. At least one.
    pub fn set_sources(&mut self, sources: Vec<Supply>) {
        assert!(!sources.is_empty(), "nothing to train on");
        self.sources = sources;
    }

    /// Replaces all weights.
    ///
    /// # Errors
    ///
    /// The first weight that is missing or of another shape.
    pub fn set_weights(&mut self, weights: &[Parameter]) -> Result<(), ComputeError> {
        self.stage.set_parameters(weights)
    }

    /// Goes on where a checkpoint was made.
    ///
    /// # Errors
    ///
    /// That the checkpoint is of another run.
    pub fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        checkpoint.check_run(&self.run)?;
        self.stage
            .restore(&checkpoint.snapshot())
            .expect("the same run has the same model and optimizer, whose tensors were read");
        self.step = checkpoint.step;
        Ok(())
    }

    /// How far the run has come.
    ///
    /// # Errors
    ///
    /// That the weights cannot be read from the device.
    pub async fn checkpoint(&self) -> Result<Checkpoint, ComputeError> {
        Ok(Checkpoint::of(
            self.run.clone(),
            self.stage.snapshot().await?,
        ))
    }

    /// Makes the next update, and tells how good the weights were that its gradients are of.
    ///
    /// # Errors
    ///
    /// What the device cannot compute, or that training has diverged; the weights then are those before the update.
    pub async fn step(&mut self) -> Result<Score, ComputeError> {
        let sums = gradients(&self.run, &self.sources, &mut self.stage, self.step).await?;
        let step = u64::from(self.step);
        self.stage.update_of(step, sums.samples).await?;
        self.step += 1;
        Ok(sums.score())
    }

    /// How good the weights are on held-out samples; none if the run evaluates none. They are those that the next step would
    /// use, and after the last step the newest.
    ///
    /// # Errors
    ///
    /// As [`Self::step`].
    pub async fn evaluate(&mut self) -> Result<Option<Score>, ComputeError> {
        let file = &self.run.file;
        if file.evaluation_samples == 0 {
            return Ok(None);
        }
        let samples = file.evaluation_samples.min(self.dataset.test_len());
        let mut sums = Sums::new(&self.run);
        self.stage
            .set_position(0, position(&self.run, Purpose::Evaluate, self.step, 0))?;
        self.stage.set_version(0, version(&self.run, self.step))?;
        for sequence in (0..).take(samples.div_ceil(file.micro_batch) as usize) {
            let (samples, labels) = held_out(&self.run, &self.dataset, sequence)?;
            sums.add(self.stage.forward_loss(0, &samples, &labels).await?);
        }
        Ok(Some(sums.score()))
    }

    /// The gradients of the next step, parameter by parameter. Nothing is updated.
    ///
    /// # Errors
    ///
    /// As [`Self::step`].
    pub async fn gradient_norms(&self) -> Result<Vec<GradientNorm>, ComputeError> {
        // A stage beside ours, whose gradients nobody has to take back.
        let executor = self.stage.executor().clone();
        let mut stage = Stage::new(config(&self.run), executor).await?;
        stage.restore(&self.stage.snapshot().await?)?;
        let sums = gradients(&self.run, &self.sources, &mut stage, self.step).await?;
        let mean = stage.mean_factor(sums.samples);
        let squares = stage.gradient_squares().await?;
        let norm = |squares: GradientSquares| GradientNorm {
            name: squares.name,
            norm: squares.sum.sqrt() * mean,
        };
        Ok(squares.into_iter().map(norm).collect())
    }

    /// Updates made.
    pub fn steps_done(&self) -> u32 {
        self.step
    }

    /// The run.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The stage that holds the whole model.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }
}

/// The whole model in one stage.
pub(crate) fn config(run: &Run) -> StageConfig {
    let file = &run.file;
    StageConfig {
        layers: 0..run.model.layers.len(),
        model: run.model.clone(),
        micro_batch: file.micro_batch as usize,
        batch: file.batch as usize,
        slots: 1,
        versions: match file.schedule {
            Mode::Sync | Mode::OneForwardOneBackward | Mode::Async => 1,
            Mode::TwoVersions => 2,
        },
        seed: file.seed,
        optimizer: run.optimizer,
        input_packing: Packing::F32,
        output_packing: Packing::F32,
        arithmetic: file.arithmetic,
    }
}

/// The weights that a step uses, before which all earlier steps have made their updates.
fn version(run: &Run, step: u32) -> Option<u64> {
    let mode = run.file.schedule;
    let version = mode.version(Step(step), Step(step), run.file.steps);
    Some(u64::from(version.0))
}

/// Adds up the gradients of a step.
async fn gradients(
    run: &Run,
    sources: &[Supply],
    stage: &mut Stage,
    step: u32,
) -> Result<Sums, ComputeError> {
    let (mut sums, mut pending) = (Sums::new(run), VecDeque::new());
    stage.set_version(0, version(run, step))?;
    let deal = Deal {
        micro_batches: run.micro_batches(),
        sources: u16::try_from(sources.len()).unwrap_or(u16::MAX),
    };
    for sequence in 0..run.micro_batches() {
        let number = deal.number(Step(step), sequence);
        let source = &sources[usize::from(deal.source(number).0)];
        let (samples, labels) = source.draw(run, deal.turn(number), &[])?;
        stage.set_position(0, position(run, Purpose::Train, step, sequence.into()))?;
        if pending.len() >= LOSSES_MAX
            && let Some(oldest) = pending.pop_front()
        {
            sums.add(stage.finish_loss(oldest).await?);
        }
        pending.push_back(stage.begin_loss(0, &samples, &labels).await?);
        stage.backward_input(0, None).await?;
        stage.backward_weights(0).await?;
    }
    for loss in pending {
        sums.add(stage.finish_loss(loss).await?);
    }
    Ok(sums)
}

/// Sums over micro-batches, in double precision as the tail of a ring adds them up.
#[derive(Debug)]
struct Sums {
    measure: Measure,
    loss: f64,
    /// Labels that count.
    samples: u64,
    /// Right answers among how many.
    right: [u64; 2],
}

impl Sums {
    fn new(run: &Run) -> Self {
        Self {
            measure: run.measure(),
            loss: 0.0,
            samples: 0,
            right: [0; 2],
        }
    }

    fn add(&mut self, report: ringtmp_compute::LossReport) {
        self.loss += f64::from(report.loss_sum);
        self.samples += u64::from(report.samples);
        let right = self.measure.of(&report);
        for (sum, count) in self.right.iter_mut().zip(right) {
            *sum += u64::from(count);
        }
    }

    fn score(&self) -> Score {
        let [right, of] = self.right;
        Score {
            loss: (self.loss / self.samples.max(1) as f64) as f32,
            accuracy: (right as f64 / of.max(1) as f64) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::{OptimizerTable, RuleName, RunFile};
    use futures::executor::block_on;
    use ringtmp_compute::{ExecutorChoice, GptSizes, IGNORED_LABEL, ModelSpec};
    use ringtmp_data::DataSpec;

    fn solo(file: RunFile) -> Solo {
        let run = file.check().expect("a sound run");
        let data = Dataset::digits(run.file.seed);
        let solo = async {
            let executor = Executor::open(ExecutorChoice::Cpu).await?;
            Solo::new(run, data, executor).await
        };
        block_on(solo).expect("the CPU holds a perceptron")
    }

    fn small() -> RunFile {
        RunFile {
            batch: 8,
            micro_batch: 4,
            evaluation_samples: 30,
            ..RunFile::default()
        }
    }

    fn score(solo: &mut Solo) -> Score {
        block_on(solo.step()).expect("the CPU always computes")
    }

    #[test]
    fn a_resumed_run_goes_on_as_if_it_had_never_stopped() {
        let run = |schedule, rule| RunFile {
            schedule,
            optimizer: OptimizerTable::new(rule, 0.01),
            ..small()
        };
        let files = [
            run(Mode::Sync, RuleName::Momentum),
            run(Mode::Sync, RuleName::Adam),
            run(Mode::TwoVersions, RuleName::Sgd),
            run(Mode::TwoVersions, RuleName::Nadam),
        ];
        for file in files {
            let solo = || solo(file.clone());
            let mut whole = solo();
            let scores: Vec<Score> = (0..6).map(|_| score(&mut whole)).collect();
            let mut first = solo();
            let begun: Vec<Score> = (0..3).map(|_| score(&mut first)).collect();
            assert_eq!(begun, scores[..3]);
            let checkpoint = block_on(first.checkpoint()).expect("readable").encode();
            let checkpoint = Checkpoint::decode(&checkpoint).expect("our own");
            let mut second = solo();
            second.resume(&checkpoint).expect("the same run");
            assert_eq!(second.steps_done(), 3);
            let rest: Vec<Score> = (0..3).map(|_| score(&mut second)).collect();
            assert_eq!(rest, scores[3..], "{}", file.schedule);
            let snapshot = |solo: &Solo| block_on(solo.stage().snapshot()).expect("readable");
            assert_eq!(snapshot(&second), snapshot(&whole), "{}", file.schedule);
        }
    }

    #[test]
    fn an_evaluation_changes_nothing_and_counts_only_real_samples() {
        let (mut asked, mut unasked) = (solo(small()), solo(small()));
        score(&mut asked);
        score(&mut unasked);
        let first = block_on(asked.evaluate())
            .expect("computed")
            .expect("30 samples");
        assert_eq!(block_on(asked.evaluate()), Ok(Some(first)));
        // Thirty samples, the last micro-batch padded by two.
        let right = first.accuracy * 30.0;
        assert!((right - right.round()).abs() < 1e-4, "{right} of 30");
        assert_eq!(score(&mut asked), score(&mut unasked));
        let mut none = solo(RunFile {
            evaluation_samples: 0,
            ..small()
        });
        assert_eq!(block_on(none.evaluate()), Ok(None));
    }

    #[test]
    fn a_transformer_learns_sums_and_only_their_answers_count() {
        let mut run = small().check().expect("a sound run");
        run.model = ModelSpec::gpt(&GptSizes {
            vocabulary: 13,
            context: 9,
            width: 16,
            heads: 2,
            blocks: 1,
        });
        run.shapes = run.model.shapes().expect("a sound model");
        run.data = DataSpec::Addition;
        let solo = async {
            let data = crate::open_data(&run, &crate::DataPlace::Disk).await;
            let executor = Executor::open(ExecutorChoice::Cpu).await?;
            Solo::new(run.clone(), data.expect("sums need no files"), executor).await
        };
        let mut solo = block_on(solo).expect("the CPU holds a small transformer");
        let first = block_on(solo.evaluate())
            .expect("computed")
            .expect("30 samples");
        (0..60).for_each(|_| assert!(score(&mut solo).loss.is_finite()));
        let last = block_on(solo.evaluate())
            .expect("computed")
            .expect("30 samples");
        // Thirteen characters: nothing known is ln 13 = 2.56 or worse.
        assert!(
            first.loss > 2.0 && last.loss < 0.9 * first.loss,
            "{first:?} {last:?}"
        );
        let (samples, labels) = solo.sources[0].draw(&run, 0, &[]).expect("it fits");
        assert_eq!((&samples.shape[..], labels.len()), (&[4, 9][..], 36));
        let counted = labels.iter().filter(|label| **label != IGNORED_LABEL);
        // Two or three digits and the end of the line, four times.
        assert!((12..=16).contains(&counted.count()));
    }

    #[test]
    fn gradient_norms_are_those_of_the_next_update() {
        let rate = 0.5;
        let mut solo = solo(RunFile {
            optimizer: OptimizerTable::new(RuleName::Sgd, rate),
            ..small()
        });
        let norms = block_on(solo.gradient_norms()).expect("computed");
        let weights = |solo: &Solo| block_on(solo.stage().parameters()).expect("readable");
        let before = weights(&solo);
        score(&mut solo);
        for ((before, after), norm) in before.iter().zip(weights(&solo)).zip(norms) {
            let moved = before.values.iter().zip(&after.values);
            let squares = moved.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            let expected = squares.sqrt() / f64::from(rate);
            assert_eq!(norm.name, before.name);
            let near = (norm.norm - expected).abs() <= 1e-4 * expected;
            assert!(
                near && expected > 0.0,
                "{}: {} or {expected}",
                norm.name,
                norm.norm
            );
        }
    }
}

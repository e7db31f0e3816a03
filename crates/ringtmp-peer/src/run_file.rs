//! The run file: one training job as TOML.

use crate::view::RunSummary;
use ringtmp_compute::{LayerOutline, ModelError, ModelSpec, OptimizerSpec};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::plan::LayerCost;
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec};
use ringtmp_core::signal::{RunDescriptor, RunOutline};
use ringtmp_data::{DataSpec, DataSpecError, Order, Split};
use serde::{Deserialize, Serialize};

/// The most samples of a step.
const BATCH_MAX: u32 = 65_536;

/// The most held-out samples of an evaluation.
const EVALUATION_SAMPLES_MAX: u32 = 1_000_000;

/// One training job, as it is written down. Every field has a default; the default job trains `mlp` on `digits`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunFile {
    /// The model: a preset's name.
    pub preset: String,
    /// Where samples come from: `digits`, `addition`, `idx:LOCATION`, `text:LOCATION` or `csv:LOCATION`. In a room a location is
    /// a path at the signalling server, in `ringtmp train` one on this device.
    pub data: String,
    /// Whose samples are trained on: `one` (the first device draws them all) or `every` (each device its own, which travel round
    /// the ring to the first).
    pub source: DataSource,
    /// How `data` are divided where every device has its own: `even`, or `by-label`, each class at one device.
    pub split: Split,
    /// The order of samples: `shuffled` or `sequential`.
    pub order: Order,
    /// Optimizer updates.
    pub steps: u32,
    /// Samples of a step.
    pub batch: u32,
    /// Samples of a micro-batch; divides the batch.
    pub micro_batch: u32,
    /// Makes initial weights, data and their order.
    pub seed: u64,
    /// Of stochastic gradient descent.
    pub learning_rate: f32,
    /// Evaluate after every so many steps, and at the end; 0 for the end only.
    pub evaluate_every: u32,
    /// Held-out samples of an evaluation (fewer where there are fewer); 0 for none.
    pub evaluation_samples: u32,
    /// The schedule: `sync` or `1f1b`. (`2bw` and `async` so far only in the simulator.)
    pub schedule: Mode,
    /// How devices write activations and gradients to each other: `f32`, exactly; `f16`, half the bytes; `int8`, a quarter,
    /// with a scale per row and gradients rounded at random; `auto`, f16, but int8 on links that would hold up the ring. In one process nothing is written.
    pub codec: CodecChoice,
    /// Start by itself when so many devices are there; 0 to wait for somebody to press start.
    pub start_at_peers: u16,
}

impl Default for RunFile {
    fn default() -> Self {
        Self {
            preset: "mlp".to_owned(),
            data: "digits".to_owned(),
            source: DataSource::One,
            split: Split::Even,
            order: Order::Shuffled,
            steps: 2000,
            batch: 64,
            micro_batch: 16,
            seed: 1,
            learning_rate: 0.2,
            evaluate_every: 100,
            evaluation_samples: 1000,
            schedule: Mode::Sync,
            codec: CodecChoice::F16,
            start_at_peers: 0,
        }
    }
}

/// Why a run file cannot be run. The fault is its author's.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// Not TOML, or not these fields.
    #[error("the run file cannot be read: {0}")]
    Syntax(String),
    /// There is no such preset, or its layers do not go together.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The data cannot be named so.
    #[error(transparent)]
    Data(#[from] DataSpecError),
    /// A number is out of its range.
    #[error("{field} = {value} in the run file: {rule}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        rule: &'static str,
    },
    /// The outline that came with the run is not the run's.
    #[error(
        "the room's outline of the run is not what its run file says: the room was made by a broken or hostile device"
    )]
    Outline,
}

/// A run file that was checked, and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// As it is written down.
    pub file: RunFile,
    /// Its model.
    pub model: ModelSpec,
    /// What each layer costs.
    pub layers: Vec<LayerOutline>,
    /// The shapes of a sample before the first layer and after each.
    pub shapes: Vec<Vec<usize>>,
    /// Its data.
    pub data: DataSpec,
}

impl RunFile {
    /// Reads TOML.
    ///
    /// # Errors
    ///
    /// [`RunFileError::Syntax`].
    pub fn parse(toml: &str) -> Result<Self, RunFileError> {
        toml::from_str(toml).map_err(|error| RunFileError::Syntax(error.to_string()))
    }

    /// Writes TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a flat table of numbers and texts can always be written")
    }

    /// Checks everything that can be checked before there is data.
    ///
    /// # Errors
    ///
    /// What is wrong, and what would be right.
    pub fn check(self) -> Result<Run, RunFileError> {
        rule(
            self.steps >= 1,
            "steps",
            self.steps.to_string(),
            "at least 1",
        )?;
        rule(
            (1..=BATCH_MAX).contains(&self.batch),
            "batch",
            self.batch.to_string(),
            "1 to 65536",
        )?;
        let divides = self.micro_batch >= 1 && self.batch.is_multiple_of(self.micro_batch);
        rule(
            divides,
            "micro_batch",
            self.micro_batch.to_string(),
            "at least 1, and the batch must be a multiple of it",
        )?;
        let rate = self.learning_rate;
        rule(
            rate.is_finite() && rate > 0.0,
            "learning_rate",
            rate.to_string(),
            "a positive number",
        )?;
        let samples = self.evaluation_samples;
        rule(
            samples <= EVALUATION_SAMPLES_MAX,
            "evaluation_samples",
            samples.to_string(),
            "at most 1000000",
        )?;
        let counts_fit = self.evaluation_micro_batches() <= u32::from(u16::MAX);
        rule(
            counts_fit,
            "evaluation_samples",
            samples.to_string(),
            "at most 65535 micro-batches",
        )?;
        // Stages hold one version of their weights.
        rule(
            self.schedule.flushes(),
            "schedule",
            self.schedule.to_string(),
            "sync or 1f1b; 2bw and async need two versions of the weights, which only the simulator has (ringtmp sim)",
        )?;
        let model = ModelSpec::preset(&self.preset)?;
        let (layers, shapes) = (model.outline()?, model.shapes()?);
        let data = self.check_data()?;
        Ok(Run {
            file: self,
            model,
            layers,
            shapes,
            data,
        })
    }

    fn check_data(&self) -> Result<DataSpec, RunFileError> {
        let data = self.data.parse()?;
        let has_classes = match data {
            DataSpec::Digits | DataSpec::Idx { .. } | DataSpec::Csv { .. } => true,
            DataSpec::Addition | DataSpec::Text { .. } => false,
        };
        rule(
            self.split == Split::Even || has_classes && self.source == DataSource::Every,
            "split",
            "by-label".to_owned(),
            "even, unless source is every and the data have one label a sample",
        )?;
        Ok(data)
    }

    fn evaluation_micro_batches(&self) -> u32 {
        self.evaluation_samples.div_ceil(self.micro_batch.max(1))
    }
}

fn rule(
    ok: bool,
    field: &'static str,
    value: String,
    rule: &'static str,
) -> Result<(), RunFileError> {
    ok.then_some(())
        .ok_or(RunFileError::OutOfRange { field, value, rule })
}

impl Run {
    /// The run that a room announced.
    ///
    /// # Errors
    ///
    /// What is wrong with its file, or [`RunFileError::Outline`] where the outline does not go with it.
    pub fn of(descriptor: &RunDescriptor) -> Result<Self, RunFileError> {
        let run = RunFile::parse(&descriptor.toml)?.check()?;
        if run.outline() == descriptor.outline {
            Ok(run)
        } else {
            Err(RunFileError::Outline)
        }
    }

    /// What the room is told.
    pub fn descriptor(&self) -> RunDescriptor {
        RunDescriptor {
            toml: self.file.to_toml(),
            outline: self.outline(),
        }
    }

    /// The optimizer.
    pub fn optimizer(&self) -> OptimizerSpec {
        OptimizerSpec::sgd(self.file.learning_rate)
    }

    /// Micro-batches of a step.
    pub fn micro_batches(&self) -> u16 {
        u16::try_from(self.file.batch / self.file.micro_batch).unwrap_or(u16::MAX)
    }

    fn outline(&self) -> RunOutline {
        RunOutline {
            name: self.file.preset.clone(),
            layers: self.layers.iter().map(cost).collect(),
            steps: self.file.steps,
            micro_batches: self.micro_batches(),
            evaluate_every: self.file.evaluate_every,
            evaluation_micro_batches: u16::try_from(self.file.evaluation_micro_batches())
                .unwrap_or(u16::MAX),
            start_at_peers: self.file.start_at_peers,
            schedule: ScheduleSpec::new(self.file.schedule, self.file.micro_batch),
            source: self.file.source,
            sample_bytes: self.sample_bytes(),
            codec: self.file.codec,
            planning: Planning::Counted,
        }
    }

    /// Bytes of a sample with its labels: one, or one for each token.
    fn sample_bytes(&self) -> u64 {
        let numbers = self.input_shape().iter().product::<usize>();
        let first = self.model.layers.first();
        let is_text = first.is_some_and(|layer| layer.layer().tokens().is_some());
        let labels = if is_text { numbers } else { 1 };
        4 * (numbers + labels) as u64
    }

    /// In a line or two.
    pub fn summary(&self) -> RunSummary {
        RunSummary {
            name: self.file.preset.clone(),
            data: self.file.data.clone(),
            steps: self.file.steps,
            batch: self.file.batch,
            micro_batch: self.file.micro_batch,
            layers: self
                .layers
                .iter()
                .map(|layer| layer.description.clone())
                .collect(),
            parameters: self.layers.iter().map(|layer| layer.parameters).collect(),
            start_at_peers: self.file.start_at_peers,
        }
    }

    /// The shape of one sample.
    pub fn input_shape(&self) -> &[usize] {
        &self.shapes[0]
    }

    /// How many answers the model chooses from: the last dimension of its output.
    pub fn classes(&self) -> usize {
        let last = self.shapes.last().and_then(|shape| shape.last());
        last.copied().unwrap_or(0)
    }
}

fn cost(layer: &LayerOutline) -> LayerCost {
    LayerCost {
        flops: layer.flops,
        parameters: layer.parameters,
        output_bytes: layer.output_bytes,
        stash_bytes: layer.stash_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_run_is_what_it_was_written_as() {
        let run = RunFile::default()
            .check()
            .expect("the default run can be run");
        assert_eq!(Run::of(&run.descriptor()).expect("it reads back"), run);
        assert_eq!(run.micro_batches(), 4);
        assert_eq!(run.descriptor().outline.layers.len(), 5);
    }

    #[test]
    fn an_impossible_run_is_refused_with_the_field_and_the_rule() {
        let error = |toml: &str| {
            RunFile::parse(toml)
                .and_then(RunFile::check)
                .expect_err("impossible")
                .to_string()
        };
        assert!(error("micro_batch = 10").contains("multiple"));
        assert!(error("steps = 0").contains("steps = 0"));
        assert!(error("learning_rate = nan").contains("positive"));
        assert!(error("preset = 'lstm'").contains("mlp"));
        assert!(error("schedule = '2bw'").contains("only the simulator"));
        assert!(error("schedule = 'gpipe'").contains("sync"));
        assert!(error("colour = 1").contains("colour"));
        assert!(error("codec = 'bf16'").contains("int8"));
        assert!(error("data = 'ftp'").contains("ftp"));
        assert!(error("order = 'sorted'").contains("sequential"));
        assert!(error("split = 'by-label'").contains("source is every"));
        let texts = "source = 'every'\nsplit = 'by-label'\ndata = 'text:x'";
        assert!(error(texts).contains("one label a sample"));
        assert!(error("source = 'two'").contains("every"));
        assert!(
            error("evaluation_samples = 1000000\nbatch = 1\nmicro_batch = 1").contains("65535")
        );
    }

    #[test]
    fn a_room_that_misstates_its_run_is_found_out() {
        let mut descriptor = RunFile::default()
            .check()
            .expect("the default run can be run")
            .descriptor();
        descriptor.outline.steps += 1;
        assert!(matches!(Run::of(&descriptor), Err(RunFileError::Outline)));
    }
}

//! A run: a run file that was checked, and what follows from it.

use super::{RunFile, RunFileError};
use crate::view::RunSummary;
use ringtmp_compute::{LayerOutline, LossReport, ModelSpec, OptimizerSpec};
use ringtmp_core::plan::LayerCost;
use ringtmp_core::schedule::ScheduleSpec;
use ringtmp_core::signal::{RunDescriptor, RunOutline};
use ringtmp_data::DataSpec;

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
    /// Its optimizer.
    pub optimizer: OptimizerSpec,
}

impl Run {
    /// The run that a room announced.
    ///
    /// # Errors
    ///
    /// What is wrong with its file, or with it in a room, or [`RunFileError::Outline`] where the outline does not go with it.
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
            resumes: None,
            verifier: None,
        }
    }

    /// Micro-batches of a step.
    pub fn micro_batches(&self) -> u16 {
        u16::try_from(self.file.batch / self.file.micro_batch).unwrap_or(u16::MAX)
    }

    fn outline(&self) -> RunOutline {
        RunOutline {
            name: self.file.model.name().to_owned(),
            layers: self.layers.iter().map(cost).collect(),
            steps: self.file.steps,
            micro_batches: self.micro_batches(),
            evaluate_every: self.file.evaluate_every,
            evaluation_micro_batches: u16::try_from(self.file.evaluation_micro_batches())
                .unwrap_or(u16::MAX),
            start_at_peers: self.file.start_at_peers,
            schedule: ScheduleSpec {
                clips_gradients: self.optimizer.clip_norm.is_some(),
                optimizer_numbers: u8::try_from(self.optimizer.state_tensors()).unwrap_or(u8::MAX),
                ..ScheduleSpec::new(self.file.schedule, self.file.micro_batch)
            },
            source: self.file.data.source,
            sample_bytes: self.sample_bytes(),
            codec: self.file.codec,
            planning: self.file.planning,
            replication: self.file.replicate,
            topology: self.file.topology(),
        }
    }

    /// Bytes of a sample with its labels: one, or one for each token.
    fn sample_bytes(&self) -> u64 {
        let numbers = self.input_shape().iter().product::<usize>();
        let labels = if self.takes_text() { numbers } else { 1 };
        4 * (numbers + labels) as u64
    }

    /// In a line or two.
    pub fn summary(&self) -> RunSummary {
        RunSummary {
            name: self.file.model.name().to_owned(),
            data: self.data.to_string(),
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
            source: self.file.data.source,
        }
    }

    /// Whether its samples are text.
    pub fn takes_text(&self) -> bool {
        let first = self.model.layers.first();
        first.is_some_and(|layer| layer.layer().tokens().is_some())
    }

    /// What an evaluation counts as right: of sums whole answers, of other samples each label.
    pub fn measure(&self) -> Measure {
        match self.data {
            DataSpec::Addition => Measure::ExactMatch,
            DataSpec::Text { .. } => Measure::Characters,
            DataSpec::Digits | DataSpec::Idx { .. } | DataSpec::Csv { .. } => Measure::Accuracy,
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

/// What the share of right answers is a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Samples, which have one label each.
    Accuracy,
    /// Samples all of whose labels are met.
    ExactMatch,
    /// Characters, each of which follows those before it.
    Characters,
}

impl Measure {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::ExactMatch => "exact match",
            Self::Characters => "characters right",
        }
    }

    /// Right answers among how many.
    pub(crate) const fn of(self, report: &LossReport) -> [u32; 2] {
        match self {
            Self::Accuracy | Self::Characters => [report.correct, report.samples],
            Self::ExactMatch => [report.exact, report.answered],
        }
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

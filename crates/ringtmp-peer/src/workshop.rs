//! Where the stage is: builds it, and works off tasks one after the other.

use crate::datasets::{self, DataError};
use crate::payloads::Tensors;
use crate::run_file::Run;
use futures::channel::mpsc;
use ringtmp_compute::{
    ComputeError, Executor, Packed, Parameter, Position, Stage, StageConfig, TensorError,
};
use ringtmp_core::ids::{Epoch, MicroBatchId};
use ringtmp_core::node::{Assignment, Loss};
use ringtmp_core::schedule::Task;
use ringtmp_core::signal::LayerDigest;
use ringtmp_core::wire::Purpose;
use ringtmp_data::{Batch, Dataset, Order};

/// Why work failed. The text goes to the room.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    /// Computing failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// There is no data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A neighbour's tensors are not what the task needs.
    #[error("the neighbour sent {found} tensors where {task} needs {needed}")]
    Parts {
        /// The task.
        task: &'static str,
        /// What it needs.
        needed: usize,
        /// What came.
        found: usize,
    },
    /// The labels are no labels.
    #[error("the neighbour sent labels that cannot be read: {0}")]
    Labels(#[from] TensorError),
}

/// Something to do, in order.
#[derive(Debug)]
pub(crate) enum Job {
    /// Build a stage for the plan.
    Build(Assignment),
    /// Work off a task; its input comes with it.
    Task {
        epoch: Epoch,
        task: Task,
        input: Option<Tensors>,
    },
    /// Tell the digests of the weights.
    Digest { epoch: Epoch },
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Done {
    Built,
    Task {
        task: Task,
        output: Option<Tensors>,
        loss: Option<Loss>,
    },
    Digests(Vec<LayerDigest>),
}

/// What a stage is built from.
#[derive(Debug)]
pub(crate) struct Workshop {
    executor: Executor,
    run: Run,
    /// An http URL without a path.
    server: String,
    weights: Option<mpsc::Sender<Vec<Parameter>>>,
    bench: Option<Bench>,
}

/// A stage at work.
#[derive(Debug)]
struct Bench {
    stage: Stage,
    /// At the head.
    dataset: Option<Dataset>,
    is_tail: bool,
}

impl Workshop {
    pub(crate) fn new(
        executor: Executor,
        run: Run,
        server: String,
        weights: Option<mpsc::Sender<Vec<Parameter>>>,
    ) -> Self {
        Self {
            executor,
            run,
            server,
            weights,
            bench: None,
        }
    }

    /// Does a job.
    pub(crate) async fn work(&mut self, job: Job) -> Result<Done, WorkError> {
        match job {
            Job::Build(assignment) => {
                self.bench = None;
                self.bench = Some(self.build(&assignment).await?);
                Ok(Done::Built)
            }
            Job::Task { task, input, .. } => {
                let bench = self
                    .bench
                    .as_mut()
                    .expect("the node asks for tasks once the stage is built");
                bench.work(&self.run, task, input).await
            }
            Job::Digest { .. } => {
                let bench = self
                    .bench
                    .as_ref()
                    .expect("the node asks for digests once the stage is built");
                let digests = bench.stage.digests().await?;
                if let Some(weights) = &mut self.weights {
                    // Whoever asked for the weights and does not take them has no use for them.
                    weights.try_send(bench.stage.parameters().await?).ok();
                }
                let digest = |(layer, sha256)| LayerDigest {
                    layer: u16::try_from(layer).unwrap_or(u16::MAX),
                    sha256,
                };
                Ok(Done::Digests(digests.into_iter().map(digest).collect()))
            }
        }
    }

    async fn build(&self, assignment: &Assignment) -> Result<Bench, WorkError> {
        let file = &self.run.file;
        let dataset = if assignment.is_head() {
            Some(self.open_data().await?)
        } else {
            None
        };
        let config = StageConfig {
            model: self.run.model.clone(),
            layers: usize::from(assignment.layers.start.0)..usize::from(assignment.layers.end.0),
            micro_batch: file.micro_batch as usize,
            batch: file.batch as usize,
            slots: usize::from(assignment.slots),
            seed: file.seed,
            optimizer: self.run.optimizer(),
        };
        let stage = Stage::new(config, self.executor.clone()).await?;
        Ok(Bench {
            stage,
            dataset,
            is_tail: assignment.is_tail(),
        })
    }

    async fn open_data(&self) -> Result<Dataset, DataError> {
        let dataset = datasets::open(&self.run.data, &self.server, self.run.file.seed).await?;
        let (data, model) = (
            dataset.sample_shape().to_vec(),
            self.run.input_shape().to_vec(),
        );
        // An image may be written as a row of its pixels; the model says how many rows it has.
        let takes_tokens = self.run.model.layers[0].layer().tokens().is_some();
        let fits = data.iter().product::<usize>() == model.iter().product::<usize>();
        if takes_tokens || !fits {
            return Err(DataError::Shape { data, model });
        }
        let (data, model) = (dataset.classes(), self.run.classes());
        if data > model {
            return Err(DataError::Classes { data, model });
        }
        Ok(dataset)
    }
}

impl Bench {
    async fn work(
        &mut self,
        run: &Run,
        task: Task,
        input: Option<Tensors>,
    ) -> Result<Done, WorkError> {
        let (mut output, mut loss) = (None, None);
        match task {
            Task::Forward {
                micro_batch,
                purpose,
                slot,
                ..
            } => {
                let slot = usize::from(slot.0);
                let position = position(run, purpose, micro_batch);
                self.stage.set_position(slot, position)?;
                let (samples, labels) = match input {
                    Some(tensors) => {
                        let [samples, labels] = exactly("a forward", tensors)?;
                        (samples, labels)
                    }
                    None => self.draw(run, purpose, micro_batch),
                };
                if self.is_tail {
                    let labels = labels.u32s()?;
                    let report = self.stage.forward_loss(slot, &samples, &labels).await?;
                    loss = Some(Loss {
                        sum: report.loss_sum,
                        correct: report.correct,
                        samples: report.samples,
                    });
                } else {
                    output = Some(vec![self.stage.forward(slot, &samples).await?, labels]);
                }
            }
            Task::BackwardInput { slot, .. } => {
                let gradient = match input {
                    Some(tensors) => {
                        let [gradient] = exactly("a backward", tensors)?;
                        Some(gradient)
                    }
                    None => None,
                };
                let gradient = self
                    .stage
                    .backward_input(usize::from(slot.0), gradient.as_ref())
                    .await?;
                output = gradient.map(|gradient| vec![gradient]);
            }
            Task::BackwardWeights { slot, .. } => {
                self.stage.backward_weights(usize::from(slot.0)).await?;
            }
            Task::Update { step } => self.stage.update(u64::from(step.0)).await?,
        }
        Ok(Done::Task { task, output, loss })
    }

    /// The head draws samples and labels: which ones is a function of seed, step and sequence alone.
    fn draw(&self, run: &Run, purpose: Purpose, id: MicroBatchId) -> (Packed, Packed) {
        let dataset = self
            .dataset
            .as_ref()
            .expect("only the head draws, and it was built with data");
        let file = &run.file;
        let offset = u32::from(id.sequence) * file.micro_batch;
        let batch = match purpose {
            Purpose::Train => {
                let first = u64::from(id.step.0) * u64::from(file.batch) + u64::from(offset);
                dataset.train(Order::Shuffled, file.seed, first, file.micro_batch)
            }
            Purpose::Evaluate => {
                held_out(dataset, offset, file.micro_batch, file.evaluation_samples)
            }
        };
        let count = file.micro_batch as usize;
        let shape: Vec<usize> = std::iter::once(count)
            .chain(run.input_shape().iter().copied())
            .collect();
        let samples = Packed::from_f32(&shape, &batch.inputs)
            .expect("the data was opened as fitting the model");
        let labels =
            Packed::from_u32(&[count], &batch.labels).expect("a batch has a label per sample");
        (samples, labels)
    }
}

/// What layers that draw at random are told of a micro-batch; nothing in an evaluation.
fn position(run: &Run, purpose: Purpose, id: MicroBatchId) -> Option<Position> {
    match purpose {
        Purpose::Train => Some(Position {
            step: id.step.0,
            first_sample: u32::from(id.sequence) * run.file.micro_batch,
        }),
        Purpose::Evaluate => None,
    }
}

/// Held-out samples from `first` on. What is past the last one is padded with samples that no loss counts.
fn held_out(dataset: &Dataset, first: u32, count: u32, evaluation_samples: u32) -> Batch {
    let end = dataset.test_len().min(evaluation_samples);
    let real = end.saturating_sub(first).min(count);
    let mut batch = if real > 0 {
        dataset.test(first, real)
    } else {
        Batch::default()
    };
    let sample: usize = dataset.sample_shape().iter().product();
    batch.inputs.resize(count as usize * sample, 0.0);
    batch
        .labels
        .resize(count as usize, ringtmp_compute::IGNORED_LABEL);
    batch
}

fn exactly<const N: usize>(task: &'static str, tensors: Tensors) -> Result<[Packed; N], WorkError> {
    tensors
        .try_into()
        .map_err(|tensors: Tensors| WorkError::Parts {
            task,
            needed: N,
            found: tensors.len(),
        })
}

impl Job {
    pub(crate) fn epoch(&self) -> Epoch {
        match self {
            Self::Build(assignment) => assignment.epoch,
            Self::Task { epoch, .. } | Self::Digest { epoch } => *epoch,
        }
    }
}

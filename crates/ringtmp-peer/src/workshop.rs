//! Where the stage is: builds it, and works off tasks one after the other.

mod scoring;

use crate::datasets::{self, DataError, DataPlace};
use crate::measure::{self, Hurry};
use crate::pace::Pace;
use crate::payloads::{self, Tensors};
use crate::platform::Clock;
use crate::run_file::Run;
use crate::samples::{self, Entering, Supply};
use crate::vault::{self, CopyError};
use crate::weights::draw;
use futures::channel::mpsc;
use ringtmp_compute::{
    ComputeError, Executor, ExecutorChoice, Packed, Parameter, PendingLoss, Stage, StageConfig,
    TensorError,
};
use ringtmp_core::ids::{Epoch, MicroBatchId, Step, Version};
use ringtmp_core::node::{Assignment, Outcome};
use ringtmp_core::profile::Profile;
use ringtmp_core::schedule::{DataSource, Deal, Task};
use ringtmp_core::signal::LayerDigest;
use ringtmp_core::wire::Purpose;
use ringtmp_data::{DataSpec, Dataset};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
    /// What the stage learnt is of no use.
    #[error(
        "the weights are infinite or no numbers: training has diverged, try a smaller learning rate"
    )]
    NonFiniteWeights,
    /// A copy that the stage goes on from is none.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The labels are no labels.
    #[error("the neighbour sent labels that cannot be read: {0}")]
    Labels(#[from] TensorError),
}

/// What a device trains on where each trains on its own samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnSamples {
    /// Its share of the run's data.
    #[default]
    Share,
    /// Data of its own; locations are paths on its disk.
    Data(DataSpec),
    /// Nothing: it only computes.
    None,
}

/// Something to do, in order.
#[derive(Debug)]
pub(crate) enum Job {
    /// See what the run's layers take, unless told to hurry.
    Measure { clock: Clock, hurry: Hurry },
    /// Build a stage for the plan, from copies of its layers if it does not begin at the beginning.
    Build {
        assignment: Assignment,
        copies: BTreeMap<usize, Vec<u8>>,
    },
    /// Copy the stage's layers.
    Snapshot {
        epoch: Epoch,
        version: Version,
        clock: Clock,
    },
    /// Work off a task; its input comes with it.
    Task {
        epoch: Epoch,
        task: Task,
        input: Option<Tensors>,
        /// What takes the place of samples, if the task draws some.
        fresh: Vec<Entering>,
    },
    /// Tell the digests of the weights.
    Digest { epoch: Epoch },
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Done {
    /// None if it came too late.
    Measured(Option<Profile>),
    Built,
    Task {
        task: Task,
        output: Option<Tensors>,
        /// What there is to tell beside it.
        told: Outcome,
    },
    /// And the weights themselves, by layer.
    Digests(Vec<LayerDigest>, BTreeMap<usize, Vec<u8>>),
    /// The device that was lost is here again, or another.
    Reopened(Executor),
    Copies {
        version: Version,
        copies: BTreeMap<usize, Vec<u8>>,
        took: Duration,
    },
}

/// What is known of a device without measuring it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circumstances {
    /// What its user wants to compute with.
    pub(crate) executor: ExecutorChoice,
    /// Of the device that is emulated, if one is.
    pub(crate) operations_per_second: Option<f64>,
    /// Of the medium that it shares with others, if there is one.
    pub(crate) medium_bytes_per_second: Option<f64>,
    /// Bytes that its stage may take.
    pub(crate) memory_bytes: Option<u64>,
}

/// What a stage is built from.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) executor: Executor,
    run: Run,
    place: DataPlace,
    own: OwnSamples,
    /// Weights to begin from, those of the whole model.
    initial: Option<Arc<[Parameter]>>,
    weights: Option<mpsc::Sender<Vec<Parameter>>>,
    pub(crate) circumstances: Circumstances,
    pub(crate) bench: Option<Bench>,
}

/// A stage at work.
#[derive(Debug)]
pub(crate) struct Bench {
    stage: Stage,
    /// At a source.
    supply: Option<Supply>,
    /// How micro-batches are dealt to the sources.
    deal: Deal,
    /// At the head.
    held_out: Option<Arc<Dataset>>,
    is_tail: bool,
    /// Labels that count, of the steps under way: they pass every stage, so that all divide by the same number.
    labels: BTreeMap<Step, u64>,
    /// At the tail, by slot: losses of micro-batches whose B is still to come.
    losses: BTreeMap<usize, PendingLoss>,
    pace: Option<Pace>,
}

impl Workshop {
    pub(crate) fn new(
        executor: Executor,
        run: Run,
        place: DataPlace,
        own: OwnSamples,
        initial: Option<Arc<[Parameter]>>,
        weights: Option<mpsc::Sender<Vec<Parameter>>>,
        circumstances: Circumstances,
    ) -> Self {
        Self {
            executor,
            run,
            place,
            own,
            initial,
            weights,
            circumstances,
            bench: None,
        }
    }

    /// What tasks of the stage shall take, if a device is emulated.
    pub(crate) fn pace(&self) -> Option<Pace> {
        self.bench.as_ref()?.pace
    }

    /// Does a job.
    pub(crate) async fn work(&mut self, job: Job) -> Result<Done, WorkError> {
        match job {
            Job::Measure { clock, hurry } => {
                let (run, circumstances) = (&self.run, self.circumstances);
                let measuring = measure::profile(run, &self.executor, circumstances, clock, &hurry);
                Ok(Done::Measured(measuring.await))
            }
            Job::Build { assignment, copies } => {
                self.bench = None;
                self.bench = Some(self.build(&assignment, &copies).await?);
                Ok(Done::Built)
            }
            Job::Snapshot { version, clock, .. } => {
                let began = clock.now();
                let copies = self.copies().await?;
                let took = clock.now().since(began);
                Ok(Done::Copies {
                    version,
                    copies,
                    took,
                })
            }
            Job::Task {
                task, input, fresh, ..
            } => {
                let bench = self
                    .bench
                    .as_mut()
                    .expect("the node asks for tasks once the stage is built");
                bench.work(&self.run, task, input, &fresh).await
            }
            Job::Digest { .. } => {
                let bench = self
                    .bench
                    .as_ref()
                    .expect("the node asks for digests once the stage is built");
                let digests = bench.stage.digests().await?;
                let parameters = bench.stage.parameters().await?;
                let last = vault::write_weights(&parameters);
                if let Some(weights) = &mut self.weights {
                    // Whoever asked for the weights and does not take them has no use for them.
                    weights.try_send(parameters).ok();
                }
                let digest = |(layer, sha256)| LayerDigest {
                    layer: u16::try_from(layer).unwrap_or(u16::MAX),
                    sha256,
                };
                Ok(Done::Digests(
                    digests.into_iter().map(digest).collect(),
                    last,
                ))
            }
        }
    }

    /// The stage's layers as they are now; finite.
    async fn copies(&self) -> Result<BTreeMap<usize, Vec<u8>>, WorkError> {
        let bench = self.bench.as_ref();
        let bench = bench.expect("the node asks for copies once the stage is built");
        let snapshot = bench.stage.snapshot().await?;
        let tensors = snapshot
            .versions
            .iter()
            .chain(&snapshot.optimizer)
            .flatten();
        let mut values = tensors.flat_map(|tensor| &tensor.values);
        if !values.all(|value| value.is_finite()) {
            return Err(WorkError::NonFiniteWeights);
        }
        let versions = usize::from(self.run.file.schedule.versions_copied());
        Ok(vault::write(&snapshot, versions))
    }

    async fn build(
        &self,
        assignment: &Assignment,
        copies: &BTreeMap<usize, Vec<u8>>,
    ) -> Result<Bench, WorkError> {
        let file = &self.run.file;
        let (held_out, supply) = self.open_data(assignment).await?;
        let config = StageConfig {
            model: self.run.model.clone(),
            layers: usize::from(assignment.layers.start.0)..usize::from(assignment.layers.end.0),
            micro_batch: file.micro_batch as usize,
            batch: file.batch as usize,
            slots: usize::from(assignment.slots),
            versions: usize::from(assignment.versions),
            seed: file.seed,
            optimizer: self.run.optimizer,
            input_packing: payloads::packing(assignment.input_codec),
            output_packing: payloads::packing(assignment.output_codec),
            arithmetic: file.arithmetic,
        };
        let mut stage = Stage::undrawn(config, self.executor.clone()).await?;
        match &self.initial {
            _ if assignment.start.0 > 0 => {}
            Some(weights) => stage.set_parameters(weights)?,
            None => draw(&mut stage).await,
        }
        if assignment.start.0 > 0 {
            let shapes = stage.parameters().await?;
            let tensors = self.run.optimizer.state_tensors();
            let updates = u64::from(assignment.start.0);
            stage.restore(&vault::read(copies, &shapes, updates, tensors)?)?;
        }
        Ok(Bench {
            stage,
            supply,
            deal: Deal {
                micro_batches: self.run.micro_batches(),
                sources: assignment.sources,
            },
            held_out,
            is_tail: assignment.is_tail(),
            labels: BTreeMap::new(),
            losses: BTreeMap::new(),
            pace: self
                .circumstances
                .operations_per_second
                .map(|speed| Pace::new(&self.run.descriptor().outline, &assignment.layers, speed)),
        })
    }
}

impl Workshop {
    /// What the head evaluates on, and what a source trains on.
    async fn open_data(
        &self,
        assignment: &Assignment,
    ) -> Result<(Option<Arc<Dataset>>, Option<Supply>), DataError> {
        let own = match &self.own {
            OwnSamples::Data(spec) if self.run.file.data.source == DataSource::Every => Some(spec),
            OwnSamples::Data(_) | OwnSamples::Share | OwnSamples::None => None,
        };
        let is_text = matches!(own, Some(DataSpec::Text { .. }));
        let draws_share = assignment.source.is_some() && (own.is_none() || is_text);
        let runs = if assignment.is_head() || draws_share {
            Some(Arc::new(datasets::open_data(&self.run, &self.place).await?))
        } else {
            None
        };
        let supply = match (assignment.source, own, &runs) {
            (Some(_), Some(spec), _) => {
                let own = datasets::open_own(&self.run, spec, runs.as_deref()).await?;
                Some(Supply::whole(Arc::new(own)))
            }
            (Some(source), None, Some(runs)) => Some(Supply::share(
                &self.run,
                runs.clone(),
                source,
                assignment.sources,
            )?),
            (Some(_), None, None) | (None, _, _) => None,
        };
        Ok((runs.filter(|_| assignment.is_head()), supply))
    }
}

impl Bench {
    async fn work(
        &mut self,
        run: &Run,
        task: Task,
        input: Option<Tensors>,
        fresh: &[Entering],
    ) -> Result<Done, WorkError> {
        let (mut output, mut told) = (None, Outcome::default());
        match task {
            Task::Draw { micro_batch } => {
                let (samples, labels) = self.draw(run, Purpose::Train, micro_batch, fresh)?;
                output = Some(vec![samples, labels]);
            }
            Task::Forward {
                micro_batch,
                purpose,
                slot,
                version,
                ..
            } => {
                let slot = usize::from(slot.0);
                let version = Some(u64::from(version.0));
                self.stage.set_version(slot, version)?;
                let sequence = u32::from(micro_batch.sequence);
                let position = samples::position(run, purpose, micro_batch.step.0, sequence);
                self.stage.set_position(slot, position)?;
                let (samples, labels) = match input {
                    Some(tensors) => {
                        let [samples, labels] = exactly("a forward", tensors)?;
                        (samples, labels)
                    }
                    None => self.draw(run, purpose, micro_batch, fresh)?,
                };
                if purpose == Purpose::Train {
                    self.count(micro_batch.step, &labels)?;
                }
                if self.is_tail {
                    self.score(run, purpose, slot, &samples, &labels, &mut told)
                        .await?;
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
                let slot = usize::from(slot.0);
                let gradient = self.stage.backward_input(slot, gradient.as_ref()).await?;
                output = gradient.map(|gradient| vec![gradient]);
                told.loss = self.loss(slot).await?;
            }
            Task::BackwardWeights { slot, .. } => {
                self.stage.backward_weights(usize::from(slot.0)).await?;
            }
            Task::Squares { .. } => told.squares = self.squares().await?,
            Task::Update { step, square_sum } => {
                let labels = self.labels.remove(&step).unwrap_or_default();
                let step = u64::from(step.0);
                self.stage.update_with(step, labels, square_sum).await?;
            }
        }
        Ok(Done::Task { task, output, told })
    }

    /// The sum of the squares of each parameter's gradient, layer after layer; finite.
    async fn squares(&mut self) -> Result<Vec<f64>, ComputeError> {
        let squares = self.stage.gradient_squares().await?.into_iter();
        let sums: Vec<f64> = squares.map(|squares| squares.sum).collect();
        if sums.iter().all(|sum| sum.is_finite()) {
            Ok(sums)
        } else {
            Err(ComputeError::NonFiniteGradients)
        }
    }

    /// Samples and labels: which ones is a function of the run, the source and its turn alone.
    fn draw(
        &self,
        run: &Run,
        purpose: Purpose,
        id: MicroBatchId,
        fresh: &[Entering],
    ) -> Result<(Packed, Packed), WorkError> {
        let drawn = match purpose {
            Purpose::Train => {
                let supply = self.supply.as_ref();
                let supply = supply.expect("only sources draw, and they were built with data");
                let number = self.deal.number(id.step, id.sequence);
                supply.draw(run, self.deal.turn(number), fresh)
            }
            Purpose::Evaluate => {
                let data = self.held_out.as_ref();
                let data = data.expect("only the head evaluates, and it was built with data");
                samples::held_out(run, data, id.sequence)
            }
        };
        let (samples, labels) = drawn.map_err(ComputeError::Tensor)?;
        let labels = Packed::from_u32(&[labels.len()], &labels).map_err(ComputeError::Tensor)?;
        Ok((samples, labels))
    }
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
            // Before any plan.
            Self::Measure { .. } => Epoch::default(),
            Self::Build { assignment, .. } => assignment.epoch,
            Self::Task { epoch, .. } | Self::Snapshot { epoch, .. } | Self::Digest { epoch } => {
                *epoch
            }
        }
    }
}

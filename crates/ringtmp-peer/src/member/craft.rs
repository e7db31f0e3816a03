//! What a member computes: a worker's whole model, a shard's ranges.

mod served;

use crate::pace::is_late;
use crate::platform::{Breath, Clock, sleep};
use crate::run_file::Run;
use crate::samples::{Supply, held_out, position};
use crate::solo;
use crate::weights::draw;
use ringtmp_compute::packing::{dither_key, pack_rows, unpack_vector};
use ringtmp_compute::{
    ComputeError, Executor, LossReport, Packed, Packing, Parameter, ParameterError, RangeUpdate,
    RangeUpdater, Stage, StageConfig, TensorError,
};
use ringtmp_core::ids::{LayerIndex, SourceIndex, Step};
use ringtmp_core::parameter_server::{
    Cost, Job, MemberIndex, RangeIndex, RangeSpec, Sums, Task, Update, WorkerIndex,
};
use ringtmp_core::plan::LayerCost;
use ringtmp_core::schedule::DataSource;
use ringtmp_core::signal::LayerDigest;
use ringtmp_core::wire::{Codec, Purpose};
use ringtmp_data::{Dataset, ShareError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Why a member cannot compute.
#[derive(Debug, thiserror::Error)]
pub enum CraftError {
    /// The device cannot.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// Numbers that do not fit.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The data cannot be divided among the workers.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// More than the device gives.
    #[error(
        "its part takes {needed} bytes, more than the {given} that it gives: a worker holds the whole model, a server its share with what the optimizer remembers"
    )]
    Memory {
        /// What it takes.
        needed: u64,
        /// What it gives.
        given: u64,
    },
    /// What overflows where it is written.
    #[error(
        "gradients or weights of layer {0} are too large for the codec, or training has diverged: try a smaller learning rate, or f32"
    )]
    Overflow(u16),
}

impl From<ParameterError> for CraftError {
    fn from(error: ParameterError) -> Self {
        Self::Compute(error.into())
    }
}

/// What came of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// It is done.
    Done,
    /// Of a forward.
    Sums(Sums),
    /// Of a layer's backward, range by range.
    Gradients(Vec<Packed>),
    /// Of one range.
    Numbers(Packed),
    /// Of a range, with what the optimizer remembers.
    Copied(Vec<Packed>),
}

/// What a member has learnt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learnt {
    /// Of a worker: its layers as the last step left them.
    pub digests: Vec<LayerDigest>,
    /// All weights: of the first worker, and of those whose user may want them; all workers have the same. A server that has all has them as
    /// they were before the codec wrote them for the workers.
    pub weights: Vec<Parameter>,
}

/// The bench of a member: its stage and its ranges.
pub(super) struct Craft {
    pub(super) run: Run,
    job: Arc<Job>,
    me: MemberIndex,
    worker: Option<WorkerIndex>,
    /// The ranges that lie here, ascending: their updater has them in this order.
    own: Vec<RangeIndex>,
    /// Of a worker.
    dataset: Option<Arc<Dataset>>,
    /// Weights to begin from, instead of those that the seed gives.
    pub(super) initial: Option<Arc<[Parameter]>>,
    /// The run goes on: a worker gets all weights from where the parameters are.
    pub(super) goes_on: bool,
    layers: Vec<LayerCost>,
    /// Of the emulated device.
    pub(super) operations_per_second: Option<f64>,
    /// What its part may take.
    pub(super) memory_bytes: Option<u64>,
    /// Whether the user of its device may want the model once all is done.
    pub(super) keeps_weights: bool,
    pub(super) stage: Option<Stage>,
    /// The step that the stage's weights are for; none before there were any.
    pub(super) clock: Option<Step>,
    /// A micro-batch is between F and the end of B and W.
    pub(super) is_amid: bool,
    supply: Option<Supply>,
    updater: Option<RangeUpdater>,
    /// The steps that are in each of its ranges, in their order; none of one that was not updated under this plan.
    updated: Vec<Option<Step>>,
    /// What the ranges begin with, of a run that goes on from copies: the weights, and what the optimizer remembers.
    restored: Option<Vec<Vec<Arc<Packed>>>>,
}

impl Craft {
    pub(super) fn new(
        run: &Run,
        job: &Arc<Job>,
        me: MemberIndex,
        dataset: Option<Arc<Dataset>>,
    ) -> Self {
        Self {
            layers: run.descriptor().outline.layers,
            run: run.clone(),
            job: job.clone(),
            me,
            worker: job.layout.worker_at(me),
            own: job.layout.ranges_at(me).collect(),
            dataset,
            initial: None,
            goes_on: false,
            operations_per_second: None,
            memory_bytes: None,
            keeps_weights: false,
            stage: None,
            clock: None,
            is_amid: false,
            supply: None,
            updater: None,
            updated: vec![None; job.layout.ranges_at(me).count()],
            restored: None,
        }
    }

    /// Goes on with ranges that were held before; what was added up in part is forgotten.
    pub(super) fn go_on_with(&mut self, mut updater: RangeUpdater) {
        updater.forget_sums();
        self.updater = Some(updater);
    }

    /// Goes on from copies of its ranges, in their order.
    pub(super) fn go_on_from(&mut self, copies: Vec<Vec<Arc<Packed>>>) {
        self.restored = Some(copies);
    }

    /// The ranges, for who goes on with them.
    pub(super) fn into_updater(self) -> Option<RangeUpdater> {
        self.updater
    }

    /// Takes all memory, with the first weights in it.
    pub(super) async fn build(&mut self, executor: Executor) -> Result<(), CraftError> {
        let config = solo::config(&self.run);
        if let Some(worker) = self.worker {
            let stage = Box::pin(Stage::layer_by_layer(config.clone(), executor.clone()));
            let mut stage = stage.await?;
            match &self.initial {
                _ if self.goes_on => {}
                Some(initial) => stage.set_parameters(initial)?,
                None => draw(&mut stage).await,
            }
            self.stage = Some(stage);
            self.supply = Some(self.supply_of(worker)?);
        }
        if !self.own.is_empty() && self.updater.is_none() {
            let ranges = self.first_weights(&config).await?;
            let updater = RangeUpdater::new(self.run.optimizer, &ranges, &executor);
            let mut updater = Box::pin(updater).await?;
            for (place, slots) in self.restored.take().into_iter().flatten().enumerate() {
                let unpacked = slots.iter().map(|slot| unpack_vector(slot));
                updater.restore(place, &unpacked.collect::<Result<Vec<_>, _>>()?)?;
            }
            self.updater = Some(updater);
        }
        let stage = self.stage.as_ref().map_or(0, Stage::memory_bytes);
        let updater = self.updater.as_ref().map_or(0, RangeUpdater::memory_bytes);
        let needed = stage + updater + self.job.copies_bytes(self.me);
        match self.memory_bytes {
            Some(given) if needed > given => Err(CraftError::Memory { needed, given }),
            Some(_) | None => Ok(()),
        }
    }

    fn place_of(&self, range: RangeIndex) -> usize {
        let place = self.own.binary_search(&range);
        place.expect("tasks name ranges that lie here")
    }

    /// What a worker trains on: all draw from one set of samples, or each from its share.
    fn supply_of(&self, worker: WorkerIndex) -> Result<Supply, ShareError> {
        let data = samples(&self.dataset).clone();
        match self.run.file.data.source {
            DataSource::One => Ok(Supply::whole(data)),
            DataSource::Every => {
                let workers = u16::try_from(self.job.layout.workers.len()).unwrap_or(u16::MAX);
                Supply::share(&self.run, data, SourceIndex(worker.0), workers)
            }
        }
    }

    /// Its ranges before the first step; zeros where they are to be restored.
    async fn first_weights(&self, config: &StageConfig) -> Result<Vec<Vec<f32>>, ComputeError> {
        if self.restored.is_some() {
            let zeros = |range: &RangeIndex| vec![0.0; self.spec(*range).elements as usize];
            return Ok(self.own.iter().map(zeros).collect());
        }
        let mut layers = vec![Vec::new(); self.run.layers.len()];
        let own = self.own.iter().map(|range| self.spec(*range).layer.0);
        let mut breath = Breath::new();
        for layer in own.map(usize::from).collect::<BTreeSet<_>>() {
            let of_layer = |parameter: &&Parameter| parameter.layer == layer;
            let drawn = match &self.initial {
                Some(given) => given.iter().filter(of_layer).cloned().collect(),
                None => Stage::first_parameters(config, layer)?,
            };
            layers[layer].extend(drawn.into_iter().flat_map(|it| it.values));
            breath.take().await;
        }
        let values = |range: &RangeIndex| {
            let spec = self.spec(*range);
            let start = spec.start as usize;
            let end = start + spec.elements as usize;
            layers[usize::from(spec.layer.0)][start..end].to_vec()
        };
        Ok(self.own.iter().map(values).collect())
    }

    /// Carries out a task, as slowly as the emulated device if there is one; says whether it kept that pace.
    pub(super) async fn carry_out(
        &mut self,
        clock: Clock,
        task: &Task,
        inputs: &[Arc<Packed>],
    ) -> (Result<Made, CraftError>, Option<bool>) {
        let began = clock.now();
        let result = Box::pin(self.work(task, inputs)).await;
        self.note(task);
        let Some(takes) = self.takes(task) else {
            return (result, None);
        };
        loop {
            let taken = clock.now().since(began);
            if taken >= takes {
                return (result, Some(is_late(takes, taken)));
            }
            sleep(takes - taken).await;
        }
    }

    /// What a task takes on the emulated device.
    fn takes(&self, task: &Task) -> Option<Duration> {
        let speed = self.operations_per_second?;
        let Cost { flops, numbers } = task.cost(&self.job, &self.layers);
        let samples = f64::from(self.run.file.micro_batch);
        let operations = samples * flops.iter().sum::<f64>() + numbers;
        Duration::try_from_secs_f64(operations / speed).ok()
    }

    /// Carries out a task.
    pub(super) async fn work(
        &mut self,
        task: &Task,
        inputs: &[Arc<Packed>],
    ) -> Result<Made, CraftError> {
        match task {
            Task::Load { weights, .. } => {
                self.load(weights.iter().map(|(range, _)| *range), inputs)
            }
            Task::Evaluate { sequence, .. } => self.evaluate(*sequence).await,
            Task::Forward { clock, sequence } => self.forward(clock.0, *sequence).await,
            Task::Backward { .. } => {
                let stage = worker(self.stage.as_mut());
                stage.backward_input(0, None).await?;
                stage.backward_weights(0).await?;
                Ok(Made::Done)
            }
            Task::BackwardLayer { clock, layer, .. } => self.backward_layer(clock.0, *layer).await,
            Task::Merge { clock, range, .. } => {
                let mut sum = unpack_vector(&inputs[0])?;
                let own = unpack_vector(&inputs[1])?;
                sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                Ok(Made::Numbers(self.pack_gradient(*range, clock.0, &sum)?))
            }
            Task::Read { range } => {
                let place = self.place_of(*range);
                let updater = self.updater.as_mut().expect("a shard reads");
                let weights = updater.values(place).await?;
                Ok(Made::Numbers(self.pack_weights(*range, &weights)?))
            }
            Task::Copy { range, .. } => {
                let place = self.place_of(*range);
                let updater = self.updater.as_ref().expect("a shard is copied");
                let slots = updater.copy(place).await?;
                let pack = |slot: Vec<f32>| Packing::F32.pack_vector(&slot);
                let packed: Result<Vec<Packed>, TensorError> =
                    slots.into_iter().map(pack).collect();
                Ok(Made::Copied(packed?))
            }
            Task::Count { range, update, .. } => {
                let place = self.place_of(*range);
                let mut gradient = unpack_vector(&inputs[0])?;
                // Without the zeros that fill up its last row.
                gradient.truncate(self.spec(*range).elements as usize);
                let updater = self.updater.as_mut().expect("a shard counts");
                updater.add(place, &gradient)?;
                let Some(update) = update else {
                    return Ok(Made::Done);
                };
                let update = self.range_update(update);
                let updater = self.updater.as_mut().expect("a shard counts");
                let weights = updater.update(place, update).await?;
                Ok(Made::Numbers(self.pack_weights(*range, &weights)?))
            }
        }
    }

    fn load(
        &mut self,
        ranges: impl Iterator<Item = RangeIndex>,
        inputs: &[Arc<Packed>],
    ) -> Result<Made, CraftError> {
        let stage = worker(self.stage.as_mut());
        for (range, packed) in ranges.zip(inputs) {
            let spec = &self.job.layout.ranges[range.0 as usize];
            let layer = usize::from(spec.layer.0);
            stage.write_parameters(layer, spec.start as usize, &unpack_vector(packed)?)?;
        }
        Ok(Made::Done)
    }

    async fn evaluate(&mut self, sequence: u16) -> Result<Made, CraftError> {
        let (samples, labels) = held_out(&self.run, samples(&self.dataset), sequence)?;
        let stage = worker(self.stage.as_mut());
        stage.set_position(0, position(&self.run, Purpose::Evaluate, 0, 0))?;
        let report = stage.forward_loss(0, &samples, &labels).await?;
        Ok(Made::Sums(self.sums(&report)))
    }

    async fn forward(&mut self, step: u32, sequence: u16) -> Result<Made, CraftError> {
        let layout = &self.job.layout;
        let micro_batches = layout.micro_batches();
        let me = self.worker.unwrap_or(WorkerIndex(0));
        let turn = match self.run.file.data.source {
            DataSource::One => u64::from(step) * u64::from(micro_batches) + u64::from(sequence),
            DataSource::Every => {
                let part = layout.part(me, micro_batches);
                u64::from(step) * u64::from(part.len() as u16) + u64::from(sequence - part.start)
            }
        };
        let supply = self.supply.as_ref().expect("a worker has samples");
        let (samples, labels) = supply.draw(&self.run, turn, &[])?;
        let stage = worker(self.stage.as_mut());
        stage.set_position(
            0,
            position(&self.run, Purpose::Train, step, sequence.into()),
        )?;
        let report = stage.forward_loss(0, &samples, &labels).await?;
        Ok(Made::Sums(self.sums(&report)))
    }

    async fn backward_layer(&mut self, step: u32, layer: LayerIndex) -> Result<Made, CraftError> {
        let stage = worker(self.stage.as_mut());
        let gradient = stage.backward_layer(0, usize::from(layer.0)).await?;
        let mut packed = Vec::new();
        for range in self.job.layout.ranges_of(layer).map(RangeIndex) {
            let spec = self.spec(range);
            let start = spec.start as usize;
            let part = &gradient[start..start + spec.elements as usize];
            packed.push(self.pack_gradient(range, step, part)?);
        }
        Ok(Made::Gradients(packed))
    }

    fn sums(&self, report: &LossReport) -> Sums {
        let [right, of] = self.run.measure().of(report);
        Sums {
            loss: f64::from(report.loss_sum),
            labels: report.samples.into(),
            right: right.into(),
            of: of.into(),
        }
    }

    fn pack_weights(&self, range: RangeIndex, values: &[f32]) -> Result<Packed, CraftError> {
        self.pack(range, self.job.codecs.weights, 0, values)
    }

    fn pack_gradient(
        &self,
        range: RangeIndex,
        step: u32,
        values: &[f32],
    ) -> Result<Packed, CraftError> {
        self.pack(range, self.job.codecs.gradients, step, values)
    }

    fn pack(
        &self,
        range: RangeIndex,
        codec: Codec,
        step: u32,
        values: &[f32],
    ) -> Result<Packed, CraftError> {
        let LayerIndex(layer) = self.spec(range).layer;
        let packed = match codec {
            Codec::F32 | Codec::U32 => Packing::F32.pack_vector(values)?,
            Codec::F16 => Packing::F16.pack_vector(values)?,
            Codec::I8 { row } => {
                let key = dither_key(self.run.file.seed, usize::from(layer));
                // Every member draws for itself, and for each range.
                let ranges = u32::try_from(self.job.layout.ranges.len()).unwrap_or(u32::MAX);
                let sample = u32::from(self.me.0).wrapping_mul(ranges);
                let sample = sample.wrapping_add(range.0);
                pack_rows(values, row as usize, key, (step, sample))?
            }
        };
        // Said here, where it is known of which layer.
        match packed.is_finite() {
            true => Ok(packed),
            false => Err(CraftError::Overflow(layer)),
        }
    }

    fn spec(&self, range: RangeIndex) -> &RangeSpec {
        &self.job.layout.ranges[range.0 as usize]
    }

    fn range_update(&self, update: &Update) -> RangeUpdate {
        let whole = self.job.layout.micro_batches();
        // Labels of a step, whether they count or not: gradients are divided by their number before they are pushed.
        let output = self.run.shapes.last().and_then(|shape| shape.split_last());
        let rows: usize = output.map_or(1, |(_, rows)| rows.iter().product());
        let labels_max = rows as f64 * f64::from(self.run.file.batch);
        RangeUpdate {
            step: update.step.0.into(),
            updates: update.updates.into(),
            scale: match update.labels {
                0 => 1.0,
                labels => (labels_max / labels as f64) as f32,
            },
            part: f64::from(update.micro_batches) / f64::from(whole),
        }
    }

    /// What the member has learnt.
    pub(super) async fn learnt(&self) -> Result<Learnt, ComputeError> {
        let Some(stage) = &self.stage else {
            let weights = match self.keeps_weights {
                true => self.served().await?.unwrap_or_default(),
                false => Vec::new(),
            };
            let digests = Vec::new();
            return Ok(Learnt { digests, weights });
        };
        let digest = |(layer, sha256)| LayerDigest {
            layer: u16::try_from(layer).unwrap_or(u16::MAX),
            sha256,
        };
        let digests = stage.digests().await?.into_iter().map(digest).collect();
        let weights = match self.worker {
            Some(WorkerIndex(worker)) if worker == 0 || self.keeps_weights => {
                stage.parameters().await?
            }
            Some(_) | None => Vec::new(),
        };
        Ok(Learnt { digests, weights })
    }
}

/// The model, which every worker has.
fn worker(stage: Option<&mut Stage>) -> &mut Stage {
    stage.expect("only workers have samples")
}

fn samples(dataset: &Option<Arc<Dataset>>) -> &Arc<Dataset> {
    dataset.as_ref().expect("a worker has samples")
}

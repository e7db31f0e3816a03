//! A stage: consecutive layers of a model on one device.

mod arenas;
mod by_layer;
mod check;
mod edge;
mod parameters;
mod plan;
mod rehearse;
mod snapshot;
mod update;
mod versions;

use crate::error::ComputeError;
use crate::executor::{Executor, Program, Reading};
use crate::loss::{self, LossReport, LossSite, LossSpec};
use crate::model::ModelSpec;
use crate::optimizer::OptimizerSpec;
use crate::packing::Packing;
use crate::recording::{Arithmetic, Instance, RecordingId, View};
use crate::tensor::Packed;
pub(crate) use parameters::draw_key;
use plan::StagePlan;
#[cfg(test)]
pub(crate) use plan::operations_of;
pub use rehearse::Rehearsal;
pub use snapshot::Snapshot;
use std::fmt;
use std::ops::Range;
pub use update::GradientSquares;
use versions::Versions;

/// What a stage is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct StageConfig {
    /// The whole model.
    pub model: ModelSpec,
    /// The layers that this stage holds; at least one.
    pub layers: Range<usize>,
    /// Samples of a micro-batch.
    pub micro_batch: usize,
    /// Samples of a step: gradients are means over its labels that count.
    pub batch: usize,
    /// Micro-batches whose activations are kept at once; 1 to [`crate::recording::SLOTS_MAX`].
    pub slots: usize,
    /// Versions of the weights that are kept at once; 1 to [`crate::recording::VERSIONS_MAX`].
    pub versions: usize,
    /// Where first weights come from. They do not depend on the cut.
    pub seed: u64,
    /// How gradients change weights.
    pub optimizer: OptimizerSpec,
    /// How the input comes and its gradient goes; 32-bit floats at the head.
    pub input_packing: Packing,
    /// How the output goes and its gradient comes; 32-bit floats at the tail.
    pub output_packing: Packing,
    /// How a CPU rounds.
    pub arithmetic: Arithmetic,
}

/// Where a micro-batch stands in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The step.
    pub step: u32,
    /// Its first sample, counted in the step.
    pub first_sample: u32,
}

/// One tensor that a stage has learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The layer, counted in the model.
    pub layer: usize,
    /// As PyTorch's `nn.Sequential` calls it, such as "0.weight".
    pub name: String,
    /// As PyTorch shapes it: a weight is (outputs, inputs).
    pub shape: Vec<usize>,
    /// Its values, last dimension fastest.
    pub values: Vec<f32>,
}

/// Consecutive layers with their weights, gradients and the activations of micro-batches under way.
///
/// Each micro-batch goes through a slot: [`Stage::forward`] or [`Stage::forward_loss`], then [`Stage::backward_input`], then
/// [`Stage::backward_weights`]. A forward may take a slot in any state (an evaluation has no backward). Gradients add up in
/// the order of calls, until [`Stage::update`], which makes the next version of the weights instead of the oldest that is
/// held. B and W use the weights that their F used ([`Stage::set_version`]), if they are still held. A task that fails on a GPU, or whose future is dropped, leaves the stage
/// unusable for training; make another.
pub struct Stage {
    config: StageConfig,
    plan: StagePlan,
    executor: Executor,
    program: Program,
    slots: Vec<Slot>,
    versions: Versions,
    labels_max: u64,
}

/// A loss that a GPU may still be at.
#[derive(Debug)]
#[must_use = "a loss that is not finite shows only when it is finished"]
pub struct PendingLoss {
    reading: Reading,
    /// Which rows count.
    counts: Vec<bool>,
    rows_per_sample: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    state: SlotState,
    /// The version that its next F is to use; the newest if none.
    wanted: Option<u64>,
    /// The version that its last F used.
    used: u64,
}

/// How far the micro-batch of a slot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    Free,
    AwaitsBackwardInput,
    AwaitsBackwardWeights,
    /// B and W of this layer are next, of a stage that does them layer by layer.
    AwaitsLayer(usize),
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Stage {
    /// Plans and allocates every buffer, compiles and tries every kernel, and draws the first weights.
    ///
    /// Weights begin as PyTorch's modules begin, by ChaCha8 keyed with (seed, layer, parameter).
    pub async fn new(config: StageConfig, executor: Executor) -> Result<Self, ComputeError> {
        let mut stage = Self::undrawn(config, executor).await?;
        stage.draw_all();
        Ok(stage)
    }

    /// As [`Stage::new`], with weights that are zero: for whoever has others, or draws them bit by bit by [`Stage::draw`].
    ///
    /// # Errors
    ///
    /// As [`Stage::new`].
    pub async fn undrawn(config: StageConfig, executor: Executor) -> Result<Self, ComputeError> {
        let plan = StagePlan::new(&config)?;
        Self::of_plan(config, plan, executor).await
    }

    /// Draws all first weights.
    pub fn draw_all(&mut self) {
        (0..self.parameter_count()).for_each(|parameter| self.draw(parameter));
    }

    /// How many parameters it has: matrices, vectors and so on.
    pub const fn parameter_count(&self) -> usize {
        self.plan.parameters.len()
    }

    /// Draws the first values of one of its parameters, for which large ones keep the thread a while. One that it does not have is not
    /// drawn.
    pub fn draw(&mut self, parameter: usize) {
        if let Some(parameter) = self.plan.parameters.get(parameter) {
            let values = parameters::initial_values(self.config.seed, parameter);
            let first = Instance::default();
            let values = bytemuck::cast_slice(&values);
            self.program.write(parameter.view, first, values);
        }
    }

    async fn of_plan(
        config: StageConfig,
        mut plan: StagePlan,
        executor: Executor,
    ) -> Result<Self, ComputeError> {
        let program = executor.prepare(std::mem::take(&mut plan.plan)).await?;
        let slot = Slot {
            state: SlotState::Free,
            wanted: None,
            used: 0,
        };
        Ok(Self {
            slots: vec![slot; config.slots],
            versions: Versions::new(config.versions),
            labels_max: update::labels_max(&config)?,
            config,
            plan,
            executor,
            program,
        })
    }

    /// F: the stage's output for an input of shape (micro-batch, sample shape), unsigned where the first layer takes tokens. At the tail that is the logits, and no
    /// backward can follow.
    pub async fn forward(&mut self, slot: usize, input: &Packed) -> Result<Packed, ComputeError> {
        let instance = self.write_input("F", slot, input)?;
        let output = &self.plan.output;
        let wanted = [output.packed];
        let forward = self.plan.forward;
        let words = self.program.run(forward, instance, &wanted).await?;
        if self.plan.loss.is_none() {
            self.slots[slot].state = SlotState::AwaitsBackwardInput;
        }
        Ok(output.tensor(&first(words))?)
    }

    /// F and the loss, at the tail: one label for each row of logits, [`crate::IGNORED_LABEL`] for padding.
    pub async fn forward_loss(
        &mut self,
        slot: usize,
        input: &Packed,
        labels: &[u32],
    ) -> Result<LossReport, ComputeError> {
        let pending = self.begin_loss(slot, input, labels).await?;
        self.finish_loss(pending).await
    }

    /// Likewise, but does not wait for the loss, so that a GPU need not wait for the host: B may follow at once. Nothing is known of
    /// what is not finite before [`Stage::finish_loss`], which so belongs before the update.
    pub async fn begin_loss(
        &mut self,
        slot: usize,
        input: &Packed,
        labels: &[u32],
    ) -> Result<PendingLoss, ComputeError> {
        let (recording, site) = self.loss(slot, LossSpec::CrossEntropy)?;
        check_labels(labels, site.rows(), site.columns())?;
        let instance = self.write_input("loss", slot, input)?;
        self.program.write(site.labels, instance, labels);
        let counts = labels.iter().map(|label| *label != loss::IGNORED_LABEL);
        self.play_loss(recording, instance, &site, counts.collect())
            .await
    }

    /// F and the mean squared error, at the tail: targets of the output's shape. Its report sums the means of rows.
    pub async fn forward_error(
        &mut self,
        slot: usize,
        input: &Packed,
        targets: &Packed,
    ) -> Result<LossReport, ComputeError> {
        let (recording, site) = self.loss(slot, LossSpec::MeanSquaredError)?;
        let words = self.plan.output.expect(targets)?;
        let instance = self.write_input("loss", slot, input)?;
        self.program.write(site.labels, instance, &words);
        let counts = vec![true; site.rows()];
        let pending = self.play_loss(recording, instance, &site, counts).await?;
        self.finish_loss(pending).await
    }

    /// Says which samples of which step the micro-batches of a slot are from now on, for layers that draw at random; nothing
    /// for an evaluation, in which they do not, as in the beginning.
    pub fn set_position(
        &mut self,
        slot: usize,
        position: Option<Position>,
    ) -> Result<(), ComputeError> {
        self.check_slot("position", slot)?;
        if let Some(view) = self.plan.position {
            let word = |Position { step, first_sample }| [1, step, first_sample, 0];
            let words = position.map_or([0; 4], word);
            self.program.write(view, Instance::slot(slot), &words);
        }
        Ok(())
    }

    /// Says which weights F uses in a slot from now on: those after so many updates, or, as in the beginning, the newest.
    pub fn set_version(&mut self, slot: usize, version: Option<u64>) -> Result<(), ComputeError> {
        self.check_slot("version", slot)?;
        self.slots[slot].wanted = version;
        Ok(())
    }

    fn loss(&self, slot: usize, spec: LossSpec) -> Result<(RecordingId, LossSite), ComputeError> {
        let tail = "only the tail of the ring computes losses";
        let loss = self.plan.loss.ok_or_else(|| misuse("loss", slot, tail))?;
        let own = self.config.model.loss;
        if own == spec {
            return Ok(loss);
        }
        Err(misuse("loss", slot, format!("the model's loss is {own:?}")))
    }

    async fn play_loss(
        &mut self,
        recording: RecordingId,
        instance: Instance,
        site: &LossSite,
        counts: Vec<bool>,
    ) -> Result<PendingLoss, ComputeError> {
        let views = [site.losses];
        let reading = self.program.begin(recording, instance, &views).await?;
        self.slots[instance.slot].state = SlotState::AwaitsBackwardInput;
        let rows_per_sample = site.rows() / self.config.micro_batch;
        Ok(PendingLoss {
            reading,
            counts,
            rows_per_sample,
        })
    }

    /// Waits for a loss.
    ///
    /// # Errors
    ///
    /// What a GPU tells, and [`ComputeError::NonFiniteLoss`].
    pub async fn finish_loss(&mut self, pending: PendingLoss) -> Result<LossReport, ComputeError> {
        let PendingLoss {
            reading,
            counts,
            rows_per_sample,
        } = pending;
        let words = first(self.program.finish(reading).await?);
        let report = loss::report(bytemuck::cast_slice(&words), &counts, rows_per_sample);
        if report.loss_sum.is_finite() {
            return Ok(report);
        }
        let layer = self.config.layers.end - 1;
        let description = self.config.model.layers[layer].layer().describe();
        Err(ComputeError::NonFiniteLoss {
            layer,
            description,
            loss: report.loss_sum,
        })
    }

    /// B: the gradient of the stage's input from that of its output (none at the tail, which has it from its loss). At the
    /// head nothing comes back, and the future may complete while a GPU still works.
    pub async fn backward_input(
        &mut self,
        slot: usize,
        output_gradient: Option<&Packed>,
    ) -> Result<Option<Packed>, ComputeError> {
        let instance = self.take_turn("B", slot, SlotState::AwaitsBackwardInput)?;
        match (output_gradient, self.plan.loss.is_some()) {
            (Some(gradient), false) => {
                let edge = &self.plan.output_gradient;
                let words = edge.expect(gradient)?;
                self.program.write(edge.packed, instance, &words);
            }
            (None, true) => {}
            (Some(_), true) => return Err(misuse("B", slot, "the tail takes no gradient")),
            (None, false) => return Err(misuse("B", slot, "it needs the gradient of the output")),
        }
        let edge = self.plan.input_gradient.as_ref();
        let wanted: Vec<View> = edge.map(|edge| edge.packed).into_iter().collect();
        let words = self
            .program
            .run(self.plan.backward_input, instance, &wanted)
            .await?;
        self.slots[slot].state = SlotState::AwaitsBackwardWeights;
        let gradient = edge.map(|edge| edge.tensor(&first(words)));
        Ok(gradient.transpose()?)
    }

    /// W: adds to the gradients of the weights; the slot is free after it. The future may complete while a GPU still works.
    pub async fn backward_weights(&mut self, slot: usize) -> Result<(), ComputeError> {
        let instance = self.take_turn("W", slot, SlotState::AwaitsBackwardWeights)?;
        self.program
            .run(self.plan.backward_weights, instance, &[])
            .await?;
        self.slots[slot].state = SlotState::Free;
        Ok(())
    }

    /// For each layer of the stage, its place in the model and SHA-256 over its parameters (32-bit floats, little endian, in
    /// order), in hexadecimal; a layer that learns nothing has the digest of nothing.
    pub async fn digests(&self) -> Result<Vec<(usize, String)>, ComputeError> {
        let all = self.parameters().await?;
        let digest = |layer| {
            (
                layer,
                parameters::digest(all.iter().filter(|p| p.layer == layer)),
            )
        };
        Ok(self.config.layers.clone().map(digest).collect())
    }

    /// Bytes that the stage takes on its device.
    pub fn memory_bytes(&self) -> u64 {
        self.program.bytes()
    }

    /// The device.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// What the stage was asked to be.
    pub fn config(&self) -> &StageConfig {
        &self.config
    }

    fn write_input(
        &mut self,
        task: &'static str,
        slot: usize,
        input: &Packed,
    ) -> Result<Instance, ComputeError> {
        self.check_slot(task, slot)?;
        let used = self.slots[slot].wanted.unwrap_or(self.versions.newest());
        let version = self.versions.find(task, used)?;
        let words = self.plan.input.expect(input)?;
        if let Some(limit) = self.plan.tokens {
            check_tokens(&words, limit)?;
        }
        let instance = Instance { slot, version };
        self.program.write(self.plan.input.packed, instance, &words);
        self.slots[slot].state = SlotState::Free;
        self.slots[slot].used = used;
        Ok(instance)
    }

    fn check_slot(&self, task: &'static str, slot: usize) -> Result<(), ComputeError> {
        if slot < self.slots.len() {
            return Ok(());
        }
        Err(misuse(
            task,
            slot,
            format!("there are {} slots", self.slots.len()),
        ))
    }

    fn take_turn(
        &self,
        task: &'static str,
        slot: usize,
        needed: SlotState,
    ) -> Result<Instance, ComputeError> {
        self.check_slot(task, slot)?;
        let Slot { state, used, .. } = self.slots[slot];
        if state == needed {
            let version = self.versions.find(task, used)?;
            return Ok(Instance { slot, version });
        }
        Err(misuse(
            task,
            slot,
            format!("{needed:?} is needed, it is {state:?}"),
        ))
    }
}

fn misuse(task: &'static str, slot: usize, reason: impl Into<String>) -> ComputeError {
    ComputeError::Misuse {
        task,
        slot,
        reason: reason.into(),
    }
}

fn check_tokens(tokens: &[u32], vocabulary: usize) -> Result<(), ComputeError> {
    match tokens
        .iter()
        .position(|token| *token as usize >= vocabulary)
    {
        Some(place) => Err(ComputeError::Token {
            place,
            token: tokens[place],
            vocabulary,
        }),
        None => Ok(()),
    }
}

fn check_labels(labels: &[u32], rows: usize, classes: usize) -> Result<(), ComputeError> {
    if labels.len() != rows {
        let (expected, actual) = (vec![rows], vec![labels.len()]);
        return Err(crate::tensor::TensorError::Shape { expected, actual }.into());
    }
    let is_class = |label: u32| label == loss::IGNORED_LABEL || (label as usize) < classes;
    match labels.iter().position(|label| !is_class(*label)) {
        Some(sample) => Err(ComputeError::Label {
            sample,
            label: labels[sample],
            classes,
        }),
        None => Ok(()),
    }
}

/// The one result that was asked for.
fn first(words: Vec<Vec<u32>>) -> Vec<u32> {
    words.into_iter().next().unwrap_or_default()
}

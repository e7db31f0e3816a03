//! From layers to buffers and recordings.

use super::StageConfig;
use crate::error::ComputeError;
use crate::layers::{Initial, Keeps, Site};
use crate::loss::{self, LossSite};
use crate::model::elements;
use crate::recording::{BufferId, Lifetime, Plan, Recording, RecordingId, SLOTS_MAX, View};
use crate::tensor::TENSOR_BYTES_MAX;

/// Where an arena ends: half of the 128 MiB that every GPU can bind, so that a parameter more fits.
const ARENA_WORDS_MAX: usize = 16 * 1024 * 1024;

/// A stage before it is on a device.
pub(super) struct StagePlan {
    /// Buffers and recordings.
    pub(super) plan: Plan,
    /// F.
    pub(super) forward: RecordingId,
    /// F and the loss; at the tail only.
    pub(super) loss: Option<(RecordingId, LossSite)>,
    /// B.
    pub(super) backward_input: RecordingId,
    /// W.
    pub(super) backward_weights: RecordingId,
    /// The optimizer.
    pub(super) update: RecordingId,
    /// The micro-batch that comes in.
    pub(super) input: Tensor,
    /// The micro-batch that goes out.
    pub(super) output: Tensor,
    /// The gradient that comes in.
    pub(super) output_gradient: View,
    /// The gradient that goes out; none at the head.
    pub(super) input_gradient: Option<View>,
    /// What the stage learns.
    pub(super) parameters: Vec<ParameterPlan>,
}

/// A view with its shape.
pub(super) struct Tensor {
    /// Where it is.
    pub(super) view: View,
    /// Its shape, (micro-batch, sample shape).
    pub(super) shape: Vec<usize>,
}

/// One thing the stage learns.
pub(super) struct ParameterPlan {
    /// The layer, counted in the model.
    pub(super) layer: usize,
    /// Its place among the layer's parameters.
    pub(super) index: usize,
    /// As PyTorch's `nn.Sequential` calls it.
    pub(super) name: String,
    /// Its shape.
    pub(super) shape: Vec<usize>,
    /// Its first values.
    pub(super) initial: Initial,
    /// Where it is.
    pub(super) view: View,
    /// Where its gradient is.
    gradient: View,
}

impl StagePlan {
    /// Plans a stage; nothing is allocated.
    pub(super) fn new(config: &StageConfig) -> Result<Self, ComputeError> {
        let shapes = config.model.shapes()?;
        check(config, &shapes)?;
        let mut planner = Planner {
            config,
            shapes: &shapes[config.layers.start..=config.layers.end],
            plan: Plan {
                slots: config.slots,
                ..Plan::default()
            },
            parameters: Arenas::new("parameters"),
            gradients: Arenas::new("gradients"),
        };
        Ok(planner.plan())
    }
}

/// Refuses settings out of range. Sizes of one sample are already known to be countable.
fn check(config: &StageConfig, shapes: &[Vec<usize>]) -> Result<(), ComputeError> {
    let refuse = |reason: String| Err(ComputeError::Config(reason));
    let StageConfig {
        layers,
        micro_batch,
        batch,
        slots,
        ..
    } = config;
    if layers.start >= layers.end || layers.end > config.model.layers.len() {
        return refuse(format!(
            "layers {layers:?} of a model of {}",
            config.model.layers.len()
        ));
    }
    if *micro_batch == 0 || *batch == 0 {
        return refuse(format!(
            "a batch of {batch} in micro-batches of {micro_batch}"
        ));
    }
    if *slots == 0 || *slots > SLOTS_MAX {
        return refuse(format!(
            "{slots} slots, where 1 to {SLOTS_MAX} are possible"
        ));
    }
    for shape in &shapes[layers.start..=layers.end] {
        let bytes = micro_batch.checked_mul(4 * elements(shape));
        if bytes.is_none_or(|bytes| bytes > TENSOR_BYTES_MAX) {
            return refuse(format!(
                "{micro_batch} samples of shape {shape:?} are over the {TENSOR_BYTES_MAX} bytes of a tensor"
            ));
        }
    }
    config.optimizer.check().or_else(refuse)
}

struct Planner<'a> {
    config: &'a StageConfig,
    /// Before and after each layer of the stage.
    shapes: &'a [Vec<usize>],
    plan: Plan,
    parameters: Arenas,
    gradients: Arenas,
}

impl Planner<'_> {
    fn plan(&mut self) -> StagePlan {
        let last = self.shapes.len() - 1;
        let activations: Vec<_> = (0..=last).map(|i| self.activation(i)).collect();
        let gradients: Vec<_> = (0..=last).map(|i| self.gradient(i)).collect();
        let parameters = self.parameters();
        let sites = self.sites(&activations, &gradients, &parameters);
        let is_tail = self.config.layers.end == self.config.model.layers.len();
        let forward = self.record_forward(&sites);
        let loss = is_tail.then(|| self.record_loss(&sites, activations[last], gradients[last]));
        let is_head = self.config.layers.start == 0;
        let backward_input = self.record_backward_input(&sites, &gradients, is_head);
        let backward_weights = self.record_backward_weights(&sites);
        let update = self.record_update();
        StagePlan {
            forward,
            loss,
            backward_input,
            backward_weights,
            update,
            input: Tensor {
                view: activations[0],
                shape: self.shape(0),
            },
            output: Tensor {
                view: activations[last],
                shape: self.shape(last),
            },
            output_gradient: gradients[last],
            input_gradient: (!is_head).then_some(gradients[0]),
            parameters,
            plan: std::mem::take(&mut self.plan),
        }
    }

    /// The shape of a micro-batch before layer `i` of the stage.
    fn shape(&self, i: usize) -> Vec<usize> {
        [self.config.micro_batch]
            .into_iter()
            .chain(self.shapes[i].iter().copied())
            .collect()
    }

    /// What layer `i` of the stage keeps; the world outside of the stage keeps nothing in it.
    fn keeps(&self, i: Option<usize>) -> Keeps {
        let layers = &self.config.model.layers[self.config.layers.clone()];
        i.and_then(|i| layers.get(i))
            .map(|spec| spec.layer().keeps())
            .unwrap_or_default()
    }

    /// The micro-batch before layer `i` of the stage.
    fn activation(&mut self, i: usize) -> View {
        let kept = self.keeps(Some(i)).input || self.keeps(i.checked_sub(1)).output;
        let lifetime = if kept {
            Lifetime::Slot
        } else {
            Lifetime::Stage
        };
        let label = format!("activation {}", self.config.layers.start + i);
        self.plan.buffer(label, elements(&self.shape(i)), lifetime)
    }

    /// The gradient of the micro-batch before layer `i` of the stage. The last one comes before B in its own task.
    fn gradient(&mut self, i: usize) -> View {
        let kept = self.keeps(i.checked_sub(1)).output_gradient || i + 1 == self.shapes.len();
        let lifetime = if kept {
            Lifetime::Slot
        } else {
            Lifetime::Stage
        };
        let label = format!("gradient {}", self.config.layers.start + i);
        self.plan.buffer(label, elements(&self.shape(i)), lifetime)
    }

    fn parameters(&mut self) -> Vec<ParameterPlan> {
        let mut parameters = Vec::new();
        for layer in self.config.layers.clone() {
            let specs = self.config.model.layers[layer].layer().parameters();
            for (index, spec) in specs.into_iter().enumerate() {
                let words = elements(&spec.shape);
                let view = self.parameters.place(&mut self.plan, words);
                // The same sizes in the same order: gradients lie in their arenas as parameters do in theirs.
                let gradient = self.gradients.place(&mut self.plan, words);
                let name = format!("{layer}.{}", spec.name);
                let (shape, initial) = (spec.shape, spec.initial);
                parameters.push(ParameterPlan {
                    layer,
                    index,
                    name,
                    shape,
                    initial,
                    view,
                    gradient,
                });
            }
        }
        parameters
    }

    fn sites(
        &self,
        activations: &[View],
        gradients: &[View],
        parameters: &[ParameterPlan],
    ) -> Vec<Site> {
        let site = |(i, layer): (usize, usize)| {
            let own = parameters
                .iter()
                .filter(|parameter| parameter.layer == layer);
            Site {
                input: activations[i],
                output: activations[i + 1],
                output_gradient: gradients[i + 1],
                parameters: own.clone().map(|parameter| parameter.view).collect(),
                gradients: own.map(|parameter| parameter.gradient).collect(),
            }
        };
        self.config.layers.clone().enumerate().map(site).collect()
    }

    fn record_forward(&mut self, sites: &[Site]) -> RecordingId {
        let mut recording = Recording::new("forward");
        self.forward(sites, &mut recording);
        self.plan.record(recording)
    }

    fn forward(&self, sites: &[Site], recording: &mut Recording) {
        let layers = &self.config.model.layers[self.config.layers.clone()];
        layers
            .iter()
            .zip(sites)
            .for_each(|(spec, site)| spec.layer().record_forward(site, recording));
    }

    fn record_loss(
        &mut self,
        sites: &[Site],
        logits: View,
        gradient: View,
    ) -> (RecordingId, LossSite) {
        let classes = self
            .shapes
            .last()
            .and_then(|shape| shape.last())
            .copied()
            .unwrap_or(1);
        let rows = logits.elements / classes;
        let labels = self.plan.buffer("labels", rows, Lifetime::Stage);
        let losses = self.plan.buffer("losses", 2 * rows, Lifetime::Stage);
        let site = LossSite {
            logits,
            labels,
            gradient,
            losses,
        };
        let mut recording = Recording::new("forward and loss");
        self.forward(sites, &mut recording);
        loss::record(&site, self.config.batch, &mut recording);
        (self.plan.record(recording), site)
    }

    /// Last layer first. At the head nobody wants the gradient of the input.
    fn record_backward_input(
        &mut self,
        sites: &[Site],
        gradients: &[View],
        is_head: bool,
    ) -> RecordingId {
        let mut recording = Recording::new("backward for the input");
        let layers = &self.config.model.layers[self.config.layers.clone()];
        for i in (usize::from(is_head)..layers.len()).rev() {
            layers[i]
                .layer()
                .record_backward_input(&sites[i], gradients[i], &mut recording);
        }
        self.plan.record(recording)
    }

    fn record_backward_weights(&mut self, sites: &[Site]) -> RecordingId {
        let mut recording = Recording::new("backward for the weights");
        let layers = &self.config.model.layers[self.config.layers.clone()];
        for (spec, site) in layers.iter().zip(sites) {
            spec.layer().record_backward_weights(site, &mut recording);
        }
        self.plan.record(recording)
    }

    /// One operation for a whole arena; the padding between parameters is zero and stays so.
    fn record_update(&mut self) -> RecordingId {
        let mut recording = Recording::new("update");
        for (parameters, gradients) in self.parameters.buffers.iter().zip(&self.gradients.buffers) {
            let whole = |buffer: BufferId| {
                let elements = self.plan.buffers[buffer.0].words;
                View {
                    buffer,
                    offset: 0,
                    elements,
                }
            };
            let (parameters, gradients) = (whole(*parameters), whole(*gradients));
            self.config
                .optimizer
                .record_update(parameters, gradients, &mut recording);
        }
        self.plan.record(recording)
    }
}

/// Buffers that hold many small tensors, so that an update is one operation.
struct Arenas {
    label: &'static str,
    buffers: Vec<BufferId>,
}

impl Arenas {
    fn new(label: &'static str) -> Self {
        Self {
            label,
            buffers: Vec::new(),
        }
    }

    /// Finds a place at the end of the last arena, or begins another.
    fn place(&mut self, plan: &mut Plan, words: usize) -> View {
        if let Some(buffer) = self.buffers.last() {
            let arena = &mut plan.buffers[buffer.0].words;
            let offset = arena.next_multiple_of(View::ALIGNMENT_WORDS);
            if offset + words <= ARENA_WORDS_MAX {
                *arena = offset + words;
                return View {
                    buffer: *buffer,
                    offset,
                    elements: words,
                };
            }
        }
        let view = plan.buffer(self.label, words, Lifetime::Stage);
        self.buffers.push(view.buffer);
        view
    }
}

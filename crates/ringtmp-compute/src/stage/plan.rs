//! From layers to buffers and recordings.

use super::StageConfig;
use super::arenas::Arenas;
use super::check;
use super::edge::{Edge, Edges};
use crate::error::ComputeError;
use crate::layers::{Initial, Keeps, LayerSpec, Site};
use crate::loss::{self, LossSite, LossSpec};
use crate::model::elements;
#[cfg(test)]
use crate::operation::Operation;
use crate::optimizer::{Coefficients, UpdateSite, square_sums};
use crate::packing::Packing;
use crate::recording::{BufferId, Lifetime, Plan, Recording, RecordingId, View};

/// Parts of which the sum of the squares of a gradient is made: as many threads of a GPU work at it.
const SQUARE_SUMS: usize = 256;

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
    /// B and W of each layer, where they are done layer by layer.
    pub(super) layers: Vec<RecordingId>,
    /// The optimizer.
    pub(super) update: RecordingId,
    /// What the optimizer is told of the step.
    pub(super) coefficients: View,
    /// The buffers of which each version has its own.
    pub(super) versioned: Vec<BufferId>,
    /// The sums of squares of the gradients, and where they are, parameter by parameter.
    pub(super) squares: (RecordingId, Vec<View>),
    /// Where the micro-batch of a slot stands in the run, if something draws.
    pub(super) position: Option<View>,
    /// The micro-batch that comes in.
    pub(super) input: Edge,
    /// The limit of the numbers that come in, if they are tokens.
    pub(super) tokens: Option<usize>,
    /// The micro-batch that goes out.
    pub(super) output: Edge,
    /// The gradient that comes in.
    pub(super) output_gradient: Edge,
    /// The gradient that goes out; none at the head.
    pub(super) input_gradient: Option<Edge>,
    /// What the stage learns.
    pub(super) parameters: Vec<ParameterPlan>,
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
    /// Where it is, in every version.
    pub(super) view: View,
    /// Where what the optimizer remembers of it is.
    pub(super) state: Vec<View>,
    /// Where its gradient is.
    pub(super) gradient: View,
}

impl StagePlan {
    /// Plans a stage; nothing is allocated.
    pub(super) fn new(config: &StageConfig) -> Result<Self, ComputeError> {
        Self::planned(config, false)
    }

    /// Likewise, with a backward layer by layer as well, if asked for.
    pub(super) fn planned(config: &StageConfig, by_layer: bool) -> Result<Self, ComputeError> {
        let shapes = config.model.shapes()?;
        check::check(config, &shapes)?;
        let mut planner = Planner {
            by_layer,
            config,
            shapes: &shapes[config.layers.start..=config.layers.end],
            plan: Plan {
                arithmetic: config.arithmetic,
                slots: config.slots,
                versions: config.versions,
                ..Plan::default()
            },
            position: None,
            parameters: Arenas::new("parameters", Lifetime::Version),
            gradients: Arenas::new("gradients", Lifetime::Stage),
            state: vec![
                Arenas::new("optimizer state", Lifetime::Stage);
                config.optimizer.state_tensors()
            ],
        };
        Ok(planner.plan())
    }
}

/// Everything that a stage would record.
#[cfg(test)]
pub(crate) fn operations_of(config: &StageConfig) -> Result<Vec<Operation>, ComputeError> {
    let plan = StagePlan::new(config)?.plan;
    plan.check()?;
    let recordings = plan.recordings.into_iter();
    Ok(recordings
        .flat_map(|recording| recording.operations)
        .collect())
}

struct Planner<'a> {
    by_layer: bool,
    config: &'a StageConfig,
    /// Before and after each layer of the stage.
    shapes: &'a [Vec<usize>],
    plan: Plan,
    /// Where the micro-batch of a slot stands in the run, if something draws.
    position: Option<View>,
    parameters: Arenas,
    gradients: Arenas,
    /// What the optimizer remembers.
    state: Vec<Arenas>,
}

impl Planner<'_> {
    fn plan(&mut self) -> StagePlan {
        let last = self.shapes.len() - 1;
        let (activations, gradients) = (self.activations(), self.gradients());
        let workspaces = self.workspaces();
        self.position = self.position();
        let parameters = self.parameters();
        let sites = self.sites(&activations, &gradients, &parameters, workspaces);
        let is_tail = self.config.layers.end == self.config.model.layers.len();
        let is_head = self.config.layers.start == 0;
        let edges = Edges::new(
            self.config,
            [self.shape(0), self.shape(last)],
            [activations[0], activations[last]],
            [gradients[0], gradients[last]],
            self.position,
            &mut self.plan,
        );
        let forward = self.record_forward(&sites, &edges);
        let loss =
            is_tail.then(|| self.record_loss(&sites, &edges, activations[last], gradients[last]));
        let backward_input = self.record_backward_input(&sites, &gradients, &edges, is_head);
        let backward_weights = self.record_backward_weights(&sites);
        let layers = self.record_layers(&sites, &gradients);
        let words = size_of::<Coefficients>() / 4;
        let coefficients = self.plan.buffer("coefficients", words, Lifetime::Stage);
        let update = self.record_update(coefficients);
        let squares = self.record_squares(&parameters);
        StagePlan {
            forward,
            loss,
            backward_input,
            backward_weights,
            layers,
            update,
            coefficients,
            versioned: self.parameters.buffers.clone(),
            squares,
            position: self.position,
            tokens: self.config.model.layers[self.config.layers.start]
                .layer()
                .tokens(),
            input: edges.input,
            output: edges.output,
            output_gradient: edges.output_gradient,
            input_gradient: (!is_head).then_some(edges.input_gradient),
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

    /// The micro-batch before each layer of the stage and after the last.
    fn activations(&mut self) -> Vec<View> {
        let kept = |i: usize| self.keeps(Some(i)).input || self.keeps(i.checked_sub(1)).output;
        let kept = (0..self.shapes.len()).map(kept).collect();
        self.tensors("activation", kept)
    }

    /// The gradients of the same tensors. The last one comes before B in its own task.
    fn gradients(&mut self) -> Vec<View> {
        let last = self.shapes.len() - 1;
        let kept = |i: usize| self.keeps(i.checked_sub(1)).output_gradient || i == last;
        let kept = (0..self.shapes.len()).map(kept).collect();
        self.tensors("gradient", kept)
    }

    /// One buffer for each tensor between layers, a slot's if it is kept; one for both sides of a layer that only reshapes.
    fn tensors(&mut self, label: &str, mut kept: Vec<bool>) -> Vec<View> {
        let start = self.config.layers.start;
        let layers = &self.config.model.layers[self.config.layers.clone()];
        let one: Vec<bool> = layers
            .iter()
            .map(|spec| spec.layer().only_reshapes())
            .collect();
        for i in (0..one.len()).filter(|i| one[*i]) {
            kept[i + 1] |= kept[i];
        }
        for i in (0..one.len()).rev().filter(|i| one[*i]) {
            kept[i] |= kept[i + 1];
        }
        let mut views: Vec<View> = Vec::new();
        for (i, kept) in kept.into_iter().enumerate() {
            let before = i.checked_sub(1).filter(|before| one[*before]);
            let view = before.map(|before| views[before]).unwrap_or_else(|| {
                let lifetime = if kept {
                    Lifetime::Slot
                } else {
                    Lifetime::Stage
                };
                let label = format!("{label} {}", start + i);
                self.plan.buffer(label, elements(&self.shape(i)), lifetime)
            });
            views.push(view);
        }
        views
    }

    fn position(&mut self) -> Option<View> {
        let mut layers = self.config.model.layers[self.config.layers.clone()].iter();
        let rounds = self.config.input_packing == Packing::Int8;
        let draws = rounds || layers.any(|spec| spec.layer().draws());
        draws.then(|| self.plan.buffer("position", 4, Lifetime::Slot))
    }

    /// The memory that each layer has for itself.
    fn workspaces(&mut self) -> Vec<Vec<View>> {
        let layers = &self.config.model.layers[self.config.layers.clone()];
        let mut all = Vec::new();
        for (i, spec) in layers.iter().enumerate() {
            let own = spec
                .layer()
                .workspace(self.config.micro_batch, &self.shapes[i]);
            let buffer = |own: crate::layers::Workspace| {
                let label = format!("{} of layer {}", own.label, self.config.layers.start + i);
                self.plan.buffer(label, own.words, own.lifetime)
            };
            all.push(own.into_iter().map(buffer).collect());
        }
        all
    }

    fn parameters(&mut self) -> Vec<ParameterPlan> {
        let mut parameters = Vec::new();
        let modules = self.config.model.modules();
        for layer in self.config.layers.clone() {
            let specs = self.config.model.layers[layer].layer().parameters();
            for (index, spec) in specs.into_iter().enumerate() {
                let words = elements(&spec.shape);
                let view = self.parameters.place(&mut self.plan, words);
                // The same sizes in the same order: gradients lie in their arenas as parameters do in theirs.
                let gradient = self.gradients.place(&mut self.plan, words);
                let plan = &mut self.plan;
                let state = self.state.iter_mut();
                let state = state.map(|arenas| arenas.place(plan, words)).collect();
                let name = format!("{}.{}", modules[layer], spec.name);
                let (shape, initial) = (spec.shape, spec.initial);
                parameters.push(ParameterPlan {
                    layer,
                    index,
                    name,
                    shape,
                    initial,
                    view,
                    state,
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
        workspaces: Vec<Vec<View>>,
    ) -> Vec<Site> {
        let site = |(i, (layer, workspace)): (usize, (usize, Vec<View>))| {
            let own = parameters
                .iter()
                .filter(|parameter| parameter.layer == layer);
            Site {
                samples: self.config.micro_batch,
                shape: self.shapes[i].clone(),
                workspace,
                position: self.position,
                key: super::parameters::draw_key(self.config.seed, layer),
                input: activations[i],
                output: activations[i + 1],
                output_gradient: gradients[i + 1],
                parameters: own.clone().map(|parameter| parameter.view).collect(),
                gradients: own.map(|parameter| parameter.gradient).collect(),
            }
        };
        let layers = self.config.layers.clone().zip(workspaces);
        layers.enumerate().map(site).collect()
    }

    fn record_forward(&mut self, sites: &[Site], edges: &Edges) -> RecordingId {
        let mut recording = Recording::new("forward");
        self.forward(sites, edges, &mut recording);
        edges.output.record_pack(&mut recording);
        self.plan.record(recording)
    }

    fn forward(&self, sites: &[Site], edges: &Edges, recording: &mut Recording) {
        edges.input.record_unpack(recording);
        let layers = &self.config.model.layers[self.config.layers.clone()];
        layers
            .iter()
            .zip(sites)
            .for_each(|(spec, site)| spec.layer().record_forward(site, recording));
    }

    fn record_loss(
        &mut self,
        sites: &[Site],
        edges: &Edges,
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
        let spec = self.config.model.loss;
        let words = match spec {
            LossSpec::CrossEntropy => rows,
            LossSpec::MeanSquaredError => logits.elements,
        };
        let labels = self.plan.buffer("labels", words, Lifetime::Stage);
        let losses = self.plan.buffer("losses", 2 * rows, Lifetime::Stage);
        let site = LossSite {
            logits,
            labels,
            gradient,
            losses,
        };
        let mut recording = Recording::new("forward and loss");
        self.forward(sites, edges, &mut recording);
        let rows_of_a_step = rows / self.config.micro_batch * self.config.batch;
        loss::record(spec, &site, rows_of_a_step, &mut recording);
        (self.plan.record(recording), site)
    }

    /// Last layer first. At the head nobody wants the gradient of the input.
    fn record_backward_input(
        &mut self,
        sites: &[Site],
        gradients: &[View],
        edges: &Edges,
        is_head: bool,
    ) -> RecordingId {
        let mut recording = Recording::new("backward for the input");
        edges.output_gradient.record_unpack(&mut recording);
        let layers = &self.config.model.layers[self.config.layers.clone()];
        for i in (usize::from(is_head)..layers.len()).rev() {
            layers[i]
                .layer()
                .record_backward_input(&sites[i], gradients[i], &mut recording);
        }
        if !is_head {
            edges.input_gradient.record_pack(&mut recording);
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

    /// B and W of one layer after the other, where that is asked for; at the head nobody wants the gradient of the input.
    fn record_layers(&mut self, sites: &[Site], gradients: &[View]) -> Vec<RecordingId> {
        let specs = &self.config.model.layers[self.config.layers.clone()];
        let layers = specs.iter().zip(sites).enumerate();
        let record = |(i, (spec, site)): (usize, (&LayerSpec, &Site))| {
            let mut recording = Recording::new("backward of a layer");
            let layer = spec.layer();
            if i > 0 {
                layer.record_backward_input(site, gradients[i], &mut recording);
            }
            layer.record_backward_weights(site, &mut recording);
            self.plan.record(recording)
        };
        match self.by_layer {
            true => layers.map(record).collect(),
            false => Vec::new(),
        }
    }

    /// One operation for a whole arena; the padding between parameters is zero and stays so.
    fn record_update(&mut self, coefficients: View) -> RecordingId {
        let mut recording = Recording::new("update");
        for (i, parameters) in self.parameters.buffers.iter().enumerate() {
            let whole = |buffer: BufferId| View {
                buffer,
                offset: 0,
                elements: self.plan.buffers[buffer.0].words,
            };
            let site = UpdateSite {
                coefficients,
                parameters: whole(*parameters),
                gradients: whole(self.gradients.buffers[i]),
                state: self
                    .state
                    .iter()
                    .map(|state| whole(state.buffers[i]))
                    .collect(),
            };
            self.config.optimizer.record_update(&site, &mut recording);
        }
        self.plan.record(recording)
    }

    /// The sum of squares of each parameter's gradient, in parts.
    fn record_squares(&mut self, parameters: &[ParameterPlan]) -> (RecordingId, Vec<View>) {
        let mut recording = Recording::new("squares of gradients");
        if parameters.is_empty() {
            return (self.plan.record(recording), Vec::new());
        }
        let words = parameters.len() * SQUARE_SUMS;
        let all = self
            .plan
            .buffer("squares of gradients", words, Lifetime::Stage);
        let views: Vec<_> = (0..parameters.len())
            .map(|i| View {
                offset: i * SQUARE_SUMS,
                elements: SQUARE_SUMS,
                ..all
            })
            .collect();
        for (parameter, sums) in parameters.iter().zip(&views) {
            recording.push(square_sums(parameter.gradient, *sums));
        }
        (self.plan.record(recording), views)
    }
}

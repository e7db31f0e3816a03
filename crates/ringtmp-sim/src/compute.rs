//! What computes: an argument of the simulator.

use ringtmp_core::ids::{MicroBatchId, Step, Version};
use ringtmp_core::node::{Assignment, Loss};
use ringtmp_core::schedule::{Deal, Mode, Task};
use ringtmp_core::signal::{LayerDigest, RunOutline};
use ringtmp_core::wire::Purpose;
use std::collections::{BTreeMap, VecDeque};

/// A stage's arithmetic.
pub trait Compute {
    /// What goes from stage to stage.
    type Tensors: Clone;

    /// A layer as it was after some number of updates.
    type Copy: Clone;

    /// Copies of the stage's layers as they are now, with the newest so many versions of their weights, by layer.
    fn copies(&self, versions: usize) -> BTreeMap<u16, Self::Copy>;

    /// Goes on from copies of all layers of the stage.
    fn restore(&mut self, copies: &BTreeMap<u16, Self::Copy>);

    /// Does a task: its output for the neighbour (of F unless at the tail, of B unless at the head), and the loss at the tail.
    fn work(
        &mut self,
        task: Task,
        input: Option<Self::Tensors>,
    ) -> (Option<Self::Tensors>, Option<Loss>);

    /// The sum of the squares of each parameter's gradient, in the order of layers.
    fn squares(&self) -> Vec<f64>;

    /// Digests of the newest weights, by layer.
    fn digests(&self) -> Vec<LayerDigest>;
}

/// A stage whose arithmetic is a hash. It shows which weights, which inputs and which order of accumulation went into every
/// layer: runs with equal digests did the same work in the same order.
#[derive(Clone, Debug)]
pub struct HashStage {
    assignment: Assignment,
    /// The newest versions of the layers' weights, oldest first; as many as the assignment says.
    weights: VecDeque<(Version, Vec<u64>)>,
    sums: Vec<u64>,
    inputs: BTreeMap<u16, Vec<u64>>,
    gradients: BTreeMap<u16, Vec<u64>>,
}

/// Stands for whatever is not there: weights that were given up, a slot that is empty. It spoils every digest after it.
const MISSING: u64 = 0x00de_ad00_dead_00de;

impl HashStage {
    /// A stage at its first weights.
    pub fn new(assignment: Assignment) -> Self {
        let layers = assignment.layers.start.0..assignment.layers.end.0;
        let weights: Vec<u64> = layers.map(|layer| mix(1, u64::from(layer))).collect();
        Self {
            sums: vec![0; weights.len()],
            weights: VecDeque::from([(Version(0), weights)]),
            assignment,
            inputs: BTreeMap::new(),
            gradients: BTreeMap::new(),
        }
    }

    /// What this stage draws from its own data.
    fn sample(&self, id: MicroBatchId, purpose: Purpose) -> u64 {
        let source = match purpose {
            Purpose::Train => self
                .assignment
                .source
                .map_or(MISSING, |source| source.0.into()),
            Purpose::Evaluate => 0,
        };
        sample(id.step, id.sequence, purpose, source)
    }

    fn weights(&self, version: Version) -> Vec<u64> {
        let held = self.weights.iter().find(|(held, _)| *held == version);
        held.map_or_else(
            || vec![MISSING; self.sums.len()],
            |(_, weights)| weights.clone(),
        )
    }

    fn forward(&mut self, slot: u16, version: Version, input: u64) -> u64 {
        let mut x = input;
        let mut inputs = Vec::new();
        for weight in self.weights(version) {
            inputs.push(x);
            x = mix(x, weight);
        }
        inputs.push(x);
        self.inputs.insert(slot, inputs);
        x
    }

    fn backward_input(&mut self, slot: u16, version: Version, input: Option<u64>) -> u64 {
        let last = self.inputs.get(&slot).and_then(|inputs| inputs.last());
        let mut g = input.unwrap_or_else(|| mix(last.copied().unwrap_or(MISSING), 7));
        let mut gradients = vec![0; self.sums.len()];
        for (gradient, weight) in gradients.iter_mut().zip(self.weights(version)).rev() {
            *gradient = g;
            g = mix(g, weight);
        }
        self.gradients.insert(slot, gradients);
        g
    }

    fn backward_weights(&mut self, slot: u16) {
        let missing = || vec![MISSING; self.sums.len()];
        let inputs = self.inputs.remove(&slot).unwrap_or_else(missing);
        let gradients = self.gradients.remove(&slot).unwrap_or_else(missing);
        for ((sum, x), g) in self.sums.iter_mut().zip(inputs).zip(gradients) {
            *sum = mix(*sum, mix(x, g));
        }
    }

    fn update(&mut self, square_sum: Option<f64>) {
        let Some((version, newest)) = self.weights.back() else {
            return;
        };
        let sums = self.sums.iter_mut().map(std::mem::take);
        let weights = newest
            .iter()
            .zip(sums)
            .map(|(w, sum)| updated(*w, sum, square_sum));
        let next = (Version(version.0 + 1), weights.collect());
        self.weights.push_back(next);
        while self.weights.len() > usize::from(self.assignment.versions) {
            self.weights.pop_front();
        }
    }
}

impl Compute for HashStage {
    type Tensors = u64;
    type Copy = Vec<(Version, u64)>;

    fn copies(&self, versions: usize) -> BTreeMap<u16, Self::Copy> {
        let layers = self.assignment.layers.start.0..self.assignment.layers.end.0;
        let older = self.weights.len().saturating_sub(versions);
        let copy = |place: usize| {
            let versions = self.weights.range(older..);
            versions.map(move |(version, weights)| (*version, weights[place]))
        };
        let copies = layers.enumerate();
        copies
            .map(|(place, layer)| (layer, copy(place).collect()))
            .collect()
    }

    fn restore(&mut self, copies: &BTreeMap<u16, Self::Copy>) {
        let layers = self.assignment.layers.start.0..self.assignment.layers.end.0;
        let versions = copies.values().next().into_iter().flatten();
        let versions: Vec<Version> = versions.map(|(version, _)| *version).collect();
        let weight = |version: Version, layer: u16| {
            let copy = copies.get(&layer).into_iter().flatten();
            let mut found = copy.filter(|(held, _)| *held == version);
            found.next().map_or(MISSING, |(_, weight)| *weight)
        };
        let weights = |version| layers.clone().map(|layer| weight(version, layer)).collect();
        let restored = versions
            .into_iter()
            .map(|version| (version, weights(version)));
        self.weights = restored.collect();
    }

    fn work(&mut self, task: Task, input: Option<u64>) -> (Option<u64>, Option<Loss>) {
        match task {
            Task::Draw { micro_batch } => (Some(self.sample(micro_batch, Purpose::Train)), None),
            Task::Forward {
                micro_batch,
                purpose,
                slot,
                version,
                ..
            } => {
                let input = input.unwrap_or_else(|| self.sample(micro_batch, purpose));
                let x = self.forward(slot.0, version, input);
                let loss = Loss {
                    sum: (x % 1000) as f32,
                    correct: 1,
                    samples: 2,
                };
                if self.assignment.is_tail() {
                    (None, Some(loss))
                } else {
                    (Some(x), None)
                }
            }
            Task::BackwardInput { slot, version, .. } => {
                let g = self.backward_input(slot.0, version, input);
                ((!self.assignment.is_head()).then_some(g), None)
            }
            Task::BackwardWeights { slot, .. } => {
                self.backward_weights(slot.0);
                (None, None)
            }
            Task::Squares { .. } => (None, None),
            Task::Update { square_sum, .. } => {
                self.update(square_sum);
                (None, None)
            }
        }
    }

    fn squares(&self) -> Vec<f64> {
        self.sums.iter().copied().flat_map(squares).collect()
    }

    fn digests(&self) -> Vec<LayerDigest> {
        let first = self.assignment.layers.start.0;
        let newest = self.weights.back().map(|(_, weights)| weights);
        (first..)
            .zip(newest.into_iter().flatten())
            .map(|(layer, weight)| LayerDigest {
                layer,
                sha256: format!("{weight:016x}"),
            })
            .collect()
    }
}

/// The digests that one process gets which does one micro-batch after another, with the weights that the mode asks for.
/// Micro-batches are dealt to so many sources, from the step that stands beside their number on: the first is 0, and they rise.
/// None for `async`, where weights are each stage's own affair.
pub fn one_process(outline: &RunOutline, sources: &[(Step, u16)]) -> Option<Vec<LayerDigest>> {
    let layers = outline.layers.len();
    let deal = |step: Step| {
        let mut dealt = sources.iter().rev();
        let dealt = dealt.find(|(from, _)| *from <= step);
        Deal {
            micro_batches: outline.micro_batches,
            sources: dealt.map_or(1, |(_, sources)| *sources),
        }
    };
    let delay = match outline.schedule.mode {
        Mode::Sync | Mode::OneForwardOneBackward => 0,
        Mode::TwoVersions => 1,
        Mode::Async => return None,
    };
    let first = |layer| mix(1, layer as u64);
    let mut weights: Vec<u64> = (0..layers).map(first).collect();
    // The first two steps both use the first weights where there is a delay.
    let mut before = weights.clone();
    for step in (0..outline.steps).map(Step) {
        let used = if delay == 0 { &weights } else { &before };
        let mut sums = vec![0; layers];
        let deal = deal(step);
        for sequence in 0..outline.micro_batches {
            let source = deal.source(deal.number(step, sequence));
            let sample = sample(step, sequence, Purpose::Train, source.0.into());
            accumulate(used, &mut sums, sample);
        }
        let clips = outline.schedule.clips_gradients;
        let last_first = sums.iter().copied().flat_map(squares).rev();
        let square_sum = clips.then(|| last_first.fold(0.0, |sum, square| sum + square));
        let next = weights.iter().zip(&sums);
        let next = next.map(|(w, sum)| updated(*w, *sum, square_sum)).collect();
        before = std::mem::replace(&mut weights, next);
    }
    let digest = |(layer, weight): (usize, &u64)| LayerDigest {
        layer: u16::try_from(layer).unwrap_or(u16::MAX),
        sha256: format!("{weight:016x}"),
    };
    Some(weights.iter().enumerate().map(digest).collect())
}

/// The squares of a layer's two parameters: numbers between 1 and 2, all of whose digits count, so that their sum shows the order
/// in which they were added.
fn squares(sum: u64) -> [f64; 2] {
    [sum, mix(sum, 3)].map(|bits| 1.0 + (bits >> 12) as f64 / (1u64 << 52) as f64)
}

fn updated(weight: u64, sum: u64, square_sum: Option<f64>) -> u64 {
    let clipped = square_sum.map_or(sum, |square_sum| mix(sum, square_sum.to_bits()));
    mix(weight, clipped)
}

/// F, B and W of one micro-batch through all layers.
fn accumulate(weights: &[u64], sums: &mut [u64], sample: u64) {
    let mut inputs = vec![sample];
    for weight in weights {
        let x = inputs.last().copied().unwrap_or(sample);
        inputs.push(mix(x, *weight));
    }
    let mut g = mix(inputs[weights.len()], 7);
    for layer in (0..weights.len()).rev() {
        sums[layer] = mix(sums[layer], mix(inputs[layer], g));
        g = mix(g, weights[layer]);
    }
}

fn sample(step: Step, sequence: u16, purpose: Purpose, source: u64) -> u64 {
    let sequence = mix(u64::from(sequence), purpose as u64);
    mix(u64::from(step.0), mix(source, sequence))
}

fn mix(a: u64, b: u64) -> u64 {
    let x = (a ^ b.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ x >> 31
}

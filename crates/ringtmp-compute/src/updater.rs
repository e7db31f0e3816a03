//! Updates of parameters without their model: what a server does that others push gradients to.

use crate::error::{ComputeError, ParameterError};
use crate::executor::{Executor, Program};
use crate::optimizer::{Coefficients, OptimizerSpec, UpdateSite};
use crate::recording::{Instance, Lifetime, Plan, Recording, RecordingId, View};
use std::fmt;

/// Ranges of parameters, each with the sum of the gradients that were added since its last update and with what the optimizer
/// remembers of it. The optimizer's operations are those of a [`crate::Stage`], so that an update gives the same bits.
pub struct RangeUpdater {
    optimizer: OptimizerSpec,
    program: Program,
    coefficients: View,
    ranges: Vec<Place>,
}

struct Place {
    parameters: View,
    gradients: View,
    /// What the optimizer remembers.
    state: Vec<View>,
    update: RecordingId,
    /// On the host, where gradients arrive.
    sum: Vec<f32>,
}

/// One update of one range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeUpdate {
    /// The step of the run, by which the learning rate is scheduled.
    pub step: u64,
    /// Updates of the range before this one.
    pub updates: u64,
    /// What gradients are multiplied by first.
    pub scale: f32,
    /// The part of the learning rate that it has.
    pub part: f64,
}

impl fmt::Debug for RangeUpdater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeUpdater")
            .field("ranges", &self.ranges.len())
            .finish_non_exhaustive()
    }
}

impl RangeUpdater {
    /// Takes the memory, and begins with these values, range by range.
    ///
    /// # Errors
    ///
    /// What the device cannot hold, and that gradients are to be clipped by a norm that no server knows alone.
    pub async fn new(
        optimizer: OptimizerSpec,
        initial: &[Vec<f32>],
        executor: &Executor,
    ) -> Result<Self, ComputeError> {
        if optimizer.clip_norm.is_some() {
            let reason =
                "gradients cannot be clipped by the norm of all where each range is updated alone";
            return Err(ComputeError::Config(reason.to_owned()));
        }
        let mut plan = Plan::default();
        let words = size_of::<Coefficients>() / 4;
        let coefficients = plan.buffer("coefficients", words, Lifetime::Stage);
        let mut ranges = Vec::new();
        for values in initial {
            let mut buffer = |label| plan.buffer(label, values.len(), Lifetime::Stage);
            let (parameters, gradients) = (buffer("parameters"), buffer("gradients"));
            let state = (0..optimizer.state_tensors()).map(|_| buffer("optimizer state"));
            let state: Vec<View> = state.collect();
            let site = UpdateSite {
                coefficients,
                parameters,
                gradients,
                state: state.clone(),
            };
            let mut recording = Recording::new("update of a range");
            optimizer.record_update(&site, &mut recording);
            ranges.push(Place {
                parameters,
                gradients,
                state,
                update: plan.record(recording),
                sum: vec![0.0; values.len()],
            });
        }
        let mut program = executor.prepare(plan).await?;
        for (range, values) in ranges.iter().zip(initial) {
            let words = bytemuck::cast_slice(values);
            program.write(range.parameters, Instance::default(), words);
        }
        Ok(Self {
            optimizer,
            program,
            coefficients,
            ranges,
        })
    }

    /// Adds a gradient to the sum of its range.
    ///
    /// # Errors
    ///
    /// That there is no such range, or that it has not as many numbers.
    pub fn add(&mut self, range: usize, gradient: &[f32]) -> Result<(), ParameterError> {
        let place = self.ranges.get_mut(range);
        let place = place.filter(|place| place.sum.len() == gradient.len());
        let missing = ParameterError::Range {
            layer: range,
            end: gradient.len(),
            has: 0,
        };
        let sum = &mut place.ok_or(missing)?.sum;
        for (sum, gradient) in sum.iter_mut().zip(gradient) {
            *sum += gradient;
        }
        Ok(())
    }

    /// Lets the optimizer update a range by the sum of its gradients, which is zero from then on, and gives the new values.
    ///
    /// # Errors
    ///
    /// [`ComputeError::NonFiniteGradients`] of a scale that is no number, or what the device cannot compute.
    pub async fn update(
        &mut self,
        range: usize,
        update: RangeUpdate,
    ) -> Result<Vec<f32>, ComputeError> {
        let RangeUpdate {
            step,
            updates,
            scale,
            part,
        } = update;
        if !scale.is_finite() {
            return Err(ComputeError::NonFiniteGradients);
        }
        self.place(range)?;
        let place = &mut self.ranges[range];
        let numbers = self.optimizer.coefficients_of(step, updates, part, scale);
        let first = Instance::default();
        self.program
            .write(self.coefficients, first, bytemuck::cast_slice(&numbers));
        self.program
            .write(place.gradients, first, bytemuck::cast_slice(&place.sum));
        place.sum.fill(0.0);
        let (recording, wanted) = (place.update, [place.parameters]);
        let words = self.program.run(recording, first, &wanted).await?;
        Ok(words.into_iter().flatten().map(f32::from_bits).collect())
    }

    /// The values of a range.
    ///
    /// # Errors
    ///
    /// That there is no such range, or what the device cannot give.
    pub async fn values(&self, range: usize) -> Result<Vec<f32>, ComputeError> {
        let view = self.place(range)?.parameters;
        let words = self.program.read(Instance::default(), &[view]).await?;
        Ok(words.into_iter().flatten().map(f32::from_bits).collect())
    }

    /// A range with all that an update leaves of it: its values, then what the optimizer remembers, each as many numbers as the range has.
    ///
    /// # Errors
    ///
    /// That there is no such range, or what the device cannot give.
    pub async fn copy(&self, range: usize) -> Result<Vec<Vec<f32>>, ComputeError> {
        let place = self.place(range)?;
        let views: Vec<View> = std::iter::once(place.parameters)
            .chain(place.state.iter().copied())
            .collect();
        let all = self.program.read(Instance::default(), &views).await?;
        let numbers = |words: Vec<u32>| words.into_iter().map(f32::from_bits).collect();
        Ok(all.into_iter().map(numbers).collect())
    }

    /// Makes a range what a copy of it says, with nothing added up since.
    ///
    /// # Errors
    ///
    /// That there is no such range, or that the copy is of another, or of another optimizer.
    pub fn restore(&mut self, range: usize, copy: &[Vec<f32>]) -> Result<(), ParameterError> {
        let place = self.place(range)?;
        let views: Vec<View> = std::iter::once(place.parameters)
            .chain(place.state.iter().copied())
            .collect();
        let elements = place.sum.len();
        let fits = copy.len() == views.len() && copy.iter().all(|slot| slot.len() == elements);
        if !fits {
            return Err(ParameterError::Range {
                layer: range,
                end: copy.first().map_or(0, Vec::len),
                has: elements,
            });
        }
        for (view, numbers) in views.into_iter().zip(copy) {
            let words = bytemuck::cast_slice(numbers);
            self.program.write(view, Instance::default(), words);
        }
        self.ranges[range].sum.fill(0.0);
        Ok(())
    }

    fn place(&self, range: usize) -> Result<&Place, ParameterError> {
        self.ranges.get(range).ok_or(ParameterError::Range {
            layer: range,
            end: 0,
            has: 0,
        })
    }

    /// Forgets what was added since the last update of each range.
    pub fn forget_sums(&mut self) {
        for range in &mut self.ranges {
            range.sum.fill(0.0);
        }
    }

    /// Bytes that it takes, on its device and beside it.
    pub fn memory_bytes(&self) -> u64 {
        let sums: usize = self.ranges.iter().map(|range| 4 * range.sum.len()).sum();
        self.program.bytes() + sums as u64
    }
}

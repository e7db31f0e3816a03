//! A stage that holds the whole model and goes backward layer by layer, so that a layer's gradients can travel while the layers
//! before it are still at it.

use super::plan::{ParameterPlan, StagePlan};
use super::{Parameter, SlotState, Stage, StageConfig, misuse, parameters};
use crate::error::{ComputeError, ParameterError};
use crate::executor::Executor;
use crate::model::elements;
use crate::recording::{Instance, View};
use std::ops::Range;

impl Stage {
    /// As [`Stage::undrawn`], for a stage of all layers, which can go backward by [`Stage::backward_layer`] as well. It keeps one
    /// version of its weights, which are not updated but written.
    ///
    /// # Errors
    ///
    /// As [`Stage::new`].
    pub async fn layer_by_layer(
        config: StageConfig,
        executor: Executor,
    ) -> Result<Self, ComputeError> {
        if config.layers != (0..config.model.layers.len()) || config.versions != 1 {
            let reason =
                "layer by layer goes a stage of all layers with one version of its weights";
            return Err(ComputeError::Config(reason.to_owned()));
        }
        let plan = StagePlan::planned(&config, true)?;
        Self::of_plan(config, plan, executor).await
    }

    /// The first weights of one layer that a stage of this configuration would draw, without the stage.
    ///
    /// # Errors
    ///
    /// That there can be no such stage.
    pub fn first_parameters(
        config: &StageConfig,
        layer: usize,
    ) -> Result<Vec<Parameter>, ComputeError> {
        let mut plans = StagePlan::new(config)?.parameters;
        plans.retain(|plan| plan.layer == layer);
        let parameter = |plan: ParameterPlan| Parameter {
            values: parameters::initial_values(config.seed, &plan),
            ..named(plan)
        };
        Ok(plans.into_iter().map(parameter).collect())
    }

    /// The names and shapes of all its parameters, without values.
    ///
    /// # Errors
    ///
    /// That there can be no such stage.
    pub fn named_parameters(config: &StageConfig) -> Result<Vec<Parameter>, ComputeError> {
        let plans = StagePlan::new(config)?.parameters;
        Ok(plans.into_iter().map(named).collect())
    }

    /// B and W of one layer, the last one first, in place of [`Stage::backward_input`] and [`Stage::backward_weights`]; then the
    /// gradients of the layer's parameters, one after the other, which are zero from then on. The slot is free after layer 0.
    ///
    /// # Errors
    ///
    /// That it is not the layer's turn, or what the device cannot compute.
    pub async fn backward_layer(
        &mut self,
        slot: usize,
        layer: usize,
    ) -> Result<Vec<f32>, ComputeError> {
        let needed = match layer + 1 == self.plan.layers.len() {
            true => SlotState::AwaitsBackwardInput,
            false => SlotState::AwaitsLayer(layer),
        };
        let instance = self.take_turn("B and W", slot, needed)?;
        let Some(recording) = self.plan.layers.get(layer).copied() else {
            return Err(misuse("B and W", slot, "it does not go layer by layer"));
        };
        let plans = self.plan.parameters.iter();
        let views: Vec<View> = plans
            .filter(|plan| plan.layer == layer)
            .map(|plan| plan.gradient)
            .collect();
        let words = self.program.run(recording, instance, &views).await?;
        for view in views {
            let zeros = vec![0; view.elements];
            self.program.write(view, Instance::default(), &zeros);
        }
        self.slots[slot].state = match layer.checked_sub(1) {
            Some(before) => SlotState::AwaitsLayer(before),
            None => SlotState::Free,
        };
        Ok(words.into_iter().flatten().map(f32::from_bits).collect())
    }

    /// Replaces some of a layer's parameters, counted over all of the layer's, one parameter after the other as
    /// [`Stage::backward_layer`] gives their gradients.
    ///
    /// # Errors
    ///
    /// That the layer has no such parameters, or that a micro-batch is under way, which would then see two models.
    pub fn write_parameters(
        &mut self,
        layer: usize,
        start: usize,
        values: &[f32],
    ) -> Result<(), ComputeError> {
        if let Some(slot) = self
            .slots
            .iter()
            .position(|slot| slot.state != SlotState::Free)
        {
            return Err(misuse("new weights", slot, "a micro-batch is under way"));
        }
        let (end, mut before) = (start + values.len(), 0);
        let instance = Instance {
            slot: 0,
            version: self.versions.place(self.versions.newest()),
        };
        let mut parts = Vec::new();
        for plan in self
            .plan
            .parameters
            .iter()
            .filter(|plan| plan.layer == layer)
        {
            let whole = before..before + elements(&plan.shape);
            before = whole.end;
            let part = overlap(&whole, &(start..end));
            if !part.is_empty() {
                let view = View {
                    offset: plan.view.offset + part.start - whole.start,
                    elements: part.len(),
                    ..plan.view
                };
                parts.push((view, part.start - start..part.end - start));
            }
        }
        if end > before {
            return Err(ParameterError::Range {
                layer,
                end,
                has: before,
            }
            .into());
        }
        for (view, part) in parts {
            let words = bytemuck::cast_slice(&values[part]);
            self.program.write(view, instance, words);
        }
        Ok(())
    }
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> Range<usize> {
    let start = one.start.max(other.start);
    start..one.end.min(other.end).max(start)
}

/// A parameter without its values.
fn named(plan: ParameterPlan) -> Parameter {
    Parameter {
        layer: plan.layer,
        name: plan.name,
        shape: plan.shape,
        values: Vec::new(),
    }
}

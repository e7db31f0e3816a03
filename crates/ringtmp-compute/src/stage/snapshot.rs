//! What a stage has learnt and remembers, taken out and put back.

use super::plan::ParameterPlan;
use super::{Parameter, Stage, parameters};
use crate::error::{ComputeError, ParameterError};
use crate::recording::{Instance, View};

/// What a stage has learnt and remembers between two steps. Another stage that is given it goes on as this one would have,
/// bit for bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Updates made.
    pub updates: u64,
    /// The versions of the weights that are held, each one update older than the next; the last are the newest.
    pub versions: Vec<Vec<Parameter>>,
    /// What the optimizer remembers: for each of its tensors (Adam's mean, its mean of squares) one as large as each
    /// parameter, under that parameter's name.
    pub optimizer: Vec<Vec<Parameter>>,
}

impl Stage {
    /// What the stage has learnt, layer after layer: its newest weights.
    pub async fn parameters(&self) -> Result<Vec<Parameter>, ComputeError> {
        self.weights(self.versions.newest()).await
    }

    /// Replaces all weights of the stage by those of the same names; others may be among them. Older versions are dropped.
    /// All or nothing.
    pub fn set_parameters(&mut self, given: &[Parameter]) -> Result<(), ComputeError> {
        let newest = self.versions.newest();
        let found = self.find(given, |plan| plan.view)?;
        self.write_all(found, self.weights_of(newest));
        self.versions = self.versions.up_to(newest, 1);
        Ok(())
    }

    /// What there is to keep; to be taken between two steps, when there are no gradients.
    pub async fn snapshot(&self) -> Result<Snapshot, ComputeError> {
        let mut versions = Vec::new();
        for version in self.versions.held() {
            versions.push(self.weights(version).await?);
        }
        let mut optimizer = Vec::new();
        for i in 0..self.config.optimizer.state_tensors() {
            let state = |plan: &ParameterPlan| plan.state[i];
            optimizer.push(self.read_all(state, Instance::default()).await?);
        }
        Ok(Snapshot {
            updates: self.versions.newest(),
            versions,
            optimizer,
        })
    }

    /// Goes on from a snapshot of a stage that held these layers, alone or among others; the oldest versions in it are left
    /// out if there is no room for them. All or nothing.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), ComputeError> {
        let tensors = self.config.optimizer.state_tensors();
        let (given, remembered) = (snapshot.versions.len(), snapshot.optimizer.len());
        if given == 0 || given as u64 > snapshot.updates.saturating_add(1) || remembered != tensors
        {
            return Err(ParameterError::Snapshot {
                updates: snapshot.updates,
                versions: given,
                optimizer: remembered,
                needed: tensors,
            }
            .into());
        }
        let versions = self.versions.up_to(snapshot.updates, given as u64);
        let mut found = Vec::new();
        let kept = &snapshot.versions[given - versions.held().count()..];
        for (version, weights) in versions.held().zip(kept) {
            let instance = Instance {
                slot: 0,
                version: versions.place(version),
            };
            found.push((self.find(weights, |plan| plan.view)?, instance));
        }
        for (i, state) in snapshot.optimizer.iter().enumerate() {
            found.push((self.find(state, |plan| plan.state[i])?, Instance::default()));
        }
        for (found, instance) in found {
            self.write_all(found, instance);
        }
        self.versions = versions;
        Ok(())
    }

    /// Where the weights of a version are.
    fn weights_of(&self, version: u64) -> Instance {
        Instance {
            slot: 0,
            version: self.versions.place(version),
        }
    }

    async fn weights(&self, version: u64) -> Result<Vec<Parameter>, ComputeError> {
        self.read_all(|plan| plan.view, self.weights_of(version))
            .await
    }

    /// One tensor for each parameter, from where `view` says.
    async fn read_all(
        &self,
        view: impl Fn(&ParameterPlan) -> View,
        instance: Instance,
    ) -> Result<Vec<Parameter>, ComputeError> {
        let plans = &self.plan.parameters;
        let views: Vec<_> = plans.iter().map(view).collect();
        let values = self.program.read(instance, &views).await?;
        let parameter = |(plan, words): (&ParameterPlan, Vec<u32>)| Parameter {
            layer: plan.layer,
            name: plan.name.clone(),
            shape: plan.shape.clone(),
            values: words.into_iter().map(f32::from_bits).collect(),
        };
        Ok(plans.iter().zip(values).map(parameter).collect())
    }

    /// The given values of each parameter, and where `view` wants them.
    fn find<'a>(
        &self,
        given: &'a [Parameter],
        view: impl Fn(&ParameterPlan) -> View,
    ) -> Result<Vec<(View, &'a [f32])>, ParameterError> {
        let plans = self.plan.parameters.iter();
        plans
            .map(|plan| Ok((view(plan), parameters::find(plan, given)?)))
            .collect()
    }

    fn write_all(&mut self, found: Vec<(View, &[f32])>, instance: Instance) {
        for (view, values) in found {
            self.program
                .write(view, instance, bytemuck::cast_slice(values));
        }
    }
}

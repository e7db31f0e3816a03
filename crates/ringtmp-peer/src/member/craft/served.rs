//! What a server that has all parameters gives of the model.

use super::{Craft, Stage, solo};
use ringtmp_compute::{ComputeError, Parameter};
use ringtmp_core::ids::Step;
use ringtmp_core::parameter_server::{RangeIndex, Update};

impl Craft {
    /// A range has another step in it.
    pub(in crate::member) fn note_update(&mut self, range: RangeIndex, update: &Update) {
        let place = self.place_of(range);
        self.updated[place] = Some(update.step.next());
    }

    /// The steps that are in every range of the model; none where other devices have some, or some are a step ahead.
    pub(in crate::member) fn served_after(&self) -> Option<Step> {
        let has_all = self.own.len() == self.job.layout.ranges.len();
        let first = self.updated.first().copied().flatten();
        let alike = self.updated.iter().all(|steps| *steps == first);
        first.filter(|_| has_all && alike)
    }

    /// All weights, where all ranges lie here and are after the same step.
    pub(in crate::member) async fn served(&self) -> Result<Option<Vec<Parameter>>, ComputeError> {
        let (Some(updater), Some(_)) = (&self.updater, self.served_after()) else {
            return Ok(None);
        };
        let mut layers = vec![Vec::new(); self.run.layers.len()];
        for (place, range) in self.own.iter().enumerate() {
            let layer = usize::from(self.spec(*range).layer.0);
            layers[layer].extend(updater.values(place).await?);
        }
        let mut parameters = Stage::named_parameters(&solo::config(&self.run))?;
        for parameter in &mut parameters {
            let values = &mut layers[parameter.layer];
            let rest = values.split_off(parameter.shape.iter().product());
            parameter.values = std::mem::replace(values, rest);
        }
        Ok(Some(parameters))
    }
}

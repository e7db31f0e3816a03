//! What models cost: by the operations of their layers, or by what these take on this machine.

use super::run_file;
use crate::files::replace;
use anyhow::{Context, Result};
use clap::ValueEnum;
use futures::executor::block_on;
use ringtmp_core::plan::LayerCost;
use ringtmp_experiment::{Cell, Kind, Model, ModelCosts};
use ringtmp_peer::{Executor, ExecutorChoice, layer_seconds};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// In the folder of a report: cells are named by it, so it is measured once.
const FILE: &str = "costs.json";

/// How it is known what the layers of a model take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum CostsBy {
    /// Operations are counted: the same everywhere
    #[default]
    Counted,
    /// Each layer's passes are timed on this machine's CPU; all of them together count as long as their operations
    Measured,
}

/// Seconds of F, of B and of W per sample, layer by layer.
type Seconds = Vec<[f64; 3]>;

/// What was measured of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    model: Model,
    layer_seconds: Seconds,
}

/// What models cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Costs {
    measured: BTreeMap<Model, Seconds>,
}

impl Costs {
    /// By what the layers of these cells' models take here, but for what a folder knows already. Memory is asked about without time, so models
    /// that are grown are not measured.
    ///
    /// # Errors
    ///
    /// If a model cannot be computed here, or the folder's file is unreadable.
    pub(super) fn measured<'a>(
        folder: &Path,
        cells: impl Iterator<Item = &'a Cell>,
        quiet: bool,
    ) -> Result<Self> {
        let path = folder.join(FILE);
        let mut known: Vec<Measured> = match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json)
                .with_context(|| format!("{} is not what was measured", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        for cell in cells {
            let is_grown = matches!(cell.kind, Kind::Capacity(_));
            if is_grown || known.iter().any(|one| one.model == cell.model) {
                continue;
            }
            if !quiet {
                eprintln!("measuring what the layers of {} take", cell.model);
            }
            known.push(Measured {
                model: cell.model.clone(),
                layer_seconds: measure(&cell.model)?,
            });
            replace(&path, serde_json::to_string_pretty(&known)?.as_bytes())?;
        }
        let measured = known.into_iter().map(|one| (one.model, one.layer_seconds));
        Ok(Self {
            measured: measured.collect(),
        })
    }

    /// What a model's layers take, as its run file would have it.
    pub(super) fn of(&self, model: &Model) -> Result<ModelCosts, String> {
        let run = run_file(model).check().map_err(|error| error.to_string())?;
        let outline = run.descriptor().outline;
        Ok(ModelCosts {
            layers: self.applied(model, outline.layers),
            sample_bytes: outline.sample_bytes,
        })
    }

    /// Layers with the costs that were measured, where they were.
    pub(super) fn applied(&self, model: &Model, layers: Vec<LayerCost>) -> Vec<LayerCost> {
        match self.measured.get(model) {
            Some(seconds) if seconds.len() == layers.len() => as_measured(layers, seconds),
            _ => layers,
        }
    }
}

/// The same operations in all, so that the speeds of devices mean what they meant, divided as time was.
fn as_measured(layers: Vec<LayerCost>, seconds: &[[f64; 3]]) -> Vec<LayerCost> {
    let operations: f64 = layers.iter().map(LayerCost::flops_total).sum();
    let total: f64 = seconds.iter().flatten().sum();
    let of = |(layer, seconds): (LayerCost, &[f64; 3])| LayerCost {
        flops: seconds.map(|pass| pass * operations / total),
        ..layer
    };
    layers.into_iter().zip(seconds).map(of).collect()
}

/// On this machine's CPU, by one thread as devices of experiments compute.
fn measure(model: &Model) -> Result<Seconds> {
    let run = run_file(model).check()?;
    let timed = async {
        let executor = Executor::open(ExecutorChoice::Cpu).await?;
        anyhow::Ok(layer_seconds(&run, &executor).await?)
    };
    block_on(Box::pin(timed)).with_context(|| format!("{model} cannot be measured here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_cost_what_they_take_here_and_all_together_what_is_counted() {
        let model = Model::preset("mlp");
        let counted = Costs::default().of(&model).expect("a model").layers;
        let seconds: Seconds = (0..counted.len()).map(|i| [0.5, 0.25, i as f64]).collect();
        let costs = Costs {
            measured: BTreeMap::from([(model.clone(), seconds.clone())]),
        };
        let layers = costs.of(&model).expect("a model").layers;
        let sum = |layers: &[LayerCost]| layers.iter().map(LayerCost::flops_total).sum::<f64>();
        assert!((sum(&layers) / sum(&counted) - 1.0).abs() < 1e-12);
        for (i, (layer, counted)) in layers.iter().zip(&counted).enumerate() {
            let [forward, input, weights] = layer.flops;
            assert!((forward / input - 2.0).abs() < 1e-12, "{i}");
            assert!((weights / forward - 2.0 * i as f64).abs() < 1e-9, "{i}");
            assert_eq!(layer.parameters, counted.parameters);
        }
        let other = Model::preset("cnn");
        let of = |costs: &Costs| costs.of(&other).expect("a model");
        assert_eq!(of(&costs), of(&Costs::default()), "it was not measured");
    }

    #[test]
    fn what_was_measured_once_is_not_measured_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let grid = ringtmp_experiment::Grid::quick(1);
        let mut cells = grid.cells(ringtmp_experiment::Experiment::Progress);
        cells.truncate(2);
        let measure = || Costs::measured(folder.path(), cells.iter(), true).expect("measured");
        let first = measure();
        let model = &cells[0].model;
        let seconds = &first.measured[model];
        assert!(seconds.iter().all(|layer| layer[0] > 0.0), "{seconds:?}");
        // The first layer is most of it, by time as by operations.
        let total = |layer: &[f64; 3]| layer.iter().sum::<f64>();
        assert!(
            seconds[1..]
                .iter()
                .all(|layer| total(layer) < total(&seconds[0]))
        );
        assert_eq!(measure().measured, first.measured);
        std::fs::write(folder.path().join(FILE), "{").expect("written");
        let torn = Costs::measured(folder.path(), cells.iter(), true);
        assert!(format!("{:#}", torn.expect_err("unreadable")).contains(FILE));
    }
}

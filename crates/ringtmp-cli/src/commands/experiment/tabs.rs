//! The largest model that tabs of a browser really train.

use super::addition_file;
use super::imitated::train_by;
use crate::commands::spent::said;
use anyhow::{Context, Result, bail};
use ringtmp_core::signal::Replication;
use ringtmp_experiment::{Cell, Kind, Model, Outcome, grow};
use ringtmp_peer::RunFile;
use std::process::{Command, Stdio};

/// Updates of a run: in the second everything is used that there is.
const STEPS: u32 = 2;

/// What lies between the largest model that is trained and the smallest that is not, as a share of the former's width.
const WITHIN: f64 = 0.05;

/// What tabs say they give: more than any has, so that the browser decides.
const GIVEN: &str = "64GB";

/// Grows the model until tabs do not train it.
///
/// # Errors
///
/// What keeps this program from starting itself. What tabs cannot do is an outcome.
pub(super) fn run(cell: &Cell) -> Result<Outcome> {
    let Kind::Capacity(grows) = cell.kind else {
        bail!("only cells of capacity are run with tabs");
    };
    grow(&cell.model, grows, WITHIN, |model| {
        let file = tabs_file(cell, model);
        let parameters = match file.clone().check() {
            Ok(run) => run.layers.iter().map(|layer| layer.parameters).sum(),
            Err(error) => return Ok(Err(error.to_string())),
        };
        // What failed once may have been bad luck.
        let trained = match train(cell, &file)? {
            Ok(()) => Ok(()),
            Err(_) => train(cell, &file)?,
        };
        Ok(trained.map(|()| parameters))
    })
}

fn tabs_file(cell: &Cell, model: &Model) -> RunFile {
    let mut file = RunFile {
        batch: cell.micro_batch * u32::from(cell.micro_batches),
        micro_batch: cell.micro_batch,
        steps: STEPS,
        evaluation_samples: 0,
        // A copy of everything is not what is asked about.
        replicate: Replication::Off,
        ..addition_file(model)
    };
    train_by(&mut file, cell.way);
    file
}

/// Whether so many tabs train it; otherwise why not.
fn train(cell: &Cell, file: &RunFile) -> Result<Result<(), String>> {
    let folder = tempfile::tempdir().context("no place for the run's files")?;
    let run = folder.path().join("run.toml");
    std::fs::write(&run, file.to_toml())?;
    let output = Command::new(std::env::current_exe()?)
        .args(["--quiet", "demo", "--headless", "--no-lan", "--port", "0"])
        .args(["--executor", "cpu", "--memory", GIVEN])
        .args(["--tabs", &cell.peers.to_string(), "--natives", "0"])
        .arg("--run")
        .arg(&run)
        .arg("--json")
        .arg(folder.path().join("result.json"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .context("this program cannot start itself")?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    Ok(Err(said(&output.stderr)))
}

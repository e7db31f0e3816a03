//! The same ring of native processes and of browser tabs: what each further sample takes.

use crate::commands::spent::{Devices, each_sample};
use anyhow::{Result, bail};
use ringtmp_core::signal::Replication;
use ringtmp_experiment::{Cell, Host, Kind, Outcome};
use ringtmp_peer::{ModelTable, RunFile};

/// How many times longer the longer run is.
const LONGER: u32 = 3;

/// Trains twice, and tells the difference.
///
/// # Errors
///
/// What keeps this program from starting itself, or from reading what it wrote. What it cannot do is an outcome.
pub(super) fn run(cell: &Cell) -> Result<Outcome> {
    let Kind::Hosted { steps, host } = cell.kind else {
        bail!("only cells of hosts are run with them");
    };
    let devices = match host {
        Host::Native => Devices::Natives(cell.peers),
        Host::Browser => Devices::Tabs(cell.peers),
    };
    let spent = each_sample(&run_file(cell), [steps, LONGER * steps], devices)?;
    Ok(match spent {
        Ok(spent) => Outcome::Spent(Box::new(spent)),
        Err(reason) => Outcome::Refused { reason },
    })
}

fn run_file(cell: &Cell) -> RunFile {
    RunFile {
        model: ModelTable::preset(&cell.model.preset),
        batch: cell.micro_batch * u32::from(cell.micro_batches),
        micro_batch: cell.micro_batch,
        evaluation_samples: 0,
        seed: cell.seed,
        replicate: Replication::Off,
        ..RunFile::default()
    }
}

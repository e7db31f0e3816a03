//! `ringtmp energy meters`.

use crate::output;
use crate::result::write_json;
use anyhow::Result;
use clap::Args;
use ringtmp_energy::process::ProcessTree;
use ringtmp_energy::{Description, Found, Reading, Role, Unreadable};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// The version of the JSON below: keys are added, never changed.
const SCHEMA_VERSION: u32 = 1;

#[derive(Args, Debug)]
pub(crate) struct Meters {
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Listed {
    schema_version: u32,
    meters: Vec<Shown>,
    unreadable: Vec<Unreadable>,
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    description: Description,
    /// What it shows now, in words.
    shows: String,
}

pub(crate) fn run(meters: &Meters) -> Result<()> {
    let listed = listed(ringtmp_energy::meters());
    if meters.json {
        return write_json(&listed, Path::new("-"));
    }
    output::bytes(listed.to_string().as_bytes());
    Ok(())
}

fn listed(mut found: Found) -> Listed {
    let shown = found.meters.iter_mut().map(|meter| Shown {
        shows: match meter.read() {
            Ok(Reading::Counter { microjoules, .. }) => {
                format!("a counter, at {:.3} J", microjoules as f64 / 1e6)
            }
            Ok(Reading::Power(watts)) => format!("{watts:.2} W"),
            Err(error) => format!("nothing now: {error}"),
        },
        description: meter.description().clone(),
    });
    let meters = shown.collect();
    if let Err(error) = ProcessTree::here() {
        found.unreadable.push(Unreadable::new("CPU time", &error));
    }
    Listed {
        schema_version: SCHEMA_VERSION,
        meters,
        unreadable: found.unreadable,
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Shown { description, shows } in &self.meters {
            let role = match description.role {
                Role::Machine => "the whole device",
                Role::Part => "a part; parts add up",
                Role::Aside => "told aside, not added",
            };
            let Description { id, counts, .. } = description;
            writeln!(f, "{id}\n  counts  {counts} ({role})\n  shows   {shows}")?;
        }
        for Unreadable { meter, why } in &self.unreadable {
            writeln!(f, "{meter}\n  cannot be read: {why}")?;
        }
        if self.meters.is_empty() {
            writeln!(
                f,
                "\nNo meter can be read here. ringtmp energy measure counts CPU time, and estimates joules, which it says.\n\
                 A plug or bench meter that writes a CSV file can be used with --meter-csv."
            )?;
        }
        Ok(())
    }
}

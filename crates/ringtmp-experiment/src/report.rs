//! The report: a page that needs nothing else, with the data beside it as CSV and JSON. The same cells make the same report.

mod columns;
mod course;
mod courses;
mod hosts;
mod lasting;
mod losses;
mod real;
mod sections;
mod table;

use crate::chart::{escaped, push};
use crate::grid::{Experiment, Grid};
use crate::groups::groups;
use crate::profile::Profiles;
use crate::store::Finished;
use serde::Serialize;
use std::io;
use std::path::Path;

const STYLE: &str = include_str!("page.css");

/// The version of `report.json`: keys are added, never changed.
const SCHEMA_VERSION: u32 = 1;

/// How a report came to be.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// The exact command.
    pub command: String,
    /// Version and digest of the program.
    pub program: String,
    /// The machine, with its CPU: it has no part in what is simulated.
    pub machine: String,
    /// The version of its kernel, where that can be told.
    pub kernel: Option<String>,
    /// The browser with its version, where one has a part in it.
    pub browser: Option<String>,
    /// How many threads wanted to compute here, the mean of a minute, when the command began and when it ended; none where that cannot be told.
    pub load: Option<[f64; 2]>,
    /// What was asked for.
    pub grid: Grid,
    /// Whether what layers take was measured on this machine; counted otherwise.
    pub measured_costs: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    schema_version: u32,
    /// Whether anything is: all but the experiments `real`, `scale`, `losses`, `lasting`, `courses`, `tabs` and `hosts`.
    simulated: bool,
    #[serde(flatten)]
    provenance: &'a Provenance,
    profiles: &'a Profiles,
    experiments: Vec<JsonExperiment<'a>>,
}

#[derive(Serialize)]
struct JsonExperiment<'a> {
    experiment: Experiment,
    cells: &'a [Finished],
}

/// Writes `index.html`, `cells.csv` and `report.json` into a folder.
///
/// # Errors
///
/// If they cannot be written.
pub fn write_report(
    folder: &Path,
    experiments: &[(Experiment, Vec<Finished>)],
    provenance: &Provenance,
    profiles: &Profiles,
) -> io::Result<()> {
    let json = Json {
        schema_version: SCHEMA_VERSION,
        simulated: experiments
            .iter()
            .any(|(it, _)| Experiment::SIMULATED.contains(it)),
        provenance,
        profiles,
        experiments: experiments
            .iter()
            .map(|(experiment, cells)| JsonExperiment {
                experiment: *experiment,
                cells,
            })
            .collect(),
    };
    std::fs::write(
        folder.join("index.html"),
        html(experiments, provenance, profiles),
    )?;
    std::fs::write(folder.join("cells.csv"), table::csv(experiments))?;
    let mut text = serde_json::to_string_pretty(&json)?;
    text.push('\n');
    std::fs::write(folder.join("report.json"), text)
}

fn html(
    experiments: &[(Experiment, Vec<Finished>)],
    provenance: &Provenance,
    profiles: &Profiles,
) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>RingTMP: experiments</title><style>{STYLE}</style></head><body>\n\
         <h1>When is a ring of small devices better than a parameter server?</h1>\n\
         <p>Everything but the sections <i>for real</i>, <i>scaling for real</i>, <i>losses for real</i>, <i>what losses leave of what is learnt</i>, <i>learning for real</i>, <i>what tabs of a browser really train</i> and <i>native against browser</i> is <b>simulated</b>: the program's own protocols run under virtual time on emulated devices and links, {}. Joules are <b>estimated</b>, unless they say <b>measured</b>. Whiskers and ± are 95% intervals (Student's t): {}. Seeds draw how long tasks take; they say nothing of how well the model of devices fits yours. A way <i>wins</i> only where its interval lies clear of those of \
         the best of the others, and where all its runs got there. The best of a family is chosen by the even seeds and told with its figures of the odd ones, so that being one of many settings flatters none. Ways with staleness or two versions take more samples to get as far; throughput, idle time and joules per sample do not show that; <i>progress</i> does. A device's links share its access link, in rings as in teams.</p>\n",
        costs(provenance),
        basis(&provenance.grid)
    );
    for (experiment, cells) in experiments {
        sections::experiment(*experiment, &groups(cells), &mut page);
    }
    devices(profiles, &mut page);
    repeat(provenance, &mut page);
    page
}

/// Over which seeds figures are told.
fn basis(grid: &Grid) -> String {
    let (all, odd, real) = (grid.seeds, grid.seeds.div_ceil(2), grid.seeds_real());
    format!(
        "of what is simulated over all {all} seeds in plots and tables, and over the odd ones, which are {odd}, where the finding says who wins; of real runs over {real}"
    )
}

/// What is taken for the layers of models.
const fn costs(provenance: &Provenance) -> &'static str {
    match provenance.measured_costs {
        true => {
            "where each layer's passes have the share of a step's time that they were measured to have on this machine's CPU"
        }
        false => "with the operations that the layers of each model really take",
    }
}

/// How the report came to be.
fn repeat(provenance: &Provenance, page: &mut String) {
    let mut machine = provenance.machine.clone();
    if let Some(kernel) = &provenance.kernel {
        push(&mut machine, format_args!(", kernel {kernel}"));
    }
    if let Some(browser) = &provenance.browser {
        push(&mut machine, format_args!(", {browser}"));
    }
    let load = match provenance.load {
        Some([before, after]) => {
            format!(
                " In the last minute before it {before:.2} threads wanted to compute there, in that before its end {after:.2}."
            )
        }
        None => String::new(),
    };
    push(
        page,
        format_args!(
            "<h2>How to repeat it</h2>\n<pre>{}</pre>\n<p>Program {}. On {}.{load} {} Seeds 1 to {}, {} steps a run. Every cell: <a href=\"cells.csv\">cells.csv</a>, <a href=\"report.json\">report.json</a>.</p>\n</body></html>\n",
            escaped(&provenance.command),
            escaped(&provenance.program),
            escaped(&machine),
            match provenance.measured_costs {
                true =>
                    "What is simulated has it only to say what layers take (<a href=\"costs.json\">costs.json</a>): with that file the same program makes the same figures anywhere.",
                false =>
                    "The machine has no part in what is simulated: there the same program makes the same figures anywhere.",
            },
            provenance.grid.seeds,
            provenance.grid.steps
        ),
    );
}

fn devices(profiles: &Profiles, page: &mut String) {
    page.push_str(
        "<h2>Devices</h2>\n<p><i>mixed</i> takes a laptop, a phone and a Raspberry Pi in turn. A hop has the delays of both its ends and the rate of the slower one.</p>\n\
         <div class=\"wide\"><table><tr><th>name<th>operations/s<th>cores<th>memory<th>delay<th>bytes/s<th>basis and source</tr>\n",
    );
    for (name, profile) in &profiles.0 {
        push(
            page,
            format_args!(
                "<tr><td>{name}<td>{:.1e}<td>{}<td>{:.0} MB<td>{:.2} ms<td>{:.1e}<td>{:?}: {}</tr>\n",
                profile.operations_per_second,
                profile.cores,
                profile.memory_bytes as f64 / 1e6,
                1e3 * profile.delay_seconds,
                profile.bytes_per_second,
                profile.basis,
                escaped(&profile.source)
            ),
        );
    }
    page.push_str("</table></div>\n");
}

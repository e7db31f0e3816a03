//! What an experiment stands on beside its cells: this program, this machine, and the browser with its page.

use crate::{browser, machine, page};
use anyhow::{Context, Result};
use ringtmp_experiment::{Experiment, Grid, Provenance};
use sha2::{Digest, Sha256};
use signaling_server::PageSource;
use std::path::Path;
use std::process::{Command, Stdio};

/// Hexadecimal digits of a digest that are told.
const DIGEST_DIGITS: usize = 12;

/// What is here when an experiment begins.
pub(super) struct Surroundings {
    /// Its version, and a digest of the very program: cells of another one are done again.
    program: String,
    /// The browser with its version, and a digest of the page that it opens, where one has a part in it.
    browser: Option<String>,
    /// How many threads wanted to compute.
    load: Option<f64>,
}

impl Surroundings {
    /// # Errors
    ///
    /// If this program, or the page, cannot be read.
    pub(super) fn here(experiments: &[Experiment]) -> Result<Self> {
        let path = std::env::current_exe().context("cannot tell which program this is")?;
        let bytes = read(&path)?;
        let has_tabs = experiments.iter().copied().any(opens_tabs);
        let browser = has_tabs.then(browser).transpose()?;
        Ok(Self {
            program: format!(
                "{} ({})",
                env!("CARGO_PKG_VERSION"),
                digits(Sha256::new_with_prefix(bytes))
            ),
            browser: browser.flatten(),
            load: machine::load(),
        })
    }

    /// What names cells of this experiment.
    pub(super) fn program(&self, experiment: Experiment) -> String {
        match &self.browser {
            Some(browser) if opens_tabs(experiment) => format!("{}, {browser}", self.program),
            _ => self.program.clone(),
        }
    }

    pub(super) fn provenance(&self, command: String, grid: Grid) -> Provenance {
        Provenance {
            command,
            program: self.program.clone(),
            machine: format!("{}, {}", machine::cores(), std::env::consts::OS),
            kernel: machine::kernel(),
            browser: self.browser.clone(),
            load: self.load.zip(machine::load()).map(<[f64; 2]>::from),
            grid,
            measured_costs: false,
        }
    }
}

/// Whether its cells are run by tabs of a browser.
const fn opens_tabs(experiment: Experiment) -> bool {
    matches!(experiment, Experiment::Tabs | Experiment::Hosts)
}

/// The browser that is used, and the page that it opens; none where there is no browser, which is told when one is needed.
fn browser() -> Result<Option<String>> {
    let Ok(program) = browser::find() else {
        return Ok(None);
    };
    let told = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    let told = told.ok().filter(|output| output.status.success());
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let version = told.filter(|told| !told.is_empty());
    let version = version.unwrap_or_else(|| "a browser that does not tell its version".to_owned());
    Ok(Some(match page::source(None) {
        // The program's digest is of its page as well.
        PageSource::BuiltIn(_) => version,
        PageSource::Folder(folder) => format!("{version}, page ({})", page_digest(&folder)?),
    }))
}

/// Of all files of a folder, with their names; of no files where there is no such folder.
fn page_digest(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    for entry in folder.read_dir().into_iter().flatten() {
        let path = entry
            .with_context(|| format!("cannot read {}", folder.display()))?
            .path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let mut digest = Sha256::new();
    for file in &files {
        digest.update(file.as_os_str().as_encoded_bytes());
        digest.update(read(file)?);
    }
    Ok(digits(digest))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The first digits of a digest.
fn digits(digest: Sha256) -> String {
    let all: String = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    all.chars().take(DIGEST_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_page_makes_other_cells_of_tabs_and_of_no_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let none = page_digest(folder.path()).expect("a digest");
        std::fs::write(folder.path().join("page.js"), "1").expect("written");
        let one = page_digest(folder.path()).expect("a digest");
        std::fs::write(folder.path().join("page.js"), "2").expect("written");
        let other = page_digest(folder.path()).expect("a digest");
        assert!(none != one && one != other, "{none} {one} {other}");
        let with = |page: &str| Surroundings {
            program: "1 (ab)".to_owned(),
            browser: Some(format!("Browser 1, page ({page})")),
            load: None,
        };
        for (experiment, same) in [
            (Experiment::Tabs, false),
            (Experiment::Hosts, false),
            (Experiment::Idle, true),
            (Experiment::Real, true),
        ] {
            let names = [&one, &other].map(|page| with(page).program(experiment));
            assert_eq!(names[0] == names[1], same, "{experiment}");
        }
    }
}

//! axe-core, which checks the page's contrast, names and roles in the tests in browsers. It is under the MPL-2.0, and so fetched
//! and never part of this repository. The test checks its SHA-256 before it runs any of it.

use crate::process::{find, run};
use crate::setup::tools_folder;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The version whose digest `tests/tests/browser/axe.rs` knows.
const VERSION: &str = "4.14.1";

/// Where it lies once it is there.
pub(crate) fn place() -> PathBuf {
    tools_folder().join(format!("axe-core-{VERSION}.min.js"))
}

/// Fetches it with npm, unless it is there.
pub(crate) fn fetch() -> Result<()> {
    let place = place();
    if place.is_file() {
        return Ok(());
    }
    let Some(npm) = find("npm") else {
        bail!("npm is missing, which fetches axe-core")
    };
    let folder = tools_folder().join("axe-core");
    fs::create_dir_all(&folder)?;
    let name = format!("axe-core@{VERSION}");
    run(Command::new(npm)
        .args(["pack", "--silent", &name])
        .current_dir(&folder))?;
    let package = format!("axe-core-{VERSION}.tgz");
    run(Command::new("tar")
        .args(["-xzf", &package, "package/axe.min.js"])
        .current_dir(&folder))?;
    let unpacked = folder.join("package/axe.min.js");
    fs::rename(&unpacked, &place)
        .with_context(|| format!("{} is not in the package", unpacked.display()))?;
    Ok(fs::remove_dir_all(folder)?)
}

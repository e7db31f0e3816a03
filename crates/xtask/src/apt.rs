//! Debian's packages. Only Debian itself: elsewhere the same names mean other things (Ubuntu's `chromium` is a wrapper
//! around a snap, of no use in a container), so there the user is told what is missing instead.

use crate::process::{find, output, run};
use anyhow::{Context, Result, bail};
use std::io::IsTerminal;
use std::process::Command;

/// Whether this is Debian.
pub(crate) fn is_debian() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is = |line: &str| matches!(line.trim().trim_matches('"'), "debian" | "raspbian");
    release
        .lines()
        .filter_map(|line| line.strip_prefix("ID="))
        .any(is)
        && find("apt-get").is_some()
}

/// Installs packages, as root or with sudo. Removes nothing: a conflict with what the user has is an error.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    let attempt = || {
        run(privileged()?
            .args(["install", "--yes", "--no-remove", "--no-install-recommends"])
            .args(packages))
    };
    // A list of packages that is missing or old is the usual reason for a failure, so fetch it only then.
    attempt()
        .or_else(|_| run(privileged()?.arg("update")).and_then(|()| attempt()))
        .with_context(|| {
            format!(
                "{} could not be installed; do it as root and try again: {by_hand}",
                packages.join(", ")
            )
        })
}

fn privileged() -> Result<Command> {
    if output(Command::new("id").arg("-u"))? == "0" {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        return Ok(command);
    }
    let Some(sudo) = find("sudo") else {
        bail!("installing a package needs root, and there is no sudo")
    };
    let mut command = Command::new(sudo);
    if !std::io::stdin().is_terminal() {
        // Nobody could type a password.
        command.arg("--non-interactive");
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    Ok(command)
}

//! Starting other programs.

use anyhow::{Context, Result, anyhow, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    // Cargo sets it for `cargo run`; the value at build time serves a binary that is started by hand.
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package)
        .ancestors()
        .nth(2)
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Where cargo builds.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Left in place these would tell every crate below that it is this package.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        }) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a program, its output going to ours; anything but success is an error that quotes the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    eprintln!("$ {words}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{words}`"))?;
    if status.success() {
        Ok(())
    } else {
        Err(anyhow!("`{words}` failed ({status})"))
    }
}

/// Becomes the program, where the system can do so; else runs it and ends with its exit code.
pub(crate) fn replace(command: &mut Command) -> Result<()> {
    #[cfg(unix)]
    {
        let error = std::os::unix::process::CommandExt::exec(command);
        Err(error).with_context(|| format!("cannot start `{}`", words(command)))
    }
    #[cfg(not(unix))]
    {
        let status = command
            .status()
            .with_context(|| format!("cannot start `{}`", words(command)))?;
        std::process::exit(status.code().unwrap_or(1))
    }
}

/// What a program prints to its standard output; an error if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{words}`"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("`{words}` failed ({}): {}", output.status, error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Like [`run`], but ends the program after `limit`: for what may wait for a network that is not there.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let words = words(command);
    eprintln!("$ {words}");
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start `{words}`"))?;
    let start = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("`{words}` failed ({status})"),
            None if start.elapsed() >= limit => {
                child.kill()?;
                child.wait()?;
                bail!("`{words}` was not done after {} s", limit.as_secs());
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The first program of this name in `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(&file))
        .find(|path| path.is_file())
}

/// A command as one could type it, with paths below the workspace shortened.
pub(crate) fn words(command: &Command) -> String {
    let root = format!("{}{}", root().display(), std::path::MAIN_SEPARATOR);
    let program = Path::new(command.get_program())
        .file_stem()
        .unwrap_or(command.get_program());
    let all = std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy);
    all.map(|word| word.replace(&root, ""))
        .collect::<Vec<_>>()
        .join(" ")
}

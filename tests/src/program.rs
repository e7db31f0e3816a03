//! The program `ringtmp`, as its users start it.

use crate::theatre::repository;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

/// Where it is.
///
/// # Errors
///
/// That it is not built.
pub fn ringtmp() -> Result<PathBuf> {
    let program = format!("target/debug/ringtmp{}", std::env::consts::EXE_SUFFIX);
    let program = repository().join(program);
    let built = "`cargo build -p ringtmp-cli` makes it, as `cargo xtask test` does";
    ensure!(
        program.is_file(),
        "there is no {}: {built}",
        program.display()
    );
    Ok(program)
}

/// A process that ends with the test.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn start(command: &mut Command) -> Result<Self> {
        let started = command.spawn();
        let program = command.get_program().display();
        Ok(Self(
            started.with_context(|| format!("cannot start {program}"))?,
        ))
    }

    /// Sends it a signal, by its name without SIG.
    ///
    /// # Errors
    ///
    /// That there is no such process any more.
    pub fn signal(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let mut kill = Command::new("kill");
        kill.arg("-s").arg(name).arg(self.0.id().to_string());
        ensure!(kill.status()?.success(), "it is gone");
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub async fn ended(mut self) -> Result<ExitStatus> {
        tokio::task::spawn_blocking(move || Ok(self.0.wait()?)).await?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

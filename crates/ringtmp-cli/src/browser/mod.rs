//! A browser of our own: a fresh profile, a process group that ends with us, and tabs opened over its DevTools socket.

mod devtools;
mod find;
mod flags;

pub(crate) use find::find;
pub(crate) use flags::{Looks, Show};

use crate::exit::Failure;
use crate::process::{Group, Guard, Messages};
use anyhow::{Context, Result};
use devtools::DevTools;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// How long a browser may take to listen: a second or two, ten on a loaded machine with a cold disk.
const START_MAX: Duration = Duration::from_secs(30);

/// What a browser says before the address of its DevTools socket.
const LISTENING: &str = "DevTools listening on ";

/// A running browser. Dropping it ends all its processes and removes its profile.
pub(crate) struct Browser {
    // Fields are dropped in this order: the processes must be gone before their profile.
    devtools: DevTools,
    group: Group,
    messages: Messages,
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser and opens a tab (or, with windows, a window) for each address.
    pub(crate) async fn start(
        program: &Path,
        looks: &Looks,
        urls: &[String],
        guard: &mut Guard,
    ) -> Result<Self> {
        let profile = tempfile::Builder::new()
            .prefix("ringtmp-browser-")
            .tempdir();
        let profile = profile.context("cannot make a folder for the browser's profile")?;
        let mut command = Command::new(program);
        command
            .args(flags::flags(looks, profile.path()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let (group, messages) = Group::start(&mut command, guard)?;
        let listening = messages.after(LISTENING);
        let address = match tokio::time::timeout(START_MAX, listening).await {
            Ok(Some(address)) => address,
            Ok(None) => return Err(does_not_start(program, "ended at once", &messages)),
            Err(_) => return Err(does_not_start(program, "does not get ready", &messages)),
        };
        let mut devtools = DevTools::connect(&address).await?;
        devtools.open(urls, looks).await?;
        Ok(Self {
            devtools,
            group,
            messages,
            _profile: profile,
        })
    }

    /// Done, with words, when a tab has crashed or the browser has ended.
    pub(crate) async fn trouble(&mut self) -> String {
        tokio::select! {
            status = self.group.wait() => match status {
                Ok(status) => format!("the browser has ended ({status}){}", self.messages.words()),
                Err(error) => format!("the browser cannot be watched: {error}"),
            },
            crash = self.devtools.crash() => crash,
        }
    }

    /// What pages complain of, each with its device's name; nothing where they cannot be asked.
    pub(crate) async fn complaints(&mut self) -> Vec<String> {
        self.devtools.complaints().await.unwrap_or_default()
    }
}

fn does_not_start(program: &Path, what: &str, messages: &Messages) -> anyhow::Error {
    let words = messages.words();
    let program = program.display();
    let advice = if words.contains("sandbox") {
        "; its sandbox cannot be set up here: CHROME_FLAGS=--no-sandbox does without (it only shows our own page)"
    } else {
        "; CHROME=PATH names another one"
    };
    Failure::Missing(format!("{program} {what}{words}{advice}")).into()
}

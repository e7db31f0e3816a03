//! A browser process with a profile of its own.

use crate::driver::{Driver, Session};
use crate::hosts::Host;
use crate::tab::Tab;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// Which browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserKind {
    /// Chromium, Chrome or Edge: `CHROME`, `CHROMEDRIVER`. WebGPU runs on SwiftShader.
    Chromium,
    /// Firefox: `FIREFOX`, `GECKODRIVER`.
    Firefox,
}

/// How a page is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Its width in CSS pixels.
    pub width: u32,
    /// Its height in CSS pixels.
    pub height: u32,
    /// Device pixels of a CSS pixel.
    pub scale: f64,
    /// Dark rather than light.
    pub dark: bool,
}

/// Chromium without what it does behind one's back, and with WebGPU on its own software adapter.
const CHROMIUM_ARGUMENTS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // Containers give /dev/shm 64 MiB, too little for several tabs.
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
];

/// Candidates name addresses by numbers, and not by names that browsers alone can look up.
const NUMBERS: &str = "--disable-features=WebRtcHideLocalIpsWithMdns";

impl BrowserKind {
    /// What is missing to run it, in words.
    pub(crate) fn missing(&self) -> Option<String> {
        let what = match (self.program(), self.driver_program()) {
            (Some(_), Some(_)) => return None,
            (None, _) => "is not installed",
            (_, None) => "has no WebDriver program",
        };
        Some(format!("{self:?} {what}"))
    }

    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Chromium => program("CHROME", &["chromium", "google-chrome", "microsoft-edge"]),
            Self::Firefox => program("FIREFOX", &["firefox-esr", "firefox"]),
        }
    }

    fn driver_program(self) -> Option<PathBuf> {
        match self {
            Self::Chromium => program("CHROMEDRIVER", &["chromedriver"]),
            Self::Firefox => program("GECKODRIVER", &["geckodriver"]),
        }
    }

    /// Its driver, on this machine or on another.
    async fn driver(self, host: Option<&Host>) -> Result<Driver> {
        let program = self.driver_program().context("its driver is missing")?;
        let (mut command, address) = match host {
            None => (Command::new(program), Ipv4Addr::LOCALHOST),
            Some(host) => (host.command(program), host.address),
        };
        match self {
            Self::Chromium => command.arg("--port=0"),
            // Without it two geckodrivers contend for one port between them and their Firefox.
            Self::Firefox => command.args(["--port", "0", "--websocket-port", "0"]),
        };
        if let Some(host) = host {
            command.arg(format!("--allowed-ips={}", host.here));
        }
        Driver::start(command, address).await
    }

    fn capabilities(self, profile: &TempDir, more: &[&str]) -> Value {
        let program = self.program().unwrap_or_default();
        match self {
            Self::Chromium => {
                let profile = format!("--user-data-dir={}", profile.path().display());
                let arguments: Vec<&str> = CHROMIUM_ARGUMENTS
                    .into_iter()
                    .chain([profile.as_str()])
                    .chain(more.iter().copied())
                    .collect();
                json!({
                    "acceptInsecureCerts": true,
                    "goog:chromeOptions": { "binary": program, "args": arguments },
                    "goog:loggingPrefs": { "browser": "ALL" },
                })
            }
            // geckodriver makes a fresh profile by itself.
            Self::Firefox => json!({
                "acceptInsecureCerts": true,
                "moz:firefoxOptions": { "binary": program, "args": ["-headless"] },
            }),
        }
    }
}

/// The program that a variable names, or the first of these in `PATH`.
fn program(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return Some(PathBuf::from(path)).filter(|path| path.is_file());
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let with_suffix = |name: &&str| format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let candidates = names.iter().flat_map(|name| {
        folders
            .iter()
            .map(move |folder| folder.join(with_suffix(name)))
    });
    candidates.into_iter().find(|path| path.is_file())
}

/// A running browser. Dropping it ends it.
pub struct Browser {
    kind: BrowserKind,
    windows: Arc<Windows>,
    // In this order: the driver closes the browser before its profile is removed.
    driver: Driver,
    profile: Profile,
}

/// What a browser keeps on the disk.
#[derive(Debug)]
pub struct Profile(TempDir);

impl Browser {
    /// Ends all its processes at once, by SIGKILL. What is on its disk is left, as long as the profile lives.
    ///
    /// # Errors
    ///
    /// Where the system does not let us.
    pub fn kill(mut self) -> Result<Profile> {
        self.driver.kill_browser()?;
        Ok(self.profile)
    }

    /// Stops all its processes, as a device that sleeps, until [`Browser::thaw`].
    ///
    /// # Errors
    ///
    /// Where the system does not let us.
    pub fn freeze(&self) -> Result<()> {
        self.driver.signal("STOP")
    }

    /// Lets all its processes go on.
    ///
    /// # Errors
    ///
    /// Where the system does not let us.
    pub fn thaw(&self) -> Result<()> {
        self.driver.signal("CONT")
    }

    pub(crate) async fn start(kind: BrowserKind) -> Result<Self> {
        Self::start_with(kind, Profile(tempfile::tempdir()?), &[]).await
    }

    /// A Chromium that tells its peers its addresses in numbers.
    pub(crate) async fn start_open() -> Result<Self> {
        let profile = Profile(tempfile::tempdir()?);
        Self::start_with(BrowserKind::Chromium, profile, &[NUMBERS]).await
    }

    /// Arguments beside those that all have are for Chromium.
    pub(crate) async fn start_with(
        kind: BrowserKind,
        profile: Profile,
        more: &[&str],
    ) -> Result<Self> {
        Self::start_by(kind.driver(None).await?, kind, profile, more).await
    }

    /// A Chromium process of another host.
    ///
    /// # Errors
    ///
    /// What keeps the browser or its driver from starting.
    pub async fn start_at(host: &Host) -> Result<Self> {
        let (kind, profile) = (BrowserKind::Chromium, Profile(tempfile::tempdir()?));
        Self::start_by(kind.driver(Some(host)).await?, kind, profile, &[]).await
    }

    async fn start_by(
        mut driver: Driver,
        kind: BrowserKind,
        profile: Profile,
        more: &[&str],
    ) -> Result<Self> {
        let session = driver.session(kind.capabilities(&profile.0, more)).await?;
        let first = handle(&session.get("/window").await?)?;
        let windows = Windows {
            session,
            state: Mutex::new(State {
                current: first.clone(),
                unused: Some(first),
            }),
        };
        Ok(Self {
            kind,
            windows: Arc::new(windows),
            driver,
            profile,
        })
    }

    /// Which browser it is.
    pub fn kind(&self) -> BrowserKind {
        self.kind
    }

    /// Opens an address in a window of its own: a tab behind another one would count as hidden.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub async fn tab(&self, url: &str) -> Result<Tab> {
        let mut state = self.windows.state.lock().await;
        let handle = match state.unused.take() {
            Some(handle) => handle,
            None => {
                let answer = self
                    .windows
                    .session
                    .post("/window/new", json!({ "type": "window" }))
                    .await?;
                handle(&answer["handle"])?
            }
        };
        drop(state);
        let tab = Tab::new(Arc::clone(&self.windows), handle, self.kind);
        tab.goto(url).await?;
        Ok(tab)
    }
}

/// A session looks at one window at a time; every command says which.
pub(crate) struct Windows {
    session: Session,
    state: Mutex<State>,
}

/// Which window is looked at, and the one that a browser starts with until it is used.
#[derive(Debug)]
pub(crate) struct State {
    current: String,
    unused: Option<String>,
}

impl Windows {
    /// The session, looking at this window, until the guard is dropped.
    pub(crate) async fn at(&self, window: &str) -> Result<(&Session, MutexGuard<'_, State>)> {
        let mut state = self.state.lock().await;
        if state.current != window {
            self.session
                .post("/window", json!({ "handle": window }))
                .await?;
            window.clone_into(&mut state.current);
        }
        Ok((&self.session, state))
    }
}

fn handle(value: &Value) -> Result<String> {
    Ok(value.as_str().context("a window has a handle")?.to_owned())
}

//! Finds what is needed, installs it where that is possible with ordinary package clients, and says what is missing with
//! the command that would bring it. Running it again changes nothing.

use crate::process::{cargo, find, root, run};
use crate::wasm_toolchain::{self, WasmToolchain};
use crate::{apt, axe, browsers};
use anyhow::{Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};

/// What the tools are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A browser and the wasm target.
    Demo,
    /// Also the browsers' drivers, a second browser, and a software GPU.
    Test,
}

/// What there is. Only what the purpose cannot do without is certain to be there.
pub(crate) struct Tools {
    pub(crate) wasm: WasmToolchain,
    pub(crate) chrome: PathBuf,
    pub(crate) chromedriver: Option<PathBuf>,
    pub(crate) firefox: Option<PathBuf>,
    pub(crate) geckodriver: Option<PathBuf>,
    pub(crate) lavapipe: Option<PathBuf>,
}

/// geckodriver is not in Debian, but it is a crate.
const GECKODRIVER_VERSION: &str = "0.37.0";

/// Where tools are built: out of the way of `cargo clean -p` and of other features and flags.
pub(crate) fn tools_folder() -> PathBuf {
    root().join("target/tools")
}

/// Finds or installs everything.
pub(crate) fn setup(purpose: Purpose) -> Result<Tools> {
    let wasm = wasm_toolchain::ready()?;
    if apt::is_debian() {
        let packages = debian_packages(purpose);
        if !packages.is_empty() {
            eprintln!("installing {}", packages.join(", "));
            apt::install(&packages)?;
        }
    }
    let Some(chrome) = browsers::chrome() else {
        bail!("{}", NO_CHROME.trim())
    };
    let mut tools = Tools {
        wasm,
        chrome,
        chromedriver: browsers::chromedriver(),
        firefox: browsers::firefox(),
        geckodriver: browsers::geckodriver(&tools_folder()),
        lavapipe: browsers::lavapipe(),
    };
    if purpose == Purpose::Test {
        tools.prepare_for_tests()?;
    }
    Ok(tools)
}

fn debian_packages(purpose: Purpose) -> Vec<&'static str> {
    let mut packages = Vec::new();
    if browsers::chrome().is_none() {
        packages.push("chromium");
    }
    if purpose == Purpose::Demo {
        return packages;
    }
    if browsers::chromedriver().is_none() {
        packages.push("chromium-driver");
    }
    if browsers::firefox().is_none() {
        packages.push("firefox-esr");
    }
    if browsers::lavapipe().is_none() {
        packages.extend(["mesa-vulkan-drivers", "libvulkan1"]);
    }
    if find("ip").is_none() {
        packages.push("iproute2");
    }
    // Its package starts a server where the system starts services; there it is left to the user, and its test skipped.
    if find("turnserver").is_none() && !Path::new("/run/systemd/system").exists() {
        packages.push("coturn");
    }
    packages
}

impl Tools {
    fn prepare_for_tests(&mut self) -> Result<()> {
        let Some(driver) = &self.chromedriver else {
            bail!("{}", NO_CHROMEDRIVER.trim())
        };
        let versions = (
            browsers::major_version(&self.chrome),
            browsers::major_version(driver),
        );
        if let (Some(browser), Some(driver)) = versions
            && browser != driver
        {
            bail!(
                "the browser is version {browser} and its driver version {driver}: they have to agree"
            );
        }
        if self.firefox.is_some() && self.geckodriver.is_none() {
            eprintln!("building geckodriver, once, about two minutes");
            let version = GECKODRIVER_VERSION;
            let mut command = cargo();
            command
                .args([
                    "install",
                    "--locked",
                    "geckodriver",
                    "--version",
                    version,
                    "--root",
                ])
                .arg(tools_folder());
            if let Err(error) = run(&mut command) {
                eprintln!("{error}: the tests with Firefox will be skipped");
            }
            self.geckodriver = browsers::geckodriver(&tools_folder());
        }
        if let Err(error) = axe::fetch() {
            eprintln!("{error}: the test of accessibility will be skipped");
        }
        Ok(())
    }

    /// Tells programs below us what was found. What the user has set already is the same.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let optional = [
            ("CHROMEDRIVER", &self.chromedriver),
            ("FIREFOX", &self.firefox),
            ("GECKODRIVER", &self.geckodriver),
        ];
        let found = optional
            .into_iter()
            .filter_map(|(name, path)| Some((name, path.clone()?)));
        std::iter::once(("CHROME", self.chrome.clone()))
            .chain(found)
            .collect()
    }
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &Option<PathBuf>, missing: &str| {
            path.as_ref()
                .map_or_else(|| missing.to_owned(), |path| path.display().to_string())
        };
        writeln!(f, "wasm          {}", self.wasm)?;
        writeln!(f, "browser       {}", self.chrome.display())?;
        writeln!(
            f,
            "its driver    {}",
            shown(&self.chromedriver, "missing: no tests in a browser")
        )?;
        writeln!(
            f,
            "Firefox       {}",
            shown(&self.firefox, "missing: no tests with two kinds of browser")
        )?;
        writeln!(
            f,
            "its driver    {}",
            shown(
                &self.geckodriver,
                "missing: no tests with two kinds of browser"
            )
        )?;
        write!(
            f,
            "software GPU  {}",
            shown(
                &self.lavapipe,
                "missing: kernels are tested on a real GPU, if at all"
            )
        )
    }
}

const NO_CHROME: &str = r"
no Chromium, Chrome or Edge was found. Install one, or name it: CHROME=/path/to/chrome cargo xtask ...
  Debian    apt-get install chromium
  Fedora    dnf install chromium chromedriver
  Arch      pacman -S chromium
  macOS     brew install --cask google-chrome
  Windows   winget install Google.Chrome
  Ubuntu    its `chromium` is a snap, of no use here: install Google's package";

const NO_CHROMEDRIVER: &str = r"
no ChromeDriver was found, and the tests in browsers need the one of the browser's version. Install it, or name it:
CHROMEDRIVER=/path/to/chromedriver cargo xtask ...
  Debian    apt-get install chromium-driver
  Fedora    dnf install chromedriver
  Arch      part of the package chromium
  macOS     brew install --cask chromedriver
  Windows   winget install Chromium.ChromeDriver";

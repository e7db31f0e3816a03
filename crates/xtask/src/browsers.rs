//! Finding browsers, their drivers and a software Vulkan driver among what is installed.

use crate::process::{find, output};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CHROME_NAMES: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "microsoft-edge-stable",
    "microsoft-edge",
];

const CHROME_PLACES: [&str; 6] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
];

const FIREFOX_PLACES: [&str; 2] = [
    "/Applications/Firefox.app/Contents/MacOS/firefox",
    r"C:\Program Files\Mozilla Firefox\firefox.exe",
];

/// Chromium, Chrome or Edge; `CHROME` wins.
pub(crate) fn chrome() -> Option<PathBuf> {
    named("CHROME").or_else(|| installed(&CHROME_NAMES, &CHROME_PLACES))
}

/// The driver for [`chrome`]; `CHROMEDRIVER` wins.
pub(crate) fn chromedriver() -> Option<PathBuf> {
    named("CHROMEDRIVER").or_else(|| {
        installed(
            &["chromedriver", "msedgedriver"],
            &["/usr/lib/chromium/chromedriver"],
        )
    })
}

/// Firefox; `FIREFOX` wins.
pub(crate) fn firefox() -> Option<PathBuf> {
    named("FIREFOX").or_else(|| installed(&["firefox-esr", "firefox"], &FIREFOX_PLACES))
}

/// The driver for [`firefox`], in `PATH` or where set-up builds it; `GECKODRIVER` wins.
pub(crate) fn geckodriver(tools: &Path) -> Option<PathBuf> {
    let built = tools
        .join("bin")
        .join(format!("geckodriver{}", std::env::consts::EXE_SUFFIX));
    named("GECKODRIVER")
        .or_else(|| find("geckodriver"))
        .or_else(|| built.is_file().then_some(built))
}

/// The manifest of Mesa's software Vulkan driver, where the loader is there as well.
pub(crate) fn lavapipe() -> Option<PathBuf> {
    let entries = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let is_lavapipe = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with("lvp_icd") && name.ends_with(".json")
    };
    entries
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(is_lavapipe)
}

/// The major version of a browser or a driver; they have to agree.
pub(crate) fn major_version(program: &Path) -> Option<u32> {
    let text = output(Command::new(program).arg("--version")).ok()?;
    text.split_whitespace()
        .filter_map(|word| word.split_once('.'))
        .find_map(|(major, _)| major.parse().ok())
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

fn installed(names: &[&str], places: &[&str]) -> Option<PathBuf> {
    let in_path = names
        .iter()
        .filter_map(|name| find(name))
        .find(|path| !is_snap(path));
    in_path.or_else(|| places.iter().map(PathBuf::from).find(|path| path.is_file()))
}

/// A snap cannot read profiles below `/tmp` and does not start in containers.
fn is_snap(program: &Path) -> bool {
    let links_to_snap = fs::canonicalize(program)
        .is_ok_and(|path| path.starts_with("/snap") || path.ends_with("snap"));
    // Ubuntu's wrapper is a short shell script; a browser's own launcher never speaks of /snap/.
    let small = fs::metadata(program).is_ok_and(|file| file.len() < 64 * 1024);
    links_to_snap || small && fs::read_to_string(program).is_ok_and(|text| text.contains("/snap/"))
}

//! Which browser to use. Only Chromium and its kin: the demo opens tabs over their DevTools protocol.

use crate::exit::Failure;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Programs looked for in `PATH`, in this order.
const NAMES: [&str; 8] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
    "microsoft-edge-stable",
    "microsoft-edge",
    "msedge",
];

/// Where installers put them without telling `PATH`.
const PLACES: [&str; 7] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    r"C:\Program Files\Microsoft\Edge\Application\msedge.exe",
];

/// The browser to use: the one that `CHROME` names, else an installed one.
pub(crate) fn find() -> Result<PathBuf, Failure> {
    let named = std::env::var_os("CHROME").filter(|path| !path.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(named.as_deref(), &path, &PLACES)
}

fn find_in(named: Option<&OsStr>, path: &OsStr, places: &[&str]) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        let found = if Path::new(named).components().count() > 1 {
            Some(PathBuf::from(named)).filter(|path| path.is_file())
        } else {
            in_path(&named.to_string_lossy(), path)
        };
        let missing = || {
            Failure::Missing(format!(
                "CHROME names {named:?}, and there is no such program"
            ))
        };
        return found.ok_or_else(missing);
    }
    let installed = NAMES
        .iter()
        .filter_map(|name| in_path(name, path))
        .find(|path| !is_snap(path));
    let placed = || places.iter().map(PathBuf::from).find(|path| path.is_file());
    installed.or_else(placed).ok_or_else(|| {
        let advice = install_advice();
        Failure::Missing(format!(
            "there is no Chromium, Chrome or Edge here. {advice}; or name one with CHROME=PATH"
        ))
    })
}

fn in_path(name: &str, path: &OsStr) -> Option<PathBuf> {
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(path)
        .map(|folder| folder.join(&name))
        .find(|file| file.is_file())
}

/// A snap cannot read profiles below `/tmp`, and its wrapper script does not start at all in containers.
fn is_snap(program: &Path) -> bool {
    let target = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    if target.starts_with("/snap") || target.ends_with("snap") {
        return true;
    }
    // The wrapper is a short script; a real browser, or its launcher, never names /snap/.
    let short = std::fs::metadata(program).is_ok_and(|file| file.len() < 64 * 1024);
    short && std::fs::read_to_string(program).is_ok_and(|text| text.contains("/snap/"))
}

fn install_advice() -> &'static str {
    if cfg!(target_os = "macos") {
        "Install one with `brew install --cask google-chrome`"
    } else if cfg!(windows) {
        "Install one with `winget install Google.Chrome`"
    } else if Path::new("/etc/fedora-release").exists() {
        "Install it with `sudo dnf install chromium`"
    } else if Path::new("/etc/arch-release").exists() {
        "Install it with `sudo pacman -S chromium`"
    } else if std::fs::read_to_string("/etc/os-release")
        .is_ok_and(|text| text.contains("ID=ubuntu"))
    {
        "Ubuntu's own chromium is a snap, which cannot be used: install Google Chrome from https://www.google.com/chrome"
    } else {
        "Install it with `sudo apt-get install chromium`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder_with(name: &str, text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        fs::write(folder.path().join(name), text).expect("written");
        folder
    }

    #[test]
    fn the_named_browser_wins_and_a_wrong_name_is_said() {
        let folder = folder_with("chromium", "a browser");
        let other = folder_with("my-browser", "another");
        let named = other
            .path()
            .join(format!("my-browser{}", std::env::consts::EXE_SUFFIX));
        let path = folder.path().as_os_str();
        assert_eq!(
            find_in(Some(named.as_os_str()), path, &[]).expect("found"),
            named
        );
        let missing =
            find_in(Some(OsStr::new("/no/such/browser")), path, &[]).expect_err("missing");
        assert!(
            missing.to_string().contains("/no/such/browser"),
            "{missing}"
        );
        assert!(
            find_in(Some(OsStr::new("chromium")), path, &[]).is_ok(),
            "a bare name is looked up"
        );
    }

    #[test]
    fn a_browser_is_found_in_the_path_or_in_a_usual_place() {
        let folder = folder_with("google-chrome", "a browser");
        let place = folder
            .path()
            .join(format!("google-chrome{}", std::env::consts::EXE_SUFFIX));
        assert_eq!(
            find_in(None, folder.path().as_os_str(), &[]).expect("found"),
            place
        );
        let text = place.to_string_lossy().into_owned();
        assert_eq!(
            find_in(None, OsStr::new(""), &[&text]).expect("found"),
            place
        );
    }

    #[test]
    fn a_missing_browser_is_said_with_the_command_that_installs_it() {
        let words = find_in(None, OsStr::new(""), &[])
            .expect_err("missing")
            .to_string();
        assert!(
            words.contains("nstall") && words.contains("CHROME="),
            "{words}"
        );
    }

    #[test]
    fn the_wrapper_of_a_snap_is_passed_over() {
        let folder = folder_with(
            "chromium-browser",
            "#!/bin/sh\nexec /snap/bin/chromium \"$@\"\n",
        );
        assert!(find_in(None, folder.path().as_os_str(), &[]).is_err());
    }
}

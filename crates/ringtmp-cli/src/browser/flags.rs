//! With which flags the browser is started.

use ringtmp_peer::ExecutorChoice;
use ringtmp_transport::native::AccessLink;
use std::ffi::OsString;
use std::path::Path;

/// With windows or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Headed,
    Headless,
}

/// What decides the flags.
#[derive(Clone, Debug)]
pub(crate) struct Looks {
    pub(crate) show: Show,
    pub(crate) executor: ExecutorChoice,
    /// Whether the system has a GPU that Chromium could use.
    pub(crate) has_gpu: bool,
    /// Whether we are root: Chromium's sandbox refuses to work for root.
    pub(crate) is_root: bool,
    /// Behind which each tab is: its page and its data channels.
    pub(crate) access_link: Option<AccessLink>,
    /// Flags that the user adds.
    pub(crate) more: Vec<String>,
}

impl Looks {
    /// As this system needs it. `CHROME_FLAGS` adds flags.
    pub(crate) fn here(show: Show, executor: ExecutorChoice) -> Self {
        let more = std::env::var("CHROME_FLAGS").unwrap_or_default();
        Self {
            show,
            executor,
            has_gpu: has_gpu(),
            is_root: is_root(),
            access_link: None,
            more: more.split_whitespace().map(str::to_owned).collect(),
        }
    }
}

impl Show {
    /// Windows where there is somewhere to show them.
    pub(crate) fn where_possible() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let display = !cfg!(target_os = "linux") || set("DISPLAY") || set("WAYLAND_DISPLAY");
        if display && !set("CI") {
            Self::Headed
        } else {
            Self::Headless
        }
    }
}

/// Flags for a browser that belongs to us alone: nothing is looked up or updated in the background, and tabs that are not
/// in front are not slowed down.
const ALWAYS: [&str; 12] = [
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--password-store=basic",
    "--use-mock-keychain",
];

/// The flags for a browser that looks so, with its profile in this folder.
pub(crate) fn flags(looks: &Looks, profile: &Path) -> Vec<OsString> {
    let mut user_data = OsString::from("--user-data-dir=");
    user_data.push(profile);
    let mut flags = vec![user_data];
    let mut add = |flag: &str| flags.push(flag.into());
    ALWAYS.into_iter().for_each(&mut add);
    if looks.show == Show::Headless {
        add("--headless=new");
    }
    if looks.is_root {
        add("--no-sandbox");
    }
    if cfg!(target_os = "linux") {
        // WebGPU is behind a flag for some drivers here.
        add("--enable-unsafe-webgpu");
        match looks.executor {
            ExecutorChoice::Cpu => {}
            ExecutorChoice::Auto | ExecutorChoice::Gpu if looks.has_gpu => {
                add("--enable-features=Vulkan");
            }
            // The user wants the GPU's path and there is none: emulate one. `auto` would not use an emulated one.
            ExecutorChoice::Gpu => add("--use-webgpu-adapter=swiftshader"),
            ExecutorChoice::Auto => {}
        }
    }
    looks.more.iter().map(String::as_str).for_each(&mut add);
    flags
}

/// Whether there is a GPU; only asked on Linux, elsewhere every browser finds its own.
fn has_gpu() -> bool {
    let nodes = std::fs::read_dir("/dev/dri")
        .into_iter()
        .flatten()
        .flatten();
    let render_node = |name: &str| name.starts_with("renderD");
    !cfg!(target_os = "linux")
        || nodes
            .into_iter()
            .any(|node| node.file_name().to_str().is_some_and(render_node))
        || Path::new("/dev/nvidia0").exists()
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(looks: &Looks, flag: &str) -> bool {
        flags(looks, Path::new("profile"))
            .iter()
            .any(|other| other == flag)
    }

    fn looks() -> Looks {
        Looks {
            show: Show::Headless,
            executor: ExecutorChoice::Auto,
            has_gpu: false,
            is_root: false,
            access_link: None,
            more: Vec::new(),
        }
    }

    #[test]
    fn the_sandbox_stays_on_except_for_root() {
        assert!(!has(&looks(), "--no-sandbox"));
        assert!(has(
            &Looks {
                is_root: true,
                ..looks()
            },
            "--no-sandbox"
        ));
        let more = vec!["--no-sandbox".to_owned()];
        assert!(
            has(&Looks { more, ..looks() }, "--no-sandbox"),
            "the user may decide otherwise"
        );
    }

    #[test]
    fn the_profile_is_our_own_and_windows_are_as_asked() {
        assert!(has(&looks(), "--user-data-dir=profile"));
        assert!(has(&looks(), "--headless=new"));
        let headed = Looks {
            show: Show::Headed,
            ..looks()
        };
        assert!(!has(&headed, "--headless=new"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_gpu_is_only_emulated_where_one_is_asked_for_and_there_is_none() {
        const EMULATED: &str = "--use-webgpu-adapter=swiftshader";
        let gpu = Looks {
            executor: ExecutorChoice::Gpu,
            ..looks()
        };
        assert!(has(&gpu, EMULATED));
        assert!(!has(&looks(), EMULATED));
        assert!(!has(
            &Looks {
                has_gpu: true,
                ..gpu
            },
            EMULATED
        ));
    }
}

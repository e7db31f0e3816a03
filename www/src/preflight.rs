//! What a visitor sees before joining: what will run, on whose data and with whom, and what this device can do, in words.

use crate::{format, words};
use ringtmp_core::signal::Role;
use ringtmp_peer::{DataSource, View};

/// The most names that are told one by one: as many as a line holds.
const NAMES_MAX: usize = 4;

/// What the browser has said so far; none where it has not yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The GPU.
    pub adapter: Option<Adapter>,
    /// Whether the training part of the page has started.
    pub worker: bool,
    /// The page's own storage: bytes that may still be written, where the browser tells.
    pub storage: Option<Result<Option<u64>, String>>,
    /// Whether the page came over HTTPS, or from this computer.
    pub secure: bool,
    /// Whether the browser can keep the screen on.
    pub wake_lock: bool,
    /// Milliseconds until a link of this device with itself carried a message, or why it did not.
    pub link: Option<Result<f64, String>>,
}

/// The GPU, without computing on it.
#[derive(Clone, Debug, PartialEq)]
pub enum Adapter {
    /// There is none for this page.
    None,
    /// One that the CPU plays.
    Software(Limits),
    /// A real one.
    Hardware(Limits),
}

/// What an adapter allows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// What it is, where the browser tells.
    pub name: String,
    /// Bytes of the largest buffer that a kernel can use.
    pub binding_bytes: u64,
    /// Threads of a work group.
    pub invocations: u32,
}

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// Not known yet.
    Asking,
    /// As it should be.
    Ready,
    /// It goes on without.
    Without,
    /// It will not do.
    Fails,
}

impl Grade {
    /// Its name for style sheets.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::Ready => "ready",
            Self::Without => "without",
            Self::Fails => "fails",
        }
    }

    /// Its name for people: a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Asking => words::GRADE_ASKING.now(),
            Self::Ready => words::GRADE_READY.now(),
            Self::Without => words::GRADE_WITHOUT.now(),
            Self::Fails => words::GRADE_FAILS.now(),
        }
    }
}

/// A line of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is looked at.
    pub name: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What that means; may be empty.
    pub detail: String,
}

/// The list.
pub fn checks(found: &Findings) -> [Check; 5] {
    [
        adapter(found.adapter.as_ref()),
        Check {
            name: words::CHECK_WORKER.now(),
            grade: if found.worker {
                Grade::Ready
            } else {
                Grade::Asking
            },
            detail: String::new(),
        },
        storage(found.storage.as_ref()),
        screen(found),
        link(found.link.as_ref()),
    ]
}

fn adapter(adapter: Option<&Adapter>) -> Check {
    let limits = |limits: &Limits| {
        let bytes = format::bytes(limits.binding_bytes);
        let threads = format::count(u64::from(limits.invocations));
        words::adapter_limits(&limits.name, &bytes, &threads)
    };
    let (grade, detail) = match adapter {
        None => (Grade::Asking, String::new()),
        Some(Adapter::None) => (Grade::Without, words::ADAPTER_NONE.now().to_owned()),
        Some(Adapter::Software(of)) => {
            let software = words::ADAPTER_SOFTWARE.now();
            (Grade::Without, format!("{software} ({})", limits(of)))
        }
        Some(Adapter::Hardware(of)) => (Grade::Ready, limits(of)),
    };
    Check {
        name: words::CHECK_ADAPTER.now(),
        grade,
        detail,
    }
}

fn storage(storage: Option<&Result<Option<u64>, String>>) -> Check {
    let (grade, detail) = match storage {
        None => (Grade::Asking, String::new()),
        Some(Ok(Some(bytes))) => (Grade::Ready, words::storage_space(&format::bytes(*bytes))),
        Some(Ok(None)) => (Grade::Ready, String::new()),
        Some(Err(reason)) => (Grade::Without, words::storage_none(reason)),
    };
    Check {
        name: words::CHECK_STORAGE.now(),
        grade,
        detail,
    }
}

fn screen(found: &Findings) -> Check {
    let (grade, detail) = match (found.secure, found.wake_lock) {
        (true, true) => (Grade::Ready, words::SCREEN_CAN.now()),
        (true, false) => (Grade::Without, words::SCREEN_CANNOT.now()),
        (false, _) => (Grade::Without, words::SCREEN_INSECURE.now()),
    };
    Check {
        name: words::CHECK_SCREEN.now(),
        grade,
        detail: detail.to_owned(),
    }
}

fn link(link: Option<&Result<f64, String>>) -> Check {
    let (grade, detail) = match link {
        None => (Grade::Asking, String::new()),
        Some(Ok(milliseconds)) => {
            let took = format::local(&format!("{milliseconds:.0} ms"));
            (Grade::Ready, words::link_works(&took))
        }
        Some(Err(reason)) => (Grade::Fails, words::link_fails(reason)),
    };
    Check {
        name: words::CHECK_LINK.now(),
        grade,
        detail,
    }
}

/// What will run, on whose data, and with whom: a sentence each; nothing before the room is known.
pub fn story(view: &View) -> Vec<String> {
    let (Some(run), Some(room)) = (&view.run, &view.room) else {
        return Vec::new();
    };
    let source = match run.source {
        DataSource::One => words::PREFLIGHT_SOURCE_ONE,
        DataSource::Every => words::PREFLIGHT_SOURCE_EVERY,
    };
    let takes_part = |member: &&ringtmp_core::signal::MemberView| member.role == Role::Participant;
    let host = room
        .members
        .iter()
        .find(|member| room.host == Some(member.peer));
    let names: Vec<&str> = room
        .members
        .iter()
        .filter(takes_part)
        .map(|member| crate::shown::device_name(&member.device))
        .collect();
    let (told, more) = names.split_at(names.len().min(NAMES_MAX));
    let host = host.map(|host| crate::shown::device_name(&host.device));
    vec![
        crate::shown::run_line(run),
        source.now().to_owned(),
        words::with_whom(told, more.len(), host),
    ]
}

/// All of it as text, for whoever is asked why something does not work. It tells nothing of the room.
pub fn diagnostics(checks: &[Check], memory: u64, agent: &str) -> String {
    let line = |check: &Check| {
        let word = check.grade.word();
        match check.detail.is_empty() {
            true => format!("{}: {word}", check.name),
            false => format!("{}: {word}. {}", check.name, check.detail),
        }
    };
    let pledge = format!("{} {}", words::PLEDGE.now(), format::bytes(memory));
    let version = env!("CARGO_PKG_VERSION");
    let head = format!("{} {version}", words::PRODUCT.now());
    let lines = [head, agent.to_owned()].into_iter();
    let lines = lines.chain(checks.iter().map(line)).chain([pledge]);
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_well() -> Findings {
        Findings {
            adapter: Some(Adapter::Hardware(Limits {
                name: "apple".to_owned(),
                binding_bytes: 134_217_728,
                invocations: 256,
            })),
            worker: true,
            storage: Some(Ok(Some(12_000_000_000))),
            secure: true,
            wake_lock: true,
            link: Some(Ok(31.4)),
        }
    }

    #[test]
    fn a_device_that_lacks_nothing_is_ready_in_every_line() {
        let checks = checks(&all_well());
        assert!(checks.iter().all(|check| check.grade == Grade::Ready));
        for part in ["apple", "134 MB", "256"] {
            assert!(checks[0].detail.contains(part), "{}", checks[0].detail);
        }
        assert!(checks[4].detail.contains("31 ms"));
    }

    #[test]
    fn what_is_missing_is_named_and_only_a_dead_link_fails() {
        let grades = |found: &Findings| checks(found).map(|check| check.grade);
        assert_eq!(
            grades(&Findings::default()),
            [
                Grade::Asking,
                Grade::Asking,
                Grade::Asking,
                Grade::Without,
                Grade::Asking
            ]
        );
        let poor = Findings {
            adapter: Some(Adapter::None),
            storage: Some(Err("no".to_owned())),
            secure: false,
            link: Some(Err("no".to_owned())),
            ..all_well()
        };
        assert_eq!(
            grades(&poor),
            [
                Grade::Without,
                Grade::Ready,
                Grade::Without,
                Grade::Without,
                Grade::Fails
            ]
        );
    }

    #[test]
    fn diagnostics_have_a_line_for_each_check_and_the_browser() {
        let text = diagnostics(&checks(&all_well()), 512_000_000, "Mozilla/5.0");
        assert_eq!(text.lines().count(), 8, "{text}");
        for part in ["Mozilla/5.0", "512 MB", "apple"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

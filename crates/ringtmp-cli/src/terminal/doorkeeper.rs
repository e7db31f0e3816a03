//! Whom the terminal's user lets in that asks with the room's short code.

use crate::terminal::format::short;
use futures::channel::mpsc;
use ringtmp_core::ids::PeerId;
use ringtmp_peer::{AskView, Command, View};
use std::io::{BufRead, IsTerminal, stderr, stdin};
use std::sync::{Arc, Mutex, PoisonError};

/// Names of remote devices are cut to this.
const NAME_CHARS_MAX: usize = 40;

/// Whether a person is there, who reads what is written and can type.
pub(crate) fn is_there(quiet: bool) -> bool {
    !quiet && stdin().is_terminal() && stderr().is_terminal() && is_in_front()
}

/// A program in the background is stopped when it reads from its terminal.
#[cfg(unix)]
fn is_in_front() -> bool {
    rustix::termios::tcgetpgrp(stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
const fn is_in_front() -> bool {
    true
}

/// Asks about one device at a time.
#[derive(Debug, Default)]
pub(super) struct Doorkeeper {
    /// Who is asked about, and its name. Shared with who reads the answers.
    asked: Arc<Mutex<Option<Asked>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    asker: PeerId,
    name: String,
    /// Those that its screen shows if nobody stands between: typing them shows that somebody has looked.
    digits: String,
}

impl Doorkeeper {
    /// What is to be said, now that these ask.
    pub(super) fn see(&mut self, view: &View) -> Option<String> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |asked: &Asked| view.askers.iter().any(|it| it.asker == asked.asker);
        if let Some(gone) = asked.take_if(|asked| !waits(asked)) {
            return Some(format!("{} asks no longer.", gone.name));
        }
        if asked.is_some() {
            return None;
        }
        let mut askers = view.askers.iter();
        let (next, digits) = askers.find_map(|asker| Some((asker, asker.digits.as_ref()?)))?;
        let name = name(next);
        let question = format!(
            "{name} asks to be let in. If its screen shows {digits} as well, type these digits and Enter to let it in; n and Enter to turn it away."
        );
        *asked = Some(Asked {
            asker: next.asker,
            name,
            digits: only_digits(digits),
        });
        Some(question)
    }

    /// Reads answers from now on, on a thread of its own.
    pub(super) fn read(&self, mut commands: mpsc::Sender<Command>) {
        let asked = Arc::clone(&self.asked);
        let reads = move || {
            for line in stdin().lock().lines() {
                let Ok(line) = line else { break };
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(command) = answer(&mut asked, &line) else {
                    continue;
                };
                if commands
                    .try_send(command)
                    .is_err_and(|it| it.is_disconnected())
                {
                    break;
                }
            }
        };
        let started = std::thread::Builder::new()
            .name("doorkeeper".to_owned())
            .spawn(reads);
        if let Err(error) = started {
            tracing::warn!(%error, "nobody reads what is typed");
        }
    }
}

/// What a line decides: the digits of whoever is asked about, or no. Everything else decides nothing, so that no answer that was meant for
/// one lets in another.
fn answer(asked: &mut Option<Asked>, line: &str) -> Option<Command> {
    let digits = &asked.as_ref()?.digits;
    let allow = match line.trim().to_lowercase().as_str() {
        "n" | "no" => false,
        typed if !digits.is_empty() && only_digits(typed) == *digits => true,
        _ => return None,
    };
    let asker = asked.take()?.asker;
    Some(Command::Admit { asker, allow })
}

fn only_digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// A remote name, made fit for a terminal.
fn name(asker: &AskView) -> String {
    short(&asker.device.name, NAME_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::sample;
    use ringtmp_core::signal::Device;

    fn asks(asker: u64, digits: Option<&str>) -> AskView {
        AskView {
            asker: PeerId(asker),
            device: Device {
                name: "Ada's phone\u{1b}[2J".to_owned(),
                ..sample::training().room.expect("a room").members[0]
                    .device
                    .clone()
            },
            digits: digits.map(str::to_owned),
        }
    }

    fn view(askers: Vec<AskView>) -> View {
        View {
            askers,
            ..sample::training()
        }
    }

    #[test]
    fn one_is_asked_about_at_a_time_once_its_digits_are_known() {
        let mut keeper = Doorkeeper::default();
        assert_eq!(keeper.see(&view(Vec::new())), None);
        assert_eq!(keeper.see(&view(vec![asks(1, None)])), None);
        let both = view(vec![asks(1, Some("123 456")), asks(2, Some("777 000"))]);
        let question = keeper.see(&both).expect("a question");
        assert!(question.contains("Ada's phone") && question.contains("123 456"));
        assert!(!question.contains('\u{1b}'), "{question:?}");
        assert_eq!(keeper.see(&both), None, "once");
        let early = answer(&mut keeper.asked.lock().expect("free"), "777000");
        assert_eq!(early, None, "those of the other");
        let decided = answer(&mut keeper.asked.lock().expect("free"), " 123 456 ");
        let allowed = Command::Admit {
            asker: PeerId(1),
            allow: true,
        };
        assert_eq!(decided, Some(allowed));
        let other = view(vec![asks(2, Some("777 000"))]);
        assert!(keeper.see(&other).expect("the other").contains("777 000"));
        let gone = keeper.see(&view(Vec::new())).expect("it is told");
        assert!(gone.contains("no longer"));
    }

    #[test]
    fn only_the_digits_and_no_decide_and_only_about_somebody() {
        let ada = Asked {
            asker: PeerId(1),
            name: "Ada".to_owned(),
            digits: "123456".to_owned(),
        };
        let mut asked = Some(ada.clone());
        for nothing in ["", "y", "yes", "12345", "1234567", "\u{1b}"] {
            assert_eq!(answer(&mut asked, nothing), None);
            assert_eq!(asked, Some(ada.clone()));
        }
        let denied = Command::Admit {
            asker: PeerId(1),
            allow: false,
        };
        assert_eq!(answer(&mut asked, "no"), Some(denied));
        assert_eq!(answer(&mut asked, "123456"), None, "nobody asks");
    }
}

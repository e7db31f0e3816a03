//! The terminal's view of a room: [`lines`] turns a view into text, [`Screen`] draws it.

pub(crate) mod doorkeeper;
pub(crate) mod format;
#[cfg(unix)]
mod keys;
mod lines;
#[cfg(test)]
pub(crate) mod sample;

pub(crate) use lines::{participants, steps_done};

use crate::peer::Peer;
use doorkeeper::Doorkeeper;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringtmp_peer::{Notice, View};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Without a terminal, a line is written at most this often, and whenever the room's state changes.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// The table is as wide as this where the terminal does not say how wide it is.
const WIDTH_DEFAULT: u16 = 100;

/// Draws views on standard error: a table and a bar that move, or lines where it is no terminal.
pub(crate) struct Screen {
    drawing: Drawing,
    /// The newest notice that was shown, so that each is shown once.
    shown: Option<Notice>,
    last: Option<View>,
    /// Where somebody is there who says whom to let in.
    doorkeeper: Option<Doorkeeper>,
}

enum Drawing {
    None,
    Plain { state: String, at: Option<Instant> },
    Live(Live),
}

struct Live {
    #[cfg(unix)]
    _unechoed: keys::Unechoed,
    all: MultiProgress,
    table: ProgressBar,
    bar: ProgressBar,
}

impl Screen {
    /// Draws nothing where it shall be quiet.
    pub(crate) fn new(quiet: bool) -> Self {
        let drawing = if quiet {
            Drawing::None
        } else if std::io::stderr().is_terminal() {
            Drawing::Live(Live::new())
        } else {
            Drawing::Plain {
                state: String::new(),
                at: None,
            }
        };
        Self {
            drawing,
            shown: None,
            last: None,
            doorkeeper: None,
        }
    }

    /// Asks the user about those that want to be let in by a peer whose user decides that, and tells it what is answered.
    pub(crate) fn asks_for(&mut self, peer: &Peer) {
        if !peer.decides() {
            return;
        }
        // From now on, so that nothing that was typed before somebody asked is an answer.
        let doorkeeper = Doorkeeper::default();
        doorkeeper.read(peer.commands());
        self.doorkeeper = Some(doorkeeper);
    }

    /// Shows the view in place of the one before.
    pub(crate) fn show(&mut self, view: &View) {
        for notice in lines::new_notices(&view.notices, self.shown.as_ref()) {
            self.say(&lines::notice(notice));
        }
        self.shown = view.notices.last().cloned();
        self.ask(view);
        match &mut self.drawing {
            Drawing::None => {}
            Drawing::Plain { state, at } => {
                let now = lines::state(view);
                let due = at.is_none_or(|at| at.elapsed() >= PLAIN_INTERVAL);
                let moved = self
                    .last
                    .as_ref()
                    .is_none_or(|last| lines::moved(last, view));
                if *state != now || due && moved {
                    eprintln!("{}", lines::plain(view));
                    *state = now;
                    *at = Some(Instant::now());
                    self.last = Some(view.clone());
                }
            }
            Drawing::Live(live) => {
                live.draw(view);
                self.last = Some(view.clone());
            }
        }
    }

    fn ask(&mut self, view: &View) {
        let doorkeeper = self.doorkeeper.as_mut();
        if let Some(words) = doorkeeper.and_then(|it| it.see(view)) {
            self.say(&words);
        }
    }

    /// Writes a line above what moves.
    pub(crate) fn say(&self, text: &str) {
        match &self.drawing {
            Drawing::None => {}
            Drawing::Plain { .. } => eprintln!("{text}"),
            Drawing::Live(live) => live.all.suspend(|| eprintln!("{text}")),
        }
    }

    /// Writes a line to standard output, which may be the same terminal.
    pub(crate) fn print(&self, text: &str) {
        match &self.drawing {
            Drawing::None | Drawing::Plain { .. } => outln!("{text}"),
            Drawing::Live(live) => live.all.suspend(|| outln!("{text}")),
        }
    }

    /// Draws no more, and leaves the last view standing.
    pub(crate) fn leave(&mut self) {
        let drawing = std::mem::replace(&mut self.drawing, Drawing::None);
        if let Drawing::Live(live) = drawing {
            live.end();
            if let Some(view) = &self.last {
                eprintln!("{}\n{}", lines::screen(view, width()), lines::plain(view));
            }
        }
    }
}

impl Live {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        let table = all.add(ProgressBar::no_length());
        table.set_style(style("{msg}"));
        let bar = all.add(ProgressBar::no_length());
        bar.set_style(style("{spinner} {msg}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            #[cfg(unix)]
            _unechoed: keys::Unechoed::new(),
            all,
            table,
            bar,
        }
    }

    /// Removes what is drawn.
    fn end(&self) {
        self.bar.disable_steady_tick();
        if let Err(error) = self.all.clear() {
            tracing::debug!(%error, "the terminal cannot be cleared");
        }
        self.all.set_draw_target(ProgressDrawTarget::hidden());
    }

    fn draw(&self, view: &View) {
        self.table.set_message(lines::screen(view, width()));
        let Some(run) = &view.run else {
            self.bar.set_message(lines::state(view));
            return;
        };
        if self.bar.length().is_none() {
            self.bar.set_length(u64::from(run.steps));
            self.bar
                .set_style(style("{bar:20.cyan/dim} {pos}/{len}  {msg}"));
        }
        self.bar.set_position(u64::from(lines::steps_done(view)));
        let words = [lines::state(view), lines::figures(view)].join("  ");
        self.bar.set_message(words.trim_end().to_owned());
    }
}

/// Templates are our own, so one that cannot be read is a mistake here; the plain style stands in for it.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Columns of the terminal.
fn width() -> u16 {
    let terminal = comfy_table::Table::new().use_stderr().width();
    terminal.unwrap_or(WIDTH_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_read() {
        for template in [
            "{msg}",
            "{spinner} {msg}",
            "{bar:20.cyan/dim} {pos}/{len}  {msg}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}

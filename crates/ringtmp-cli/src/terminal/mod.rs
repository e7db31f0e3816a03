//! The terminal's view of a room: [`lines`] turns a view into text, [`Screen`] draws it.

pub(crate) mod format;
mod lines;
#[cfg(test)]
pub(crate) mod sample;

pub(crate) use lines::{participants, steps_done};

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
}

enum Drawing {
    None,
    Plain { state: String, at: Option<Instant> },
    Live(Live),
}

struct Live {
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
        }
    }

    /// Shows the view in place of the one before.
    pub(crate) fn show(&mut self, view: &View) {
        for notice in lines::new_notices(&view.notices, self.shown.as_ref()) {
            self.say(&lines::notice(notice));
        }
        self.shown = view.notices.last().cloned();
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
            Drawing::Live(live) => live.draw(view),
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

    /// Lets what is drawn stand and draws no more.
    pub(crate) fn leave(&self) {
        if let Drawing::Live(live) = &self.drawing {
            live.table.abandon();
            live.bar.abandon();
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
        Self { all, table, bar }
    }

    fn draw(&self, view: &View) {
        let width = console_width().unwrap_or(WIDTH_DEFAULT);
        self.table.set_message(lines::screen(view, width));
        let Some(run) = &view.run else {
            self.bar.set_message(lines::state(view));
            return;
        };
        if self.bar.length().is_none() {
            self.bar.set_length(u64::from(run.steps));
            self.bar
                .set_style(style("{bar:30.cyan/dim} {pos}/{len}  {msg}"));
        }
        self.bar.set_position(u64::from(lines::steps_done(view)));
        self.bar.set_message(lines::figures(view));
    }
}

/// Templates are our own, so one that cannot be read is a mistake here; the plain style stands in for it.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn console_width() -> Option<u16> {
    comfy_table::Table::new().use_stderr().width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_read() {
        for template in [
            "{msg}",
            "{spinner} {msg}",
            "{bar:30.cyan/dim} {pos}/{len}  {msg}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}

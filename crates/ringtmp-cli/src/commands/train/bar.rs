//! The progress of a run in one process, on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Without a terminal, a line is written at most this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// The bar is drawn at most so often a second.
const DRAWN_HZ: u8 = 5;

const TEMPLATE: &str = "{bar:20.cyan/dim} {pos}/{len}  {per_sec}  {msg}";

/// A bar where there is a terminal, lines where there is none, nothing where it shall be quiet.
pub(super) enum Bar {
    None,
    Plain { steps: u32, written: Instant },
    Live(ProgressBar),
}

impl Bar {
    pub(super) fn new(steps: u32, done: u32, quiet: bool) -> Self {
        if quiet {
            return Self::None;
        }
        if !std::io::stderr().is_terminal() {
            let written = Instant::now();
            return Self::Plain { steps, written };
        }
        let target = ProgressDrawTarget::stderr_with_hz(DRAWN_HZ);
        let bar = ProgressBar::with_draw_target(Some(u64::from(steps)), target);
        // The template is our own; the plain style would stand in for one that cannot be read.
        bar.set_style(
            ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_position(u64::from(done));
        bar.reset_eta();
        Self::Live(bar)
    }

    /// So many steps are done.
    pub(super) fn show(&mut self, done: u32, words: &str) {
        match self {
            Self::None => {}
            Self::Plain { steps, written } => {
                if written.elapsed() >= PLAIN_INTERVAL {
                    eprintln!("step {done} of {steps}  {words}");
                    *written = Instant::now();
                }
            }
            Self::Live(bar) => {
                bar.set_position(u64::from(done));
                bar.set_message(words.to_owned());
            }
        }
    }

    /// Removes what is drawn.
    pub(super) fn end(&self) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_can_be_read() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}

//! Keeps what is typed from being echoed into what is drawn: the echo moves the cursor, and the picture could not be removed.

use rustix::process::getpgrp;
use rustix::stdio::stderr;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// While it lives, nothing that is typed is echoed by the terminal of standard error.
pub(super) struct Unechoed {
    /// How the terminal was; none where it was left alone.
    before: Option<Termios>,
}

impl Unechoed {
    /// Leaves the terminal alone where it cannot be changed. A program in the background must not try: it would be
    /// stopped for it.
    pub(super) fn new() -> Self {
        let in_front = tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp());
        let before = in_front.then(|| tcgetattr(stderr()).ok()).flatten();
        if let Some(before) = &before {
            let mut changed = before.clone();
            changed
                .local_modes
                .remove(LocalModes::ECHOCTL | LocalModes::ECHO);
            set(&changed);
        }
        Self { before }
    }
}

impl Drop for Unechoed {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp())
        {
            set(before);
        }
    }
}

fn set(termios: &Termios) {
    if let Err(error) = tcsetattr(stderr(), OptionalActions::Now, termios) {
        tracing::debug!(%error, "the terminal cannot be set");
    }
}

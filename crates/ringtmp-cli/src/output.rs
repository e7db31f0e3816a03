//! Standard output: what another program may want to read. `println!` panics where that program has ended (`| head`); this ends
//! as well, without a word, as programs do that are ended by the signal which Rust ignores.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::exit;

/// Writes a line to standard output, as `println!` does.
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::output::line(format_args!($($text)*))
    };
}

/// Writes a line; ends the program where nobody reads it any more, or where it cannot be written.
pub(crate) fn line(text: Arguments<'_>) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        give_up(&error);
    }
}

/// Writes what was made as a whole; ends the program as [`line()`] does.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
        give_up(&error);
    }
}

/// Ends the program because standard output takes nothing: quietly where its reader has ended.
fn give_up(error: &io::Error) -> ! {
    if error.kind() == ErrorKind::BrokenPipe {
        exit(0);
    }
    eprintln!("error: cannot write to standard output: {error}");
    exit(1);
}

//! `ringtmp completions`: what a shell needs to complete this program's commands and options.

use crate::arguments::Arguments;
use crate::output;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes them to standard output.
pub(crate) fn run(completions: &Completions) {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(completions.shell, &mut command, name, &mut script);
    output::bytes(&script);
}

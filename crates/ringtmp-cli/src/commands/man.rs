//! `ringtmp man`: the manual, a page for the program and one for each of its commands, made of what `--help` says.

use crate::arguments::Arguments;
use crate::{files, output};
use anyhow::Result;
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct Man {
    /// Write the pages of the program and of all its commands into this folder, instead of the program's to standard output
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes the manual.
pub(crate) fn run(man: &Man) -> Result<()> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &man.dir else {
        output::bytes(&page(&command)?.1);
        return Ok(());
    };
    for (name, text) in pages(&command)? {
        files::replace(&folder.join(name), &text)?;
    }
    Ok(())
}

/// A page's file name and text.
type Named = (String, Vec<u8>);

/// The page of a command, and those of its own commands.
fn pages(command: &Command) -> Result<Vec<Named>> {
    let mut all = vec![page(command)?];
    for below in command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        all.extend(pages(below)?);
    }
    Ok(all)
}

fn page(command: &Command) -> Result<Named> {
    let page = Page::new(command.clone()).manual("RingTMP");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let after = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    let after = after.map(ToString::to_string).unwrap_or_default();
    sections(&after).to_writer(&mut text)?;
    Ok((page.get_filename(), text))
}

/// What follows the options in the help, which its headings name: examples keep their lines, all else are words with what they mean.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    let mut keeps_lines = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("  ") {
            None => {
                if keeps_lines {
                    roff.control("fi", []);
                }
                let heading = line.trim_end_matches(':').to_uppercase();
                keeps_lines = heading == "EXAMPLES";
                // As manuals call it.
                let heading = heading.replace("EXIT CODES", "EXIT STATUS");
                roff.control("SH", [heading.as_str()]);
                if keeps_lines {
                    roff.control("nf", []);
                }
            }
            Some(example) if keeps_lines => {
                roff.text([roman(example)]);
            }
            Some(entry) => {
                let (word, meaning) = entry.split_once("  ").unwrap_or((entry, ""));
                roff.control("TP", []);
                roff.text([bold(word.trim())]);
                roff.text([roman(meaning.trim())]);
            }
        }
    }
    if keeps_lines {
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options_and_examples() {
        let mut command = Arguments::command().disable_help_subcommand(true);
        command.build();
        let pages = pages(&command).expect("memory takes everything");
        let text = |name: &str| {
            let (_, text) = pages
                .iter()
                .find(|(page, _)| page == name)
                .unwrap_or_else(|| panic!("there is no {name}"));
            String::from_utf8(text.clone()).expect("UTF-8")
        };
        let whole = text("ringtmp.1");
        for part in [
            ".SH EXAMPLES",
            ".SH \"EXIT STATUS\"",
            ".SH ENVIRONMENT",
            "ringtmp\\-serve(1)",
            "\\fB130\\fR",
        ] {
            assert!(whole.contains(part), "{part} is not in\n{whole}");
        }
        let example =
            "\nringtmp demo \\-\\-tabs 2 \\-\\-natives 1     two tabs and a native process\n";
        assert!(whole.contains(example), "its line is kept:\n{whole}");
        let watch = text("ringtmp-watch.1");
        let count = |control| watch.lines().filter(|line| *line == control).count();
        assert_eq!((count(".nf"), count(".fi")), (1, 1), "{watch}");
        assert!(text("ringtmp-bench-ring.1").contains("peers"));
        assert!(text("ringtmp-energy-measure.1").contains("EXIT STATUS"));
        assert!(
            !pages.iter().any(|(name, _)| name.contains("guard")),
            "what is hidden has none"
        );
    }
}

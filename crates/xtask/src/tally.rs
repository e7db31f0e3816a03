//! Runs `cargo test`, showing what it prints and counting it: one closing line for many test programs, and a list of what
//! was skipped, so that a missing device is never mistaken for a passed test.

use crate::process::words;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// The most skipped tests that are listed; the rest are counted.
const SKIPS_SHOWN_MAX: usize = 50;

/// The most lines that are repeated of what failing tests printed: the first say what was wrong.
const FAILURE_LINES_MAX: usize = 60;

/// What test programs reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    /// Lines in which a test said that it could not run here.
    pub(crate) skips: Vec<String>,
    /// How many such lines there were.
    pub(crate) skipped: usize,
    /// What failing tests printed, to be repeated where it is found: at the end.
    pub(crate) failures: Vec<String>,
    /// Whether the lines that come are of failing tests.
    in_failures: bool,
    /// Whether they are of a backtrace, which is long and says little.
    in_backtrace: bool,
}

impl Tally {
    /// Runs a command and adds what it reports.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<()> {
        let words = words(command);
        eprintln!("$ {words}");
        (self.in_failures, self.in_backtrace) = (false, false);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{words}`"))?;
        let output = child.stdout.take().context("the child's output is piped")?;
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            std::io::stdout().write_all(&line)?;
            self.count(&String::from_utf8_lossy(&line));
            line.clear();
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("`{words}` failed ({status})");
        }
        Ok(())
    }

    /// Notes a stage, or a part of one, that cannot run here.
    pub(crate) fn skip(&mut self, why: &str) {
        let line = format!("SKIP: {why}");
        eprintln!("{line}");
        self.count(&line);
    }

    fn count(&mut self, line: &str) {
        let line = line.trim();
        self.in_failures = match line {
            "failures:" => {
                self.in_backtrace = false;
                true
            }
            "successes:" => false,
            other => self.in_failures && !other.starts_with("test result: "),
        };
        if line == "stack backtrace:" || line.starts_with("---- ") {
            self.in_backtrace = line == "stack backtrace:";
        }
        let is_told = self.in_failures && !self.in_backtrace && !matches!(line, "" | "failures:");
        if is_told && self.failures.len() < FAILURE_LINES_MAX {
            self.failures.push(line.to_owned());
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            // "ok. 3 passed; 0 failed; 1 ignored; ..."
            let mut words = result.split_whitespace().peekable();
            while let Some(word) = words.next() {
                let (Ok(number), Some(what)) = (word.parse::<u64>(), words.peek()) else {
                    continue;
                };
                match what.trim_end_matches(';') {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    _ => {}
                }
            }
        } else if line.starts_with("SKIP") && !self.skips.iter().any(|skip| skip == line) {
            self.skipped += 1;
            if self.skips.len() < SKIPS_SHOWN_MAX {
                self.skips.push(line.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_are_added_up() {
        let mut tally = Tally::default();
        tally.count("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s\n");
        tally.count(
            "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 filtered out; finished in 0.01s",
        );
        tally.count("running 12 tests");
        assert_eq!((tally.passed, tally.failed, tally.ignored), (5, 4, 1));
    }

    #[test]
    fn what_failing_tests_printed_is_kept_and_bounded() {
        let mut tally = Tally::default();
        let output = "successes:\n\n---- good stdout ----\nseed 1\n\nfailures:\n\n---- bad stdout ----\nError: 3 is not 4\nstack backtrace:\n   0: main\n\n\nfailures:\n    bad\n\ntest result: FAILED. 1 passed; 1 failed\nseed 2";
        output.lines().for_each(|line| tally.count(line));
        let kept = ["---- bad stdout ----", "Error: 3 is not 4", "bad"];
        assert_eq!(tally.failures, kept);
        tally.count("failures:");
        (0..1000).for_each(|i| tally.count(&format!("{i}")));
        assert_eq!(tally.failures.len(), FAILURE_LINES_MAX);
    }

    #[test]
    fn a_skip_is_listed_once_and_the_list_is_bounded() {
        let mut tally = Tally::default();
        tally.count("SKIP: no GPU\n");
        tally.count("  SKIP: no GPU\n");
        assert_eq!(tally.skips, ["SKIP: no GPU"]);
        (0..1000).for_each(|i| tally.count(&format!("SKIP: {i}")));
        assert_eq!((tally.skips.len(), tally.skipped), (SKIPS_SHOWN_MAX, 1001));
    }
}

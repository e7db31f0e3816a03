//! `cargo xtask COMMAND`: everything a clone needs between `git clone` and a running ring, without a build system of its
//! own. It calls cargo, rustup and (on Debian) apt, and nothing else fetches anything. It has one dependency, so that it
//! is built in a second or two; what is heavy lives in `xtask-wasm` and is built on demand.
//!
//! [`setup`] finds or installs the tools, [`page`] builds the tab's files into `dist/www`, [`stages`] is the test suite,
//! [`dist`] a release, [`book`] the documentation as a site.

mod apt;
mod axe;
mod book;
mod browsers;
mod dist;
mod page;
mod process;
mod setup;
mod stages;
mod tally;
mod wasm_toolchain;

use anyhow::{Result, bail};
use process::{cargo, root, run};
use setup::Purpose;
use std::fs;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup                  find or install what the demo and the tests need; does nothing when all is there
  build-wasm             build the page into dist/www
  demo [ARGUMENTS]       set up, build, and run `ringtmp demo ARGUMENTS`
  dist                   build a release with the page in it, with manual and completions, and pack it
  book                   build the documentation as a site into dist/book
  test [STAGE...]        set up and run the test suite, or only some of its stages
  wasm-test [FILTER]     only the tests that run in a browser tab, one crate after another
  bench-browser          how fast a tab trains: --executor gpu,cpu, --preset NAMES, --batch N, --products SIZES
  bench-links            what a link between two tabs carries, beside a bare data channel
  chaos [ARGUMENTS]      kill one of four tabs at a random moment: --rounds N, --seed N, --json FILE
  bench-motion           compare training with and without the ring's animation
  screenshots            write docs/images
  clean-tools            remove the tools that setup has built below target/

CHROME and CHROMEDRIVER name a browser and its driver where they are not found, FIREFOX and GECKODRIVER likewise.";

fn main() -> ExitCode {
    match command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In words alone: where in this program it was made says nothing about what went wrong.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match (command.as_str(), rest.as_slice()) {
        ("setup", []) => setup::setup(Purpose::Test).map(|tools| println!("{tools}")),
        ("build-wasm", []) => page::build(&wasm_toolchain::ready()?),
        ("dist", []) => dist::dist(&wasm_toolchain::ready()?),
        ("book", []) => book::build(),
        ("demo", arguments) => demo(arguments),
        ("test", names) => stages::test(names),
        ("wasm-test", filter) if filter.len() <= 1 => {
            stages::wasm_test(&setup::setup(Purpose::Test)?, filter)
        }
        ("bench-links", []) => with_tabs("links", &[]),
        ("bench-browser", arguments) => with_tabs("speed", arguments),
        ("bench-motion", []) => with_tabs("motion", &[]),
        ("chaos", arguments) => with_tabs("chaos", arguments),
        ("screenshots", []) => screenshots(),
        ("clean-tools", []) => clean_tools(),
        ("" | "help" | "-h" | "--help", _) => {
            println!(
                "{USAGE}\n\nstages of `test`: {}",
                stages::names().join(", ")
            );
            Ok(())
        }
        (other, _) => bail!(
            "cannot do `{}`\n\n{USAGE}",
            [&[other.to_owned()], rest.as_slice()].concat().join(" ")
        ),
    }
}

/// Builds what the demo needs and becomes it: cargo replaces itself with the program, so Ctrl-C reaches it directly.
fn demo(arguments: &[String]) -> Result<()> {
    let tools = setup::setup(Purpose::Demo)?;
    page::build(&tools.wasm)?;
    let mut command = cargo();
    command
        .args(["run", "--quiet", "--package", "ringtmp-cli", "--", "demo"])
        .args(arguments);
    process::replace(command.envs(tools.environment()))
}

/// Builds what tabs need, and runs a program of the tests that opens some.
fn with_tabs(program: &str, arguments: &[String]) -> Result<()> {
    let tools = setup::setup(Purpose::Test)?;
    page::build(&tools.wasm)?;
    let mut command = cargo();
    command
        .args(["run", "--quiet", "--package", "ringtmp-tests"])
        .args(["--bin", program, "--"])
        .args(arguments);
    run(command.envs(tools.environment()))
}

fn screenshots() -> Result<()> {
    let tools = setup::setup(Purpose::Test)?;
    page::build(&tools.wasm)?;
    let folder = root().join("docs/images");
    fs::create_dir_all(&folder)?;
    // The picture of a terminal shows what the real program prints.
    run(cargo().args(["build", "--package", "ringtmp-cli"]))?;
    let mut command = cargo();
    command
        .args([
            "run",
            "--quiet",
            "--package",
            "ringtmp-tests",
            "--bin",
            "screenshots",
            "--",
        ])
        .arg(folder);
    run(command.envs(tools.environment()))
}

fn clean_tools() -> Result<()> {
    for folder in [setup::tools_folder(), wasm_toolchain::folder()] {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
            println!("removed {}", folder.display());
        }
    }
    Ok(())
}

//! The test suite, stage by stage, cheap ones first. It stops at the first that fails.
//!
//! Every native stage names the same packages, so that cargo resolves the same features and builds each dependency once;
//! `xtask-wasm` is left out because nothing but this program uses it and it has a target folder of its own.

use crate::page;
use crate::process::{cargo, run};
use crate::setup::{Purpose, Tools, setup, tools_folder};
use crate::tally::Tally;
use crate::wasm_toolchain::{TARGET, WasmToolchain};
use anyhow::{Context, Result, bail};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

const NATIVE: [&str; 3] = ["--workspace", "--exclude", "xtask-wasm"];

/// Crates that are also built for the tab.
const WASM_CRATES: [&str; 6] = [
    "ringtmp-core",
    "ringtmp-compute",
    "ringtmp-data",
    "ringtmp-transport",
    "ringtmp-peer",
    "ringtmp-www",
];

/// Crates with tests that run in a tab.
const WASM_TESTED_CRATES: [&str; 3] = ["ringtmp-compute", "ringtmp-data", "ringtmp-transport"];

/// Seconds that one test program may take in a tab: kernels are compiled and run on a software GPU.
const WASM_TEST_TIMEOUT_S: &str = "600";

/// Chromium with WebGPU on SwiftShader, which it has built in, and without what it does behind one's back.
const CHROME_ARGUMENTS: [&str; 8] = [
    "headless=new",
    "enable-unsafe-webgpu",
    "use-webgpu-adapter=swiftshader",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
];

struct Stage {
    name: &'static str,
    run: fn(&Tools, &mut Tally) -> Result<()>,
}

const STAGES: [Stage; 9] = [
    Stage {
        name: "fmt",
        run: |_, _| run(cargo().args(["fmt", "--all", "--check"])),
    },
    Stage {
        name: "clippy",
        run: |_, _| clippy(),
    },
    Stage {
        name: "clippy-wasm",
        run: clippy_wasm,
    },
    Stage {
        name: "docs",
        run: |_, _| docs(),
    },
    Stage {
        name: "native",
        run: native,
    },
    Stage {
        name: "kernels",
        run: kernels,
    },
    Stage {
        name: "wasm",
        run: |tools, tally| wasm(tools, tally, &[]),
    },
    Stage {
        name: "embedded",
        run: embedded,
    },
    Stage {
        name: "browser",
        run: browser,
    },
];

/// The stages' names, in order.
pub(crate) fn names() -> Vec<&'static str> {
    STAGES.iter().map(|stage| stage.name).collect()
}

/// Runs the stages of these names, or all.
pub(crate) fn test(wanted: &[String]) -> Result<()> {
    if let Some(unknown) = wanted.iter().find(|name| !names().contains(&name.as_str())) {
        bail!(
            "there is no stage `{unknown}`; there are {}",
            names().join(", ")
        );
    }
    let start = Instant::now();
    let tools = setup(Purpose::Test)?;
    let mut lines = vec![line("setup", "ok", start.elapsed())];
    let mut tally = Tally::default();
    let mut failure = None;
    for stage in STAGES
        .iter()
        .filter(|stage| wanted.is_empty() || wanted.iter().any(|name| name == stage.name))
    {
        if failure.is_some() {
            lines.push(format!("{:<12} not run", stage.name));
            continue;
        }
        eprintln!("\n== {}", stage.name);
        let start = Instant::now();
        let result = (stage.run)(&tools, &mut tally);
        lines.push(line(
            stage.name,
            if result.is_ok() { "ok" } else { "FAILED" },
            start.elapsed(),
        ));
        failure = result.err().map(|error| (stage.name, error));
    }
    report(&lines, &tally, start.elapsed(), failure.is_some());
    match failure {
        None => Ok(()),
        Some((name, error)) => Err(error.context(format!(
            "stage `{name}` failed; alone: cargo xtask test {name}"
        ))),
    }
}

/// Only the tests in tabs, for work on them.
pub(crate) fn wasm_test(tools: &Tools, filter: &[String]) -> Result<()> {
    wasm(tools, &mut Tally::default(), filter)
}

fn line(name: &str, outcome: &str, elapsed: Duration) -> String {
    format!("{name:<12} {outcome:<7} {:>7.1} s", elapsed.as_secs_f64())
}

fn report(lines: &[String], tally: &Tally, elapsed: Duration, failed: bool) {
    println!("\n{}", lines.join("\n"));
    if tally.skipped > 0 {
        println!(
            "\n{} could not run here:\n{}",
            tally.skipped,
            tally.skips.join("\n")
        );
    }
    if !tally.failures.is_empty() {
        println!("\nof what failed:\n{}", tally.failures.join("\n"));
    }
    let outcome = if failed { "FAILED" } else { "ok" };
    let Tally {
        passed,
        failed,
        ignored,
        ..
    } = tally;
    let seconds = elapsed.as_secs_f64();
    println!(
        "\ntest result: {outcome}. {passed} passed; {failed} failed; {ignored} ignored; finished in {seconds:.1}s"
    );
}

/// With the tool around wasm-bindgen, which the other native stages leave out.
fn clippy() -> Result<()> {
    run(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Libraries of all crates for the tab, tests only where they run there: others need what does not build for it.
fn clippy_wasm(tools: &Tools, tally: &mut Tally) -> Result<()> {
    if tools.wasm != WasmToolchain::Default {
        tally.skip("Debian's compiler for browsers has no clippy: the tab's code was not linted");
        return Ok(());
    }
    let lint = |packages: &[&str], targets: &[&str]| {
        let mut command = tools.wasm.cargo();
        command.args(["clippy", "--target", TARGET, "--target-dir"]);
        command.arg(tools.wasm.target_folder()).args(targets);
        command.args(packages.iter().flat_map(|name| ["--package", name]));
        run(command.args(["--", "-D", "warnings"]))
    };
    lint(&WASM_CRATES, &["--lib"])?;
    lint(&WASM_TESTED_CRATES, &["--lib", "--tests"])
}

fn docs() -> Result<()> {
    let mut command = cargo();
    run(command
        .args(["doc", "--no-deps"])
        .args(NATIVE)
        .env("RUSTDOCFLAGS", "-D warnings"))
}

/// Unit tests, integration tests and examples in comments.
fn native(tools: &Tools, tally: &mut Tally) -> Result<()> {
    let mut command = cargo_test(tools);
    // The browser tests have a stage of their own, after the page is built.
    tally.run(
        command
            .env("RINGTMP_BROWSER_TESTS", "no")
            .args(["--", "--show-output"]),
    )
}

/// The kernels once more on Mesa's software GPU, whatever GPU the machine has.
fn kernels(tools: &Tools, tally: &mut Tally) -> Result<()> {
    let Some(manifest) = &tools.lavapipe else {
        tally.skip("no lavapipe (Mesa's software Vulkan driver): kernels were not tested on it");
        return Ok(());
    };
    let mut command = cargo_test(tools);
    command
        .env("VK_DRIVER_FILES", manifest)
        .args(["--test", "kernels", "--", "--show-output"]);
    tally.run(&mut command)
}

/// `wasm-bindgen-test` in a headless tab with WebGPU.
fn wasm(tools: &Tools, tally: &mut Tally, filter: &[String]) -> Result<()> {
    let runner = page::wasm_tools()?;
    let driver = tools
        .chromedriver
        .as_ref()
        .context("set-up has found a driver")?;
    let configuration = tools_folder().join("webdriver.json");
    // A Rust string literal of an ordinary path is a JSON one as well.
    let binary = format!("{:?}", tools.chrome.to_string_lossy());
    fs::write(
        &configuration,
        format!("{{\"goog:chromeOptions\":{{\"binary\":{binary},\"args\":{CHROME_ARGUMENTS:?}}}}}"),
    )?;

    let mut command = tools.wasm.cargo();
    command
        .args([
            "test",
            "--lib",
            "--tests",
            "--target",
            TARGET,
            "--target-dir",
        ])
        .arg(tools.wasm.target_folder());
    command.args(
        WASM_TESTED_CRATES
            .iter()
            .flat_map(|name| ["--package", name]),
    );
    command.arg("--").args(filter);
    command.env(
        "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER",
        format!("{} test-runner", runner.display()),
    );
    command
        .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", configuration)
        .env("CHROMEDRIVER", driver);
    command.env("WASM_BINDGEN_TEST_TIMEOUT", WASM_TEST_TIMEOUT_S);
    tally.run(&mut command)
}

/// The program with the page in it: a stage of its own, since the page has to be built first.
fn embedded(tools: &Tools, tally: &mut Tally) -> Result<()> {
    page::build(&tools.wasm)?;
    tally.run(cargo_test(tools).args([
        "--features",
        "ringtmp-cli/embedded-page",
        "--test",
        "embedded",
        "--",
        "--show-output",
    ]))
}

/// Whole rings of tabs.
fn browser(tools: &Tools, tally: &mut Tally) -> Result<()> {
    page::build(&tools.wasm)?;
    tally.run(cargo_test(tools).args(["--test", "browser", "--", "--show-output"]))
}

fn cargo_test(tools: &Tools) -> Command {
    let mut command = cargo();
    command.arg("test").args(NATIVE).envs(tools.environment());
    // A failed check says what is wrong in words; where an error value was made in the test's own code says nothing more.
    command.env("RUST_LIB_BACKTRACE", "0");
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Mesa complains at every start, and never puts anything there.
        command.env("XDG_RUNTIME_DIR", tools_folder());
    }
    command
}

//! `ringtmp energy`, on whatever machine this is: with meters or without.

#![cfg(unix)]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// Some hundredths of a second of one core.
const WORK: &str = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";

fn energy(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtmp"));
    command.arg("energy").args(arguments).env_remove("RUST_LOG");
    command.output().expect("the program starts")
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", words(bytes)))
}

/// The log of a plug that shows the same all the time, from a minute ago until in ten minutes.
fn steady_plug(path: &Path, watts: u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let rows = (now - 60..now + 600).map(|second| format!("{second},{watts}\n"));
    fs::write(path, format!("time,watts\n{}", rows.collect::<String>())).expect("written");
}

#[test]
fn every_meter_is_shown_or_explained() {
    let told = json(&energy(&["meters", "--json"]).stdout);
    let named = |list: &str, key: &str| -> Vec<String> {
        let all = told[list].as_array().expect("a list").iter();
        all.map(|one| one[key].as_str().expect("a name").to_owned())
            .collect()
    };
    let mut all = named("meters", "id");
    all.extend(named("unreadable", "meter"));
    for kind in ["nvidia", "battery"] {
        assert!(all.iter().any(|name| name.starts_with(kind)), "{told}");
    }
    let people = words(&energy(&["meters"]).stdout);
    for name in all {
        assert!(people.contains(&name), "{people}");
    }
}

#[test]
fn a_command_is_measured_and_its_failure_is_told_last() {
    let command = format!("echo spoken; {WORK}; exit 3");
    let line = [
        "measure",
        "--baseline",
        "0",
        "--samples",
        "10",
        "--json",
        "-",
    ];
    let output = energy(&[&line[..], &["--", "sh", "-c", &command]].concat());
    let err = words(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{err}");
    assert!(err.contains("exit status: 3"), "{err}");
    assert!(
        err.contains("spoken"),
        "it goes where the JSON does not: {err}"
    );
    assert!(err.contains("estimated"), "{err}");
    let report = json(&output.stdout);
    assert_eq!(report["ended"], "exit status: 3");
    let unmetered = report["measured"].is_null();
    let figure = &report["headline"]["figure"];
    if unmetered {
        assert!(report["not_measured_because"].is_string(), "{report}");
    } else {
        assert_eq!(figure, "measured_joules_per_sample");
    }
    if cfg!(target_os = "linux") {
        let seconds = report["cpu"]["core_seconds"].as_f64().expect("a number");
        assert!(seconds > 0.0, "{report}");
        if unmetered {
            assert_eq!(figure, "core_seconds_per_sample");
            let value = report["headline"]["value"].as_f64().expect("a number");
            assert!((value * 10.0 - seconds).abs() < 1e-9, "{report}");
        }
        let gross = &report["estimated"]["gross"];
        let bound = |key: &str| gross[key].as_f64().expect("a number");
        assert!(bound("estimated_joules_low") < bound("estimated_joules"));
        assert!(bound("estimated_joules") < bound("estimated_joules_high"));
    }
}

#[test]
fn an_external_meter_counts_while_the_command_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plug = folder.path().join("plug.csv");
    let out = folder.path().join("report.json");
    steady_plug(&plug, 40);
    let (plug, out) = (plug.to_str().expect("UTF-8"), out.to_str().expect("UTF-8"));
    let line = [
        "measure",
        "--baseline",
        "1",
        "--meter-csv",
        plug,
        "--json",
        out,
    ];
    let output = energy(&[&line[..], &["--", "sh", "-c", WORK]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", words(&output.stderr));
    let report = json(&fs::read(out).expect("the report"));
    let meters = report["meters"].as_array().expect("a list");
    let external = meters
        .iter()
        .find(|meter| meter["id"] == "external plug.csv");
    let run = &external.expect("the plug")["run"];
    let number = |value: &Value| value.as_f64().expect("a number");
    let expected = 40.0 * number(&report["wall_seconds"]);
    let joules = number(&run["measured_joules"]);
    // Both clocks may be slewed against each other.
    assert!(
        (joules / expected - 1.0).abs() < 0.01,
        "{joules} J, not {expected}"
    );
    let total = &report["measured"];
    if total["meters"][0] == "external plug.csv" {
        let net = number(&total["net"]["measured_joules"]);
        assert!(
            net.abs() < 0.01 * expected,
            "it drew no more than idle: {net}"
        );
        assert_eq!(total["whole_device"], true);
    }
}

#[test]
fn a_log_that_breaks_takes_nothing_else_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plug = folder.path().join("plug.csv");
    fs::write(&plug, "time,watts\n1,many\n").expect("written");
    let plug = plug.to_str().expect("UTF-8");
    let line = [
        "measure",
        "--baseline",
        "0",
        "--meter-csv",
        plug,
        "--json",
        "-",
    ];
    let output = energy(&[&line[..], &["--", "true"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", words(&output.stderr));
    let report = json(&output.stdout);
    let told = report["unreadable"].to_string();
    assert!(told.contains("line 2") && told.contains("many"), "{told}");
    assert!(report["wall_seconds"].is_number());
}

#[test]
fn ctrl_c_ends_the_command_and_what_was_measured_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("report.json");
    let mut measuring = Command::new(env!("CARGO_BIN_EXE_ringtmp"))
        .args(["energy", "measure", "--baseline", "0", "--json"])
        .arg(&out)
        .args(["--", "sh", "-c", "echo started; exec sleep 600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut said = BufReader::new(measuring.stdout.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it speaks");
    assert_eq!(line, "started\n");
    let id = i32::try_from(measuring.id()).expect("an id");
    let id = rustix::process::Pid::from_raw(id).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(measuring.wait().expect("it ends").code(), Some(130));
    // The command held the other end of this pipe.
    assert_eq!(said.read_line(&mut line).expect("closed"), 0);
    let report = json(&fs::read(out).expect("the report"));
    assert_eq!(report["ended"], "interrupted");
    assert!(report["wall_seconds"].is_number());
}

#[test]
fn what_cannot_work_is_said_before_the_command_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ran = folder.path().join("ran");
    let command = format!("touch {}", ran.display());
    let missing = folder.path().join("missing");
    let missing = missing.to_str().expect("UTF-8");
    for (wrong, said) in [
        (["--profile", "toaster"], "raspberry-pi-4"),
        (["--coefficients", missing], missing),
        (["--meter-csv", missing], "from before the run on"),
    ] {
        let output = energy(&[&["measure"], &wrong[..], &["--", "sh", "-c", &command]].concat());
        assert_eq!(output.status.code(), Some(1));
        let err = words(&output.stderr);
        assert!(err.contains(said), "{err}");
    }
    assert!(!ran.exists());
}

#[test]
fn coefficients_are_not_fitted_without_a_meter() {
    let told = json(&energy(&["meters", "--json"]).stdout);
    if told["meters"].as_array().is_some_and(|all| !all.is_empty()) {
        eprintln!("SKIPPED: this machine has a meter");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("here.toml");
    let output = energy(&["calibrate", "--out", out.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(5));
    let err = words(&output.stderr);
    assert!(
        err.contains("battery") && err.contains("--meter-csv"),
        "{err}"
    );
    assert!(!out.exists());
}

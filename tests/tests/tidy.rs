//! Rules about the source itself. A rule with exceptions keeps a list that may only shrink: an exception that is no longer
//! needed, or larger than needed, fails as well.

#[path = "tidy/documents.rs"]
mod documents;

use anyhow::{Context, Result, ensure};
use ringtmp_tests::repository;
use ringtmp_tests::source::{code_only, functions, without_tests};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a file up to its tests.
const FILE_LINES_MAX: usize = 500;

/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;

/// Files over the limit: path and lines.
const LONG_FILES: [(&str, usize); 0] = [];

/// Functions over the limit: path, name and lines.
const LONG_FUNCTIONS: [(&str, &str, usize); 0] = [];

/// Which crates of the workspace a crate may depend on; what is not listed may not be there at all.
const LAYERS: [(&str, &[&str]); 14] = [
    ("ringtmp-core", &[]),
    ("ringtmp-compute", &[]),
    ("ringtmp-data", &[]),
    ("ringtmp-energy", &[]),
    ("ringtmp-transport", &["ringtmp-core"]),
    (
        "ringtmp-peer",
        &[
            "ringtmp-core",
            "ringtmp-compute",
            "ringtmp-data",
            "ringtmp-transport",
        ],
    ),
    ("ringtmp-sim", &["ringtmp-core"]),
    (
        "ringtmp-experiment",
        &["ringtmp-core", "ringtmp-energy", "ringtmp-sim"],
    ),
    ("signaling-server", &["ringtmp-core"]),
    (
        "ringtmp-cli",
        &[
            "ringtmp-core",
            "ringtmp-energy",
            "ringtmp-experiment",
            "ringtmp-peer",
            "ringtmp-sim",
            "ringtmp-transport",
            "signaling-server",
        ],
    ),
    (
        "ringtmp-www",
        &["ringtmp-core", "ringtmp-peer", "ringtmp-transport"],
    ),
    (
        "ringtmp-tests",
        &[
            "ringtmp-core",
            "ringtmp-compute",
            "ringtmp-data",
            "ringtmp-transport",
            "ringtmp-peer",
            "signaling-server",
        ],
    ),
    ("xtask", &[]),
    ("xtask-wasm", &[]),
];

/// Crates at the bottom, whose tests must not reach upwards either.
const BOTTOM: [&str; 4] = [
    "ringtmp-core",
    "ringtmp-compute",
    "ringtmp-data",
    "ringtmp-energy",
];

/// What `core` must not contain: it is told the time and everything else, and iterates in an order that can be repeated.
const IMPURE: [&str; 13] = [
    "Instant",
    "SystemTime",
    "std::thread",
    "std::net",
    "std::fs",
    "std::env",
    "std::process",
    "async fn",
    ".await",
    "cfg(target",
    "cfg!(target",
    "HashMap",
    "HashSet",
];

struct Source {
    /// Relative to the repository, with slashes.
    path: String,
    /// Without comments, literals and tests.
    code: String,
    /// Up to the tests.
    lines: usize,
}

/// The workspace's Rust files, those that hold only tests left out.
fn sources() -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    for folder in ["crates", "signaling-server", "www", "tests/src"] {
        collect(&repository().join(folder), &mut paths)?;
    }
    ensure!(
        paths.len() > 20,
        "there must be more than {} files",
        paths.len()
    );
    let mut sources = Vec::new();
    let mut tests = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        let path = path
            .strip_prefix(repository())?
            .to_string_lossy()
            .replace('\\', "/");
        let code = code_only(&text);
        tests.extend(test_modules(&path, &code));
        let code = without_tests(&code);
        // Tests come last in a file.
        let lines = code.trim_end().lines().count();
        sources.push(Source { path, code, lines });
    }
    sources.retain(|source| {
        let in_folder = source.path.contains("/tests/") || source.path.contains("/benches/");
        !in_folder && !tests.iter().any(|test| source.path.starts_with(test))
    });
    Ok(sources)
}

/// How the paths of a file's `#[cfg(test)] mod NAME;` begin.
fn test_modules(path: &str, code: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = match file {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    let marked = code.split("#[cfg(test)]").skip(1);
    let name = |item: &str| {
        let declaration = item.trim_start().strip_prefix("mod ")?;
        let (name, _) = declaration.split_once(';')?;
        (!name.contains('{')).then(|| name.trim().to_owned())
    };
    let names = marked.filter_map(name);
    names
        .flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")])
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} is missing", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(())
}

fn fail_if_any(problems: &[String], advice: &str) -> Result<()> {
    ensure!(
        problems.is_empty(),
        "{advice}:\n  {}",
        problems.join("\n  ")
    );
    Ok(())
}

/// Compares what is over a limit with its exceptions.
fn over_limit(
    found: &BTreeMap<String, usize>,
    exceptions: &BTreeMap<String, usize>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, lines) in found {
        match exceptions.get(name) {
            Some(allowed) if lines <= allowed => {}
            Some(allowed) => {
                problems.push(format!("{name} has grown from {allowed} to {lines} lines"));
            }
            None => problems.push(format!("{name} has {lines} lines")),
        }
    }
    for (name, allowed) in exceptions {
        match found.get(name) {
            None => problems.push(format!(
                "{name} is an exception that is no longer needed: remove it"
            )),
            Some(lines) if lines < allowed => {
                problems.push(format!(
                    "{name} is down to {lines} lines: lower its exception from {allowed}"
                ));
            }
            Some(_) => {}
        }
    }
    problems
}

#[test]
fn no_file_is_longer_than_500_lines() -> Result<()> {
    let long = sources()?
        .into_iter()
        .filter(|source| source.lines > FILE_LINES_MAX);
    let found = long.map(|source| (source.path, source.lines)).collect();
    let exceptions = LONG_FILES
        .iter()
        .map(|(path, lines)| ((*path).to_owned(), *lines))
        .collect();
    fail_if_any(
        &over_limit(&found, &exceptions),
        "divide these files, by what they are about",
    )
}

#[test]
fn no_function_is_longer_than_70_lines() -> Result<()> {
    let mut found = BTreeMap::new();
    for source in sources()? {
        for function in functions(&source.code) {
            if function.lines.len() > FUNCTION_LINES_MAX {
                found.insert(
                    format!("{} {}", source.path, function.name),
                    function.lines.len(),
                );
            }
        }
    }
    let exceptions = LONG_FUNCTIONS
        .iter()
        .map(|(path, name, lines)| (format!("{path} {name}"), *lines))
        .collect();
    fail_if_any(
        &over_limit(&found, &exceptions),
        "take these functions apart: branch in one, work in others",
    )
}

#[test]
fn exceptions_may_only_shrink() {
    let numbers = |pairs: &[(&str, usize)]| {
        pairs
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect()
    };
    let found = numbers(&[("a", 600), ("b", 600), ("c", 600)]);
    let problems = over_limit(
        &found,
        &numbers(&[("a", 600), ("b", 599), ("c", 601), ("d", 600)]),
    );
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(
        problems.iter().all(|problem| !problem.starts_with('a')),
        "{problems:?}"
    );
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() -> Result<()> {
    let mut problems = Vec::new();
    for source in sources()? {
        for (number, line) in source.code.lines().enumerate() {
            let attribute = line.trim_start().starts_with("#[allow(")
                || line.trim_start().starts_with("#![allow(");
            if attribute || line.contains(", allow(") {
                problems.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    fail_if_any(
        &problems,
        "write #[expect(lint, reason = \"...\")], which says when it is no longer needed",
    )
}

#[test]
fn nothing_is_left_to_do() -> Result<()> {
    let mut problems = Vec::new();
    for source in sources()? {
        for (number, line) in source.code.lines().enumerate() {
            if line.contains("todo!") || line.contains("unimplemented!") || line.contains("dbg!") {
                problems.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    fail_if_any(
        &problems,
        "write what is missing, or return an error that says what cannot be done",
    )
}

#[test]
fn core_reads_no_clock_and_knows_no_platform() -> Result<()> {
    let mut problems = Vec::new();
    let mut files = 0;
    for source in sources()?
        .iter()
        .filter(|source| source.path.starts_with("crates/ringtmp-core/src/"))
    {
        files += 1;
        for (number, line) in source.code.lines().enumerate() {
            if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                problems.push(format!("{}:{} {word}", source.path, number + 1));
            }
        }
    }
    ensure!(files >= 5, "core has more than {files} files");
    fail_if_any(
        &problems,
        "core is pure: hand these in as arguments, and iterate over ordered collections",
    )
}

#[test]
fn crates_point_only_downwards() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(repository());
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .context("metadata has packages")?;
    let names: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    ensure!(names.contains("ringtmp-core"), "the workspace has a core");

    let mut problems = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has a name")?;
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
            problems.push(format!(
                "{name} has no place: add it to LAYERS and to ARCHITECTURE.md"
            ));
            continue;
        };
        for dependency in package["dependencies"]
            .as_array()
            .context("a package has dependencies")?
        {
            let other = dependency["name"]
                .as_str()
                .context("a dependency has a name")?;
            let only_for_tests = dependency["kind"] == "dev" && !BOTTOM.contains(&name);
            if names.contains(other) && !allowed.contains(&other) && !only_for_tests {
                problems.push(format!("{name} must not depend on {other}"));
            }
        }
    }
    fail_if_any(
        &problems,
        "each crate points only downwards, see ARCHITECTURE.md",
    )
}

#[test]
fn wasm_bindgen_and_the_tool_around_it_have_one_version() -> Result<()> {
    let lock = fs::read_to_string(repository().join("Cargo.lock"))?;
    let version = |name: &str| {
        let mut lines = lock
            .lines()
            .skip_while(move |line| *line != format!("name = \"{name}\""));
        lines
            .nth(1)
            .with_context(|| format!("Cargo.lock has no {name}"))
    };
    let library = version("wasm-bindgen")?;
    for tool in ["wasm-bindgen-cli", "wasm-bindgen-cli-support"] {
        let found = version(tool)?;
        ensure!(
            found == library,
            "wasm-bindgen has {library}, {tool} {found}: change Cargo.toml and crates/xtask-wasm"
        );
    }
    Ok(())
}

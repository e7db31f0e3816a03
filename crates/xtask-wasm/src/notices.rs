//! The licences of what a release is made of, which nearly all of them ask to be handed on: a list of the packages, and the texts
//! that these bring.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What a release is: the program, and the page in it with the target that it is built for.
const ROOTS: [(&str, Option<&str>); 2] = [
    ("ringtmp-cli", None),
    ("ringtmp-www", Some("wasm32-unknown-unknown")),
];

/// How the names of files begin that are to be handed on.
const NAMES: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "unlicense",
];

/// The longest text that is taken for a licence; those that exist are a tenth of it.
const TEXT_BYTES_MAX: u64 = 512 * 1024;

/// A package of another's.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
    authors: String,
    manifest: String,
}

/// Writes all to this file.
pub(crate) fn write(file: &Path, host: &str) -> Result<()> {
    let mut packages = BTreeSet::new();
    for (root, target) in ROOTS {
        packages.extend(below(&metadata(target.unwrap_or(host))?, root)?);
    }
    fs::write(file, text(&packages)?)?;
    println!("{} packages in {}", packages.len(), file.display());
    Ok(())
}

fn metadata(target: &str) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", target])
        .output()?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The packages of others that this one is made of, all the way down; without what only builds or tests it.
fn below(metadata: &Value, root: &str) -> Result<BTreeSet<Package>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<_, _> = list(&metadata["packages"])
        .into_iter()
        .map(|package| (text(&package["id"]), package))
        .collect();
    let nodes: BTreeMap<_, _> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|node| (text(&node["id"]), list(&node["deps"])))
        .collect();
    let first = packages
        .iter()
        .find(|(_, package)| package["name"] == root)
        .with_context(|| format!("the workspace has no {root}"))?;
    let mut queue = vec![first.0.clone()];
    let mut seen = BTreeSet::new();
    while let Some(id) = queue.pop() {
        let normal = |dependency: &&Value| {
            list(&dependency["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"].is_null())
        };
        let dependencies = nodes.get(&id).map(Vec::as_slice).unwrap_or_default();
        queue.extend(
            dependencies
                .iter()
                .filter(normal)
                .map(|dependency| text(&dependency["pkg"]))
                .filter(|id| !seen.contains(id)),
        );
        seen.insert(id);
    }
    let foreign = seen
        .iter()
        .filter_map(|id| packages.get(id))
        .filter(|package| !package["source"].is_null());
    Ok(foreign
        .map(|package| Package {
            name: text(&package["name"]),
            version: text(&package["version"]),
            licence: text(&package["license"]),
            authors: list(&package["authors"])
                .iter()
                .map(text)
                .collect::<Vec<_>>()
                .join(", "),
            manifest: text(&package["manifest_path"]),
        })
        .collect())
}

/// The list of packages, then each text once, under the names of those that bring it.
fn text(packages: &BTreeSet<Package>) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut all = String::from(
        "This program is made of the packages below, and of Rust's standard library (MIT OR Apache-2.0).\n\
         Where a package brings no text of its licence, its authors are named beside its terms.\n\n",
    );
    for package in packages {
        let brought = licences(Path::new(&package.manifest))?;
        let who = match brought.is_empty() && !package.authors.is_empty() {
            true => format!(", {}", package.authors),
            false => String::new(),
        };
        let name = format!("{} {}", package.name, package.version);
        writeln!(all, "{name}: {}{who}", package.licence)?;
        for text in brought {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    for (text, names) in texts {
        let line = "-".repeat(80);
        write!(all, "\n{line}\n{}\n{line}\n\n{text}\n", names.join(", "))?;
    }
    Ok(all)
}

/// The texts beside a package's manifest, with plain ends of lines.
fn licences(manifest: &Path) -> Result<Vec<String>> {
    let folder = manifest.parent().context("a manifest lies in a folder")?;
    let mut files: Vec<_> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_ascii_lowercase();
        let is_text = file.metadata()?.is_file() && file.metadata()?.len() <= TEXT_BYTES_MAX;
        if is_text && NAMES.iter().any(|begins| name.starts_with(begins)) {
            let bytes = fs::read(&file)?;
            let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
            texts.push(text.trim().to_owned());
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_package_is_made_of_is_found_without_what_only_tests_it() {
        let package = |name: &str, source: Value| {
            json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT", "authors": [],
                    "manifest_path": "Cargo.toml", "source": source })
        };
        let needs =
            |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [
                package("ours", Value::Null),
                package("library", json!("registry")),
                package("deep", json!("registry")),
                package("tests", json!("registry")),
            ],
            "resolve": { "nodes": [
                { "id": "ours", "deps": [needs("library", Value::Null), needs("tests", json!("dev"))] },
                { "id": "library", "deps": [needs("deep", Value::Null), needs("ours", Value::Null)] },
                { "id": "deep", "deps": [] },
                { "id": "tests", "deps": [] },
            ] },
        });
        let found = below(&metadata, "ours").expect("it is there");
        let names: Vec<_> = found.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["deep", "library"]);
        assert!(below(&metadata, "nobody").is_err());
    }
}

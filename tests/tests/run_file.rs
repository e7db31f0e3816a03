//! Run files as their authors meet them: the page that tells of every field, and the examples.

use anyhow::{Context, Result, bail, ensure};
use futures::executor::block_on;
use ringtmp_compute::layers::LayerSpec;
use ringtmp_peer::{DataPlace, Executor, ExecutorChoice, RunFile, Solo, open_data};
use ringtmp_tests::repository;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// Set to anything, it makes the test write the page instead of comparing it.
const WRITE: &str = "RINGTMP_WRITE_DOCS";

const PAGE: &str = "docs/run-file.md";

const FILES: &str = "crates/ringtmp-peer/src/run_file";

const LAYERS: &str = "crates/ringtmp-compute/src/layers";

const INTRODUCTION: &str = "\
# Run files

A run file is one training job in [TOML](https://toml.io): `ringtmp train --run FILE.toml`, `ringtmp demo --run FILE.toml`; flags win over it. Every field has a
default, and an empty file trains `mlp` on `digits`. What cannot be is refused before anything starts, with the field, its value and the rule. There are [examples](examples.md).

This page is made from the comments of the types that read the file (`RINGTMP_WRITE_DOCS=1 cargo test -p ringtmp-tests --test run_file`); a test fails where it is out of date.
";

/// A field of a table, as its comment and type have it.
struct Field {
    name: String,
    kind: &'static str,
    meaning: String,
    is_optional: bool,
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())
}

/// The documented fields of a struct.
fn fields(source: &str, name: &str) -> Result<Vec<Field>> {
    let head = format!("pub struct {name} {{");
    let Some((_, body)) = source.split_once(&head) else {
        bail!("there is no struct {name}");
    };
    let (body, _) = body.split_once('}').context("a struct ends")?;
    let (mut found, mut meaning, mut is_optional) = (Vec::new(), String::new(), false);
    for line in body.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("/// ") {
            meaning = format!("{meaning} {words}").trim().to_owned();
        } else if line.starts_with("#[serde(default") {
            is_optional = true;
        } else if let Some(field) = line.strip_prefix("pub ") {
            let (name, of) = field.split_once(": ").context("a field has a type")?;
            found.push(Field {
                name: name.to_owned(),
                kind: kind(of.trim_end_matches(','))?,
                meaning: std::mem::take(&mut meaning),
                is_optional: std::mem::take(&mut is_optional),
            });
        }
    }
    Ok(found)
}

/// A type in the words of those who write run files.
fn kind(of: &str) -> Result<&'static str> {
    let inner = of
        .strip_prefix("Option<")
        .and_then(|inner| inner.strip_suffix('>'));
    Ok(match inner.unwrap_or(of) {
        "u16" | "u32" | "u64" | "usize" => "whole number",
        "f32" => "number",
        "bool" => "`true` or `false`",
        "String" | "Mode" | "CodecChoice" | "Order" | "DataSource" | "Split" | "RuleName"
        | "Planning" | "Arithmetic" | "Paradigm" | "Placement" => "text",
        "Vec<usize>" => "list of whole numbers",
        "Vec<LayerSpec>" => "list of tables",
        "ModelTable" | "DataTable" | "OptimizerTable" | "ParameterServerTable" => "table",
        "Replication" | "Staleness" => "text or whole number",
        other => bail!("say in tests/tests/run_file.rs what a {other} is for people"),
    })
}

fn rows(page: &mut String, fields: &[Field], default: impl Fn(&Field) -> String) -> Result<()> {
    writeln!(page, "| field | is a | default | meaning |")?;
    writeln!(page, "| --- | --- | --- | --- |")?;
    for field in fields {
        let Field {
            name,
            kind,
            meaning,
            ..
        } = field;
        ensure!(!meaning.is_empty(), "{name} has no comment");
        writeln!(
            page,
            "| `{name}` | {kind} | {} | {meaning} |",
            default(field)
        )?;
    }
    writeln!(page)?;
    Ok(())
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(String::new, |value| format!("`{value}`"))
}

/// Layers by name, and what each does.
fn layer_names(source: &str) -> Result<Vec<(String, String)>> {
    let table = source
        .rsplit_once("table! {")
        .context("a table of layers")?;
    let (table, _) = table.1.split_once('}').context("a table ends")?;
    let line = |line: &str| {
        let (name, words) = line.trim().split_once(": ")?;
        Some((name.to_owned(), words.trim_matches(['"', ',']).to_owned()))
    };
    Ok(table.lines().filter_map(line).collect())
}

/// As serde writes the name of a layer.
fn snake_case(name: &str) -> String {
    let mut word = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(character.to_lowercase());
    }
    word
}

/// What a layer says of the fields that its table may leave out.
fn layer_defaults(kind: &str, fields: &[Field]) -> Result<Map<String, Value>> {
    let mut table = Map::from_iter([("kind".to_owned(), json!(kind))]);
    for field in fields.iter().filter(|field| !field.is_optional) {
        let value = if field.kind == "number" {
            json!(0.5)
        } else {
            json!(1)
        };
        table.insert(field.name.clone(), value);
    }
    let layer: LayerSpec = serde_json::from_value(Value::Object(table))?;
    match serde_json::to_value(layer)? {
        Value::Object(table) => Ok(table),
        other => bail!("a layer is a table, not {other}"),
    }
}

fn layers(page: &mut String) -> Result<()> {
    let names = layer_names(&read(&format!("{LAYERS}/mod.rs"))?)?;
    ensure!(
        names.len() > 10,
        "there are more layers than {}",
        names.len()
    );
    let files = fs::read_dir(repository().join(LAYERS))?;
    let sources: Vec<String> = files
        .map(|file| Ok(fs::read_to_string(file?.path())?))
        .collect::<Result<_>>()?;
    for (name, words) in names {
        let kind = snake_case(&name);
        writeln!(page, "### `kind = \"{kind}\"`\n\n{words}\n")?;
        let head = format!("pub struct {name} {{");
        let source = sources.iter().find(|source| source.contains(&head));
        let fields = fields(source.context(name.clone())?, &name)?;
        let defaults = layer_defaults(&kind, &fields)?;
        if !fields.is_empty() {
            rows(page, &fields, |field| match field.is_optional {
                true => shown(defaults.get(&field.name).filter(|value| !value.is_null())),
                false => "has to be given".to_owned(),
            })?;
        }
    }
    Ok(())
}

fn page() -> Result<String> {
    let mut page = INTRODUCTION.to_owned();
    let defaults = serde_json::to_value(RunFile::default())?;
    writeln!(page, "\n## At the top\n")?;
    let top = fields(&read(&format!("{FILES}/mod.rs"))?, "RunFile")?;
    let plain: Vec<Field> = top
        .into_iter()
        .filter(|field| field.kind != "table")
        .collect();
    rows(&mut page, &plain, |field| shown(defaults.get(&field.name)))?;
    for (table, name) in [
        ("model", "ModelTable"),
        ("data", "DataTable"),
        ("optimizer", "OptimizerTable"),
        ("parameter_server", "ParameterServerTable"),
    ] {
        writeln!(page, "## `[{table}]`\n")?;
        let fields = fields(&read(&format!("{FILES}/{table}.rs"))?, name)?;
        rows(&mut page, &fields, |field| {
            shown(defaults[table].get(&field.name))
        })?;
    }
    writeln!(page, "## `[[model.layers]]`\n")?;
    writeln!(
        page,
        "One table for each layer, in order. Letters in brackets are those of the formulas in the source.\n"
    )?;
    layers(&mut page)?;
    Ok(format!("{}\n", page.trim_end()))
}

#[test]
fn the_page_of_run_files_says_what_the_types_say() -> Result<()> {
    let page = page()?;
    if std::env::var_os(WRITE).is_some() {
        fs::write(repository().join(PAGE), &page)?;
    }
    let found = read(PAGE)?;
    let differs = found
        .lines()
        .zip(page.lines())
        .find(|(old, new)| old != new);
    ensure!(
        found == page,
        "{PAGE} is out of date: run this test with {WRITE}=1 ({differs:?})"
    );
    Ok(())
}

#[test]
fn every_example_can_be_run() -> Result<()> {
    let folder = fs::read_dir(repository().join("examples"))?;
    let mut paths: Vec<PathBuf> = folder.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    paths.sort();
    ensure!(paths.len() >= 6, "{paths:?}");
    for path in paths {
        let text = fs::read_to_string(&path)?;
        block_on(run_briefly(&text)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

async fn run_briefly(toml: &str) -> Result<()> {
    let mut file = RunFile::parse(toml)?;
    file.clone().check()?;
    // A few small steps; and what an example names lies in the repository, wherever the test runs.
    file.batch = file.micro_batch;
    file.evaluation_samples = file.micro_batch;
    if let Some(location) = file
        .data
        .set
        .as_deref()
        .and_then(|set| set.strip_prefix("text:"))
    {
        let path = repository().join(location);
        file.data.set = Some(format!("text:{}", path.display()));
    }
    let run = file.check()?;
    let data = open_data(&run, &DataPlace::Disk).await?;
    let executor = Executor::open(ExecutorChoice::Cpu).await?;
    let mut solo = Box::pin(Solo::new(run, data, executor)).await?;
    for _ in 0..2 {
        let score = Box::pin(solo.step()).await?;
        ensure!(score.loss.is_finite(), "{score:?}");
    }
    let held_out = Box::pin(solo.evaluate()).await?;
    ensure!(
        held_out.is_some_and(|score| score.loss.is_finite()),
        "{held_out:?}"
    );
    Ok(())
}

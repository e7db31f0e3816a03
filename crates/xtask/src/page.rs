//! Builds the tab's files: `www` compiled, bound by wasm-bindgen, with the static files beside it, all compressed.

use crate::process::{cargo, root, run};
use crate::setup::tools_folder;
use crate::wasm_toolchain::{TARGET, WasmToolchain};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Extensions of files that shrink.
const COMPRESSED: [&str; 7] = ["html", "css", "js", "wasm", "svg", "json", "webmanifest"];

/// Builds `dist/www`; quick when nothing has changed.
pub(crate) fn build(toolchain: &WasmToolchain) -> Result<()> {
    let mut command = toolchain.cargo();
    command.args([
        "build",
        "--package",
        "ringtmp-www",
        "--target",
        TARGET,
        "--profile",
        "wasm",
        "--target-dir",
    ]);
    run(command.arg(toolchain.target_folder()))?;
    let module = toolchain
        .target_folder()
        .join(TARGET)
        .join("wasm/ringtmp_www.wasm");
    let tools = wasm_tools()?;

    // Another build at the same time would write into the same folder. Released when this function ends.
    let lock = fs::File::create(root().join("target/www.lock"))?;
    lock.lock()?;
    let statics = files_below(&root().join("www/static"))?;
    let stamp = root().join("target/www.stamp");
    let inputs = fingerprint(statics.iter().chain([&module, &tools]))?;
    let page = root().join("dist/www");
    if page.join("ringtmp_bg.wasm").exists()
        && fs::read_to_string(&stamp).is_ok_and(|text| text == inputs)
    {
        println!("dist/www is up to date");
        return Ok(());
    }

    // Made beside and moved into place, so that a server never hands out half a page.
    let fresh = root().join("dist/www.new");
    remove(&fresh)?;
    fs::create_dir_all(&fresh)?;
    run(Command::new(&tools)
        .arg("bindgen")
        .arg(&module)
        .arg(&fresh)
        .arg("ringtmp"))?;
    copy_below(&root().join("www/static"), &statics, &fresh)?;
    let shrinks = |path: &&PathBuf| {
        path.extension()
            .and_then(|text| text.to_str())
            .is_some_and(|extension| COMPRESSED.contains(&extension))
    };
    let files = files_below(&fresh)?;
    run(Command::new(&tools)
        .arg("compress")
        .args(files.iter().filter(shrinks)))?;
    print_sizes(&fresh, &files)?;
    remove(&page)?;
    fs::rename(&fresh, &page)?;
    fs::write(&stamp, inputs)?;
    Ok(())
}

/// The program around wasm-bindgen, built when it is not there or its version has changed.
pub(crate) fn wasm_tools() -> Result<PathBuf> {
    let folder = tools_folder();
    let program = folder.join(format!("debug/xtask-wasm{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        eprintln!("building the wasm-bindgen tools, once, some minutes");
    }
    run(cargo()
        .args([
            "build",
            "--quiet",
            "--package",
            "xtask-wasm",
            "--target-dir",
        ])
        .arg(&folder))?;
    Ok(program)
}

/// Changes when a file does: its path, length and time.
fn fingerprint<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Result<String> {
    let line = |path: &PathBuf| {
        let file = fs::metadata(path).with_context(|| format!("{} is missing", path.display()))?;
        let time = file.modified()?.duration_since(SystemTime::UNIX_EPOCH)?;
        Ok(format!(
            "{} {} {}\n",
            path.display(),
            file.len(),
            time.as_nanos()
        ))
    };
    files.map(line).collect()
}

pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} is missing", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

pub(crate) fn copy_below(from: &Path, files: &[PathBuf], to: &Path) -> Result<()> {
    for file in files {
        let place = to.join(file.strip_prefix(from)?);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(file, place)?;
    }
    Ok(())
}

fn print_sizes(folder: &Path, files: &[PathBuf]) -> Result<()> {
    println!(
        "{:<24} {:>10} {:>10} {:>10}",
        "dist/www", "bytes", "gzip", "brotli"
    );
    for file in files {
        let size = |extension: &str| {
            let mut path = file.as_os_str().to_owned();
            path.push(extension);
            fs::metadata(path).map_or_else(|_| "-".to_owned(), |file| file.len().to_string())
        };
        let name = file.strip_prefix(folder)?.display().to_string();
        println!(
            "{name:<24} {:>10} {:>10} {:>10}",
            size(""),
            size(".gz"),
            size(".br")
        );
    }
    Ok(())
}

pub(crate) fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        Ok(fs::remove_dir_all(folder)?)
    } else {
        Ok(())
    }
}

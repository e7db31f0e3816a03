//! A release for this machine's kind: the program with the page in it, its manual, completions and licences, in a folder and in an
//! archive with its digest beside it. The finished program is tried from an empty folder before it is packed.

mod smoke;

use crate::page;
use crate::process::{cargo, output, root, run, target_folder};
use crate::wasm_toolchain::WasmToolchain;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a shell looks for, and under which name.
const COMPLETIONS: [(&str, &str); 5] = [
    ("bash", "ringtmp.bash"),
    ("zsh", "_ringtmp"),
    ("fish", "ringtmp.fish"),
    ("powershell", "_ringtmp.ps1"),
    ("elvish", "ringtmp.elv"),
];

/// Files of the project that go along.
const COPIED: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "CHANGELOG.md"];

/// What whoever unpacks it reads first.
const README: &str = include_str!("dist/README.txt");

/// Builds `dist/ringtmp-VERSION-TARGET` and its archive.
pub(crate) fn dist(toolchain: &WasmToolchain) -> Result<()> {
    page::build(toolchain)?;
    let tools = page::wasm_tools()?;
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--package", "ringtmp-cli"]);
    run(command.args(["--features", "embedded-page"]))?;
    let program = format!("ringtmp{}", std::env::consts::EXE_SUFFIX);
    let built = target_folder().join("release").join(&program);
    smoke::serves(&built, &root().join("dist/www"))?;

    let host = host()?;
    let name = format!("ringtmp-{}-{host}", env!("CARGO_PKG_VERSION"));
    let folder = root().join("dist").join(&name);
    page::remove(&folder)?;
    fs::create_dir_all(&folder)?;
    fs::copy(&built, folder.join(&program))?;
    fs::write(folder.join("README.txt"), README)?;
    for file in COPIED {
        fs::copy(root().join(file), folder.join(file))?;
    }
    explain(&built, &folder)?;
    let mut notices = Command::new(&tools);
    notices.current_dir(root()).arg("notices");
    run(notices.arg(folder.join("THIRD-PARTY.txt")).arg(&host))?;
    let extension = if cfg!(windows) { "zip" } else { "tar.gz" };
    pack(&tools, &folder, &format!("{name}.{extension}"))
}

/// The target triple of this machine.
fn host() -> Result<String> {
    let rustc = PathBuf::from(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let version = output(Command::new(rustc).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// The manual and completions, as the program itself tells them.
fn explain(program: &Path, folder: &Path) -> Result<()> {
    run(Command::new(program)
        .args(["man", "--dir"])
        .arg(folder.join("man/man1")))?;
    let completions = folder.join("completions");
    fs::create_dir_all(&completions)?;
    for (shell, name) in COMPLETIONS {
        let script = output(Command::new(program).args(["completions", shell]))?;
        fs::write(completions.join(name), script + "\n")?;
    }
    Ok(())
}

fn pack(tools: &Path, folder: &Path, name: &str) -> Result<()> {
    let archive = root().join("dist").join(name);
    let mut command = Command::new(tools);
    command.arg("pack").arg(folder).arg(&archive);
    if std::env::var_os("SOURCE_DATE_EPOCH").is_none() {
        // Files are as old as what they were made of, so that who builds the same again gets the same.
        let mut git = Command::new("git");
        git.current_dir(root()).args(["log", "-1", "--format=%ct"]);
        if let Ok(seconds) = output(&mut git) {
            command.env("SOURCE_DATE_EPOCH", seconds);
        }
    }
    run(&mut command)?;
    let size = fs::metadata(&archive)?.len();
    let beside = archive.with_file_name(format!("{name}.sha256"));
    print!("{}", fs::read_to_string(beside)?);
    println!("dist/{name}  {:.1} MB", size as f64 / 1e6);
    Ok(())
}

//! With the feature `embedded-page`, lists the files of the built page for `src/page.rs` to hold; without it, none. Compressed
//! files that the build left beside the plain ones are listed too, so that the program never compresses while a phone waits.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Where `cargo xtask build-wasm` leaves the page, from this crate's folder.
const PAGE: &str = "../../dist/www";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let embeds = env::var_os("CARGO_FEATURE_EMBEDDED_PAGE").is_some();
    let files = if embeds { page()? } else { Vec::new() };
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("page.rs"), source(&files))
}

/// The files of the page: the path below its folder, with slashes, and where they lie.
fn page() -> io::Result<Vec<(String, PathBuf)>> {
    // A folder is looked through for changes as a whole: files that come or go count as well.
    println!("cargo::rerun-if-changed={PAGE}");
    let mut files = Vec::new();
    let crate_folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = crate_folder.join(PAGE);
    if folder.join("index.html").is_file() {
        list(&folder, "", &mut files)?;
    } else {
        println!(
            "cargo::error=there is no page in dist/www to put into the program: run `cargo xtask dist`, or `cargo xtask build-wasm` first"
        );
    }
    files.sort();
    Ok(files)
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{path}/"), files)?;
        } else {
            files.push((path, entry.path()));
        }
    }
    Ok(())
}

/// The list as Rust: a string literal's escapes are those of `Debug`.
fn source(files: &[(String, PathBuf)]) -> String {
    let mut source = String::from("&[\n");
    for (path, file) in files {
        let file = file.display().to_string();
        let _infallible = writeln!(
            source,
            "    PageFile {{ path: {path:?}, bytes: include_bytes!({file:?}) }},"
        );
    }
    source + "]\n"
}

//! wasm-bindgen's library and test runner behind one small command line, so that nothing has to be installed by hand and
//! the version is always the one in `Cargo.lock`; and what a release is packed with. Built and called by `cargo xtask`, into a
//! target folder of its own: it takes minutes to build and changes seldom.

mod archive;
mod notices;

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use wasm_bindgen_cli_support::Bindgen;

const USAGE: &str = "usage: xtask-wasm bindgen INPUT.wasm OUTPUT_FOLDER NAME
       xtask-wasm compress FILE...
       xtask-wasm notices FILE HOST_TARGET
       xtask-wasm pack FOLDER ARCHIVE.tar.gz|ARCHIVE.zip
       xtask-wasm test-runner TEST.wasm [ARGUMENTS]
`cargo xtask` calls it; there is no need to do so by hand.";

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    match (command.to_str(), rest.as_slice()) {
        (Some("bindgen"), [input, folder, name]) => {
            bindgen(input.as_ref(), folder.as_ref(), &name.to_string_lossy())
        }
        (Some("compress"), files) if !files.is_empty() => {
            files.iter().try_for_each(|file| compress(file.as_ref()))
        }
        (Some("notices"), [file, host]) => notices::write(file.as_ref(), &host.to_string_lossy()),
        (Some("pack"), [folder, archive]) => archive::pack(folder.as_ref(), archive.as_ref()),
        (Some("test-runner"), arguments) if !arguments.is_empty() => {
            let program = OsString::from("wasm-bindgen-test-runner");
            let arguments = std::iter::once(program).chain(arguments.iter().cloned());
            wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(arguments)
        }
        _ => bail!("{USAGE}"),
    }
}

/// Writes `NAME.js` and `NAME_bg.wasm`, as an ES module for pages and module workers.
fn bindgen(input: &Path, folder: &Path, name: &str) -> Result<()> {
    Bindgen::new()
        .input_path(input)
        .out_name(name)
        .web(true)?
        .typescript(false)
        // The library's default leaves out `new URL("NAME_bg.wasm", import.meta.url)`, the command's does not; the page
        // calls `init()` without an argument.
        .omit_default_module_path(false)
        // Functions' names are an eighth of what a phone would load.
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)
        .with_context(|| format!("wasm-bindgen cannot read {}", input.display()))
}

/// Writes `FILE.br` and `FILE.gz`, so that the server never compresses while a phone waits.
fn compress(file: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let beside = |extension: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(extension);
        path
    };

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&bytes)?;
    fs::write(beside(".gz"), gzip.finish()?)?;

    let mut compressed = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: 11,
        lgwin: 22,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut bytes.as_slice(), &mut compressed, &parameters)?;
    fs::write(beside(".br"), compressed)?;
    Ok(())
}

//! A compiler for `wasm32-unknown-unknown`: rustup's target, or, where rustup is absent or cannot reach its server,
//! Debian's packages for building browsers (`rustc-web`), which lack only a built standard library. That one is built
//! here, once, into a private sysroot. Whether a compiler works is found out by linking, never by looking for a folder.

use crate::apt;
use crate::process::{cargo, find, output, root, run, run_within, target_folder};
use anyhow::{Context, Result, bail};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The target triple of the tab.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Fetching the target takes seconds on any network that works.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Crates of the standard library that carry no stability marks count as unstable, as in a build by its own scripts.
const SYSROOT_FLAGS: &str = "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes";

const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library";
const DEBIAN_LINKER: &str = "/usr/lib/llvm-19/bin/wasm-ld";

/// A compiler that has linked a library for the tab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WasmToolchain {
    /// The one that builds everything else.
    Default,
    /// Debian's, with a sysroot of our own.
    Debian {
        /// A script that calls the compiler with that sysroot.
        rustc: PathBuf,
    },
}

impl WasmToolchain {
    /// Cargo, told which compiler to use for the tab.
    pub(crate) fn cargo(&self) -> Command {
        match self {
            Self::Default => cargo(),
            Self::Debian { rustc } => {
                let mut command = Command::new(DEBIAN_CARGO);
                command.current_dir(root()).env("RUSTC", rustc);
                // Set by rustup around us, and meant for its own compilers.
                command
                    .env_remove("CARGO")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("LD_LIBRARY_PATH");
                command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
                command
            }
        }
    }

    /// Where to build: libraries of one compiler are of no use to another (E0514).
    pub(crate) fn target_folder(&self) -> PathBuf {
        match self {
            Self::Default => target_folder(),
            Self::Debian { .. } => debian_home().join("target"),
        }
    }
}

impl fmt::Display for WasmToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "{TARGET} of the default compiler"),
            Self::Debian { rustc } => {
                write!(f, "{TARGET} of Debian's rustc-web, by {}", rustc.display())
            }
        }
    }
}

/// Where everything of this module is kept.
pub(crate) fn folder() -> PathBuf {
    root().join("target/wasm-toolchain")
}

/// Finds a compiler for the tab, or makes one.
pub(crate) fn ready() -> Result<WasmToolchain> {
    let default = PathBuf::from(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let version = output(Command::new(&default).arg("-vV"))?;
    let stamp = folder().join("linked-by");
    if is_stamped(&stamp, &version) || links(&default, None).is_ok() {
        fs::write(&stamp, version)?;
        return Ok(WasmToolchain::Default);
    }
    if let Some(toolchain) = debian_prepared() {
        // rustup failed before; asking again could wait for a network that is not there.
        return Ok(toolchain);
    }
    if find("rustup").is_some() {
        eprintln!("adding the target {TARGET}");
        let added = run_within(
            Command::new("rustup").args(["target", "add", TARGET]),
            RUSTUP_LIMIT,
        );
        match added.and_then(|()| links(&default, None)) {
            Ok(()) => {
                fs::write(&stamp, version)?;
                return Ok(WasmToolchain::Default);
            }
            Err(error) => eprintln!("rustup could not add it: {error:#}"),
        }
    }
    if !apt::is_debian() {
        bail!("{}", NO_TARGET.trim());
    }
    debian().context("Debian's compiler could not be prepared for the tab either")
}

const NO_TARGET: &str = r"
the compiler cannot build for wasm32-unknown-unknown. Add the target:
  rustup    rustup target add wasm32-unknown-unknown
  Fedora    dnf install rust-std-static-wasm32-unknown-unknown lld
  Arch      pacman -S rust-wasm lld
  else      install Rust by rustup, see https://rustup.rs";

/// Debian's compiler with a sysroot of our own, installed and built where it is not there.
fn debian() -> Result<WasmToolchain> {
    let needed = [DEBIAN_RUSTC, DEBIAN_CARGO, DEBIAN_LIBRARY, DEBIAN_LINKER];
    if !needed.iter().all(|path| Path::new(path).exists()) {
        eprintln!("installing Debian's compiler for browsers instead");
        apt::install(&DEBIAN_PACKAGES)?;
    }
    if let Some(toolchain) = debian_prepared() {
        return Ok(toolchain);
    }
    eprintln!("building the standard library for {TARGET}, once, about two minutes");
    let home = debian_home();
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    let version = output(Command::new(DEBIAN_RUSTC).arg("-vV"))?;
    build_sysroot(&home, &version)?;
    let rustc = home.join("rustc");
    links(&rustc, Some(DEBIAN_LINKER))?;
    fs::write(home.join("linked-by"), version)?;
    Ok(WasmToolchain::Debian { rustc })
}

/// Debian's compiler, if a sysroot has been built for just this version of it.
fn debian_prepared() -> Option<WasmToolchain> {
    let version = output(Command::new(DEBIAN_RUSTC).arg("-vV")).ok()?;
    let home = debian_home();
    let rustc = home.join("rustc");
    is_stamped(&home.join("linked-by"), &version).then_some(WasmToolchain::Debian { rustc })
}

fn debian_home() -> PathBuf {
    folder().join("debian")
}

/// Lays out `sysroot/lib/rustlib/{host,wasm32-unknown-unknown}/lib` and a script `rustc` that uses it.
fn build_sysroot(home: &Path, version: &str) -> Result<()> {
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc -vV names no host")?;
    let build = home.join("build");
    fs::create_dir_all(&build)?;
    let mut command = Command::new(DEBIAN_CARGO);
    // The standard library uses unstable features; RUSTC_BOOTSTRAP lets a stable compiler build it, and only it.
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", DEBIAN_RUSTC)
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN");
    command
        .env("RUSTFLAGS", SYSROOT_FLAGS)
        .env_remove("LD_LIBRARY_PATH");
    command
        .current_dir(&build)
        .args(["build", "--release", "--target", TARGET, "--locked"]);
    let library = fs::canonicalize(DEBIAN_LIBRARY)?;
    command
        .arg("--manifest-path")
        .arg(library.join("sysroot/Cargo.toml"))
        .arg("--target-dir")
        .arg(&build);
    run(&mut command)?;

    let rustlib = home.join("sysroot/lib/rustlib");
    let libraries = rustlib.join(TARGET).join("lib");
    fs::create_dir_all(&libraries)?;
    for entry in fs::read_dir(build.join(TARGET).join("release/deps"))? {
        let path = entry?.path();
        if let (Some("rlib"), Some(name)) = (
            path.extension().and_then(|text| text.to_str()),
            path.file_name(),
        ) {
            fs::copy(&path, libraries.join(name))?;
        }
    }
    fs::remove_dir_all(&build)?;
    // Procedural macros and build scripts run on the host and need its libraries from the same sysroot.
    link_folder(
        &Path::new("/usr/lib/rustlib").join(host),
        &rustlib.join(host),
    )?;
    let script = format!(
        "#!/bin/sh\nexec {DEBIAN_RUSTC} --sysroot '{}' \"$@\"\n",
        home.join("sysroot").display()
    );
    write_script(&home.join("rustc"), &script)
}

#[cfg(unix)]
fn link_folder(from: &Path, to: &Path) -> Result<()> {
    Ok(std::os::unix::fs::symlink(from, to)?)
}

#[cfg(unix)]
fn write_script(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

#[cfg(not(unix))]
fn link_folder(_: &Path, _: &Path) -> Result<()> {
    bail!("Debian's compiler runs on Debian only")
}

#[cfg(not(unix))]
fn write_script(_: &Path, _: &str) -> Result<()> {
    bail!("Debian's compiler runs on Debian only")
}

/// Links a small library that needs the standard library, and looks at what came out.
fn links(rustc: &Path, linker: Option<&str>) -> Result<()> {
    const PROBE: &str = "#[unsafe(no_mangle)]\npub extern \"C\" fn probe(n: usize) -> usize {\n    \
                         let text: Vec<String> = (0..n).map(|i| i.to_string()).collect();\n    text.concat().len()\n}\n";
    let probe = folder().join("probe");
    fs::create_dir_all(&probe)?;
    let (source, library) = (probe.join("probe.rs"), probe.join("probe.wasm"));
    fs::write(&source, PROBE)?;
    let mut command = Command::new(rustc);
    command.args([
        "--edition",
        "2024",
        "--crate-type",
        "cdylib",
        "--target",
        TARGET,
        "-C",
        "target-feature=+simd128",
    ]);
    command
        .args(linker.map(|linker| format!("-Clinker={linker}")))
        .arg("-o")
        .arg(&library)
        .arg(&source);
    output(&mut command)?;
    let bytes = fs::read(&library)?;
    if bytes.starts_with(b"\0asm") {
        Ok(())
    } else {
        bail!("what the compiler wrote is no WebAssembly module")
    }
}

fn is_stamped(stamp: &Path, content: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|text| text == content)
}

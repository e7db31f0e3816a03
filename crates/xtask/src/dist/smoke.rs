//! Whether a finished program serves its page where nothing else is.

use crate::page::{files_below, remove};
use crate::process::root;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The longest wait for an answer: it comes out of memory.
const WAIT: Duration = Duration::from_secs(10);

/// A server that is ended whatever comes of it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts the program in an empty folder and asks it for every file of the page.
///
/// # Errors
///
/// If one does not come as it was built.
pub(crate) fn serves(program: &Path, page: &Path) -> Result<()> {
    let empty = root().join("target/dist-smoke");
    remove(&empty)?;
    fs::create_dir_all(&empty)?;
    let child = Command::new(program)
        .args(["serve", "--port", "0", "--no-lan"])
        .current_dir(&empty)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} does not start", program.display()))?;
    let mut server = Server(child);
    let out = server.0.stdout.take().context("its output is piped")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let address = line.trim().strip_prefix("http://");
    let address = address.with_context(|| format!("it prints no address: {line}"))?;
    ensure!(
        get(address, "")? == fs::read(page.join("index.html"))?,
        "the finished program shows another page than dist/www"
    );
    let compressed = ["br", "gz"].map(Some);
    let mut files = 0;
    for file in files_below(page)? {
        let extension = file.extension().and_then(|extension| extension.to_str());
        if compressed.contains(&extension) {
            continue;
        }
        let path = file
            .strip_prefix(page)?
            .to_string_lossy()
            .replace('\\', "/");
        ensure!(
            get(address, &path)? == fs::read(&file)?,
            "the finished program serves another {path} than dist/www has"
        );
        files += 1;
    }
    println!("the program serves the page from an empty folder: {files} files");
    Ok(())
}

/// The body at a path, uncompressed.
fn get(address: &str, path: &str) -> Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(WAIT))?;
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.context("an answer without headers")?;
    let body = answer.split_off(end + 4);
    if !answer.starts_with(b"HTTP/1.1 200") {
        let line = String::from_utf8_lossy(&answer);
        bail!("/{path}: {}", line.lines().next().unwrap_or_default());
    }
    Ok(body)
}

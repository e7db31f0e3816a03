//! The program with the page in it, alone in an empty folder. Run by `cargo xtask test embedded`, which builds the page first.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The longest wait for an answer: far more than a loaded machine needs, far less than a hang.
const WAIT: Duration = Duration::from_secs(10);

/// A running program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn ringtmp(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtmp"));
    command
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .env("XDG_DATA_HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null());
    command
}

/// A server in this folder, and where it listens.
fn serve(folder: &Path, line: &str) -> (Running, String) {
    let mut child = ringtmp(folder, line)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut url = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut url)
        .expect("it prints its address");
    let address = url.trim().trim_start_matches("http://").to_owned();
    (Running(child), address)
}

/// The headers and the body of an answer.
fn get(address: &str, path: &str, accept: &str) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(WAIT)).expect("a limit");
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept-encoding: {accept}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("in time");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = answer.split_off(end.expect("headers end") + 4);
    (String::from_utf8(answer).expect("ASCII"), body)
}

fn built(name: &str) -> Vec<u8> {
    let page: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../dist/www", name]
        .iter()
        .collect();
    fs::read(page).expect("the page was built before")
}

#[test]
fn the_page_is_served_from_an_empty_folder_as_it_was_built() {
    let empty = tempfile::tempdir().expect("a folder");
    let (_server, address) = serve(empty.path(), "serve --port 0 --no-lan");
    for (path, name) in [
        ("/", "index.html"),
        ("/r/0123456789abcdef", "index.html"),
        ("/ringtmp.js", "ringtmp.js"),
        ("/ringtmp_bg.wasm", "ringtmp_bg.wasm"),
    ] {
        let (headers, body) = get(&address, path, "identity");
        assert!(headers.starts_with("HTTP/1.1 200"), "{path}: {headers}");
        assert!(body == built(name), "{path} is not what was built");
        let (headers, body) = get(&address, path, "br");
        assert!(headers.contains("content-encoding: br"), "{headers}");
        assert!(
            body == built(&format!("{name}.br")),
            "{path} was compressed again"
        );
    }
    let left = fs::read_dir(empty.path()).expect("a folder").count();
    assert_eq!(left, 0, "nothing is unpacked");
}

#[test]
fn a_folder_that_is_named_is_served_in_place_of_the_page_in_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("own")).expect("made");
    fs::write(folder.path().join("own/index.html"), "<title>own</title>").expect("written");
    let (_server, address) = serve(folder.path(), "serve --port 0 --no-lan --www own");
    let (_, body) = get(&address, "/", "identity");
    assert_eq!(body, b"<title>own</title>");
}

#[test]
fn the_program_says_that_it_has_the_page() {
    let empty = tempfile::tempdir().expect("a folder");
    let text = |line: &str| {
        let output = ringtmp(empty.path(), line).output().expect("it starts");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert!(text("--version").contains("The page is part of this program."));
    let doctor = text("doctor --port 0 --lan-port 0");
    assert!(doctor.contains("part of this program"), "{doctor}");
}

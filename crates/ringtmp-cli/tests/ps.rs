//! A parameter server and its workers, each a process of its own: `ringtmp serve`, `ps` and `join`.

use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const RUN: &str = r#"
paradigm = "parameter-server"
steps = 12
batch = 24
micro_batch = 4
codec = "f32"
planning = "counted"
evaluate_every = 0
"#;

/// A running program that is killed when the test fails.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn start(folder: &Path, line: &str) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtmp"));
    command
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_remove("RUST_LOG")
        // Certificates of tests stay out of the user's own folder.
        .env("XDG_DATA_HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    Running { child, out }
}

/// The address that it prints first.
fn address(program: &mut Running) -> String {
    let mut address = String::new();
    let read = program.out.read_line(&mut address);
    read.expect("it prints its address");
    address.trim().to_owned()
}

fn ends_well(mut program: Running, what: &str) {
    let ended = program.child.wait().expect("it was started");
    assert!(ended.success(), "{what}: {ended}");
}

/// The numbers of a model's file, tensor by tensor.
fn tensors(folder: &Path, name: &str) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(folder.join(name)).expect("it was written");
    let all = SafeTensors::deserialize(&bytes).expect("safetensors");
    let all = all.tensors().into_iter();
    all.map(|(name, tensor)| (name, tensor.data().to_vec()))
        .collect()
}

#[test]
fn a_server_and_two_workers_that_are_processes_learn_what_one_process_learns() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("run.toml"), RUN).expect("written");
    let mut serve = start(folder, "serve --port 0 --no-lan --www no/such/folder");
    let server = address(&mut serve);
    let line = format!(
        "ps --server {server} --run run.toml --workers 2 --exit-when-finished --export served.safetensors"
    );
    let mut ps = start(folder, &line);
    let room = address(&mut ps);
    let workers = ["", "--export worked.safetensors"].map(|export| {
        let line = format!("join {room} --executor cpu --exit-when-finished {export}");
        start(folder, &line)
    });
    for worker in workers {
        ends_well(worker, "a worker");
    }
    ends_well(ps, "the server");
    let line = "train --run run.toml --peers 3 --executor cpu --export trained.safetensors";
    ends_well(start(folder, line), "one process");
    let trained = tensors(folder, "trained.safetensors");
    assert!(!trained.is_empty());
    for other in ["served.safetensors", "worked.safetensors"] {
        let other = tensors(folder, other);
        let same = trained
            .iter()
            .all(|(name, data)| other.get(name) == Some(data));
        assert!(same && other.len() == trained.len());
    }
}

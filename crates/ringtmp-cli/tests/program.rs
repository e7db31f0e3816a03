//! The program as its users meet it: what it prints, how it ends, and what it leaves behind.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

fn ringtmp(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtmp"));
    command
        .args(line.split_whitespace())
        .env_remove("RUST_LOG")
        // Certificates of tests stay out of the user's own folder.
        .env("XDG_DATA_HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null());
    command
}

/// Runs it to its end. The program bounds its own waits; a hang here is a bug there.
fn ended(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn help_has_examples_and_wrong_arguments_end_with_2() {
    let (code, help, _) = ended(&mut ringtmp("--help"));
    assert_eq!(code, Some(0));
    assert!(
        help.contains("Examples:") && help.contains("Exit codes:"),
        "{help}"
    );
    let (code, _, words) = ended(&mut ringtmp("join http://localhost:8080"));
    assert_eq!(code, Some(2));
    assert!(words.contains("/r/CODE"), "{words}");
}

#[test]
fn data_go_to_standard_output_and_errors_to_standard_error() {
    let line = "sim --peers 2 --steps 2 --micro-batches 2";
    let (code, out, err) = ended(&mut ringtmp(line));
    assert_eq!((code, err.as_str()), (Some(0), ""), "nothing to say");
    assert!(
        out.contains("bottleneck") && !out.contains('\u{1b}'),
        "{out}"
    );
    let (_, out, err) = ended(&mut ringtmp(
        "generate --checkpoint no/such/folder --prompt a -q",
    ));
    assert!(out.is_empty() && err.starts_with("error: "), "{err}");
}

#[test]
fn the_log_is_as_long_as_it_is_asked_to_be() {
    let log = |flags: &str, variable: &str| {
        let mut command = ringtmp(&format!(
            "demo --tabs 0 --natives 1 --steps 2 --executor cpu --port 0 --no-lan --json - {flags}"
        ));
        let (code, out, err) = ended(command.env("RUST_LOG", variable).env("NO_COLOR", "1"));
        assert_eq!(code, Some(0), "{err}");
        let report: Value = serde_json::from_str(&out).expect("nothing but JSON");
        assert_eq!(report["steps"], 2);
        assert!(!err.contains('\u{1b}'), "no colours: {err}");
        let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
        let has = |level: &&str| err.lines().any(|line| line.contains(level));
        levels.into_iter().rfind(has).unwrap_or_default().to_owned()
    };
    assert_eq!(log("-vv", ""), "DEBUG");
    assert_eq!(log("-vv", "error"), "", "RUST_LOG goes before flags");
    assert_eq!(log("-q", ""), "");
}

#[test]
fn a_quiet_server_says_its_address_and_no_more() {
    let www = tempfile::tempdir().expect("a folder");
    std::fs::write(www.path().join("index.html"), "<title>RingTMP</title>").expect("written");
    let line = format!(
        "serve --port 0 --lan-port 0 -q --www {}",
        www.path().display()
    );
    let (server, url, mut err) = started(&line);
    // Once it answers, all is said.
    let address = url.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).expect("it listens");
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    assert!(answer.ends_with("ok"), "{answer}");
    drop(server);
    let mut words = String::new();
    err.read_to_string(&mut words).expect("UTF-8");
    // Where there is no network, that is an error of sorts, and said.
    let said = words
        .lines()
        .filter(|line| !line.contains("not served over HTTPS"));
    assert_eq!(said.count(), 0, "{words}");
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_read_enough_ends_the_program_without_a_word() {
    let mut child = ringtmp("completions bash")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Longer than what a pipe holds would be, but gone before a byte is written: either way nobody reads.
    drop(child.stdout.take());
    let status = child.wait().expect("it ends");
    let mut words = String::new();
    let mut err = child.stderr.take().expect("piped");
    err.read_to_string(&mut words).expect("UTF-8");
    assert_eq!((status.code(), words.as_str()), (Some(0), ""));
}

#[test]
fn shells_complete_its_commands_and_the_manual_is_written() {
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef ringtmp"),
        ("fish", "complete -c ringtmp"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let (code, out, err) = ended(&mut ringtmp(&format!("completions {shell}")));
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains(word) && out.contains("no-lan"), "{shell}");
    }
    let (code, page, err) = ended(&mut ringtmp("man"));
    assert_eq!(code, Some(0), "{err}");
    assert!(page.contains(".TH ringtmp 1"), "{page}");
    let folder = tempfile::tempdir().expect("a folder");
    let (code, out, err) = ended(ringtmp("man --dir").arg(folder.path().join("man1")));
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    let written = |name: &str| std::fs::read_to_string(folder.path().join("man1").join(name));
    assert_eq!(written("ringtmp.1").expect("written"), page);
    assert!(
        written("ringtmp-serve.1")
            .expect("written")
            .contains("no\\-lan")
    );
}

/// What a server says before it waits, and its certificate's fingerprint.
fn served(line: &str, folder: &std::path::Path) -> (String, String, String) {
    let mut command = ringtmp(line);
    command.env("XDG_DATA_HOME", folder);
    let (_server, url, mut err) = started_by(command);
    let mut words = String::new();
    while !words.contains("Ctrl-C ends") {
        let read = err.read_line(&mut words).expect("it speaks");
        assert!(read > 0, "it ended:\n{words}");
    }
    let fingerprint = words
        .lines()
        .find_map(|line| line.strip_prefix("SHA-256 of the certificate: "))
        .unwrap_or_default()
        .to_owned();
    (url, words, fingerprint)
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_invites_other_devices_over_https_unless_told_not_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, words, first) = served("serve --port 0 --lan-port 0 --qr", folder.path());
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    if words.contains("this device is in no network") {
        return eprintln!("SKIP: this machine is in no network");
    }
    assert!(
        words.contains("other devices in this network: https://"),
        "{words}"
    );
    assert!(
        words.contains('█') && words.contains("warn once"),
        "{words}"
    );
    assert_eq!(first.len(), 64, "{words}");
    assert!(
        words.contains(&format!("/r/CODE#sha256={first}")),
        "{words}"
    );
    let joining = |address: &str| {
        let (code, _, err) = ended(&mut ringtmp(&format!("join {address}")));
        assert_eq!(code, Some(3), "{err}");
        err
    };
    let mut command = ringtmp("serve --port 0 --lan-port 0");
    command.env("XDG_DATA_HOME", folder.path());
    let (_server, _, mut err) = started_by(command);
    let mut line = String::new();
    err.read_line(&mut line).expect("it speaks");
    let link = line.trim().rsplit(' ').next().expect("a link");
    let room = format!("{link}/r/0123456789abcdef");
    let pinned = joining(&format!("{room}#sha256={first}"));
    assert!(pinned.contains("there is no room"), "{pinned}");
    let other = joining(&format!("{room}#sha256={}", "00".repeat(32)));
    assert!(
        other.contains("not trusted") && other.contains(&first),
        "{other}"
    );
    let (_, words, again) = served("serve --port 0 --lan-port 0", folder.path());
    assert_eq!(first, again, "the certificate is kept");
    assert!(
        !words.contains('█'),
        "no drawing where there is no terminal"
    );
    let (_, words, none) = served("serve --port 0 --no-lan", folder.path());
    assert!(none.is_empty() && !words.contains("https"), "{words}");
    // A port that is taken costs the others, not this device.
    let taken = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let line = format!("serve --port 0 --lan-port {port}");
    let (url, words, _) = served(&line, folder.path());
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert!(
        words.contains("not served over HTTPS") && words.contains("in use"),
        "{words}"
    );
}

#[test]
fn the_doctor_tells_each_thing_with_what_to_do_and_ends_with_5_where_one_is_missing() {
    let line = "doctor --port 0 --lan-port 0 --json --www no/such/folder";
    let (code, out, err) = ended(ringtmp(line).env("CHROME", env!("CARGO_BIN_EXE_ringtmp")));
    assert_eq!(code, Some(5), "{err}");
    assert!(err.contains("see page"), "{err}");
    let report: Value = serde_json::from_str(&out).expect("nothing but JSON");
    let state = |name: &str| {
        let checks = report["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["check"] == name);
        let check = check.unwrap_or_else(|| panic!("{name} is not in {out}"));
        assert!(
            check["found"]
                .as_str()
                .is_some_and(|found| !found.is_empty())
        );
        check["state"].as_str().expect("a word").to_owned()
    };
    for name in ["GPU", "network", "certificate"] {
        assert!(["good", "limited"].contains(&state(name).as_str()), "{out}");
    }
    for name in ["page port", "HTTPS port", "browser"] {
        assert_eq!(state(name), "good", "{out}");
    }
    assert_eq!(state("page"), "missing");
    let www = tempfile::tempdir().expect("a folder");
    std::fs::write(www.path().join("index.html"), "<!doctype html>").expect("written");
    let line = format!(
        "doctor --port 0 --lan-port 0 --www {}",
        www.path().display()
    );
    let (code, out, err) = ended(ringtmp(&line).env("CHROME", env!("CARGO_BIN_EXE_ringtmp")));
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("built, in") && !out.contains("missing"),
        "{out}"
    );
}

#[test]
fn a_certificate_that_cannot_be_used_is_said_before_anything_starts() {
    let (code, _, err) = ended(&mut ringtmp("serve --port 0 --cert no.pem --key no.pem"));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("no.pem") && err.contains("--cert"), "{err}");
}

#[test]
fn a_simulated_ring_is_told_as_json_and_its_trace_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (trace, timeline) = (path("ring.json"), path("ring.svg"));
    let line = "sim --peers 4 --schedule 2bw --micro-batches 8 --hop-delay 1 --jitter 0.6 --steps 6 --seed 7 --json -";
    let mut command = ringtmp(line);
    command.args(["--trace", &trace, "--timeline", &timeline]);
    let (code, out, err) = ended(&mut command);
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).expect("nothing but JSON");
    let figure = |key: &str| report[key].as_f64().expect("a number");
    assert!((0.0..1.0).contains(&figure("idle_bottleneck")), "{out}");
    let lost = 1.0 - figure("throughput") / figure("bound");
    assert!((figure("rate_lost") - lost).abs() < 1e-9, "{out}");
    assert_eq!(report["peers"].as_array().map(Vec::len), Some(4));
    let (_, again, _) = ended(&mut ringtmp(line));
    assert_eq!(out, again, "a seed replays its run");
    let svg = std::fs::read_to_string(timeline).expect("a drawing");
    assert!(svg.starts_with("<svg"));
    let (code, out, err) = ended(ringtmp("trace --json -").arg(&trace));
    assert_eq!(code, Some(0), "{err}");
    let shares: Value = serde_json::from_str(&out).expect("nothing but JSON");
    assert!(shares["3"]["busy"].as_f64() > Some(0.2), "{out}");
    let (code, _, err) = ended(&mut ringtmp("sim --jitter 7"));
    assert_eq!(code, Some(1));
    assert!(err.contains("jitter is out of its range: 0 to 1"), "{err}");
}

#[test]
fn a_demo_of_native_devices_trains_and_reports_as_json_on_standard_output() {
    let (code, out, err) = ended(&mut ringtmp(
        "demo --tabs 0 --natives 2 --steps 60 --executor cpu --port 0 --no-lan --json -",
    ));
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).expect("nothing but JSON");
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["transport"], "webrtc");
    assert_eq!(report["steps"], 60);
    let (first, last) = (&report["loss_first"], &report["loss_last"]);
    assert!(
        last.as_f64() < first.as_f64() && last.as_f64() > Some(0.0),
        "{out}"
    );
    assert!(report["test_accuracy"].as_f64() > Some(0.3), "{out}");
    let peers = report["peers"].as_array().expect("peers");
    assert_eq!(peers.len(), 2);
    assert!(
        peers
            .iter()
            .all(|peer| peer["kind"] == "native" && peer["executor"] == "cpu")
    );
    assert_eq!(peers[0]["layers"][1], peers[1]["layers"][0], "shards meet");
    assert_eq!(
        report["digests"].as_array().map(Vec::len),
        peers[1]["layers"][1].as_u64().map(|n| n as usize)
    );
    let links = report["links"].as_array().expect("links");
    assert!(
        links.len() == 2 && links.iter().all(|link| link["bytes"].as_u64() > Some(0)),
        "{out}"
    );
    assert!(
        err.contains("finished  step 60 of 60"),
        "progress goes to standard error:\n{err}"
    );
    assert!(!err.contains(" WARN rtc"), "of no use to anybody:\n{err}");
}

#[test]
fn a_demo_serves_its_text_or_table_and_refuses_one_that_does_not_fit_before_it_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = folder.path().join("a text.txt");
    std::fs::write(
        &text,
        "to be or not to be, that is the question. ".repeat(60),
    )
    .expect("written");
    let table = folder.path().join("table.csv");
    let rows = (0..200).map(|i| format!("{},{},{}\n", i % 7, i % 5, u8::from(i % 7 > i % 5)));
    std::fs::write(&table, rows.collect::<String>()).expect("written");
    let common = "batch = 8\nmicro_batch = 4\nsteps = 30\nevaluation_samples = 8\n";
    let gpt = "model = { preset = 'gpt', depth = 1, width = 16, heads = 2, context = 16 }\n";
    let layers = "model = { input = [2], layers = [
        { kind = 'linear', inputs = 2, outputs = 8 },
        { kind = 'relu' },
        { kind = 'linear', inputs = 8, outputs = 2 }] }\n";
    let demo = |kind: &str, file: &std::path::Path, model: &str| {
        let run = folder.path().join("run.toml");
        let data = format!("data.set = '{kind}:{}'\n", file.display());
        std::fs::write(&run, format!("{common}{model}{data}")).expect("written");
        let line = "demo --tabs 0 --natives 2 --executor cpu --port 0 --json - --run";
        ended(ringtmp(line).arg(&run))
    };
    for (kind, file, model) in [("text", &text, gpt), ("csv", &table, layers)] {
        let (code, out, err) = demo(kind, file, model);
        assert_eq!(code, Some(0), "{kind}: {err}");
        let report: Value = serde_json::from_str(&out).expect("nothing but JSON");
        let loss = |name: &str| report[name].as_f64();
        assert!(loss("loss_last") < loss("loss_first"), "{kind}: {out}");
    }
    let (code, _, err) = demo("csv", &table, gpt);
    assert_eq!(code, Some(1));
    assert!(err.contains("the data are numbers"), "{err}");
    let (code, _, err) = demo("text", &folder.path().join("none.txt"), gpt);
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no file"), "{err}");
}

#[test]
fn a_port_in_use_is_said_and_ends_with_5() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    for command in ["serve", "demo --tabs 0 --natives 1"] {
        let (code, out, err) = ended(&mut ringtmp(&format!("{command} --port {port}")));
        assert_eq!(code, Some(5), "{err}");
        assert!(
            err.contains(&port.to_string()) && err.contains("in use"),
            "{err}"
        );
        assert_eq!(out, "");
    }
}

#[test]
fn a_missing_browser_page_or_data_folder_is_said_and_ends_with_5() {
    let (code, _, err) = ended(ringtmp("demo --port 0").env("CHROME", "/no/such/browser"));
    assert_eq!(code, Some(5));
    assert!(err.contains("/no/such/browser"), "{err}");
    // Any file will do for a browser that is not reached.
    let this = env!("CARGO_BIN_EXE_ringtmp");
    let (code, _, err) = ended(ringtmp("demo --port 0 --www no/such/folder").env("CHROME", this));
    assert_eq!(code, Some(5));
    assert!(err.contains("cargo xtask"), "{err}");
    let (code, _, err) = ended(&mut ringtmp("serve --port 0 --data no/such/folder"));
    assert_eq!(code, Some(5));
    assert!(err.contains("no/such/folder"), "{err}");
}

#[test]
fn a_browser_that_is_none_is_said_with_its_last_words() {
    let www = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(www.path().join("index.html"), "<title>RingTMP</title>").expect("written");
    let line = format!("demo --port 0 --headless --www {}", www.path().display());
    let (code, _, err) = ended(ringtmp(&line).env("CHROME", env!("CARGO_BIN_EXE_ringtmp")));
    assert_eq!(code, Some(5), "{err}");
    assert!(
        err.contains("ended at once") && err.contains("--user-data-dir"),
        "{err}"
    );
}

#[test]
fn a_server_that_is_not_there_ends_with_3() {
    // A port that nobody listens on: taken and given back.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr());
    let port = port.expect("a free port").port();
    let url = format!("http://127.0.0.1:{port}/r/0123456789abcdef");
    for command in ["join --executor cpu", "watch"] {
        let (code, _, err) = ended(&mut ringtmp(&format!("{command} {url}")));
        assert_eq!(code, Some(3), "{err}");
        assert!(err.contains("cannot be reached"), "{err}");
    }
}

/// A running program that is killed when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts it and waits for the address it prints first.
fn started(line: &str) -> (Running, String, BufReader<impl Read>) {
    started_by(ringtmp(line))
}

fn started_by(mut command: Command) -> (Running, String, BufReader<impl Read>) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let err = BufReader::new(child.stderr.take().expect("piped"));
    let mut url = String::new();
    out.read_line(&mut url).expect("it prints its address");
    (Running(child), url.trim().to_owned(), err)
}

#[test]
fn a_room_that_does_not_exist_ends_with_3_and_the_server_goes_on() {
    let (server, url, _err) = started("serve --port 0 --www no/such/folder");
    let (code, _, err) = ended(&mut ringtmp(&format!("watch {url}/r/0123456789abcdef")));
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("there is no room"), "{err}");
    drop(server);
}

/// What is left of the program when it is ended from outside; on Linux, where processes can be looked up.
#[cfg(target_os = "linux")]
mod ends {
    use super::{Running, started};
    use rustix::process::{Pid, Signal, kill_process, test_kill_process};
    use std::fs;
    use std::io::BufRead;
    use std::time::{Duration, Instant};

    /// How long processes may take to vanish after what ended them.
    const VANISH_MAX: Duration = Duration::from_secs(10);

    fn children(of: u32) -> Vec<Pid> {
        let tasks = fs::read_dir(format!("/proc/{of}/task")).expect("it runs");
        let lists = tasks
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let ids: Vec<i32> = lists
            .flat_map(|list| {
                list.split_whitespace()
                    .filter_map(|id| id.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        ids.into_iter().filter_map(Pid::from_raw).collect()
    }

    /// A demo that would train for hours, once it trains, and the processes it has started.
    fn training() -> (Running, Vec<Pid>) {
        let (demo, _, mut err) =
            started("demo --tabs 0 --natives 2 --steps 1000000 --executor cpu --port 0");
        let mut seen = String::new();
        while !seen.contains("training") {
            assert!(
                err.read_line(&mut seen).expect("its words") > 0,
                "it ended:\n{seen}"
            );
        }
        let children = children(demo.0.id());
        assert_eq!(children.len(), 3, "two devices and the guard");
        // Its words are read no more; they must not stop it.
        std::thread::spawn(move || for _ in err.lines() {});
        (demo, children)
    }

    fn signal(demo: &Running, signal: Signal) {
        let id = i32::try_from(demo.0.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("an id");
        kill_process(id, signal).expect("it runs");
    }

    /// Nothing tells when a process that is not our child ends, so they are looked up again and again.
    fn all_vanish(processes: &[Pid]) {
        let started = Instant::now();
        while processes
            .iter()
            .any(|id| test_kill_process(*id).is_ok() && !is_zombie(*id))
        {
            assert!(started.elapsed() < VANISH_MAX, "left behind: {processes:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One that has ended, where nobody reaps orphans (a container without an init).
    fn is_zombie(id: Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()));
        stat.is_ok_and(|stat| {
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim_start().starts_with('Z'))
        })
    }

    #[test]
    fn ctrl_c_ends_every_process_and_is_reported() {
        for ending in [Signal::INT, Signal::TERM] {
            let (mut demo, children) = training();
            signal(&demo, ending);
            let status = demo.0.wait().expect("it ends");
            assert_eq!(status.code(), Some(130));
            all_vanish(&children);
        }
    }

    #[test]
    fn even_when_the_demo_is_killed_its_devices_are_ended() {
        let (mut demo, children) = training();
        signal(&demo, Signal::KILL);
        demo.0.wait().expect("it ends");
        all_vanish(&children);
    }

    #[test]
    fn a_device_that_dies_ends_the_demo_with_4_and_its_name() {
        let (mut demo, children) = training();
        // The guard was started first.
        kill_process(children[1], Signal::KILL).expect("it runs");
        let status = demo.0.wait().expect("it ends");
        assert_eq!(status.code(), Some(4));
        all_vanish(&children);
    }
}

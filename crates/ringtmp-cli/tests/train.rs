//! `ringtmp train` and `ringtmp export` as their users meet them.

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A run that takes a second.
const SMALL: &str = "train --executor cpu --batch 8 --micro-batch 4 --evaluation-samples 40";

/// The parameters of `mlp` in the order of PyTorch's `state_dict`, and their shapes.
const MLP: [(&str, &[usize]); 6] = [
    ("0.weight", &[256, 784]),
    ("0.bias", &[256]),
    ("2.weight", &[128, 256]),
    ("2.bias", &[128]),
    ("4.weight", &[10, 128]),
    ("4.bias", &[10]),
];

/// Runs the program in this folder to its end.
fn ringtmp(folder: &Path, line: &str) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_ringtmp"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn succeeds(folder: &Path, line: &str) -> String {
    let (code, out, err) = ringtmp(folder, line);
    assert_eq!(code, Some(0), "{line}\n{out}{err}");
    out
}

fn fails(folder: &Path, line: &str) -> String {
    let (code, out, err) = ringtmp(folder, line);
    assert_eq!(code, Some(1), "{line}\n{out}{err}");
    err
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).expect("it was written")
}

/// The steps and losses of a log, as they are written.
fn log(folder: &Path, name: &str) -> Vec<(String, String)> {
    let text = String::from_utf8(read(folder, name)).expect("UTF-8");
    let (header, rows) = text.split_once('\n').expect("a header");
    assert_eq!(header, "step,loss,seconds");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let [step, loss, seconds] = cells[..] else {
            panic!("three cells, not {line}");
        };
        assert!(seconds.parse::<f64>().expect("seconds") >= 0.0);
        (step.to_owned(), loss.to_owned())
    };
    rows.lines().map(row).collect()
}

#[test]
fn a_run_is_trained_logged_and_exported_as_pytorch_names_it() {
    let folder = folder();
    let outputs = "--log log.csv --export weights.safetensors --gradient-norms norms.json";
    let out = succeeds(folder.path(), &format!("{SMALL} --steps 40 {outputs}"));
    assert!(
        out.contains("trained 40 steps") && out.contains("held-out accuracy"),
        "{out}"
    );
    let log = log(folder.path(), "log.csv");
    let steps: Vec<String> = (0..40).map(|step| step.to_string()).collect();
    assert_eq!(
        log.iter().map(|(step, _)| step.clone()).collect::<Vec<_>>(),
        steps
    );
    let loss = |row: &(String, String)| row.1.parse::<f32>().expect("a loss");
    let mean = |rows: &[(String, String)]| rows.iter().map(loss).sum::<f32>() / rows.len() as f32;
    assert!(
        mean(&log[35..]) < mean(&log[..5]),
        "nothing was learnt: {log:?}"
    );

    let bytes = read(folder.path(), "weights.safetensors");
    let weights = SafeTensors::deserialize(&bytes).expect("safetensors");
    assert_eq!(weights.len(), MLP.len());
    let norms: Value = serde_json::from_slice(&read(folder.path(), "norms.json")).expect("JSON");
    for (name, shape) in MLP {
        let tensor = weights.tensor(name).expect("a parameter");
        assert_eq!(
            (tensor.shape(), tensor.dtype()),
            (shape, Dtype::F32),
            "{name}"
        );
        assert!(norms[name].as_f64() > Some(0.0), "{norms}");
    }
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one_bit_for_bit() {
    let folder = folder();
    let path = folder.path();
    succeeds(
        path,
        &format!("{SMALL} --steps 12 --export whole.safetensors --log whole.csv"),
    );
    let kept = "--checkpoint kept --checkpoint-every 2 --log parts.csv";
    succeeds(path, &format!("{SMALL} --steps 5 {kept}"));
    let resumed = format!("{SMALL} --steps 12 {kept} --resume --export parts.safetensors");
    succeeds(path, &resumed);
    assert_eq!(
        read(path, "parts.safetensors"),
        read(path, "whole.safetensors")
    );
    assert_eq!(log(path, "parts.csv"), log(path, "whole.csv"));
    succeeds(
        path,
        "export --checkpoint kept --output exported.safetensors",
    );
    assert_eq!(
        read(path, "exported.safetensors"),
        read(path, "whole.safetensors")
    );
    let in_folder = fs::read_dir(path.join("kept")).expect("a folder").count();
    assert_eq!(in_folder, 1, "no temporary file is left");
}

#[test]
fn an_altered_cut_missing_or_foreign_checkpoint_is_refused() {
    let folder = folder();
    let path = folder.path();
    succeeds(path, &format!("{SMALL} --steps 2 --checkpoint kept"));
    let resume = format!("{SMALL} --steps 4 --checkpoint kept --resume");
    let file = path.join("kept/checkpoint.ringtmp");
    let whole = fs::read(&file).expect("a checkpoint");
    let err = fails(path, &format!("{resume} --seed 2"));
    assert!(err.contains("its seed is 1, not 2"), "{err}");
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 4;
    for bytes in [&altered[..], &whole[..whole.len() - 1], &whole[..20]] {
        fs::write(&file, bytes).expect("written");
        let err = fails(path, &resume);
        assert!(
            err.contains("damaged") && err.contains("checkpoint.ringtmp"),
            "{err}"
        );
        let export = "export --checkpoint kept --output x.safetensors";
        assert!(fails(path, export).contains("damaged"));
        assert_eq!(
            fs::read(&file).expect("still there"),
            bytes,
            "nothing is overwritten"
        );
    }
    fs::write(&file, b"something else").expect("written");
    assert!(fails(path, &resume).contains("no checkpoint"));
    fs::remove_file(&file).expect("it was there");
    assert!(fails(path, &resume).contains("cannot read"));
    fs::write(&file, &whole).expect("written");
    succeeds(path, &resume);
}

#[test]
fn a_local_ring_ends_with_the_weights_of_one_process() {
    let folder = folder();
    let path = folder.path();
    let outputs = |name: &str| format!("--log logs/{name}.csv --export {name}.safetensors");
    let line = format!("{SMALL} --steps 20 --codec f32");
    succeeds(path, &format!("{line} {}", outputs("one")));
    for transport in ["loopback", "webrtc"] {
        let ring = format!("{line} --peers 3 --transport {transport}");
        let out = succeeds(path, &format!("{ring} {}", outputs(transport)));
        assert!(out.contains("trained 20 steps"), "{out}");
        let weights = read(path, &format!("{transport}.safetensors"));
        assert_eq!(weights, read(path, "one.safetensors"), "{transport}");
        assert_eq!(
            log(path, &format!("logs/{transport}.csv")),
            log(path, "logs/one.csv")
        );
    }
    // A ring that begins with given weights, against one process that does.
    let begin = format!("{line} --init one.safetensors");
    succeeds(path, &format!("{begin} {}", outputs("further")));
    succeeds(path, &format!("{begin} --peers 2 {}", outputs("ring")));
    assert_eq!(
        read(path, "ring.safetensors"),
        read(path, "further.safetensors")
    );
    assert_ne!(
        read(path, "ring.safetensors"),
        read(path, "one.safetensors")
    );
}

#[test]
fn an_emulated_access_link_slows_links_and_changes_nothing_of_what_is_learnt() {
    let folder = folder();
    let path = folder.path();
    let line = format!("{SMALL} --steps 8 --codec f32 --peers 2");
    let refused = fails(path, &format!("{line} --access-link 50ms"));
    assert!(refused.contains("say --transport webrtc"), "{refused}");
    let alone = fails(path, &format!("{SMALL} --access-link 50ms"));
    assert!(alone.contains("--peers 2 or more"), "{alone}");
    for paradigm in ["ring", "all-reduce"] {
        let line = format!("{line} --paradigm {paradigm}");
        let near = format!("{line} --export near.safetensors");
        succeeds(path, &near);
        let far = "--transport webrtc --access-link 50ms --export far.safetensors --json far.json";
        succeeds(path, &format!("{line} {far}"));
        assert_eq!(
            read(path, "far.safetensors"),
            read(path, "near.safetensors"),
            "{paradigm}"
        );
        let result: Value = serde_json::from_slice(&read(path, "far.json")).expect("JSON");
        // A step goes there and back, each time through both access links.
        let least = 8.0 * 2.0 * 0.1;
        assert!(result["seconds"].as_f64() > Some(least), "{result}");
    }
}

#[test]
fn servers_and_all_reduce_train_what_one_process_trains_but_for_the_order_of_sums() {
    let folder = folder();
    let path = folder.path();
    let small = SMALL.replace("--batch 8", "--batch 12");
    let line = format!("{small} --steps 20 --codec f32");
    let alone = succeeds(path, &line);
    let outputs = "--log log.csv --trace trace.json --json result.json --export w.safetensors";
    for paradigm in ["parameter-server --placement colocated", "all-reduce"] {
        for transport in ["loopback", "webrtc"] {
            let team = format!("{line} --paradigm {paradigm} --peers 3 --transport {transport}");
            let out = succeeds(path, &team);
            // Four digits of the loss and all answers are the same.
            assert_eq!(out, alone, "{paradigm}");
        }
        let team = format!("{line} --paradigm {paradigm} --peers 3 {outputs}");
        assert_eq!(succeeds(path, &team), "");
        assert_eq!(log(path, "log.csv").len(), 20);
        let result: Value = serde_json::from_slice(&read(path, "result.json")).expect("JSON");
        let word = paradigm.split(' ').next();
        assert_eq!(result["paradigm"].as_str(), word);
        assert_eq!(result["samples"], 240);
        let members = result["members"].as_array().expect("a list");
        assert_eq!(members.len(), 3);
        for member in members {
            assert_eq!(member["micro_batches"], 1, "of three workers each has one");
            assert!(member["bytes_sent"].as_u64() > Some(1_000_000), "{member}");
            let idle = member["idle"].as_f64().expect("a share");
            assert!((0.0..1.0).contains(&idle), "{member}");
        }
        let told = succeeds(path, "trace trace.json");
        assert!(told.contains("member 3"), "{told}");
        let bytes = read(path, "w.safetensors");
        let weights = SafeTensors::deserialize(&bytes).expect("safetensors");
        assert_eq!(weights.names().len(), MLP.len());
    }
}

#[test]
fn a_run_that_is_trained_under_virtual_time_learns_what_real_members_learn() {
    let folder = folder();
    let path = folder.path();
    let runs = [
        "paradigm = 'all-reduce'",
        "paradigm = 'parameter-server'\nparameter_server.placement = 'colocated'",
    ];
    for paradigm in runs {
        let toml = format!(
            "batch = 12\nmicro_batch = 4\nsteps = 15\nevaluation_samples = 40\n{paradigm}\n"
        );
        fs::write(path.join("run.toml"), toml).expect("written");
        succeeds(
            path,
            "train --run run.toml --executor cpu --peers 3 --json real.json --log real.csv",
        );
        succeeds(
            path,
            "sim --run run.toml --peers 3 --rate 1e6 --json sim.json --log sim.csv",
        );
        let result = |name| -> Value { serde_json::from_slice(&read(path, name)).expect("JSON") };
        let (real, sim) = (result("real.json"), result("sim.json"));
        assert_eq!(real["digests"], sim["digests"], "{paradigm}");
        assert_eq!(log(path, "real.csv"), log(path, "sim.csv"));
        let idle = sim["idle_workers"].as_f64().expect("a share");
        assert!(
            idle > 0.0 && sim["test_accuracy"].as_f64() > Some(0.1),
            "{sim:#}"
        );
    }
    fs::write(path.join("run.toml"), "steps = 2").expect("written");
    let ring = fails(path, "sim --run run.toml");
    assert!(ring.contains("paradigm"), "{ring}");
    let (code, _, err) = ringtmp(path, "sim --run run.toml --steps 3");
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn what_a_paradigm_cannot_do_is_said() {
    let folder = folder();
    let path = folder.path();
    let refused = |line: &str| fails(path, &format!("{SMALL} --steps 1 {line}"));
    let alone = refused("--paradigm parameter-server");
    assert!(alone.contains("--peers 2 or more"), "{alone}");
    let crowd = refused("--paradigm all-reduce --peers 3");
    assert!(crowd.contains("too few for 3 workers"), "{crowd}");
    let tau = refused("--paradigm all-reduce --peers 2 --tau 4");
    assert!(tau.contains("parameter-server"), "{tau}");
    let schedule = refused("--paradigm parameter-server --peers 2 --schedule 2bw");
    assert!(schedule.contains("schedule = 2bw"), "{schedule}");
    let line = format!("{SMALL} --steps 1 --paradigm parameter-server --peers 2 --memory 1MB");
    let (code, _, err) = ringtmp(path, &line);
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("a worker holds the whole model"), "{err}");
}

#[test]
fn a_ring_whose_devices_train_on_their_own_samples_ends_with_the_weights_of_one_process() {
    let folder = folder();
    let path = folder.path();
    // Two micro-batches a step do not divide among three devices. Who takes part shall not depend on how busy they are.
    let line = format!("{SMALL} --steps 7 --source every --codec f32 --planning counted");
    for (split, devices) in [("even", 3), ("by-label", 3), ("by-label", 2)] {
        let line = format!("{line} --split {split}");
        succeeds(
            path,
            &format!("{line} --sources {devices} --export one.safetensors"),
        );
        let one = read(path, "one.safetensors");
        succeeds(
            path,
            &format!("{line} --peers {devices} --export ring.safetensors"),
        );
        assert_eq!(read(path, "ring.safetensors"), one, "{split} {devices}");
        succeeds(path, &format!("{line} --export other.safetensors"));
        assert_ne!(read(path, "other.safetensors"), one, "of one device");
    }
    let err = fails(path, &format!("{SMALL} --split by-label"));
    assert!(err.contains("split") && err.contains("source"), "{err}");
}

#[test]
fn a_run_file_is_read_and_flags_win_over_it() {
    let folder = folder();
    let path = folder.path();
    let toml = "steps = 3\nbatch = 8\nmicro_batch = 4\nevaluation_samples = 0\ndata.order = 'sequential'\n";
    fs::write(path.join("run.toml"), toml).expect("written");
    let out = succeeds(path, "train --executor cpu --run run.toml");
    assert!(
        out.contains("trained 3 steps") && !out.contains("held-out"),
        "{out}"
    );
    let out = succeeds(
        path,
        "train --executor cpu --run run.toml --steps 2 --batch 6",
    );
    assert!(out.contains("trained 2 steps"), "{out}");
    fs::write(path.join("run.toml"), "stepz = 3").expect("written");
    let err = fails(path, "train --run run.toml");
    assert!(err.contains("run.toml") && err.contains("stepz"), "{err}");
}

#[test]
fn a_transformer_of_any_sizes_learns_sums_and_texts() {
    let folder = folder();
    let path = folder.path();
    let sizes = "--preset gpt --depth 1 --width 16 --heads 2 --context 10";
    let line = format!("{SMALL} --steps 30 {sizes} --optimizer nadam --learning-rate 0.01");
    fs::write(path.join("text.txt"), "to be or not to be, ".repeat(40)).expect("written");
    for data in ["addition", "text:text.txt"] {
        succeeds(path, &format!("{line} --data {data} --log log.csv"));
        let log = log(path, "log.csv");
        let loss = |row: &(String, String)| row.1.parse::<f32>().expect("a loss");
        assert!(loss(&log[29]) < 0.9 * loss(&log[0]), "{data}: {log:?}");
    }
    // Of a preset for text the usual data are sums.
    assert_eq!(
        succeeds(path, &line),
        succeeds(path, &format!("{line} --data addition"))
    );
    let err = fails(path, &format!("{line} --data text:text.txt --vocabulary 3"));
    assert!(err.contains("larger vocabulary"), "{err}");
    let err = fails(path, &format!("{line} --momentum 0.9"));
    assert!(err.contains("optimizer.momentum = 0.9"), "{err}");
    let err = fails(path, &format!("{SMALL} --preset gpt --heads 3"));
    assert!(err.contains("layer 1") && err.contains("128"), "{err}");
}

#[test]
fn a_trained_model_of_text_goes_on_with_a_prompt() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("text.txt"), "ab\n".repeat(200)).expect("written");
    let toml = "
        steps = 60
        batch = 8
        micro_batch = 4
        model = { preset = 'gpt', depth = 1, width = 16, heads = 2, context = 6, vocabulary = 5 }
        data.set = 'text:text.txt'
        optimizer = { rule = 'adam', learning_rate = 0.01 }";
    fs::write(path.join("run.toml"), toml).expect("written");
    let kept = "--checkpoint kept --export weights.safetensors";
    succeeds(path, &format!("train --executor cpu --run run.toml {kept}"));
    let generate = "generate --executor cpu --prompt ab --temperature 0 --length 10";
    // Longer than the context, and by either way to the weights.
    let text = succeeds(path, &format!("{generate} --checkpoint kept"));
    assert_eq!(text, "ab\nab\nab\nab\n\n");
    let weights = "--weights weights.safetensors --run run.toml";
    assert_eq!(succeeds(path, &format!("{generate} {weights}")), text);
    let until = succeeds(path, &format!("{generate} --checkpoint kept --until b"));
    assert_eq!(until, "ab\na\n");
    let hot = "generate --executor cpu --prompt a --temperature 3 --length 40 --checkpoint kept";
    let drawn = succeeds(path, hot);
    assert_eq!(drawn, succeeds(path, hot));
    assert_ne!(drawn, succeeds(path, &format!("{hot} --seed 2")));
    let err = fails(path, "generate --checkpoint kept --prompt abc");
    assert!(err.contains("does not know the character 'c'"), "{err}");
    let err = fails(path, &format!("{hot}x"));
    assert!(err.contains("keptx"), "{err}");
    succeeds(path, &format!("{SMALL} --steps 1 --checkpoint digits"));
    let err = fails(path, "generate --checkpoint digits --prompt a");
    assert!(err.contains("takes numbers"), "{err}");
}

#[test]
fn a_trained_model_tells_classes_and_how_often_it_is_right() {
    let folder = folder();
    let path = folder.path();
    let trained = succeeds(
        path,
        &format!("{SMALL} --steps 30 --checkpoint mlp --export mlp.safetensors"),
    );
    let predict = "predict --executor cpu --checkpoint mlp";
    let told = succeeds(path, &format!("{predict} --samples 40 --json"));
    let lines: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let (total, samples) = lines.split_last().expect("lines");
    assert_eq!((samples.len(), &total["samples"]), (40, &Value::from(40)));
    for sample in samples {
        let shares = sample["probabilities"].as_array().expect("shares").iter();
        let shares: Vec<f64> = shares
            .map(|share| share.as_f64().expect("a share"))
            .collect();
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{sample}");
        let class = sample["class"].as_u64().expect("a class") as usize;
        assert!(
            shares.iter().all(|share| *share <= shares[class]),
            "{sample}"
        );
    }
    let right = samples
        .iter()
        .filter(|sample| sample["class"] == sample["label"]);
    let right = right.count() as f64 / 40.0;
    assert_eq!(total["right"].as_f64(), Some(right));
    // What training said of the same samples.
    let words = format!("held-out accuracy {:.1} %", 100.0 * right);
    assert!(trained.contains(&words), "{trained} {words}");
    // Two pictures of paper, and a table that is none of 784 numbers.
    let mut images = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28];
    images.resize(images.len() + 2 * 784, 0);
    fs::write(path.join("images"), images).expect("written");
    let told = succeeds(path, &format!("{predict} --images images"));
    assert_eq!(told.matches("class").count(), 2, "{told}");
    fs::write(path.join("rows.csv"), "1,2,3\n").expect("written");
    let refused = fails(path, &format!("{predict} --rows rows.csv"));
    assert!(refused.contains("the model takes 784"), "{refused}");
    let refused = fails(path, &format!("{predict} --prompt 17+25="));
    assert!(refused.contains("takes numbers"), "{refused}");
    let sums = "batch = 8\nmicro_batch = 4\nsteps = 5\nevaluation_samples = 20
        model = { preset = 'gpt', depth = 1, width = 16, heads = 2, context = 10 }";
    fs::write(path.join("sums.toml"), sums).expect("written");
    let foreign = "predict --executor cpu --weights mlp.safetensors --run sums.toml";
    assert!(fails(path, foreign).contains("those of another model"));
}

#[test]
fn held_out_sums_are_answered_one_by_one_as_often_right_as_training_said() {
    let folder = folder();
    let path = folder.path();
    // It knows little but how sums are written, and now and then is right.
    let run = "batch = 32\nmicro_batch = 32\nsteps = 150\nevaluation_samples = 2000
        model = { preset = 'gpt', depth = 1, width = 32, heads = 2, context = 10 }
        optimizer = { rule = 'adamw', learning_rate = 0.01, clip_norm = 1.0 }";
    fs::write(path.join("sums.toml"), run).expect("written");
    let line = "train --executor cpu --run sums.toml --checkpoint sums";
    let trained = succeeds(path, line);
    let predict = "predict --executor cpu --checkpoint sums --json";
    let told = succeeds(path, predict);
    let lines: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let (total, sums) = lines.split_last().expect("lines");
    let right = sums.iter().filter(|sum| sum["answer"] == sum["expected"]);
    let right = right.count() as f64 / sums.len() as f64;
    assert_eq!(total["right"].as_f64(), Some(right));
    let words = format!("held-out exact match {:.1} %", 100.0 * right);
    assert!(trained.contains(&words), "{trained} {words}");
    let asked = succeeds(
        path,
        "predict --executor cpu --checkpoint sums --prompt 17+25=",
    );
    assert!(
        asked.starts_with("17+25=") && asked.contains('%'),
        "{asked}"
    );
}

#[test]
fn a_table_on_disk_is_trained_on_and_what_does_not_fit_is_said() {
    let folder = folder();
    let path = folder.path();
    let row = |i: usize| {
        let pixels = (0..784).map(|column| u8::from(column % 10 == i % 10).to_string());
        pixels
            .chain([(i % 10).to_string()])
            .collect::<Vec<_>>()
            .join(",")
    };
    let table: Vec<String> = (0..40).map(row).collect();
    fs::write(path.join("table.csv"), table.join("\n")).expect("written");
    let line = "train --executor cpu --batch 4 --steps 30 --data";
    let out = succeeds(path, &format!("{line} csv:table.csv --order sequential"));
    assert!(out.contains("trained 30 steps"), "{out}");
    fs::write(path.join("table.csv"), "1,2,3\n1,x,3\n").expect("written");
    let err = fails(path, &format!("{line} csv:table.csv"));
    assert!(err.contains("line 2, column 2"), "{err}");
    assert!(fails(path, &format!("{line} text:no-such-file")).contains("no-such-file"));
    assert!(fails(path, &format!("{line} idx:.")).contains("no IDX files"));
    let err = fails(path, &format!("{line} digits --init no-such-weights"));
    assert!(err.contains("no-such-weights"), "{err}");
    let err = fails(path, &format!("{line} addition"));
    assert!(err.contains("text") && err.contains("numbers"), "{err}");
}

#[test]
fn weights_that_diverge_are_said_and_the_last_good_checkpoint_stays() {
    let folder = folder();
    let path = folder.path();
    let line = format!("{SMALL} --learning-rate 1e9 --checkpoint kept --checkpoint-every 1");
    let err = fails(path, &format!("{line} --steps 50"));
    assert!(err.contains("diverged"), "{err}");
    succeeds(path, "export --checkpoint kept --output last.safetensors");
    let bytes = read(path, "last.safetensors");
    let weights = SafeTensors::deserialize(&bytes).expect("safetensors");
    let values = weights
        .tensor("0.weight")
        .expect("a parameter")
        .data()
        .to_vec();
    let (values, _) = values.as_chunks::<4>();
    assert!(
        values
            .iter()
            .all(|value| f32::from_le_bytes(*value).is_finite())
    );
}

/// How long the program may take to begin, or to end when it is told to.
#[cfg(unix)]
const PROMPT_MAX: std::time::Duration = std::time::Duration::from_secs(60);

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_its_weights_and_goes_on_later() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::time::{Duration, Instant};
    let folder = folder();
    let path = folder.path();
    let line = format!("{SMALL} --checkpoint kept --checkpoint-every 1000000 --log log.csv");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringtmp"))
        .args(format!("{line} --steps 1000000").split_whitespace())
        .current_dir(path)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let begun = Instant::now();
    // The log is all that tells of a step; it is looked at again and again.
    while fs::read_to_string(path.join("log.csv")).map_or(0, |log| log.lines().count()) < 4 {
        let waited = begun.elapsed();
        if waited > PROMPT_MAX {
            child.kill().expect("it runs");
            panic!("no step within {waited:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(id.expect("an id"), Signal::INT).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let done = log(path, "log.csv").len();
    let out = succeeds(path, "export --checkpoint kept --output x.safetensors");
    assert!(out.contains(&format!("after step {done}")), "{out}");
    let steps = done + 2;
    succeeds(path, &format!("{line} --steps {steps} --resume"));
    assert_eq!(log(path, "log.csv").len(), steps);
}

/// PyTorch's losses and gradient norms, by `make.py` of the reference folder, if it is there.
#[test]
fn mlp_follows_pytorch_step_by_step() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let reference = std::env::var_os("RINGTMP_SHARED").map_or(shared, Into::into);
    let (expected, weights) = (
        reference.join("reference/mlp.json"),
        reference.join("reference/mlp.init.safetensors"),
    );
    let data = reference.join("data/mnist-10k");
    let (Ok(expected), true, true) = (fs::read(&expected), weights.exists(), data.exists()) else {
        eprintln!("SKIP: no reference: {} is not there", expected.display());
        return;
    };
    let expected: Value = serde_json::from_slice(&expected).expect("JSON");
    let losses = expected["losses"].as_array().expect("losses");
    let folder = folder();
    let path = folder.path();
    succeeds(
        path,
        &format!(
            "train --executor cpu --preset mlp --order sequential --init {} --data idx:{} --batch {} --learning-rate {} \
             --steps {} --log log.csv --gradient-norms norms.json",
            weights.display(),
            data.display(),
            expected["batch"],
            expected["lr"],
            losses.len(),
        ),
    );
    let near = |ours: f64, theirs: &Value, bound: f64, what: &str| {
        let theirs = theirs.as_f64().expect("a number");
        // A comparison that is false for what is no number.
        assert!(
            (ours - theirs).abs() <= bound * theirs.abs(),
            "{what}: {ours}, PyTorch {theirs}"
        );
    };
    let log = log(path, "log.csv");
    assert_eq!(log.len(), losses.len());
    for ((step, ours), theirs) in log.iter().zip(losses) {
        near(
            ours.parse().expect("a loss"),
            theirs,
            1e-4,
            &format!("step {step}"),
        );
    }
    let norms: Value = serde_json::from_slice(&read(path, "norms.json")).expect("JSON");
    for (name, theirs) in expected["first_gradient_norms"].as_object().expect("norms") {
        near(norms[name].as_f64().expect("a norm"), theirs, 1e-3, name);
    }
}

#[test]
fn one_device_that_is_emulated_is_a_ring_of_one_and_learns_what_one_process_does() {
    let folder = folder();
    let path = folder.path();
    let small = format!("{SMALL} --steps 3 --evaluate-every 2");
    succeeds(path, &format!("{small} --export alone.safetensors"));
    let emulated = "--peers 1 --pace 200M --trace trace.json --json - --export one.safetensors";
    let out = succeeds(path, &format!("{small} {emulated}"));
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["peers"].as_array().map(Vec::len), Some(1));
    let steps = |place: usize| json["evaluations"][place]["steps"].as_u64();
    assert_eq!([steps(0), steps(1), steps(2)], [Some(2), Some(3), None]);
    assert_eq!(
        json["evaluations"][1]["accuracy"], json["test_accuracy"],
        "{json}"
    );
    assert_eq!(
        read(path, "one.safetensors"),
        read(path, "alone.safetensors")
    );
    assert!(!read(path, "trace.json").is_empty());
    let both = format!("{small} --peers 1 --pace 200M --checkpoint kept");
    assert!(fails(path, &both).contains("keeps no checkpoints"));
    let json = fails(path, &format!("{small} --json x.json"));
    assert!(json.contains("tells of a ring"), "{json}");
}

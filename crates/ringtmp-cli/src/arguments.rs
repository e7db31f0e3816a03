//! The command line.

use crate::commands;
use crate::commands::bench::Bench;
use crate::commands::completions::Completions;
use crate::commands::curves::Curves;
use crate::commands::doctor::Doctor;
use crate::commands::energy::Energy;
use crate::commands::experiment::ExperimentArguments;
use crate::commands::generate::Generate;
use crate::commands::idle::Idle;
use crate::commands::man::Man;
use crate::commands::predict::Predict;
use crate::commands::serve::RoomForAll;
use crate::commands::sim::Sim;
use crate::commands::trace::Trace;
use crate::exit;
use crate::help;
use crate::kept::KeepChoice;
use crate::memory::{Medium, Memory};
use crate::network::NetworkChoice;
use crate::page;
use crate::room_url::RoomUrl;
use crate::run_choice::RunChoice;
use crate::speed::Speed;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use ringtmp_core::signal::IceServer;
use ringtmp_peer::{DataSpecError, ExecutorChoice, OwnSamples};
use ringtmp_transport::ServerAddress;
use ringtmp_transport::native::AccessLink;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  ringtmp train --preset mlp --data digits --steps 500
  ringtmp demo                          three tabs of a browser train a network as a ring
  ringtmp demo --tabs 2 --natives 1     two tabs and a native process
  ringtmp serve                         the page at http://127.0.0.1:8080, for other devices at https://ADDRESS:8443
  ringtmp join 'http://localhost:8080/r/CODE#secret=SECRET'
  ringtmp watch http://localhost:8080/r/CODE";

const RESUME_EXAMPLES: &str = "\
Examples:
  ringtmp resume
  ringtmp resume 0abc --peers 3         then open the room that it prints on the other devices
  ringtmp resume 0abc --forget";

const PS_EXAMPLES: &str = "\
Examples:
  ringtmp ps                            opens a room on this computer's server and prints its address
  ringtmp ps --exit-when-finished --export mlp.safetensors
  ringtmp ps --shards 2 --workers 3 --run server.toml
  ringtmp ps 'http://localhost:8080/r/CODE#secret=SECRET'";

const SERVE_EXAMPLES: &str = "\
Examples:
  ringtmp serve
  ringtmp serve --no-lan --port 0
  ringtmp serve --cert fullchain.pem --key privkey.pem --host-name ring.example";

const DOCTOR_EXAMPLES: &str = "\
Exit codes:
  0    a demo starts here; what is limited is told
  5    something is missing without which it does not

Examples:
  ringtmp doctor
  ringtmp doctor --json --lan-port 9443";

const DEMO_EXAMPLES: &str = "\
Examples:
  ringtmp demo --tabs 3 --steps 500
  ringtmp demo --tabs 2 --natives 1 --executor cpu
  ringtmp demo --data idx:path/to/mnist
  ringtmp demo --preset gpt-nano --data text:shakespeare.txt
  ringtmp demo --preset cnn
  ringtmp demo --open
  ringtmp demo --access-link 4ms,32mbit
  ringtmp demo --headless --json result.json";

const TRAIN_EXAMPLES: &str = "\
Examples:
  ringtmp train --steps 500 --export mlp.safetensors
  ringtmp train --preset gpt-nano --optimizer nadam --learning-rate 0.002
  ringtmp train --run run.toml --checkpoint run --log run/log.csv
  ringtmp train --run run.toml --checkpoint run --log run/log.csv --resume
  ringtmp train --data idx:path/to/mnist --order sequential --init weights.safetensors
  ringtmp train --peers 3 --transport webrtc --trace ring.json
  ringtmp train --peers 3 --pace 1,4,4
  ringtmp train --peers 3 --transport webrtc --access-link 4ms,32mbit
  ringtmp train --paradigm parameter-server --placement colocated --tau 4 --peers 4
  ringtmp train --paradigm all-reduce --peers 3 --transport webrtc";

const BENCH_EXAMPLES: &str = "\
Examples:
  ringtmp bench
  ringtmp bench --preset gpt-nano --executor gpu --products \"\"
  ringtmp bench ring --run run.toml --peers 2,4
  ringtmp bench plan --peers 64 --layers 500";

const GENERATE_EXAMPLES: &str = "\
Examples:
  ringtmp generate --checkpoint sums --prompt 17+25= --temperature 0 --until $'\\n'
  ringtmp generate --weights gpt.safetensors --run run.toml --prompt ROMEO: --length 500";

const PREDICT_EXAMPLES: &str = "\
Examples:
  ringtmp predict --checkpoint run
  ringtmp predict --checkpoint run --images t10k-images-idx3-ubyte.gz --json
  ringtmp predict --weights iris.safetensors --run iris.toml --rows flowers.csv
  ringtmp predict --checkpoint sums --prompt 17+25= --prompt 50+50=";

const SIM_EXAMPLES: &str = "\
Examples:
  ringtmp sim --schedule sync --hop-delay 1
  ringtmp sim --schedule 2bw --hop-delay 3 --jitter 0.6 --rings 10 --json -
  ringtmp sim --peers 4 --steps 3 --timeline ring.svg --trace ring.json
  ringtmp sim --paradigm parameter-server --placement colocated --tau 4 --jitter 0.6 --rate 20e6
  ringtmp sim --run server.toml --peers 4 --rate 1e6 --log server.csv
  ringtmp trace ring.json";

const EXPERIMENT_EXAMPLES: &str = "\
Examples:
  ringtmp experiment all --simulated --quick
  ringtmp experiment idle --simulated --seeds 10 --out idle-report";

const CURVES_EXAMPLES: &str = "\
Examples:
  ringtmp curves sync=sync-1.csv,sync-2.csv 2bw=2bw-1.csv,2bw-2.csv
  ringtmp curves sync=sync.csv async=async.csv --batch 16 --svg curves.svg";

const IDLE_EXAMPLES: &str = "\
Examples:
  ringtmp idle --natives 4
  ringtmp idle --natives 1 --tabs 2 --schedule 1f1b --json -
  ringtmp idle --natives 3 --pace 1,2,2";

/// Train one neural network on several devices, as a ring of browser tabs and native processes.
#[derive(Debug, Parser)]
#[command(name = "ringtmp", version, long_version = page::version())]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}\n\n{}", exit::EXIT_CODES, help::ENVIRONMENT))]
pub(crate) struct Arguments {
    /// Log more; repeat for more still. RUST_LOG overrides it
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Draw no progress, give no hints, and log errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the signalling server, which also serves the page: to this device over HTTP, to others over HTTPS
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Join a room as a native device
    #[command(after_help = help::JOIN_EXAMPLES)]
    Join(Join),
    /// List the runs that are kept on this device, or go on with one of them in a new room
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(Resume),
    /// Serve the parameters of a room whose devices hold whole models; opens one, or joins one that is there
    #[command(after_help = PS_EXAMPLES)]
    Ps(commands::ps::Serve),
    /// Watch a room in the terminal
    #[command(after_help = help::WATCH_EXAMPLES)]
    Watch(Watch),
    /// Start a server, open browser tabs, train, and show it
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Demo),
    /// Train in this process, or by several peers in it: a ring, a parameter server, or all-reduce
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(Train),
    /// Write the weights of a checkpoint as safetensors, as PyTorch names and shapes them
    #[command(after_help = help::EXPORT_EXAMPLES)]
    Export(Export),
    /// Let a trained model of text go on with a prompt
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(Generate),
    /// Tell what a trained model says of images, rows or texts, and how often it is right on held-out samples
    #[command(after_help = PREDICT_EXAMPLES)]
    Predict(Predict),
    /// Measure how fast this device trains, and what a ring costs
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(Bench),
    /// Simulate a ring, a parameter server or all-reduce under virtual time, and tell how idle its devices are
    #[command(after_help = SIM_EXAMPLES)]
    Sim(Sim),
    /// Compare ring, parameter server and all-reduce on emulated devices, and write a report
    #[command(after_help = EXPERIMENT_EXAMPLES)]
    Experiment(ExperimentArguments),
    /// Tell from traces how their peers spent their time
    #[command(after_help = help::TRACE_EXAMPLES)]
    Trace(Trace),
    /// Compare training runs by their logs: how many samples it takes one to get as far as another
    #[command(after_help = CURVES_EXAMPLES)]
    Curves(Curves),
    /// Measure how idle paced devices are, beside what the simulator says
    #[command(after_help = IDLE_EXAMPLES)]
    Idle(Idle),
    /// Check what a demo and other devices need here, and say what to do where it is missing
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Measure joules, or estimate them where no meter can be read
    #[command(after_help = help::ENERGY_EXAMPLES)]
    Energy(Energy),
    /// Print what a shell needs to complete commands and options
    #[command(after_help = help::COMPLETIONS_EXAMPLES)]
    Completions(Completions),
    /// Print the manual
    #[command(after_help = help::MAN_EXAMPLES)]
    Man(Man),
    /// End the process groups named on standard input once it is closed
    #[command(hide = true)]
    Guard,
}

/// Where a server listens and where its page is.
#[derive(Args, Clone, Debug)]
pub(crate) struct Listen {
    /// The address to listen on; 0.0.0.0 lets other devices in
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// The folder of the built page; without it the page that is part of this program, or, where there is none, dist/www
    #[arg(long, value_name = "DIR")]
    pub(crate) www: Option<PathBuf>,
    /// A name under which this server is asked, besides its addresses, localhost and this device's own name; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) host_name: Vec<String>,
    /// A server by which devices find each other that are not in one network (stun:HOST:PORT), or that relays for those that
    /// cannot reach each other (turn:NAME:PASSWORD@HOST:PORT); may be repeated. Without it nobody else is ever asked
    #[arg(long, value_name = "URL")]
    pub(crate) ice_server: Vec<IceServer>,
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) listen: Listen,
    #[command(flatten)]
    pub(crate) network: NetworkChoice,
    /// A folder of IDX files to serve at /data, for runs whose data is idx:/data; or a text or table to serve at /data/file, for
    /// runs whose data is text:/data/file or csv:/data/file
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) room: RoomForAll,
}

#[derive(Args, Debug)]
pub(crate) struct Join {
    /// The room's address, such as http://localhost:8080/r/CODE#secret=SECRET; where the certificate of an https address signs itself,
    /// with sha256=HEX behind the #, as the server prints it
    #[arg(env = "RINGTMP_ROOM", hide_env_values = true)]
    pub(crate) url: RoomUrl,
    /// What computes: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    pub(crate) executor: ExecutorChoice,
    /// The device's name for people
    #[arg(long, default_value_t = default_name())]
    pub(crate) name: String,
    /// Where every device trains on its own samples, what this one has: idx:DIR, text:FILE or csv:FILE on this device, or none;
    /// without it, a share of the run's data
    #[arg(long, value_name = "SPEC")]
    pub(crate) data: Option<OwnData>,
    /// Leave when the run has finished
    #[arg(long)]
    pub(crate) exit_when_finished: bool,
    /// When the run has finished, write the whole model to this file as safetensors; a ring's other devices have to stay until it is
    /// fetched from them
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) export: Option<PathBuf>,
    /// Emulate the link between this device and all others: a delay one way, a rate, or both
    #[arg(long, value_name = "25ms,10mbit")]
    pub(crate) access_link: Option<AccessLink>,
    /// How much memory this device gives; without it a quarter of what the machine has, where that can be told
    #[arg(long, value_name = "500MB")]
    pub(crate) memory: Option<Memory>,
    /// The Wi-Fi that this device shares with all others that name one, and what it carries: all frames between them take its time
    /// twice
    #[arg(long, value_name = "54mbit")]
    pub(crate) medium: Option<Medium>,
    /// Be as slow as a device of so many operations per second, such as 20M
    #[arg(long, value_name = "SPEED")]
    pub(crate) pace: Option<Speed>,
    /// Write all that this device does to this file, as Chrome trace-event JSON
    #[arg(long, value_name = "FILE.json")]
    pub(crate) trace: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) keep: KeepChoice,
}

#[derive(Args, Debug)]
pub(crate) struct Resume {
    /// The run, or how its code begins; without it the runs are listed
    pub(crate) run: Option<String>,
    /// Remove what is kept of it, instead of going on
    #[arg(long, requires = "run")]
    pub(crate) forget: bool,
    /// The server on which to open a room for it
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) server: ServerAddress,
    /// Open a room without a secret: whoever reaches the server and hears the room's code may take part
    #[arg(long, conflicts_with = "forget")]
    pub(crate) open: bool,
    /// Go on by itself when so many devices are there, this one included; 0 to wait for somebody to press start
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub(crate) peers: u16,
    /// The folder in which runs are kept; without it that of the user
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// What computes: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    pub(crate) executor: ExecutorChoice,
    /// The device's name for people
    #[arg(long, default_value_t = default_name())]
    pub(crate) name: String,
    /// Leave when the run has finished
    #[arg(long)]
    pub(crate) exit_when_finished: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// The room's address, such as http://localhost:8080/r/CODE
    pub(crate) url: RoomUrl,
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// How many browser tabs take part
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=16))]
    pub(crate) tabs: u16,
    /// How many native processes take part
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=16))]
    pub(crate) natives: u16,
    #[command(flatten)]
    pub(crate) run: RunChoice,
    /// Open a room without a secret: whoever reaches the server and hears the room's code may take part
    #[arg(long)]
    pub(crate) open: bool,
    /// What computes in every device: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    pub(crate) executor: ExecutorChoice,
    /// Emulate the link between each device and all others: a delay one way, a rate, or both; of a tab also that to the server
    #[arg(long, value_name = "25ms,10mbit")]
    pub(crate) access_link: Option<AccessLink>,
    /// How much memory each device gives; without it a tab gives an eighth of what its browser tells of, a native device a quarter of
    /// the machine's
    #[arg(long, value_name = "500MB")]
    pub(crate) memory: Option<Memory>,
    /// Write the result to this file ("-" for standard output) and exit
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) listen: Listen,
    #[command(flatten)]
    pub(crate) network: NetworkChoice,
    /// Show the browser's windows
    #[arg(long, conflicts_with = "headless")]
    pub(crate) headed: bool,
    /// Do not show the browser's windows; the default where there is no display
    #[arg(long)]
    pub(crate) headless: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Train {
    #[command(flatten)]
    pub(crate) run: RunChoice,
    /// Train in one process as so many devices would of which each has its own samples
    #[arg(long, value_name = "DEVICES", conflicts_with = "peers", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) sources: Option<u16>,
    /// Peers: of a ring stages, of other paradigms workers and servers together; 1 trains in one process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) peers: u16,
    /// What carries the peers' tensors
    #[arg(long, value_enum, default_value_t = Transport::Loopback)]
    pub(crate) transport: Transport,
    /// What computes: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    pub(crate) executor: ExecutorChoice,
    /// Be as slow as devices of these speeds, one for each peer: how many times slower than each other (1,4,4), or operations
    /// per second (20M,5M,5M)
    #[arg(long, value_name = "SPEEDS", value_delimiter = ',')]
    pub(crate) pace: Vec<Speed>,
    /// Emulate the link between each peer and all others: a delay one way, a rate, or both; for --transport webrtc
    #[arg(long, value_name = "25ms,10mbit")]
    pub(crate) access_link: Option<AccessLink>,
    /// How much memory each peer gives; without it the peers share a quarter of what the machine has
    #[arg(long, value_name = "500MB")]
    pub(crate) memory: Option<Memory>,
    /// Write all that the peers do to this file, as Chrome trace-event JSON
    #[arg(long, value_name = "FILE.json")]
    pub(crate) trace: Option<PathBuf>,
    /// Begin with these weights instead of those that the seed gives
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "resume")]
    pub(crate) init: Option<PathBuf>,
    /// Write the result of several peers to this file ("-" for standard output)
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write step, loss and seconds of every step
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) log: Option<PathBuf>,
    /// Write the norm of every parameter's gradient in the first step
    #[arg(long, value_name = "FILE.json")]
    pub(crate) gradient_norms: Option<PathBuf>,
    /// Write the last weights
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) export: Option<PathBuf>,
    /// Keep a checkpoint in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Keep it after every so many steps, and at the end
    #[arg(long, value_name = "STEPS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) checkpoint_every: u32,
    /// Go on from the checkpoint
    #[arg(long, requires = "checkpoint")]
    pub(crate) resume: bool,
}

/// What carries tensors between peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// Memory
    Loopback,
    /// Data channels, as between devices
    Webrtc,
}

/// What a device has of its own.
#[derive(Clone, Debug)]
pub(crate) struct OwnData(pub(crate) OwnSamples);

impl FromStr for OwnData {
    type Err = DataSpecError;

    fn from_str(text: &str) -> Result<Self, DataSpecError> {
        Ok(Self(match text {
            "none" => OwnSamples::None,
            spec => OwnSamples::Data(spec.parse()?),
        }))
    }
}

#[derive(Args, Debug)]
pub(crate) struct Export {
    /// The folder of the checkpoint
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoint: PathBuf,
    /// Where to write the weights
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) output: PathBuf,
}

fn default_name() -> String {
    format!("native on {}", std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_its_help_has_examples() {
        let mut command = Arguments::command();
        command.clone().debug_assert();
        assert!(
            command
                .render_help()
                .to_string()
                .contains("ringtmp demo --tabs 2 --natives 1")
        );
        assert!(
            command
                .render_long_help()
                .to_string()
                .contains("Exit codes")
        );
    }

    /// What follows the options, in all commands that are shown.
    fn after_helps(command: &clap::Command, all: &mut Vec<(String, String)>) {
        let after = command
            .get_after_long_help()
            .or_else(|| command.get_after_help());
        let after = after.map(ToString::to_string).unwrap_or_default();
        all.push((command.get_name().to_owned(), after));
        for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            after_helps(below, all);
        }
    }

    /// Parses a line as a shell would, up to what it would do with the output; placeholders stand for what they say.
    fn parse(line: &str) -> Result<Arguments, String> {
        let line = line.replace("CODE", "0123456789abcdef");
        let secret = format!("secret={}", "0".repeat(26));
        let line = line.replace("secret=SECRET", &secret);
        let line = line.replace("secret=...", &secret);
        // Bash's way to write the end of a line.
        let line = line.replace("$'\\n'", "'\n'");
        let line = line.replace("sha256=...", &format!("sha256={}", "00".repeat(32)));
        let words = shlex::split(&line).ok_or("its quotes do not match")?;
        let ours = words
            .iter()
            .take_while(|word| !["|", ">", "&"].contains(&word.as_str()));
        Arguments::try_parse_from(ours).map_err(|error| error.to_string())
    }

    #[test]
    fn every_command_has_examples_and_they_can_be_understood() {
        let mut all = Vec::new();
        after_helps(&Arguments::command(), &mut all);
        assert!(all.len() > 20, "{all:?}");
        for (name, help) in all {
            let examples = help.split("Examples:\n").nth(1).unwrap_or_default();
            let lines: Vec<_> = examples
                .lines()
                .map_while(|line| line.strip_prefix("  "))
                .collect();
            assert!(!lines.is_empty(), "{name} has no examples: {help}");
            for line in lines {
                // What it means stands in a column of its own.
                let example = line.split("  ").next().unwrap_or_default();
                if let Err(error) = parse(example) {
                    panic!("{name}: {example}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_command_in_the_documentation_can_be_understood() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let docs = std::fs::read_dir(root.join("docs")).expect("the documentation");
        let mut files: Vec<_> = docs.map(|entry| entry.expect("an entry").path()).collect();
        files.push(root.join("README.md"));
        let mut commands = 0;
        for file in files
            .iter()
            .filter(|file| file.extension().is_some_and(|e| e == "md"))
        {
            let text = std::fs::read_to_string(file).expect("a text");
            // A command may go on in the next line.
            let text = text.replace("\\\n", " ");
            // Blocks of code are every second part.
            for block in text.split("\n```").skip(1).step_by(2) {
                for line in block.lines() {
                    let line = line.trim().trim_start_matches("$ ");
                    if !line.starts_with("ringtmp ") {
                        continue;
                    }
                    let command = line.split(" # ").next().unwrap_or_default();
                    if let Err(error) = parse(command) {
                        panic!("{}: {command}: {error}", file.display());
                    }
                    commands += 1;
                }
            }
        }
        assert!(commands > 20, "only {commands} were found");
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let refused = |line: &str| Arguments::try_parse_from(line.split(' ')).is_err();
        assert!(refused("ringtmp"));
        assert!(refused("ringtmp join not-an-address"));
        assert!(refused("ringtmp demo --tabs 17"));
        assert!(refused("ringtmp demo --steps 0"));
        assert!(refused("ringtmp demo --headed --headless"));
        assert!(refused("ringtmp demo --executor tpu"));
        assert!(refused("ringtmp train --resume"));
        assert!(refused("ringtmp train --order sorted"));
        assert!(refused("ringtmp train --peers 0"));
        assert!(refused("ringtmp train --checkpoint x --resume --init y"));
        assert!(!refused("ringtmp train --peers 3 --transport webrtc"));
        assert!(!refused("ringtmp demo --tabs 0 --natives 2 -q"));
        assert!(refused("ringtmp sim --schedule gpipe"));
        assert!(refused("ringtmp sim --peers 0"));
        assert!(!refused(
            "ringtmp sim --schedule 2bw --hop-delay 3 --json -"
        ));
        assert!(!refused("ringtmp serve --bind 0.0.0.0 --port 0 -vv"));
        assert!(refused("ringtmp serve --cert chain.pem"));
        assert!(refused(
            "ringtmp serve --no-lan --cert chain.pem --key key.pem"
        ));
        assert!(!refused("ringtmp demo --no-lan --qr"));
    }
}

//! A worker of a parameter server or of all-reduce has the whole model: it gives it, and says what it makes of a drawing or a start, alone
//! and without changing what is trained.

use ringtmp_compute::{Executor, ExecutorChoice};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::Placement;
use ringtmp_core::profile::Planning;
use ringtmp_core::signal::{Replication, Role};
use ringtmp_data::picture;
use ringtmp_peer::{
    Asked, DataPlace, ModelState, OptimizerTable, Paradigm, Parameter, ParameterServerTable,
    Predictor, RunFile, View, Writer, WritingRefusal, WritingState, from_safetensors, open_data,
    to_safetensors,
};
use ringtmp_tests::ring::{Over, RingDevice, STROKES, train_ring};

const STEPS: u32 = 60;

/// Operations in a second: the run takes seconds on the fastest machine, so that what is fetched first is not its end.
const PACE: f64 = 2e9;

const CPU: ExecutorChoice = ExecutorChoice::Cpu;

const MEMORY: Over = Over::Loopback { seed: 3 };

/// A server, which comes first, and two workers with equal shares.
fn run_file() -> RunFile {
    RunFile {
        paradigm: Paradigm::ParameterServer,
        parameter_server: ParameterServerTable {
            placement: Some(Placement::Single),
            ..ParameterServerTable::default()
        },
        steps: STEPS,
        evaluate_every: 0,
        start_at_peers: 3,
        planning: Planning::Counted,
        codec: CodecChoice::F32,
        replicate: Replication::Every(2),
        ..RunFile::default()
    }
}

fn devices() -> [RingDevice; 3] {
    std::array::from_fn(|place| RingDevice {
        role: match place {
            0 => Role::Server,
            _ => Role::Participant,
        },
        operations_per_second: Some(PACE),
        ..CPU.into()
    })
}

/// What two workers have learnt after so many steps, whom nobody asked anything.
async fn learnt(steps: u32) -> Vec<Parameter> {
    let mut run = RunFile {
        steps,
        ..run_file()
    };
    if steps == 0 {
        // One in which no weight changes.
        run.steps = 1;
        run.optimizer.learning_rate = Some(1e-30);
    }
    let fast = devices().map(|device| RingDevice {
        operations_per_second: None,
        ..device
    });
    train_ring(run, &fast, MEMORY).await.weights
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_gives_the_model_while_it_trains_and_once_more_when_all_is_done() {
    let mut devices = devices();
    // The second worker: whoever has the run's result has the first one's.
    devices[2].fetches = true;
    let team = train_ring(run_file(), &devices, MEMORY).await;
    let steps: Vec<u32> = team.models.iter().map(|model| model.steps).collect();
    assert!(
        matches!(steps[..], [first, STEPS] if (1..STEPS).contains(&first)),
        "{steps:?}"
    );
    let run = run_file().check().expect("a sound run");
    for model in &team.models {
        assert!(
            model.file == to_safetensors(&learnt(model.steps).await),
            "after {} steps",
            model.steps
        );
        from_safetensors(&model.file, &run.model).expect("as the model has it");
    }
    let here = |view: &View| view.model.clone();
    let models: Vec<Option<ModelState>> = team.views.iter().map(here).collect();
    let last = ModelState::Here { steps: STEPS };
    assert_eq!(models, [None, None, Some(last)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_all_parameters_gives_the_model_too() {
    let mut devices = devices();
    devices[0].fetches = true;
    let team = train_ring(run_file(), &devices, MEMORY).await;
    let steps: Vec<u32> = team.models.iter().map(|model| model.steps).collect();
    assert!(
        matches!(steps[..], [first, STEPS] if (1..STEPS).contains(&first)),
        "{steps:?}"
    );
    for model in &team.models {
        assert!(
            model.file == to_safetensors(&learnt(model.steps).await),
            "after {} steps",
            model.steps
        );
    }
    // One of two servers has a part, and says so.
    let mut run = run_file();
    run.parameter_server.placement = Some(Placement::Dedicated);
    run.parameter_server.shards = Some(2);
    run.start_at_peers = 4;
    let [server, one, other] = devices;
    let second = RingDevice {
        fetches: false,
        ..server.clone()
    };
    let server = RingDevice {
        // What it fetches is not waited for.
        memory_bytes: Some(1 << 30),
        ..server
    };
    let team = train_ring(run, &[server, second, one, other], MEMORY).await;
    assert!(team.models.is_empty());
    let refused = ModelState::Lost {
        reason: "this device does not hold the whole model".to_owned(),
    };
    assert_eq!(team.views[0].model, Some(refused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_worker_says_what_a_drawing_shows_and_a_server_knows_nothing_of_it() {
    let mut devices = devices();
    for device in &mut devices {
        device.asks = true;
    }
    let team = train_ring(run_file(), &devices, MEMORY).await;
    assert_eq!(
        team.weights,
        learnt(STEPS).await,
        "who asks changes what is learnt"
    );
    let run = run_file().check().expect("a sound run");
    let stroke = STROKES.map(|point| point.map(f32::from));
    let drawn = picture(&[stroke.to_vec()]).expect("a stroke");
    for view in &team.views[1..] {
        let Some(Asked::Answered {
            step,
            probabilities,
        }) = &view.asked
        else {
            panic!("{:?}", view.asked);
        };
        assert!(*step < STEPS, "{step}");
        let executor = Executor::open(CPU).await.expect("the CPU");
        let model = Predictor::new(&run, &learnt(*step).await, executor).await;
        let told = model.expect("it fits").predict(&drawn, drawn.len()).await;
        let expected = told.expect("computed").remove(0).probabilities;
        assert_eq!(*probabilities, expected, "after {step} steps");
    }
    let server = &team.views[0];
    assert_eq!(server.asked, None);
    let notices = server.notices.iter();
    let told: Vec<&str> = notices.map(|notice| notice.text.as_str()).collect();
    assert!(
        told.iter()
            .any(|text| text.contains("no copy of the model")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_worker_of_all_reduce_writes_what_follows_a_start() {
    const START: &str = "17+25=";
    let preset = RunFile::of_preset("gpt-nano");
    // So slow that no weight changes: what is answered early is what the last weights say.
    let run = RunFile {
        paradigm: Paradigm::AllReduce,
        parameter_server: ParameterServerTable::default(),
        model: preset.model,
        optimizer: OptimizerTable {
            learning_rate: Some(1e-30),
            ..preset.optimizer
        },
        steps: 40,
        batch: 4,
        micro_batch: 1,
        ..run_file()
    };
    let mut devices = devices();
    for device in &mut devices {
        device.role = Role::Participant;
        device.writes = Some(START);
        // A step of this model takes so many times the operations.
        device.operations_per_second = Some(10.0 * PACE);
    }
    let team = train_ring(run.clone(), &devices, MEMORY).await;
    let run = run.check().expect("a sound run");
    let executor = Executor::open(CPU).await.expect("the CPU");
    let data = open_data(&run, &DataPlace::Disk).await.expect("sums");
    let writer = Writer::new(&run, data.vocabulary(), &team.weights, executor).await;
    let mut writer = writer.expect("it fits");
    let told = writer.answer(START, 4, '\n').await.expect("computed").text;
    for view in &team.views {
        let writing = view.writing.as_ref().expect("a start was typed");
        assert!(
            matches!(&writing.written[..], [written] if written.text == told && written.first <= written.last),
            "{told:?} {writing:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_a_text_run_says_that_it_only_watches_what_is_written() {
    let preset = RunFile::of_preset("gpt-nano");
    let run = RunFile {
        model: preset.model,
        optimizer: preset.optimizer,
        steps: 2,
        batch: 2,
        micro_batch: 1,
        ..run_file()
    };
    let mut devices = devices().map(|device| RingDevice {
        operations_per_second: None,
        ..device
    });
    devices[0].writes = Some("1+1=");
    let team = train_ring(run, &devices, MEMORY).await;
    let writing = team.views[0].writing.as_ref().expect("a start was typed");
    let why = WritingRefusal::Watches;
    assert_eq!(writing.state, WritingState::Refused { why });
}

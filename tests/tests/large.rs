//! A model whose gradients and weights are more than a link takes at once: they wait until it does.

use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::{Placement, Staleness};
use ringtmp_peer::{ExecutorChoice, Paradigm, ParameterServerTable, RunFile};
use ringtmp_tests::ring::Over;
use ringtmp_tests::team::train_team;
use ringtmp_transport::QUEUE_BYTES_MAX;

/// 39.7 million parameters, 24 MB more than a link takes, nearly all of them in one layer, whose gradient is there all at once.
const WIDE: &str = r#"
steps = 1
batch = 1
micro_batch = 1
evaluate_every = 1
evaluation_samples = 1

[model]
input = [784]

[[model.layers]]
kind = "linear"
inputs = 784
outputs = 50000

[[model.layers]]
kind = "linear"
inputs = 50000
outputs = 10
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_link_takes_at_once_waits_for_it() {
    let file = RunFile {
        paradigm: Paradigm::ParameterServer,
        parameter_server: ParameterServerTable {
            placement: Some(Placement::Single),
            shards: None,
            tau: Some(Staleness::Steps(0)),
        },
        codec: CodecChoice::F32,
        ..RunFile::parse(WIDE).expect("a run file")
    };
    // A worker and the server.
    let members = [ExecutorChoice::Cpu; 2];
    for over in [Over::Loopback { seed: 1 }, Over::WebRtc] {
        let trained = train_team(file.clone(), &members, over).await;
        let (result, _) = trained.unwrap_or_else(|error| panic!("{over:?}: {error}"));
        for (member, spent) in result.spent.iter().enumerate() {
            // Gradients one way, weights the other.
            let sent = spent.bytes_sent / u64::from(file.steps);
            assert!(
                sent > QUEUE_BYTES_MAX as u64,
                "{over:?}: member {member} sent {sent} bytes a step"
            );
        }
    }
}

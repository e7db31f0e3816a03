//! A server that stands apart dies; a worker serves what it had, until another server has come and taken that over.

use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::{Placement, Staleness, TeamStart};
use ringtmp_core::profile::Planning;
use ringtmp_core::signal::{Replication, Role};
use ringtmp_peer::{ExecutorChoice, Paradigm, ParameterServerTable, RunFile};
use ringtmp_tests::ring::{Over, RingDevice, train_ring};

fn run_file() -> RunFile {
    RunFile {
        paradigm: Paradigm::ParameterServer,
        parameter_server: ParameterServerTable {
            placement: Some(Placement::Single),
            shards: None,
            tau: Some(Staleness::Steps(0)),
        },
        steps: 60,
        batch: 56,
        micro_batch: 8,
        evaluate_every: 0,
        codec: CodecChoice::F32,
        planning: Planning::Counted,
        start_at_peers: 3,
        replicate: Replication::Every(2),
        ..RunFile::default()
    }
}

/// Slow enough that a run outlasts what happens to it.
fn device(role: Role) -> RingDevice {
    RingDevice {
        role,
        operations_per_second: Some(2e9),
        ..ExecutorChoice::Cpu.into()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_takes_over_what_a_worker_serves() {
    for over in [Over::Loopback { seed: 1 }, Over::WebRtc] {
        let dies = RingDevice {
            dies_at: Some(10),
            ..device(Role::Server)
        };
        let comes = RingDevice {
            comes_at: Some(16),
            ..device(Role::Server)
        };
        let [one, two] = [Role::Participant; 2].map(device);
        let trained = train_ring(run_file(), &[dies, one, two, comes], over).await;
        let room = trained.views[1].room.as_ref().expect("it was in one");
        let [lost, joins, takes_over] = &room.recoveries[..] else {
            panic!("{over:?}: {:?}", room.recoveries);
        };
        assert!(lost.reason.contains("device 0"), "{lost:?}");
        assert!(joins.reason.contains("device 3 joins"), "{joins:?}");
        assert_eq!((joins.repeated, joins.moved), (0, 0), "{over:?}");
        let words = "device 3 takes over what device ";
        assert!(takes_over.reason.contains(words), "{takes_over:?}");
        // It is copied at once, and few steps are made again.
        assert!(takes_over.repeated <= 4, "{over:?}: {takes_over:?}");
        assert_eq!(takes_over.moved, 1, "{over:?}");
        let plan = room.team().expect("a plan of whole models");
        assert!(matches!(plan.start, TeamStart::Copies { .. }), "{plan:?}");
        let servers: Vec<_> = plan.servers().collect();
        assert_eq!(servers, Vec::from_iter(trained.views[3].me), "{over:?}");
        assert_eq!(plan.workers.len(), 2, "{over:?}");
        // The room has compared what the workers have in the end.
        let layers = run_file().check().expect("sound").layers.len();
        assert_eq!(trained.result.digests.len(), layers);
        let (first, last) = (trained.result.loss_first, trained.result.loss_last);
        assert!(last < first, "{over:?}: {first:?} to {last:?}");
    }
}

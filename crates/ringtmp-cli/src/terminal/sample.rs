//! Views to test with.

use ringtmp_core::codec::TensorCodec;
use ringtmp_core::ids::{PeerId, RoomCode};
use ringtmp_core::plan::Plan;
use ringtmp_core::signal::{
    Device, DeviceKind, ExecutorKind, LayerDigest, LinkTraffic, MemberStatus, MemberView, Point,
    ProfileView, Role, RoomPlan, RoomState, RoomView, RunResult,
};
use ringtmp_core::trace::{Report, Shares};
use ringtmp_peer::{RunSummary, ServerState, View};

fn member(id: u64, kind: DeviceKind, name: &str, bytes: &[(u64, u64)]) -> MemberView {
    let executor = match kind {
        DeviceKind::Tab => ExecutorKind::Gpu,
        DeviceKind::Native => ExecutorKind::Cpu,
    };
    let link = |(to, bytes): &(u64, u64)| LinkTraffic {
        to: PeerId(*to),
        bytes: *bytes,
        relayed: false,
    };
    MemberView {
        peer: PeerId(id),
        role: Role::Participant,
        device: Device {
            kind,
            name: name.to_owned(),
            executor,
            adapter: "a processor".to_owned(),
            memory_bytes: None,
            form: None,
        },
        status: MemberStatus::Training,
        links: bytes.iter().map(link).collect(),
        report: None,
        profile: ProfileView::Missing,
        cut_out: None,
    }
}

/// Two devices at step 40 of 100, and somebody who watches.
pub(crate) fn training() -> View {
    let mut watcher = member(3, DeviceKind::Native, "terminal", &[]);
    watcher.role = Role::Spectator;
    watcher.status = MemberStatus::Watching;
    let device = watcher.device.clone();
    let mut members = vec![
        watcher,
        member(1, DeviceKind::Tab, "Chromium on Linux", &[(2, 1_500_000)]),
        member(2, DeviceKind::Native, "native 1", &[(1, 3000)]),
    ];
    let plan = Plan {
        order: vec![PeerId(1), PeerId(2)],
        cuts: vec![0, 3, 5],
        codecs: vec![TensorCodec::Int8],
        ..Plan::default()
    };
    members[1].report = Some(Box::new(Report {
        run: Shares {
            busy: 0.75,
            input: 0.25,
            ..Shares::default()
        },
        ..Report::default()
    }));
    let points = points();
    View {
        me: Some(PeerId(3)),
        role: Role::Spectator,
        device,
        server: ServerState::Connected,
        access: ringtmp_peer::Access::default(),
        askers: Vec::new(),
        asking: None,
        run: Some(run()),
        room: Some(RoomView {
            code: RoomCode::from_random([0; 10]),
            state: RoomState::Training,
            members,
            host: None,
            plan: Some(RoomPlan::Ring(plan)),
            result: None,
            recoveries: Vec::new(),
            stable: None,
            kept: None,
            replicated_every: None,
        }),
        points,
        links: Vec::new(),
        fresh: Vec::new(),
        asked: None,
        writing: None,
        model: None,
        host_token: None,
        notices: Vec::new(),
    }
}

fn run() -> RunSummary {
    RunSummary {
        name: "mlp".to_owned(),
        data: "digits".to_owned(),
        steps: 100,
        batch: 64,
        micro_batch: 16,
        layers: vec!["layer".to_owned(); 5],
        parameters: vec![10; 5],
        start_at_peers: 3,
        source: ringtmp_peer::DataSource::One,
    }
}

fn points() -> Vec<Point> {
    let point = |step, loss, accuracy| Point {
        step,
        loss,
        accuracy,
    };
    vec![
        point(0, Some(2.5), None),
        point(20, None, Some(0.5)),
        point(39, Some(1.25), None),
    ]
}

/// The same at its end.
pub(crate) fn finished() -> View {
    let mut view = training();
    if let Some(room) = &mut view.room {
        room.state = RoomState::Finished;
        room.result = Some(RunResult {
            steps: 100,
            loss_first: Some(2.5),
            loss_last: Some(0.25),
            test_accuracy: Some(0.9375),
            seconds: 12.5,
            digests: vec![LayerDigest {
                layer: 0,
                sha256: "ab".to_owned(),
            }],
        });
    }
    view
}

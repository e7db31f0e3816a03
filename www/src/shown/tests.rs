use super::*;
use crate::battery::{Battery, Drained};
use ringtmp_core::ids::Version;
use ringtmp_core::signal::{LinkTraffic, Point, ProfileView, Recovery, RoomPlan, RunResult, Taken};
use ringtmp_peer::{LinkView, NoticeLevel};

fn member(peer: u64, role: Role, status: MemberStatus) -> MemberView {
    let device = Device {
        kind: DeviceKind::Tab,
        name: format!("tab {peer}"),
        executor: ExecutorKind::Cpu,
        adapter: "wasm".to_owned(),
        memory_bytes: None,
        form: None,
    };
    MemberView {
        peer: PeerId(peer),
        role,
        device,
        status,
        links: Vec::new(),
        report: None,
        profile: ProfileView::Missing,
        cut_out: None,
    }
}

/// Three members: 2 then 1 in the ring of three layers, and 3, which watches. We are 1.
pub(crate) fn view() -> View {
    let plan = Plan {
        order: vec![PeerId(2), PeerId(1)],
        cuts: vec![0, 1, 3],
        ..Plan::default()
    };
    let mut members = vec![
        member(1, Role::Participant, MemberStatus::Training),
        member(2, Role::Participant, MemberStatus::Training),
        member(3, Role::Spectator, MemberStatus::Watching),
    ];
    members[1].links = vec![LinkTraffic {
        to: PeerId(1),
        bytes: 1_230_000,
        relayed: true,
    }];
    View {
        me: Some(PeerId(1)),
        role: Role::Participant,
        device: members[0].device.clone(),
        server: ServerState::Connected,
        access: ringtmp_peer::Access::default(),
        askers: Vec::new(),
        asking: None,
        run: Some(RunSummary {
            name: "mlp".to_owned(),
            data: "digits".to_owned(),
            steps: 100,
            batch: 64,
            micro_batch: 16,
            layers: vec![
                "linear 4 → 3".to_owned(),
                "relu".to_owned(),
                "linear 3 → 2".to_owned(),
            ],
            parameters: vec![15, 0, 8],
            start_at_peers: 0,
            source: ringtmp_peer::DataSource::One,
        }),
        room: Some(RoomView {
            code: "0123456789abcdef".parse().expect("a code"),
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
        points: vec![
            Point {
                step: 0,
                loss: Some(2.3),
                accuracy: None,
            },
            Point {
                step: 1,
                loss: None,
                accuracy: Some(0.25),
            },
            Point {
                step: 9,
                loss: Some(1.5),
                accuracy: None,
            },
        ],
        links: vec![LinkView {
            peer: PeerId(2),
            state: LinkState::Open,
            sent: 10,
            received: 20,
        }],
        fresh: Vec::new(),
        asked: None,
        writing: None,
        model: None,
        host_token: None,
        notices: vec![
            notice(NoticeLevel::Information, "first", ""),
            notice(NoticeLevel::Warning, "second", ""),
        ],
    }
}

fn room(view: &mut View) -> &mut RoomView {
    view.room.as_mut().expect("it has a room")
}

fn ring(view: &mut View) -> &mut Plan {
    let Some(RoomPlan::Ring(plan)) = &mut room(view).plan else {
        panic!("a plan of a ring")
    };
    plan
}

fn failure() -> Ending {
    Ending::Failed(Failure::new("gone", "reload"))
}

#[test]
fn the_phase_is_the_rooms_state_until_the_peer_ends() {
    let mut training = view();
    assert_eq!(Phase::of(None, None), Phase::Joining);
    assert_eq!(Phase::of(Some(&training), None), Phase::Training);
    assert_eq!(Phase::of(Some(&training), Some(&failure())), Phase::Broken);
    assert_eq!(Phase::of(Some(&training), Some(&Ending::Left)), Phase::Left);
    room(&mut training).state = RoomState::Stopped {
        reason: "a device left".to_owned(),
    };
    assert_eq!(Phase::of(Some(&training), None).key(), "stopped");
    training.room = None;
    assert_eq!(Phase::of(Some(&training), None), Phase::Joining);
    assert_eq!(Phase::of(Some(&training), Some(&failure())), Phase::Refused);
}

#[test]
fn waiting_says_how_many_are_missing() {
    let mut view = view();
    let mut wanted = |peers| {
        view.run.as_mut().expect("it has a run").start_at_peers = peers;
        sentence(Phase::Waiting, Some(&view))
    };
    assert_eq!(
        wanted(0),
        "2 devices are here. Share the link, or start now."
    );
    assert_eq!(
        wanted(3),
        "2 devices are here. Training starts with one more."
    );
    assert_eq!(
        wanted(9),
        "2 devices are here. Training starts with 7 more."
    );
}

#[test]
fn every_phase_offers_a_way_on() {
    let view = view();
    for phase in [
        Phase::Joining,
        Phase::Waiting,
        Phase::WarmingUp,
        Phase::Training,
        Phase::Paused,
        Phase::Finished,
        Phase::Stopped,
        Phase::Refused,
        Phase::Broken,
        Phase::Left,
    ] {
        let controls = phase.controls(Some(&view));
        let leaves = controls.leave || controls.hand_on;
        assert!(leaves != controls.again, "{phase:?}");
    }
    assert!(
        !Phase::Waiting.controls(None).start,
        "nobody is there to start with"
    );
    assert!(Phase::Waiting.controls(Some(&view)).start);
    assert!(Phase::Paused.controls(Some(&view)).resume);
}

#[test]
fn the_table_follows_the_ring_and_then_names_the_others() {
    let lines = member_lines(&view());
    let numbers: Vec<_> = lines
        .iter()
        .map(|line| (line.peer.0, line.number))
        .collect();
    assert_eq!(numbers, [(2, Some(1)), (1, Some(2)), (3, None)]);
    assert_eq!(
        (lines[0].layers.as_str(), lines[0].layers_detail.as_str()),
        ("layer 1", "linear 4 → 3 · 15 parameters")
    );
    assert_eq!(lines[1].layers, "layers 2–3");
    assert_eq!(lines[1].layers_detail, "relu, linear 3 → 2 · 8 parameters");
    assert_eq!(
        lines[0].links,
        [
            "1.23 MB to device 2 (relayed)",
            "1.92 kB a sample",
            words::LINK_OPEN.now()
        ]
    );
    assert_eq!(lines[2].layers, words::LAYERS_WATCHING.now());
    assert_eq!(
        lines.iter().map(|line| line.mine).collect::<Vec<_>>(),
        [false, true, false]
    );
    assert_eq!(lines[0].device, "browser tab · CPU · wasm");
}

#[test]
fn a_plan_that_reaches_beyond_the_known_layers_is_shown_without_words() {
    let mut view = view();
    ring(&mut view).cuts = vec![0, 1, 900];
    assert_eq!(member_lines(&view)[1].layers, "layers 2–900");
    assert_eq!(member_lines(&view)[1].layers_detail, "");
}

#[test]
fn progress_counts_updates_by_the_newest_loss_or_accuracy() {
    let mut view = view();
    let progress = Progress::of(&view);
    assert_eq!((progress.done, progress.of), (10, 100));
    assert_eq!((progress.loss, progress.accuracy), (Some(1.5), Some(0.25)));
    view.points.push(Point {
        step: 12,
        loss: None,
        accuracy: Some(0.5),
    });
    assert_eq!(Progress::of(&view).done, 12);
    view.points.push(Point {
        step: u32::MAX,
        loss: Some(0.0),
        accuracy: None,
    });
    assert_eq!(Progress::of(&view).share(), 1.0);
}

#[test]
fn the_result_has_the_last_word() {
    let mut view = view();
    let room = room(&mut view);
    room.state = RoomState::Finished;
    room.result = Some(RunResult {
        steps: 100,
        loss_first: Some(2.3),
        loss_last: Some(0.1),
        test_accuracy: Some(0.971),
        seconds: 38.0,
        digests: Vec::new(),
    });
    let progress = Progress::of(&view);
    assert_eq!(
        (progress.done, progress.loss, progress.accuracy),
        (100, Some(0.1), Some(0.971))
    );
    let sentence = sentence(Phase::Finished, Some(&view));
    assert_eq!(
        sentence,
        "100 steps, 97.1% of unseen samples right, 38 s after the room was opened."
    );
}

#[test]
fn notices_put_what_is_worst_and_newest_first() {
    let view = view();
    let texts = |view: &View, ending: Option<&Ending>| -> Vec<String> {
        notices(Some(view), ending)
            .into_iter()
            .map(|notice| notice.text)
            .collect()
    };
    assert_eq!(texts(&view, None), ["second", "first"]);
    assert_eq!(texts(&view, Some(&failure())), ["gone", "second"]);
    assert!(texts(&view, Some(&Ending::Left)).is_empty());
}

#[test]
fn what_lies_twice_is_called_safe_and_what_lies_with_one_device_is_not() {
    let mut view = view();
    room(&mut view).stable = Some(Version(12));
    let says = |view: &View| safety(Phase::Training, Some(view));
    assert!(says(&view).ends_with("12 steps are safe: they lie with two devices."));
    let plan = ring(&mut view);
    plan.order.truncate(1);
    assert!(!says(&view).contains("safe"));
}

#[test]
fn what_a_loss_came_to_is_told_in_sentences_once_it_is_over() {
    let mut view = view();
    let taken = |peer, first, last| Taken {
        peer: PeerId(peer),
        by: format!("tab {peer}"),
        first,
        last,
    };
    let taken = vec![taken(1, 1, 1), taken(2, 2, 4)];
    let recovery = |repeated, moved, seconds| Recovery {
        reason: "a phone left the ring, and with it layer 2".to_owned(),
        step: 12,
        repeated,
        moved,
        taken: taken.clone(),
        seconds,
    };
    let recoveries = vec![recovery(3, 2, Some(0.42)), recovery(0, 0, None)];
    room(&mut view).recoveries = recoveries;
    let told = notices(Some(&view), None);
    let text = "a phone left the ring, and with it layer 2. This device took over layer 2, and tab 2 took over layers 3–5. Training went \
        on from step 13 after 0.4 s.";
    let expected = notice(NoticeLevel::Information, text, "3 steps were made again.");
    assert_eq!(told.first(), Some(&expected));
    let again = told.iter().filter(|other| other.text.contains("went on"));
    assert_eq!(again.count(), 1, "the other is not over");
}

#[test]
fn who_holds_layers_leaves_by_handing_them_on_and_may_still_leave_at_once() {
    let mut view = view();
    let controls = |phase: Phase, view: &View| {
        let controls = phase.controls(Some(view));
        [controls.leave, controls.hand_on, controls.leave_now]
    };
    for phase in [Phase::Training, Phase::Paused, Phase::Reconfiguring] {
        assert_eq!(controls(phase, &view), [false, true, false]);
    }
    assert_eq!(controls(Phase::Waiting, &view), [true, false, false]);
    let me = view.me.replace(PeerId(3));
    let watches = controls(Phase::Training, &view);
    assert_eq!(watches, [true, false, false], "it holds nothing");
    view.me = me;
    room(&mut view).members[0].status = MemberStatus::Leaving;
    assert_eq!(controls(Phase::Training, &view), [false, false, true]);
    assert_eq!(
        sentence(Phase::Training, Some(&view)),
        words::LEAVING_DETAIL.now()
    );
}

#[test]
fn a_low_battery_is_spoken_of_while_there_is_something_to_save_and_the_lock_to_whom_has_one() {
    let view = view();
    let device = |level, charging, has_touch| OwnDevice {
        battery: Some(Battery { level, charging }),
        drained: None,
        has_touch,
        screen_kept: false,
    };
    let care = |phase, device| Care::of(phase, Some(&view), device);
    let low = care(Phase::Training, device(0.12, false, true));
    assert!(low.battery.is_some_and(|text| text.contains("at 12%")));
    assert!(low.may_hand_on && low.may_pause);
    assert_eq!(low.screen, Some(words::SCREEN_NOT_KEPT.now()));
    let drained = OwnDevice {
        drained: Some(Drained {
            share: 0.03,
            seconds: 720.0,
        }),
        ..device(0.9, false, false)
    };
    let told = care(Phase::Finished, drained)
        .drained
        .expect("it was measured");
    assert!(told.contains("3% of its battery in 12 min"), "{told}");
    for (phase, device) in [
        (Phase::Training, device(0.12, true, false)),
        (Phase::Training, device(0.9, false, false)),
        (Phase::Finished, device(0.12, false, false)),
        (Phase::WarmingUp, device(0.12, false, false)),
    ] {
        let care = care(phase, device);
        assert_eq!((care.battery, care.screen), (None, None), "{phase:?}");
    }
}

#[test]
fn nothing_is_said_twice() {
    let mut view = view();
    view.notices = vec![notice(NoticeLevel::Error, "it is gone", "reload")];
    assert_eq!(notices(Some(&view), None).len(), 1);
    assert_eq!(notices(Some(&view), Some(&failure())).len(), 1);
    let reason = "gone".to_owned();
    room(&mut view).state = RoomState::Stopped { reason };
    assert_eq!(notices(Some(&view), None), []);
    assert!(sentence(Phase::Stopped, Some(&view)).contains("gone"));
}

#[test]
fn a_run_that_has_ended_can_be_started_again_by_whoever_is_there() {
    let mut view = view();
    for phase in [Phase::Finished, Phase::Stopped] {
        assert!(phase.controls(Some(&view)).start_again);
    }
    assert!(!Phase::Training.controls(Some(&view)).start_again);
    room(&mut view)
        .members
        .retain(|member| member.role == Role::Spectator);
    assert!(!Phase::Finished.controls(Some(&view)).start_again);
}

#[test]
fn a_file_of_layers_says_which_they_are_and_a_visitor_governs_nothing() {
    let mut view = view();
    assert_eq!(
        layers_file(&view).as_deref(),
        Some("mlp-layers-2-to-3-of-3.safetensors")
    );
    assert!(Phase::Finished.controls(Some(&view)).save);
    assert!(!Phase::Training.controls(Some(&view)).save);
    ring(&mut view).order = vec![PeerId(1)];
    ring(&mut view).cuts = vec![0, 3];
    assert_eq!(layers_file(&view).as_deref(), Some("mlp.safetensors"));
    view.run.as_mut().expect("a run").name = "../../etc".to_owned();
    assert_eq!(layers_file(&view).as_deref(), Some("model.safetensors"));
    view.me = Some(PeerId(3));
    assert_eq!(layers_file(&view), None);

    room(&mut view).host = Some(PeerId(1));
    let controls = Phase::Training.controls(Some(&view));
    assert!(!controls.pause && !controls.stop && controls.leave);
    assert!(!Phase::Finished.controls(Some(&view)).start_again);
    view.me = Some(PeerId(1));
    let lines = member_lines(&view);
    let may = |line: &MemberLine| (line.host, line.may_kick, line.may_rename);
    let own = lines.iter().find(|line| line.mine).expect("it is there");
    assert_eq!(may(own), (true, false, true));
    assert!(
        lines
            .iter()
            .filter(|line| !line.mine)
            .all(|line| may(line) == (false, true, true))
    );
}

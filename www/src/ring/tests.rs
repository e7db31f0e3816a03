use super::*;
use ringtmp_core::plan::Plan;
use ringtmp_core::signal::{Device, DeviceKind, ExecutorKind, MemberView, ProfileView, RoomView};
use ringtmp_peer::{LinkView, RunSummary, ServerState};

/// A ring of `stages` devices that hold `layers_each` layers each; we are the first. With `planned` false nobody has layers yet.
fn view(stages: u64, layers_each: u16, planned: bool) -> View {
    let device = Device {
        kind: DeviceKind::Tab,
        name: "A device with a rather long name".to_owned(),
        executor: ExecutorKind::Gpu,
        adapter: String::new(),
        memory_bytes: None,
    };
    let order: Vec<PeerId> = (1..=stages).map(PeerId).collect();
    let members = order.iter().map(|peer| MemberView {
        peer: *peer,
        role: Role::Participant,
        device: device.clone(),
        status: MemberStatus::Training,
        links: Vec::new(),
        report: None,
        profile: ProfileView::Missing,
        cut_out: None,
    });
    let layers = usize::from(layers_each) * order.len();
    let cuts = (0..=order.len())
        .map(|cut| cut as u16 * layers_each)
        .collect();
    let room = RoomView {
        code: "0123456789abcdef".parse().expect("a code"),
        state: RoomState::Training,
        members: members.collect(),
        plan: planned.then_some(Plan {
            order,
            cuts,
            ..Plan::default()
        }),
        result: None,
        recoveries: Vec::new(),
        stable: None,
        kept: None,
        replicated_every: None,
    };
    View {
        me: Some(PeerId(1)),
        role: Role::Participant,
        device,
        server: ServerState::Connected,
        run: Some(RunSummary {
            name: "mlp".to_owned(),
            data: "digits".to_owned(),
            steps: 10,
            batch: 8,
            micro_batch: 4,
            layers: vec!["linear".to_owned(); layers],
            parameters: vec![1; layers],
            start_at_peers: 0,
        }),
        room: Some(room),
        points: Vec::new(),
        links: Vec::new(),
        fresh: Vec::new(),
        notices: Vec::new(),
    }
}

fn draw(view: &View, narrow: bool) -> RingDrawing {
    RingDrawing::new(view, &crate::shown::member_lines(view), narrow)
}

#[test]
fn discs_lie_within_the_drawing_and_do_not_touch() {
    for stages in 1..=64 {
        for narrow in [true, false] {
            let drawing = draw(&view(stages, 1, true), narrow);
            assert_eq!(drawing.discs.len() as u64, stages);
            for disc in &drawing.discs {
                let inside =
                    |at: f64, size: f64| at - disc.radius >= 0.0 && at + disc.radius <= size;
                assert!(
                    inside(disc.at.0, drawing.size.0) && inside(disc.at.1, drawing.size.1),
                    "{disc:?}"
                );
            }
            for pair in drawing.discs.windows(2) {
                let distance = (pair[0].at.0 - pair[1].at.0).hypot(pair[0].at.1 - pair[1].at.1);
                assert!(
                    distance > 2.0 * pair[0].radius,
                    "{stages} devices: {distance}"
                );
            }
        }
    }
}

#[test]
fn the_head_is_on_top_and_the_ring_runs_clockwise() {
    let drawing = draw(&view(4, 1, true), false);
    let (top, right) = (&drawing.discs[0], &drawing.discs[1]);
    assert!(drawing.discs.iter().all(|disc| disc.at.1 >= top.at.1));
    assert!(
        drawing
            .discs
            .iter()
            .all(|disc| disc.at.0 <= right.at.0 + 1e-9)
    );
    assert_eq!(top.number, "1");
    assert!(top.mine);
}

#[test]
fn every_device_has_a_link_to_its_successor_and_the_last_closes_the_ring() {
    let drawing = draw(&view(3, 1, true), false);
    let closing: Vec<bool> = drawing.links.iter().map(|link| link.closing).collect();
    assert_eq!(closing, [false, false, true]);
    assert!(drawing.links[2].title.contains(words::RING_CLOSING));
    assert_eq!(
        draw(&view(1, 2, true), false).links,
        [],
        "a ring of one sends nothing"
    );
    assert!(
        draw(&view(3, 1, false), false)
            .links
            .iter()
            .all(|link| link.state == ArcState::Imagined)
    );
}

#[test]
fn the_state_of_our_own_links_is_drawn_as_it_is() {
    let mut view = view(3, 1, true);
    view.links = vec![
        LinkView {
            peer: PeerId(2),
            state: LinkState::Failed {
                reason: "no way".to_owned(),
            },
            sent: 0,
            received: 0,
        },
        LinkView {
            peer: PeerId(3),
            state: LinkState::Connecting,
            sent: 0,
            received: 0,
        },
    ];
    let states: Vec<ArcState> = draw(&view, false)
        .links
        .iter()
        .map(|link| link.state)
        .collect();
    assert_eq!(
        states,
        [ArcState::Failed, ArcState::Busy, ArcState::Connecting]
    );
}

#[test]
fn each_layer_is_a_segment_until_they_are_too_many() {
    let drawing = draw(&view(3, 4, true), false);
    assert_eq!(drawing.segments.len(), 12);
    assert_eq!(
        drawing
            .segments
            .iter()
            .filter(|segment| segment.mine)
            .count(),
        4
    );
    assert!(
        drawing.segments[4].title.starts_with("layer 5"),
        "{}",
        drawing.segments[4].title
    );
    assert_eq!(draw(&view(3, 100, true), false).segments.len(), 3);
    assert_eq!(draw(&view(3, 4, false), false).segments, []);
}

#[test]
fn labels_stay_within_the_drawing_and_leave_narrow_screens() {
    for stages in 1..=LABELS_MAX as u64 {
        let drawing = draw(&view(stages, 1, true), false);
        for disc in &drawing.discs {
            let label = disc.label.as_ref().expect("there is room");
            let width = label.name.chars().count() as f64 * LETTER_WIDTH;
            let (from, to) = match label.anchor {
                "start" => (label.at.0, label.at.0 + width),
                "end" => (label.at.0 - width, label.at.0),
                _ => (label.at.0 - width / 2.0, label.at.0 + width / 2.0),
            };
            assert!(
                from >= -1e-9 && to <= drawing.size.0 + 1e-9,
                "{label:?} of {stages}"
            );
            // Letters reach about 8 units above and below the middle of a line; the second line is below.
            let (top, bottom) = (label.at.1 - 8.0, label.at.1 + LINE + 8.0);
            assert!(top >= 0.0 && bottom <= drawing.size.1, "{label:?}");
            let nearest = (disc.at.0.clamp(from, to), disc.at.1.clamp(top, bottom));
            let distance = (nearest.0 - disc.at.0).hypot(nearest.1 - disc.at.1);
            assert!(distance >= disc.radius, "{label:?} lies on its device");
        }
        assert!(
            draw(&view(stages, 1, true), true)
                .discs
                .iter()
                .all(|disc| disc.label.is_none())
        );
    }
}

use super::*;
use ringtmp_core::plan::Plan;
use ringtmp_core::signal::{
    Device, DeviceKind, ExecutorKind, LinkTraffic, MemberView, ProfileView, RoomPlan, RoomView,
};
use ringtmp_peer::{LinkView, RunSummary, ServerState};

/// A ring of `stages` devices that hold `layers_each` layers each; we are the first. With `planned` false nobody has layers yet.
fn view(stages: u64, layers_each: u16, planned: bool) -> View {
    let device = Device {
        kind: DeviceKind::Tab,
        name: "A device with a rather long name".to_owned(),
        executor: ExecutorKind::Gpu,
        adapter: String::new(),
        memory_bytes: None,
        form: None,
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
        host: None,
        plan: planned.then(|| {
            RoomPlan::Ring(Plan {
                order,
                cuts,
                ..Plan::default()
            })
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
        access: ringtmp_peer::Access::default(),
        askers: Vec::new(),
        asking: None,
        run: Some(RunSummary {
            name: "mlp".to_owned(),
            data: "digits".to_owned(),
            steps: 10,
            batch: 8,
            micro_batch: 4,
            layers: vec!["linear".to_owned(); layers],
            parameters: vec![1; layers],
            start_at_peers: 0,
            source: ringtmp_peer::DataSource::One,
        }),
        room: Some(room),
        points: Vec::new(),
        links: Vec::new(),
        fresh: Vec::new(),
        asked: None,
        writing: None,
        model: None,
        host_token: None,
        notices: Vec::new(),
    }
}

fn draw(view: &View, narrow: bool) -> RingDrawing {
    RingDrawing::new(
        view,
        &crate::shown::member_lines(view),
        &Traffic::default(),
        narrow,
    )
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
    assert!(drawing.links[2].title.contains(words::RING_CLOSING.now()));
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

/// Corners of the texts of a label that lie level: left, right, top, bottom.
fn box_of(disc: &Disc) -> Option<[f64; 4]> {
    let label = disc.label.as_ref().filter(|label| label.turn == 0.0)?;
    let letters = label.lines.iter().map(|line| line.chars().count()).max();
    let width = letters.unwrap_or(0) as f64 * LETTER_WIDTH;
    let (x, y) = (disc.at.0 + label.at.0, disc.at.1 + label.at.1);
    let (from, to) = match label.anchor {
        "start" => (x, x + width),
        "end" => (x - width, x),
        _ => (x - width / 2.0, x + width / 2.0),
    };
    // Letters reach about 8 units above and below the middle of a line.
    let last = LINE * (label.lines.len() as f64 - 1.0);
    Some([from, to, y - 8.0, y + last + 8.0])
}

#[test]
fn labels_stay_within_the_drawing_and_lie_on_no_device() {
    for narrow in [false, true] {
        for stages in 1..=LABELS_MAX as u64 {
            let drawing = draw(&view(stages, 1, true), narrow);
            for disc in &drawing.discs {
                let named = !narrow || stages <= NARROW_LABELS_MAX as u64;
                assert_eq!(disc.label.is_some(), named, "{stages} {narrow}");
                let Some([from, to, top, bottom]) = box_of(disc) else {
                    continue;
                };
                let inside = from >= -1e-9 && to <= drawing.size.0 + 1e-9;
                assert!(inside, "{disc:?} of {stages}");
                let inside = top >= 0.0 && bottom <= drawing.size.1;
                assert!(inside, "{disc:?} of {stages}, {narrow}");
                for other in &drawing.discs {
                    let nearest = (other.at.0.clamp(from, to), other.at.1.clamp(top, bottom));
                    let distance = (nearest.0 - other.at.0).hypot(nearest.1 - other.at.1);
                    assert!(
                        distance >= other.radius - 1e-9,
                        "{disc:?} lies on {other:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn labels_of_neighbours_do_not_meet() {
    for stages in 2..=LABELS_MAX as u64 {
        let drawing = draw(&view(stages, 1, true), false);
        let boxes: Vec<_> = drawing.discs.iter().filter_map(box_of).collect();
        for (i, one) in boxes.iter().enumerate() {
            for other in &boxes[i + 1..] {
                let apart = one[1] <= other[0]
                    || other[1] <= one[0]
                    || one[3] <= other[2]
                    || other[3] <= one[2];
                assert!(apart, "{one:?} meets {other:?} of {stages}");
            }
        }
    }
}

#[test]
fn names_of_many_devices_stand_on_rays_that_are_never_upside_down() {
    let drawing = draw(&view(20, 1, true), false);
    for disc in &drawing.discs {
        let label = disc.label.as_ref().expect("a name");
        assert_eq!(label.lines.len(), 1);
        let upright = label.turn.to_radians().cos() >= -1e-9;
        assert!(upright, "{label:?}");
    }
}

#[test]
fn activations_go_clockwise_outside_gradients_back_inside_and_the_closing_link_has_one_lane() {
    let drawing = draw(&view(4, 1, true), false);
    let road = drawing.links[0].road;
    let (cx, cy) = drawing.centre;
    let far = |(x, y): (f64, f64)| (x - cx).hypot(y - cy);
    let (start, end) = (road.at(0.0, false), road.at(1.0, false));
    assert!(
        start.0 < end.0 && start.1 < end.1,
        "from the top to the right"
    );
    assert!(far(start) > far(road.at(0.0, true)));
    let near = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).hypot(a.1 - b.1) < 11.0;
    assert!(near(road.at(0.0, true), end) && near(road.at(1.0, true), start));
    let lanes: Vec<_> = drawing.links.iter().map(|link| link.lanes.len()).collect();
    assert_eq!(lanes, [2, 2, 2, 1]);
}

#[test]
fn rates_are_those_that_devices_report_and_two_devices_have_one_connection() {
    let mut view = view(3, 1, true);
    let mut traffic = Traffic::default();
    for second in 0..4_u64 {
        let room = view.room.as_mut().expect("a room");
        for (member, to) in [(0, 2), (1, 3), (1, 1), (2, 1)] {
            let to = PeerId(to);
            let bytes = (member as u64 + 1) * 1000 * second;
            let links = &mut room.members[member].links;
            links.retain(|link| link.to != to);
            links.push(LinkTraffic {
                to,
                bytes,
                relayed: false,
            });
        }
        traffic.observe(second as f64, room);
    }
    let labels = |view: &View| {
        let lines = crate::shown::member_lines(view);
        let drawing = RingDrawing::new(view, &lines, &traffic, false);
        let texts = drawing
            .rates
            .into_iter()
            .map(|rate| (rate.forward, rate.back));
        texts.collect::<Vec<_>>()
    };
    let text = |text: &str| text.to_owned();
    let expected = [
        (text("1.00 kB/s"), text("2.00 kB/s")),
        (text("2.00 kB/s"), String::new()),
        (text(words::RING_CLOSING.now()), text("3.00 kB/s")),
    ];
    assert_eq!(labels(&view), expected);
    let plan = view.room.as_mut().and_then(|room| room.plan.as_mut());
    let Some(RoomPlan::Ring(plan)) = plan else {
        panic!("a plan of a ring")
    };
    plan.order.truncate(2);
    let expected = [
        (text("1.00 kB/s"), text("2.00 kB/s")),
        (text(words::RING_CLOSING.now()), String::new()),
    ];
    assert_eq!(labels(&view), expected);
    view.room.as_mut().expect("a room").state = RoomState::Paused;
    assert_eq!(labels(&view).len(), 1, "nothing travels");
}

#[test]
fn whoever_holds_no_layers_stands_outside_spares_apart_from_watchers() {
    let mut view = view(3, 1, true);
    assert_eq!(draw(&view, false).outside, []);
    let room = view.room.as_mut().expect("a room");
    let other = |peer, role, status| MemberView {
        peer: PeerId(peer),
        role,
        status,
        ..room.members[0].clone()
    };
    let others = [
        other(10, Role::Participant, MemberStatus::Spare),
        other(11, Role::Spectator, MemberStatus::Watching),
        other(12, Role::Spectator, MemberStatus::Watching),
    ];
    room.members.extend(others);
    for narrow in [false, true] {
        let drawing = draw(&view, narrow);
        let shown: Vec<_> = drawing
            .outside
            .iter()
            .map(|group| (group.kind, group.discs.len()))
            .collect();
        assert_eq!(shown, [(Bystanders::Spares, 1), (Bystanders::Watchers, 2)]);
        assert!(drawing.outside[1].text.contains("2 watching"));
        let lowest = drawing.discs.iter().map(|disc| disc.at.1 + disc.radius);
        let lowest = lowest.fold(0.0, f64::max);
        for group in &drawing.outside {
            for (x, y) in group.discs.iter().chain([&group.text_at]) {
                let inside =
                    (0.0..drawing.size.0).contains(x) && (lowest..drawing.size.1).contains(y);
                assert!(inside, "{group:?}");
            }
        }
    }
}

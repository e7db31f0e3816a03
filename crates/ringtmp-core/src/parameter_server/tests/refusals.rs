//! Members that lie, or push what cannot count.

use super::*;

/// A run whose members have greeted each other, and a push that worker 0 could make.
fn begun(staleness: Staleness) -> (World, Push) {
    begun_in(staleness, CodecChoice::F32)
}

fn begun_in(staleness: Staleness, codec: CodecChoice) -> (World, Push) {
    let job = Job {
        codecs: Codecs::of(codec),
        ..job(Exchange::Server, Placement::Single, 3, staleness)
    };
    let mut world = World::new(&job, 1).linked();
    while let Some(key) = world.channels.iter().find(|(_, queue)| !queue.is_empty()) {
        let key = *key.0;
        world.deliver(key);
    }
    let push = Push {
        range: RangeIndex(0),
        clock: Step(0),
        base: Step(0),
        labels: 1,
        numbers: job.gradient(RangeIndex(0)).expect("there is one"),
    };
    (world, push)
}

/// Lets worker `from` push to the server, and gives what that says to it, if anything.
fn answer(world: &mut World, from: u16, push: Push) -> Option<Refusal> {
    let labels = world.job.layout.shares[usize::from(from)].into();
    let push = Push { labels, ..push };
    let payload = world.devices[2].keep(vec![(from, push.clock.0)]);
    world.input(
        2,
        Input::Message {
            from: MemberIndex(from),
            message: Message::Push(push),
            payload: Some(payload),
        },
    );
    let refused = world.channels.get_mut(&(2, from, Lane::Control));
    let (message, _) = refused.and_then(VecDeque::pop_back)?;
    match message {
        Message::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

#[test]
fn a_gradient_in_8_bits_comes_in_whole_rows_or_does_not_count() {
    let (mut world, push) = begun_in(Staleness::Steps(1), CodecChoice::Int8);
    let eight_bits = |row, elements| Numbers {
        codec: Codec::I8 { row },
        elements,
    };
    assert_eq!(world.job.layout.ranges[0].elements, 7);
    assert_eq!(push.numbers, eight_bits(64, 64));
    let halves = world.job.weights(push.range).expect("there is one");
    assert_eq!((halves.codec, halves.elements), (Codec::F16, 7));
    for actual in [
        halves,
        eight_bits(7, 7),
        eight_bits(32, 64),
        eight_bits(64, 128),
    ] {
        let wrong = Push {
            numbers: actual,
            ..push
        };
        let refusal = Refusal::Numbers {
            range: push.range,
            expected: push.numbers,
            actual,
        };
        assert_eq!(answer(&mut world, 0, wrong), Some(refusal));
    }
    assert_eq!(answer(&mut world, 0, push), None);
}

#[test]
fn pushes_that_cannot_count_are_refused_with_a_reason_and_change_nothing() {
    let (mut world, push) = begun(Staleness::Steps(1));
    let (range, clock) = (push.range, Step(1));
    assert_eq!(answer(&mut world, 0, push), None);
    let duplicate = Refusal::Duplicate {
        range,
        clock: Step(0),
    };
    assert_eq!(answer(&mut world, 0, push), Some(duplicate));
    let wrong = [
        (
            Push {
                range: RangeIndex(99),
                ..push
            },
            Refusal::Range(RangeIndex(99)),
        ),
        (
            Push {
                clock: Step(2),
                base: Step(1),
                ..push
            },
            Refusal::TooFarAhead {
                range,
                clock: Step(2),
                expected: Step(1),
            },
        ),
        (
            Push {
                clock: Step(5),
                ..push
            },
            Refusal::PastTheEnd {
                steps: 5,
                clock: Step(5),
            },
        ),
        (
            Push {
                clock,
                base: Step(1),
                ..push
            },
            Refusal::FromTheFuture {
                clock,
                base: Step(1),
            },
        ),
        (
            Push {
                numbers: Numbers {
                    elements: 1,
                    ..push.numbers
                },
                ..push
            },
            Refusal::Numbers {
                range,
                expected: push.numbers,
                actual: Numbers {
                    elements: 1,
                    ..push.numbers
                },
            },
        ),
    ];
    for (push, refusal) in wrong {
        assert_eq!(answer(&mut world, 0, push), Some(refusal));
    }
    let aborted = |event: &Event| matches!(event, Event::Aborted { .. });
    assert!(!world.events.iter().any(|(_, event)| aborted(event)));
    // The others' pushes count as if nothing had been.
    assert_eq!(answer(&mut world, 1, push), None);
    while world.devices[2].running.is_some() {
        world.complete(2);
    }
    let log = &world.devices[2].weights[0];
    assert_eq!(log[..], [(0, 0), (1, 0)]);
}

#[test]
fn a_gradient_of_weights_that_are_too_old_is_refused() {
    let (mut world, push) = begun(Staleness::Steps(0));
    assert_eq!(answer(&mut world, 0, push), None);
    assert_eq!(answer(&mut world, 1, push), None);
    while world.devices[2].running.is_some() {
        world.complete(2);
    }
    let (clock, base) = (Step(1), Step(0));
    let stale = Push { clock, ..push };
    assert_eq!(
        answer(&mut world, 0, stale),
        Some(Refusal::TooStale { clock, base })
    );
    let fresh = Push {
        base: clock,
        ..stale
    };
    assert_eq!(answer(&mut world, 0, fresh), None);
}

#[test]
fn a_fast_worker_cannot_bury_a_slow_shard() {
    let (mut world, push) = begun(Staleness::Infinite);
    for clock in 0..PUSHES_AHEAD_MAX {
        let clock = Step(clock);
        assert_eq!(answer(&mut world, 0, Push { clock, ..push }), None);
    }
    let clock = Step(PUSHES_AHEAD_MAX);
    let refused = answer(&mut world, 0, Push { clock, ..push });
    assert!(
        matches!(refused, Some(Refusal::TooFarAhead { .. })),
        "{refused:?}"
    );
}

/// What ends a member's run, and whose fault it says that is.
fn aborts(message: Message, from: u16, to: u16) -> (Option<MemberIndex>, String) {
    let (mut world, _) = begun(Staleness::Steps(0));
    let from = MemberIndex(from);
    let payload = message
        .numbers()
        .map(|_| world.devices[usize::from(to)].keep(Log::new()));
    world.input(
        to,
        Input::Message {
            from,
            message,
            payload,
        },
    );
    let aborted = world.events.iter().find_map(|(me, event)| match event {
        Event::Aborted { culprit, reason } if *me == to => Some((*culprit, reason.clone())),
        _ => None,
    });
    assert!(world.devices[usize::from(to)].payloads.is_empty());
    aborted.expect("it ends")
}

#[test]
fn a_member_that_lies_is_named() {
    let greeting = Greeting {
        protocol: crate::signal::PROTOCOL_VERSION,
        run: RunDigest([4; 32]),
        member: MemberIndex(0),
    };
    let (culprit, reason) = aborts(Message::Greeting(greeting), 0, 2);
    assert!(
        culprit == Some(MemberIndex(0)) && reason.contains("another run"),
        "{reason}"
    );
    let older = Greeting {
        protocol: 1,
        ..greeting
    };
    let (_, reason) = aborts(Message::Greeting(older), 0, 2);
    assert!(reason.contains("protocol 1"), "{reason}");
    let (_, push) = begun(Staleness::Steps(0));
    let weights = Weights {
        range: push.range,
        clock: Step(0),
        counted: 9,
        numbers: push.numbers,
    };
    let (_, reason) = aborts(Message::Weights(weights), 2, 0);
    assert!(reason.contains("clocks cannot be"), "{reason}");
    let (_, reason) = aborts(Message::Weights(weights), 1, 0);
    assert!(reason.contains("nobody asked"), "{reason}");
    let (culprit, _) = aborts(Message::Weights(weights), 0, 2);
    assert_eq!(culprit, Some(MemberIndex(0)));
    let score = Score {
        worker: WorkerIndex(1),
        clock: Step(0),
        purpose: Purpose::Train,
        sums: Sums::default(),
    };
    let (_, reason) = aborts(Message::Score(score), 0, 2);
    assert!(
        reason.contains("score"),
        "worker 0 speaks for worker 1: {reason}"
    );
    let early = Score {
        worker: WorkerIndex(0),
        clock: Step(1),
        ..score
    };
    let (_, reason) = aborts(Message::Score(early), 0, 2);
    assert!(reason.contains("out of turn"), "{reason}");
    let refused = Message::Refused(Refusal::Range(push.range));
    let (_, reason) = aborts(refused, 2, 0);
    assert!(reason.contains("refused a push"), "{reason}");
}

#[test]
fn a_greeting_is_repeated_until_it_is_answered_and_a_lost_link_is_told_by_name() {
    let job = Arc::new(job(
        Exchange::Server,
        Placement::Single,
        2,
        Staleness::default(),
    ));
    let mut member = Member::new(job, MemberIndex(0));
    let peer = MemberIndex(1);
    member.handle(Time::ZERO, Input::Built);
    member.handle(Time::ZERO, Input::LinkUp { peer });
    let mut greetings = 0;
    for _ in 0..3 {
        let due = loop {
            match member.poll_output() {
                Polled::Do(Output::Send { message, .. }) => {
                    assert!(matches!(message, Message::Greeting(_)));
                    greetings += 1;
                }
                Polled::Do(other) => panic!("{other:?}"),
                Polled::Wait(due) => break due.expect("it is not answered"),
            }
        };
        member.handle(due, Input::Tick);
    }
    assert_eq!(greetings, 3);
    let reason = "gone".to_owned();
    member.handle(Time::ZERO, Input::LinkLost { peer, reason });
    let events = std::iter::from_fn(|| match member.poll_output() {
        Polled::Do(output) => Some(output),
        Polled::Wait(_) => None,
    });
    let aborted = events.into_iter().any(|output| {
        matches!(output, Output::Event(Event::LinkLost { peer: MemberIndex(1), reason }) if reason == "gone")
    });
    assert!(aborted);
}

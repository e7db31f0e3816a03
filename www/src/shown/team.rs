//! Rooms whose devices hold whole models: who does what, in words.

use crate::{format, words};
use ringtmp_core::ids::PeerId;
use ringtmp_core::parameter_server::{TeamPlan, TeamSpareReason};
use ringtmp_core::signal::Role;
use ringtmp_peer::View;

/// How many serve and do nothing else.
fn servers(plan: &TeamPlan) -> usize {
    plan.servers().filter(|server| !plan.works(*server)).count()
}

/// What the room does while it trains.
pub(super) fn training(view: &View, plan: &TeamPlan) -> String {
    let role = view.me.map(|me| match (plan.works(me), plan.serves(me)) {
        (true, true) => words::this_works_and_serves(),
        (true, false) => words::this_works(),
        (false, true) => words::this_serves(),
        (false, false) if plan.stands_in(me) => words::this_stands_in(),
        (false, false) if view.role == Role::Spectator => words::this_watches(),
        (false, false) => words::this_is_spare(),
    });
    words::team_training(plan.workers.len(), servers(plan), role.as_deref())
}

/// What a device holds, and what it does with it; none of whom the plan does without.
pub(super) fn part(plan: &TeamPlan, peer: PeerId) -> Option<(String, String)> {
    let serves = plan.serves(peer).then(|| match plan.servers().count() {
        1 => words::serves_all(),
        shards => words::serves_one_of(shards),
    });
    if plan.stands_in(peer) {
        return Some((words::stands_in(), String::new()));
    }
    let Some(share) = plan.share_of(peer) else {
        return serves.map(|serves| (serves, String::new()));
    };
    let all: u64 = plan.shares.iter().map(|share| u64::from(*share)).sum();
    let share = words::share_of_step(&format::count(share.into()), &format::count(all));
    let detail = match serves {
        Some(serves) => format!("{share} · {serves}"),
        None => share,
    };
    Some((words::whole_model(), detail))
}

/// Why the plan does without a device, if it says so.
pub(super) fn spare(plan: &TeamPlan, peer: PeerId) -> Option<String> {
    let spare = plan.spares.iter().find(|spare| spare.peer == peer)?;
    Some(match spare.reason {
        TeamSpareReason::TooManyServers => words::too_many_servers(),
        TeamSpareReason::TooFewMicroBatches => words::too_few_micro_batches(),
    })
}

/// The drawing in words.
pub fn summary(plan: &TeamPlan) -> String {
    words::team_summary(plan.workers.len(), servers(plan))
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::ring::RingDrawing;
    use crate::shown::{Phase, member_lines, sentence, tests_view};
    use crate::traffic::Traffic;
    use ringtmp_core::ids::{Epoch, PeerId};
    use ringtmp_core::parameter_server::{
        Exchange, MemberIndex, TeamPlan, TeamSpare, TeamSpareReason, TeamStart,
    };
    use ringtmp_core::signal::RoomPlan;
    use ringtmp_peer::View;

    /// 2 serves, 1 (which is this device) works, and 3 watches.
    pub(crate) fn view(change: fn(&mut TeamPlan)) -> View {
        let mut view = tests_view();
        let mut plan = TeamPlan {
            epoch: Epoch::default(),
            exchange: Exchange::Server,
            order: vec![PeerId(1), PeerId(2)],
            workers: vec![MemberIndex(0)],
            shares: vec![8],
            shards: vec![MemberIndex(1)],
            start: TeamStart::Beginning,
            ..TeamPlan::default()
        };
        change(&mut plan);
        view.room.as_mut().expect("a room").plan = Some(RoomPlan::Team(plan));
        view
    }

    fn drawing(view: &View) -> RingDrawing {
        RingDrawing::new(view, &member_lines(view), &Traffic::default(), false)
    }

    #[test]
    fn a_server_and_its_workers_are_told_apart_and_no_ring_is_drawn() {
        let view = view(|_| {});
        assert_eq!(
            sentence(Phase::Training, Some(&view)),
            "One device trains on the whole model. One server adds up what they find and updates the parameters. This one trains."
        );
        let lines = member_lines(&view);
        let of = |peer| lines.iter().find(|line| line.peer == PeerId(peer));
        let (worker, server) = (of(1).expect("a worker"), of(2).expect("a server"));
        assert_eq!(worker.layers, "the whole model");
        assert_eq!(worker.layers_detail, "8 of 8 micro-batches of each step");
        assert_eq!(server.layers, "server of all parameters");
        let drawing = drawing(&view);
        assert_eq!(drawing.discs.len(), 2);
        assert!(drawing.links.is_empty() && drawing.segments.is_empty());
        assert!(drawing.rates.is_empty());
        assert!(drawing.summary.contains("linked to one server"));
        assert_eq!(drawing.title, "Who is linked to whom");
    }

    #[test]
    fn all_reduce_is_a_ring_of_links_in_which_everybody_holds_everything() {
        let view = view(|plan| {
            plan.exchange = Exchange::AllReduce;
            plan.workers = vec![MemberIndex(0), MemberIndex(1)];
            plan.shards = plan.workers.clone();
            plan.shares = vec![4, 4];
        });
        let lines = member_lines(&view);
        assert!(lines[0].layers_detail.contains("one of 2 parts"));
        let drawing = drawing(&view);
        assert_eq!(drawing.links.len(), 2);
        assert!(drawing.links.iter().all(|link| !link.closing));
        assert!(drawing.segments.is_empty() && drawing.rates.is_empty());
    }

    #[test]
    fn a_server_that_comes_back_keeps_copies_until_it_serves() {
        let view = view(|plan| plan.shards = plan.workers.clone());
        let lines = member_lines(&view);
        let stands_in = lines.iter().find(|line| line.peer == PeerId(2));
        let stands_in = stands_in.expect("it is shown");
        assert_eq!(stands_in.layers, "copies of what it is to serve");
        assert!(
            sentence(Phase::Training, Some(&view))
                .ends_with("This one trains and updates a part of the parameters.")
        );
    }

    #[test]
    fn whoever_has_nothing_to_do_is_told_why() {
        let view = view(|plan| {
            plan.order = vec![PeerId(1)];
            plan.shards = vec![MemberIndex(0)];
            plan.spares = vec![TeamSpare {
                peer: PeerId(2),
                reason: TeamSpareReason::TooManyServers,
            }];
        });
        let lines = member_lines(&view);
        let spare = lines.iter().find(|line| line.peer == PeerId(2));
        let spare = spare.expect("it is shown");
        assert_eq!(spare.layers, "nothing: others serve already");
    }
}

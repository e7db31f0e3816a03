//! What there is to say about a room, as text. Pure functions of a view.

use super::format::{bytes, percent, short};
use crate::announce::OPEN;
use crate::result::{executor_word, kind_word};
use comfy_table::{ContentArrangement, LineStyle, Table, presets};
use ringtmp_core::ids::PeerId;
use ringtmp_core::parameter_server::{Exchange, TeamPlan};
use ringtmp_core::signal::{MemberStatus, MemberView, Role, RoomPlan, RoomState, RoomView};
use ringtmp_peer::{Access, LinkState, Notice, NoticeLevel, ServerState, View};

/// Names of remote devices are cut to this.
const NAME_CHARS_MAX: usize = 28;

/// Narrower terminals do not show what kind of device each is and what it computes on.
const WIDTH_FOR_DEVICES: u16 = 80;

/// The reason of a stop, and a notice, are cut to this.
const WORDS_CHARS_MAX: usize = 400;

/// The room's state in words; before there is a room, the server's.
pub(crate) fn state(view: &View) -> String {
    let Some(room) = &view.room else {
        return match &view.server {
            ServerState::Connecting => "reaching the server".to_owned(),
            ServerState::Connected => "entering the room".to_owned(),
            ServerState::Lost { reason, .. } => {
                format!("no server: {}", short(reason, WORDS_CHARS_MAX))
            }
        };
    };
    let words = match &room.state {
        RoomState::Waiting => waiting(view, room),
        RoomState::WarmingUp => "warming up: stages, links and kernels are made".to_owned(),
        RoomState::Training => "training".to_owned(),
        RoomState::Paused => "paused".to_owned(),
        RoomState::Reconfiguring { reason } => {
            let reason = short(reason, WORDS_CHARS_MAX);
            let what = match room.team() {
                Some(_) => "all are put together anew",
                None => "the ring is put together anew",
            };
            format!("{what}: {reason}")
        }
        RoomState::Lacking { reason } => {
            let reason = short(reason, WORDS_CHARS_MAX);
            format!("{reason}; \"start\" begins anew")
        }
        RoomState::Finished => "finished".to_owned(),
        RoomState::Stopped { reason } => format!("stopped: {}", short(reason, WORDS_CHARS_MAX)),
    };
    match &view.server {
        ServerState::Lost { .. } => {
            format!("{words} (the server is gone; links between devices do not need it)")
        }
        ServerState::Connecting | ServerState::Connected => words,
    }
}

fn waiting(view: &View, room: &RoomView) -> String {
    let here = participants(room).count();
    let open = match view.access {
        Access::Open => "; this room is open to everybody",
        Access::Unknown | Access::Secret { .. } | Access::Watching => "",
    };
    match view.run.as_ref().map(|run| run.start_at_peers) {
        None | Some(0) => format!("waiting for somebody to start it ({here} devices here){open}"),
        Some(wanted) => format!("waiting for devices ({here} of {wanted} here){open}"),
    }
}

/// Members that train.
pub(crate) fn participants(room: &RoomView) -> impl Iterator<Item = &MemberView> {
    room.members
        .iter()
        .filter(|member| member.role != Role::Spectator)
}

/// Updates made so far, as far as the curve tells.
pub(crate) fn steps_done(view: &View) -> u32 {
    let finished = view
        .room
        .as_ref()
        .and_then(|room| room.result.as_ref())
        .map(|result| result.steps);
    let steps = view.points.iter().map(|point| match point.loss {
        // A loss names the step it was measured in, an accuracy the number of updates before it.
        Some(_) => point.step.saturating_add(1),
        None => point.step,
    });
    steps.chain(finished).max().unwrap_or(0)
}

/// The newest loss and accuracy.
pub(crate) fn figures(view: &View) -> String {
    let loss = view.points.iter().rev().find_map(|point| point.loss);
    let accuracy = view.points.iter().rev().find_map(|point| point.accuracy);
    let result = view.room.as_ref().and_then(|room| room.result.as_ref());
    let loss = result.and_then(|result| result.loss_last).or(loss);
    let accuracy = result.and_then(|result| result.test_accuracy).or(accuracy);
    let mut words = Vec::new();
    words.extend(loss.map(|loss| format!("loss {loss:.4}")));
    words.extend(accuracy.map(|accuracy| format!("accuracy {}", percent(accuracy))));
    words.extend(result.map(|result| format!("in {:.1} s", result.seconds)));
    words.join("  ")
}

/// Everything in one line, for where there is no terminal.
pub(crate) fn plain(view: &View) -> String {
    let steps = view.run.as_ref().filter(|_| !view.points.is_empty());
    let steps = steps.map(|run| format!("step {} of {}", steps_done(view), run.steps));
    let words = [Some(state(view)), steps, Some(figures(view))];
    let words: Vec<String> = words
        .into_iter()
        .flatten()
        .filter(|words| !words.is_empty())
        .collect();
    words.join("  ")
}

/// Whether the later view says something that [`plain`] would show.
pub(crate) fn moved(earlier: &View, later: &View) -> bool {
    plain(earlier) != plain(later)
}

/// The run, and the ring as a table.
pub(crate) fn screen(view: &View, width: u16) -> String {
    let run = view.run.as_ref().map(|run| {
        let parameters: u64 = run.parameters.iter().sum();
        format!(
            "{} on {}: {} layers, {parameters} parameters, batches of {}",
            short(&run.name, NAME_CHARS_MAX),
            short(&run.data, NAME_CHARS_MAX),
            run.layers.len(),
            run.batch
        )
    });
    let open = (view.access == Access::Open).then(|| OPEN.to_owned());
    let ring = view.room.as_ref().filter(|room| !room.members.is_empty());
    let ring = ring.map(|room| ring_table(view, room, width));
    let lines = [run, open, ring];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// One row a device: the ring in its order, head first, then those that hold no layers; below, who watches.
fn ring_table(view: &View, room: &RoomView, width: u16) -> String {
    let mut table = Table::new();
    let style = presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));
    table
        .load_style(style)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .force_no_tty()
        .set_header(columns(
            [
                "device",
                "kind",
                part_word(room),
                "computes on",
                "now",
                "links",
            ],
            width,
        ));
    let order = room.plan.as_ref().map(RoomPlan::order);
    let order = order.unwrap_or_default();
    let member = |id: &PeerId| participants(room).find(|member| member.peer == *id);
    let outside = participants(room).filter(|member| !order.contains(&member.peer));
    for member in order.iter().filter_map(member).chain(outside) {
        table.add_row(columns(row(view, room, member), width));
    }
    let watching: Vec<String> = room
        .members
        .iter()
        .filter(|member| member.role == Role::Spectator)
        .map(|member| name(view, member))
        .collect();
    let table = (!table.is_empty()).then(|| table.trim_fmt());
    let watching = (!watching.is_empty()).then(|| format!(" watching: {}", watching.join(", ")));
    let parts: Vec<String> = table.into_iter().chain(watching).collect();
    parts.join("\n")
}

/// The columns that a terminal of this width has room for.
fn columns<T>(all: [T; 6], width: u16) -> Vec<T> {
    let [device, kind, layers, computes, now, sends] = all;
    if width < WIDTH_FOR_DEVICES {
        vec![device, layers, now, sends]
    } else {
        vec![device, kind, layers, computes, now, sends]
    }
}

/// A device's name for people; ours is marked.
fn name(view: &View, member: &MemberView) -> String {
    let me = if view.me == Some(member.peer) {
        " (this)"
    } else {
        ""
    };
    format!("{}{me}", short(&member.device.name, NAME_CHARS_MAX))
}

fn row(view: &View, room: &RoomView, member: &MemberView) -> [String; 6] {
    let layers = room.ring().and_then(|plan| plan.layers_of(member.peer));
    // People count from 1.
    let layers = layers.map(|layers| match (layers.start.0 + 1, layers.end.0) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}–{last}"),
    });
    let part = layers.or_else(|| Some(team_part(room.team()?, member.peer)));
    let adapter = short(&member.device.adapter, NAME_CHARS_MAX);
    let executor = executor_word(member.device.executor);
    let computes = if adapter.is_empty() {
        executor.to_owned()
    } else {
        format!("{executor}: {adapter}")
    };
    [
        name(view, member),
        kind_word(member.device.kind).to_owned(),
        part.unwrap_or_default(),
        computes,
        now(member),
        links(view, room, member),
    ]
}

/// What the column of parts is called.
const fn part_word(room: &RoomView) -> &'static str {
    match room.plan {
        Some(RoomPlan::Team(_)) => "part",
        Some(RoomPlan::Ring(_)) | None => "layers",
    }
}

/// What a device does where each holds the whole model.
fn team_part(plan: &TeamPlan, peer: PeerId) -> String {
    let share = plan.share_of(peer).map(|share| {
        let all: u32 = plan.shares.iter().copied().map(u32::from).sum();
        format!("whole model, {share} of {all} micro-batches")
    });
    let serves = match (plan.exchange, plan.serves(peer)) {
        (Exchange::AllReduce, _) | (_, false) => None,
        (Exchange::Server, true) => Some(match plan.servers().count() {
            1 => "server".to_owned(),
            servers => format!("server, 1 of {servers}"),
        }),
    };
    let copies = plan
        .stands_in(peer)
        .then(|| "copies, serves soon".to_owned());
    let parts: Vec<String> = share.into_iter().chain(serves).chain(copies).collect();
    parts.join("; ")
}

/// What a member does, and how idle it has been in this run.
fn now(member: &MemberView) -> String {
    let status = status_word(member.status);
    member.report.as_ref().map_or_else(
        || status.to_owned(),
        |report| format!("{status}\n{} idle", percent(report.run.idle() as f32)),
    )
}

/// How a member's links are, and what it has sent over them. A link of which bytes are told is open.
fn links(view: &View, room: &RoomView, member: &MemberView) -> String {
    let name = |id: PeerId| {
        let member = room.members.iter().find(|member| member.peer == id);
        member.map_or_else(
            || id.to_string(),
            |member| short(&member.device.name, NAME_CHARS_MAX),
        )
    };
    let own = |to: PeerId| {
        let ours = view.me == Some(member.peer);
        view.links.iter().find(|link| ours && link.peer == to)
    };
    let line = |to: PeerId| {
        let told = member.links.iter().find(|link| link.to == to);
        let way = told.is_some_and(|link| link.relayed);
        let way = if way { ", relayed" } else { "" };
        let state = match (own(to).map(|link| &link.state), told) {
            (Some(LinkState::Failed { reason }), _) => {
                format!("failed: {}", short(reason, NAME_CHARS_MAX))
            }
            (Some(LinkState::Open), told) => bytes(told.map_or(0, |link| link.bytes)),
            (None, Some(link)) => bytes(link.bytes),
            (Some(LinkState::Connecting), _) | (None, None) => "connecting".to_owned(),
        };
        format!("→ {} {state}{way}", name(to))
    };
    neighbours(room, member.peer)
        .into_iter()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The successor and the predecessor under the plan at work; with two peers they are one.
fn neighbours(room: &RoomView, peer: PeerId) -> Vec<PeerId> {
    if let Some(plan) = room.team() {
        return plan.linked(peer);
    }
    let stage = room
        .ring()
        .and_then(|plan| Some((plan, plan.stage_of(peer)?)));
    let Some((plan, stage)) = stage else {
        return Vec::new();
    };
    let mut neighbours = vec![plan.successor(stage), plan.predecessor(stage)];
    neighbours.dedup();
    neighbours.retain(|neighbour| *neighbour != peer);
    neighbours
}

fn status_word(status: MemberStatus) -> &'static str {
    match status {
        MemberStatus::Waiting => "waiting",
        MemberStatus::Preparing => "preparing",
        MemberStatus::Ready => "ready",
        MemberStatus::Training => "training",
        MemberStatus::Spare => "spare",
        MemberStatus::Measuring => "measuring",
        MemberStatus::Watching => "watching",
        MemberStatus::Away => "away",
        MemberStatus::Done => "done",
        MemberStatus::Leaving => "leaving",
        MemberStatus::CutOut => "cut out",
    }
}

/// A notice in a line.
pub(crate) fn notice(notice: &Notice) -> String {
    let level = match notice.level {
        NoticeLevel::Information => "note",
        NoticeLevel::Warning => "warning",
        NoticeLevel::Error => "error",
    };
    let text = short(&notice.text, WORDS_CHARS_MAX);
    let advice = short(&notice.advice, WORDS_CHARS_MAX);
    let space = if advice.is_empty() { "" } else { " " };
    format!("{level}: {text}{space}{advice}")
}

/// The notices after the last one that was shown (all, where that one has been dropped since).
pub(crate) fn new_notices<'a>(notices: &'a [Notice], shown: Option<&Notice>) -> &'a [Notice] {
    let after = shown.and_then(|shown| notices.iter().rposition(|notice| notice == shown));
    &notices[after.map_or(0, |index| index + 1)..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::sample;

    #[test]
    fn the_ring_is_shown_in_its_order_with_layers_and_bytes() {
        let text = screen(&sample::training(), 120);
        let line = |words: &str| {
            let lines: Vec<&str> = text.lines().collect();
            let index = lines.iter().position(|line| line.contains(words));
            index
                .map(|index| (index, lines[index]))
                .unwrap_or_else(|| panic!("{words:?} is not in\n{text}"))
        };
        let (head_at, head) = line("Chromium on Linux  ");
        let (tail_at, tail) = line("4–5");
        let (watcher_at, watcher) = line("watching: ");
        assert!(head_at < tail_at && tail_at < watcher_at, "{text}");
        assert!(
            head.contains("1–3") && head.contains("gpu") && head.contains("→ native 1 1.5 MB"),
            "{text}"
        );
        assert!(
            tail.contains("native")
                && tail.contains("cpu")
                && tail.contains("→ Chromium on Linux 3.0 kB"),
            "{text}"
        );
        assert!(text.contains("25.0 % idle"), "{text}");
        assert!(
            watcher.contains("terminal (this)") && !watcher.contains("cpu"),
            "{text}"
        );
        assert!(
            text.starts_with("mlp on digits: 5 layers, 50 parameters, batches of 64\n"),
            "{text}"
        );
    }

    #[test]
    fn a_narrow_terminal_is_not_overrun() {
        for width in [40, 60, 80] {
            let text = screen(&sample::training(), width);
            let table = text.lines().skip(1);
            let widest = table.map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(widest <= usize::from(width), "{widest} > {width}\n{text}");
        }
    }

    #[test]
    fn steps_and_figures_come_from_the_curve_and_at_the_end_from_the_result() {
        let training = sample::training();
        assert_eq!(steps_done(&training), 40);
        assert_eq!(figures(&training), "loss 1.2500  accuracy 50.0 %");
        assert_eq!(
            plain(&training),
            "training  step 40 of 100  loss 1.2500  accuracy 50.0 %"
        );
        let finished = sample::finished();
        assert_eq!(steps_done(&finished), 100);
        assert_eq!(
            figures(&finished),
            "loss 0.2500  accuracy 93.8 %  in 12.5 s"
        );
        assert!(moved(&training, &finished) && !moved(&training, &training));
    }

    #[test]
    fn every_state_has_words_also_without_a_room_or_a_server() {
        let mut view = sample::training();
        let reason = "the server ended".to_owned();
        view.server = ServerState::Lost {
            reason,
            comes_back: true,
        };
        assert!(state(&view).starts_with("training (the server is gone"));
        view.room = None;
        assert_eq!(state(&view), "no server: the server ended");
        view.server = ServerState::Connecting;
        assert_eq!(state(&view), "reaching the server");
        assert_eq!(
            plain(&view),
            "reaching the server  step 40 of 100  loss 1.2500  accuracy 50.0 %"
        );
        let mut waiting = sample::training();
        let room = waiting.room.as_mut().expect("a room");
        room.state = RoomState::Waiting;
        waiting.run.as_mut().expect("a run").start_at_peers = 3;
        assert_eq!(state(&waiting), "waiting for devices (2 of 3 here)");
        waiting.run.as_mut().expect("a run").start_at_peers = 0;
        assert_eq!(
            state(&waiting),
            "waiting for somebody to start it (2 devices here)"
        );
    }

    #[test]
    fn each_notice_is_shown_once() {
        let note = |text: &str| Notice {
            level: NoticeLevel::Warning,
            text: text.to_owned(),
            advice: "Do this.".to_owned(),
        };
        let notices = [note("a"), note("b"), note("c")];
        assert_eq!(new_notices(&notices, None).len(), 3);
        assert_eq!(new_notices(&notices, Some(&notices[1])), &notices[2..]);
        assert_eq!(new_notices(&notices, Some(&notices[2])), &[]);
        assert_eq!(new_notices(&notices, Some(&note("dropped"))).len(), 3);
        assert_eq!(notice(&notices[0]), "warning: a Do this.");
    }
}

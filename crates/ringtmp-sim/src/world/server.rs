//! A server that goes away and comes back, and devices that lose their sockets and return.

use super::{Event, SIGNAL_DELAY, World};
use crate::compute::Compute;
use crate::random::Draws;
use crate::scenario::FaultKind;
use ringtmp_core::ids::PeerId;
use ringtmp_core::lobby::{ConnectionId, Limits, Lobby, LobbyInput, VisitorId};
use ringtmp_core::node::Assignment;
use ringtmp_core::signal::{ClientMessage, Device, DeviceKind, ExecutorKind, RoomState};
use ringtmp_core::time::Time;
use std::time::Duration;

/// Peers try to reach a server that is gone at least so often.
const TRIES_EVERY: f64 = 2.0;

/// A newcomer who finds no room tries again after this time.
const NO_ROOM_WAIT: Duration = Duration::from_secs(1);

/// A user who sees that a room waits does something about it after this time.
const USER_WAIT: Duration = Duration::from_secs(3);

/// How long they wait for devices that may still have what is missing in their memory, before they have the run begin anew.
const USER_PATIENCE: Duration = Duration::from_secs(20);

/// A server, while it is there and after it.
pub(crate) struct Server {
    pub(super) lobby: Lobby,
    /// When it wants to be woken.
    pub(super) wakes: Option<Time>,
    pub(super) is_gone: bool,
}

impl Server {
    pub(super) fn new(incarnation: u32) -> Self {
        let limits = Limits {
            messages_burst: u32::MAX,
            room_messages_burst: u32::MAX,
            // Who opens a room here only does that.
            roomless_max: None,
            ..Limits::default()
        };
        Self {
            lobby: Lobby::new(limits, incarnation),
            wakes: None,
            is_gone: false,
        }
    }
}

impl<C: Compute, B: FnMut(Assignment) -> C> World<'_, C, B> {
    /// Which server a device reaches that looks for one.
    pub(super) fn newest_server(&self) -> usize {
        self.servers.len() - 1
    }

    /// What a socket tells the server at its other end.
    pub(super) fn socket(&mut self, connection: ConnectionId, input: LobbyInput<'_>) {
        if let Some(server) = self.answers.get(&connection).copied() {
            self.tell_lobby(server, input);
        }
    }

    /// From now on whoever looks for a server finds another one, and some devices have to.
    pub(super) fn second_server(&mut self, first: usize, devices: usize, lasts: Duration) {
        let before = self.newest_server();
        self.incarnation += 1;
        self.servers.push(Server::new(self.incarnation));
        let all = self.peers.len();
        for at in (0..devices).map(|place| (first + place) % all) {
            self.offline(at, Duration::ZERO);
        }
        self.schedule(lasts, Event::ServerGone(before));
    }

    pub(super) fn server_gone(&mut self, server: usize) {
        if server == self.newest_server() {
            return;
        }
        self.servers[server].is_gone = true;
        let answered = |at: &usize| {
            let connection = self.peers[*at].connection;
            connection.is_some_and(|connection| self.answers.get(&connection) == Some(&server))
        };
        let left: Vec<usize> = (0..self.peers.len()).filter(answered).collect();
        for at in left {
            self.offline(at, Duration::ZERO);
        }
        self.speaker = self.newest_server();
    }

    /// When the server can be reached again, at the earliest.
    pub(super) fn server_back(&self) -> Time {
        self.server_away.unwrap_or(self.now).max(self.now)
    }

    pub(super) fn server_lost(&mut self, lasts: Duration, forgets: bool) {
        self.server_away = Some((self.now + lasts).max(self.server_back()));
        let back = self.server_back().since(self.now);
        let mut draws = Draws::new(self.scenario.seed, self.sequence);
        for at in 0..self.peers.len() {
            let try_again = Duration::from_secs_f64(TRIES_EVERY * draws.unit());
            self.offline(at, back + try_again);
        }
        if forgets {
            self.incarnation += 1;
            for server in &mut self.servers {
                server.is_gone = true;
            }
            self.servers.push(Server::new(self.incarnation));
            self.speaker = self.newest_server();
            // Some of what it has just said gets through.
            let mut lost = || draws.unit() < 0.5;
            self.heap.retain(|scheduled| match scheduled.0.event {
                Event::ToServer(..) => false,
                Event::FromServer(..) => !lost(),
                _ => true,
            });
        }
    }

    /// A device loses its socket, and tries to return after that time.
    pub(super) fn offline(&mut self, at: usize, returns_after: Duration) {
        let Some(connection) = self.peers[at].connection else {
            return;
        };
        if !self.peers[at].offline {
            self.peers[at].offline = true;
            self.socket(connection, LobbyInput::Disconnected { connection });
        }
        self.schedule(returns_after, Event::Reconnects(at, connection));
    }

    pub(super) fn reconnects(&mut self, at: usize, before: ConnectionId) {
        let peer = &self.peers[at];
        if peer.connection != Some(before) || !peer.offline {
            return;
        }
        if self.now < self.server_back() {
            let later = self.server_back().since(self.now) + NO_ROOM_WAIT;
            return self.schedule(later, Event::Reconnects(at, before));
        }
        let has_data = self.scenario.devices[at].has_data;
        let returning = peer.node.returning(self.device(at), has_data, Vec::new());
        self.connect_socket(at);
        let Some(returning) = returning else {
            // Nobody has welcomed it so far.
            return self.join(at);
        };
        let says = ClientMessage::Return(Box::new(returning));
        self.schedule(SIGNAL_DELAY, Event::ToServer(at, says));
    }

    /// A socket that was never used before.
    pub(super) fn connect_socket(&mut self, at: usize) {
        let connection = ConnectionId(self.sockets);
        self.sockets += 1;
        self.peers[at].connection = Some(connection);
        self.peers[at].offline = false;
        self.devices.insert(connection, at);
        self.answers.insert(connection, self.newest_server());
        let visitor = VisitorId(connection.0);
        let connected = LobbyInput::Connected {
            connection,
            visitor,
        };
        self.socket(connection, connected);
    }

    /// A newcomer came before the first who was there already.
    pub(super) fn found_no_room(&mut self, connection: ConnectionId) {
        if let Some(at) = self.devices.get(&connection).copied()
            && self.peers[at].connection == Some(connection)
        {
            self.peers[at].connection = None;
            // Where nobody is left who remembers the room, there is none to be had.
            if self.peers.iter().any(|peer| peer.connection.is_some()) {
                self.schedule(NO_ROOM_WAIT, Event::Returns(at));
            }
        }
    }

    pub(super) fn device(&self, i: usize) -> Device {
        Device {
            kind: DeviceKind::Native,
            name: format!("device {i}"),
            executor: ExecutorKind::Cpu,
            adapter: String::new(),
            memory_bytes: self.scenario.devices[i].memory_bytes,
            form: None,
        }
    }

    /// The user of a ring that waits for devices, which may be gone for good, has it go on without them.
    pub(super) fn user_sees(&mut self, peer: PeerId, state: &RoomState) {
        let waits = match state {
            RoomState::Reconfiguring { reason } => reason.contains("press start"),
            // Nobody who has returned has ever heard of a plan.
            RoomState::Waiting => self.incarnation > 0,
            RoomState::Lacking { reason } => reason.contains("its memory alone"),
            _ => false,
        };
        let wait = match state {
            RoomState::Lacking { .. } => USER_PATIENCE,
            _ => USER_WAIT,
        };
        if let Some(at) = self.index.get(&peer).copied()
            && waits
            && self.user_presses.is_none()
        {
            self.user_presses = Some(self.now + wait);
            self.schedule(wait, Event::UserPresses(at));
        }
    }

    /// Whoever meant to press start does, or somebody else who is left, as soon as anybody reaches the server; nobody has a
    /// run begin again that is over.
    pub(super) fn user_presses_start(&mut self, meant: usize) {
        self.user_presses = None;
        if matches!(self.state, RoomState::Finished | RoomState::Stopped { .. }) {
            return;
        }
        let lacks = matches!(self.state, RoomState::Lacking { .. });
        if lacks {
            self.check_waits_for_memory();
        }
        let there = |at: &usize| self.peers[*at].connection.is_some();
        let reaches = |at: &usize| there(at) && !self.peers[*at].offline;
        let all = || std::iter::once(meant).chain(0..self.peers.len());
        match all().find(reaches) {
            Some(at) => {
                if lacks {
                    let after = std::mem::take(&mut self.told);
                    self.tally.begins_anew(after);
                }
                self.tell_server(at, &ClientMessage::Start);
            }
            None if all().any(|at| there(&at)) => {
                self.user_presses = Some(self.now + USER_WAIT);
                self.schedule(USER_WAIT, Event::UserPresses(meant));
            }
            None => {}
        }
    }

    /// Faults count from when the server is back.
    pub(super) fn excuse(&mut self, what: &FaultKind, notice: Duration) {
        let lasts = Duration::from_secs_f64(what.seconds());
        let excused = self.server_back() + lasts + notice;
        let until = &mut self.watch.excused_until;
        *until = excused.max(*until);
    }
}

//! What the user wants, what ends a peer's part in a room, and what changes what computes in it.

use super::Shell;
use crate::progress::Progress;
use crate::view::{Command, NoticeLevel};
use ringtmp_compute::{Executor, ExecutorKind as Computes};
use ringtmp_core::ids::Epoch;
use ringtmp_core::node::Input;
use ringtmp_core::signal::{ClientMessage, ExecutorKind, ServerMessage};
use ringtmp_transport::SignallingError;

impl Shell {
    /// The user wants something: of this device, or of the room.
    pub(super) fn user_said(&mut self, command: Command, progress: &mut Progress) -> Option<Input> {
        match command {
            Command::TrainOn { strokes, label } => self.train_on(&strokes, label, progress),
            Command::Ask { strokes } => self.ask_about(&strokes, progress),
            Command::Write {
                start,
                temperature_percent,
                again,
            } => self.write(start, temperature_percent, again, progress),
            Command::StopWriting => self.stop_writing(progress),
            Command::FetchModel => self.fetch_model(progress),
            command => {
                self.obey(&command, progress);
                return ask(&command).map(Input::Ask);
            }
        }
        None
    }

    /// What a command changes here, whatever the room makes of it.
    pub(super) fn obey(&mut self, command: &Command, progress: &mut Progress) {
        self.line.remember(command);
        match command {
            Command::Admit { asker, allow } => {
                if let Some(says) = self.porch.decided(*asker, *allow, progress) {
                    self.tell_room(&says, progress);
                }
            }
            Command::LoseGpu { for_good } => {
                self.gpu_is_gone |= for_good;
                if let Some(executor) = &self.executor {
                    executor.lose();
                }
            }
            Command::Pledge { .. }
            | Command::Rename { .. }
            | Command::Kick { .. }
            | Command::Start
            | Command::Pause
            | Command::Resume
            | Command::Stop
            | Command::HandOn
            | Command::TrainOn { .. }
            | Command::Ask { .. }
            | Command::Write { .. }
            | Command::StopWriting
            | Command::FetchModel
            | Command::Leave => {}
        }
    }

    /// Says goodbye.
    pub(super) fn leave(&mut self) {
        self.line.take_leave();
        for peer in self.links.peers() {
            self.links.remove(peer);
            self.connector.disconnect(peer);
        }
    }

    /// The device has failed in the middle of something: it is opened again before anything else is done.
    pub(super) fn device_lost(
        &mut self,
        epoch: Epoch,
        reason: String,
        progress: &mut Progress,
    ) -> Input {
        self.reopen_due = true;
        let text = format!("This device stumbled: {reason}.");
        let advice = "It is made ready again; copies of its layers are left here and elsewhere.";
        progress.notice(NoticeLevel::Warning, text, advice);
        Input::Stumbled { epoch, reason }
    }

    /// It is there again, or the CPU in its place.
    pub(super) fn reopened(&mut self, executor: Executor, progress: &mut Progress) -> Input {
        let adapter = executor.adapter();
        let (kind, level, text) = match executor.kind() {
            Computes::Gpu => (
                ExecutorKind::Gpu,
                NoticeLevel::Information,
                format!("The GPU is back ({adapter})."),
            ),
            Computes::Cpu => (
                ExecutorKind::Cpu,
                NoticeLevel::Warning,
                "The GPU did not come back: this device trains on its CPU now.".to_owned(),
            ),
        };
        progress.notice(level, text, "");
        self.executor = Some(executor);
        let device = &mut self.line.door.device;
        device.executor = kind;
        device.adapter.clone_from(&adapter);
        progress.set_device(device.clone());
        Input::Ask(ClientMessage::Computes {
            executor: kind,
            adapter,
        })
    }
}

/// Whether the room can do without this peer, which wanted to leave.
pub(super) fn is_released(message: &Result<ServerMessage, SignallingError>) -> bool {
    matches!(message, Ok(ServerMessage::Released))
}

/// By whom this peer was sent away, if it was.
pub(super) fn sent_away(message: &Result<ServerMessage, SignallingError>) -> Option<String> {
    match message {
        Ok(ServerMessage::Kicked { by }) => Some(by.clone()),
        _ => None,
    }
}

/// What the room is asked for by a command, if it is the room that is asked.
pub(crate) fn ask(command: &Command) -> Option<ClientMessage> {
    match command {
        Command::Start => Some(ClientMessage::Start),
        Command::HandOn => Some(ClientMessage::HandOn),
        Command::Pause => Some(ClientMessage::Pause),
        Command::Resume => Some(ClientMessage::Resume),
        Command::Stop => Some(ClientMessage::Stop),
        Command::Pledge { memory_bytes } => Some(ClientMessage::Pledge {
            memory_bytes: *memory_bytes,
        }),
        Command::Leave => Some(ClientMessage::Leave),
        Command::Kick { peer } => Some(ClientMessage::Kick { peer: *peer }),
        Command::Rename { peer, name } => Some(ClientMessage::Rename {
            peer: *peer,
            name: name.clone(),
        }),
        Command::TrainOn { .. }
        | Command::Ask { .. }
        | Command::Admit { .. }
        | Command::Write { .. }
        | Command::StopWriting
        | Command::FetchModel
        | Command::LoseGpu { .. } => None,
    }
}

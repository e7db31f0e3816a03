//! Child processes that never outlive this program.
//!
//! Each child leads a process group of its own, so that whatever it starts can be ended with it. A group is ended when its
//! [`Group`] is dropped: at the end of the program, at an error, in a panic. Should this program be killed so that nothing
//! of it runs any more, a [`Guard`] (this same program as `ringtmp guard`) sees its standard input closed and ends them.

use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::io::Write;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// How long a killed child may take to be gone; it takes milliseconds.
const GONE_MAX: Duration = Duration::from_secs(2);

/// How often to look whether it is gone: only when dropped, where nothing can be awaited.
const GONE_POLL: Duration = Duration::from_millis(5);

/// The last lines of a child's messages that are kept.
const MESSAGES_MAX: usize = 20;

/// A line of a child's messages is cut into pieces of so many bytes.
const MESSAGE_BYTES_MAX: u64 = 400;

/// A child and everything it started.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    /// The id of the group; none once it was ended.
    id: Option<u32>,
}

impl Group {
    /// Starts the command as the leader of a new group, and follows what it says on standard error.
    pub(crate) fn start(command: &mut Command, guard: &mut Guard) -> Result<(Self, Messages)> {
        command.stderr(Stdio::piped());
        let mut group = Self::start_aloud(command, guard)?;
        let stderr = group.child.stderr.take();
        let messages = Messages::follow(stderr.context("standard error was asked for")?);
        Ok((group, messages))
    }

    /// Starts the command as the leader of a new group, and lets it speak for itself.
    pub(crate) fn start_aloud(command: &mut Command, guard: &mut Guard) -> Result<Self> {
        #[cfg(unix)]
        command.process_group(0);
        command.kill_on_drop(true);
        let child = command.spawn().with_context(|| {
            let program = command
                .as_std()
                .get_program()
                .to_string_lossy()
                .into_owned();
            format!("cannot start {program}")
        })?;
        let id = child.id();
        if let Some(id) = id {
            guard.watch(id);
        }
        Ok(Self { child, id })
    }

    /// The leader's id; none once it has ended.
    pub(crate) fn leader(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the leader alone; what it left behind goes on.
    pub(crate) async fn leader_ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Waits for the leader, and ends what it left behind.
    pub(crate) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.kill();
        status
    }

    /// Whether [`Group::hold_still`] works on this system.
    pub(crate) const CAN_BE_HELD_STILL: bool = cfg!(unix);

    /// Stops the leader and all that it started in the middle of whatever they do, without telling anybody; they stay so until they are
    /// ended.
    #[cfg(unix)]
    pub(crate) fn hold_still(&self) -> Result<()> {
        use rustix::process::{Pid, Signal, kill_process_group};
        let pid = self.id.and_then(|id| i32::try_from(id).ok());
        let pid = pid.and_then(Pid::from_raw).context("it has ended")?;
        kill_process_group(pid, Signal::STOP).context("the system does not hold it still")
    }

    /// Not on this system, which can only end processes.
    #[cfg(not(unix))]
    pub(crate) fn hold_still(&self) -> Result<()> {
        anyhow::bail!("this system cannot hold a process still")
    }

    fn kill(&mut self) {
        if let Some(id) = self.id.take() {
            kill_group(id);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let started = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && started.elapsed() < GONE_MAX {
            std::thread::sleep(GONE_POLL);
        }
    }
}

/// Ends all processes of a group. One that is not there any more is no error.
#[cfg(unix)]
pub(crate) fn kill_group(id: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process_group(pid, Signal::KILL)
    {
        tracing::debug!(%error, id, "a process group was gone already");
    }
}

/// Ends a process and its descendants: Windows has no process groups in this sense.
#[cfg(windows)]
pub(crate) fn kill_group(id: u32) {
    let killed = std::process::Command::new("taskkill")
        .args(["/T", "/F", "/PID", &id.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = killed {
        tracing::warn!(%error, id, "cannot end a process");
    }
}

/// The last lines that a process has said on standard error, to explain its end.
#[derive(Clone, Debug)]
pub(crate) struct Messages(watch::Receiver<VecDeque<String>>);

impl Messages {
    /// Reads until the other end is closed.
    fn follow(stderr: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (keep, kept) = watch::channel(VecDeque::new());
        tokio::spawn(async move {
            let mut reader = BufReader::new(stderr);
            let mut line = Vec::new();
            loop {
                line.clear();
                // A line without an end is read in pieces, so that it cannot take all memory.
                let mut limited = (&mut reader).take(MESSAGE_BYTES_MAX);
                if !matches!(limited.read_until(b'\n', &mut line).await, Ok(1..)) {
                    break;
                }
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                keep.send_modify(|lines| push(lines, text));
            }
        });
        Self(kept)
    }

    /// What follows `start` in the first line that begins with it; none when there will be no more lines.
    pub(crate) async fn after(&self, start: &str) -> Option<String> {
        let mut lines = self.0.clone();
        loop {
            let found = lines
                .borrow_and_update()
                .iter()
                .find_map(|line| line.strip_prefix(start).map(str::to_owned));
            if found.is_some() {
                return found;
            }
            lines.changed().await.ok()?;
        }
    }

    /// As the end of a sentence; empty where it said nothing.
    pub(crate) fn words(&self) -> String {
        let shown: String = self
            .0
            .borrow()
            .iter()
            .map(|line| format!("\n  {line}"))
            .collect();
        if shown.is_empty() {
            shown
        } else {
            format!("; its last messages:{shown}\n")
        }
    }
}

fn push(lines: &mut VecDeque<String>, line: String) {
    // Chromium's complaints about a missing system bus come by the dozen in containers, and mean nothing.
    if line.is_empty() || line.contains("/dbus/") || line.contains(":dbus/") {
        return;
    }
    if lines.len() == MESSAGES_MAX {
        lines.pop_front();
    }
    lines.push_back(line);
}

/// A process that ends the groups should we be killed.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Option<std::process::Child>,
}

impl Guard {
    /// Starts the guard. Without one everything works, except that being killed leaves children behind.
    pub(crate) fn start() -> Self {
        let started = std::env::current_exe().and_then(|program| {
            let mut command = std::process::Command::new(program);
            command
                .arg("guard")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            #[cfg(unix)]
            // In a group of its own, so that what kills ours does not kill it.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            command.spawn()
        });
        if let Err(error) = &started {
            tracing::warn!(%error, "no guard: if this program is killed, browsers stay behind");
        }
        Self {
            child: started.ok(),
        }
    }

    /// Names a group to the guard.
    fn watch(&mut self, id: u32) {
        let input = self.child.as_mut().and_then(|child| child.stdin.as_mut());
        if let Some(input) = input
            && let Err(error) = writeln!(input, "{id}")
        {
            tracing::warn!(%error, "the guard is gone");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Closing its input ends it.
            drop(child.stdin.take());
            if let Err(error) = child.wait() {
                tracing::debug!(%error, "the guard was gone already");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(bytes: &'static [u8]) -> Messages {
        let messages = Messages::follow(bytes);
        assert_eq!(
            messages.after("never said").await,
            None,
            "it reads to the end"
        );
        messages
    }

    #[tokio::test]
    async fn only_the_last_messages_are_kept_each_cut_short() {
        assert_eq!(said(b"").await.words(), "");
        let noise = said(b"ERROR:dbus/bus.cc:405] Failed to connect\n\nreal\n").await;
        assert_eq!(noise.words(), "; its last messages:\n  real\n");
        let long: &'static [u8] = Box::leak(vec![b'x'; 100_000].into_boxed_slice());
        let words = said(long).await.words();
        assert!(
            words.len() < 10_000 && words.contains("xxx"),
            "{}",
            words.len()
        );
        assert_eq!(
            said(b"a\nDevTools listening on ws://x\nb\n")
                .await
                .after("DevTools listening on ")
                .await
                .as_deref(),
            Some("ws://x")
        );
    }

    #[tokio::test]
    #[cfg(unix)]
    async fn dropping_a_group_ends_what_its_leader_started() {
        let mut guard = Guard { child: None };
        // The leader starts a process that would outlive it and says its id.
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo started $! >&2; wait"]);
        let (group, messages) = Group::start(&mut command, &mut guard).expect("there is a shell");
        let grandchild = messages.after("started ").await.expect("it says so");
        let grandchild: i32 = grandchild.parse().expect("an id");
        let pid = rustix::process::Pid::from_raw(grandchild).expect("an id");
        assert!(rustix::process::test_kill_process(pid).is_ok(), "it runs");
        drop(group);
        // Its end closes the pipe, which is the event to wait for.
        assert_eq!(messages.after("never said").await, None);
    }
}

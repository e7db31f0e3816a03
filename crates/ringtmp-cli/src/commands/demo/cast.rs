//! The devices of a demo: tabs of one browser and native processes, all of them ended when this is dropped.

use crate::arguments::Demo;
use crate::browser::{Browser, Looks, Show};
use crate::exit::Failure;
use crate::memory::Memory;
use crate::process::{Group, Guard, Messages};
use crate::room_url::RoomUrl;
use anyhow::{Context, Result};
use futures::future::select_all;
use ringtmp_peer::ExecutorChoice;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Everybody who takes part.
pub(super) struct Cast {
    // The guard is dropped last, when there is nothing left for it to do.
    browser: Option<Browser>,
    natives: Vec<(Group, Messages)>,
    _guard: Guard,
}

impl Cast {
    /// Starts the browser (if there is to be one) and the native processes.
    pub(super) async fn start(
        demo: &Demo,
        program: Option<&Path>,
        room: &RoomUrl,
        show: Show,
    ) -> Result<Self> {
        let mut guard = Guard::start();
        let executor = executor_word(demo.executor);
        let natives = (1..=demo.natives)
            .map(|index| {
                let program = std::env::current_exe().context("this program cannot find itself")?;
                let mut command = Command::new(program);
                command
                    .args(["--quiet", "join", "--executor", executor])
                    // Not among the arguments, which every user of this computer can read.
                    .env("RINGTMP_ROOM", room.to_string())
                    .args(["--name", &format!("native {index}"), "--no-keep"])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null());
                if let Some(link) = demo.access_link {
                    command.args(["--access-link", &link.to_string()]);
                }
                if let Some(Memory(bytes)) = demo.memory {
                    command.args(["--memory", &format!("{}kB", bytes as f64 / 1e3)]);
                }
                Group::start(&mut command, &mut guard)
            })
            .collect::<Result<_>>()?;
        let urls: Vec<String> = (1..=demo.tabs)
            .map(|index| {
                let given = demo.memory.map(|Memory(bytes)| format!("&memory={bytes}"));
                let given = given.unwrap_or_default();
                room.page(&format!(
                    "join&executor={executor}&name=tab%20{index}{given}"
                ))
            })
            .collect();
        let browser = match program {
            None => None,
            Some(program) => {
                let looks = Looks {
                    access_link: demo.access_link,
                    ..Looks::here(show, demo.executor)
                };
                Some(Browser::start(program, &looks, &urls, &mut guard).await?)
            }
        };
        Ok(Self {
            browser,
            natives,
            _guard: guard,
        })
    }

    /// Why a run has not come to its end, with what the tabs' pages say of it: the room knows only who was lost.
    pub(super) async fn explained(&mut self, error: anyhow::Error) -> anyhow::Error {
        let (Some(browser), Some(Failure::Unfinished(reason))) =
            (&mut self.browser, error.downcast_ref::<Failure>())
        else {
            return error;
        };
        let said = browser.complaints().await;
        if said.is_empty() {
            return error;
        }
        Failure::Unfinished(format!("{reason} ({})", said.join("; "))).into()
    }

    /// Done, with words, when a device has ended or crashed.
    pub(super) async fn trouble(&mut self) -> String {
        let browser = async {
            match &mut self.browser {
                Some(browser) => browser.trouble().await,
                None => std::future::pending().await,
            }
        };
        let natives = async {
            if self.natives.is_empty() {
                return std::future::pending().await;
            }
            let waits = self
                .natives
                .iter_mut()
                .map(|(group, _)| Box::pin(group.wait()));
            let (status, index, _) = select_all(waits).await;
            let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let messages = self
                .natives
                .get(index)
                .map(|(_, messages)| messages.words());
            format!(
                "native {} has ended ({how}){}",
                index + 1,
                messages.unwrap_or_default()
            )
        };
        tokio::select! {
            words = browser => words,
            words = natives => words,
        }
    }
}

fn executor_word(executor: ExecutorChoice) -> &'static str {
    match executor {
        ExecutorChoice::Auto => "auto",
        ExecutorChoice::Gpu => "gpu",
        ExecutorChoice::Cpu => "cpu",
    }
}

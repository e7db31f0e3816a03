//! A WebDriver program (ChromeDriver, geckodriver) as a child process.

use crate::processes::signal_descendants;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a driver may take to say its port; it takes tenths of a second.
const START_MAX: Duration = Duration::from_secs(30);

/// How long a command may take. Loading a page is the longest.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// How long closing a session, and with it the browser, may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// How often it is started. ChromeDriver takes a port that is free for one family of addresses, and ends where another program has it for the
/// other.
const TRIES_MAX: u32 = 3;

/// The longest start-up text in which a port is looked for, in lines.
const START_LINES_MAX: usize = 100;

/// A running driver.
#[derive(Debug)]
pub(crate) struct Driver {
    child: Child,
    address: SocketAddr,
    session: Option<String>,
}

impl Driver {
    /// Starts it by a command, on a free port of the host with this address, which it chooses and prints.
    pub(crate) async fn start(mut command: Command, host: Ipv4Addr) -> Result<Self> {
        let mut tries = 1;
        loop {
            match Self::start_once(&mut command, host).await {
                Err(error) if tries < TRIES_MAX => {
                    eprintln!("again: {error:#}");
                    tries += 1;
                }
                started => return started,
            }
        }
    }

    async fn start_once(command: &mut Command, host: Ipv4Addr) -> Result<Self> {
        let program = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let output = child.stdout.take().context("its output is piped")?;
        let (found, port) = tokio::sync::oneshot::channel();
        // A thread, because it goes on emptying the pipe until the driver ends.
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            let port = lines
                .by_ref()
                .take(START_LINES_MAX)
                .find_map(|line| port_in(&line));
            // Nobody waits any more where the driver was too slow; then it is being killed.
            let _ = found.send(port);
            lines.for_each(drop);
        });
        let port = tokio::time::timeout(START_MAX, port).await;
        match port {
            Ok(Ok(Some(port))) => Ok(Self {
                child,
                address: SocketAddr::from((host, port)),
                session: None,
            }),
            _ => {
                child.kill()?;
                child.wait()?;
                bail!("{program} did not say on which port it listens")
            }
        }
    }

    /// Starts a browser. A driver is used for one.
    pub(crate) async fn session(&mut self, capabilities: Value) -> Result<Session> {
        let http = reqwest::Client::builder()
            .timeout(COMMAND_MAX)
            .no_proxy()
            .build()?;
        let mut session = Session {
            http,
            url: format!("http://{}/session", self.address),
        };
        let answer = session
            .post(
                "",
                json!({ "capabilities": { "alwaysMatch": capabilities } }),
            )
            .await?;
        let id = answer["sessionId"]
            .as_str()
            .context("a session has an id")?;
        session.url = format!("{}/{id}", session.url);
        self.session = Some(id.to_owned());
        Ok(session)
    }

    /// Sends a signal to all processes of the browser.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        signal_descendants(self.child.id(), signal)
    }

    /// Ends the browser as a crash would: at once, and without a word.
    pub(crate) fn kill_browser(&mut self) -> Result<()> {
        self.session = None;
        self.signal("KILL")
    }

    /// Asks the driver to end the session. A killed driver would leave its browser running.
    fn close_session(&self, session: &str) -> Result<()> {
        let mut socket = TcpStream::connect_timeout(&self.address, CLOSE_MAX)?;
        socket.set_read_timeout(Some(CLOSE_MAX))?;
        socket.set_write_timeout(Some(CLOSE_MAX))?;
        let host = self.address;
        write!(
            socket,
            "DELETE /session/{session} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        // The answer comes when the browser is gone; its first bytes are enough.
        let _ = socket.read(&mut [0; 64])?;
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = self.close_session(&session)
        {
            eprintln!("a browser did not close: {error:#}");
        }
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("a browser's driver did not end: {error}");
        }
    }
}

/// One browser, as the driver knows it. Commands are JSON over HTTP, <https://www.w3.org/TR/webdriver2/#endpoints>.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    http: reqwest::Client,
    url: String,
}

impl Session {
    /// Sends a command with parameters.
    pub(crate) async fn post(&self, command: &str, parameters: Value) -> Result<Value> {
        let request = self.http.post(format!("{}{command}", self.url));
        Self::answer(request.body(parameters.to_string()), command).await
    }

    /// Sends a command that has none.
    pub(crate) async fn get(&self, command: &str) -> Result<Value> {
        Self::answer(self.http.get(format!("{}{command}", self.url)), command).await
    }

    async fn answer(request: reqwest::RequestBuilder, command: &str) -> Result<Value> {
        let text = request.send().await?.text().await?;
        let mut answer: Value = serde_json::from_str(&text)
            .with_context(|| format!("the driver's answer to {command:?} is not JSON"))?;
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(error) => bail!(
                "{command:?}: {error}: {}",
                value["message"].as_str().unwrap_or("")
            ),
            None => Ok(value),
        }
    }
}

/// "ChromeDriver was started successfully on port 41237." or "... Listening on 127.0.0.1:41237"
fn port_in(line: &str) -> Option<u16> {
    let rest = line
        .split_once("successfully on port ")
        .or_else(|| line.split_once("Listening on 127.0.0.1:"))?
        .1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::port_in;

    #[test]
    fn the_port_is_read_from_what_the_drivers_print() {
        assert_eq!(
            port_in("ChromeDriver was started successfully on port 41237."),
            Some(41237)
        );
        assert_eq!(
            port_in("1700000000000\tgeckodriver\tINFO\tListening on 127.0.0.1:4444"),
            Some(4444)
        );
        assert_eq!(
            port_in("Starting ChromeDriver 156.0.8078.79 on port 0"),
            None
        );
    }
}

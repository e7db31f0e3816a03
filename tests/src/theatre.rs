//! The place of one test: its turn, its server, its browsers.

use crate::browser::{Browser, BrowserKind, Profile};
use anyhow::{Context, Result, ensure};
use signaling_server::certificate::Certificate;
use signaling_server::{Config, Server, ServerError};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;

/// The repository's folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// One test's server and its claim on the machine.
pub struct Theatre {
    address: SocketAddr,
    secure: String,
    _certificate: TempDir,
    server: std::sync::Mutex<JoinHandle<Result<(), ServerError>>>,
    _turn: OwnedMutexGuard<()>,
}

impl Theatre {
    /// Waits for this test's turn and starts a server that serves the built page. `None`, with a line that says why, where
    /// one of these browsers or the page is missing.
    ///
    /// # Errors
    ///
    /// What keeps the server from starting.
    pub async fn open(kinds: &[BrowserKind]) -> Result<Option<Self>> {
        if std::env::var_os("RINGTMP_BROWSER_TESTS").is_some_and(|value| value == "no") {
            eprintln!("later: tests in browsers are a stage of their own");
            return Ok(None);
        }
        let page = repository().join("dist/www");
        if !page.join("index.html").is_file() {
            eprintln!("SKIP: the page is not built; `cargo xtask test browser` builds it");
            return Ok(None);
        }
        if let Some(missing) = kinds.iter().find_map(BrowserKind::missing) {
            eprintln!("SKIP: {missing}; `cargo xtask setup` says how to get it");
            return Ok(None);
        }
        // Tests of one program run in several threads, each with a runtime of its own.
        static TURN: std::sync::LazyLock<Arc<Mutex<()>>> = std::sync::LazyLock::new(Arc::default);
        let turn = Arc::clone(&TURN).lock_owned().await;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut server = bind(address, page)?;
        ensure!(server.has_page(), "dist/www has no page");
        let folder = tempfile::tempdir()?;
        let certificate = Certificate::kept(folder.path(), &[], &[])?;
        let links = server.serve_network(address, certificate, &["127.0.0.1".to_owned()])?;
        let secure = links.into_iter().next().context("one host, one link")?;
        let address = server.address();
        let server = tokio::spawn(server.run(std::future::pending()));
        let server = std::sync::Mutex::new(server);
        Ok(Some(Self {
            address,
            secure,
            _certificate: folder,
            server,
            _turn: turn,
        }))
    }

    /// The address of the page, or of a path on its server. A room's secret, which comes before the settings where a [`RoomLink`] is
    /// followed by some, comes last, as a fragment has to.
    ///
    /// [`RoomLink`]: ringtmp_core::secret::RoomLink
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{}", self.address, fragment_last(path))
    }

    /// The address of a room for whoever joins it without being asked.
    pub fn joining(&self, path: &str) -> String {
        let and = if path.contains('?') { '&' } else { '?' };
        self.url(&format!("{path}{and}join"))
    }

    /// The same over HTTPS, with a certificate that signs itself. Browsers of tests go on where it is warned of.
    pub fn secure_url(&self, path: &str) -> String {
        format!("{}{}", self.secure, fragment_last(path))
    }

    /// Kills the server, without a word to anybody, and after a while starts another in its place that knows nothing.
    ///
    /// # Errors
    ///
    /// What keeps it from starting.
    pub async fn restart_server(&self, after: Duration) -> Result<()> {
        self.kill_server();
        tokio::time::sleep(after).await;
        let server = bind(self.address, repository().join("dist/www"))?;
        let server = tokio::spawn(server.run(std::future::pending()));
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
        Ok(())
    }

    fn kill_server(&self) {
        let server = self.server.lock();
        server.unwrap_or_else(PoisonError::into_inner).abort();
    }

    /// A browser process with a fresh profile.
    ///
    /// # Errors
    ///
    /// What keeps the browser or its driver from starting.
    pub async fn browser(&self, kind: BrowserKind) -> Result<Browser> {
        Browser::start(kind)
            .await
            .with_context(|| format!("{kind:?} does not start"))
    }

    /// A Chromium process with a fresh profile, whose tabs tell others their addresses in numbers.
    ///
    /// # Errors
    ///
    /// What keeps the browser or its driver from starting.
    pub async fn open_browser(&self) -> Result<Browser> {
        Browser::start_open().await.context("it does not start")
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A browser process with the profile of one that was killed. Not Firefox, whose driver makes its own.
    ///
    /// # Errors
    ///
    /// What keeps the browser or its driver from starting.
    pub async fn reopen(&self, kind: BrowserKind, profile: Profile) -> Result<Browser> {
        Browser::start_with(kind, profile, &[])
            .await
            .with_context(|| format!("{kind:?} does not start again"))
    }

    /// Where pictures of failed tests go.
    pub fn failures() -> PathBuf {
        repository().join("target/browser-failures")
    }
}

/// `PATH#FRAGMENT?SETTINGS` as `PATH?SETTINGS#FRAGMENT`; anything else as it is.
pub fn fragment_last(path: &str) -> String {
    let parts = path.split_once('#').and_then(|(path, rest)| {
        let (fragment, settings) = rest.split_once('?')?;
        Some(format!("{path}?{settings}#{fragment}"))
    });
    parts.unwrap_or_else(|| path.to_owned())
}

fn bind(address: SocketAddr, www: PathBuf) -> Result<Server, ServerError> {
    Server::bind(Config {
        address,
        www: www.into(),
        ..Config::default()
    })
}

impl Drop for Theatre {
    fn drop(&mut self) {
        self.kill_server();
    }
}

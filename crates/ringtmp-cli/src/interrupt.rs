//! Ctrl-C, and the signals by which others end us.

/// Done when somebody wants this program to end.
#[cfg(unix)]
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "cannot listen for a signal");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}

/// Done when somebody wants this program to end.
#[cfg(not(unix))]
pub(crate) async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(%error, "cannot listen for Ctrl-C");
        std::future::pending::<()>().await;
    }
}

/// How somebody wants this program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C: when it is ready to.
    Asked,
    /// The terminal is gone, or the system ends: at once.
    Gone,
}

/// One interrupt after the other, where the first does not end everything.
#[cfg(unix)]
pub(crate) struct Interrupts {
    asked: tokio::signal::unix::Signal,
    ended: [tokio::signal::unix::Signal; 2],
}

#[cfg(unix)]
impl Interrupts {
    /// From now on signals come here, and end nothing by themselves.
    pub(crate) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            asked: signal(SignalKind::interrupt())?,
            ended: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }

    /// The next. Nothing is lost when it is dropped before.
    pub(crate) async fn next(&mut self) -> Interrupt {
        let [terminated, hung_up] = &mut self.ended;
        tokio::select! {
            _ = self.asked.recv() => Interrupt::Asked,
            _ = terminated.recv() => Interrupt::Gone,
            _ = hung_up.recv() => Interrupt::Gone,
        }
    }
}

/// One interrupt after the other, where the first does not end everything.
#[cfg(not(unix))]
pub(crate) struct Interrupts;

#[cfg(not(unix))]
impl Interrupts {
    /// From now on Ctrl-C comes here.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// The next.
    pub(crate) async fn next(&mut self) -> Interrupt {
        interrupted().await;
        Interrupt::Asked
    }
}

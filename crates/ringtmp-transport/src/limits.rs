//! How long an attempt to connect may take.

use crate::error::LinkError;
use crate::link::Endpoint;
use crate::platform;
use crate::proving::Proved;
use futures::future::{Either, select};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long an attempt may take once the peer has said something. Where there is a path it takes 0.2 to 2 s; browsers themselves give up
/// after 15 to 29 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a peer may say nothing before that: a browser's thread that takes memory for a large model, or draws its first weights, answers
/// nobody meanwhile.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the time of an attempt is looked at. Time in which this end can do nothing itself so counts as one look.
const LOOK: Duration = Duration::from_secs(1);

/// Runs `connecting` until it is done and the peer is proved to be one, the link is ended, or the time is up.
pub(crate) async fn within_limits(
    endpoint: &Endpoint,
    proved: Proved,
    connecting: impl Future<Output = Result<(), LinkError>>,
) -> Result<(), LinkError> {
    let is_open = AtomicBool::new(false);
    let connecting = async {
        connecting.await?;
        is_open.store(true, Ordering::Relaxed);
        proved.wait().await;
        Ok(())
    };
    let ended = pin!(endpoint.ended());
    let time_limit = pin!(time_limit(endpoint));
    let limits = select(ended, time_limit);
    match select(pin!(connecting), limits).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right((Either::Left((reason, _)), _)) => Err(reason),
        Either::Right((Either::Right(((), _)), _)) if is_open.load(Ordering::Relaxed) => {
            Err(LinkError::unconfirmed_in_time())
        }
        Either::Right((Either::Right(((), _)), _)) if endpoint.was_heard() => {
            Err(LinkError::unreachable_in_time())
        }
        Either::Right((Either::Right(((), _)), _)) => Err(LinkError::unanswered_in_time()),
    }
}

/// Waits until an attempt has taken too long.
async fn time_limit(endpoint: &Endpoint) {
    let (mut silent, mut heard) = (Duration::ZERO, Duration::ZERO);
    while silent < ANSWER_TIMEOUT && heard < CONNECT_TIMEOUT {
        platform::sleep(LOOK).await;
        match endpoint.was_heard() {
            true => heard += LOOK,
            false => silent += LOOK,
        }
    }
}

//! The watch for a peer that has stopped reading: what waits for it stays within bounds, but the ring must not wait for ever.

use crate::error::LinkError;
use crate::link::Endpoint;
use crate::platform;
use std::time::Duration;

/// How long bytes may wait for the peer without any of them being taken by a channel. A channel takes more once it has room for
/// 768 KiB in a browser: a link slower than 0.2 Mbit/s counts as stalled.
pub const STALL_MAX: Duration = Duration::from_secs(30);

/// How often a link is looked at.
const LOOKS: u32 = 6;

/// Ends a link whose peer takes nothing of what waits for it.
pub(crate) async fn watch(endpoint: &Endpoint) {
    let mut last = endpoint.traffic();
    let mut still = 0;
    while !endpoint.has_ended() {
        platform::sleep(STALL_MAX / LOOKS).await;
        let now = endpoint.traffic();
        let stalled = last.queued > 0 && now.queued > 0 && now.sent == last.sent;
        still = if stalled { still + 1 } else { 0 };
        if still == LOOKS {
            endpoint.end(LinkError::Stalled {
                waiting: now.queued,
            });
        }
        last = now;
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::connector::until_ended;
    use crate::link::Link;
    use ringtmp_core::wire::Lane;
    use std::future::pending;
    use tokio::time::{Instant, sleep};

    fn queue(link: &Link, frames: usize) {
        for _ in 0..frames {
            let queued = link.sender.queue(Lane::Tensors, vec![7; 100]);
            queued.expect("there is room");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_ends_whose_peer_reads_nothing() {
        let start = Instant::now();
        let endpoint = Endpoint::new();
        let link = endpoint.link();
        queue(&link, 2);
        until_ended(&endpoint, pending::<()>()).await;
        let reason = endpoint.ended().await;
        assert!(
            matches!(reason, LinkError::Stalled { waiting } if waiting >= 200),
            "{reason}"
        );
        let late = STALL_MAX + STALL_MAX / LOOKS;
        assert!((STALL_MAX..=late).contains(&start.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_and_one_with_nothing_to_read_keep_their_link() {
        let endpoint = Endpoint::new();
        let link = endpoint.link();
        queue(&link, 3);
        let reading = async {
            for _ in 0..3 {
                sleep(STALL_MAX - STALL_MAX / LOOKS).await;
                endpoint.next_outgoing(Lane::Tensors).await.expect("open");
            }
            sleep(10 * STALL_MAX).await;
            endpoint.end(LinkError::CLOSED_BY_PEER);
            pending::<()>().await;
        };
        until_ended(&endpoint, reading).await;
        assert_eq!(endpoint.ended().await, LinkError::CLOSED_BY_PEER);
    }
}

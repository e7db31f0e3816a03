//! What the WebRTC crate runs on: tokio, with sockets that hold more.
//!
//! A sender may have [`FIRST_BYTES`](super::window) on their way at once, and on a fast link they come at once. A
//! usual socket holds less; what it cannot hold is lost, and the last packets of a tensor are missed only by a timer of a
//! whole second (RFC 9260, section 16: `RTO.Min`), for which the ring would stand still.

use socket2::SockRef;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

/// What a socket is asked to hold: four times what a sender may have on its way, since systems count their own records of
/// packets as well. A system may give less (Linux: `net.core.rmem_max`).
const RECEIVE_BUFFER_BYTES: usize = 4 * super::window::FIRST_BYTES;

/// Lets a socket hold what comes at once.
pub(super) fn hold_bursts(socket: SockRef<'_>) {
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES) {
        tracing::debug!(%error, "a socket keeps its usual size");
    }
}

/// Tokio with large sockets.
#[derive(Debug)]
pub(super) struct LargeSockets;

impl Runtime for LargeSockets {
    fn spawn(&self, future: Task) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn spawn_reactor(&self, reactor_pool_size: usize, future: Task) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn_reactor(reactor_pool_size, future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        hold_bursts(SockRef::from(&socket));
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, remote: SocketAddr) -> Answer<'a, Arc<dyn AsyncTcpStream>> {
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Answer<'a, Vec<SocketAddr>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Task {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Task {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        TokioRuntime.name()
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Answer<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_holds_all_that_a_sender_may_have_on_its_way() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let other = socket.try_clone().expect("the same socket");
        let usual = SockRef::from(&other).recv_buffer_size().expect("a size");
        let _wrapped = LargeSockets.wrap_udp_socket(socket).expect("wrapped");
        let size = SockRef::from(&other).recv_buffer_size().expect("a size");
        if size < RECEIVE_BUFFER_BYTES {
            eprintln!("SKIP: this system gives a socket no more than {size} bytes");
        }
        assert!(size > usual || usual >= RECEIVE_BUFFER_BYTES, "{size}");
    }
}

//! Streams between nodes: one per pair, kept up, with a bounded queue each.
//!
//! The node with the smaller name dials, the other one only when nothing comes of it. The first message both ways is a
//! `Hello`. Nothing here waits for a peer: a full queue is dropped and its owner told, a silent link is closed, bad bytes close the link
//! they came on and nothing else.
//!
//! The room owns sockets, queues, reconnecting and rehearsed failures. It knows messages only as something to send.

mod books;
mod chaos;
mod dial;
mod link;
mod links;
mod queue;
mod receive;
mod secure;
#[cfg(test)]
mod tests;
mod traffic;
mod transmit;

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, UdpSocket};

pub use chaos::Faults;
pub use links::{Handler, LinkSettings, Links, Queues};
pub use secure::StreamSecrets;
pub use traffic::{Traffic, TrafficFigures};

/// How often a free port is sought that is free for both protocols.
const PORT_TRIES: usize = 32;

/// Binds a stream listener and a datagram socket to one port number.
///
/// # Errors
/// When the address is taken, or, with port 0, when no port is free for both.
pub async fn bind(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    for _ in 1..PORT_TRIES {
        match bind_once(address).await {
            Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    bind_once(address).await
}

async fn bind_once(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let listener = TcpListener::bind(address).await?;
    let socket = UdpSocket::bind(listener.local_addr()?).await?;
    Ok((listener, socket))
}

//! A socket in the middle: forwards all that goes to a node's gossip address, datagrams and streams, and keeps the bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

type Kept = Arc<Mutex<Vec<Vec<u8>>>>;

/// What goes over one address, both ways. Ends when it is dropped.
#[derive(Debug)]
pub struct Tap {
    address: SocketAddr,
    target: tokio::sync::watch::Sender<Option<SocketAddr>>,
    datagrams: Kept,
    streams: Kept,
    _tasks: JoinSet<()>,
}

impl Tap {
    /// Listens. Nothing is forwarded before [`Tap::forward`].
    ///
    /// # Panics
    /// No port is free.
    pub async fn open() -> Self {
        let (listener, socket) = bind().await;
        let address = listener.local_addr().expect("it is bound");
        let (target, targets) = tokio::sync::watch::channel(None);
        let (datagrams, streams) = (Kept::default(), Kept::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(forward_datagrams(socket, targets.clone(), datagrams.clone()));
        tasks.spawn(forward_streams(listener, targets, streams.clone()));
        Self { address, target, datagrams, streams, _tasks: tasks }
    }

    /// Where others send to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it goes from now on.
    ///
    /// # Panics
    /// It is no address.
    pub fn forward(&self, gossip: &str) {
        self.target.send_replace(Some(gossip.parse().expect("a node names its address")));
    }

    /// Every datagram towards the node and back.
    ///
    /// # Panics
    /// A task that kept them has panicked.
    #[must_use]
    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        self.datagrams.lock().expect("nobody panics with it").clone()
    }

    /// What each direction of each stream carried, as it came.
    ///
    /// # Panics
    /// A task that kept them has panicked.
    #[must_use]
    pub fn streams(&self) -> Vec<Vec<u8>> {
        self.streams.lock().expect("nobody panics with it").clone()
    }
}

async fn bind() -> (TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().expect("it is bound")).await {
            return (listener, socket);
        }
    }
}

async fn forward_datagrams(
    socket: UdpSocket,
    target: tokio::sync::watch::Receiver<Option<SocketAddr>>,
    kept: Kept,
) {
    // One socket for each peer: answers find their way.
    let socket = Arc::new(socket);
    let mut peers = std::collections::HashMap::new();
    let mut buffer = vec![0; 65_536];
    let mut answers = JoinSet::new();
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Some(to) = *target.borrow() else { continue };
        kept.lock().expect("nobody panics with it").push(buffer[..length].to_vec());
        let peer = match peers.get(&from) {
            Some(peer) => Arc::clone(peer),
            None => {
                let peer = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port is free"));
                peers.insert(from, Arc::clone(&peer));
                let (front, back, kept) = (Arc::clone(&socket), Arc::clone(&peer), Arc::clone(&kept));
                answers.spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    while let Ok((length, _)) = back.recv_from(&mut buffer).await {
                        kept.lock().expect("nobody panics with it").push(buffer[..length].to_vec());
                        let _ = front.send_to(&buffer[..length], from).await;
                    }
                });
                peer
            }
        };
        let _ = peer.send_to(&buffer[..length], to).await;
    }
}

async fn forward_streams(
    listener: TcpListener,
    target: tokio::sync::watch::Receiver<Option<SocketAddr>>,
    kept: Kept,
) {
    let mut streams = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let Some(to) = *target.borrow() else { continue };
        let Ok(far) = TcpStream::connect(to).await else { continue };
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        streams.spawn(copy(near_in, far_out, Arc::clone(&kept)));
        streams.spawn(copy(far_in, near_out, Arc::clone(&kept)));
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, kept: Kept) {
    let place = {
        let mut kept = kept.lock().expect("nobody panics with it");
        kept.push(Vec::new());
        kept.len() - 1
    };
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        kept.lock().expect("nobody panics with it")[place].extend_from_slice(&buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

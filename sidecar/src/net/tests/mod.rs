//! Links over real sockets on loopback.

mod faults;
mod hostile;
mod queue;
mod standing;
mod versions;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Faults, Handler, LinkSettings, Links, StreamSecrets, bind};
use crate::core::identity::{Replica, ReplicaId, ShardId};
use crate::core::message::{Hello, Message, PeerId};
use crate::core::time::UnixMillis;
use crate::keyring::{ClusterKey, KeyRing};
use crate::wire::{self, Decoder, Guard, Incoming, Version, Versions};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Longer than anything here takes on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq)]
enum Event {
    Up(PeerId),
    Message(PeerId, Message),
    Down(PeerId),
}

/// A node with nothing but links.
struct Peer {
    replica: Replica,
    address: SocketAddr,
    links: Links,
    faults: Arc<Faults>,
    recorder: Arc<Recorder>,
}

struct Recorder {
    hello: Hello,
    events: Mutex<Vec<Event>>,
}

impl Handler for Recorder {
    fn hello(&self) -> Hello {
        self.hello.clone()
    }

    fn up(&self, hello: Hello, _: Version) {
        self.events.lock().push(Event::Up(hello.replica.id));
    }

    fn message(&self, from: PeerId, message: Message) {
        self.events.lock().push(Event::Message(from, message));
    }

    fn down(&self, peer: PeerId) {
        self.events.lock().push(Event::Down(peer));
    }
}

fn replica(node: &str, id: u64) -> Replica {
    Replica { node: node.to_owned(), started: UnixMillis(1_000 + id), id: ReplicaId(id) }
}

fn hello(replica: Replica) -> Hello {
    Hello { replica, cluster: "test".to_owned(), fresh: false, lineage: 1 }
}

#[derive(Clone)]
struct Options {
    cluster: &'static str,
    key: Option<[u8; 32]>,
    session_ids: [u8; 8],
    queue_bytes_max: usize,
    address: SocketAddr,
    versions: Versions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster: "test",
            key: None,
            session_ids: [0; 8],
            queue_bytes_max: 64 << 20,
            address: ANY_PORT,
            versions: Versions::SPOKEN,
        }
    }
}

impl Options {
    fn secrets(&self) -> StreamSecrets {
        let keys = self.key.map(|key| KeyRing::new(&[ClusterKey::new(key)]));
        let mut cluster = [0; 8];
        cluster[..self.cluster.len()].copy_from_slice(self.cluster.as_bytes());
        StreamSecrets { keys, cluster, session_ids: self.session_ids }
    }
}

impl Peer {
    async fn start(node: &str, id: u64) -> Self {
        Self::start_with(replica(node, id), Options::default()).await
    }

    async fn start_with(replica: Replica, options: Options) -> Self {
        let (listener, _) = bind(options.address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hello = Hello { cluster: options.cluster.to_owned(), ..hello(replica.clone()) };
        let recorder = Arc::new(Recorder { hello, events: Mutex::default() });
        let faults = Arc::new(Faults::default());
        let settings = LinkSettings {
            secrets: options.secrets(),
            queue_bytes_max: options.queue_bytes_max,
            versions: options.versions,
            rehearses: true,
        };
        let links = Links::new(&settings, Arc::clone(&faults), recorder.clone());
        links.listen(listener);
        Self { replica, address, links, faults, recorder }
    }

    fn id(&self) -> PeerId {
        self.replica.id
    }

    fn know(&self, other: &Self) {
        self.links.know(&other.replica, other.address);
    }

    fn events(&self) -> Vec<Event> {
        self.recorder.events.lock().clone()
    }

    fn is_up(&self, peer: PeerId) -> bool {
        let events = self.recorder.events.lock();
        let last =
            events.iter().rev().find(|event| matches!(event, Event::Up(p) | Event::Down(p) if *p == peer));
        matches!(last, Some(Event::Up(_)))
    }

    fn count(&self, event: &Event) -> usize {
        self.recorder.events.lock().iter().filter(|known| *known == event).count()
    }

    /// The numbers that came from a peer.
    fn numbers(&self, from: PeerId) -> Vec<u64> {
        let events = self.recorder.events.lock();
        events
            .iter()
            .filter_map(|event| match event {
                Event::Message(peer, message) if *peer == from => Some(number_of(message)),
                _ => None,
            })
            .collect()
    }

    fn errors(&self) -> BTreeMap<&'static str, u64> {
        self.links.traffic().figures().errors
    }

    fn failed(&self, kind: &str) -> u64 {
        self.errors().get(kind).copied().unwrap_or_default()
    }

    fn say(&self, to: PeerId, number: u64) -> bool {
        self.links.send(to, &Arc::new(numbered(number)))
    }
}

/// A message that is told from others by a number.
fn numbered(number: u64) -> Message {
    Message::Pong {
        sent: crate::core::message::Micros(number),
        wall: UnixMillis(0),
        clocks_known: true,
        introduction_known: true,
    }
}

fn number_of(message: &Message) -> u64 {
    match message {
        Message::Pong { sent, .. } => sent.0,
        other => panic!("{other:?}"),
    }
}

/// A message of about so many bytes that do not compress.
fn bulky(bytes: usize) -> Message {
    let mut random = 7u64;
    let shards = (0..bytes).map(|_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ShardId((random >> 56) as u8)
    });
    Message::WantStates(shards.collect())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(WAIT_MAX, wait).await.is_ok(), "not in time: {what}");
}

async fn linked(one: &Peer, other: &Peer) {
    until("a link stands", || one.is_up(other.id()) && other.is_up(one.id())).await;
}

/// The first bytes of a node without a key.
fn opening() -> [u8; 6] {
    [b's', b'd', b't', b'k', Versions::SPOKEN.byte(), 0]
}

/// Whoever speaks the protocol byte by byte.
struct Raw {
    stream: TcpStream,
    decoder: Decoder,
}

impl Raw {
    /// Sends bytes as the first on a new connection.
    async fn connect(address: SocketAddr, first: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        Self { stream, decoder: Decoder::new(Guard::Checksum) }
    }

    /// A link, as far as the other side can tell.
    async fn introduced(address: SocketAddr, replica: Replica) -> Self {
        let mut raw = Self::connect(address, &opening()).await;
        raw.say(&Message::Hello(hello(replica))).await;
        raw.skip_opening().await;
        raw
    }

    async fn skip_opening(&mut self) {
        let mut theirs = [0; 6];
        self.stream.read_exact(&mut theirs).await.unwrap();
        assert_eq!(theirs, opening());
    }

    async fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        wire::encode(message, Guard::Checksum, &mut bytes).unwrap();
        self.write(&bytes).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// What comes next; `None` at the end.
    async fn next(&mut self) -> Option<Incoming> {
        let read = async {
            loop {
                if let Some(incoming) = self.decoder.next_message().unwrap() {
                    return Some(incoming);
                }
                let mut bytes = vec![0; 4096];
                match self.stream.read(&mut bytes).await {
                    Ok(0) | Err(_) => return None,
                    Ok(read) => self.decoder.push(&bytes[..read]),
                }
            }
        };
        tokio::time::timeout(WAIT_MAX, read).await.expect("something comes, or the end")
    }

    async fn hello(&mut self) -> Hello {
        match self.next().await {
            Some(Incoming::Message(message)) => match *message {
                Message::Hello(hello) => hello,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Why the other side closes.
    async fn refusal(&mut self) -> Option<String> {
        loop {
            match self.next().await {
                Some(Incoming::Refusal(why)) => return Some(why),
                Some(Incoming::Message(_)) => {}
                None => return None,
            }
        }
    }
}

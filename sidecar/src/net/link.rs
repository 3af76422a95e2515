//! One link: how both sides introduce themselves, and how it ends.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::books::{OTHER_CLUSTER, Shared};
use super::queue::Queue;
use super::secure::{self, OpenError, Reader, Writer};
use super::{receive, transmit};
use crate::core::identity::Replica;
use crate::core::message::{Hello, Message};
use crate::keyring::KeyId;
use crate::wire::{self, Decoder, Incoming, Version, WireError};

/// A handshake that takes longer has failed.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// How long a link that ends waits until the peer has read the last words.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);

/// Why a link did not come up, or went down.
#[derive(Debug)]
pub(super) enum LinkError {
    Io(io::Error),
    Open(OpenError),
    Wire(WireError),
    /// The peer closed and said why.
    Refused(String),
    /// The peer is none to talk with, or not now.
    Unwanted(&'static str),
    /// A rehearsed failure: nobody is told.
    Blocked,
    Silent,
    Closed,
}

impl LinkError {
    /// A name for counters.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::InvalidData => "unsealed",
            Self::Io(_) | Self::Open(OpenError::Io(_)) => "io",
            Self::Open(OpenError::NotOurs) => "not_ours",
            Self::Open(OpenError::OtherVersions { .. }) => "unknown_version",
            Self::Open(OpenError::OtherCluster) => "cluster",
            Self::Open(OpenError::OtherSessionIds) => "session_ids",
            Self::Open(_) => "key",
            Self::Wire(error) => error.kind(),
            Self::Refused(_) => "refused",
            Self::Unwanted(_) => "unwanted",
            Self::Blocked => "blocked",
            Self::Silent => "silent",
            Self::Closed => "closed",
        }
    }

    /// Whoever answers there lives, and will have nothing to do with a node like this one.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Open(OpenError::NotOurs | OpenError::Io(_)) => false,
            Self::Open(_) => true,
            Self::Refused(why) => why == OTHER_CLUSTER,
            _ => false,
        }
    }

    /// What the peer is told.
    fn last_words(&self) -> Option<String> {
        match self {
            Self::Wire(_) | Self::Unwanted(_) => Some(self.to_string()),
            _ => None,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Wire(error) => error.fmt(f),
            Self::Refused(why) => write!(f, "the peer refuses: {why}"),
            Self::Unwanted(why) => f.write_str(why),
            Self::Blocked => f.write_str("a rehearsed failure blocks it"),
            Self::Silent => f.write_str("nothing came for too long"),
            Self::Closed => f.write_str("the peer closed"),
        }
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<OpenError> for LinkError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<WireError> for LinkError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// One link as both of its directions, and the books, see it.
pub(super) struct Link {
    pub(super) peer: Replica,
    /// The node with the smaller name has dialled: of two links at once this one stays.
    pub(super) preferred: bool,
    /// The cluster key that it was opened with.
    pub(super) key: Option<KeyId>,
    pub(super) queue: Queue,
    /// Milliseconds after the start at which something last came.
    pub(super) heard_millis: AtomicU64,
    /// Open while messages may be handed on. Held while one is, so that none comes after the link's end is told.
    gate: Mutex<bool>,
    /// What the peer is told at the end.
    last_words: Mutex<Option<&'static str>>,
    ending: Notify,
}

impl Link {
    pub(super) fn new(shared: &Shared, peer: Replica, preferred: bool, key: Option<KeyId>) -> Self {
        Self {
            peer,
            preferred,
            key,
            queue: Queue::new(shared.queue_bytes_max),
            heard_millis: AtomicU64::new(shared.millis()),
            gate: Mutex::new(true),
            last_words: Mutex::new(None),
            ending: Notify::new(),
        }
    }

    /// Something came.
    pub(super) fn heard(&self, shared: &Shared) {
        self.heard_millis.store(shared.millis(), Ordering::Relaxed);
    }

    /// Hands a message on, if the link still stands.
    pub(super) fn deliver(&self, shared: &Shared, message: Message) {
        let open = self.gate.lock();
        if *open {
            shared.handler.message(self.peer.id, message);
        }
    }

    /// Hands nothing on any more. When this returns, nobody is at it either.
    pub(super) fn shut(&self) {
        *self.gate.lock() = false;
    }

    /// Ends the link; the peer is told why.
    pub(super) fn end(&self, why: &'static str) {
        *self.last_words.lock() = Some(why);
        self.queue.close_empty();
        self.ending.notify_one();
    }
}

/// A stream on which both sides have said who they are.
pub(super) struct Introduced {
    pub(super) hello: Hello,
    pub(super) dialled: bool,
    pub(super) key: Option<KeyId>,
    reader: Reader,
    writer: Writer,
    decoder: Decoder,
}

impl Introduced {
    /// What both ends speak.
    pub(super) fn version(&self) -> Version {
        self.writer.format().version
    }
}

/// Exchanges keys and names. Who accepts speaks last, so that whoever dialled knows that it is welcome.
pub(super) async fn introduce(
    shared: &Shared,
    stream: TcpStream,
    dialled: bool,
) -> Result<Introduced, LinkError> {
    stream.set_nodelay(true)?;
    let handshake = async {
        let (reader, writer, key) = secure::open(stream, &shared.secrets, shared.versions, dialled).await?;
        let decoder = Decoder::with_limit(reader.format(), wire::FRAME_BYTES_MAX).share(&shared.unpacking);
        let mut ends = Ends { reader, writer, decoder };
        match ends.exchange(shared, dialled).await {
            Ok(hello) => Ok((hello, ends, key)),
            Err(error) => {
                ends.part(&error).await;
                Err(error)
            }
        }
    };
    let (hello, ends, key) = timeout(HANDSHAKE_MAX, handshake).await.unwrap_or(Err(LinkError::Silent))?;
    let Ends { reader, writer, decoder } = ends;
    let decoder = decoder.raise_limit(wire::MESSAGE_BYTES_MAX);
    Ok(Introduced { hello, dialled, key, reader, writer, decoder })
}

/// Both directions of a stream.
struct Ends {
    reader: Reader,
    writer: Writer,
    decoder: Decoder,
}

impl Ends {
    async fn exchange(&mut self, shared: &Shared, dialled: bool) -> Result<Hello, LinkError> {
        if dialled {
            self.say_hello(shared).await?;
        }
        let hello = self.first_message().await?;
        shared.admits(&hello, dialled)?;
        if !dialled {
            self.say_hello(shared).await?;
        }
        Ok(hello)
    }

    async fn say_hello(&mut self, shared: &Shared) -> Result<(), LinkError> {
        let mut bytes = Vec::new();
        // A hello is short.
        let _ = wire::encode(&Message::Hello(shared.handler.hello()), self.writer.format(), &mut bytes);
        Ok(self.writer.write(&bytes).await?)
    }

    async fn first_message(&mut self) -> Result<Hello, LinkError> {
        loop {
            match self.decoder.next_message()? {
                Some(Incoming::Message(message)) => match *message {
                    Message::Hello(hello) => return Ok(hello),
                    _ => return Err(LinkError::Wire(WireError::BadFrame)),
                },
                Some(Incoming::Refusal(why)) => return Err(LinkError::Refused(why)),
                None => {
                    let bytes = self.reader.read().await?;
                    if bytes.is_empty() {
                        self.decoder.finish()?;
                        return Err(LinkError::Closed);
                    }
                    self.decoder.push(bytes);
                }
            }
        }
    }

    /// Tells the peer why, where there is something to tell, and closes. Waits a moment until that is read.
    async fn part(&mut self, error: &LinkError) {
        let words = error.last_words().filter(|_| !self.writer.is_torn());
        let part = async {
            if let Some(words) = &words {
                let mut bytes = Vec::new();
                wire::encode_refusal(words, self.writer.format(), &mut bytes);
                if self.writer.write(&bytes).await.is_err() {
                    return;
                }
            }
            self.writer.close().await;
            self.reader.drain().await;
        };
        if words.is_some() || matches!(error, LinkError::Closed) {
            // It is closed in any case.
            let _ = timeout(LAST_WORDS_MAX, part).await;
        }
    }
}

/// Refuses a stream that was welcome a moment ago.
pub(super) async fn turn_away(introduced: Introduced, error: &LinkError) {
    let Introduced { reader, writer, decoder, .. } = introduced;
    Ends { reader, writer, decoder }.part(error).await;
}

/// Runs a link until it ends. Gives why.
pub(super) async fn run(shared: &Shared, introduced: Introduced, link: &Link) -> LinkError {
    let Introduced { reader, writer, decoder, .. } = introduced;
    let mut ends = Ends { reader, writer, decoder };
    let received = receive::receive(shared, link, &mut ends.reader, &mut ends.decoder);
    let transmitted = transmit::transmit(shared, link, &mut ends.writer);
    let mut error = tokio::select! {
        error = received => error,
        error = transmitted => error,
        // A peer that takes nothing would hold up a write for ever.
        () = link.ending.notified() => LinkError::Closed,
    };
    if let Some(why) = link.last_words.lock().take() {
        error = LinkError::Unwanted(why);
    }
    ends.part(&error).await;
    error
}

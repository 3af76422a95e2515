//! One link: the handshake, what is read, what is written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::links::Shared;
use super::queue::Queue;
use super::secure::{self, Reader, Writer};
use crate::core::identity::ReplicaId;
use crate::core::message::{Hello, Message};
use crate::core::op::Op;
use crate::wire::{self, Decoder, Incoming, WireError};

/// A handshake that takes longer has failed.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// A link on which nothing comes for so long is closed: pings come every second.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Operations that are put into one message.
const OPS_PER_MESSAGE: usize = 512;

/// Bytes that are encoded before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// Messages that a rehearsed delay may hold back on one link; more are dropped.
const DELAYED_MAX: usize = 65_536;

/// Why a link did not come up, or went down.
#[derive(Debug)]
pub(super) enum LinkError {
    Io(io::Error),
    Wire(WireError),
    /// The peer closed and said why.
    Refused(String),
    /// The peer is none to talk with.
    Unwanted(&'static str),
    Silent,
    Closed,
}

impl LinkError {
    /// A name for counters.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::InvalidData => "handshake",
            Self::Io(_) => "io",
            Self::Wire(error) => error.kind(),
            Self::Refused(_) => "refused",
            Self::Unwanted(_) => "unwanted",
            Self::Silent => "silent",
            Self::Closed => "closed",
        }
    }
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Wire(error) => error.fmt(f),
            Self::Refused(why) => write!(f, "the peer refuses: {why}"),
            Self::Unwanted(why) => f.write_str(why),
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

impl From<WireError> for LinkError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// A stream on which both sides have said who they are.
pub(super) struct Introduced {
    pub(super) hello: Hello,
    reader: Reader,
    writer: Writer,
    decoder: Decoder,
}

/// Exchanges keys and names.
pub(super) async fn introduce(
    shared: &Shared,
    stream: TcpStream,
    dials: bool,
) -> Result<Introduced, LinkError> {
    stream.set_nodelay(true)?;
    let handshake = async {
        let (mut reader, mut writer) = secure::open(stream, shared.key, dials).await?;
        let mut bytes = Vec::new();
        wire::encode(&Message::Hello(shared.handler.hello()), &mut bytes);
        writer.write(&bytes).await?;
        let mut decoder = Decoder::with_limit(wire::FRAME_BYTES_MAX);
        let judged = match first_message(&mut reader, &mut decoder).await {
            Ok(hello) => judge(shared, &hello).map(|()| hello),
            Err(error) => Err(error),
        };
        match judged {
            Ok(hello) => {
                let decoder = decoder.raise_limit(wire::MESSAGE_BYTES_MAX);
                Ok(Introduced { hello, reader, writer, decoder })
            }
            Err(error) => {
                refuse(&mut writer, &error).await;
                Err(error)
            }
        }
    };
    timeout(HANDSHAKE_MAX, handshake).await.unwrap_or(Err(LinkError::Silent))
}

async fn first_message(reader: &mut Reader, decoder: &mut Decoder) -> Result<Hello, LinkError> {
    loop {
        match decoder.next_message()? {
            Some(Incoming::Message(message)) => match *message {
                Message::Hello(hello) => return Ok(hello),
                _ => return Err(LinkError::Wire(WireError::BadFrame)),
            },
            Some(Incoming::Refusal(why)) => return Err(LinkError::Refused(why)),
            None => {
                let bytes = reader.read().await?;
                if bytes.is_empty() {
                    return Err(LinkError::Closed);
                }
                decoder.push(bytes);
            }
        }
    }
}

fn judge(shared: &Shared, hello: &Hello) -> Result<(), LinkError> {
    let ours = shared.handler.hello();
    if hello.cluster != ours.cluster {
        return Err(LinkError::Unwanted("it belongs to another cluster"));
    }
    if hello.replica.node == ours.replica.node {
        return Err(LinkError::Unwanted("it bears the same node name: names must be unique in a cluster"));
    }
    if shared.faults.of(&hello.replica.node).blocked {
        return Err(LinkError::Unwanted("a rehearsed failure blocks it"));
    }
    Ok(())
}

async fn refuse(writer: &mut Writer, error: &LinkError) {
    let why = match error {
        LinkError::Wire(_) | LinkError::Unwanted(_) => error.to_string(),
        _ => return,
    };
    let mut bytes = Vec::new();
    wire::encode_refusal(&why, &mut bytes);
    // It is closed in any case.
    let _ = writer.write(&bytes).await;
    writer.close().await;
}

/// Runs a link until it ends. Gives why.
pub(super) async fn run(shared: Arc<Shared>, introduced: Introduced, queue: Arc<Queue>) -> LinkError {
    let Introduced { hello, reader, mut writer, decoder } = introduced;
    let node = hello.replica.node;
    let read = receive(&shared, hello.replica.id, &node, reader, decoder);
    let error = tokio::select! {
        error = read => error,
        error = transmit(&shared, &mut writer, &queue) => error,
    };
    refuse(&mut writer, &error).await;
    error
}

async fn receive(
    shared: &Arc<Shared>,
    from: ReplicaId,
    node: &str,
    mut reader: Reader,
    mut decoder: Decoder,
) -> LinkError {
    let delayed = Delayed::default();
    loop {
        loop {
            match decoder.next_message() {
                Ok(Some(Incoming::Message(message))) => {
                    shared.traffic.message_in();
                    match shared.faults.fate(node) {
                        _ if !shared.rehearses => shared.handler.message(from, *message),
                        Some(late) => delayed.deliver(shared, from, message, late),
                        None => {}
                    }
                }
                Ok(Some(Incoming::Refusal(why))) => return LinkError::Refused(why),
                Ok(None) => break,
                Err(error) => return LinkError::Wire(error),
            }
        }
        match timeout(SILENCE_MAX, reader.read()).await {
            Err(_) => return LinkError::Silent,
            Ok(Err(error)) => return LinkError::Io(error),
            Ok(Ok([])) => return LinkError::Closed,
            Ok(Ok(bytes)) => {
                shared.traffic.received(bytes.len());
                decoder.push(bytes);
            }
        }
    }
}

/// Messages held back by a rehearsed delay, in order.
#[derive(Default)]
struct Delayed(std::sync::OnceLock<mpsc::Sender<(Instant, Box<Message>)>>);

impl Delayed {
    fn deliver(&self, shared: &Arc<Shared>, from: ReplicaId, message: Box<Message>, late: Duration) {
        if late.is_zero() && self.0.get().is_none() {
            shared.handler.message(from, *message);
            return;
        }
        let later = self.0.get_or_init(|| {
            let (later, mut due) = mpsc::channel::<(Instant, Box<Message>)>(DELAYED_MAX);
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                while let Some((at, message)) = due.recv().await {
                    tokio::time::sleep_until(at).await;
                    shared.handler.message(from, *message);
                }
            });
            later
        });
        // A full line loses: that is what an overloaded network does.
        let _ = later.try_send((Instant::now() + late, message));
    }
}

async fn transmit(shared: &Shared, writer: &mut Writer, queue: &Queue) -> LinkError {
    let mut bytes = Vec::new();
    while let Some(messages) = queue.take().await {
        let mut ops: Vec<Arc<Op>> = Vec::new();
        let mut count = 0;
        for (not_before, message) in messages {
            if let Some(moment) = not_before {
                tokio::time::sleep_until(moment).await;
            }
            count += 1;
            match &*message {
                Message::Ops(more) if ops.len() < OPS_PER_MESSAGE => {
                    ops.extend(more.iter().cloned());
                    continue;
                }
                _ => {}
            }
            flush_ops(&mut ops, &mut bytes);
            wire::encode(&message, &mut bytes);
            if bytes.len() >= WRITE_BYTES {
                shared.traffic.sent(bytes.len(), std::mem::take(&mut count));
                if let Err(error) = writer.write(&bytes).await {
                    return LinkError::Io(error);
                }
                bytes.clear();
            }
        }
        flush_ops(&mut ops, &mut bytes);
        shared.traffic.sent(bytes.len(), count);
        if let Err(error) = writer.write(&bytes).await {
            return LinkError::Io(error);
        }
        bytes.clear();
        bytes.shrink_to(WRITE_BYTES);
    }
    writer.close().await;
    LinkError::Closed
}

fn flush_ops(ops: &mut Vec<Arc<Op>>, bytes: &mut Vec<u8>) {
    if !ops.is_empty() {
        wire::encode(&Message::Ops(std::mem::take(ops)), bytes);
    }
}

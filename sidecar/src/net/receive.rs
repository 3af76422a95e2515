//! The receiving half of a link: bytes to messages to the handler, on the task that reads; large ones are unpacked beside it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::books::Shared;
use super::link::{Link, LinkError};
use super::secure::Reader;
use crate::core::message::Message;
use crate::wire::{Decoder, Incoming, Next, WireError};

/// A link on which nothing comes for so long is closed: pings come every second, and keepalives where nothing else
/// goes.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What a rehearsed delay may hold back on one link; beyond it nothing is read.
const DELAYED_BYTES_MAX: usize = 64 << 20;

/// While more than so much is being unpacked nothing is read: two large messages of one peer must not take all room.
const READ_AHEAD_MAX: usize = 64 << 20;

/// Reads until the link ends. Gives why.
pub(super) async fn receive(
    shared: &Shared,
    link: &Link,
    reader: &mut Reader,
    decoder: &mut Decoder,
) -> LinkError {
    let mut receiving =
        Receiving { shared, link, line: Line::default(), unpacking: None, heard: Instant::now() };
    let Err(end) = receiving.run(reader, decoder).await;
    // What was whole before the end is heard.
    match receiving.finish().await {
        Ok(Some(incoming)) => receiving.take(incoming).err().unwrap_or(end),
        Ok(None) => end,
        Err(error) => error,
    }
}

struct Receiving<'a> {
    shared: &'a Shared,
    link: &'a Link,
    line: Line,
    unpacking: Option<Unpacking>,
    /// When something last came. Where nobody listens meanwhile, that is no silence of the peer's.
    heard: Instant,
}

/// A large message in the making. On a thread where it is in nobody's way: two peers with such messages would else stop
/// everything on two processors.
struct Unpacking {
    task: JoinHandle<Result<Incoming, WireError>>,
    bytes: usize,
}

impl Receiving<'_> {
    async fn run(&mut self, reader: &mut Reader, decoder: &mut Decoder) -> Result<Infallible, LinkError> {
        loop {
            while self.reads_ahead() {
                match decoder.next_packed().map_err(LinkError::Wire)? {
                    Some(next) => self.came(next).await?,
                    None => break,
                }
            }
            let room = self.line.bytes < DELAYED_BYTES_MAX && self.reads_ahead();
            let waits = self.unpacking.is_some();
            tokio::select! {
                read = timeout_at(self.heard + SILENCE_MAX, reader.read()), if room => match read {
                    Err(_) => return Err(LinkError::Silent),
                    Ok(Err(error)) => return Err(LinkError::Io(error)),
                    Ok(Ok([])) => {
                        decoder.finish().map_err(LinkError::Wire)?;
                        return Err(LinkError::Closed);
                    }
                    Ok(Ok(bytes)) => {
                        self.heard = Instant::now();
                        self.link.heard(self.shared);
                        self.shared.traffic.received(bytes.len());
                        decoder.push(bytes);
                    }
                },
                unpacked = Unpacking::next(&mut self.unpacking), if waits => {
                    self.heard = Instant::now();
                    self.take(unpacked?)?;
                },
                message = self.line.next(), if !self.line.messages.is_empty() => {
                    self.link.deliver(self.shared, *message);
                }
            }
        }
    }

    /// Whether the next message may come in while one is unpacked.
    fn reads_ahead(&self) -> bool {
        self.unpacking.as_ref().is_none_or(|unpacking| unpacking.bytes <= READ_AHEAD_MAX)
    }

    /// One more. What came before it is handed on before it, and while it is unpacked.
    async fn came(&mut self, next: Next) -> Result<(), LinkError> {
        let earlier = self.finish().await?;
        let ready = match next {
            Next::Ready(incoming) => Some(incoming),
            Next::Large(packed) => {
                let bytes = packed.bytes();
                let task = tokio::task::spawn_blocking(|| packed.unpack());
                self.unpacking = Some(Unpacking { task, bytes });
                None
            }
        };
        earlier.into_iter().chain(ready).try_for_each(|incoming| self.take(incoming))
    }

    /// What is being unpacked, once it is.
    async fn finish(&mut self) -> Result<Option<Incoming>, LinkError> {
        if self.unpacking.is_none() {
            return Ok(None);
        }
        let unpacked = Unpacking::next(&mut self.unpacking).await;
        self.heard = Instant::now();
        unpacked.map(Some)
    }

    fn take(&mut self, incoming: Incoming) -> Result<(), LinkError> {
        let message = match incoming {
            Incoming::Message(message) => message,
            Incoming::Refusal(why) => return Err(LinkError::Refused(why)),
        };
        let (shared, link, line) = (self.shared, self.link, &mut self.line);
        shared.traffic.message_in();
        if !shared.rehearses {
            link.deliver(shared, *message);
            return Ok(());
        }
        match shared.faults.fate(&link.peer.node) {
            None => shared.traffic.rehearsed_loss(),
            // What comes later must not overtake what is held back.
            Some(late) if late.is_zero() && line.messages.is_empty() => link.deliver(shared, *message),
            Some(late) => line.push(Instant::now() + late, message),
        }
        Ok(())
    }
}

impl Unpacking {
    /// What comes of the one there is. Dropping the future loses nothing.
    async fn next(unpacking: &mut Option<Self>) -> Result<Incoming, LinkError> {
        let Some(Self { task, .. }) = unpacking else { return std::future::pending().await };
        let unpacked = task.await;
        *unpacking = None;
        // It was given up: the process ends.
        unpacked.map_err(|_| LinkError::Closed)?.map_err(LinkError::Wire)
    }
}

/// Messages held back by a rehearsed delay, in order.
#[derive(Default)]
struct Line {
    messages: VecDeque<(Instant, usize, Box<Message>)>,
    bytes: usize,
}

impl Line {
    fn push(&mut self, due: Instant, message: Box<Message>) {
        let bytes = message.estimated_bytes();
        self.bytes += bytes;
        self.messages.push_back((due, bytes, message));
    }

    /// The first, once it is due. Dropping the future loses nothing.
    async fn next(&mut self) -> Box<Message> {
        if let Some((due, ..)) = self.messages.front() {
            sleep_until(*due).await;
        }
        match self.messages.pop_front() {
            Some((_, bytes, message)) => {
                self.bytes -= bytes;
                message
            }
            None => std::future::pending().await,
        }
    }
}

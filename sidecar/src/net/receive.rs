//! The receiving half of a link: bytes to messages to the handler, on the task that reads; large ones are unpacked beside it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::books::Shared;
use super::link::{Link, LinkError};
use super::secure::Reader;
use crate::core::message::Message;
use crate::wire::{Decoder, Incoming, Next, Packed};

/// A link on which nothing comes for so long is closed: pings come every second, and keepalives where nothing else
/// goes.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What a rehearsed delay may hold back on one link; beyond it nothing is read.
const DELAYED_BYTES_MAX: usize = 64 << 20;

/// Reads until the link ends. Gives why.
pub(super) async fn receive(
    shared: &Shared,
    link: &Link,
    reader: &mut Reader,
    decoder: &mut Decoder,
) -> LinkError {
    let mut line = Line::default();
    let mut heard = Instant::now();
    loop {
        loop {
            let incoming = match decoder.next_packed() {
                Ok(Some(Next::Ready(incoming))) => incoming,
                Ok(Some(Next::Large(packed))) => {
                    let unpacked = unpack(packed).await;
                    // Nobody listened meanwhile: that is no silence of the peer's.
                    heard = Instant::now();
                    match unpacked {
                        Ok(incoming) => incoming,
                        Err(error) => return error,
                    }
                }
                Ok(None) => break,
                Err(error) => return LinkError::Wire(error),
            };
            match incoming {
                Incoming::Message(message) => take(shared, link, &mut line, message),
                Incoming::Refusal(why) => return LinkError::Refused(why),
            }
        }
        let room = line.bytes < DELAYED_BYTES_MAX;
        tokio::select! {
            read = timeout_at(heard + SILENCE_MAX, reader.read()), if room => match read {
                Err(_) => return LinkError::Silent,
                Ok(Err(error)) => return LinkError::Io(error),
                Ok(Ok([])) => return decoder.finish().map_or_else(LinkError::Wire, |()| LinkError::Closed),
                Ok(Ok(bytes)) => {
                    heard = Instant::now();
                    link.heard(shared);
                    shared.traffic.received(bytes.len());
                    decoder.push(bytes);
                }
            },
            message = line.next(), if !line.messages.is_empty() => link.deliver(shared, *message),
        }
    }
}

/// On a thread where it is in nobody's way: two peers with large messages would else stop everything on two processors.
async fn unpack(packed: Packed) -> Result<Incoming, LinkError> {
    let unpacked = tokio::task::spawn_blocking(|| packed.unpack()).await;
    // It was given up: the process ends.
    unpacked.map_err(|_| LinkError::Closed)?.map_err(LinkError::Wire)
}

fn take(shared: &Shared, link: &Link, line: &mut Line, message: Box<Message>) {
    shared.traffic.message_in();
    if !shared.rehearses {
        link.deliver(shared, *message);
        return;
    }
    match shared.faults.fate(&link.peer.node) {
        None => shared.traffic.rehearsed_loss(),
        // What comes later must not overtake what is held back.
        Some(late) if late.is_zero() && line.messages.is_empty() => link.deliver(shared, *message),
        Some(late) => line.push(Instant::now() + late, message),
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

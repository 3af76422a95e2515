//! The sending half of a link: what is queued becomes few writes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::books::Shared;
use super::link::{Link, LinkError};
use super::queue::Queued;
use super::secure::Writer;
use crate::core::message::Message;
use crate::wire::{self, TooLong};

/// Where nothing goes for so long, a keepalive does: silence means that the link is dead.
const KEEPALIVE: Duration = Duration::from_millis(1_500);

/// Bytes taken from the queue at a time: what is taken is no longer counted there.
const TAKE_BYTES: usize = 1 << 20;

/// Operations are put into one message up to so many bytes: the receiver applies a message under one lock.
const OPS_BYTES_PER_MESSAGE: usize = 64 << 10;

/// Bytes that are encoded before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// Writes until the queue is closed and empty, or the stream breaks. Gives why.
pub(super) async fn transmit(shared: &Shared, link: &Link, writer: &mut Writer) -> LinkError {
    let mut batch =
        Batch { shared, link, writer, bytes: Vec::new(), messages: 0, ops: Vec::new(), ops_bytes: 0 };
    loop {
        let written = match timeout(KEEPALIVE, link.queue.take(TAKE_BYTES)).await {
            Err(_) => batch.keep_alive().await,
            Ok(Some(messages)) => batch.send(messages).await,
            Ok(None) => return LinkError::Closed,
        };
        if let Err(error) = written {
            return LinkError::Io(error);
        }
    }
}

struct Batch<'a> {
    shared: &'a Shared,
    link: &'a Link,
    writer: &'a mut Writer,
    bytes: Vec<u8>,
    messages: usize,
    /// Operations of messages that came one after the other, to go as one.
    ops: Vec<Arc<Message>>,
    ops_bytes: usize,
}

impl Batch<'_> {
    async fn send(&mut self, messages: Vec<Queued>) -> io::Result<()> {
        let version = self.writer.format().version;
        for Queued { message, not_before, bytes } in messages {
            // Its sender knows that not everybody hears this.
            if !version.carries(&message) {
                continue;
            }
            if let Some(due) = not_before {
                self.hold_back(due).await?;
            }
            self.messages += 1;
            let is_ops = matches!(*message, Message::Ops(_));
            if !is_ops || self.ops_bytes + bytes > OPS_BYTES_PER_MESSAGE {
                self.encode_ops();
            }
            if is_ops {
                self.ops_bytes += bytes;
                self.ops.push(message);
            } else {
                let encoded = wire::encode(&message, self.writer.format(), &mut self.bytes);
                self.complain(encoded);
            }
            if self.bytes.len() >= WRITE_BYTES {
                self.flush().await?;
            }
        }
        self.flush().await
    }

    /// Waits for the moment before which a rehearsed delay lets nothing more go. What may go goes first.
    async fn hold_back(&mut self, due: Instant) -> io::Result<()> {
        while due > Instant::now() {
            self.flush().await?;
            let alive = Instant::now() + KEEPALIVE;
            sleep_until(due.min(alive)).await;
            if alive < due {
                self.keep_alive().await?;
            }
        }
        Ok(())
    }

    async fn keep_alive(&mut self) -> io::Result<()> {
        wire::encode_keepalive(self.writer.format(), &mut self.bytes);
        self.flush().await
    }

    fn encode_ops(&mut self) {
        if self.ops.is_empty() {
            return;
        }
        let ops = self.ops.iter().flat_map(|message| match &**message {
            Message::Ops(ops) => ops.as_slice(),
            _ => &[],
        });
        let encoded = wire::encode_ops(ops, self.writer.format(), &mut self.bytes);
        self.ops.clear();
        self.ops_bytes = 0;
        self.complain(encoded);
    }

    fn complain(&self, encoded: Result<(), TooLong>) {
        if let Err(error) = encoded {
            let node = &self.link.peer.node;
            self.shared.complain("too_long", node, &format!("{node} cannot be told everything: {error}"));
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.encode_ops();
        if self.bytes.is_empty() {
            return Ok(());
        }
        self.writer.write(&self.bytes).await?;
        self.shared.traffic.sent(self.bytes.len(), std::mem::take(&mut self.messages));
        self.bytes.clear();
        self.bytes.shrink_to(WRITE_BYTES);
        Ok(())
    }
}

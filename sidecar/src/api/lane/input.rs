//! The bytes that were read of a connection and are not answered yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that are kept for the next read while nothing is unread.
const IDLE_BYTES: usize = 4 << 10;
/// Bytes that a read must have room for.
const READ_BYTES_MIN: usize = 1 << 10;

/// A buffer that requests are taken from at the front.
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; IDLE_BYTES], start: 0, end: 0 }
    }

    /// What is not answered yet.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes so many bytes off the front.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > IDLE_BYTES {
                self.bytes = vec![0; IDLE_BYTES];
            }
        }
    }

    /// Makes room for so many unread bytes in all.
    pub(super) fn reserve(&mut self, bytes: usize) {
        if self.start + bytes > self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            self.bytes.resize(self.bytes.len().max(bytes), 0);
        }
    }

    /// Reads more. Gives how much: nothing at the end of the stream.
    pub(super) fn poll_fill(
        &mut self,
        stream: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.len() - self.end < READ_BYTES_MIN {
            self.reserve(self.end - self.start + READ_BYTES_MIN);
        }
        let mut rest = ReadBuf::new(&mut self.bytes[self.end..]);
        let read = stream.poll_read(context, &mut rest);
        let some = rest.filled().len();
        self.end += some;
        read.map_ok(|()| some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in_and_the_room_is_given_back() {
        let mut input = Input::new();
        let text: Vec<u8> = (0..40_000_u32).map(|number| number as u8).collect();
        let (mut source, mut seen, mut step) = (text.as_slice(), Vec::new(), 1);
        loop {
            let some = std::future::poll_fn(|context| input.poll_fill(Pin::new(&mut source), context)).await;
            if some.unwrap() == 0 {
                break;
            }
            let take = (step * 7 % 5_000).min(input.unread().len());
            seen.extend_from_slice(&input.unread()[..take]);
            input.consume(take);
            step += 1;
        }
        seen.extend_from_slice(input.unread());
        assert_eq!(seen, text);
        input.consume(usize::MAX / 2);
        assert!(input.is_empty() && input.bytes.len() == IDLE_BYTES);
        input.reserve(10_000);
        assert_eq!(input.bytes.len(), 10_000);
    }
}

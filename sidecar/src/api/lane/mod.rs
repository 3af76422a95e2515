//! The lane before hyper: a connection's simple requests are read, answered and written here, with one read, one write
//! and little between. The first request that is not simple takes the connection to hyper, with all bytes that are
//! not answered yet, for the rest of its life: so the lane decides nothing that hyper would decide otherwise.
//!
//! It owns a connection's bytes while it has it. It never answers what is malformed, chunked, large, or a stream.

mod input;
mod parse;
mod patch;
mod quick;
mod write;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::ReusableBoxFuture;

use self::input::Input;
use self::parse::{Found, Verb};
use self::quick::{KnownHost, Quick};
use super::admit::{admit, conclude};
use super::answer::{Answer, ApiBody, whole};
use super::dispatch::Api;
use super::pace::Pace;

/// Bytes of answers after which they are written before another request is answered.
const WRITE_BYTES: usize = 64 << 10;
/// Bytes of a body that are copied behind its head rather than written by themselves, and of the buffer that stays.
const COPY_BYTES_MAX: usize = 16 << 10;
/// Reads after which a head that is still not whole goes to hyper, which only looks for its end.
const HEAD_READS_MAX: u32 = 4;
/// How long the rest of a body is waited for here.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// A connection in the lane.
struct Lane<'a, S> {
    stream: S,
    api: &'a Arc<Api>,
    pace: &'a Pace,
    host: KnownHost,
    /// The request under way, or the last one.
    answering: Option<ReusableBoxFuture<'a, Answer>>,
    input: Input,
    output: Vec<u8>,
}

/// How the lane goes on.
enum Next {
    /// More bytes are needed.
    Read,
    /// More bytes are needed: so many in all.
    ReadUntil(usize),
    /// Hyper goes on.
    Leave,
    /// The connection ends.
    End,
}

/// What a read has come to.
enum Filled {
    Some,
    /// The client sends no more.
    Eof,
    /// Nothing has come, and the API shuts down.
    Closing,
}

/// Serves a connection while its requests are simple. Gives it back with what is not answered yet, for hyper to go on;
/// `None` once it has ended.
pub(super) async fn run<S>(stream: S, api: &Arc<Api>, pace: &Pace) -> Option<(S, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (host, input, output) = (KnownHost::default(), Input::new(), Vec::new());
    let mut lane = Lane { stream, api, pace, host, answering: None, input, output };
    // Clients hang up whenever they like.
    let leaves = lane.serve().await.unwrap_or(false);
    leaves.then(|| (lane.stream, Bytes::copy_from_slice(lane.input.unread())))
}

/// Whether a request is answered from its bytes.
#[cfg(test)]
pub(super) fn at_once(api: &Api, bytes: &[u8]) -> bool {
    let mut room = parse::room();
    let Found::Simple(request) = parse::look(bytes, &mut room) else { return false };
    !matches!(
        quick::answer(api, &request, bytes, &mut KnownHost::default(), false, &mut Vec::new()),
        Quick::No
    )
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lane<'_, S> {
    /// Serves. Gives whether hyper goes on.
    async fn serve(&mut self) -> io::Result<bool> {
        let mut reads = 0;
        loop {
            let next = self.answer_all().await?;
            self.flush().await?;
            match next {
                Next::Read if self.input.is_empty() => reads = 0,
                Next::Read if reads < HEAD_READS_MAX => {
                    reads += 1;
                    self.pace.read();
                }
                Next::ReadUntil(bytes) if self.read_until(bytes).await? => continue,
                Next::Read | Next::ReadUntil(_) | Next::Leave => return Ok(true),
                Next::End => break,
            }
            match self.read().await? {
                Filled::Some => {}
                // A request that ends in the middle is hyper's.
                Filled::Eof if !self.input.is_empty() => return Ok(true),
                Filled::Eof | Filled::Closing => break,
            }
        }
        self.stream.shutdown().await?;
        Ok(false)
    }

    /// Answers what is whole, in order.
    async fn answer_all(&mut self) -> io::Result<Next> {
        while !self.input.is_empty() {
            let mut room = parse::room();
            let request = match parse::look(self.input.unread(), &mut room) {
                Found::Simple(request) => request,
                Found::Head => return Ok(Next::Read),
                Found::Body(bytes) => return Ok(Next::ReadUntil(bytes)),
                Found::Odd => return Ok(Next::Leave),
            };
            let (bytes, last) = (request.bytes, request.close);
            let mut close = last || self.pace.is_closing();
            let is_head = request.verb == Verb::Head;
            let unread = self.input.unread();
            let quick = quick::answer(self.api, &request, unread, &mut self.host, close, &mut self.output);
            if let Quick::Answered = quick {
                self.pace.passed();
                self.input.consume(bytes);
            } else {
                let answer = match quick {
                    Quick::Refused(answer) => {
                        self.input.consume(bytes);
                        self.pace.begin();
                        *answer
                    }
                    _ => {
                        let Some((parts, body)) = request.parts(unread) else { return Ok(Next::Leave) };
                        self.input.consume(bytes);
                        self.pace.begin();
                        self.answer(parts, body).await?
                    }
                };
                close = last || self.pace.is_closing();
                self.put(answer, is_head, close).await?;
                self.pace.answered(false);
            }
            if close {
                return Ok(Next::End);
            }
            if self.output.len() >= WRITE_BYTES {
                self.flush().await?;
            }
        }
        Ok(Next::Read)
    }

    /// Answers a request the long way. Waits no longer than its client does.
    async fn answer(&mut self, parts: Parts, body: Bytes) -> io::Result<Answer> {
        let api = self.api;
        let answering = async move {
            match admit(api, &parts) {
                Ok(_place) => conclude(api, parts, body, None).await,
                Err(problem) => problem.into(),
            }
        };
        // Its place stays: another one for each request would cost more than reading one does.
        match &mut self.answering {
            Some(place) => place.set(answering),
            place => *place = Some(ReusableBoxFuture::new(answering)),
        }
        let at_once = poll_fn(|context| Poll::Ready(self.poll_answer(context))).await;
        if let Poll::Ready(answer) = at_once {
            return Ok(answer);
        }
        // The answers before it need not wait.
        self.flush().await?;
        poll_fn(|context| {
            if let Poll::Ready(answer) = self.poll_answer(context) {
                return Poll::Ready(Ok(answer));
            }
            self.must_go_on(context)?;
            // Where a further request has come, there is a client.
            if self.input.is_empty()
                && let Poll::Ready(read) = self.input.poll_fill(Pin::new(&mut self.stream), context)
                && read? == 0
            {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            Poll::Pending
        })
        .await
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        self.answering.as_mut().map_or(Poll::Pending, |answering| answering.poll(context))
    }

    /// Puts an answer behind those that are to be written.
    async fn put(&mut self, answer: Answer, is_head: bool, close: bool) -> io::Result<()> {
        let (mut head, body) = answer.into_parts();
        let (bytes, _room) = match body {
            ApiBody::Full(bytes) => (bytes, None),
            ApiBody::Large { bytes, _room } => (bytes, Some(_room)),
            ApiBody::Routed(_) => {
                let (_, bytes) = whole(Answer::new(body)).await;
                (bytes, None)
            }
            ApiBody::Events(_) => return Err(io::Error::other("a stream does not come this way")),
        };
        write::head(&mut self.output, &mut head, bytes.len(), is_head, close);
        if !write::has_body(head.status, is_head) {
            return Ok(());
        }
        if bytes.len() <= COPY_BYTES_MAX {
            self.output.extend_from_slice(&bytes);
            return Ok(());
        }
        self.flush().await?;
        write_all(&mut self.stream, self.pace, &bytes).await
    }

    /// Writes what is to be written.
    async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            write_all(&mut self.stream, self.pace, &self.output).await?;
            self.output.clear();
            self.output.shrink_to(COPY_BYTES_MAX);
        }
        Ok(())
    }

    /// Reads more.
    async fn read(&mut self) -> io::Result<Filled> {
        poll_fn(|context| {
            if let Poll::Ready(read) = self.input.poll_fill(Pin::new(&mut self.stream), context) {
                return Poll::Ready(read.map(|some| if some == 0 { Filled::Eof } else { Filled::Some }));
            }
            self.must_go_on(context)?;
            if self.pace.is_closing() { Poll::Ready(Ok(Filled::Closing)) } else { Poll::Pending }
        })
        .await
    }

    /// Reads until so many bytes are there. Gives whether they came soon.
    async fn read_until(&mut self, bytes: usize) -> io::Result<bool> {
        self.input.reserve(bytes);
        let all = poll_fn(|context| {
            while self.input.unread().len() < bytes {
                match self.input.poll_fill(Pin::new(&mut self.stream), context) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(false)),
                    Poll::Ready(read) => read?,
                    Poll::Pending => {
                        self.must_go_on(context)?;
                        return Poll::Pending;
                    }
                };
            }
            Poll::Ready(Ok(true))
        });
        tokio::time::timeout(BODY_PATIENCE, all).await.unwrap_or(Ok(false))
    }

    /// # Errors
    /// The connection has to end at once.
    fn must_go_on(&self, context: &Context<'_>) -> io::Result<()> {
        if self.pace.is_over(context) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

/// Writes all of it, as long as its client takes of it.
async fn write_all(stream: &mut (impl AsyncWrite + Unpin), pace: &Pace, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let some = poll_fn(|context| {
            let wrote = Pin::new(&mut *stream).poll_write(context, bytes);
            pace.wrote(wrote.is_ready());
            if wrote.is_pending() && pace.is_over(context) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            wrote
        })
        .await?;
        if some == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[some..];
    }
    Ok(())
}

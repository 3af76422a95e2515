//! Connections whose client is slow: found by a look over all of them now and then.
//!
//! A timer for each request is costly, and without one a client that sends a byte a minute keeps its connection for
//! ever. So a connection only notes, in coarse time, since when it has been in the middle of a head, or has waited for
//! its client to take an answer; a task looks at these notes and closes who is late. That costs a request two stores.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::load::Load;
use super::settings::ApiSettings;

/// Looks within the time that a slow client is given.
const LOOKS: u32 = 8;

/// Nothing is noted.
const NEVER: u32 = 0;

/// All connections of an API.
#[derive(Default)]
pub(super) struct Paces {
    /// Coarse time, in looks; the first is 1.
    now: Arc<AtomicU32>,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Pace>>>,
}

/// What one connection notes.
pub(super) struct Pace {
    now: Arc<AtomicU32>,
    head_since: AtomicU32,
    write_since: AtomicU32,
    idle_since: AtomicU32,
    /// A request is being answered, or a watch goes on.
    busy: AtomicBool,
    /// Its client is too slow, or its place is needed: it ends.
    over: AtomicBool,
    /// The API shuts down: it ends when it is idle.
    closing: AtomicBool,
    /// Whom to wake for one of the two.
    waker: Mutex<Option<Waker>>,
}

impl Pace {
    /// A whole head has come.
    pub(super) fn begin(&self) {
        self.busy.store(true, Ordering::Relaxed);
        self.head_since.store(NEVER, Ordering::Relaxed);
    }

    /// It is answered; a stream goes on.
    pub(super) fn answered(&self, streams: bool) {
        self.busy.store(streams, Ordering::Relaxed);
        self.idle_since.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// A request that needed no waiting was answered as soon as it was there.
    pub(super) fn passed(&self) {
        self.head_since.store(NEVER, Ordering::Relaxed);
        self.idle_since.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Waits until the connection has to end.
    pub(super) async fn ended(&self) {
        poll_fn(|context| if self.is_over(context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Whether the connection has to end at once; the task is woken when it has to, or when the API shuts down.
    pub(super) fn is_over(&self, context: &Context<'_>) -> bool {
        let mut waker = self.waker.lock();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        // Under the lock: who sets it wakes whom it finds there.
        self.over.load(Ordering::Relaxed)
    }

    /// Whether the connection has to end as soon as it is idle.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    fn tell(&self, what: &AtomicBool) {
        let waker = self.waker.lock();
        what.store(true, Ordering::Relaxed);
        if let Some(waker) = &*waker {
            waker.wake_by_ref();
        }
    }

    /// A part of a head has come.
    pub(super) fn read(&self) {
        if !self.busy.load(Ordering::Relaxed) && self.head_since.load(Ordering::Relaxed) == NEVER {
            self.head_since.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The client has taken something, or nothing.
    pub(super) fn wrote(&self, progress: bool) {
        let noted = self.write_since.load(Ordering::Relaxed);
        if progress && noted != NEVER {
            self.write_since.store(NEVER, Ordering::Relaxed);
        } else if !progress && noted == NEVER {
            self.write_since.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn is_late(&self, now: u32, looks: u32) -> bool {
        let late = |since: &AtomicU32| {
            let since = since.load(Ordering::Relaxed);
            since != NEVER && now.wrapping_sub(since) > looks
        };
        late(&self.head_since) || late(&self.write_since)
    }

    fn is_idle(&self, now: u32, looks: u32) -> bool {
        let quiet =
            [&self.head_since, &self.write_since].iter().all(|note| note.load(Ordering::Relaxed) == NEVER);
        quiet
            && !self.busy.load(Ordering::Relaxed)
            && now.wrapping_sub(self.idle_since.load(Ordering::Relaxed)) > looks
    }
}

impl Paces {
    /// A new connection.
    pub(super) fn open(paces: &Arc<Self>) -> Tracked {
        let now = paces.now.load(Ordering::Relaxed);
        let pace = Arc::new(Pace {
            now: Arc::clone(&paces.now),
            head_since: AtomicU32::new(NEVER),
            write_since: AtomicU32::new(NEVER),
            idle_since: AtomicU32::new(now),
            busy: AtomicBool::new(false),
            over: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        let id = paces.next.fetch_add(1, Ordering::Relaxed);
        paces.open.lock().insert(id, Arc::clone(&pace));
        Tracked { paces: Arc::clone(paces), id, pace }
    }

    /// Connections that are open.
    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Tells all connections that the API shuts down.
    pub(super) fn close(&self) {
        self.open.lock().values().for_each(|pace| pace.tell(&pace.closing));
    }

    /// Closes who is late, for ever; and who is idle, while places are short.
    pub(super) async fn watch(&self, settings: &ApiSettings, load: &Load) {
        let look = (settings.slow_client_max / LOOKS).max(Duration::from_millis(1));
        let idle_looks = u32::try_from(settings.idle_max.as_micros() / look.as_micros()).unwrap_or(u32::MAX);
        self.now.store(1, Ordering::Relaxed);
        loop {
            tokio::time::sleep(look).await;
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            let open = self.open.lock();
            let short = open.len() >= settings.connections_max - settings.connections_max / 8;
            for pace in open.values() {
                if pace.is_late(now, LOOKS) || short && pace.is_idle(now, idle_looks) {
                    load.closed_slow.fetch_add(1, Ordering::Relaxed);
                    pace.tell(&pace.over);
                }
            }
        }
    }
}

/// A connection's entry; gone when this goes.
pub(super) struct Tracked {
    paces: Arc<Paces>,
    id: u64,
    pub(super) pace: Arc<Pace>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.paces.open.lock().remove(&self.id);
    }
}

/// A stream that notes its client's pace.
pub(super) struct Paced<S> {
    stream: S,
    /// What was read of it before.
    ahead: Bytes,
    pace: Arc<Pace>,
}

impl<S> Paced<S> {
    /// What was read of the stream before, `ahead`, is read again.
    pub(super) fn new(stream: S, ahead: Bytes, pace: &Arc<Pace>) -> Self {
        Self { stream, ahead, pace: Arc::clone(pace) }
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pace.wrote(result.is_ready());
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.has_remaining() {
            let some = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(some));
            self.pace.read();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.read();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

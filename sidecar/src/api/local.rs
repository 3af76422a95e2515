//! A connection of a Unix socket, woken only by what it waits for.
//!
//! The system says of such a socket that there is room to write each time its other end has read something. Who asks to be
//! told is woken by each answer that is read, for nothing, and often in the place of the very process that reads it. So room is asked for
//! only while there is none.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connection.
pub(super) struct LocalStream {
    stream: AsyncFd<UnixStream>,
    /// The same socket, while room to write is waited for.
    room: Option<AsyncFd<UnixStream>>,
}

impl LocalStream {
    /// Takes a connection over from the runtime.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        Ok(Self { stream: watched(stream.into_std()?, Interest::READABLE)?, room: None })
    }

    fn poll_with(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let room = match &self.room {
            Some(room) => room,
            None => match uninterrupted(|| write(self.stream.get_ref())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let same = self.stream.get_ref().try_clone()?;
                    self.room.insert(watched(same, Interest::WRITABLE)?)
                }
                done => return Poll::Ready(done),
            },
        };
        let done = loop {
            let mut guard = ready!(room.poll_write_ready(context))?;
            if let Ok(done) = guard.try_io(|room| uninterrupted(|| write(room.get_ref()))) {
                break done;
            }
        };
        self.room = None;
        Poll::Ready(done)
    }
}

#[expect(
    deprecated,
    reason = "what takes its place is unsafe, for types that do not keep to one descriptor: this one does"
)]
fn watched(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(stream, interest)
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = room.initialize_unfilled();
        loop {
            let mut guard = ready!(self.stream.poll_read_ready(context))?;
            let Ok(read) = guard.try_io(|stream| uninterrupted(|| stream.get_ref().read(bytes))) else {
                continue;
            };
            let some = read?;
            // Less than there was room for: that was all. What comes later says so.
            if 0 < some && some < bytes.len() {
                guard.clear_ready();
            }
            room.advance(some);
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(context, |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(context, |mut stream| stream.write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn pair() -> (LocalStream, tokio::net::UnixStream) {
        let (near, far) = tokio::net::UnixStream::pair().unwrap();
        (LocalStream::new(near).unwrap(), far)
    }

    /// What this thread's runtime wants to be told of a socket, as the system has it.
    #[cfg(target_os = "linux")]
    fn events(stream: &AsyncFd<UnixStream>) -> u32 {
        use std::os::fd::AsRawFd as _;

        let number = stream.get_ref().as_raw_fd().to_string();
        let of = |info: String| {
            info.lines().find_map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let is_it = words.first() == Some(&"tfd:") && words[1] == number;
                is_it.then(|| u32::from_str_radix(words[3], 16).unwrap())
            })
        };
        let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap();
        infos.filter_map(|entry| of(std::fs::read_to_string(entry.ok()?.path()).ok()?)).next().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn room_to_write_wakes_only_who_waits_for_it() {
        const READ: u32 = 0x1;
        const WRITE: u32 = 0x4;
        let (mut near, mut far) = pair();
        near.write_all(b"answer").await.unwrap();
        assert!(near.room.is_none());
        assert_eq!(events(&near.stream) & (READ | WRITE), READ);
        // Until there is no room.
        let chunk = vec![7; 64 << 10];
        let mut wrote = b"answer".len();
        let write = |near: &mut LocalStream, context: &mut Context<'_>| {
            Poll::Ready(Pin::new(near).poll_write(context, &chunk))
        };
        while let Poll::Ready(some) = poll_fn(|context| write(&mut near, context)).await {
            wrote += some.unwrap();
        }
        assert_eq!(events(&near.stream) & (READ | WRITE), READ);
        assert_eq!(events(near.room.as_ref().unwrap()) & (READ | WRITE), WRITE);
        // Made again, once there is some.
        let mut all = vec![0; wrote];
        far.read_exact(&mut all).await.unwrap();
        assert_eq!(near.write(b"!").await.unwrap(), 1);
        assert!(near.room.is_none());
        assert_eq!(far.read_u8().await.unwrap(), b'!');
    }

    #[tokio::test]
    async fn bytes_come_as_they_went_both_ways_and_each_end_sees_the_other_end() {
        let (mut near, mut far) = pair();
        let text: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 7) as u8).collect();
        let sent = text.clone();
        let other = tokio::spawn(async move {
            let mut seen = Vec::new();
            far.read_to_end(&mut seen).await.unwrap();
            far.write_all(&seen).await.unwrap();
            seen
        });
        near.write_all(&sent).await.unwrap();
        near.shutdown().await.unwrap();
        let mut back = Vec::new();
        near.read_to_end(&mut back).await.unwrap();
        assert!(back == text && other.await.unwrap() == text);
    }
}

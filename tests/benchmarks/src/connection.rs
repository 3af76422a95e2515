//! One keep-alive connection, and just enough of two protocols to know where an answer ends.

use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1, one answer to each request.
    Http,
    /// RESP, as Redis speaks it: so many replies to each request, which may be a pipeline.
    Redis {
        /// Replies to one request.
        replies: usize,
    },
}

impl Protocol {
    /// Where the answer at the front of a buffer ends; `None` while it is not all there.
    fn end(self, buffer: &[u8]) -> Option<usize> {
        match self {
            Self::Http => http_end(buffer).map(|(_, end)| end),
            Self::Redis { replies } => {
                let mut at = 0;
                for _ in 0..replies {
                    at += reply_end(&buffer[at..])?;
                }
                Some(at)
            }
        }
    }

    /// Whether an answer is the one that was wanted.
    pub(crate) fn is_good(self, answer: &[u8]) -> bool {
        match self {
            Self::Http => answer.get(9) == Some(&b'2'),
            Self::Redis { .. } => answer.first().is_some_and(|sort| b"+$:*".contains(sort)),
        }
    }
}

/// Made once: what a search prepares costs more than the search.
static HEAD_END: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
static LENGTH: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\r\ncontent-length: "));

fn http_end(buffer: &[u8]) -> Option<(usize, usize)> {
    let body = HEAD_END.find(buffer)? + 4;
    let length = LENGTH.find(&buffer[..body]).map_or(0, |at| number(&buffer[at + 18..]).0);
    let end = body + length as usize;
    (buffer.len() >= end).then_some((body, end))
}

fn reply_end(buffer: &[u8]) -> Option<usize> {
    let line = memchr(b'\n', buffer)? + 1;
    let end = match buffer[0] {
        b'$' if buffer[1] != b'-' => line + number(&buffer[1..]).0 as usize + 2,
        b'*' => {
            let mut at = line;
            for _ in 0..number(&buffer[1..]).0 {
                at += reply_end(buffer.get(at..)?)?;
            }
            at
        }
        _ => line,
    };
    (buffer.len() >= end).then_some(end)
}

fn number(digits: &[u8]) -> (u64, usize) {
    let count = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
    (digits[..count].iter().fold(0, |number, digit| 10 * number + u64::from(digit - b'0')), count)
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    protocol: Protocol,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, protocol: Protocol) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("it is open");
        Self { stream, buffer: Vec::with_capacity(64 << 10), protocol }
    }

    /// To a node's API.
    pub(crate) async fn http(address: SocketAddr) -> Self {
        Self::open(address, Protocol::Http).await
    }

    /// Sends a request and reads its answer, head and all.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(end) = self.protocol.end(&self.buffer) {
                return Ok(&self.buffer[..end]);
            }
        }
    }

    /// Sends a request that must succeed. Gives the body of an HTTP answer, a whole reply of Redis.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> &[u8] {
        let protocol = self.protocol;
        let answer = self.exchange(request).await.expect("an answer");
        assert!(protocol.is_good(answer), "{}", String::from_utf8_lossy(answer));
        match http_end(answer) {
            Some((body, end)) if protocol == Protocol::Http => &answer[body..end],
            _ => answer,
        }
    }

    /// The stream, for an answer that does not end.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// The bytes of an HTTP request.
pub(crate) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let content = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    };
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{content}\r\n{body}").into_bytes()
}

/// The bytes of a command to Redis.
pub(crate) fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_it_ends() {
        let http = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP";
        assert_eq!(Protocol::Http.end(http), Some(http.len() - 4));
        assert_eq!(Protocol::Http.end(&http[..http.len() - 5]), None);
        let two = b"$3\r\nabc\r\n+OK\r\n";
        assert_eq!(Protocol::Redis { replies: 2 }.end(two), Some(two.len()));
        assert_eq!(Protocol::Redis { replies: 1 }.end(two), Some(9));
        assert_eq!(Protocol::Redis { replies: 2 }.end(&two[..12]), None);
        assert_eq!(Protocol::Redis { replies: 1 }.end(b"*2\r\n$1\r\na\r\n:5\r\n"), Some(15));
        assert_eq!(Protocol::Redis { replies: 1 }.end(b"$-1\r\n"), Some(5));
        assert!(!Protocol::Redis { replies: 1 }.is_good(b"-ERR no\r\n"));
        assert!(Protocol::Http.is_good(http) && !Protocol::Http.is_good(b"HTTP/1.1 404 Not Found"));
    }

    #[test]
    fn a_command_is_an_array_of_strings() {
        assert_eq!(command(&["GET", "key"]), b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    }
}

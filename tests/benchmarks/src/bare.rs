//! The yardstick: hyper and nothing else, in a process of its own, with the answer that a session GET gets.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderName};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::sessions::SESSION;

/// Tells this program to be the server.
pub(crate) const ARGUMENT: &str = "--bare-server";

/// The server as a process. It ends when this is dropped, and when this process dies.
#[derive(Debug)]
pub(crate) struct Bare {
    child: Child,
    _lifeline: ChildStdin,
    pub(crate) address: SocketAddr,
}

impl Bare {
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("a program knows its path");
        let mut command = Command::new(program);
        command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let lifeline = child.stdin.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("its address");
        Self { child, _lifeline: lifeline, address: line.trim().parse().expect("an address") }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until standard input ends.
pub(crate) fn serve() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    // As many as Sidetalk takes unless it is told otherwise.
    let threads = (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(connection(stream));
        }
    });
}

async fn connection(stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    // As Sidetalk's: a timer for each request is costly.
    http.header_read_timeout(None);
    let _ = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    drop(body);
    let mut answer = Response::new(Full::new(Bytes::from_static(SESSION.as_bytes())));
    let headers = answer.headers_mut();
    headers.reserve(6);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let token = HeaderValue::from_static("AVgAAMk1LQ2ZAQKkPj0rB1bDfAE");
    headers.insert(HeaderName::from_static("sidetalk-token"), token);
    headers.insert(ETAG, HeaderValue::from_static("\"0123456789abcdef\""));
    let life = HeaderValue::from_static("0123456789abcdef-1");
    headers.insert(HeaderName::from_static("sidetalk-life"), life);
    headers.insert(HeaderName::from_static("sidetalk-expires-in"), HeaderValue::from_static("86399"));
    Ok(answer)
}

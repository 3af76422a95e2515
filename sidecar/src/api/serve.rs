//! Connections: accepting them, reading requests, closing in order.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::admit::{admit, conclude};
use super::answer::{Answer, streams};
use super::dispatch::Api;
use super::idempotency::Idempotency;
use super::load::Load;
use super::local::LocalStream;
use super::pace::{Paced, Paces, Tracked};
use super::port::Port;
use super::read_lately::ReadLately;
use super::settings::ApiSettings;
use super::{body, lane, openapi, router};

/// How long to leave the listener alone when accepting fails, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes of a request's head: beyond them no more is read. Also what is read at once of a body.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A socket file.
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(LocalStream),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Stream> {
        match self {
            Self::Tcp(listener) => Ok(Stream::Tcp(listener.accept().await?.0)),
            Self::Unix(listener) => LocalStream::new(listener.accept().await?.0).map(Stream::Unix),
        }
    }
}

/// Serves the API until `shutdown` comes: then takes no more connections, ends watches, lets requests finish within
/// [`ApiSettings::drain`], and returns.
pub async fn serve(
    listener: impl Into<Listener>,
    port: Arc<dyn Port>,
    settings: ApiSettings,
    shutdown: impl Future<Output = ()>,
) {
    let listener = listener.into();
    let (close, closing) = watch::channel(false);
    let drain = settings.drain;
    let places = Arc::new(Semaphore::new(settings.connections_max));
    let api = api(port, settings, closing);
    let graceful = GracefulShutdown::new();
    let open = Arc::clone(&api.paces);
    let paces = tokio::spawn({
        let api = Arc::clone(&api);
        async move { api.paces.watch(&api.settings, &api.load).await }
    });
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => {
                if let Some((stream, place)) = accepted {
                    let tracked = Paces::open(&api.paces);
                    tokio::spawn(connection(stream, Arc::clone(&api), graceful.watcher(), place, tracked));
                }
            }
        }
    }
    drop(listener);
    paces.abort();
    // Nobody listens when there is no watch.
    let _ = close.send(true);
    open.close();
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            drain_millis = drain.as_millis(),
            "requests were still going on at the end of the drain"
        );
    }
}

/// What all requests to this node share.
pub(super) fn api(port: Arc<dyn Port>, settings: ApiSettings, closing: watch::Receiver<bool>) -> Arc<Api> {
    let openapi = openapi::document(&router::operations(port.chaos().is_some()));
    documented(port, settings, closing, openapi)
}

/// The same, with a document that is there already: it takes longer to write than a thousand requests to answer.
pub(super) fn documented(
    port: Arc<dyn Port>,
    settings: ApiSettings,
    closing: watch::Receiver<bool>,
    openapi: Bytes,
) -> Arc<Api> {
    let operations = router::operations(port.chaos().is_some());
    let replica = port.status().replica.id;
    Arc::new_cyclic(|api| Api {
        load: Arc::new(Load::default()),
        paces: Arc::new(Paces::default()),
        router: router::router(&operations, api),
        openapi,
        read_lately: ReadLately::default(),
        idempotency: Idempotency::new(settings.idempotency),
        watchers: Arc::new(Semaphore::new(settings.watchers_max)),
        closing,
        replica,
        watchers_short: AtomicBool::new(false),
        port,
        settings,
    })
}

/// The next connection, once there is a place for it.
async fn accept(listener: &Listener, places: &Arc<Semaphore>) -> Option<(Stream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok(stream) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    stream: Stream,
    api: Arc<Api>,
    watcher: Watcher,
    place: OwnedSemaphorePermit,
    tracked: Tracked,
) {
    match stream {
        Stream::Tcp(stream) => {
            // Without it, an answer waits for the acknowledgement of the one before.
            let _ = stream.set_nodelay(true);
            speak(stream, api, watcher, &tracked).await;
        }
        Stream::Unix(stream) => speak(stream, api, watcher, &tracked).await,
    }
    drop(place);
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    api: Arc<Api>,
    watcher: Watcher,
    tracked: &Tracked,
) {
    // The watcher stays until the lane has ended: the shutdown waits for it.
    if let Some((stream, ahead)) = lane::run(stream, &api, &tracked.pace).await {
        // In a box: most connections stay in the lane, and need no room for this.
        Box::pin(speak_freely(Paced::new(stream, ahead, &tracked.pace), api, watcher, tracked)).await;
    }
}

/// Serves whatever HTTP/1 has.
pub(super) async fn speak_freely(
    stream: Paced<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    api: Arc<Api>,
    watcher: Watcher,
    tracked: &Tracked,
) {
    let pace = Arc::clone(&tracked.pace);
    let service = service_fn(move |request| {
        let (api, pace) = (Arc::clone(&api), Arc::clone(&pace));
        async move {
            pace.begin();
            let answer = answer(&api, request).await;
            pace.answered(streams(&answer));
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        // No `pipeline_flush`: with it, answers are lost where bytes follow the last request.
        .max_buf_size(HEAD_BYTES_MAX)
        // A timer for each request is costly: who is slow is found otherwise.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Clients hang up whenever they like.
        _ = watcher.watch(connection) => {}
        () = tracked.pace.ended() => {}
    }
}

async fn answer(api: &Arc<Api>, request: Request<Incoming>) -> Answer {
    let (parts, incoming) = request.into_parts();
    let _place = match admit(api, &parts) {
        Ok(place) => place,
        Err(problem) => return problem.into(),
    };
    let takes_body = matches!(parts.method, Method::PUT | Method::POST | Method::PATCH);
    let (body, room) = if takes_body && !incoming.is_end_stream() {
        match Box::pin(body::collect(&api.settings, &api.load, &parts.headers, incoming)).await {
            Ok(body) => body,
            Err(problem) => return problem.into(),
        }
    } else {
        (Bytes::new(), None)
    };
    conclude(api, parts, body, room).await
}

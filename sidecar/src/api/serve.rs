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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answer::Answer;
use super::dispatch::{Api, dispatch};
use super::idempotency::Idempotency;
use super::port::Port;
use super::read_lately::ReadLately;
use super::settings::ApiSettings;
use super::{body, guard, openapi, router};

/// How long to leave the listener alone when accepting fails, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the API until `shutdown` comes: then takes no more connections, ends watches, lets requests finish within
/// [`ApiSettings::drain`], and returns.
pub async fn serve(
    listener: TcpListener,
    port: Arc<dyn Port>,
    settings: ApiSettings,
    shutdown: impl Future<Output = ()>,
) {
    let (close, closing) = watch::channel(false);
    let drain = settings.drain;
    let places = Arc::new(Semaphore::new(settings.connections_max));
    let api = api(port, settings, closing);
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => {
                if let Some((stream, place)) = accepted {
                    tokio::spawn(connection(stream, Arc::clone(&api), graceful.watcher(), place));
                }
            }
        }
    }
    drop(listener);
    // Nobody listens when there is no watch.
    let _ = close.send(true);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            drain_millis = drain.as_millis(),
            "requests were still going on at the end of the drain"
        );
    }
}

fn api(port: Arc<dyn Port>, settings: ApiSettings, closing: watch::Receiver<bool>) -> Arc<Api> {
    let operations = router::operations(port.chaos().is_some());
    let openapi = openapi::document(&operations);
    let replica = port.status().replica.id;
    Arc::new_cyclic(|api| Api {
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
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, api: Arc<Api>, watcher: Watcher, place: OwnedSemaphorePermit) {
    // Without it, an answer waits for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(answer(&api, request).await) }
    });
    let connection = http1::Builder::new()
        .pipeline_flush(true)
        // Idle connections are cheap, and a timer for each request is not.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // Clients hang up whenever they like.
    let _ = watcher.watch(connection).await;
    drop(place);
}

async fn answer(api: &Arc<Api>, request: Request<Incoming>) -> Answer {
    let (parts, incoming) = request.into_parts();
    if let Err(problem) = guard::check(&api.settings, &parts) {
        return problem.into();
    }
    let takes_body = matches!(parts.method, Method::PUT | Method::POST | Method::PATCH);
    let body = if takes_body && !incoming.is_end_stream() {
        match Box::pin(body::collect(&parts.headers, incoming, api.settings.body_timeout)).await {
            Ok(body) => body,
            Err(problem) => return problem.into(),
        }
    } else {
        Bytes::new()
    };
    dispatch(api, parts, body).await
}

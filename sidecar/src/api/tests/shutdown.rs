//! Closing in order.

use std::time::Duration;

use super::client::{PATIENCE, Server};
use super::fake::Fake;
use crate::api::settings::ApiSettings;

#[tokio::test]
async fn requests_under_way_are_answered_and_no_others_taken() {
    let mut server = Server::start().await;
    server.put("/v1/sessions/s", "{}").await;
    let task = server.shut_down();
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let settings = ApiSettings { drain: Duration::from_millis(20), ..ApiSettings::default() };
    let mut server = Server::with(Fake::new(), settings).await;
    server.fake.state.lock().stuck = true;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /v1/sessions/nobody HTTP/1.1\r\nhost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.fake.state.lock().waits.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the request has not come");
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(PATIENCE, server.shut_down()).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_have_places() {
    let settings = ApiSettings { connections_max: 1, ..ApiSettings::default() };
    let server = Server::with(Fake::new(), settings).await;
    for _ in 0..3 {
        // Each connection of this client ends with its answer, and makes room for the next.
        assert_eq!(server.get("/livez").await.status, 200);
    }
}

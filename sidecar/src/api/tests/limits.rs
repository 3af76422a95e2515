//! Every limit of the API is reached, and gives way again.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::client::{PATIENCE, Server};
use super::fake::Fake;
use crate::api::settings::ApiSettings;
use crate::core::identity::Kind;
use crate::keyring::{ClusterKey, SessionIdHash};

async fn with(settings: ApiSettings) -> Server {
    Server::with(Fake::new(), settings).await
}

/// A connection on which these bytes were sent.
async fn sent(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Waits until the server has closed, and gives what came before.
async fn end(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server closes");
    rest
}

fn quick() -> ApiSettings {
    ApiSettings {
        slow_client_max: Duration::from_millis(80),
        idle_max: Duration::from_millis(80),
        ..ApiSettings::default()
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_whole_ends_the_connection_and_an_idle_one_stays() {
    let server = with(quick()).await;
    let mut idle = sent(&server, b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut slow = sent(&server, b"GET /livez HTTP/1.1\r\nhost: loc").await;
    assert_eq!(end(&mut slow).await, b"");
    // On a connection that has served before as well.
    let mut later = sent(&server, b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    later.read_exact(&mut answer).await.unwrap();
    later.write_all(b"GET /li").await.unwrap();
    end(&mut later).await;
    // Long after its time, the idle one serves.
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let rest = end(&mut idle).await;
    assert!(String::from_utf8_lossy(&rest).contains("HTTP/1.1 200"));
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_loses_the_connection() {
    let server = with(quick()).await;
    server.fake.put(Kind::Document, "d", json!({"x": "y".repeat(900_000)}));
    let get = b"GET /v1/documents/d HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(40);
    let mut deaf = sent(&server, &get).await;
    // Looked at from outside: the server's side is gone when there is room again. Nothing is read meanwhile.
    let deadline = Instant::now() + PATIENCE;
    while figure(&server, "closed_slow").await == 0 {
        assert!(Instant::now() < deadline, "it is not closed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(end(&mut deaf).await.len() < 40 * 900_000);
}

/// A figure of the API, as the metrics have it.
async fn figure(server: &Server, name: &str) -> u64 {
    let figures = server.get("/metrics").await.body;
    let line = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    line.unwrap_or_else(|| panic!("no {name} in {figures}"))
}

#[tokio::test]
async fn idle_connections_make_way_when_places_are_short() {
    let server = with(ApiSettings { connections_max: 4, ..quick() }).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert_eq!(server.get("/livez").await.status, 200);
    for stream in &mut idle {
        let closed = timeout(PATIENCE, stream.read(&mut [0; 1])).await;
        if closed.is_ok() {
            return;
        }
    }
    panic!("nobody made way");
}

#[tokio::test]
async fn large_bodies_share_their_room_and_give_it_back() {
    let server = with(ApiSettings { body_bytes_max: 1_000_000, ..ApiSettings::default() }).await;
    let head = |length| {
        format!(
            "PUT /v1/documents/d HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut holder = sent(&server, head(900_001).as_bytes()).await;
    holder.write_all(&vec![b' '; 900_000]).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while figure(&server, "body_bytes").await < 900_000 {
        assert!(Instant::now() < deadline, "it does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let body = format!("{{\"x\":\"{}\"}}", "y".repeat(400_000));
    let refused = server.put("/v1/documents/e", &body).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "too_busy"));
    // A small one needs none.
    assert_eq!(server.put("/v1/documents/e", "{}").await.status, 201);
    drop(holder);
    while figure(&server, "body_bytes").await > 0 {
        assert!(Instant::now() < deadline, "the room does not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.put("/v1/documents/e", &body).await.status, 200);
    assert_eq!(figure(&server, "body_bytes").await, 0);
}

#[tokio::test]
async fn requests_have_places_and_probes_need_none() {
    let server = with(ApiSettings { requests_max: 1, ..ApiSettings::default() }).await;
    server.fake.state.lock().stuck = true;
    let mut stuck = sent(&server, b"GET /v1/sessions/nobody HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let deadline = Instant::now() + PATIENCE;
    while server.fake.state.lock().waits.is_empty() {
        assert!(Instant::now() < deadline, "the request has not come");
        tokio::task::yield_now().await;
    }
    let refused = server.get("/v1/documents/d").await;
    assert_eq!(
        (refused.status, refused.code().as_str(), refused.header("retry-after")),
        (503, "too_busy", Some("1"))
    );
    assert_eq!(server.get("/readyz").await.status, 200);
    stuck.shutdown().await.unwrap();
    drop(stuck);
    while server.get("/v1/documents/d").await.status == 503 {
        assert!(Instant::now() < deadline, "the place does not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_head_has_an_end() {
    let server = with(ApiSettings::default()).await;
    for lines in [format!("x: {}\r\n", "y".repeat(1_000_000)), "x: y\r\n".repeat(200)] {
        let head = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // What is left unread may reset the connection, and the answer be lost.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = [0; 12];
        let read = timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer, or the end");
        assert!(read.is_err() || &answer == b"HTTP/1.1 431", "{answer:?}");
    }
}

#[tokio::test]
async fn the_node_sees_hashes_and_the_client_its_ids() {
    let hash = SessionIdHash::new(ClusterKey::new([1; 32]));
    let server = with(ApiSettings { session_ids: Some(hash.clone()), ..ApiSettings::default() }).await;
    assert_eq!(server.put("/v1/sessions/cookie", "{\"a\":1}").await.status, 201);
    assert_eq!(server.put("/v1/documents/name", "{}").await.status, 201);
    let stored: Vec<String> = server.fake.state.lock().objects.keys().map(|id| id.key.to_string()).collect();
    assert!(stored.contains(&hash.hash("cookie")) && stored.contains(&"name".to_owned()), "{stored:?}");
    assert!(!stored.iter().any(|key| key.contains("cookie")));
    assert_eq!(server.get("/v1/sessions/cookie").await.json(), json!({"a": 1}));
    assert_eq!(server.get("/v1/sessions").await.json()["keys"], json!([hash.hash("cookie")]));
    // What is stored opens nothing.
    assert_eq!(server.get(&format!("/v1/sessions/{}", hash.hash("cookie"))).await.status, 404);
    assert_eq!(server.get("/v1/explain/sessions/cookie").await.status, 200);
}

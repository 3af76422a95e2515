//! A flood on the API: bounded memory while it lasts, healthy answers afterwards.

use std::time::{Duration, Instant};

use serde_json::json;
use sidetalk_tests::{Node, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Connections at once. By hand, where the system gives as many: `SIDETALK_TEST_CONNECTIONS=10000`.
fn connections() -> usize {
    std::env::var("SIDETALK_TEST_CONNECTIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

async fn sent(node: &Node, bytes: &[u8]) -> TcpStream {
    let address = node.api().strip_prefix("http://").unwrap_or(node.api());
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other side may have closed in the middle.
    let _ = stream.write_all(bytes).await;
    stream
}

async fn is_healthy(node: &Node) {
    let client = node.client();
    eventually("it serves", || async { client.document("d").put(&json!({"healthy": true})).await }).await;
    let begin = Instant::now();
    assert_eq!(client.document("d").get().await.unwrap().value, json!({"healthy": true}));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn many_connections_slow_senders_huge_bodies_and_deep_json_are_survived() {
    let node = Node::start("n0", &[]).await;
    node.ready().await;
    is_healthy(&node).await;
    let before = node.resident_bytes();
    let mut open = Vec::new();
    for number in 0..connections() {
        let bytes: &[u8] = match number % 4 {
            0 => b"",
            1 => b"GET /v1/documents/d HTTP/1.1\r\nhost: localho",
            2 => b"PUT /v1/documents/slow HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{",
            _ => b"GET /v1/watch HTTP/1.1\r\nhost: localhost\r\n\r\n",
        };
        open.push(sent(&node, bytes).await);
    }
    eventually("they are all there", || async {
        let open = node.metric("sidetalk_bounded{what=\"api_connections\"}").await;
        if open >= connections() as f64 { Ok(()) } else { Err(open.to_string()) }
    })
    .await;
    is_healthy(&node).await;
    // Huge bodies, more than there is room for at once, each of which stops short of its end.
    let mut huge = b"PUT /v1/documents/huge HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1048576\r\n\r\n".to_vec();
    huge.resize(huge.len() + 1_000_000, b' ');
    for _ in 0..250 {
        let (stream, _) = tokio::join!(sent(&node, &huge), tokio::task::yield_now());
        open.push(stream);
    }
    eventually("some have no room", || async {
        let refused = node.metric("sidetalk_api_refused_total").await;
        if refused > 0.0 { Ok(()) } else { Err(refused.to_string()) }
    })
    .await;
    let during = node.resident_bytes();
    println!("{} connections: {} MiB, before {} MiB", open.len(), during >> 20, before >> 20);
    assert!(during < before + (500 << 20), "{} MiB", during >> 20);
    assert!(node.metric("sidetalk_bounded{what=\"api_body_bytes\"}").await <= f64::from(128 << 20));
    is_healthy(&node).await;
    open.truncate(connections());
    let no_bytes = || async {
        let bytes = node.metric("sidetalk_bounded{what=\"api_body_bytes\"}").await;
        if bytes == 0.0 { Ok(()) } else { Err(bytes.to_string()) }
    };
    eventually("their room is free", no_bytes).await;
    let deep = [vec![b'['; 20_000], vec![b']'; 20_000]].concat();
    for _ in 0..20 {
        let error = node.client().document("deep").put(&serde_json::json!({})).await;
        assert!(error.is_ok());
        let call: sidetalk_client::Call<serde_json::Value> =
            node.client().call(http::Method::PUT, "/v1/documents/deep");
        let error = call.body("application/json", deep.clone()).await.unwrap_err();
        assert_eq!(error.code(), Some("too_deep"), "{error:?}");
    }
    drop(open);
    eventually("they are gone", || async {
        let open = node.metric("sidetalk_bounded{what=\"api_connections\"}").await;
        let bytes = node.metric("sidetalk_bounded{what=\"api_body_bytes\"}").await;
        if open < 20.0 && bytes == 0.0 { Ok(()) } else { Err(format!("{open} connections, {bytes} bytes")) }
    })
    .await;
    is_healthy(&node).await;
    println!("afterwards {} MiB", node.resident_bytes() >> 20);
    let mut one = sent(&node, b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let mut answer = String::new();
    one.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"));
}

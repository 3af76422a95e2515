//! What a node makes of requests that no well-meaning client sends, over a plain socket.

use serde_json::{Value, json};
use sidetalk_tests::{Cluster, Node};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct Reply {
    status: u16,
    head: String,
    body: Value,
}

/// Sends a request as it stands and reads all that comes back.
async fn raw(node: &Node, head: &str, body: &[u8]) -> Reply {
    let address = node.api().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let host = if head.to_lowercase().contains("\r\nhost:") {
        String::new()
    } else {
        format!("\r\nHost: {address}")
    };
    let request = format!("{head}{host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    // A node may refuse a body by its announced length and close before all of it was sent.
    let _ = stream.write_all(body).await;
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    let reply = String::from_utf8(reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {reply:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = body.find('{').map_or(Value::Null, |start| {
        let end = body.rfind('}').unwrap();
        serde_json::from_str(&body[start..=end]).unwrap_or(Value::Null)
    });
    Reply { status, head: head.to_lowercase(), body }
}

fn refused(reply: &Reply, status: u16, code: &str, what: &str) {
    assert_eq!((reply.status, reply.body["code"].as_str()), (status, Some(code)), "{what}: {}", reply.body);
    assert!(reply.head.contains("content-type: application/problem+json"), "{what}: {}", reply.head);
    assert!(reply.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {}", reply.body);
}

const JSON: &str = "Content-Type: application/json";

#[tokio::test]
async fn a_web_page_cannot_reach_the_node_through_a_browser() {
    let cluster = Cluster::start(1).await;
    let node = &cluster[0];
    for head in ["Host: evil.example", "Host: localhost.evil.example", "Host: 192.0.2.1:7411", "Host: "] {
        let reply = raw(node, &format!("GET /v1/status HTTP/1.1\r\n{head}"), b"").await;
        refused(&reply, 403, "host_not_local", head);
    }
    for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
        let head = format!("PUT /v1/documents/d HTTP/1.1\r\nOrigin: {origin}\r\n{JSON}");
        refused(&raw(node, &head, b"{}").await, 403, "foreign_origin", origin);
    }
    assert!(cluster.client(0).document("d").get().await.unwrap_err().is_unknown());
    for head in ["Host: localhost", "Host: 127.0.0.1:1", "Host: [::1]:7411"] {
        let reply = raw(node, &format!("GET /v1/status HTTP/1.1\r\n{head}"), b"").await;
        assert_eq!(reply.status, 200, "{head}: {}", reply.body);
    }
}

#[tokio::test]
async fn bad_input_is_refused_with_a_stable_code_and_changes_nothing() {
    let cluster = Cluster::start(1).await;
    let node = &cluster[0];
    let before = json!({"kept": true});
    cluster.client(0).session("s").put(&before).await.unwrap();
    let deep = [r#"{"a":"#.repeat(65), "1".to_owned(), "}".repeat(65)].concat().into_bytes();
    let large = [b"{\"a\":\"".to_vec(), vec![b'x'; 1 << 20], b"\"}".to_vec()].concat();
    let json_type = format!("\r\n{JSON}");
    let ops_type = "\r\nContent-Type: application/vnd.sidetalk.ops+json".to_owned();
    let long_key = format!("PUT /v1/sessions/{} HTTP/1.1{json_type}", "k".repeat(513));
    let put = format!("PUT /v1/sessions/s HTTP/1.1{json_type}");
    let patch = format!("PATCH /v1/sessions/s HTTP/1.1{json_type}");
    let text = "PATCH /v1/sessions/s HTTP/1.1\r\nContent-Type: text/plain".to_owned();
    let ops = format!("PATCH /v1/sessions/s HTTP/1.1{ops_type}");
    let query = |query: &str| format!("PUT /v1/sessions/s?{query} HTTP/1.1{json_type}");
    let cases: Vec<(String, &[u8], u16, &str)> = vec![
        (put.clone(), b"{", 400, "bad_json"),
        (put.clone(), b"[1]", 422, "not_an_object"),
        (put.clone(), br#"{"a":1,"a":2}"#, 400, "duplicate_key"),
        (patch.clone(), &deep, 400, "too_deep"),
        (patch, &large, 413, "too_large"),
        (put, b"{\"a\":\"\xff\"}", 400, "bad_json"),
        (text, b"{}", 415, "unsupported_media_type"),
        (long_key, b"{}", 400, "bad_key"),
        (format!("PUT /v1/sessions/%FF HTTP/1.1{json_type}"), b"{}", 400, "bad_key"),
        (query("ttl=0"), b"{}", 400, "bad_query_value"),
        (query("ttl=soon"), b"{}", 400, "bad_query_value"),
        (query("ttl=-1"), b"{}", 400, "bad_query_value"),
        (query("tll=60"), b"{}", 400, "unknown_query_parameter"),
        (query("acks=most"), b"{}", 400, "bad_query_value"),
        (
            format!("PUT /v1/sessions/s HTTP/1.1{json_type}\r\nSidetalk-After: rubbish!"),
            b"{}",
            400,
            "bad_token",
        ),
        (format!("PUT /v1/sessions/s HTTP/1.1{json_type}\r\nSidetalk-Life: rubbish"), b"{}", 400, "bad_life"),
        (ops.clone(), br#"[{"op":"jump","path":["a"]}]"#, 422, "bad_body"),
        (ops, br#"[{"op":"incr","path":["kept"],"by":1}]"#, 422, "wrong_shape"),
        (format!("POST /v1/counters/c HTTP/1.1{json_type}"), br#"{"add":"1"}"#, 422, "bad_body"),
        (format!("POST /v1/counters/c HTTP/1.1{json_type}"), br#"{"add":1.5}"#, 422, "bad_body"),
        (format!("PUT /v1/nothing/c HTTP/1.1{json_type}"), b"{}", 404, "no_such_path"),
        (format!("PATCH /v1/counters/c HTTP/1.1{json_type}"), b"{}", 405, "method_not_allowed"),
    ];
    for (head, body, status, code) in cases {
        let what = format!("{} … {code}", head.lines().next().unwrap().chars().take(80).collect::<String>());
        refused(&raw(node, &head, body).await, status, code, &what);
    }
    assert_eq!(cluster.client(0).session("s").get().await.unwrap().value, before);
    assert_eq!(cluster.client(0).counter("c").get().await.map_or(0, |answer| answer.value.value), 0);
}

#[tokio::test]
async fn numbers_keep_their_digits_and_keys_may_hold_anything() {
    let cluster = Cluster::start(2).await;
    let body = r#"{"big":9007199254740993,"huge":123456789012345678901234567890,"fine":1.50}"#;
    let put = format!("PUT /v1/documents/digits HTTP/1.1\r\n{JSON}");
    assert_eq!(raw(&cluster[0], &put, body.as_bytes()).await.status, 201);
    let raw_text = cluster.client(0).document("digits").get().typed::<Box<serde_json::value::RawValue>>();
    let text = raw_text.await.unwrap().value.to_string();
    for digits in ["9007199254740993", "123456789012345678901234567890", "1.50"] {
        assert!(text.contains(digits), "{text}");
    }
    for key in ["a/b", "%2F", "ü", " ", "..", "a?b#c", "\u{0}"] {
        cluster.client(0).document(key).put(&json!({"key": key})).await.unwrap();
        cluster.agree(&format!("documents/{key}"), &json!({"key": key})).await;
    }
}

#[tokio::test]
async fn the_contract_can_be_read_from_the_node() {
    let cluster = Cluster::start(1).await;
    let reply = raw(&cluster[0], "GET /openapi.json HTTP/1.1", b"").await;
    assert_eq!(reply.status, 200);
    for path in [
        "/v1/sessions/{id}",
        "/v1/documents/{name}",
        "/v1/counters/{name}",
        "/v1/sets/{name}",
        "/v1/batch",
        "/v1/watch",
    ] {
        assert!(reply.body["paths"][path].is_object(), "{path} is missing");
    }
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/v1/status", 200)] {
        assert_eq!(raw(&cluster[0], &format!("GET {path} HTTP/1.1"), b"").await.status, status, "{path}");
    }
}

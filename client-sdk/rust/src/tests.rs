//! Against a server that notes what it is asked and answers what it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::*;

#[path = "lost_answers.rs"]
mod lost_answers;
#[path = "vectors.rs"]
mod vectors;

#[derive(Debug)]
struct Asked {
    line: String,
    headers: HeaderMap,
    body: String,
}

struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    /// Answers every request with this.
    async fn answering(status: u16, headers: &'static [(&str, &str)], body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let (log, count) = (asked.clone(), connections.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *count.lock().unwrap() += 1;
                let log = log.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let log = log.clone();
                    async move {
                        let (head, asked) = request.into_parts();
                        let asked = asked.collect().await.unwrap().to_bytes();
                        log.lock().unwrap().push(Asked {
                            line: format!("{} {}", head.method, head.uri),
                            headers: head.headers,
                            body: String::from_utf8(asked.to_vec()).unwrap(),
                        });
                        let mut answer = Response::builder().status(status);
                        for (name, value) in headers {
                            answer = answer.header(*name, *value);
                        }
                        Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body))).unwrap())
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, asked, connections }
    }

    fn client(&self) -> Client {
        Client::new(&self.address.to_string()).unwrap()
    }

    /// The last request.
    fn asked(&self) -> Asked {
        self.asked.lock().unwrap().pop().unwrap()
    }
}

#[tokio::test]
async fn a_call_carries_what_it_was_given_and_the_answer_what_the_node_said() {
    let headers = &[
        ("Sidetalk-Token", "T1"),
        ("Sidetalk-Life", "L1"),
        ("Sidetalk-Expires-In", "60"),
        ("Sidetalk-Acks", "2"),
        ("Sidetalk-Behind", "true"),
        ("ETag", "\"e\""),
    ];
    let server = Server::answering(201, headers, r#"{"a":1}"#).await;
    let call = server.client().session("a/b ü").put(&json!({"a":1})).ttl_seconds(60);
    let call = call.acks(Acks::Majority, Duration::from_millis(500)).life("L0").if_none_match("*");
    let answer = call.after([&Token("x".into()), &Token("y".into())]).idempotency_key("k").await.unwrap();
    assert_eq!((answer.status, answer.behind, answer.acks), (201, true, Some(2)));
    assert_eq!((answer.token, answer.life.as_deref()), (Some(Token("T1".into())), Some("L1")));
    assert_eq!((answer.expires_in_seconds, answer.etag.as_deref()), (Some(60), Some("\"e\"")));
    assert_eq!(answer.value, json!({"a":1}));
    let asked = server.asked();
    assert_eq!(asked.line, "PUT /v1/sessions/a%2Fb%20%C3%BC?ttl=60&acks=majority&timeout=500");
    assert_eq!(asked.body, r#"{"a":1}"#);
    for (name, value) in [
        ("content-type", "application/json"),
        ("sidetalk-life", "L0"),
        ("sidetalk-after", "x,y"),
        ("if-none-match", "*"),
        ("idempotency-key", "k"),
    ] {
        assert_eq!(asked.headers[name], value, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_is_typed() {
    let body = r#"{"type":"about:blank","status":504,"code":"not_enough_acks","detail":"1 of 2","have":1}"#;
    let server = Server::answering(504, &[("Sidetalk-Token", "T")], body).await;
    let error = server.client().counter("c").add(-3).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(504), Some("not_enough_acks")));
    let problem = error.problem().unwrap();
    assert_eq!((problem.token.as_ref(), &problem.more["have"]), (Some(&Token("T".into())), &json!(1)));
    assert_eq!(error.to_string(), "not_enough_acks: 1 of 2");
    assert_eq!(server.asked().body, r#"{"add":-3}"#);
    let server =
        Server::answering(404, &[("Sidetalk-Behind", "true")], r#"{"code":"unknown","detail":"d"}"#).await;
    let error = server.client().session("s").get().wait(Duration::ZERO).await.unwrap_err();
    assert!(error.is_unknown() && error.problem().unwrap().behind && !error.is_ended());
    let server = Server::answering(502, &[], "<html>").await;
    assert_eq!(server.client().status().await.unwrap_err().code(), Some("unexplained"));
}

#[tokio::test]
async fn every_room_of_the_contract_has_its_path() {
    let server = Server::answering(204, &[], "").await;
    let client = server.client();
    let line = || server.asked().line;
    client.document("d").destroy().await.unwrap();
    assert_eq!(line(), "DELETE /v1/documents/d");
    client.session("..").touch().ttl_seconds(5).await.unwrap();
    assert_eq!(line(), "POST /v1/sessions/%2E%2E/touch?ttl=5");
    client.counter("c").reset().await.unwrap();
    assert_eq!(line(), "DELETE /v1/counters/c");
    client.set("s").add("m/1").await.unwrap();
    assert_eq!(line(), "PUT /v1/sets/s/m%2F1");
    client.set("s").remove("m").await.unwrap();
    assert_eq!(line(), "DELETE /v1/sets/s/m");
    assert!(client.set("s").contains("m").await.unwrap());
    assert_eq!(line(), "GET /v1/sets/s/m");
    client.session("x").explain().await.unwrap();
    assert_eq!(line(), "GET /v1/explain/sessions/x");
    client.clear_chaos().await.unwrap();
    assert_eq!(line(), "DELETE /v1/chaos");
    client.set_chaos(&[("n2".to_owned(), Fault { blocked: true, ..Fault::default() })].into()).await.unwrap();
    assert_eq!(server.asked().body, r#"{"peers":{"n2":{"blocked":true,"delay_ms":0,"loss":0.0}}}"#);
    let ops = [
        PathOp::Set { path: vec!["a".into()], value: Value::Null },
        PathOp::Incr { path: vec!["n".into()], by: 2 },
        PathOp::Add { path: vec!["s".into()], member: "m".into() },
    ];
    client.session("x").ops(&ops).minimal().await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.headers["content-type"], "application/vnd.sidetalk.ops+json");
    assert_eq!(asked.headers["prefer"], "return=minimal");
    let want = r#"[{"op":"set","path":["a"],"value":null},{"op":"incr","path":["n"],"by":2},{"op":"add","path":["s"],"member":"m"}]"#;
    assert_eq!(asked.body, want);
}

#[tokio::test]
async fn answers_are_read_into_their_types() {
    let server = Server::answering(
        200,
        &[],
        r#"{"value":7,"keys":["a"],"next":null,"members":["m"],"added":1,"removed":0}"#,
    )
    .await;
    let client = server.client();
    assert_eq!(client.counter("c").add(7).await.unwrap().value.value, 7);
    assert_eq!(client.set("s").get().await.unwrap().value.members, ["m"]);
    let change = client.set("s").change(&["m"], &[] as &[&str]).await.unwrap().value;
    assert_eq!(change, MembersChanged { added: 1, removed: 0 });
    assert_eq!(
        client.list(Kind::Sets, "a b").await.unwrap().value,
        Keys { keys: vec!["a".into()], next: None }
    );
    assert_eq!(server.asked().line, "GET /v1/sets?prefix=a%20b");
    let server = Server::answering(200, &[], r#"{"n":12345678901234567890.10}"#).await;
    let raw = server.client().session("s").get().typed::<Box<RawValue>>().await.unwrap().value;
    assert_eq!(raw.get(), r#"{"n":12345678901234567890.10}"#);
    let error = server.client().counter("c").get().await.unwrap_err();
    assert!(matches!(error, Error::Unintelligible { status: 200, .. }), "{error}");
    let server = Server::answering(304, &[], "").await;
    assert!(matches!(
        server.client().session("s").get().if_none_match("\"e\"").await,
        Err(Error::NotModified)
    ));
}

#[tokio::test]
async fn a_batch_takes_any_calls_and_gives_their_results_in_order() {
    let server = Server::answering(
        200,
        &[],
        r#"{"results":[{"status":201,"headers":{"sidetalk-token":"T"},"body":{"a":1}},{"status":204}]}"#,
    )
    .await;
    let client = server.client();
    let mut batch = client.batch();
    batch.push(client.session("a").put(&json!({"a":1})).ttl_seconds(9).life("L")).unwrap();
    batch.push(client.set("s").remove("m")).unwrap();
    let results = batch.send().await.unwrap();
    assert_eq!((results[0].status, &results[0].body), (201, &json!({"a":1})));
    assert_eq!((results[1].status, &results[1].body), (204, &Value::Null));
    let asked: Value = serde_json::from_str(&server.asked().body).unwrap();
    assert_eq!(asked["ops"][0]["path"], "/v1/sessions/a?ttl=9");
    assert_eq!(asked["ops"][0]["headers"]["sidetalk-life"], "L");
    assert_eq!(asked["ops"][1], json!({"method":"DELETE","path":"/v1/sets/s/m"}));
}

#[tokio::test]
async fn a_watch_gives_events_and_a_cursor_to_go_on_from() {
    let body = ": open\n\nid: p-1\nevent: change\ndata: {\"kind\":\"sessions\",\"key\":\"k\",\"value\":{\"a\":1},\"state\":\"live\",\"life\":\"L\",\"token\":\"T\"}\n\n\
                event: later\ndata: {}\n\nid: p-2\nevent: reset\ndata: {}\n\n";
    let server = Server::answering(200, &[("content-type", "text/event-stream")], body).await;
    let mut watch =
        server.client().watch().kind(Kind::Sessions).prefix("k").since("p-0").open().await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.line, "GET /v1/watch?kind=sessions&prefix=k");
    assert_eq!(asked.headers["last-event-id"], "p-0");
    let Some(Event::Change(change)) = watch.next().await.unwrap() else { panic!("no change") };
    assert_eq!((change.name().to_string().as_str(), change.state), ("sessions/k", State::Live));
    assert_eq!((change.life.as_deref(), change.value), (Some("L"), Some(json!({"a":1}))));
    assert_eq!(watch.cursor(), Some("p-1"));
    assert_eq!(watch.next().await.unwrap(), Some(Event::Reset));
    assert_eq!(watch.cursor(), Some("p-2"));
    assert_eq!(watch.next().await.unwrap(), None);
    let server = Server::answering(400, &[], r#"{"code":"bad_query","detail":"d"}"#).await;
    assert_eq!(server.client().watch().open().await.unwrap_err().code(), Some("bad_query"));
}

#[tokio::test]
async fn connections_are_reused_and_a_dead_node_is_unreachable() {
    let server = Server::answering(204, &[], "").await;
    let client = server.client();
    for _ in 0..5 {
        client.document("d").destroy().await.unwrap();
    }
    assert_eq!(*server.connections.lock().unwrap(), 1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::new(&format!("http://{address}/")).unwrap().status().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && !error.is_uncertain(), "{error}");
}

#[tokio::test]
async fn a_silent_node_is_given_up_and_its_own_waiting_is_allowed_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&listener.local_addr().unwrap().to_string()).unwrap();
    let client = client.with_timeout(Duration::from_millis(20));
    let started = std::time::Instant::now();
    let error = client.session("s").get().wait(Duration::from_millis(30)).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut(_)) && error.is_uncertain(), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[test]
fn names_and_addresses_are_checked() {
    for bad in ["", "127.0.0.1", "https://a:1", "http://a:1/x", "a b:1"] {
        assert!(matches!(Client::new(bad), Err(Error::Invalid(_))), "{bad}");
    }
    assert_eq!(Client::new("[::1]:80").unwrap().base(), "http://[::1]:80");
    assert_eq!("sessions/a/b".parse::<ObjectName>().unwrap().path(), "/v1/sessions/a%2Fb");
    for bad in ["sessions", "sessions/", "session/x", "/x"] {
        assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
    }
}

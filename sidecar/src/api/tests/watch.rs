//! Watching.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::client::{PATIENCE, Server};
use super::fake::{Fake, REPLICA};
use crate::api::settings::ApiSettings;
use crate::core::identity::Kind;
use crate::core::token::Token;

/// A reader of events.
struct Events {
    body: Incoming,
    text: String,
}

#[derive(Debug, Default, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
    comment: String,
}

impl Event {
    fn key(&self) -> &str {
        self.data["key"].as_str().unwrap_or_default()
    }
}

impl Events {
    async fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        let answer = server.open("GET", path, headers, "").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        Self { body: answer.into_body(), text: String::new() }
    }

    /// The next event or comment; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = parse(event);
                self.text = rest.to_owned();
                return Some(event);
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.unwrap()?;
            let data = frame.ok()?.into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    async fn named(&mut self, name: &str) -> Event {
        let event = self.next().await.unwrap();
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// The comment with which a watch begins.
    async fn begun(mut self) -> Self {
        let first = self.next().await.unwrap();
        assert_eq!(first.comment, "watching", "{first:?}");
        assert!(first.id.is_some() && first.name.is_empty());
        self
    }
}

fn parse(text: &str) -> Event {
    let mut event = Event::default();
    for line in text.lines() {
        let (field, value) = line.split_once(": ").unwrap();
        match field {
            "event" => event.name = value.to_owned(),
            "id" => event.id = Some(value.to_owned()),
            "data" => event.data = serde_json::from_str(value).unwrap(),
            "" => event.comment = value.to_owned(),
            other => panic!("{other}"),
        }
    }
    event
}

#[tokio::test]
async fn changes_come_with_the_state_of_the_key() {
    let server = Server::start().await;
    server.fake.put(Kind::Session, "before", json!({}));
    let mut events = Events::open(&server, "/v1/watch", &[]).await.begun().await;
    server.put("/v1/sessions/s", r#"{"a":"x\ny"}"#).await;
    let event = events.named("change").await;
    assert_eq!((&event.data["kind"], event.key()), (&json!("sessions"), "s"));
    assert_eq!((&event.data["value"], &event.data["state"]), (&json!({"a":"x\ny"}), &json!("live")));
    assert!(event.data["life"].is_string());
    event.data["token"].as_str().unwrap().parse::<Token>().unwrap();
    assert_eq!(event.id.unwrap(), format!("{REPLICA}-2"));
    server.delete("/v1/sessions/s").await;
    let event = events.named("change").await;
    assert_eq!((&event.data["value"], &event.data["state"]), (&json!(null), &json!("ended")));
    assert_eq!(event.data["life"], json!(null));
    server.post("/v1/counters/c", r#"{"add":3}"#).await;
    server.post("/v1/sets/t", r#"{"add":["m"]}"#).await;
    assert_eq!(events.named("change").await.data["value"], json!(3));
    assert_eq!(events.named("change").await.data["value"], json!(["m"]));
}

#[tokio::test]
async fn kind_and_prefix_narrow_the_scope() {
    let server = Server::start().await;
    let mut events = Events::open(&server, "/v1/watch?kind=documents&prefix=a%2F", &[]).await.begun().await;
    for (kind, key) in [(Kind::Session, "a/1"), (Kind::Document, "b"), (Kind::Document, "a/2")] {
        server.fake.put(kind, key, json!({}));
    }
    let event = events.named("change").await;
    assert_eq!((&event.data["kind"], event.key()), (&json!("documents"), "a/2"));
}

#[tokio::test]
async fn a_watch_goes_on_after_the_last_event() {
    let server = Server::start().await;
    for key in ["a", "b", "c"] {
        server.fake.put(Kind::Document, key, json!({}));
    }
    let id = format!("{REPLICA}-1");
    let by_query = format!("/v1/watch?after={id}");
    for (path, headers) in [("/v1/watch", vec![("last-event-id", id.as_str())]), (&by_query, vec![])] {
        let mut events = Events::open(&server, path, &headers).await.begun().await;
        assert_eq!(events.named("change").await.key(), "b");
        assert_eq!(events.named("change").await.key(), "c");
    }
}

#[tokio::test]
async fn a_cursor_that_is_of_no_use_is_told_so_and_the_state_follows() {
    let server = Server::start().await;
    for at in 0..150 {
        server.fake.put(Kind::Document, &format!("{at:03}"), json!({}));
    }
    server.fake.put(Kind::Session, "s", json!({}));
    server.fake.state.lock().forgotten = 5;
    for (id, reason) in [
        ("00000000000000aa-7".to_owned(), "restarted"),
        (format!("{REPLICA}-4"), "too_old"),
        (format!("{REPLICA}-99999"), "unknown"),
    ] {
        let mut events = Events::open(&server, "/v1/watch", &[("last-event-id", &id)]).await;
        if reason == "too_old" {
            events = events.begun().await;
        }
        let reset = events.named("reset").await;
        assert_eq!((&reset.data["reason"], &reset.id), (&json!(reason), &None));
        let mut keys = Vec::new();
        let current = loop {
            let event = events.next().await.unwrap();
            if event.name == "current" {
                break event;
            }
            assert_eq!(
                (event.name.as_str(), &event.id),
                ("change", &None),
                "no cursor before the state is whole"
            );
            keys.push(event.key().to_owned());
        };
        assert_eq!(keys.len(), 151);
        assert_eq!((keys[0].as_str(), keys[150].as_str()), ("s", "149"));
        assert!(current.id.is_some());
        server.fake.put(Kind::Document, "new", json!({}));
        loop {
            let event = events.named("change").await;
            if event.key() == "new" {
                break;
            }
        }
        server.fake.end(Kind::Document, "new");
    }
}

#[tokio::test]
async fn initial_gives_the_state_first() {
    let server = Server::start().await;
    server.fake.put(Kind::Document, "d", json!({"a":1}));
    let mut events = Events::open(&server, "/v1/watch?initial=true&kind=documents", &[]).await;
    assert_eq!(events.named("change").await.data["value"], json!({"a":1}));
    let current = events.named("current").await.id.unwrap();
    server.fake.put(Kind::Document, "e", json!({}));
    assert_eq!(events.named("change").await.key(), "e");
    // Coming back with a cursor, the state is not sent again.
    let path = format!("/v1/watch?initial=true&after={current}");
    let mut again = Events::open(&server, &path, &[]).await.begun().await;
    assert_eq!(again.named("change").await.key(), "e");
}

#[tokio::test]
async fn a_slow_reader_gets_the_latest_state_of_each_key() {
    let server = Server::start().await;
    let mut events = Events::open(&server, "/v1/watch", &[]).await.begun().await;
    // Far more than the sockets' buffers and the two pages hold.
    let filler = "x".repeat(100_000);
    for round in 0..3 {
        for at in 0..300 {
            server.fake.put(Kind::Document, &format!("{at:03}"), json!({ "round": round, "filler": filler }));
        }
    }
    let mut latest = std::collections::BTreeMap::new();
    let mut count = 0;
    while latest.len() < 300 || latest.values().any(|round| *round != 2) {
        let event = events.named("change").await;
        latest.insert(event.key().to_owned(), event.data["value"]["round"].as_u64().unwrap());
        count += 1;
    }
    assert!(count < 900, "{count} events for 300 keys");
}

#[tokio::test]
async fn a_silent_watch_says_that_it_lives_and_where_it_is() {
    let settings = ApiSettings { heartbeat: Duration::from_millis(5), ..ApiSettings::default() };
    let server = Server::with(Fake::new(), settings).await;
    let mut events = Events::open(&server, "/v1/watch?kind=sets", &[]).await.begun().await;
    server.fake.put(Kind::Document, "out-of-scope", json!({}));
    loop {
        let beat = events.next().await.unwrap();
        assert_eq!((beat.comment.as_str(), beat.name.as_str()), ("heartbeat", ""));
        if beat.id == Some(format!("{REPLICA}-1")) {
            return;
        }
    }
}

#[tokio::test]
async fn watchers_have_places() {
    let settings = ApiSettings { watchers_max: 2, ..ApiSettings::default() };
    let server = Server::with(Fake::new(), settings).await;
    let first = Events::open(&server, "/v1/watch", &[]).await.begun().await;
    let _second = Events::open(&server, "/v1/watch", &[]).await.begun().await;
    let refused = server.get("/v1/watch").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "too_many_watchers"));
    drop(first);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.open("GET", "/v1/watch", &[], "").await.status() != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the place is not given back");
    }
}

#[tokio::test]
async fn cursors_that_are_none() {
    let server = Server::start().await;
    for path in ["/v1/watch?after=x", "/v1/watch?after=1-1", "/v1/watch?after="] {
        assert_eq!(server.get(path).await.code(), "bad_cursor", "{path}");
    }
    let by_header = server.call("GET", "/v1/watch", &[("last-event-id", "x-1")], "").await;
    assert_eq!((by_header.status, by_header.code().as_str()), (400, "bad_cursor"));
    Events::open(&server, "/v1/watch", &[("last-event-id", "")]).await.begun().await;
}

#[tokio::test]
async fn a_watch_ends_with_the_server() {
    let mut server = Server::with(Arc::new(Fake::with_chaos(None)), ApiSettings::default()).await;
    let mut events = Events::open(&server, "/v1/watch", &[]).await.begun().await;
    let task = server.shut_down();
    assert_eq!(events.next().await, None);
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
}

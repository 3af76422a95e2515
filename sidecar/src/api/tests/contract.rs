//! The documentation and the behaviour are the same thing.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{DOCUMENT, Server};
use super::fake::Fake;
use crate::api::errors::Code;
use crate::api::settings::ApiSettings;
use crate::core::command::{Readiness, Refusal};
use crate::core::identity::Kind;

const JSON: (&str, &str) = ("content-type", "application/json");

/// A request that each operation answers well, with a path of its own.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("GET", "/v1/sessions/s", ""),
    ("PUT", "/v1/sessions/s", "{}"),
    ("PATCH", "/v1/sessions/s", "{}"),
    ("POST", "/v1/sessions/s/touch", ""),
    ("DELETE", "/v1/sessions/s", ""),
    ("GET", "/v1/documents/d", ""),
    ("PUT", "/v1/documents/d", "{}"),
    ("PATCH", "/v1/documents/d", "{}"),
    ("DELETE", "/v1/documents/d", ""),
    ("GET", "/v1/counters/c", ""),
    ("POST", "/v1/counters/c", r#"{"add":1}"#),
    ("DELETE", "/v1/counters/c", ""),
    ("GET", "/v1/sets/t", ""),
    ("POST", "/v1/sets/t", r#"{"add":["m"]}"#),
    ("DELETE", "/v1/sets/t", ""),
    ("GET", "/v1/sets/t/m", ""),
    ("PUT", "/v1/sets/t/m", ""),
    ("DELETE", "/v1/sets/t/m", ""),
    ("GET", "/v1/sessions", ""),
    ("GET", "/v1/documents", ""),
    ("GET", "/v1/counters", ""),
    ("GET", "/v1/sets", ""),
    ("POST", "/v1/batch", r#"{"ops":[]}"#),
    ("GET", "/v1/watch", ""),
    ("GET", "/v1/explain/sessions/s", ""),
    ("GET", "/v1/status", ""),
    ("GET", "/v1/cluster", ""),
    ("DELETE", "/v1/cluster/n3", ""),
    ("GET", "/livez", ""),
    ("GET", "/readyz", ""),
    ("GET", "/metrics", ""),
    ("GET", "/openapi.json", ""),
    ("GET", "/v1/chaos", ""),
    ("PUT", "/v1/chaos", r#"{"peers":{}}"#),
    ("DELETE", "/v1/chaos", ""),
];

/// A query, what is done to the node, headers, another body.
type Provocation = (&'static str, fn(&Server), &'static [(&'static str, &'static str)], &'static str);

/// What can be done to a request, and to the node before it.
const PROVOCATIONS: &[Provocation] = &[
    ("", nothing, &[], ""),
    ("?unknown=1", nothing, &[], ""),
    ("", nothing, &[("origin", "http://evil.example")], ""),
    ("", nothing, &[("if-match", "\"x\"")], ""),
    ("", nothing, &[("content-type", "text/plain")], ""),
    ("", nothing, &[("prefer", "return=minimal")], ""),
    ("", nothing, &[("idempotency-key", "taken")], ""),
    ("", nothing, &[], "\"not what it takes\""),
    ("?acks=all", nothing, &[], ""),
    ("", ended, &[], ""),
    ("", ended, &[("sidetalk-life", "0000000000000001-1")], ""),
    ("", ended, &[("if-match", "*")], ""),
    ("", unknown, &[], ""),
    ("", unknown, &[("if-match", "*")], ""),
    ("", refuses_ended, &[], ""),
    ("", refuses_too_large, &[], ""),
    ("", refuses_out_of_memory, &[], ""),
    ("", refuses_unknown, &[("if-match", "*")], ""),
    ("", refuses_disk_full, &[], ""),
    ("", not_ready, &[], ""),
];

fn nothing(_: &Server) {}

fn ended(server: &Server) {
    server.fake.end(Kind::Session, "s");
    server.fake.end(Kind::Document, "d");
}

fn unknown(server: &Server) {
    server.fake.state.lock().objects.clear();
}

fn refuses_ended(server: &Server) {
    server.fake.state.lock().refuse = Some(Refusal::Ended);
}

fn refuses_too_large(server: &Server) {
    server.fake.state.lock().refuse = Some(Refusal::TooLarge);
}

fn refuses_out_of_memory(server: &Server) {
    server.fake.state.lock().refuse = Some(Refusal::OutOfMemory);
}

fn refuses_unknown(server: &Server) {
    server.fake.state.lock().refuse = Some(Refusal::Unknown);
}

fn refuses_disk_full(server: &Server) {
    server.fake.state.lock().refuse = Some(Refusal::DiskFull);
}

fn not_ready(server: &Server) {
    server.fake.state.lock().readiness = Readiness::Leaving;
}

fn documented_statuses() -> BTreeSet<(String, u16)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let operations = paths.values().flat_map(|path| path.as_object().unwrap().values());
    operations
        .filter_map(|operation| Some((operation["operationId"].as_str()?.to_owned(), operation)))
        .flat_map(|(id, operation)| {
            let statuses = operation["responses"].as_object().unwrap().keys();
            statuses.map(move |status| (id.clone(), status.parse().unwrap())).collect::<Vec<_>>()
        })
        .collect()
}

/// Puts everything in place that the requests name.
async fn prepare(server: &Server) {
    {
        let mut state = server.fake.state.lock();
        state.refuse = None;
        state.readiness = Readiness::Ready;
    }
    server.fake.put(Kind::Session, "s", json!({}));
    server.fake.put(Kind::Document, "d", json!({}));
    server.fake.put(Kind::Counter, "c", json!(1));
    server.fake.put(Kind::Set, "t", json!(["m"]));
}

/// `Server::check` has it that every answer is documented; here every documented answer is given.
#[tokio::test]
async fn every_documented_status_is_given() {
    let settings = ApiSettings { watchers_max: 100_000, ..ApiSettings::default() };
    let server = Server::with(Fake::new(), settings).await;
    let hasty = ApiSettings { body_timeout: Duration::from_millis(1), ..ApiSettings::default() };
    let hasty = Server::with(Fake::new(), hasty).await;
    server.call("POST", "/v1/counters/x", &[JSON, ("idempotency-key", "taken")], r#"{"add":1}"#).await;
    for &(method, path, body) in REQUESTS {
        for &(query, provoke, headers, replaced) in PROVOCATIONS {
            prepare(&server).await;
            let shrinks = method == "DELETE" || path.ends_with("/touch");
            if shrinks && std::ptr::fn_addr_eq(provoke, refuses_out_of_memory as fn(&Server)) {
                continue;
            }
            if method != "DELETE" || !std::ptr::fn_addr_eq(provoke, refuses_too_large as fn(&Server)) {
                provoke(&server);
            }
            let body = if replaced.is_empty() { body } else { replaced };
            let mut headers = headers.to_vec();
            if !headers.iter().any(|(name, _)| *name == "content-type") {
                headers.push(JSON);
            }
            if path == "/v1/watch" {
                // A stream has no end to wait for.
                let answer = server.open(method, &format!("{path}{query}"), &headers, body).await;
                if answer.status() == 200 {
                    server.given.lock().insert(("watch".into(), 200));
                    continue;
                }
            }
            server.call(method, &format!("{path}{query}"), &headers, body).await;
        }
        prepare(&server).await;
        provoke_bodies(&server, &hasty, method, path).await;
        provoke_tags(&server, path).await;
    }
    provoke_the_rest(&server).await;
    provoke_guards(&server).await;
    let given = server.given.lock().clone();
    let missing: Vec<_> = documented_statuses().difference(&given).cloned().collect();
    assert!(missing.is_empty(), "documented, but never given: {missing:?}");
}

async fn provoke_bodies(server: &Server, hasty: &Server, method: &str, path: &str) {
    if matches!(method, "GET" | "DELETE") {
        return;
    }
    server.call(method, path, &[JSON], &" ".repeat((1 << 20) + 1)).await;
    server.call(method, path, &[JSON], "{").await;
    let slow = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{{");
    let answer = hasty.raw(slow.as_bytes()).await;
    if answer.starts_with("HTTP/1.1 408 ") {
        let id = super::client::documented(method, path).unwrap()["operationId"].as_str().unwrap();
        server.given.lock().insert((id.to_owned(), 408));
    }
}

/// Without a token, and where nobody has a place.
async fn provoke_guards(server: &Server) {
    let tokens = crate::api::ApiTokens::parse("a-token-of-24-characters").ok();
    let guarded = Server::with(Fake::new(), ApiSettings { tokens, ..ApiSettings::default() }).await;
    let full = Server::with(Fake::new(), ApiSettings { requests_max: 0, ..ApiSettings::default() }).await;
    for &(method, path, body) in REQUESTS {
        let (open, busy) =
            (guarded.call(method, path, &[JSON], body).await, full.call(method, path, &[JSON], body).await);
        if matches!(path, "/livez" | "/readyz") {
            assert_eq!((open.status, busy.status), (200, 200), "{path}");
            continue;
        }
        assert_eq!((open.status, busy.status), (401, 503), "{method} {path}");
        assert!(open.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer ")));
        assert_eq!(busy.header("retry-after"), Some("1"));
    }
    server.given.lock().extend(guarded.given.lock().iter().cloned());
    server.given.lock().extend(full.given.lock().iter().cloned());
}

async fn provoke_tags(server: &Server, path: &str) {
    let Some(tag) = server.open("GET", path, &[], "").await.headers().get("etag").cloned() else { return };
    server.call("GET", path, &[("if-none-match", tag.to_str().unwrap())], "").await;
}

async fn provoke_the_rest(server: &Server) {
    for member in ["n2", "stranger"] {
        server.call("DELETE", &format!("/v1/cluster/{member}"), &[], "").await;
    }
    server.put("/v1/sessions/new", "{}").await;
    server.put("/v1/documents/new", "{}").await;
    server.patch("/v1/documents/newer", "{}").await;
    server.get("/v1/sets/t/stranger").await;
    server.fake.put(Kind::Session, "panic", json!({}));
    let headers = |key| [JSON, ("idempotency-key", key)];
    for (method, path, body) in [
        ("POST", "/v1/counters/panic", r#"{"add":1}"#),
        ("POST", "/v1/sets/panic", r#"{"add":["a"]}"#),
        ("PATCH", "/v1/sessions/panic", "{}"),
        ("PATCH", "/v1/documents/panic", "{}"),
        ("POST", "/v1/sessions/panic/touch", ""),
        ("POST", "/v1/batch", r#"{"ops":[{"method":"POST","path":"/v1/counters/panic","body":{"add":1}}]}"#),
    ] {
        server.call(method, path, &headers(path), body).await;
    }
}

#[tokio::test]
async fn the_document_is_served_and_complete() {
    let server = Server::start().await;
    let served = server.get("/openapi.json").await;
    assert_eq!(served.header("content-type"), Some("application/json"));
    assert_eq!(served.json(), *DOCUMENT);
    assert!(DOCUMENT["openapi"].as_str().unwrap().starts_with("3."));
    let schemas = DOCUMENT["components"]["schemas"].as_object().unwrap();
    let text = DOCUMENT.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to and not there");
    }
    for &(method, path, _) in REQUESTS {
        assert!(super::client::documented(method, path).is_some(), "{method} {path}");
    }
    let count: usize = DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| {
            path.as_object()
                .unwrap()
                .values()
                .filter(|operation| operation["operationId"].is_string())
                .count()
        })
        .sum();
    assert_eq!(count, REQUESTS.len(), "every operation is among the requests of these tests");
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let operations = crate::api::router::operations(true);
    let ids: BTreeSet<_> = operations.iter().map(|operation| operation.id).collect();
    assert_eq!(ids.len(), operations.len());
}

#[test]
fn every_code_is_unique_and_belongs_to_a_call() {
    let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.facts().name).collect();
    assert_eq!(names.len(), Code::ALL.len());
    let documented: BTreeSet<_> =
        crate::api::router::operations(true).iter().flat_map(|operation| operation.codes()).collect();
    // These belong to no call of their own: a path that is none, and results within a batch.
    let apart = [Code::MethodNotAllowed, Code::NotInBatch, Code::AnswerTooLarge];
    let lost: Vec<_> =
        Code::ALL.iter().filter(|code| !documented.contains(code) && !apart.contains(code)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn every_path_parameter_and_query_parameter_is_described() {
    let paths: &Value = &DOCUMENT["paths"];
    for (template, path) in paths.as_object().unwrap() {
        for operation in path.as_object().unwrap().values() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(in_path, template.matches('{').count(), "{template}");
            assert!(parameters.iter().all(|parameter| parameter["description"].is_string()), "{template}");
        }
    }
}

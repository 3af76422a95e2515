//! The lane answers as hyper does: the same bytes, but for the date, whatever the bytes of the requests are and
//! however they arrive.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::server::graceful::GracefulShutdown;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::fake::Fake;
use crate::api::dispatch::Api;
use crate::api::pace::{Paced, Paces};
use crate::api::settings::ApiSettings;
use crate::api::tokens::ApiTokens;
use crate::api::{lane, serve};
use crate::core::identity::Kind;

const TOKEN: &str = "a-token-of-24-characters";

/// How bytes get to the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As every connection.
    Lane,
    /// Hyper alone.
    Hyper,
}

fn an_api(with_token: bool) -> Arc<Api> {
    api_of(&Fake::new(), with_token)
}

fn api_of(fake: &Arc<Fake>, with_token: bool) -> Arc<Api> {
    fake.put(Kind::Session, "s", json!({"user": {"id": 7}, "text": "x".repeat(40)}));
    fake.put(Kind::Document, "d", json!({"a": [1, 2, 3]}));
    fake.put(Kind::Document, "large", json!({ "a": "y".repeat(100_000) }));
    fake.end(Kind::Session, "gone");
    let tokens = with_token.then(|| ApiTokens::parse(TOKEN).unwrap());
    let settings = ApiSettings { tokens, ..ApiSettings::default() };
    serve::api(Arc::clone(fake) as _, settings, watch::channel(false).1)
}

/// Serves one end of a connection until it ends. Gives whether hyper had to.
async fn serve_one(api: Arc<Api>, stream: DuplexStream, way: Way) -> bool {
    let tracked = Paces::open(&api.paces);
    let graceful = GracefulShutdown::new();
    let left = match way {
        Way::Lane => lane::run(stream, &api, &tracked.pace).await,
        Way::Hyper => Some((stream, Bytes::new())),
    };
    let Some((stream, ahead)) = left else { return false };
    let stream = Paced::new(stream, ahead, &tracked.pace);
    serve::speak_freely(stream, api, graceful.watcher(), &tracked).await;
    true
}

/// What comes back for these pieces, sent one after the other, each when nothing happens any more; and whether hyper
/// was needed. The clock is not real: waiting costs nothing.
async fn exchange(api: Arc<Api>, pieces: &[&[u8]], pause: Duration, way: Way) -> (String, bool) {
    let (mut client, server) = duplex(1 << 20);
    let mut serving = tokio::spawn(serve_one(api, server, way));
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 {
            sleep(pause).await;
        }
        // It may have been closed before.
        let _ = client.write_all(piece).await;
    }
    let mut answers = Vec::new();
    let read = timeout(Duration::from_secs(100), client.read_to_end(&mut answers)).await;
    drop(client);
    let by_hyper = match timeout(Duration::from_secs(1), &mut serving).await {
        Ok(served) => served.unwrap(),
        Err(_) => panic!("a connection goes on without its client: {read:?}"),
    };
    (masked(&answers), by_hyper)
}

/// Without the dates.
fn masked(answers: &[u8]) -> String {
    let text = String::from_utf8_lossy(answers);
    let mut rest = &*text;
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once("\r\ndate: ") {
        out.push_str(before);
        out.push_str("\r\ndate: *");
        rest = after.get(29..).unwrap_or_default();
    }
    out + rest
}

const SHORT: Duration = Duration::from_millis(1);

async fn both(with_token: bool, bytes: &[u8]) -> (String, bool) {
    let (hyper, _) = exchange(an_api(with_token), &[bytes], SHORT, Way::Hyper).await;
    let (lane, by_hyper) = exchange(an_api(with_token), &[bytes], SHORT, Way::Lane).await;
    assert_eq!(lane, hyper, "{}", String::from_utf8_lossy(bytes));
    (lane, by_hyper)
}

fn request(method: &str, target: &str, lines: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{lines}{length}\r\n{body}")
}

/// Requests that need no hyper.
fn simple() -> Vec<String> {
    let json = "Content-Type: application/json\r\n";
    let merge = "content-type: application/merge-patch+json\r\n";
    let ops = "Content-Type: application/vnd.sidetalk.ops+json\r\n";
    let minimal = "Prefer: return=minimal\r\n";
    let get = |target: &str| request("GET", target, "", "");
    vec![
        get("/v1/sessions/s"),
        get("/v1/documents/d"),
        get("/v1/sessions/nobody"),
        get("/v1/sessions/gone"),
        get("/v1/sessions/"),
        get("/v1/sessions/%73"),
        get("/v1/sessions/%zz"),
        get("/v1/sessions/s?wait=5"),
        get("/v1/sessions/s?wait=x"),
        get("/v1/documents/large"),
        get("/v1/counters/c"),
        get("/v1/sets/none"),
        get("/v1/sessions?limit=1"),
        get("/v1/nowhere"),
        get("/openapi.json"),
        get("/livez"),
        get("/v1/status"),
        request("GET", "/v1/sessions/s", "If-None-Match: *\r\n", ""),
        request("GET", "/v1/sessions/s", "If-Match: \"0\"\r\n", ""),
        request("GET", "/v1/sessions/s", "Sidetalk-After: rubbish\r\n", ""),
        request("GET", "/v1/sessions/s", "Origin: https://evil.example\r\n", ""),
        request("GET", "/v1/sessions/s", "Sec-Fetch-Site: cross-site\r\n", ""),
        request(
            "GET",
            "/v1/sessions/s",
            "Connection: keep-alive\r\nX-A: \u{e9}\r\nX-A: 2\r\nCookie: a=b\r\n",
            "",
        ),
        request("GET", "/v1/sessions/s", "Authorization: Bearer wrong-but-long-enough\r\n", ""),
        request("GET", "/v1/sessions/s", &format!("Authorization: bearer {TOKEN}\r\n"), ""),
        get("/v1/sessions/s").replace("localhost", "evil.example"),
        get("/v1/sessions/s").replace("localhost", ""),
        request("HEAD", "/v1/sessions/s", "", ""),
        request("HEAD", "/v1/sessions/nobody", "", ""),
        request("HEAD", "/v1/documents/large", "", ""),
        request("HEAD", "/v1/sessions/s", "If-None-Match: *\r\n", ""),
        request("HEAD", "/v1/sessions/s", "Origin: null\r\n", ""),
        request("PUT", "/v1/sessions/t?ttl=9", json, "{\"a\":1}"),
        request("PUT", "/v1/sessions/s", "Content-Type: text/plain\r\n", "{}"),
        request("PUT", "/v1/documents/e", json, ""),
        request("PATCH", "/v1/sessions/s", json, "{\"b\":[2]}"),
        request("PATCH", "/v1/sessions/s", &format!("{json}Prefer: return=minimal\r\n"), "{\"b\":3}"),
        request("PATCH", "/v1/sessions/s", &format!("{json}Idempotency-Key: k\r\n"), "{\"c\":3}"),
        request("PATCH", "/v1/sessions/s", json, "{"),
        request("PATCH", "/v1/counters/c", json, "{}"),
        request("PATCH", "/v1/documents/d?acks=2&timeout=0", json, "{\"b\":3}"),
        request("POST", "/v1/counters/c", json, "{\"add\":5}"),
        request("POST", "/v1/sessions/s/touch?ttl=60", "", ""),
        request("POST", "/v1/sets/x", json, "{\"add\":[\"a\",\"b\"]}"),
        request("POST", "/v1/batch", json, "{\"ops\":[{\"method\":\"GET\",\"path\":\"/v1/sessions/s\"}]}"),
        request("DELETE", "/v1/sessions/s", "Content-Length: 0\r\n", ""),
        request("DELETE", "/v1/documents/none", "", ""),
        request("PATCH", "/v1/sessions/s", &format!("Prefer: RETURN=minimal\r\n{merge}"), "{\"b\":null}"),
        request("PATCH", "/v1/documents/new", &format!("{json}Prefer: a, return=minimal\r\n"), "{}"),
        request("PATCH", "/v1/sessions/s", &format!("{json}{minimal}Prefer: wait=5\r\n"), "{\"b\":3}"),
        request("PATCH", "/v1/sessions/s", &format!("{json}{json}{minimal}"), "{\"b\":4}"),
        request("PATCH", "/v1/sessions/s", minimal, "{\"b\":5}"),
        request(
            "PATCH",
            "/v1/sessions/s",
            &format!("{ops}{minimal}"),
            "[{\"op\":\"incr\",\"path\":[\"n\"]}]",
        ),
        request("PATCH", "/v1/sessions/s", &format!("{json}{minimal}"), "[]"),
        request("PATCH", "/v1/sessions/s", &format!("{json}{minimal}"), "{\"b\":1,\"b\":2}"),
        request("PATCH", "/v1/sessions/s", &format!("{json}{minimal}"), ""),
        request("PATCH", "/v1/sessions/s?ttl=60", &format!("{json}{minimal}"), "{\"b\":6}"),
        request("PATCH", "/v1/sessions/s?tll=60", &format!("{json}{minimal}"), "{\"b\":6}"),
        request("PATCH", "/v1/sessions/%73", &format!("{json}{minimal}"), "{\"b\":7}"),
        request("PATCH", "/v1/sessions/gone", &format!("{json}{minimal}"), "{}"),
        request("PATCH", "/v1/sessions/nobody", &format!("{json}{minimal}"), "{}"),
        request("PATCH", "/v1/sessions/s", &format!("{json}{minimal}Idempotency-Key: k\r\n"), "{\"c\":4}"),
        request("PATCH", "/v1/sessions/s", &format!("{json}{minimal}If-Match: *\r\n"), "{\"c\":5}"),
        request("PATCH", "/v1/sessions/s", &format!("{json}{minimal}Sidetalk-Life: 1\r\n"), "{\"c\":6}"),
        request("PATCH", "/v1/sessions/s", &format!("{json}{minimal}Origin: null\r\n"), "{\"c\":7}"),
    ]
}

/// Requests that only hyper is to judge.
fn odd() -> Vec<String> {
    let get = request("GET", "/v1/sessions/s", "", "");
    let with = |line: &str| request("GET", "/v1/sessions/s", line, "");
    let chunked = request("PUT", "/v1/documents/d", "Transfer-Encoding: chunked\r\n", "");
    vec![
        get.replace("HTTP/1.1", "HTTP/1.0"),
        get.replace("HTTP/1.1", "HTTP/1.0").replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n"),
        get.replace(" /v1", " http://localhost/v1"),
        get.replace(" /v1", " http://evil.example/v1"),
        get.replace("Host: localhost\r\n", ""),
        get.replace("\r\n", "\n"),
        get.replace("GET", "TRACE"),
        get.replace("GET", "G\u{0}T"),
        format!("\r\n\r\n{get}"),
        with("Host: localhost\r\n"),
        with("Content-Length: 3\r\n") + "abc",
        with("Content-Length: 3\r\nContent-Length: 4\r\n") + "abcd",
        with("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + "0\r\n\r\n",
        with("Transfer-Encoding: gzip\r\n"),
        with("Content-Length: +0\r\n"),
        with("Content-Length : 0\r\n"),
        with("X: a\r\n b\r\n"),
        with(" X: a\r\n"),
        with("X: \u{0}\r\n"),
        with("Expect: 100-continue\r\n"),
        with("Upgrade: websocket\r\nConnection: upgrade\r\n"),
        with("Connection: close, x\r\n"),
        with(&"X: y\r\n".repeat(90)),
        with(&"X: y\r\n".repeat(200)),
        with(&format!("X: {}\r\n", "y".repeat(20_000))),
        request(
            "PUT",
            "/v1/documents/d",
            "Content-Type: application/json\r\n",
            &format!("{{\"a\":\"{}\"}}", "z".repeat(70_000)),
        ),
        request("GET", "/v1/sessions/\u{1}", "", ""),
        request("OPTIONS", "/v1/sessions/s", "", ""),
        request("OPTIONS", "*", "", ""),
        request("CONNECT", "localhost:1", "", ""),
        format!("{chunked}7\r\n{{\"a\":1}}\r\n0\r\n\r\n"),
        format!("{chunked}zz\r\n"),
        "rubbish\r\n\r\n".to_owned(),
    ]
}

fn last() -> String {
    request("GET", "/livez", "Connection: close\r\n", "")
}

#[tokio::test(start_paused = true)]
async fn each_simple_request_is_answered_as_hyper_answers_it() {
    for with_token in [false, true] {
        for one in simple() {
            let (answers, by_hyper) = both(with_token, (one.clone() + &last()).as_bytes()).await;
            assert!(!by_hyper, "hyper has answered {one}");
            assert_eq!(answers.matches("HTTP/1.1 ").count(), 2, "{one}\n{answers}");
        }
    }
}

#[tokio::test]
async fn what_needs_no_wait_is_answered_from_its_bytes() {
    let api = an_api(false);
    let patch = |target: &str, lines: &str, body: &str| {
        lane::at_once(&api, request("PATCH", target, lines, body).as_bytes())
    };
    let json = "Content-Type: application/json\r\n";
    let both = &format!("{json}Prefer: return=minimal\r\n");
    assert!(patch("/v1/sessions/s", both, "{\"a\":1}"));
    assert!(patch("/v1/documents/d", &both.replace("json", "merge-patch+json"), "{}"));
    assert!(patch("/v1/sessions/gone", both, "{}"), "a refusal is an answer");
    for (target, lines, body) in [
        ("/v1/sessions/s", json, "{}"),
        ("/v1/sessions/s", "Prefer: return=minimal\r\n", "{}"),
        ("/v1/sessions/s", &*format!("{both}{json}"), "{}"),
        ("/v1/sessions/s", &format!("{both}Idempotency-Key: k\r\n"), "{}"),
        ("/v1/sessions/s", &format!("{both}If-Match: *\r\n"), "{}"),
        ("/v1/sessions/s", &both.replace("json", "vnd.sidetalk.ops+json"), "[]"),
        ("/v1/sessions/s", both, "[]"),
        ("/v1/sessions/s", both, "{"),
        ("/v1/sessions/s?ttl=5", both, "{}"),
        ("/v1/sessions/nobody", both, "{}"),
        ("/v1/counters/c", both, "{}"),
    ] {
        assert!(!patch(target, lines, body), "{target} {lines} {body}");
    }
    let get = request("GET", "/v1/sessions/s", "", "");
    assert!(!lane::at_once(&api, get.as_bytes()), "it is not kept yet");
    assert!(!lane::at_once(&api, get.replace("localhost", "evil.example").as_bytes()));
    let patch = request("PATCH", "/v1/sessions/s", both, "{}");
    assert!(!lane::at_once(&an_api(true), patch.as_bytes()), "it shows no token");
}

#[tokio::test(start_paused = true)]
async fn what_is_odd_is_answered_by_hyper() {
    for one in odd() {
        let (_, by_hyper) = both(false, (simple()[0].clone() + &one + &last()).as_bytes()).await;
        assert!(by_hyper, "the lane has answered {one}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_is_answered_in_order() {
    let all = simple().concat() + &last();
    let (answers, by_hyper) = both(false, all.as_bytes()).await;
    assert!(!by_hyper);
    assert_eq!(answers.matches("HTTP/1.1 ").count(), simple().len() + 1);
    // With hyper in the middle, and nothing after the end.
    let mixed = simple()[0].clone() + &odd()[2] + &simple().concat() + &last() + &simple()[0];
    let (answers, by_hyper) = both(false, mixed.as_bytes()).await;
    assert!(by_hyper && answers.matches("HTTP/1.1 ").count() == simple().len() + 3);
}

#[tokio::test(start_paused = true)]
async fn it_does_not_matter_where_the_bytes_are_split() {
    let some = [0, 17, 32, 35, 44].map(|at| simple()[at].clone()).concat() + &odd()[31] + &last();
    let fake = Fake::new();
    let api = api_of(&fake, false);
    // What it writes is there from the second time on; and then it is always the same moment.
    exchange(Arc::clone(&api), &[some.as_bytes()], SHORT, Way::Hyper).await;
    let again = || {
        fake.state.lock().clock = 1_000;
        Arc::clone(&api)
    };
    let (whole, _) = exchange(again(), &[some.as_bytes()], SHORT, Way::Hyper).await;
    assert_eq!(whole.matches("HTTP/1.1 ").count(), 7, "{whole}");
    for at in 1..some.len() {
        let (front, back) = some.as_bytes().split_at(at);
        let (split, _) = exchange(again(), &[front, back], SHORT, Way::Lane).await;
        assert_eq!(split, whole, "split at {at}");
    }
    // So slowly that the lane has no patience.
    for pause in [1, 200] {
        let bytes: Vec<&[u8]> = some.as_bytes().chunks(7).collect();
        let pause = Duration::from_millis(pause);
        let (crumbs, _) = exchange(again(), &bytes, pause, Way::Lane).await;
        assert_eq!(crumbs, whole, "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_listens_on_gets_the_answers_to_whole_requests() {
    for rest in
        ["", "GET /li", "PUT /v1/documents/d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"]
    {
        let (mut client, server) = duplex(1 << 16);
        let serving = tokio::spawn(serve_one(an_api(false), server, Way::Lane));
        let text = simple()[0].repeat(2) + rest;
        client.write_all(text.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answers = String::new();
        timeout(Duration::from_secs(1), client.read_to_string(&mut answers)).await.unwrap().unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{rest}: {answers}");
        serving.await.unwrap();
    }
}

/// A connection to an API on which a request waits for other nodes, for ever.
async fn stuck(ahead: &str) -> (Arc<Api>, DuplexStream, tokio::task::JoinHandle<bool>) {
    let fake = Fake::new();
    fake.state.lock().stuck = true;
    let api = serve::api(Arc::clone(&fake) as _, ApiSettings::default(), watch::channel(false).1);
    let (mut client, server) = duplex(1 << 16);
    let serving = tokio::spawn(serve_one(Arc::clone(&api), server, Way::Lane));
    let text = ahead.to_owned() + &request("GET", "/v1/sessions/nobody", "", "");
    client.write_all(text.as_bytes()).await.unwrap();
    sleep(SHORT).await;
    assert_eq!((fake.state.lock().waits.len(), api.load.requests()), (1, 1));
    (api, client, serving)
}

#[tokio::test(start_paused = true)]
async fn what_waits_ends_with_its_client_and_holds_up_no_answer_before_it() {
    let (api, mut client, serving) = stuck(&request("GET", "/livez", "", "")).await;
    let mut answer = [0; 12];
    timeout(SHORT, client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    client.shutdown().await.unwrap();
    assert!(!timeout(Duration::from_secs(1), serving).await.unwrap().unwrap());
    assert_eq!(api.load.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_what_is_idle_and_not_what_waits() {
    let (api, client, serving) = stuck("").await;
    let (mut idle, server) = duplex(1 << 16);
    let idling = tokio::spawn(serve_one(Arc::clone(&api), server, Way::Lane));
    idle.write_all(b"GET /li").await.unwrap();
    sleep(SHORT).await;
    api.paces.close();
    assert!(!timeout(Duration::from_secs(1), idling).await.unwrap().unwrap());
    let mut serving = pin!(serving);
    assert!(timeout(Duration::from_secs(1), &mut serving).await.is_err());
    drop(client);
    assert!(!timeout(Duration::from_secs(1), serving).await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_before_the_end_says_so() {
    let api = an_api(false);
    let (mut client, server) = duplex(1 << 16);
    let serving = tokio::spawn(serve_one(Arc::clone(&api), server, Way::Lane));
    for (at, connection) in [(0, false), (1, true)] {
        if at == 1 {
            // Before the request is read, and after it was sent.
            api.paces.close();
        }
        client.write_all(simple()[0].as_bytes()).await.unwrap();
        if at == 0 {
            sleep(SHORT).await;
        }
        let mut answer = vec![0; 16 << 10];
        let read = client.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(answer.contains("\r\nconnection: close\r\n"), connection, "{answer}");
    }
    assert!(!serving.await.unwrap());
}

/// A request of any sort, sometimes with a byte that is another.
fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<String> = simple().into_iter().chain(odd()).filter(|text| text.len() < 9_000).collect();
    let broken = prop_oneof![
        3 => Just(None),
        1 => (any::<prop::sample::Index>(), prop_oneof![Just(b'\n'), Just(b' '), Just(b':'), any::<u8>()]).prop_map(Some),
    ];
    (proptest::sample::select(all), broken).prop_map(|(text, broken)| {
        let mut bytes = text.into_bytes();
        if let Some((at, byte)) = broken {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

fn is_within_a_body(requests: &[Vec<u8>], at: usize) -> bool {
    let mut start = 0;
    requests.iter().any(|request| {
        let head =
            request.windows(4).position(|four| four == b"\r\n\r\n").map_or(request.len(), |end| end + 4);
        let body = start + head..start + request.len();
        start += request.len();
        body.contains(&at)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sent_the_answers_are_those_of_hyper(
        requests in vec(any_request(), 1..5), cut in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let bytes = [requests.concat(), last().into_bytes()].concat();
        let (front, back) = bytes.split_at(cut.index(bytes.len()));
        let (lane, hyper) = runtime.block_on(async {
            let lane = exchange(an_api(false), &[front, back], SHORT, Way::Lane).await.0;
            (lane, exchange(an_api(false), &[front, back], SHORT, Way::Hyper).await.0)
        });
        // A request that is refused for its head is answered by hyper before its body is whole, and nothing after it.
        let refused_early = is_within_a_body(&requests, front.len()) && lane.starts_with(&hyper);
        prop_assert!(lane == hyper || refused_early, "{:?}\n{lane}\n{hyper}", String::from_utf8_lossy(&bytes));
    }
}

//! Answers that are lost, and tokens that are carried.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Server;
use crate::*;

/// What to do with a connection's one request.
enum Act {
    Lose,
    Answer(&'static str),
    /// The status of a process that has been running for so long.
    StartedUnixMillis(u64),
}

/// Takes one request on each connection, and gives all of them.
async fn scripted(acts: Vec<Act>) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&listener.local_addr().unwrap().to_string()).unwrap();
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        for act in acts {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            // The bodies of these calls come with their heads.
            while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            asked.push(String::from_utf8(request).unwrap());
            let body = match act {
                Act::Lose => continue,
                Act::Answer(body) => body.to_owned(),
                Act::StartedUnixMillis(at) => json!({ "started_unix_millis": at }).to_string(),
            };
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
        asked
    });
    (client, served)
}

fn key_of(request: &str) -> &str {
    let line = request.lines().find(|line| line.starts_with("idempotency-key: "));
    line.unwrap_or_else(|| panic!("no key: {request}"))
}

#[tokio::test]
async fn without_being_told_no_call_is_made_twice() {
    let (client, asked) = scripted(vec![Act::Lose]).await;
    let error = client.document("d").get().await.unwrap_err();
    assert!(matches!(error, Error::Broken(_)), "{error}");
    assert_eq!(asked.await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_read_is_made_again() {
    let (client, asked) = scripted(vec![Act::Lose, Act::Answer(r#"{"a":1}"#)]).await;
    assert_eq!(client.with_repeats().document("d").get().await.unwrap().value, json!({"a":1}));
    let asked = asked.await.unwrap();
    assert_eq!(asked[0], asked[1]);
    assert!(!asked[0].contains("idempotency-key"), "{}", asked[0]);
}

#[tokio::test]
async fn a_change_is_made_again_with_its_key_by_the_process_that_knows_it() {
    let acts = vec![Act::Lose, Act::StartedUnixMillis(1), Act::Answer(r#"{"value":1}"#)];
    let (client, asked) = scripted(acts).await;
    assert_eq!(client.with_repeats().counter("c").add(1).await.unwrap().value.value, 1);
    let asked = asked.await.unwrap();
    assert!(asked[1].starts_with("GET /v1/status "), "{}", asked[1]);
    assert_eq!(key_of(&asked[0]), key_of(&asked[2]));
    assert_eq!(key_of(&asked[0]).len(), "idempotency-key: ".len() + 32);
}

#[tokio::test]
async fn a_change_is_not_made_again_by_a_process_that_was_started_since() {
    let (client, asked) = scripted(vec![Act::Lose, Act::StartedUnixMillis(u64::MAX)]).await;
    let error = client.with_repeats().counter("c").add(1).idempotency_key("mine").await.unwrap_err();
    assert!(error.is_uncertain(), "{error}");
    let asked = asked.await.unwrap();
    assert_eq!(key_of(&asked[0]), "idempotency-key: mine");
}

#[tokio::test]
async fn what_could_undo_something_is_never_made_again() {
    let (client, asked) = scripted(vec![Act::Lose, Act::Lose]).await;
    let client = client.with_repeats();
    for call in [client.document("d").put(&json!({})), client.document("d").destroy().typed()] {
        let error = IntoFuture::into_future(call).await.unwrap_err();
        assert!(matches!(error, Error::Broken(_)), "{error}");
    }
    assert_eq!(asked.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_scope_carries_tokens_from_call_to_call() {
    let token = |text: &str| Token(text.to_owned());
    let behind = Server::answering(200, &[("Sidetalk-Token", "T9"), ("Sidetalk-Behind", "true")], "{}").await;
    let scope = Scope::new([token("T1"), token("T2")]);
    let client = behind.client().scoped(scope.clone());
    client.session("s").get().after([&token("mine")]).await.unwrap();
    assert_eq!(behind.asked().headers["sidetalk-after"], "mine,T1,T2");
    client.session("s").get().await.unwrap();
    // The node has not seen them: they are sent again.
    assert_eq!(behind.asked().headers["sidetalk-after"], "T1,T2");
    assert_eq!(scope.tokens(), [token("T1"), token("T2")]);

    let server = Server::answering(200, &[("Sidetalk-Token", "T3")], "{}").await;
    let client = server.client().scoped(scope.clone());
    client.session("s").patch(&json!({"a": 1})).await.unwrap();
    assert_eq!(server.asked().headers["sidetalk-after"], "T1,T2");
    client.session("s").touch().typed::<Value>().await.unwrap();
    // It has seen them, and its own write.
    assert!(!server.asked().headers.contains_key("sidetalk-after"));
    // For others they all count; of one object's writes the last.
    assert_eq!(scope.tokens(), [token("T1"), token("T2"), token("T3")]);
}

#[tokio::test]
async fn a_session_is_missing_only_when_that_is_certain() {
    let unknown = r#"{"code":"unknown","detail":"d"}"#;
    let server = Server::answering(404, &[], unknown).await;
    assert!(server.client().session("s").find().await.unwrap().is_none());
    let server = Server::answering(410, &[], r#"{"code":"ended","detail":"d"}"#).await;
    assert!(server.client().session("s").find().await.unwrap().is_none());
    let server = Server::answering(404, &[("Sidetalk-Behind", "true")], unknown).await;
    let error = server.client().session("s").find().await.unwrap_err();
    assert!(error.is_unknown() && error.is_behind(), "{error}");
    let server = Server::answering(200, &[], r#"{"a":1}"#).await;
    assert_eq!(server.client().session("s").find().await.unwrap().unwrap().value, json!({"a":1}));
}

/// It has a key that only changes by POST and PATCH are known by.
#[tokio::test]
async fn what_could_undo_something_is_not_made_again_with_a_key_either() {
    let (client, asked) = scripted(vec![Act::Lose]).await;
    let call = client.with_repeats().counter("c").reset().idempotency_key("k");
    let error = IntoFuture::into_future(call).await.unwrap_err();
    assert!(matches!(error, Error::Broken(_)), "{error}");
    assert_eq!(asked.await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_that_waited_for_nothing_shows_nothing() {
    let owed = || Scope::new([Token("T1".to_owned())]);
    for (status, body) in [(200, "{}"), (422, r#"{"code":"bad_json","detail":"d"}"#), (502, "<html>")] {
        let server = Server::answering(status, &[], body).await;
        let client = server.client().scoped(owed());
        for _ in 0..2 {
            let _ = client.document("d").get().await;
            assert_eq!(server.asked().headers["sidetalk-after"], "T1", "{status}");
        }
    }
}

#[tokio::test]
async fn the_calls_of_a_batch_carry_tokens_too() {
    let results = r#"{"results":[
        {"status":200,"headers":{"sidetalk-token":"T2"},"body":{}},
        {"status":404,"headers":{"sidetalk-token":"T3","sidetalk-behind":"true"},"body":{}}]}"#;
    let server = Server::answering(200, &[], results).await;
    let scope = Scope::new([Token("T1".to_owned())]);
    let client = server.client().scoped(scope.clone());
    let mut batch = client.batch();
    batch.push(client.session("s").patch(&json!({"a": 1})).after([&Token("mine".to_owned())])).unwrap();
    batch.push(client.session("u").get()).unwrap();
    batch.send().await.unwrap();
    let asked = server.asked();
    assert!(!asked.headers.contains_key("sidetalk-after"), "a batch as a whole waits for nothing");
    let ops: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(ops["ops"][0]["headers"]["sidetalk-after"], "mine,T1");
    assert_eq!(ops["ops"][1]["headers"]["sidetalk-after"], "T1");
    assert_eq!(scope.tokens(), [Token("T1".to_owned()), Token("T2".to_owned())]);
}

#[tokio::test]
async fn the_token_of_a_write_is_kept_though_its_answer_is_of_another_shape() {
    let server = Server::answering(200, &[("Sidetalk-Token", "T1")], "[]").await;
    let scope = Scope::default();
    let call = server.client().scoped(scope.clone()).session("s").patch(&json!({"a": 1}));
    let error = IntoFuture::into_future(call.typed::<std::collections::BTreeMap<String, i32>>()).await;
    assert!(matches!(error, Err(Error::Unintelligible { .. })));
    assert_eq!(scope.tokens(), [Token("T1".to_owned())]);
}

#[tokio::test]
async fn no_is_only_what_the_node_says_and_is_sure_of() {
    let server = Server::answering(404, &[], "<html>").await;
    assert!(server.client().session("s").find().await.is_err(), "a proxy said so");
    let body = r#"{"code":"not_a_member","detail":"d"}"#;
    let server = Server::answering(404, &[("Sidetalk-Behind", "true")], body).await;
    assert!(server.client().set("s").contains("m").await.unwrap_err().is_behind());
    let server = Server::answering(404, &[], body).await;
    assert!(!server.client().set("s").contains("m").await.unwrap());
}

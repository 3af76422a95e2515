//! The vectors that all clients share: what is sent, and what is made of answers.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::Server;
use crate::*;

fn vectors(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn path_op(op: &Value) -> PathOp {
    let path = texts(&op["path"]);
    let member = || op["member"].as_str().unwrap().to_owned();
    match op["op"].as_str().unwrap() {
        "set" => PathOp::Set { path, value: op["value"].clone() },
        "unset" => PathOp::Unset { path },
        "incr" => PathOp::Incr { path, by: op["by"].as_i64().unwrap() },
        "add" => PathOp::Add { path, member: member() },
        "remove" => PathOp::Remove { path, member: member() },
        other => panic!("no operation: {other}"),
    }
}

/// The call of a vector.
fn call_of(client: &Client, call: &Value) -> Call<Value> {
    let name: ObjectName = call["on"].as_str().unwrap().parse().unwrap();
    let object = client.object(name.clone());
    let value = &call["value"];
    let made = match call["do"].as_str().unwrap() {
        "get" => object.get(),
        "put" => object.put(value),
        "patch" => object.patch(value),
        "ops" => object.ops(&value.as_array().unwrap().iter().map(path_op).collect::<Vec<_>>()),
        "touch" => object.touch(),
        "destroy" => object.destroy().typed(),
        "add" => client.counter(&name.key).add(value.as_i64().unwrap()).typed(),
        "reset" => client.counter(&name.key).reset().typed(),
        "change" => client.set(&name.key).change(&texts(&call["add"]), &texts(&call["remove"])).typed(),
        "add_member" => client.set(&name.key).add(call["member"].as_str().unwrap()).typed(),
        "remove_member" => client.set(&name.key).remove(call["member"].as_str().unwrap()).typed(),
        "clear" => client.set(&name.key).clear().typed(),
        other => panic!("no call: {other}"),
    };
    refine(made, call)
}

fn refine(mut made: Call<Value>, call: &Value) -> Call<Value> {
    if let Some(seconds) = call["ttl_seconds"].as_u64() {
        made = made.ttl_seconds(seconds);
    }
    if let Some(millis) = call["wait_millis"].as_u64() {
        made = made.wait(Duration::from_millis(millis));
    }
    let acks = match &call["acks"] {
        Value::Null => None,
        Value::Number(count) => Some(Acks::Count(usize::try_from(count.as_u64().unwrap()).unwrap())),
        word => Some(if word == "all" { Acks::All } else { Acks::Majority }),
    };
    if let Some(acks) = acks {
        made = made.acks(acks, Duration::from_millis(call["acks_timeout_millis"].as_u64().unwrap()));
    }
    let after: Vec<Token> = texts(&call["after"]).into_iter().map(Token).collect();
    made = made.after(&after);
    if let Some(life) = call["life"].as_str() {
        made = made.life(life);
    }
    if let Some(tag) = call["if_none_match"].as_str() {
        made = made.if_none_match(tag);
    }
    if let Some(key) = call["idempotency_key"].as_str() {
        made = made.idempotency_key(key);
    }
    if call["minimal"] == true { made.minimal().typed() } else { made }
}

fn decoded(path: &str) -> Vec<String> {
    path.split('/').map(|segment| percent_decode_str(segment).decode_utf8().unwrap().into_owned()).collect()
}

#[tokio::test]
async fn every_call_is_sent_as_the_vectors_say() {
    let server = Server::answering(200, &[("content-type", "application/json")], "null").await;
    let client = server.client();
    for vector in vectors(include_str!("../../vectors/calls.json")) {
        let name = vector["name"].as_str().unwrap();
        call_of(&client, &vector["call"]).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let asked = server.asked();
        let want = &vector["request"];
        let (method, target) = asked.line.split_once(' ').unwrap();
        assert_eq!(method, want["method"], "{name}");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        assert_eq!(decoded(path), decoded(want["path"].as_str().unwrap()), "{name}");
        let query: Map<String, Value> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        assert_eq!(query, want["query"].as_object().cloned().unwrap_or_default(), "{name}");
        for (header, value) in want["headers"].as_object().into_iter().flatten() {
            assert_eq!(asked.headers[header.as_str()], value.as_str().unwrap(), "{name}: {header}");
        }
        let body =
            if asked.body.is_empty() { Value::Null } else { serde_json::from_str(&asked.body).unwrap() };
        assert_eq!(body, want["body"], "{name}");
    }
}

#[tokio::test]
async fn every_answer_is_read_as_the_vectors_say() {
    for vector in vectors(include_str!("../../vectors/answers.json")) {
        let name = vector["name"].as_str().unwrap();
        let answer = &vector["answer"];
        // A server lives as long as the tests.
        let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let headers: Vec<(&'static str, &'static str)> = answer["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (leak(name), leak(value.as_str().unwrap())))
            .collect();
        let body = match (&answer["body"], answer["text"].as_str()) {
            (_, Some(text)) => text.to_owned(),
            (Value::Null, None) => String::new(),
            (body, None) => body.to_string(),
        };
        let status = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
        let server = Server::answering(status, Box::leak(headers.into_boxed_slice()), leak(&body)).await;
        let got = match server.client().session("s").get().await {
            Ok(answer) => json!({"reply": {
                "value": answer.value, "token": answer.token, "life": answer.life, "acks": answer.acks,
                "expires_in_seconds": answer.expires_in_seconds, "behind": answer.behind, "etag": answer.etag,
            }}),
            Err(error) => json!({"error": {
                "code": error.code(), "status": error.status(), "unknown": error.is_unknown(),
                "ended": error.is_ended(), "behind": error.problem().unwrap().behind,
                "token": error.problem().unwrap().token,
            }}),
        };
        for part in ["reply", "error"] {
            for (field, value) in got[part].as_object().into_iter().flatten() {
                assert_eq!(*value, vector[part][field], "{name}: {field}");
            }
            assert_eq!(got[part].is_null(), vector[part].is_null(), "{name}");
        }
    }
}

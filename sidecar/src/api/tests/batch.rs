//! Batches.

use serde_json::{Value, json};

use super::client::Server;
use super::fake::{Stored, token_at};
use crate::core::identity::{Kind, ObjectId};

async fn results(server: &Server, ops: Value) -> Vec<Value> {
    let reply = server.post("/v1/batch", &json!({ "ops": ops }).to_string()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["results"].as_array().unwrap().clone()
}

#[tokio::test]
async fn each_call_is_answered_as_if_it_came_alone() {
    let server = Server::start().await;
    let results = results(
        &server,
        json!([
            {"method":"PUT","path":"/v1/sessions/s?ttl=9","body":{"a":1}},
            {"method":"PATCH","path":"/v1/sessions/s","body":{"b":2}},
            {"method":"GET","path":"/v1/sessions/s"},
            {"method":"HEAD","path":"/v1/sessions/s"},
            {"method":"POST","path":"/v1/counters/c","body":{"add":5}},
            {"method":"DELETE","path":"/v1/sessions/s"},
            {"method":"GET","path":"/v1/sessions/s"},
            {"method":"GET","path":"/metrics"},
            {"method":"PATCH","path":"/v1/documents/d","body":[{"op":"set","path":["x"],"value":null}],
                "headers":{"Content-Type":"application/vnd.sidetalk.ops+json","Prefer":"return=minimal"}},
            {"method":"GET","path":"/v1/nowhere"},
            {"method":"PUT","path":"/v1/documents/e"},
        ]),
    )
    .await;
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 200, 200, 200, 200, 204, 410, 200, 201, 404, 400]);
    assert_eq!(results[2]["body"], json!({"a":1,"b":2}));
    assert_eq!(results[4]["body"], json!({"value":5}));
    assert_eq!(results[5]["body"], json!(null));
    assert_eq!(results[6]["body"]["code"], "ended");
    assert_eq!(results[7]["body"], json!(null), "what is no JSON is left out");
    assert_eq!(results[9]["body"]["code"], "no_such_path");
    assert_eq!(results[10]["body"]["code"], "bad_json");
    assert_eq!(results[0]["headers"]["sidetalk-expires-in"], "9");
    assert!(results[1]["headers"]["sidetalk-token"].is_string());
    assert_eq!(results[8]["headers"]["preference-applied"], "return=minimal");
}

/// A name with an escape goes the long way.
#[tokio::test]
async fn a_patch_is_answered_the_same_the_short_way() {
    let all = |s: &str, d: &str| {
        let minimal = json!({"prefer":"return=minimal"});
        json!([
            {"method":"PUT","path":format!("/v1/sessions/{s}?ttl=90"),"body":{"a":1}},
            {"method":"PATCH","path":format!("/v1/sessions/{s}"),"body":{"b":2},"headers":minimal},
            {"method":"PATCH","path":format!("/v1/documents/{d}"),"body":{"b":2},"headers":minimal},
            {"method":"PATCH","path":format!("/v1/documents/{d}"),"body":{"b":{"c":3}},"headers":minimal},
            {"method":"PATCH","path":format!("/v1/documents/{d}"),"body":[],"headers":minimal},
            {"method":"PATCH","path":format!("/v1/sessions/{s}"),"body":{"b":2},"headers":{"prefer":"return=minimal","if-match":"*"}},
            {"method":"PATCH","path":format!("/v1/sessions/{s}{s}"),"body":{},"headers":minimal},
            {"method":"DELETE","path":format!("/v1/sessions/{s}")},
            {"method":"PATCH","path":format!("/v1/sessions/{s}"),"body":{},"headers":minimal},
            {"method":"GET","path":format!("/v1/documents/{d}")},
        ])
    };
    let (short, long) = (Server::start().await, Server::start().await);
    let short = results(&short, all("s", "d")).await;
    let statuses: Vec<_> = short.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 204, 201, 204, 422, 204, 404, 204, 410, 200]);
    let long = results(&long, all("%73", "%64")).await;
    assert_eq!(json!(short).to_string(), json!(long).to_string());
}

/// More than go in one turn of the node, and one among them that has to ask the others first.
#[tokio::test]
async fn many_patches_are_answered_in_their_order() {
    let server = Server::start().await;
    let minimal = json!({"prefer":"return=minimal"});
    let patch =
        |path: String, n: usize| json!({"method":"PATCH","path":path,"body":{"n":n},"headers":minimal});
    let mut ops: Vec<Value> = (0..70).map(|n| patch(format!("/v1/documents/d{}", n % 7), n)).collect();
    ops[40] = patch("/v1/sessions/unknown?wait=20".into(), 40);
    ops[50] = json!({"method":"PATCH","path":"/v1/documents/d1","body":{"n":-1}});
    ops.push(json!({"method":"GET","path":"/v1/documents/d6"}));
    let results = results(&server, Value::Array(ops)).await;
    let expected = |at: usize| match at {
        0..7 => 201,
        40 => 404,
        50 | 70 => 200,
        _ => 204,
    };
    for (at, result) in results.iter().enumerate() {
        assert_eq!(result["status"], expected(at), "{at}: {result}");
    }
    assert_eq!(
        (results.len(), &results[50]["body"], &results[70]["body"]),
        (71, &json!({"n":-1}), &json!({"n":69}))
    );
    let tokens: std::collections::BTreeSet<_> =
        results[..40].iter().map(|result| result["headers"]["sidetalk-token"].to_string()).collect();
    assert_eq!(tokens.len(), 40, "each has its own");
}

/// As a session store asks: it names the life that it has loaded, waits for nobody, and carries tokens.
#[tokio::test]
async fn what_waits_for_nothing_more_is_answered_the_same_the_short_way() {
    async fn all(s: &str, d: &str) -> Vec<Value> {
        let server = Server::start().await;
        let path = |query: &str| format!("/v1/sessions/{s}{query}");
        let put = json!([{"method":"PUT","path":path("?ttl=90"),"body":{"a":1}}]);
        let mut all = results(&server, put).await;
        let told = |name: &str| all[0]["headers"][name].as_str().unwrap().to_owned();
        let (life, token) = (told("sidetalk-life"), told("sidetalk-token"));
        let minimal =
            |life: &str| json!({"prefer":"return=minimal","sidetalk-life":life,"sidetalk-after":token});
        let after = json!({"sidetalk-after":token});
        let unseen = token_at(&ObjectId::new(Kind::Session, "s"), 7).to_string();
        let patch = |query: &str, headers: &Value| json!({"method":"PATCH","path":path(query),"body":{"b":2},"headers":headers});
        let get = |query: &str, headers: &Value| json!({"method":"GET","path":path(query),"headers":headers});
        let document = format!("/v1/documents/{d}?wait=0");
        let ops = [
            get("", &json!({})),
            get("?wait=0", &after),
            get("?wait=5", &json!({"sidetalk-after":token,"if-none-match":"*"})),
            get("?wait=60001", &after),
            get("?wait=", &after),
            get("?wait=1&wait=1", &after),
            get("?wait=0", &json!({"sidetalk-after":"rubbish"})),
            get("?wait=0", &json!({"sidetalk-after":unseen})),
            patch("?wait=0", &minimal(&life)),
            patch("?wait=0", &minimal("0000000000000001-999")),
            patch("?wait=0", &minimal("rubbish")),
            patch("?wait=60001", &minimal(&life)),
            patch("?wait=0&ttl=60", &minimal(&life)),
            patch("?wait=0", &json!({"sidetalk-after":unseen,"prefer":"return=minimal"})),
            json!({"method":"PATCH","path":document,"body":{"b":2},"headers":{"prefer":"return=minimal"}}),
            json!({"method":"DELETE","path":path("?wait=0")}),
            patch("?wait=0", &minimal(&life)),
            get("?wait=0", &after),
        ];
        all.extend(results(&server, json!(ops)).await);
        all
    }
    let short = all("s", "d").await;
    let statuses: Vec<_> = short.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    let wants =
        [201, 200, 200, 304, 400, 400, 400, 400, 200, 204, 410, 400, 400, 204, 204, 201, 204, 410, 410];
    assert_eq!(statuses, wants);
    let long = all("%73", "%64").await;
    assert_eq!(json!(short).to_string(), json!(long).to_string());
}

/// The first of them hears last of the session that all are about.
#[tokio::test]
async fn what_is_done_to_one_session_is_done_in_order_though_it_is_asked_for_first() {
    async fn all(headers: &Value, more: Vec<Value>) -> Vec<Value> {
        let server = Server::start().await;
        {
            let mut state = server.fake.state.lock();
            let known = Stored::Live { content: json!({"user":"ada"}), life: None, expires_in_millis: None };
            state.elsewhere.insert(ObjectId::new(Kind::Session, "s"), known);
            state.delays = vec![0, 0, 20, 100];
        }
        let patch = |n: usize| {
            let body = json!({"last":n,n.to_string():n});
            json!({"method":"PATCH","path":"/v1/sessions/s","body":body,"headers":headers})
        };
        let ops: Vec<_> = (1..=3).map(patch).chain(more).collect();
        let results = results(&server, json!(ops)).await;
        assert!(server.fake.state.lock().waits.len() >= 2, "one does not wait for the other to ask");
        results
    }
    let get = json!({"method":"GET","path":"/v1/sessions/s"});
    for headers in [json!({}), json!({"prefer":"return=minimal"})] {
        let read = all(&headers, vec![get.clone()]).await;
        assert_eq!(read[3]["body"], json!({"user":"ada","last":3,"1":1,"2":2,"3":3}), "{read:?}");
        let put = json!({"method":"PUT","path":"/v1/sessions/s","body":{"put":true}});
        let patch = json!({"method":"PATCH","path":"/v1/sessions/s","body":{"last":5},"headers":{}});
        let put = all(&headers, vec![put, patch]).await;
        assert_eq!(put[4]["body"], json!({"put":true,"last":5}), "{put:?}");
        let delete = json!({"method":"DELETE","path":"/v1/sessions/s"});
        let ended = all(&headers, vec![delete, get.clone()]).await;
        let patched = if headers == json!({}) { 200 } else { 204 };
        let statuses: Vec<_> = ended.iter().map(|result| result["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, [patched, patched, patched, 204, 410]);
    }
}

/// What each waits does not add up.
#[tokio::test]
async fn patches_that_stand_behind_each_other_ask_at_once() {
    let server = Server::start().await;
    server.fake.state.lock().delays = vec![10; 50];
    let patch = json!({"method":"PATCH","path":"/v1/sessions/nobody","body":{"a":1}});
    let results = results(&server, json!(vec![patch; 50])).await;
    assert!(results.iter().all(|result| result["status"] == 404), "{results:?}");
    let state = server.fake.state.lock();
    assert_eq!((state.waits.len(), state.delays.len()), (50, 0));
}

#[tokio::test]
async fn a_call_that_waits_holds_up_no_other() {
    let server = Server::start().await;
    server.fake.state.lock().catches_up = true;
    let later = token_at(&ObjectId::new(Kind::Session, "s"), 50).to_string();
    let results = results(
        &server,
        json!([
            {"method":"GET","path":"/v1/sessions/s"},
            {"method":"PUT","path":"/v1/sessions/s","body":{}},
            {"method":"GET","path":"/v1/counters/c","headers":{"sidetalk-after":later}},
        ]),
    )
    .await;
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [404, 201, 200]);
}

#[tokio::test]
async fn what_cannot_be_in_a_batch_is_refused_alone() {
    let server = Server::start().await;
    let results = results(
        &server,
        json!([
            {"method":"POST","path":"/v1/batch","body":{"ops":[]}},
            {"method":"GET","path":"/v1/watch?kind=sessions"},
            {"method":"TRACE","path":"/livez"},
            {"method":"GET","path":"livez"},
            {"method":"GET","path":"http://evil.example/livez"},
            {"method":"GET","path":"/livez","headers":{"bad name":"x"}},
            {"method":"GET","path":"/livez"},
        ]),
    )
    .await;
    let codes: Vec<_> = results.iter().map(|result| result["body"]["code"].clone()).collect();
    assert_eq!(
        json!(codes),
        json!(["not_in_batch", "not_in_batch", "bad_body", "bad_body", "bad_body", "bad_body", null])
    );
    assert_eq!(results[6]["status"], 200);
}

#[tokio::test]
async fn a_batch_has_bounds() {
    let server = Server::start().await;
    let op = json!({"method":"GET","path":"/livez"});
    assert_eq!(results(&server, json!(vec![op.clone(); 1_000])).await.len(), 1_000);
    let over = server.post("/v1/batch", &json!({ "ops": vec![op; 1_001] }).to_string()).await;
    assert_eq!((over.status, over.code().as_str()), (422, "bad_body"));
    for body in
        ["{}", "[]", r#"{"ops":[{"method":"GET"}]}"#, r#"{"ops":[{"method":"GET","path":"/","x":1}]}"#]
    {
        assert_eq!(server.post("/v1/batch", body).await.code(), "bad_body", "{body}");
    }
    assert_eq!(results(&server, json!([])).await.len(), 0);
}

#[tokio::test]
async fn the_answers_of_a_batch_have_a_bound() {
    let server = Server::start().await;
    server.fake.put(Kind::Document, "big", json!({ "a": "x".repeat(1 << 20) }));
    let read = json!({"method":"GET","path":"/v1/documents/big"});
    let results = results(&server, json!(vec![read; 40])).await;
    assert_eq!(results[0]["status"], 200);
    assert_eq!(results[39]["status"], 413);
    assert_eq!(results[39]["body"]["code"], "answer_too_large");
}

/// There may be one thread for all connections, and a batch mostly waits for nothing.
#[tokio::test]
async fn others_have_their_turn_while_a_large_batch_is_answered() {
    const PATCHES: usize = 200;
    let server = Server::start().await;
    let fake = std::sync::Arc::clone(&server.fake);
    let looked = tokio::spawn(async move {
        let mut in_the_middle = 0;
        loop {
            match fake.state.lock().writes.len() {
                0 => {}
                PATCHES => return in_the_middle,
                _ => in_the_middle += 1,
            }
            tokio::task::yield_now().await;
        }
    });
    let body: serde_json::Map<String, Value> = (0..300).map(|n| (format!("f{n}"), json!(n))).collect();
    let patch = |n: usize| json!({"method":"PATCH","path":format!("/v1/documents/d{n}"),"body":body,"headers":{"prefer":"return=minimal"}});
    let results = results(&server, (0..PATCHES).map(patch).collect()).await;
    assert_eq!(results.len(), PATCHES);
    let looked = tokio::time::timeout(super::client::PATIENCE, looked).await.unwrap().unwrap();
    assert!(looked > 0, "nobody else had the processor from the first write to the last");
}

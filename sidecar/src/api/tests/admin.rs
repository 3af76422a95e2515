//! The node and its cluster, health, chaos.

use std::sync::Arc;

use serde_json::json;

use super::client::Server;
use super::fake::Fake;
use crate::api::settings::ApiSettings;
use crate::core::command::Readiness;
use crate::core::identity::Kind;

#[tokio::test]
async fn status_shows_the_node() {
    let server = Server::start().await;
    let status = server.get("/v1/status").await.json();
    assert_eq!((&status["node"], &status["replica"]), (&json!("n1"), &json!("000000000000feed")));
    assert_eq!(status["readiness"], json!({"ready":true,"state":"ready","reason":"it serves"}));
    assert_eq!((&status["skew_millis"], &status["correction_millis"]), (&json!(-12), &json!(3)));
    assert_eq!(status["diverged_shards"], json!([9]));
    assert_eq!(status["objects"], json!({"sessions":1,"documents":2,"counters":3,"sets":4}));
    assert_eq!(status["figures"]["waits"], json!(5));
    assert_eq!((&status["started_unix_millis"], &status["now_unix_millis"]), (&json!(1_000), &json!(2_000)));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn the_cluster_is_shown_member_by_member() {
    let server = Server::start().await;
    let members = server.get("/v1/cluster").await.json()["members"].clone();
    let states: Vec<_> = members.as_array().unwrap().iter().map(|member| member["state"].clone()).collect();
    assert_eq!(json!(states), json!(["up", "suspect", "down", "left"]));
    assert_eq!(
        members[1],
        json!({"node":"n2","state":"suspect","self":false,"replica":"000000000000feed","started_unix_millis":1000,
            "lag_ops":2,"lag_millis":30,"round_trip_micros":150,"clock_offset_millis":-4})
    );
    assert_eq!(members[0]["self"], json!(true));
    assert_eq!(members[0]["round_trip_micros"], json!(null));
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_why_and_serves_no_objects() {
    let server = Server::start().await;
    assert_eq!(server.get("/readyz").await.json(), json!({"status":"ready"}));
    for (readiness, state) in [
        (Readiness::CatchingUp { shards_left: 7 }, "catching_up"),
        (Readiness::SeekingSponsor, "seeking_sponsor"),
        (Readiness::Refused, "refused"),
        (Readiness::NameInUse, "name_in_use"),
        (Readiness::Leaving, "leaving"),
    ] {
        server.fake.state.lock().readiness = readiness;
        let reply = server.get("/readyz").await;
        assert_eq!((reply.status, reply.code().as_str()), (503, "not_ready"));
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert_eq!((&reply.json()["state"], &reply.json()["fault"]), (&json!(state), &json!("node")));
        let status = server.get("/v1/status").await.json();
        assert_eq!(
            (&status["readiness"]["ready"], &status["readiness"]["state"]),
            (&json!(false), &json!(state))
        );
    }
    server.fake.state.lock().readiness = Readiness::CatchingUp { shards_left: 7 };
    assert_eq!(server.get("/readyz").await.json()["shards_left"], json!(7));
    assert_eq!(server.get("/v1/status").await.json()["readiness"]["shards_left"], json!(7));
    for (method, path, body) in [
        ("GET", "/v1/sessions/s", ""),
        ("PUT", "/v1/sessions/s", "{}"),
        ("PATCH", "/v1/sessions/s", "{}"),
        ("POST", "/v1/sessions/s/touch", ""),
        ("DELETE", "/v1/sessions/s", ""),
        ("GET", "/v1/documents/s", ""),
        ("GET", "/v1/counters/s", ""),
        ("POST", "/v1/counters/s", r#"{"add":1}"#),
        ("GET", "/v1/sets/s", ""),
        ("GET", "/v1/sets/s/m", ""),
        ("GET", "/v1/sessions", ""),
        ("GET", "/v1/watch", ""),
    ] {
        let reply = server.call(method, path, &[("content-type", "application/json")], body).await;
        assert_eq!((reply.status, reply.code().as_str()), (503, "not_ready"), "{method} {path}");
        assert_eq!(reply.header("retry-after"), Some("1"), "{method} {path}");
    }
    for path in ["/livez", "/metrics", "/v1/cluster", "/openapi.json"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let server = Server::start().await;
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.contains("sidetalk_up 1"));
    assert_eq!(server.get("/livez").await.json(), json!({"status":"alive"}));
}

#[tokio::test]
async fn an_object_is_explained() {
    let server = Server::start().await;
    server.fake.put(Kind::Session, "a/b", json!({"x":1}));
    let explained = server.get("/v1/explain/sessions/a%2Fb").await.json();
    assert_eq!((&explained["kind"], &explained["key"]), (&json!("sessions"), &json!("a/b")));
    let life = &explained["lives"][0];
    assert_eq!((&life["life"], &life["state"]), (&json!("0000000000000007-7"), &json!("visible")));
    assert_eq!((&life["created_unix_millis"], &life["expires_unix_millis"]), (&json!(5), &json!(null)));
    assert_eq!(
        life["entries"][0],
        json!({"path":["a","b"],"content":"value","value":{"x":1},"dot":"000000000000feed-4","node":"n1",
            "written_unix_millis":77,"shown":true,"acknowledged_by":["n1","n2"]})
    );
    let contents: Vec<_> =
        (1..4).map(|at| (&life["entries"][at]["content"], &life["entries"][at]["value"])).collect();
    assert_eq!(json!(contents), json!([["object", null], ["member", "m"], ["count", -3]]));
    assert_eq!(life["entries"][3]["node"], json!(null));
    assert_eq!(explained["lives"][1]["state"], "hidden");
    assert_eq!(explained["lives"][2]["state"], "expired");
    assert_eq!(explained["barriers"], json!([{"dot":"000000000000feed-9","until_unix_millis":99}]));
    assert_eq!(server.get("/v1/explain/sessions/nobody").await.code(), "unknown");
}

#[tokio::test]
async fn only_a_member_that_is_not_heard_is_given_up() {
    let server = Server::start().await;
    assert_eq!(server.delete("/v1/cluster/n3").await.status, 204);
    assert_eq!(server.delete("/v1/cluster/n4").await.status, 204, "once more changes nothing");
    for (node, status, code) in
        [("n1", 409, "member_alive"), ("n2", 409, "member_alive"), ("n%2F9", 422, "unknown_peer")]
    {
        let refused = server.delete(&format!("/v1/cluster/{node}")).await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{node}");
    }
}

#[tokio::test]
async fn faults_are_set_shown_and_cleared() {
    let server = Server::start().await;
    assert_eq!(server.get("/v1/chaos").await.json(), json!({"peers":{}}));
    let set = server
        .put("/v1/chaos", r#"{"peers":{"n2":{"blocked":true},"n3":{"delay_ms":150,"loss":0.25}}}"#)
        .await;
    let expected = json!({"peers":{"n2":{"blocked":true,"delay_ms":0,"loss":0.0},
        "n3":{"blocked":false,"delay_ms":150,"loss":0.25}}});
    assert_eq!((set.status, set.json()), (200, expected.clone()));
    assert_eq!(server.get("/v1/chaos").await.json(), expected);
    for (body, code) in [
        (r#"{"peers":{"n2":{"delay_ms":60001}}}"#, "bad_body"),
        (r#"{"peers":{"n2":{"loss":1.01}}}"#, "bad_body"),
        (r#"{"peers":{"n2":{"loss":-0.1}}}"#, "bad_body"),
        (r#"{"peers":{"n2":{"block":true}}}"#, "bad_body"),
        (r#"{"peers":{},"x":1}"#, "bad_body"),
        ("{}", "bad_body"),
        (r#"{"peers":{"stranger":{}}}"#, "unknown_peer"),
    ] {
        let refused = server.put("/v1/chaos", body).await;
        assert_eq!((refused.status, refused.code().as_str()), (422, code), "{body}");
    }
    assert_eq!(server.get("/v1/chaos").await.json(), expected, "what is refused changes nothing");
    assert_eq!(server.delete("/v1/chaos").await.status, 204);
    assert_eq!(server.get("/v1/chaos").await.json(), json!({"peers":{}}));
}

#[tokio::test]
async fn without_the_flag_there_is_no_chaos() {
    let server = Server::with(Arc::new(Fake::with_chaos(None)), ApiSettings::default()).await;
    for method in ["GET", "PUT", "DELETE", "POST"] {
        let reply = server.open(method, "/v1/chaos", &[], "").await;
        assert_eq!(reply.status(), 404, "{method}");
    }
    let document = server.get("/openapi.json").await.json();
    assert!(document["paths"]["/v1/chaos"].is_null());
}

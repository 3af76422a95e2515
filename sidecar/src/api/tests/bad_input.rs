//! Whatever is wrong with a request has a code that says what, and changes nothing.

use std::time::Duration;

use serde_json::json;

use super::client::Server;
use super::fake::Fake;
use crate::api::settings::ApiSettings;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn refused(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let reply = server.call(method, path, headers, body).await;
    let code = reply.code();
    assert_eq!(reply.json()["changed"], json!(false));
    assert!(server.fake.state.lock().writes.is_empty(), "{code}");
    (reply.status, code)
}

#[tokio::test]
async fn bad_keys() {
    let server = Server::start().await;
    let long = format!("/v1/sessions/{}", "x".repeat(513));
    let long_when_decoded = format!("/v1/documents/{}", "%C3%BC".repeat(257));
    for path in [
        &long,
        &long_when_decoded,
        "/v1/sessions/",
        "/v1/documents/",
        "/v1/counters/",
        "/v1/sets/",
        "/v1/sessions/%ff",
        "/v1/sessions/a%zz",
        "/v1/sessions/a%",
        "/v1/counters/%c3%28",
        "/v1/sets/%ff",
        "/v1/sets/%ff/member",
        "/v1/explain/sessions/%ff",
    ] {
        assert_eq!(refused(&server, "GET", path, &[], "").await, (400, "bad_key".into()), "{path}");
    }
    for (method, path) in [
        ("PUT", "/v1/sessions/%ff"),
        ("PATCH", "/v1/sessions/%ff"),
        ("DELETE", "/v1/sessions/%ff"),
        ("POST", "/v1/sessions/%ff/touch"),
        ("PUT", "/v1/documents/%ff"),
        ("POST", "/v1/counters/%ff"),
        ("POST", "/v1/sets/%ff"),
        ("PUT", "/v1/sets/%ff/a"),
    ] {
        assert_eq!(refused(&server, method, path, &[JSON], "{}").await.1, "bad_key", "{method} {path}");
    }
}

#[tokio::test]
async fn bad_queries() {
    let server = Server::start().await;
    let reply = server.put("/v1/sessions/s?tll=5", "{}").await;
    assert_eq!(reply.code(), "unknown_query_parameter");
    let problem = reply.json();
    assert_eq!(
        (&problem["parameter"], &problem["allowed"]),
        (&json!("tll"), &json!(["ttl", "wait", "acks", "timeout"]))
    );
    for query in [
        "ttl=0",
        "ttl=1.5",
        "ttl=-1",
        "ttl=x",
        "ttl=",
        "ttl=1&ttl=2",
        "wait=30001",
        "acks=0",
        "acks=some",
        "timeout=5",
    ] {
        let reply = server.put(&format!("/v1/sessions/s?{query}"), "{}").await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_query_value"), "{query}");
        assert_eq!(reply.json()["parameter"], query.split('=').next().unwrap(), "{query}");
        assert!(reply.json()["allowed"].is_string(), "{query}");
    }
    let bound = server.get("/v1/sessions/s?wait=30001").await;
    assert_eq!(bound.json()["allowed"], json!("an integer from 0 to 30000"));
    for path in [
        "/v1/sessions?limit=0",
        "/v1/sets?limit=1001",
        "/v1/sessions?after=",
        "/v1/watch?kind=session",
        "/v1/documents/d?siblings=yes",
    ] {
        assert_eq!(refused(&server, "GET", path, &[], "").await.1, "bad_query_value", "{path}");
    }
    for path in ["/v1/status?x=1", "/livez?x", "/openapi.json?ttl=1", "/v1/sessions/s?ttl=1", "/v1/chaos?x"] {
        assert_eq!(refused(&server, "GET", path, &[], "").await.1, "unknown_query_parameter", "{path}");
    }
}

#[tokio::test]
async fn bad_json() {
    let server = Server::start().await;
    for body in ["", "{", "nul", "{\"a\":}", "{} {}", "{\"a\":\"\\ud800\"}"] {
        for (method, path) in [
            ("PUT", "/v1/sessions/s"),
            ("PATCH", "/v1/sessions/s"),
            ("PUT", "/v1/documents/s"),
            ("PATCH", "/v1/documents/s"),
            ("POST", "/v1/counters/s"),
            ("POST", "/v1/sets/s"),
            ("POST", "/v1/batch"),
            ("PUT", "/v1/chaos"),
        ] {
            let found = refused(&server, method, path, &[JSON], body).await;
            if path != "/v1/batch" || !body.contains("ud800") {
                assert_eq!(found, (400, "bad_json".into()), "{method} {path} {body}");
            }
        }
    }
    let where_it_is = server.put("/v1/sessions/s", "{\n  \"a\": x\n}").await.json();
    assert!(where_it_is["detail"].as_str().unwrap().contains("line 2"), "{where_it_is}");
}

#[tokio::test]
async fn duplicate_keys_depth_and_roots() {
    let server = Server::start().await;
    let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    for (method, path) in [
        ("PUT", "/v1/sessions/s"),
        ("PATCH", "/v1/sessions/s"),
        ("PUT", "/v1/documents/s"),
        ("PATCH", "/v1/documents/s"),
    ] {
        let twice = server.call(method, path, &[JSON], r#"{"a":{"k":1,"k":2}}"#).await;
        assert_eq!((twice.status, twice.code().as_str()), (400, "duplicate_key"));
        assert_eq!(twice.json()["key"], "k");
        assert_eq!(refused(&server, method, path, &[JSON], &deep(65)).await, (400, "too_deep".into()));
        for body in ["[]", "1", "null", "\"x\""] {
            assert_eq!(refused(&server, method, path, &[JSON], body).await, (422, "not_an_object".into()));
        }
    }
    for (method, path, body) in [
        ("POST", "/v1/counters/c", r#"{"add":1,"add":2}"#),
        ("POST", "/v1/sets/c", r#"{"add":["a"],"add":["b"]}"#),
        ("PUT", "/v1/chaos", r#"{"peers":{"n2":{},"n2":{}}}"#),
    ] {
        assert_eq!(refused(&server, method, path, &[JSON], body).await.1, "duplicate_key", "{path}");
    }
    for path in ["/v1/counters/c", "/v1/sets/c"] {
        assert_eq!(refused(&server, "POST", path, &[JSON], &deep(65)).await.1, "too_deep", "{path}");
    }
    assert_eq!(refused(&server, "PUT", "/v1/chaos", &[JSON], &deep(65)).await.1, "too_deep");
    let value = deep(65);
    let ops = format!(r#"[{{"op":"set","path":["a"],"value":{value}}}]"#);
    assert_eq!(server.ops("/v1/sessions/s", &ops).await.code(), "too_deep");
    assert_eq!(server.put("/v1/sessions/s", &deep(64)).await.status, 201);
}

#[tokio::test]
async fn wrong_content_types() {
    let server = Server::start().await;
    for (method, path, header) in [
        ("PUT", "/v1/sessions/s", "accept"),
        ("PATCH", "/v1/sessions/s", "accept-patch"),
        ("PUT", "/v1/documents/s", "accept"),
        ("PATCH", "/v1/documents/s", "accept-patch"),
        ("POST", "/v1/counters/s", "accept"),
        ("POST", "/v1/sets/s", "accept"),
        ("POST", "/v1/batch", "accept"),
        ("PUT", "/v1/chaos", "accept"),
    ] {
        let reply = server.call(method, path, &[("content-type", "text/plain")], "{}").await;
        assert_eq!((reply.status, reply.code().as_str()), (415, "unsupported_media_type"), "{path}");
        assert!(reply.header(header).unwrap().contains("application/json"));
        assert!(reply.json()["allowed"].is_array());
    }
    assert_eq!(refused(&server, "PATCH", "/v1/sessions/s", &[], "{}").await.0, 415);
    assert_eq!(server.call("PUT", "/v1/sessions/s", &[], "{}").await.status, 201);
    assert_eq!(server.call("POST", "/v1/counters/s", &[], r#"{"add":1}"#).await.status, 200);
}

#[tokio::test]
async fn bad_headers() {
    let server = Server::start().await;
    let many = vec!["AQAAAAAAAAAAAA"; 65].join(",");
    for value in ["", ",", "nonsense", "AQAAAAAAAAAAAA,nonsense", &many] {
        for (method, path) in [
            ("GET", "/v1/sessions/s"),
            ("GET", "/v1/sets/s/m"),
            ("GET", "/v1/sessions"),
            ("PUT", "/v1/sessions/s"),
            ("DELETE", "/v1/sessions/s"),
        ] {
            let headers = [JSON, ("sidetalk-after", value)];
            assert_eq!(
                refused(&server, method, path, &headers, "{}").await,
                (400, "bad_token".into()),
                "{value}"
            );
        }
    }
    for value in ["", "1-1", "000000000000000g-1", "0000000000000001", "0000000000000001--1"] {
        for (method, path) in
            [("PATCH", "/v1/sessions/s"), ("DELETE", "/v1/sessions/s"), ("POST", "/v1/sessions/s/touch")]
        {
            let headers = [JSON, ("sidetalk-life", value)];
            assert_eq!(
                refused(&server, method, path, &headers, "{}").await,
                (400, "bad_life".into()),
                "{value}"
            );
        }
    }
    for headers in [[("if-match", "x"), JSON], [("if-none-match", ""), JSON]] {
        for (method, path) in
            [("GET", "/v1/sessions/s"), ("PUT", "/v1/sessions/s"), ("DELETE", "/v1/counters/s")]
        {
            assert_eq!(
                refused(&server, method, path, &headers, "{}").await,
                (400, "bad_precondition".into())
            );
        }
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_none() {
    let server = Server::start().await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/sessions/s",
        "/v1/sessions/s/x",
        "/v1/sessions/s/touch/",
        "/v1/session/s",
        "/v1/explain/x/y",
        "/v1/sets/a/b/c",
    ] {
        assert_eq!(refused(&server, "GET", path, &[], "").await, (404, "no_such_path".into()), "{path}");
    }
    for (method, path, allowed) in [
        ("POST", "/v1/sessions/s", "DELETE,GET,HEAD,PATCH,PUT"),
        ("GET", "/v1/sessions/s/touch", "POST"),
        ("PUT", "/v1/counters/c", "DELETE,GET,HEAD,POST"),
        ("DELETE", "/v1/sessions", "GET,HEAD"),
        ("GET", "/v1/batch", "POST"),
        ("POST", "/livez", "GET,HEAD"),
        ("OPTIONS", "/v1/documents/d", "DELETE,GET,HEAD,PATCH,PUT"),
    ] {
        let reply = server.call(method, path, &[], "").await;
        assert_eq!((reply.status, reply.code().as_str()), (405, "method_not_allowed"), "{method} {path}");
        let mut allow: Vec<_> = reply.header("allow").unwrap().split(',').collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed);
    }
}

#[tokio::test]
async fn bodies_up_to_a_mebibyte() {
    let server = Server::start().await;
    let fits = format!("{{\"a\":\"{}\"}}", "x".repeat((1 << 20) - 8));
    assert_eq!(fits.len(), 1 << 20);
    assert_eq!(server.put("/v1/documents/d", &fits).await.status, 201);
    let over = format!("{fits} ");
    for (method, path) in [
        ("PUT", "/v1/sessions/s"),
        ("PATCH", "/v1/sessions/s"),
        ("POST", "/v1/sessions/s/touch"),
        ("POST", "/v1/counters/s"),
        ("PUT", "/v1/sets/s/m"),
        ("POST", "/v1/batch"),
    ] {
        let reply = server.call(method, path, &[JSON], &over).await;
        assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"), "{path}");
    }
    let request = "PUT /v1/sessions/s HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
                   content-length: 9999999\r\n\r\n";
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "refused before it is sent: {answer}");
}

#[tokio::test]
async fn bodies_that_do_not_come() {
    let settings = ApiSettings { body_timeout: Duration::from_millis(20), ..ApiSettings::default() };
    let server = Server::with(Fake::new(), settings).await;
    let slow = "PUT /v1/sessions/s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{";
    let answer = server.raw(slow.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("incomplete_body"), "{answer}");
    let broken =
        "PUT /v1/sessions/s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n";
    // The connection is of no more use, and is closed.
    server.raw(broken.as_bytes()).await;
    assert!(server.fake.state.lock().writes.is_empty());
}

#[tokio::test]
async fn bodies_in_pieces_are_put_together() {
    let server = Server::start().await;
    let chunked = "PUT /v1/sessions/s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                   transfer-encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n";
    let answer = server.raw(chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.ends_with("{\"a\":1}"), "{answer}");
}

#[tokio::test]
async fn a_web_page_is_kept_out() {
    let settings = ApiSettings { hosts: vec!["sidecar".into()], ..ApiSettings::default() };
    let server = Server::with(Fake::new(), settings).await;
    for host in ["localhost", "127.0.0.1:80", "[::1]:9", "sidecar:7411"] {
        assert_eq!(server.call("GET", "/livez", &[("host", host)], "").await.status, 200, "{host}");
    }
    for path in ["/livez", "/v1/sessions/s", "/nowhere"] {
        let rebound = [("host", "evil.example"), JSON];
        assert_eq!(refused(&server, "GET", path, &rebound, "").await, (403, "host_not_local".into()));
        let crossed = [("origin", "http://evil.example"), JSON];
        assert_eq!(refused(&server, "GET", path, &crossed, "").await, (403, "foreign_origin".into()));
        assert_eq!(refused(&server, "PUT", path, &[("origin", "null"), JSON], "{}").await.0, 403);
    }
    let own = format!("http://{}", server.address);
    assert_eq!(server.call("GET", "/livez", &[("origin", &own)], "").await.status, 200);
    let absolute = "GET http://evil.example/livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(server.raw(absolute.as_bytes()).await.starts_with("HTTP/1.1 403 "));
    let old = "GET /readyz HTTP/1.0\r\n\r\n";
    assert!(server.raw(old.as_bytes()).await.starts_with("HTTP/1.0 200 "));
}

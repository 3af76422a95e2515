//! The limit on memory: what makes the state grow is refused, everything else goes on, and nobody differs.

use serde_json::{Value, json};
use sidetalk_client::{Client, Kind};
use sidetalk_tests::{Cluster, Options, eventually};

const LIMIT: u64 = 16 << 20;

/// Keys that are tried. By hand: `SIDETALK_TEST_KEYS=1000000`.
fn keys() -> usize {
    std::env::var("SIDETALK_TEST_KEYS").ok().and_then(|text| text.parse().ok()).unwrap_or(60_000)
}

/// Puts distinct keys until one is refused. Gives those that were taken, and how many were refused.
async fn fill(client: &Client, keys: usize) -> (usize, usize) {
    let (mut taken, mut refused) = (0, 0);
    for page in 0..keys.div_ceil(500) {
        let mut batch = client.batch();
        for key in 0..500.min(keys - page * 500) {
            let body =
                json!({"user": "somebody", "cart": {"apples": 1, "pears": 2}, "text": "x".repeat(120)});
            batch.push(client.document(&format!("d{page}-{key}")).put(&body)).unwrap();
        }
        for result in batch.send().await.unwrap() {
            match result.status {
                201 => taken += 1,
                507 => {
                    assert_eq!(result.body["code"], "out_of_memory");
                    refused += 1;
                }
                other => panic!("{other}: {:?}", result.body),
            }
        }
    }
    (taken, refused)
}

#[tokio::test]
async fn at_the_limit_growth_is_refused_and_everything_else_goes_on() {
    let limited = Options::new("").node(0, "--max-memory 16MiB");
    let cluster = Cluster::start_with(2, limited).await;
    let (small, large) = (cluster.client(0), cluster.client(1));
    let before = cluster[0].resident_bytes();
    let (taken, refused) = fill(&small, keys()).await;
    assert!(taken > 1_000 && refused > 1_000, "{taken} taken, {refused} refused");
    let grown = cluster[0].resident_bytes() - before;
    println!(
        "{taken} keys taken, {refused} refused; the process has grown by {} MiB from {} MiB",
        grown >> 20,
        before >> 20
    );
    assert!(grown < 4 * LIMIT, "{} MiB", grown >> 20);
    assert!(cluster[0].log().iter().any(|line| line.contains("--max-memory")));
    let figures = small.status().await.unwrap().value["figures"].clone();
    assert!(figures["memory_bytes"].as_u64().unwrap() >= LIMIT / 10 * 9, "{figures}");
    assert_eq!(cluster[0].metric("sidetalk_bound{what=\"memory_bytes\"}").await as u64, LIMIT);
    // What does not grow goes on; what peers send is taken, and the two do not differ.
    let first = small.document("d0-0");
    first.put(&json!({"short": 1})).await.unwrap();
    assert_eq!(first.get().await.unwrap().value, json!({"short": 1}));
    large.document("from-the-other").put(&json!({"text": "y".repeat(1_000)})).await.unwrap();
    eventually("it is taken", || async { small.document("from-the-other").get().await }).await;
    // The shorter one has made a little room.
    for number in 0.. {
        match small.session(&format!("s{number}")).put(&json!({"a": 1})).await {
            Ok(_) => assert!(number < 20_000, "nothing is refused"),
            Err(error) => {
                assert_eq!((error.status(), error.code()), (Some(507), Some("out_of_memory")));
                break;
            }
        }
    }
    small.session("nobody").destroy().await.unwrap();
    for page in 0..keys().div_ceil(500) {
        let mut batch = small.batch();
        for key in 0..500 {
            batch.push(small.document(&format!("d{page}-{key}")).destroy()).unwrap();
        }
        batch.send().await.unwrap();
    }
    println!("all destroyed: {} MiB", cluster[0].resident_bytes() >> 20);
    eventually("there is room again", || async { small.document("again").put(&json!({"a": 1})).await }).await;
    cluster.agree("documents/again", &json!({"a": 1})).await;
    for client in [&small, &large] {
        eventually("both have the same", || async {
            let keys = client.list(Kind::Documents, "").await.unwrap().value.keys;
            if keys == ["again", "from-the-other"] { Ok(()) } else { Err(format!("{} keys", keys.len())) }
        })
        .await;
        let status = client.status().await.unwrap().value;
        assert_eq!(status["diverged_shards"], Value::Array(Vec::new()));
    }
}

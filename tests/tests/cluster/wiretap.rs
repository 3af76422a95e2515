//! What somebody on the network sees.

use std::collections::BTreeMap;

use serde_json::json;
use sidetalk_tests::{Cluster, Options, SecretFile, Tap, eventually};
use tokio::net::UdpSocket;

const ID: &str = "session-id-in-the-clear";
const FIELD: &str = "field-in-the-clear";
const VALUE: &str = "value-in-the-clear";

/// Two nodes that reach each other through taps only.
async fn tapped(arguments: &str) -> (Cluster, [Tap; 2]) {
    let taps = [Tap::open().await, Tap::open().await];
    let mut options = Options { of_node: BTreeMap::new(), ..Options::new(arguments) };
    for (index, tap) in taps.iter().enumerate() {
        // The first knows nobody: what the second is told to join goes to its tap.
        options = options.node(index, &format!("--advertise {}", tap.address()));
    }
    options = options.node(1, &format!("--join {}", taps[0].address()));
    let mut cluster = Cluster::start_with(0, options).await;
    cluster.add_unready().await;
    taps[0].forward(cluster[0].gossip());
    cluster.add_unready().await;
    taps[1].forward(cluster[1].gossip());
    cluster.all_up().await;
    (cluster, taps)
}

async fn talk(cluster: &Cluster) {
    for (from, to) in [(0, 1), (1, 0)] {
        let id = format!("{ID}-{from}");
        cluster.client(from).session(&id).put(&json!({FIELD: VALUE})).await.unwrap();
        eventually("it has come", || async { cluster.client(to).session(&id).get().await }).await;
    }
}

/// What of the secrets stands in what the taps have seen.
fn seen(taps: &[Tap; 2]) -> Vec<&'static str> {
    let traffic: Vec<Vec<u8>> =
        taps.iter().flat_map(|tap| [tap.datagrams(), tap.streams()].concat()).collect();
    let has = |secret: &str| {
        traffic.iter().any(|bytes| bytes.windows(secret.len()).any(|part| part == secret.as_bytes()))
    };
    [ID, FIELD, VALUE, "n0", "n1"].into_iter().filter(|secret| has(secret)).collect()
}

/// The names of nodes are two bytes: random ones may look like them. The rest is long enough.
const SECRETS: [&str; 3] = [ID, FIELD, VALUE];

#[tokio::test]
async fn with_a_key_nobody_on_the_network_reads_anything_and_without_one_everything() {
    let key = SecretFile::key("wiretap");
    let (cluster, taps) = tapped(&format!("--cluster-key-file {}", key.path())).await;
    talk(&cluster).await;
    let bytes: usize = taps.iter().flat_map(Tap::streams).map(|stream| stream.len()).sum();
    assert!(bytes > 1_000, "nothing went through the taps");
    assert!(!taps[0].datagrams().is_empty() && !taps[1].datagrams().is_empty());
    let seen_with_key: Vec<_> = seen(&taps).into_iter().filter(|what| SECRETS.contains(what)).collect();
    assert_eq!(seen_with_key, Vec::<&str>::new());
    drop(cluster);
    let (cluster, taps) = tapped("").await;
    talk(&cluster).await;
    for secret in SECRETS {
        assert!(seen(&taps).contains(&secret), "the test would not find {secret}");
    }
}

#[tokio::test]
async fn captured_datagrams_are_worth_nothing() {
    let key = SecretFile::key("replayed");
    let (cluster, taps) = tapped(&format!("--cluster-key-file {}", key.path())).await;
    talk(&cluster).await;
    let captured: Vec<Vec<u8>> = taps.iter().flat_map(Tap::datagrams).collect();
    assert!(captured.len() > 4);
    let attacker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for node in cluster.running() {
        for datagram in &captured {
            attacker.send_to(datagram, node.gossip()).await.unwrap();
        }
        eventually("they are refused", || async {
            let of = |reason: &str| format!("sidetalk_gossip_dropped_total{{reason=\"{reason}\"}}");
            let refused = node.metric(&of("replayed")).await;
            let strange = node.metric(&of("unaddressed")).await;
            if refused > 0.0 && refused + strange >= captured.len() as f64 {
                Ok(())
            } else {
                Err(format!("{refused} {strange}"))
            }
        })
        .await;
    }
    cluster.all_up().await;
}

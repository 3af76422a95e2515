//! What chitchat would cost as the carrier of data: `cargo bench -p sidetalk --bench chitchat`.
//!
//! One node holds `keys` key-values; a peer asks that lacks one of them, or that has none. Times from the question
//! to the answer, through the library's own in-memory transport. The numbers are quoted in decision 2.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a benchmark that cannot run says why")]

use std::net::SocketAddr;
use std::time::Duration;

use chitchat::transport::{ChannelTransport, Socket, Transport as _};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, FailureDetectorConfig, Serializable as _,
    spawn_chitchat,
};
use divan::Bencher;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

const KEYS: [u64; 4] = [0, 1_000, 10_000, 100_000];

/// A stored session is longer; it only makes this worse.
const VALUE: &str = "0123456789abcdef0123456789abcdef";

struct Pair {
    runtime: Runtime,
    _node: ChitchatHandle,
    at: SocketAddr,
    id: ChitchatId,
    peer: Box<dyn Socket>,
}

impl Pair {
    fn new(keys: u64) -> Self {
        let at: SocketAddr = ([127, 0, 0, 1], 1).into();
        let id = ChitchatId::new("node", 1, at);
        let config = ChitchatConfig {
            chitchat_id: id.clone(),
            cluster_id: "bench".into(),
            // Nothing but questions.
            gossip_interval: Duration::from_secs(3_600),
            listen_addr: at,
            seed_nodes: Vec::new(),
            failure_detector_config: FailureDetectorConfig::default(),
            marked_for_deletion_grace_period: Duration::from_secs(3_600),
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let data = (0..keys).map(|key| (format!("session/{key:032}"), VALUE.to_owned())).collect();
        let runtime = Runtime::new().expect("a runtime");
        let (node, peer) = runtime.block_on(async {
            let transport = ChannelTransport::with_mtu(65_507);
            let node = spawn_chitchat(config, data, &transport).await.expect("a node");
            (node, transport.open(([127, 0, 0, 1], 2).into()).await.expect("a socket"))
        });
        Self { runtime, _node: node, at, id, peer }
    }

    /// Asks as one who has the first `versions` changes of the node.
    fn ask(&mut self, versions: u64) -> ChitchatMessage {
        let mut digest = vec![1, 0];
        self.id.serialize(&mut digest);
        [1u64, 0, versions].iter().for_each(|number| number.serialize(&mut digest));
        let question = question(&digest);
        self.runtime.block_on(async {
            self.peer.send(self.at, question).await.expect("sent");
            self.peer.recv().await.expect("an answer").1
        })
    }
}

fn question(mut bytes: &[u8]) -> ChitchatMessage {
    let digest = chitchat::Deserializable::deserialize(&mut bytes).expect("a digest");
    ChitchatMessage::Syn { cluster_id: "bench".into(), digest }
}

/// One key of all is new to the peer.
#[divan::bench(args = KEYS, sample_count = 100)]
fn one_key_is_new(bencher: Bencher<'_, '_>, keys: u64) {
    let mut pair = Pair::new(keys);
    bencher.bench_local(|| pair.ask(keys.saturating_sub(1)));
}

/// The peer has nothing.
#[divan::bench(args = KEYS, sample_count = 100)]
fn all_keys_are_new(bencher: Bencher<'_, '_>, keys: u64) {
    let mut pair = Pair::new(keys);
    if let ChitchatMessage::SynAck { delta, .. } = pair.ask(0) {
        eprintln!("an answer of {} bytes", delta.serialized_len());
    }
    bencher.bench_local(|| pair.ask(0));
}

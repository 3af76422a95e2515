//! A peer that speaks the protocol and means harm: random, oversized, repeated, reordered and contradictory messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sidetalk::core::command::{Change, Write};
use sidetalk::core::identity::{Clock, Dot, Kind, ObjectId, Replica, ReplicaId, ShardId};
use sidetalk::core::message::{Hello, Message, Micros, Progress, ShardClock, ShardDigest};
use sidetalk::core::node::{Input, Node as Core, NodeConfig, Output};
use sidetalk::core::time::{MonoMicros, Now, UnixMillis};
use sidetalk::core::value::Tree;
use sidetalk::wire::{self, Guard};
use sidetalk_tests::{Cluster, Node, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long it goes on. By hand: `SIDETALK_TEST_HOSTILE_SECONDS=60`.
fn duration() -> Duration {
    let seconds = std::env::var("SIDETALK_TEST_HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// What a node unpacks at one time, over all links.
const UNPACKING_BYTES_MAX: u64 = 1 << 30;

/// The same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 11
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn replica(id: u64) -> Replica {
    Replica { node: "mad".to_owned(), started: UnixMillis(id), id: ReplicaId(id) }
}

fn hello(id: u64) -> Message {
    Message::Hello(Hello { replica: replica(id), cluster: "sidetalk".to_owned(), fresh: false, lineage: 1 })
}

/// Operations and states as an honest core makes them, to be sent in dishonest ways.
fn honest_messages() -> Vec<Message> {
    let now = Now { mono: MonoMicros(1), wall: UnixMillis(1_700_000_000_000) };
    let config = NodeConfig {
        replica: replica(77),
        cluster: "sidetalk".to_owned(),
        joins: false,
        bootstrap_millis: 0,
        lineage: 1,
        log_bytes_max: 1 << 20,
        session_lifetime_millis: None,
        memory_bytes_max: None,
        full_mesh_max: sidetalk::core::node::FULL_MESH_MAX,
        fold_min: sidetalk::core::node::FOLD_MIN,
    };
    let mut core = Core::new(config, now);
    core.handle(now, Input::LinkUp(ReplicaId(78)));
    let peer = Hello { replica: replica(78), cluster: "sidetalk".to_owned(), fresh: false, lineage: 1 };
    core.handle(now, Input::Message(ReplicaId(78), Message::Hello(peer)));
    for number in 0..200 {
        let tree = Tree::parse(format!("{{\"n\":{number}}}").as_bytes(), 8).unwrap();
        let name = format!("mad{}", number % 20);
        core.write(now, &Write::new(ObjectId::new(Kind::Document, &name), Change::Put(tree))).unwrap();
    }
    let mut messages: Vec<Message> =
        (0..64).map(|shard| Message::State(Box::new(core.shard(ShardId(shard)).state()))).collect();
    while let Some(output) = core.poll_output() {
        if let Output::Send(_, message) = output {
            messages.push(Arc::unwrap_or_clone(message));
        }
    }
    messages
}

fn clock(random: &mut Random) -> Clock {
    let mut clock = Clock::default();
    for _ in 0..random.below(4) {
        clock.set(ReplicaId(random.below(90) + 1), random.below(1 << 40) + 1);
    }
    clock
}

fn invented(random: &mut Random) -> Message {
    let shard = ShardId(random.below(256) as u8);
    let dot = Dot::new(ReplicaId(random.below(90) + 1), random.below(1 << 50) + 1);
    match random.below(8) {
        0 => Message::Applied(vec![Progress { shard, dot }; random.below(50) as usize]),
        1 => Message::Clocks(vec![ShardClock { shard, clock: clock(random) }]),
        2 => {
            let total = ShardDigest { clock_sum: random.next(), content_sum: u128::from(random.next()) };
            Message::Digests { total, shards: vec![(shard, total)] }
        }
        3 => Message::WantStates(vec![shard; random.below(1_000) as usize]),
        4 => Message::Ask {
            id: random.next(),
            object: ObjectId::new(Kind::Session, "nobody"),
            clock: clock(random),
        },
        5 => Message::Ping {
            sent: Micros(random.next()),
            wall: UnixMillis(random.next() << 10),
            now: UnixMillis(random.below(1 << 40)),
            clock_sum: random.next(),
            introduction: random.next(),
        },
        6 => Message::Pong {
            sent: Micros(random.next()),
            wall: UnixMillis(random.next()),
            clocks_known: false,
            introduction_known: false,
        },
        _ => Message::Pong {
            sent: Micros(u64::MAX),
            wall: UnixMillis(u64::MAX),
            clocks_known: true,
            introduction_known: false,
        },
    }
}

/// A megabyte that becomes a quarter of a gibibyte and then is no message, and one that only says so.
fn bombs() -> [Vec<u8>; 2] {
    let frame = |payload: &[u8], flags: u8| {
        let head = wire::Version::NEWEST.number() << 4 | flags | 8;
        let sum = (xxhash_rust::xxh3::xxh3_64_with_seed(payload, u64::from(head)) as u32).to_le_bytes();
        [&(payload.len() as u32 + 5).to_le_bytes()[..], &[head], payload, &sum].concat()
    };
    let zeros = lz4_flex::block::compress_prepend_size(&vec![0xff; 256 << 20]);
    let mut real = Vec::new();
    let mut pieces = zeros.chunks(256 << 10).peekable();
    while let Some(piece) = pieces.next() {
        real.extend(frame(piece, 2 | u8::from(pieces.peek().is_some())));
    }
    let said = [&(500u32 << 20).to_le_bytes()[..], &[0; 1_000]].concat();
    [real, frame(&said, 2)]
}

/// One connection: introduces itself, sends, and reads whatever comes, until one of both ends it.
async fn attack(node: &Node, random: &mut Random, honest: &[Message], bombs: &[Vec<u8>; 2], sent: &mut u64) {
    let Ok(mut stream) = TcpStream::connect(node.gossip()).await else { return };
    let mut bytes = [&b"sdtk"[..], &[wire::Versions::SPOKEN.byte(), 0]].concat();
    wire::encode(&hello(random.below(90) + 1), Guard::Checksum, &mut bytes).unwrap();
    let mut previous = Vec::new();
    for _ in 0..random.below(60) {
        let mut next = Vec::new();
        match random.below(40) {
            0 => next.extend((0..random.below(5_000)).map(|_| random.next() as u8)),
            1 => next.clone_from(&bombs[1]),
            2 if random.below(10) == 0 => next.clone_from(&bombs[0]),
            3..=6 => next.clone_from(&previous),
            7..=20 => {
                let at = random.below(honest.len() as u64) as usize;
                wire::encode(&honest[at], Guard::Checksum, &mut next).unwrap();
            }
            _ => wire::encode(&invented(random), Guard::Checksum, &mut next).unwrap(),
        }
        bytes.extend_from_slice(&next);
        previous = next;
        *sent += 1;
    }
    let (mut read, mut write) = stream.split();
    let swallow = async { while matches!(read.read(&mut [0; 65_536]).await, Ok(1..)) {} };
    let talk = async {
        let _ = write.write_all(&bytes).await;
        // What it says is taken in before the end of the stream is.
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    tokio::select! { () = swallow => {}, () = talk => {} }
}

#[tokio::test]
async fn a_hostile_peer_changes_nothing_for_the_others() {
    let mut cluster = Cluster::start(2).await;
    cluster.client(0).document("d").put(&json!({"theirs": 1})).await.unwrap();
    cluster.client(1).session("s").put(&json!({"user": "ada"})).await.unwrap();
    cluster.agree("documents/d", &json!({"theirs": 1})).await;
    let (honest, bombs) = (honest_messages(), bombs());
    let (mut random, mut sent, mut connections, mut count) = (Random(7), 0, 0, 0i64);
    let end = Instant::now() + duration();
    let before = cluster[0].resident_bytes();
    let (mut most, mut answers) = (before, Vec::new());
    while Instant::now() < end {
        Box::pin(attack(&cluster[0], &mut random, &honest, &bombs, &mut sent)).await;
        connections += 1;
        if connections % 10 == 0 {
            let asked = Instant::now();
            cluster.client(0).counter("c").add(1).await.unwrap();
            answers.push(asked.elapsed());
            count += 1;
            most = most.max(cluster[0].resident_bytes());
        }
    }
    answers.sort_unstable();
    println!(
        "{connections} connections, {sent} messages; {} MiB before, {} MiB at most; answers to a client: {:?} (median), \
         {:?} at most",
        before >> 20,
        most >> 20,
        answers[answers.len() / 2],
        answers[answers.len() - 1],
    );
    assert!(sent > 200 && connections > 20, "{sent} {connections}");
    // What is being unpacked has its room and no more, and nothing of it stays.
    assert!(
        most < before + UNPACKING_BYTES_MAX + (200 << 20),
        "{} MiB, before {} MiB",
        most >> 20,
        before >> 20
    );
    eventually("it has given back what it took", || async {
        let now = cluster[0].resident_bytes();
        if now < before + (100 << 20) { Ok(()) } else { Err(format!("{} MiB", now >> 20)) }
    })
    .await;
    println!("afterwards {} MiB", cluster[0].resident_bytes() >> 20);
    // The honest ones have lost nothing, made up nothing, and go on.
    cluster.agree("documents/d", &json!({"theirs": 1})).await;
    cluster.client(1).session("s").patch(&json!({"still": true})).await.unwrap();
    cluster.agree("sessions/s", &json!({"user": "ada", "still": true})).await;
    for client in cluster.clients() {
        eventually("every count is there, once", || async {
            let value = client.counter("c").get().await.unwrap().value.value;
            if value == count { Ok(()) } else { Err(format!("{value} of {count}")) }
        })
        .await;
    }
    for node in cluster.running() {
        let log = node.log();
        assert!(!log.iter().any(|line| line.contains("panicked")), "{log:#?}");
    }
    assert_eq!(cluster.terminate(1).await, 0);
}

//! How long a write takes to be seen on another node: a client writes on one while another client listens at the
//! second one, to a watch or to the keyspace events of a replica. Both clients are this process, so one clock tells
//! both times. The time runs from before the write is sent until its event is here: more than "visible", never less.

use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::reads::{SESSIONS, set_all};
use crate::connection::{Connection, Protocol, command, request};
use crate::load::Stream;
use crate::nodes;
use crate::plan::Plan;
use crate::redis::Redis;
use crate::result::{Better, Comparison};
use crate::sessions::{Size, id};
use crate::stats::percentile;

/// Sessions that are written to in turn: they lie in many shards.
const PROBED: usize = 100;

/// Connections of the load.
const LOAD_CONNECTIONS: usize = 48;

/// Requests of the load, in a second; every fifth is a write.
const LOAD_PER_SECOND: usize = 5_000;

/// Pause between two timed writes.
const PAUSE: Duration = Duration::from_millis(1);

/// Times that the sides take turns.
const TURNS: u64 = 5;

/// Where writes are made, and where they are seen.
struct Probe {
    writer: Connection,
    write: fn(u64) -> Vec<u8>,
    seen: mpsc::UnboundedReceiver<Instant>,
    number: u64,
}

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    let nodes = nodes::start(3).await;
    nodes::store(&nodes[0], Size::Small, "probe", PROBED).await;
    nodes::store(&nodes[0], Size::Small, "sess", SESSIONS).await;
    for node in &nodes {
        nodes::settled(node, PROBED + SESSIONS).await;
    }
    let mut probes = vec![("Sidetalk", ours(&nodes).await)];
    let mut load: Vec<Stream> =
        nodes.iter().map(|node| load_of(nodes::address(node), Protocol::Http)).collect();
    let redis = Redis::pair_if_installed().await;
    if let Some((primary, replica)) = &redis {
        set_all(primary, Size::Small).await;
        probes.push(("Redis", theirs(primary, replica).await));
        load.push(load_of(primary.address, Protocol::Redis { replies: 1 }));
    }
    let mut found = in_turn(plan, "idle", &mut probes, &[2.0, 3.0]).await;
    // Each has the same load while both are probed: half of the connections to each system.
    let steady = steadily(&load);
    found.extend(in_turn(plan, "with 5,000 requests/s to each", &mut probes, &[]).await);
    drop(steady);
    found
}

/// What each turn of one side came to, in microseconds.
struct Times<'a> {
    who: &'a str,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

async fn in_turn(plan: &Plan, when: &str, probes: &mut [(&str, Probe)], targets: &[f64]) -> Vec<Comparison> {
    let mut times: Vec<Times<'_>> =
        probes.iter().map(|(who, _)| Times { who, p50: Vec::new(), p99: Vec::new() }).collect();
    for (_, probe) in probes.iter_mut() {
        probe.run(100).await;
    }
    for _ in 0..TURNS {
        for ((_, probe), times) in probes.iter_mut().zip(&mut times) {
            let mut waited = probe.run(plan.writes / TURNS).await;
            times.p50.push(percentile(&mut waited, 50.0));
            times.p99.push(percentile(&mut waited, 99.0));
        }
    }
    let comparison = |percent: &str, at: usize, of: fn(&Times<'_>) -> Vec<f64>| {
        let sides: Vec<(&str, Vec<f64>)> = times.iter().map(|side| (side.who, of(side))).collect();
        let targets: Vec<(&str, f64)> =
            targets.get(at).map(|target| ("Redis", *target)).into_iter().collect();
        let name = format!("from sending a write to its event at another node, {when}: {percent}");
        Comparison::of_values("visible", name, "µs", Better::Less, &sides, &targets)
    };
    vec![comparison("p50", 0, |side| side.p50.clone()), comparison("p99", 1, |side| side.p99.clone())]
}

impl Probe {
    /// Writes one after the other, each once the one before has been seen.
    async fn run(&mut self, writes: u64) -> Vec<Duration> {
        let mut waited = Vec::new();
        for _ in 0..writes {
            self.number += 1;
            let write = (self.write)(self.number);
            let sent = Instant::now();
            self.writer.ask(&write).await;
            let arrived = timeout(Duration::from_secs(10), self.seen.recv()).await;
            waited.push(arrived.expect("it arrives").expect("the watch goes on") - sent);
            tokio::time::sleep(PAUSE).await;
        }
        waited
    }
}

async fn ours(nodes: &[sidetalk_tests::Node]) -> Probe {
    let mut stream = Connection::http(nodes::address(&nodes[1])).await.into_stream();
    let watch = request("GET", "/v1/watch?kind=sessions&prefix=probe", "");
    stream.write_all(&watch).await.expect("it is open");
    let write = |number: u64| {
        let path = format!("/v1/sessions/{}", id("probe", number as usize % PROBED));
        request("PATCH", &path, &format!(r#"{{"probe":{number}}}"#))
    };
    // What was there before comes first, if it comes: only what is written now bears this member.
    let seen = follow(stream, b"\"probe\":");
    Probe { writer: Connection::http(nodes::address(&nodes[0])).await, write, seen, number: 0 }
}

async fn theirs(primary: &Redis, replica: &Redis) -> Probe {
    let mut listener = replica.open().await;
    listener.ask(&command(&["PSUBSCRIBE", "__keyspace@0__:probe:*"])).await;
    let write = |number: u64| {
        let session = Size::Small.json().replacen('{', &format!(r#"{{"probe":{number},"#), 1);
        command(&["SET", &id("probe", number as usize % PROBED), &session])
    };
    let seen = follow(listener.into_stream(), b"pmessage");
    Probe { writer: primary.open().await, write, seen, number: 0 }
}

/// Tells when each event came here.
fn follow(mut stream: TcpStream, mark: &'static [u8]) -> mpsc::UnboundedReceiver<Instant> {
    let (tell, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = Vec::new();
        while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
            let now = Instant::now();
            let mut end = 0;
            for at in memmem::find_iter(&buffer, mark) {
                let _ = tell.send(now);
                end = at + mark.len();
            }
            // A mark may be cut in two.
            let keep = buffer.len().saturating_sub(mark.len() - 1).max(end);
            buffer.drain(..keep);
        }
    });
    seen
}

fn load_of(address: std::net::SocketAddr, protocol: Protocol) -> Stream {
    let json = Size::Small.json();
    let ask = |number: usize| {
        let key = id("sess", number * 31 % SESSIONS);
        let path = format!("/v1/sessions/{key}");
        match (protocol, number % 5) {
            (Protocol::Http, 0) => request("PATCH", &path, &format!(r#"{{"views":{number}}}"#)),
            (Protocol::Http, _) => request("GET", &path, ""),
            (Protocol::Redis { .. }, 0) => command(&["SET", &key, &json]),
            (Protocol::Redis { .. }, _) => command(&["GET", &key]),
        }
    };
    Stream { address, protocol, requests: (0..SESSIONS).map(ask).collect::<Vec<_>>().into() }
}

/// A steady load on both systems, until it is dropped.
fn steadily(streams: &[Stream]) -> JoinSet<()> {
    let mut running = JoinSet::new();
    for protocol in [Protocol::Http, Protocol::Redis { replies: 1 }] {
        let of: Vec<&Stream> = streams.iter().filter(|stream| stream.protocol == protocol).collect();
        let every = Duration::from_secs(1) * LOAD_CONNECTIONS as u32 / LOAD_PER_SECOND as u32;
        for (index, stream) in
            of.iter().cycle().take(if of.is_empty() { 0 } else { LOAD_CONNECTIONS }).enumerate()
        {
            let stream = (*stream).clone();
            running.spawn(async move {
                tokio::time::sleep(every * index as u32 / LOAD_CONNECTIONS as u32).await;
                let mut connection = Connection::open(stream.address, stream.protocol).await;
                let mut ticks = interval(every);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for request in stream.requests.iter().cycle().skip(index * 37) {
                    ticks.tick().await;
                    connection.ask(request).await;
                }
            });
        }
    }
    running
}

//! How long a write takes to be seen on another node: a client writes on one node while another client watches the
//! second one. Both are this process, so one clock tells both times.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sidetalk_tests::Node;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::connection::{Connection, request};
use crate::table::percentile;
use crate::{Plan, nodes};

/// Sessions that are written to in turn: they lie in many shards.
const PROBED: usize = 100;

/// Sessions that the load reads and writes.
const LOADED: usize = 1_000;

/// Connections of the load to each node.
const LOAD_CONNECTIONS: usize = 16;

/// Requests of the load to all nodes together, in a second; every fifth is a write.
const LOAD_PER_SECOND: usize = 5_000;

/// Pause between two timed writes.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) async fn measure(plan: &Plan) {
    let nodes = nodes::start(3).await;
    nodes::store(&nodes[0], "probe", PROBED).await;
    nodes::store(&nodes[0], "load", LOADED).await;
    let mut seen = watch(nodes::address(&nodes[1])).await;
    println!("\nFrom a write on one node to its sight on another, 3 nodes, {} writes each", plan.writes);
    println!("| | from sending the write: p50 | p90 | p99 | from its answer: p50 | p99 |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut number = 0;
    probe(&nodes[0], &mut seen, 200, &mut number).await;
    let idle = probe(&nodes[0], &mut seen, plan.writes, &mut number).await;
    print("idle", idle);
    let load = load(&nodes);
    let loaded = probe(&nodes[0], &mut seen, plan.writes, &mut number).await;
    print(&format!("with {LOAD_PER_SECOND} requests/s"), loaded);
    drop(load);
}

#[derive(Default)]
struct Times {
    from_sending: Vec<Duration>,
    from_answer: Vec<Duration>,
}

fn print(name: &str, mut times: Times) {
    let mut of_sending = |percent| percentile(&mut times.from_sending, percent);
    let (p50, p90, p99) = (of_sending(50.0), of_sending(90.0), of_sending(99.0));
    let mut of_answer = |percent| percentile(&mut times.from_answer, percent);
    let (answer50, answer99) = (of_answer(50.0), of_answer(99.0));
    println!("| {name} | {p50:.0} µs | {p90:.0} µs | {p99:.0} µs | {answer50:.0} µs | {answer99:.0} µs |");
}

type Seen = mpsc::UnboundedReceiver<(u64, Instant)>;

/// Writes one after the other, each once the one before has been seen.
async fn probe(node: &Node, seen: &mut Seen, writes: u64, number: &mut u64) -> Times {
    let mut connection = Connection::open(nodes::address(node)).await;
    let mut times = Times::default();
    for _ in 0..writes {
        *number += 1;
        let path = format!("/v1/sessions/{}", nodes::id("probe", *number as usize % PROBED));
        let write = request("PATCH", &path, &format!(r#"{{"probe":{number}}}"#));
        let sent = Instant::now();
        let (status, _) = connection.exchange(&write).await.expect("an answer");
        let answered = Instant::now();
        assert_eq!(status, 200);
        let arrived = timeout(Duration::from_secs(10), arrival(seen, *number)).await.expect("it arrives");
        times.from_sending.push(arrived - sent);
        times.from_answer.push(arrived.saturating_duration_since(answered));
        tokio::time::sleep(PAUSE).await;
    }
    times
}

async fn arrival(seen: &mut Seen, number: u64) -> Instant {
    loop {
        let (found, at) = seen.recv().await.expect("the watch goes on");
        if found == number {
            return at;
        }
    }
}

/// Tells which numbers have been seen on a node, and when they came here.
async fn watch(address: SocketAddr) -> Seen {
    let mut stream = Connection::open(address).await.into_stream();
    stream.write_all(&request("GET", "/v1/watch?kind=sessions&prefix=probe", "")).await.expect("it is open");
    let (tell, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move { follow(&mut stream, &tell).await });
    seen
}

async fn follow(stream: &mut TcpStream, tell: &mpsc::UnboundedSender<(u64, Instant)>) {
    let mut buffer = Vec::new();
    loop {
        if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
        let now = Instant::now();
        let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') else { continue };
        let lines = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..=end);
        for (_, rest) in lines.match_indices("\"probe\":").map(|(at, name)| lines.split_at(at + name.len())) {
            let digits = rest.split(|digit: char| !digit.is_ascii_digit()).next().unwrap_or_default();
            if let Ok(number) = digits.parse() {
                let _ = tell.send((number, now));
            }
        }
    }
}

/// A steady load on all nodes, until it is dropped.
fn load(nodes: &[Node]) -> JoinSet<()> {
    let mut running = JoinSet::new();
    let connections = nodes.len() * LOAD_CONNECTIONS;
    let every = Duration::from_secs(1) * connections as u32 / LOAD_PER_SECOND as u32;
    for connection in 0..connections {
        let address = nodes::address(&nodes[connection % nodes.len()]);
        running.spawn(async move {
            tokio::time::sleep(every * connection as u32 / connections as u32).await;
            ask_steadily(address, connection, every).await;
        });
    }
    running
}

async fn ask_steadily(address: SocketAddr, start: usize, every: Duration) {
    let mut connection = Connection::open(address).await;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in start.. {
        ticks.tick().await;
        let path = format!("/v1/sessions/{}", nodes::id("load", number * 31 % LOADED));
        let request = match number % 5 {
            0 => request("PATCH", &path, &format!(r#"{{"views":{number}}}"#)),
            _ => request("GET", &path, ""),
        };
        let (status, _) = connection.exchange(&request).await.expect("an answer");
        assert_eq!(status, 200);
    }
}

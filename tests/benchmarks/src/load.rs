//! The load: some connections that each ask again as soon as they are answered. The same for every server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::connection::{Connection, Protocol};
use crate::process::CpuNanos;

/// Where some of the connections go, and what they ask, in turn; each starts elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) requests: Arc<Vec<Vec<u8>>>,
}

/// Servers under load.
pub(crate) struct Target {
    /// Whose processor time counts.
    pids: Vec<u32>,
    connections: Vec<(Connection, Stream)>,
    /// Calls in one request: of a batch or a pipeline.
    calls: f64,
}

/// What one round has shown.
#[derive(Debug)]
pub(crate) struct Round {
    /// Calls.
    pub(crate) per_second: f64,
    /// What the servers' threads have run, for each call.
    pub(crate) cpu_micros: f64,
    /// What the load generator has run, for each call.
    pub(crate) load_micros: f64,
    /// Of every request.
    pub(crate) latencies: Vec<Duration>,
}

impl Target {
    /// So many connections, dealt out to the streams in turn.
    pub(crate) async fn new(pids: Vec<u32>, streams: Vec<Stream>, connections: usize, calls: usize) -> Self {
        let mut open = Vec::new();
        for stream in streams.iter().cycle().take(connections) {
            open.push((Connection::open(stream.address, stream.protocol).await, stream.clone()));
        }
        Self { pids, connections: open, calls: calls as f64 }
    }

    pub(crate) async fn round(&mut self, length: Duration) -> Round {
        let load = || CpuNanos::of(&[std::process::id()]);
        let (started, cpu, load_before) = (Instant::now(), CpuNanos::of(&self.pids), load());
        let until = started + length;
        let mut running = JoinSet::new();
        for (index, (connection, stream)) in self.connections.drain(..).enumerate() {
            running.spawn(ask(connection, stream, index * 37, until));
        }
        let mut latencies = Vec::new();
        while let Some(ended) = running.join_next().await {
            let (connection, stream, mut these) = ended.expect("no request fails");
            self.connections.push((connection, stream));
            latencies.append(&mut these);
        }
        let elapsed = started.elapsed().as_secs_f64();
        let calls = self.calls * latencies.len() as f64;
        Round {
            per_second: calls / elapsed,
            cpu_micros: CpuNanos::of(&self.pids).since(&cpu) as f64 / 1e3 / calls,
            load_micros: load().since(&load_before) as f64 / 1e3 / calls,
            latencies,
        }
    }
}

async fn ask(
    mut connection: Connection,
    stream: Stream,
    start: usize,
    until: Instant,
) -> (Connection, Stream, Vec<Duration>) {
    let mut latencies = Vec::with_capacity(8_192);
    let requests = Arc::clone(&stream.requests);
    for request in requests.iter().cycle().skip(start % requests.len()) {
        let asked = Instant::now();
        if asked >= until {
            break;
        }
        let answer = connection.exchange(request).await.expect("an answer");
        assert!(stream.protocol.is_good(answer), "{}", String::from_utf8_lossy(answer));
        latencies.push(asked.elapsed());
    }
    (connection, stream, latencies)
}

//! The load: some connections that each ask again as soon as they are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::process::cpu_nanos;

/// Connections at once.
pub(crate) const CONNECTIONS: usize = 50;

/// A server under load.
pub(crate) struct Target {
    pub(crate) pid: u32,
    connections: Vec<Connection>,
    /// What is asked, in turn; each connection starts elsewhere.
    requests: Arc<Vec<Vec<u8>>>,
}

/// What one round has shown.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) per_second: f64,
    /// What the server's threads have run, for each request.
    pub(crate) cpu_micros: f64,
    /// Of every request.
    pub(crate) latencies: Vec<Duration>,
}

impl Target {
    pub(crate) async fn new(address: SocketAddr, pid: u32, requests: Arc<Vec<Vec<u8>>>) -> Self {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::open(address).await);
        }
        Self { pid, connections, requests }
    }

    pub(crate) async fn round(&mut self, length: Duration) -> Round {
        let (started, cpu) = (Instant::now(), cpu_nanos(self.pid));
        let until = started + length;
        let mut running = JoinSet::new();
        for (index, connection) in self.connections.drain(..).enumerate() {
            running.spawn(ask(connection, Arc::clone(&self.requests), index * 37, until));
        }
        let mut latencies = Vec::new();
        while let Some(ended) = running.join_next().await {
            let (connection, mut these) = ended.expect("no request fails");
            self.connections.push(connection);
            latencies.append(&mut these);
        }
        let elapsed = started.elapsed().as_secs_f64();
        let cpu_micros = (cpu_nanos(self.pid) - cpu) as f64 / 1e3 / latencies.len() as f64;
        Round { per_second: latencies.len() as f64 / elapsed, cpu_micros, latencies }
    }
}

async fn ask(
    mut connection: Connection,
    requests: Arc<Vec<Vec<u8>>>,
    start: usize,
    until: Instant,
) -> (Connection, Vec<Duration>) {
    let mut latencies = Vec::with_capacity(8_192);
    for request in requests.iter().cycle().skip(start % requests.len()) {
        let asked = Instant::now();
        if asked >= until {
            break;
        }
        let (status, _) = connection.exchange(request).await.expect("an answer");
        assert_eq!(status, 200);
        latencies.push(asked.elapsed());
    }
    (connection, latencies)
}

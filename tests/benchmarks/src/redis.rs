//! Redis as people run it beside their application: one process, nothing on disk.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::connection::{Connection, Protocol, command};

/// How long it may take to start, or to take over what another one has.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// A server that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    child: Child,
    pub(crate) address: SocketAddr,
    _directory: TempDir,
}

impl Redis {
    /// The version of what is installed; `None` when nothing is.
    pub(crate) fn version() -> Option<String> {
        let output = Command::new("redis-server").arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(text.split_whitespace().find(|word| word.starts_with("v="))?.trim_start_matches("v=").to_owned())
    }

    /// One alone; `None` when Redis is not installed.
    pub(crate) async fn if_installed() -> Option<Self> {
        Self::version()?;
        Some(Self::start(Command::new("redis-server"), None).await)
    }

    /// One that is watched by another program; `None` when Redis is not installed.
    pub(crate) async fn under(mut watcher: Command) -> Option<Self> {
        Self::version()?;
        watcher.arg("redis-server");
        Some(Self::start(watcher, None).await)
    }

    /// A primary and its replica; `None` when Redis is not installed.
    pub(crate) async fn pair_if_installed() -> Option<(Self, Self)> {
        let primary = Self::if_installed().await?;
        let replica = Self::replica(&primary).await;
        Some((primary, replica))
    }

    /// Starts one, as a replica of another or alone.
    async fn start(mut command: Command, of: Option<&Self>) -> Self {
        let address = free_address();
        let directory = tempfile::tempdir().expect("a directory");
        let port = address.port().to_string();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"]);
        command.args(["--notify-keyspace-events", "K$"]);
        if let Some(primary) = of {
            command.args(["--replicaof", "127.0.0.1", &primary.address.port().to_string()]);
        }
        command.current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("redis-server starts");
        let redis = Self { child, address, _directory: directory };
        redis.wait("it listens", |_| true).await;
        redis
    }

    /// A replica that has everything its primary has.
    pub(crate) async fn replica(of: &Self) -> Self {
        let replica = Self::start(Command::new("redis-server"), Some(of)).await;
        replica.wait("it is in step", |info| info.contains("master_link_status:up")).await;
        replica
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn open(&self) -> Connection {
        Connection::open(self.address, Protocol::Redis { replies: 1 }).await
    }

    async fn wait(&self, what: &str, done: impl Fn(&str) -> bool) {
        let until = Instant::now() + WAIT_MAX;
        loop {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                let mut connection = self.open().await;
                let info = connection.exchange(&command(&["INFO"])).await;
                if info.is_ok_and(|info| {
                    let info = String::from_utf8_lossy(info);
                    !info.contains("loading:1") && done(&info)
                }) {
                    return;
                }
            }
            assert!(Instant::now() < until, "redis-server: waited for {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago: Redis takes none by itself.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

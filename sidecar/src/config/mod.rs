//! Flags, environment and file become one validated value.
//!
//! Nothing is bound and nothing is started before all of it is known to be right, and all mistakes are told at
//! once: a node that fails on its third start over a third typing error costs an outage each time. This room
//! reads the environment and the files it is told of, and nothing else; it never opens a socket.

mod flags;
mod layers;
mod mistake;
mod resolve;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::storage::Fsync;

pub use flags::RunFlags;
pub use mistake::{Mistake, Mistakes};

use crate::api::ApiTokens;
use crate::keyring::{KeyFile, SessionIdHash};
use crate::wire::Versions;

/// How a node runs: everything is set, and everything fits together.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// This node's stable name, unique in the cluster. Default: the host's name.
    pub node_id: String,
    /// The cluster's name: nodes of different clusters do not talk to each other. Default: `sidetalk`.
    pub cluster: String,
    /// Where the HTTP API listens. Loopback or a socket file unless the operator said otherwise. Port 0: any free one.
    pub api: ApiAddress,
    /// Names that a request's `Host` may bear besides the local ones.
    pub api_hosts: Vec<String>,
    /// Where gossip (UDP) and the streams between nodes (TCP, same port) listen. Port 0: any free one.
    pub gossip: SocketAddr,
    /// Where the other nodes reach [`gossip`](Self::gossip), when that is another address.
    pub advertise: Option<SocketAddr>,
    /// Members to look for at start. None: this node starts a cluster.
    pub join: Vec<HostPort>,
    /// Authenticate and encrypt all traffic between nodes. None: plaintext.
    pub cluster_keys: Option<KeyFile>,
    /// Where they come from: looked at again while the node runs.
    pub cluster_key_file: Option<PathBuf>,
    /// What clients of the API must show. None: nothing, which loopback alone allows.
    pub api_tokens: Option<ApiTokens>,
    /// Where they come from: looked at again while the node runs.
    pub api_token_file: Option<PathBuf>,
    /// Connections to the API at once.
    pub api_connections_max: usize,
    /// Requests to the API at once.
    pub api_requests_max: usize,
    /// Session ids are stored as keyed hashes. Needs keys.
    pub hash_session_ids: bool,
    /// Estimated memory above which local writes that grow the state are refused.
    pub memory_bytes_max: Option<u64>,
    /// Opens `/v1/chaos`, which rehearses failures.
    pub chaos: bool,
    /// Added to the wall clock, to rehearse skew. 0 unless [`chaos`](Self::chaos).
    pub clock_offset_millis: i64,
    /// Up to this many members everyone is linked with everyone. Another number than the usual one only with
    /// [`chaos`](Self::chaos).
    pub full_mesh_max: usize,
    /// The versions of the protocol that are spoken. All that there are, unless [`chaos`](Self::chaos).
    pub versions: Versions,
    /// Where everything is kept on disk as well. None: memory only.
    pub data_dir: Option<PathBuf>,
    /// When the disk is made to hold it.
    pub fsync: Fsync,
    /// How long a write may wait for the disk, unless it is [`Fsync::Always`].
    pub fsync_interval_millis: u64,
    /// Bytes of log over all shards before the oldest operations go.
    pub log_bytes_max: u64,
    /// No session lives longer than this, whatever its lease says.
    pub session_lifetime_millis: Option<u64>,
    /// How long to look for a member of [`join`](Self::join) before starting alone.
    pub bootstrap_millis: u64,
    /// Where a process that was given up saves what it drops.
    pub rescue_dir: PathBuf,
    /// How long a leaving node may take to finish requests and to hand over what its peers lack.
    pub drain_millis: u64,
    /// Threads that serve requests and peers.
    pub threads: usize,
    /// What is logged, and how.
    pub log: LogConfig,
}

impl Config {
    /// How session ids are hashed, where they are.
    #[must_use]
    pub fn session_id_hash(&self) -> Option<SessionIdHash> {
        self.cluster_keys.as_ref().filter(|_| self.hash_session_ids).map(KeyFile::session_id_hash)
    }

    /// Reads all sources: a flag wins over the environment, that over the file, that over the default.
    ///
    /// # Errors
    /// Every mistake in every source.
    pub fn load(flags: &RunFlags) -> Result<Self, Mistakes> {
        let environment = |name: &str| std::env::var(name).ok();
        layers::read(flags, &environment).and_then(|(settings, read)| resolve::resolve(settings, read))
    }
}

/// Where the API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiAddress {
    /// On a port.
    Tcp(SocketAddr),
    /// On a Unix socket, which only the node's own user can open. The path holds no white space.
    Unix(PathBuf),
}

impl fmt::Display for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A host name or address with a port, as it was written. Resolved when it is used, since names move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, not 0.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A level, or directives such as `info,sidetalk::net=debug`.
    pub filter: String,
    /// For people or for machines.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

//! The flags of `sidetalk run`, as text: judging them is left to one place, so that all mistakes are told at once.

use clap::Args;

use super::layers::{Given, Layer};

/// Every setting as a flag. `SIDETALK_` and the name in capitals is its environment variable, the name with
/// underscores its key in the file.
#[derive(Args, Clone, Debug, Default)]
pub struct RunFlags {
    /// Read settings from this TOML file (keys as the flags, with underscores)
    #[arg(long, value_name = "FILE", env = "SIDETALK_CONFIG")]
    pub config: Option<String>,
    /// This node's stable name, unique in the cluster [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_id: Option<String>,
    /// The cluster's name [default: sidetalk]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Where the HTTP API listens: IP:PORT, or unix:PATH for a socket that only this user can open [default: 127.0.0.1:7411]
    #[arg(long, value_name = "ADDRESS")]
    pub api: Option<String>,
    /// What clients of the API must show as a bearer token, one a line; needed beyond loopback
    #[arg(long, value_name = "FILE")]
    pub api_token_file: Option<String>,
    /// Connections to the API at once [default: 16384]
    #[arg(long, value_name = "N")]
    pub api_connections_max: Option<String>,
    /// Requests to the API at once; more get 503 [default: 4096]
    #[arg(long, value_name = "N")]
    pub api_requests_max: Option<String>,
    /// A host name that requests may use for the API besides localhost; repeatable
    #[arg(long, value_name = "NAME")]
    pub api_host: Vec<String>,
    /// Where gossip and streams between nodes listen [default: 127.0.0.1:7412]
    #[arg(long, value_name = "IP:PORT")]
    pub gossip: Option<String>,
    /// Where other nodes reach the gossip address, when it is another one
    #[arg(long, value_name = "IP:PORT")]
    pub advertise: Option<String>,
    /// A member to join; repeatable
    #[arg(long, value_name = "HOST:PORT")]
    pub join: Vec<String>,
    /// The keys all nodes share, one a line: the first is used, all are accepted; see `sidetalk keygen`
    #[arg(long, value_name = "FILE")]
    pub cluster_key_file: Option<String>,
    /// Gossip without a key on an address that others can reach
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub insecure_plaintext: Option<String>,
    /// Store session ids as keyed hashes only; the same on all nodes, and needs --cluster-key-file
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub hash_session_ids: Option<String>,
    /// Memory, such as 512MiB, above which writes that grow the state get 507 [default: no bound]
    #[arg(long, value_name = "BYTES")]
    pub max_memory: Option<String>,
    /// Open /v1/chaos, which rehearses partitions and slow links
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub chaos: Option<String>,
    /// Added to the wall clock, to rehearse skew; needs --chaos
    #[arg(long, value_name = "N", hide = true, allow_hyphen_values = true)]
    pub clock_offset_millis: Option<String>,
    /// Members up to which everyone is linked with everyone, to rehearse a large cluster; needs --chaos
    #[arg(long, value_name = "N", hide = true)]
    pub full_mesh_max: Option<String>,
    /// The newest version of the protocol that is spoken, to rehearse an upgrade; needs --chaos
    #[arg(long, value_name = "N", hide = true)]
    pub protocol_max: Option<String>,
    /// Keep everything in this directory as well; survives a restart [default: memory only]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// When the disk is made to hold it: always (before a write is answered), interval, or never [default: interval]
    #[arg(long, value_name = "WHEN")]
    pub fsync: Option<String>,
    /// How long a write may wait for the disk with --fsync interval or never [default: 100]
    #[arg(long, value_name = "N")]
    pub fsync_interval_millis: Option<String>,
    /// Bytes of log before the oldest operations go [default: 64MiB, or an eighth of --max-memory]
    #[arg(long, value_name = "N")]
    pub log_bytes_max: Option<String>,
    /// No session lives longer than this [default: no bound]
    #[arg(long, value_name = "N")]
    pub session_lifetime_seconds: Option<String>,
    /// How long to look for members before starting alone [default: 5000]
    #[arg(long, value_name = "N")]
    pub bootstrap_millis: Option<String>,
    /// Where a node that was given up saves what it drops [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub rescue_dir: Option<String>,
    /// How long leaving may take [default: 10000]
    #[arg(long, value_name = "N")]
    pub drain_millis: Option<String>,
    /// Threads that serve requests and peers [default: half of the processors, at least 1: the rest is the application's]
    #[arg(long, value_name = "N")]
    pub threads: Option<String>,
    /// What is logged: a level, or directives such as info,sidetalk::net=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// How it is logged: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl RunFlags {
    /// What the flags say, by setting.
    pub(super) fn layer(&self) -> Layer {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        [
            ("node_id", one(&self.node_id)),
            ("cluster", one(&self.cluster)),
            ("api", one(&self.api)),
            ("api_token_file", one(&self.api_token_file)),
            ("api_connections_max", one(&self.api_connections_max)),
            ("api_requests_max", one(&self.api_requests_max)),
            ("api_host", self.api_host.clone()),
            ("gossip", one(&self.gossip)),
            ("advertise", one(&self.advertise)),
            ("join", self.join.clone()),
            ("cluster_key_file", one(&self.cluster_key_file)),
            ("insecure_plaintext", one(&self.insecure_plaintext)),
            ("hash_session_ids", one(&self.hash_session_ids)),
            ("max_memory", one(&self.max_memory)),
            ("chaos", one(&self.chaos)),
            ("clock_offset_millis", one(&self.clock_offset_millis)),
            ("full_mesh_max", one(&self.full_mesh_max)),
            ("protocol_max", one(&self.protocol_max)),
            ("data_dir", one(&self.data_dir)),
            ("fsync", one(&self.fsync)),
            ("fsync_interval_millis", one(&self.fsync_interval_millis)),
            ("log_bytes_max", one(&self.log_bytes_max)),
            ("session_lifetime_seconds", one(&self.session_lifetime_seconds)),
            ("bootstrap_millis", one(&self.bootstrap_millis)),
            ("rescue_dir", one(&self.rescue_dir)),
            ("drain_millis", one(&self.drain_millis)),
            ("threads", one(&self.threads)),
            ("log", one(&self.log)),
            ("log_format", one(&self.log_format)),
        ]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| (name, Given { values, origin: format!("--{}", name.replace('_', "-")) }))
        .collect()
    }
}

//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use sidetalk_client::{Acks, Client, Error, Kind, ObjectName};

use crate::config::RunFlags;

/// Shares HTTP sessions and global objects between web processes by gossip
#[derive(Debug, Parser)]
#[command(name = "sidetalk", version, max_term_width = 110)]
pub(super) struct Line {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run one node
    Run(Box<RunArgs>),
    /// Run a whole cluster on this machine, to try things out
    Dev(DevArgs),
    #[command(flatten)]
    Call(Call),
    /// Print changes as they happen, one JSON object a line
    Watch(WatchArgs),
    /// Show how a node is
    Status(ReportArgs),
    /// Show the members of the cluster as a node sees them
    Members(ReportArgs),
    /// Give up a member that crashed and will not come back
    Forget(ForgetArgs),
    /// Copy what a node has on its disk, also while it runs
    Backup(BackupArgs),
    /// Put a backup into an empty directory
    Restore(RestoreArgs),
    /// Make a key for a cluster
    Keygen(KeygenArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// The commands that make one call.
#[derive(Debug, Subcommand)]
pub(super) enum Call {
    /// Print an object
    Get(GetArgs),
    /// Create a session or document, or replace its content
    Set(BodyArgs),
    /// Merge a JSON Merge Patch into a session or document
    Patch(BodyArgs),
    /// Add to a counter, or to a number in a session or document
    Incr(IncrArgs),
    /// Add members to a set, or to a set in a session or document
    Add(MembersArgs),
    /// Remove members from a set, or from a set in a session or document
    Remove(MembersArgs),
    /// Destroy a session or document, reset a counter, clear a set
    Destroy(ObjectArgs),
    /// Say where every stored entry of an object came from
    Explain(ExplainArgs),
}

#[derive(Args, Clone, Debug)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) flags: RunFlags,
    /// Stop when standard input ends, which it does when whoever started this node dies
    #[arg(long, hide = true)]
    pub(super) stop_with_stdin: bool,
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct DevArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(super) nodes: u16,
    /// Node 0 has its API here and gossips on the next port; every further node ten ports on. 0: any free ports
    #[arg(long, default_value_t = 7411)]
    pub(super) base_port: u16,
}

#[derive(Args, Clone, Debug)]
pub(super) struct BackupArgs {
    /// The node's directory
    #[arg(long, env = "SIDETALK_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: PathBuf,
    /// Where the backup goes; a node that runs writes it itself, so it must be able to
    pub(super) file: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub(super) struct RestoreArgs {
    /// The backup
    pub(super) file: PathBuf,
    /// The node's directory, which must hold no data
    #[arg(long, env = "SIDETALK_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub(super) struct ApiArgs {
    /// The node's API
    #[arg(long, env = "SIDETALK_API", default_value = "127.0.0.1:7411", value_name = "URL", global = true)]
    pub(super) api: String,
    /// A file whose first line is a token that the node accepts
    #[arg(long, env = "SIDETALK_API_TOKEN_FILE", value_name = "FILE", global = true)]
    pub(super) api_token_file: Option<PathBuf>,
}

impl ApiArgs {
    /// A client of the node.
    pub(super) fn client(&self) -> Result<Client, Error> {
        let client = Client::new(&self.api)?;
        match self.api_token_file.as_deref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => client.with_token_file(path),
            None => Ok(client),
        }
    }
}

/// How a call is refined.
#[derive(Args, Clone, Debug)]
pub(super) struct CallArgs {
    #[command(flatten)]
    pub(super) api: ApiArgs,
    /// See at least what this token names; repeatable
    #[arg(long, value_name = "TOKEN")]
    pub(super) after: Vec<String>,
    /// How long the node may wait for tokens and peers
    #[arg(long, value_name = "MILLISECONDS")]
    pub(super) wait: Option<u64>,
    /// Print the token, life and lease of the answer to standard error
    #[arg(short, long)]
    pub(super) include: bool,
}

/// How a write is refined.
#[derive(Args, Clone, Debug)]
pub(super) struct WriteArgs {
    #[command(flatten)]
    pub(super) call: CallArgs,
    /// How long the object lives on from now
    #[arg(long, value_name = "SECONDS")]
    pub(super) ttl: Option<u64>,
    /// Change this life or nothing
    #[arg(long, value_name = "LIFE")]
    pub(super) life: Option<String>,
    /// How many members must have applied it: a number, majority, or all
    #[arg(long, value_name = "N", value_parser = acks)]
    pub(super) acks: Option<Acks>,
    /// How long to wait for them
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5_000)]
    pub(super) timeout: u64,
}

#[derive(Args, Debug)]
pub(super) struct GetArgs {
    /// sessions/ID, documents/NAME, counters/NAME or sets/NAME
    pub(super) object: ObjectName,
    #[command(flatten)]
    pub(super) call: CallArgs,
}

#[derive(Args, Debug)]
pub(super) struct ObjectArgs {
    /// sessions/ID, documents/NAME, counters/NAME or sets/NAME
    pub(super) object: ObjectName,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

#[derive(Args, Debug)]
pub(super) struct BodyArgs {
    /// sessions/ID or documents/NAME
    #[arg(value_parser = tree)]
    pub(super) object: ObjectName,
    /// A JSON object, or - to read it from standard input
    pub(super) json: String,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

#[derive(Args, Debug)]
pub(super) struct IncrArgs {
    /// counters/NAME; or sessions/ID or documents/NAME with --at
    pub(super) object: ObjectName,
    /// How much; may be negative
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    pub(super) amount: i64,
    /// Where the number stands in a session or document: a JSON pointer, such as /visits
    #[arg(long, value_name = "POINTER")]
    pub(super) at: Option<String>,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

#[derive(Args, Debug)]
pub(super) struct MembersArgs {
    /// sets/NAME; or sessions/ID or documents/NAME with --at
    pub(super) object: ObjectName,
    /// The members
    #[arg(required = true)]
    pub(super) members: Vec<String>,
    /// Where the set stands in a session or document: a JSON pointer, such as /roles
    #[arg(long, value_name = "POINTER")]
    pub(super) at: Option<String>,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// sessions/ID, documents/NAME, counters/NAME or sets/NAME
    pub(super) object: ObjectName,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

#[derive(Args, Debug)]
pub(super) struct WatchArgs {
    /// sessions, documents, counters or sets; all when left out
    pub(super) kind: Option<Kind>,
    /// Only keys that begin with this
    #[arg(long)]
    pub(super) prefix: Option<String>,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

#[derive(Args, Debug)]
pub(super) struct ReportArgs {
    /// Print what the node said instead of a table
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

#[derive(Args, Debug)]
pub(super) struct ForgetArgs {
    /// The member's node name; it must be down
    pub(super) node: String,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

#[derive(Args, Debug)]
pub(super) struct KeygenArgs {
    /// Write it here, readable by its owner only; to standard output when left out
    pub(super) file: Option<PathBuf>,
    /// First step of a rotation: add a new key to the file, accepted and not used yet
    #[arg(long, requires = "file", group = "step")]
    pub(super) add: bool,
    /// Second step, once every node has read the first: use the newest key
    #[arg(long, requires = "file", group = "step")]
    pub(super) promote: bool,
    /// Third step, once every node has read the second: accept the key in use only
    #[arg(long, requires = "file", group = "step")]
    pub(super) prune: bool,
    /// Print the names of the keys, which tell nothing of them: to compare with the logs of the nodes
    #[arg(long, requires = "file", group = "step")]
    pub(super) ids: bool,
}

#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "majority" => Ok(Acks::Majority),
        "all" => Ok(Acks::All),
        _ => text.parse().map(Acks::Count).map_err(|_| "must be a number, majority or all".to_owned()),
    }
}

fn tree(text: &str) -> Result<ObjectName, String> {
    let name: ObjectName = text.parse().map_err(|error: Error| error.to_string())?;
    match name.kind {
        Kind::Sessions | Kind::Documents => Ok(name),
        Kind::Counters => Err("a counter changes by incr, and goes back to 0 by destroy".to_owned()),
        Kind::Sets => Err("a set changes by add and remove".to_owned()),
    }
}

//! Every bound of the core in one place. Authors check them; a receiver applies what was admitted elsewhere.

/// Bytes of a key, at most.
pub const KEY_BYTES_MAX: usize = 512;

/// Bytes of one HTTP body, and of one object written by it, at most.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Bytes of one set, at most.
pub const SET_BYTES_MAX: usize = 64 << 20;

/// Levels of nesting in a body, at most. `{}` is one level.
pub const DEPTH_MAX: usize = 64;

/// Path operations in one PATCH, at most.
pub const PATH_OPS_MAX: usize = 1_000;

/// Members added to and removed from a set by one request, at most.
pub const MEMBERS_PER_WRITE_MAX: usize = 10_000;

/// Bytes of one member of a set, at most.
pub const MEMBER_BYTES_MAX: usize = 4_096;

/// Milliseconds a stamp may be ahead of the local clock before it is an alarm: ten seconds.
pub const DRIFT_MILLIS_MAX: u64 = 10_000;

/// The longest a lease may run: ten years.
pub const TTL_MILLIS_MAX: u64 = 10 * 366 * 24 * 3_600 * 1_000;

/// The lease of a session whose writer names none: one day, as connect-redis has it.
pub const TTL_MILLIS_DEFAULT: u64 = 24 * 3_600 * 1_000;

/// The longest a request may wait for tokens, peers or acknowledgements.
pub const WAIT_MILLIS_MAX: u64 = 30_000;

/// Tokens in one `Sidetalk-After`, at most.
pub const TOKENS_MAX: usize = 64;

/// Dots in one token, at most: as many as processes may write to one shard at once.
pub const TOKEN_DOTS_MAX: usize = 1_024;

/// Processes that one clock may name: of more, the operations are not taken. Processes that are over stay named for good, so
/// this is every start of every node since the last stop of the whole cluster: 32 nodes that are started anew every day come
/// here in five and a half years.
pub const CLOCK_IDS_MAX: usize = 1 << 16;

/// Processes that a peer's clock may name. Its own operations a node takes in any case, so this is some more.
pub const CLOCK_IDS_HEARD_MAX: usize = CLOCK_IDS_MAX + 1_024;

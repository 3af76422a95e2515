//! Every metric's name, in one list, and the text that a scraper reads.

use std::fmt::{Display, Write as _};

use crate::api::port::{ApiFigures, StorageStatus};
use crate::core::command::{MemberState, MemberStatus, NodeStatus, Readiness};
use crate::core::identity::Kind;
use crate::membership::{DroppedDatagrams, Traffic};
use crate::net::{Queues, TrafficFigures};

/// Name, type, help.
type Metric = (&'static str, &'static str, &'static str);

const READY: Metric = ("sidetalk_ready", "gauge", "1 when this node serves.");
const OBJECTS: Metric = ("sidetalk_objects", "gauge", "Objects stored, by kind.");
const CONTENT_BYTES: Metric = ("sidetalk_content_bytes", "gauge", "Bytes of stored entries.");
const LOG_OPS: Metric = ("sidetalk_log_operations", "gauge", "Operations kept for peers that may lack them.");
const LOG_BYTES: Metric = ("sidetalk_log_bytes", "gauge", "Their bytes, estimated.");
const PENDING: Metric = ("sidetalk_pending_operations", "gauge", "Operations that wait for others.");
const WAITS: Metric =
    ("sidetalk_waits", "gauge", "Requests that wait for tokens, peers or acknowledgements.");
const AUTHORED: Metric = ("sidetalk_operations_authored_total", "counter", "Operations written here.");
const APPLIED: Metric = ("sidetalk_operations_applied_total", "counter", "Operations applied from peers.");
const DUPLICATE: Metric = ("sidetalk_operations_duplicate_total", "counter", "Operations that came again.");
const STATES_MERGED: Metric = ("sidetalk_states_merged_total", "counter", "Shards taken over whole.");
const STATES_SENT: Metric = ("sidetalk_states_sent_total", "counter", "Shards given whole.");
const ASKS: Metric = ("sidetalk_asks_total", "counter", "Questions put to peers about unknown ids.");
const ASKS_REFUSED: Metric = ("sidetalk_asks_refused_total", "counter", "Questions not put, for their rate.");
const DIVERGED: Metric =
    ("sidetalk_diverged_shards", "gauge", "Shards that differ from a peer's with equal clocks.");
const DIVERGENCES: Metric = ("sidetalk_divergence_alarms_total", "counter", "Times that was noticed.");
const SKEW_ALARMS: Metric = ("sidetalk_skew_alarms_total", "counter", "Stamps from beyond the drift limit.");
const SKEW: Metric = ("sidetalk_clock_skew_milliseconds", "gauge", "This node's clock ahead of the median.");
const EXPIRED: Metric =
    ("sidetalk_expired_total", "counter", "Lives this node destroyed because they expired.");
const FOLDS: Metric =
    ("sidetalk_folds_total", "counter", "Times this node made one record of many that a counter had kept.");
const FORGOTTEN: Metric =
    ("sidetalk_forgotten_members_total", "counter", "Members that were given up on this node.");
const CLOCK_ENTRIES: Metric =
    ("sidetalk_clock_entries", "gauge", "Replica ids that a clock names, in the shard with most.");
const CLOCKS_REFUSED: Metric = (
    "sidetalk_clocks_refused_total",
    "counter",
    "Links closed because the peer's clocks named more processes than any cluster has.",
);
const PAST_PROCESSES: Metric =
    ("sidetalk_past_processes", "gauge", "Processes that are over, and written down once for all clocks.");
const PAST_BYTES: Metric = ("sidetalk_past_bytes", "gauge", "Memory that this takes, roughly.");
const CHANGES: Metric = ("sidetalk_changes_total", "counter", "Visible changes, local and remote.");
const MEMBERS: Metric = ("sidetalk_members", "gauge", "Members by state.");
const LAG_OPS: Metric =
    ("sidetalk_peer_lag_operations", "gauge", "Operations a member has not reported to have.");
const LAG_MILLIS: Metric =
    ("sidetalk_peer_lag_milliseconds", "gauge", "For how long it has lacked the oldest.");
const ROUND_TRIP: Metric = ("sidetalk_peer_round_trip_microseconds", "gauge", "Last round trip to a member.");
const BYTES_IN: Metric = ("sidetalk_link_received_bytes_total", "counter", "Bytes received over links.");
const BYTES_OUT: Metric =
    ("sidetalk_link_sent_bytes_total", "counter", "Bytes sent over links, encryption aside.");
const MESSAGES_IN: Metric =
    ("sidetalk_link_messages_received_total", "counter", "Messages received over links.");
const MESSAGES_OUT: Metric = ("sidetalk_link_messages_sent_total", "counter", "Messages sent over links.");
const OVERFLOWS: Metric =
    ("sidetalk_link_overflows_total", "counter", "Link queues that were full and dropped.");
const REHEARSED_LOSSES: Metric =
    ("sidetalk_link_rehearsed_losses_total", "counter", "Messages that a rehearsed failure dropped.");
const LINKS_OPENED: Metric = ("sidetalk_links_opened_total", "counter", "Links that came up.");
const LINK_ERRORS: Metric = ("sidetalk_link_errors_total", "counter", "Links that failed, by reason.");

const GOSSIP_IN: Metric = ("sidetalk_gossip_received_bytes_total", "counter", "Bytes of datagrams received.");
const GOSSIP_OUT: Metric = ("sidetalk_gossip_sent_bytes_total", "counter", "Bytes of datagrams sent.");
const GOSSIP_DROPPED: Metric = ("sidetalk_gossip_dropped_total", "counter", "Datagrams dropped, by reason.");

const STORAGE_BYTES: Metric = ("sidetalk_storage_bytes", "gauge", "Bytes stored on disk.");
const STORAGE_UNSAVED: Metric = ("sidetalk_storage_unsaved_bytes", "gauge", "Bytes that wait for the disk.");
const STORAGE_COMMITS: Metric = ("sidetalk_storage_commits_total", "counter", "Group commits.");
const STORAGE_FAILURES: Metric =
    ("sidetalk_storage_failures_total", "counter", "Commits that failed, and openings after that.");
const STORAGE_COMMIT_MICROS: Metric =
    ("sidetalk_storage_commit_microseconds", "gauge", "How long the last commit took.");
const STORAGE_WRITABLE: Metric =
    ("sidetalk_storage_writable", "gauge", "1 while the disk takes writes, 0 while it is full or fails.");
const BOUNDED: Metric = ("sidetalk_bounded", "gauge", "What there is of everything that is bounded.");
const BOUND: Metric = ("sidetalk_bound", "gauge", "What there may be of it; 0: as much as there is.");
const MEMORY_REFUSALS: Metric =
    ("sidetalk_memory_refusals_total", "counter", "Writes refused at the limit on memory.");
const API_REFUSED: Metric =
    ("sidetalk_api_refused_total", "counter", "Requests refused because too much was under way.");
const API_UNAUTHORIZED: Metric =
    ("sidetalk_api_unauthorized_total", "counter", "Requests without a token that is accepted.");
const API_CLOSED_SLOW: Metric = (
    "sidetalk_api_closed_slow_total",
    "counter",
    "Connections closed because their client was slow or idle.",
);
const LINKS: Metric = ("sidetalk_links", "gauge", "Links that stand.");
const KEYS: Metric = ("sidetalk_cluster_keys", "gauge", "Cluster keys that are accepted.");

/// Where the metrics come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// This node.
    pub status: NodeStatus,
    /// The members.
    pub members: Vec<MemberStatus>,
    /// What is asked of the API.
    pub api: ApiFigures,
    /// What waits on the links.
    pub queues: Queues,
    /// Cluster keys that are accepted.
    pub keys: usize,
    /// What went over the links.
    pub links: TrafficFigures,
    /// What gossip sent and received.
    pub gossip: Traffic,
    /// The disk, where there is one.
    pub storage: Option<StorageStatus>,
    /// What gossip dropped.
    pub gossip_dropped: DroppedDatagrams,
}

/// The figures in the Prometheus text format.
#[must_use]
pub fn render(sources: &Sources) -> String {
    let Sources { status, members, links: traffic, gossip, gossip_dropped: dropped, storage, .. } = sources;
    let mut page = Page::default();
    let figures = &status.figures;
    page.one(READY, u8::from(status.readiness == Readiness::Ready));
    page.many(OBJECTS, "kind", Kind::ALL.iter().zip(figures.objects).map(|(kind, n)| (kind.plural(), n)));
    page.one(CONTENT_BYTES, figures.content_bytes);
    page.one(LOG_OPS, figures.log_ops);
    page.one(LOG_BYTES, figures.log_bytes);
    page.one(PENDING, figures.pending_ops);
    page.one(WAITS, figures.waits);
    page.one(AUTHORED, figures.ops_authored);
    page.one(APPLIED, figures.ops_applied);
    page.one(DUPLICATE, figures.ops_duplicate);
    page.one(STATES_MERGED, figures.states_merged);
    page.one(STATES_SENT, figures.states_sent);
    page.one(ASKS, figures.asks);
    page.one(ASKS_REFUSED, figures.asks_refused);
    page.one(DIVERGED, status.diverged.len());
    page.one(DIVERGENCES, figures.divergence_alarms);
    page.one(SKEW_ALARMS, figures.skew_alarms);
    page.one(SKEW, status.skew_millis);
    page.one(EXPIRED, figures.expired);
    page.one(FOLDS, figures.folds);
    page.one(FORGOTTEN, figures.forgotten);
    page.one(CLOCK_ENTRIES, figures.clock_entries);
    page.one(CLOCKS_REFUSED, figures.clocks_refused);
    page.one(PAST_PROCESSES, figures.past_processes);
    page.one(PAST_BYTES, figures.past_bytes);
    page.one(CHANGES, figures.changes);
    let states = [
        ("up", MemberState::Up),
        ("suspect", MemberState::Suspect),
        ("down", MemberState::Down),
        ("left", MemberState::Left),
    ];
    let count = |state| members.iter().filter(|member| member.state == state).count();
    page.many(MEMBERS, "state", states.into_iter().map(|(name, state)| (name, count(state))));
    let peers = || members.iter().filter(|member| !member.is_self && member.state != MemberState::Left);
    page.many(LAG_OPS, "peer", peers().map(|peer| (peer.replica.node.as_str(), peer.lag_ops)));
    page.many(LAG_MILLIS, "peer", peers().map(|peer| (peer.replica.node.as_str(), peer.lag_millis)));
    let round_trips = peers().filter_map(|peer| Some((peer.replica.node.as_str(), peer.round_trip_micros?)));
    page.many(ROUND_TRIP, "peer", round_trips);
    page.one(BYTES_IN, traffic.bytes_in);
    page.one(BYTES_OUT, traffic.bytes_out);
    page.one(MESSAGES_IN, traffic.messages_in);
    page.one(MESSAGES_OUT, traffic.messages_out);
    page.one(OVERFLOWS, traffic.overflows);
    page.one(REHEARSED_LOSSES, traffic.rehearsed_losses);
    page.one(LINKS_OPENED, traffic.links_opened);
    page.many(LINK_ERRORS, "reason", traffic.errors.iter().map(|(reason, n)| (*reason, *n)));
    page.one(GOSSIP_IN, gossip.received_bytes);
    page.one(GOSSIP_OUT, gossip.sent_bytes);
    let reasons = [
        ("undecryptable", dropped.undecryptable),
        ("key_mismatch", dropped.key_mismatch),
        ("undecodable", dropped.undecodable),
        ("wrong_cluster", dropped.wrong_cluster),
        ("oversized", dropped.oversized),
        ("unsent", dropped.unsent),
        ("overdue", dropped.overdue),
        ("crowded", dropped.crowded),
        ("replayed", dropped.replayed),
        ("unaddressed", dropped.unaddressed),
    ];
    page.many(GOSSIP_DROPPED, "reason", reasons.into_iter());
    if let Some(storage) = storage {
        page.one(STORAGE_BYTES, storage.bytes);
        page.one(STORAGE_UNSAVED, storage.unsaved_bytes);
        page.one(STORAGE_COMMITS, storage.commits);
        page.one(STORAGE_FAILURES, storage.failures);
        page.one(STORAGE_COMMIT_MICROS, storage.commit_micros);
        page.one(STORAGE_WRITABLE, u8::from(storage.error.is_none()));
    }
    limits(&mut page, sources);
    page.0
}

/// What is bounded: how much there is, and how much may be.
fn limits(page: &mut Page, sources: &Sources) {
    let Sources { status: NodeStatus { figures, .. }, api, queues, .. } = sources;
    let at = |(now, max): (usize, usize)| (now as u64, max as u64);
    let limits: [(&str, (u64, u64)); 14] = [
        ("memory_bytes", (figures.memory_bytes, figures.memory_bytes_max)),
        ("log_bytes", (figures.log_bytes, figures.log_bytes_max)),
        ("pending_operations", (figures.pending_ops, figures.pending_ops_max)),
        ("pending_bytes", (figures.pending_bytes, figures.pending_bytes_max)),
        ("clock_ids", (figures.clock_entries + figures.past_processes, figures.clock_ids_max)),
        ("link_queue_bytes", at((queues.bytes_longest, queues.bytes_max))),
        ("link_unpacking_bytes", at((queues.unpacking, queues.unpacking_max))),
        ("api_connections", at(api.connections)),
        ("api_requests", at(api.requests)),
        ("api_body_bytes", at(api.body_bytes)),
        ("api_waits", (figures.waits, api.requests.1 as u64)),
        ("api_watchers", at(api.watchers)),
        ("idempotency_answers", at(api.idempotency_answers)),
        ("idempotency_bytes", at(api.idempotency_bytes)),
    ];
    page.many(BOUNDED, "what", limits.iter().map(|(what, (now, _))| (*what, *now)));
    page.many(BOUND, "what", limits.iter().map(|(what, (_, max))| (*what, *max)));
    page.one(MEMORY_REFUSALS, figures.memory_refusals);
    page.one(API_REFUSED, api.refused);
    page.one(API_UNAUTHORIZED, api.unauthorized);
    page.one(API_CLOSED_SLOW, api.closed_slow);
    page.one(LINKS, queues.links);
    page.one(KEYS, sources.keys);
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, (name, kind, help): Metric) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, metric: Metric, value: impl Display) {
        self.head(metric);
        let _ = writeln!(self.0, "{} {value}", metric.0);
    }

    fn many<'a, V: Display>(
        &mut self,
        metric: Metric,
        label: &str,
        values: impl Iterator<Item = (&'a str, V)>,
    ) {
        self.head(metric);
        for (which, value) in values {
            let which = which.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = writeln!(self.0, "{}{{{label}=\"{which}\"}} {value}", metric.0);
        }
    }
}

#[cfg(test)]
mod tests {
    const OPERATING: &str = include_str!("../../../docs/operating.md");

    /// Words of the text that begin so.
    fn named(prefix: &str) -> Vec<&'static str> {
        let word = |at: usize| {
            let rest = &OPERATING[at..];
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            &rest[..end]
        };
        OPERATING.match_indices(prefix).map(|(at, _)| word(at)).collect()
    }

    #[test]
    fn what_operators_are_told_to_look_at_is_there() {
        // Up to here, so that the test does not find its own words.
        let (source, _) = include_str!("metrics.rs").split_once("mod tests").unwrap();
        let metrics = named("sidetalk_");
        assert!(metrics.len() > 10, "{metrics:?}");
        for name in metrics {
            assert!(source.contains(&format!("\"{name}\"")), "{name} is no metric");
        }
        // Every bound is explained.
        let (_, limits) = source.split_once("let limits").unwrap();
        let (limits, _) = limits.split_once("];").unwrap();
        let what: Vec<&str> = limits.split("(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(what.len() > 10, "{what:?}");
        for what in what {
            assert!(OPERATING.contains(&format!("`{what}`")), "{what} is not explained");
        }
    }
}

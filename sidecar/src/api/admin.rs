//! This node and its cluster: status, members, health, metrics, and the contract itself.

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, Outcome, empty, json, json_of};
use super::call::Call;
use super::dispatch::Api;
use super::errors::{Code, Problem};
use super::operation::{About, AnyObject, Content, Given, Operation, Verb, of};
use super::port::StorageStatus;
use crate::core::command::{Figures, KeptMember, MemberState, MemberStatus, NodeStatus, Readiness};
use crate::core::identity::Kind;

/// This node.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// Its stable name.
    node: String,
    /// This process, for as long as it lives.
    replica: String,
    version: &'static str,
    started_unix_millis: u64,
    now_unix_millis: u64,
    readiness: StatusReadiness,
    /// How far this node's clock is ahead of the middle of the cluster.
    skew_millis: i64,
    /// By how much it corrects its own stamps.
    correction_millis: i64,
    /// Shards in which a peer with the same clock held different content. Always empty, or this is a bug.
    diverged_shards: Vec<u8>,
    /// Objects that this node holds.
    objects: StatusObjects,
    figures: StatusFigures,
    /// The disk, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<StorageStatus>,
}

/// Whether a node may serve.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusReadiness {
    ready: bool,
    /// `ready`, `seeking_sponsor`, `refused`, `name_in_use`, `catching_up`, `clock_skewed`, or `leaving`.
    state: &'static str,
    /// What it waits for, in words.
    reason: String,
    /// Of `catching_up`: shards still to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    shards_left: Option<usize>,
}

/// Objects by kind.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusObjects {
    sessions: u64,
    documents: u64,
    counters: u64,
    sets: u64,
}

/// Counts and sizes.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusFigures {
    content_bytes: u64,
    log_ops: u64,
    log_bytes: u64,
    pending_ops: u64,
    /// Estimated memory of the state.
    memory_bytes: u64,
    /// Its limit; 0: none.
    memory_bytes_max: u64,
    memory_refusals: u64,
    ops_authored: u64,
    ops_applied: u64,
    ops_duplicate: u64,
    states_merged: u64,
    states_sent: u64,
    asks: u64,
    asks_refused: u64,
    divergence_alarms: u64,
    skew_alarms: u64,
    expired: u64,
    forgotten: u64,
    clock_entries: u64,
    past_processes: u64,
    past_bytes: u64,
    waits: u64,
    changes: u64,
}

/// The cluster, as this node sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct Cluster {
    members: Vec<Member>,
}

/// What this node knows of a member.
#[derive(Serialize, ToSchema)]
pub(super) struct Member {
    /// Its stable name.
    node: String,
    /// `up`, `suspect`, `down`, or `left`.
    state: &'static str,
    /// This is the node that answers.
    #[serde(rename = "self")]
    is_self: bool,
    /// The member's current process.
    replica: String,
    started_unix_millis: u64,
    /// Operations that this node has and the member has not reported to have.
    lag_ops: u64,
    /// For how long the member has lacked the oldest of them.
    lag_millis: u64,
    /// The last measured round trip.
    round_trip_micros: Option<u64>,
    /// The member's wall clock less this node's.
    clock_offset_millis: Option<i64>,
}

/// Gives up a member that will not come back.
pub(super) static FORGET: Operation = Operation {
    verb: Verb::Delete,
    path: "/v1/cluster/{node}",
    id: "forgetMember",
    summary: "Give up a member that will not come back: it counts as one that has left. Should it come back all the same, it \
              starts empty.",
    query: &[],
    headers: &[],
    takes: None,
    about: About::Nothing,
    given: &[Given::empty(204, "It counts as a member no more.")],
    codes: &[&[Code::UnknownPeer, Code::MemberAlive, Code::NotReady]],
    run: |api, call| Box::pin(async move { forget(api, call) }),
};

/// That a process is alive, or a node ready.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    status: &'static str,
}

macro_rules! admin {
    ($name:ident, $path:literal, $id:literal, $summary:literal, $given:expr, $codes:expr, $run:path) => {
        pub(super) static $name: Operation = Operation {
            verb: Verb::Get,
            path: $path,
            id: $id,
            summary: $summary,
            query: &[],
            headers: &[],
            takes: None,
            about: About::Nothing,
            given: &[$given],
            codes: $codes,
            run: |api, _| Box::pin(async move { $run(api) }),
        };
    };
}

admin!(
    STATUS,
    "/v1/status",
    "getStatus",
    "This node: whether it is ready, its clock, what it holds.",
    Given::json(200, "This node.", of::<Status>),
    &[],
    status
);
admin!(
    CLUSTER,
    "/v1/cluster",
    "getCluster",
    "The members, and how far each is behind this node.",
    Given::json(200, "The members.", of::<Cluster>),
    &[],
    cluster
);
admin!(
    LIVEZ,
    "/livez",
    "getLiveness",
    "Whether the process is alive.",
    Given::json(200, "It is.", of::<Health>),
    &[],
    livez
);
admin!(
    READYZ,
    "/readyz",
    "getReadiness",
    "Whether this node has caught up with the cluster and serves.",
    Given::json(200, "It does.", of::<Health>),
    &[&[Code::NotReady, Code::DiskFailing]],
    readyz
);
admin!(
    METRICS,
    "/metrics",
    "getMetrics",
    "Figures in the Prometheus text format.",
    Given { status: 200, when: "The figures.", content: Content::Other(METRICS_TYPE) },
    &[],
    metrics
);
admin!(
    OPENAPI,
    "/openapi.json",
    "getOpenApi",
    "This document.",
    Given::json(200, "This document.", of::<AnyObject>),
    &[],
    openapi
);

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn livez(_: &Api) -> Outcome {
    json_of(&Health { status: "alive" })
}

fn readyz(api: &Api) -> Outcome {
    api.must_be_ready()?;
    if let Some(error) = api.port.storage().and_then(|storage| storage.error) {
        return Err(Problem::new(Code::DiskFailing, error));
    }
    json_of(&Health { status: "ready" })
}

fn openapi(api: &Api) -> Outcome {
    Ok(json(StatusCode::OK, api.openapi.clone()))
}

fn metrics(api: &Api) -> Outcome {
    let mut answer: Answer = json(StatusCode::OK, api.port.metrics(&api.figures()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
    Ok(answer)
}

fn cluster(api: &Api) -> Outcome {
    json_of(&Cluster { members: api.port.members().into_iter().map(member).collect() })
}

fn forget(api: &Api, call: &Call) -> Outcome {
    let node = call.node().map_err(|why| Problem::new(Code::UnknownPeer, why))?;
    match api.port.give_up(&node) {
        Ok(()) => Ok(empty(StatusCode::NO_CONTENT)),
        Err(KeptMember::Unknown) => {
            Err(Problem::new(Code::UnknownPeer, format!("no member is called {node:?}")))
        }
        Err(KeptMember::Alive) => Err(Problem::new(Code::MemberAlive, format!("this node hears {node:?}"))),
        Err(KeptMember::NotReady) => {
            Err(Problem::new(Code::NotReady, "this node has not caught up, or leaves"))
        }
    }
}

fn member(status: MemberStatus) -> Member {
    Member {
        node: status.replica.node,
        state: match status.state {
            MemberState::Up => "up",
            MemberState::Suspect => "suspect",
            MemberState::Down => "down",
            MemberState::Left => "left",
        },
        is_self: status.is_self,
        replica: status.replica.id.to_string(),
        started_unix_millis: status.replica.started.0,
        lag_ops: status.lag_ops,
        lag_millis: status.lag_millis,
        round_trip_micros: status.round_trip_micros,
        clock_offset_millis: status.clock_offset_millis,
    }
}

fn status(api: &Api) -> Outcome {
    let NodeStatus { replica, readiness, figures, diverged, skew_millis, correction_millis } =
        api.port.status();
    json_of(&Status {
        node: replica.node,
        replica: replica.id.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        started_unix_millis: replica.started.0,
        now_unix_millis: api.port.now().0,
        readiness: readiness_of(readiness),
        skew_millis,
        correction_millis,
        diverged_shards: diverged.iter().map(|shard| shard.0).collect(),
        objects: objects_of(&figures),
        figures: figures_of(&figures),
        storage: api.port.storage(),
    })
}

fn readiness_of(readiness: Readiness) -> StatusReadiness {
    let (state, reason) = match readiness {
        Readiness::Ready => ("ready", "it serves".to_owned()),
        Readiness::SeekingSponsor => (
            "seeking_sponsor",
            "it started without memory and looks for a member to take the state from".to_owned(),
        ),
        Readiness::Refused => (
            "refused",
            "the nodes that it is to join refuse it, for its key, its cluster or its release: its log says why"
                .to_owned(),
        ),
        Readiness::CatchingUp { shards_left } => (
            "catching_up",
            format!("it takes the state from a member: {shards_left} shards are still to come"),
        ),
        Readiness::NameInUse => (
            "name_in_use",
            "another process that bears this node's name is still a member: it waits until that one is gone"
                .to_owned(),
        ),
        Readiness::Leaving => ("leaving", "it is leaving the cluster".to_owned()),
    };
    let shards_left = match readiness {
        Readiness::CatchingUp { shards_left } => Some(shards_left),
        _ => None,
    };
    StatusReadiness { ready: readiness == Readiness::Ready, state, reason, shards_left }
}

fn objects_of(figures: &Figures) -> StatusObjects {
    let count = |kind: Kind| figures.objects[kind as usize];
    StatusObjects {
        sessions: count(Kind::Session),
        documents: count(Kind::Document),
        counters: count(Kind::Counter),
        sets: count(Kind::Set),
    }
}

fn figures_of(figures: &Figures) -> StatusFigures {
    StatusFigures {
        content_bytes: figures.content_bytes,
        log_ops: figures.log_ops,
        log_bytes: figures.log_bytes,
        pending_ops: figures.pending_ops,
        memory_bytes: figures.memory_bytes,
        memory_bytes_max: figures.memory_bytes_max,
        memory_refusals: figures.memory_refusals,
        ops_authored: figures.ops_authored,
        ops_applied: figures.ops_applied,
        ops_duplicate: figures.ops_duplicate,
        states_merged: figures.states_merged,
        states_sent: figures.states_sent,
        asks: figures.asks,
        asks_refused: figures.asks_refused,
        divergence_alarms: figures.divergence_alarms,
        skew_alarms: figures.skew_alarms,
        expired: figures.expired,
        forgotten: figures.forgotten,
        clock_entries: figures.clock_entries,
        past_processes: figures.past_processes,
        past_bytes: figures.past_bytes,
        waits: figures.waits,
        changes: figures.changes,
    }
}

/// The problem of a node that does not serve yet, or no more.
pub(super) fn not_ready(api: &Api) -> Problem {
    let readiness = readiness_of(api.port.status().readiness);
    let problem = Problem::new(Code::NotReady, readiness.reason)
        .with("state", readiness.state)
        .header(RETRY_AFTER, HeaderValue::from_static("1"));
    match readiness.shards_left {
        Some(left) => problem.with("shards_left", left),
        None => problem,
    }
}

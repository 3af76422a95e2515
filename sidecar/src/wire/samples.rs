//! One message of every kind, for tests.

use std::sync::Arc;

use crate::core::identity::{Clock, Dot, Kind, ObjectId, Replica, ReplicaId, ShardId};
use crate::core::message::{Hello, Message, Micros, Missing, Progress, RosterEntry, ShardClock, ShardDigest};
use crate::core::op::{Action, Clear, Content, Edit, Increment, Lease, Op, Put, Removal};
use crate::core::path::Path;
use crate::core::shard::{Shard, ShardState};
use crate::core::time::{Hlc, UnixMillis};
use crate::core::value::JsonText;

const A: ReplicaId = ReplicaId(0x1122_3344_5566_7788);
const B: ReplicaId = ReplicaId(0x99aa_bbcc_ddee_ff00);

pub(crate) fn replica(node: &str, id: u64) -> Replica {
    Replica { node: node.to_owned(), started: UnixMillis(1_767_225_600_000), id: ReplicaId(id) }
}

pub(crate) fn session() -> ObjectId {
    ObjectId::new(Kind::Session, "0123456789abcdef0123456789abcdef")
}

/// What changing one field of a session comes to.
pub(crate) fn one_field_update(counter: u64) -> Op {
    let path = Path::of(["cart"]);
    let removal = Removal {
        clears: vec![Clear::Subtree(path.clone())],
        seen: vec![Dot::new(A, counter - 1)],
        covers: Vec::new(),
    };
    let puts = vec![Put { path, content: Content::Register(JsonText::integer(12_345)) }];
    let edit = Edit { removal, puts, increments: Vec::new() };
    Op {
        dot: Dot::new(A, counter),
        deps: Vec::new(),
        hlc: Hlc::from_wall(UnixMillis(1_767_225_600_123)),
        object: session(),
        action: Action::Edit { life: Dot::new(A, 1), idle: None, edit },
    }
}

fn create() -> Op {
    let path = Path::of(["user", "name"]);
    let increment =
        Increment { path: Path::of(["visits"]), accumulator: Dot::new(A, 1), delta: -3, total: -3 };
    let edit = Edit {
        removal: Removal::default(),
        puts: vec![
            Put { path: Path::ROOT, content: Content::Marker },
            Put { path, content: Content::Register(JsonText::string("ada")) },
            Put { path: Path::of(["roles"]), content: Content::Member("admin".into()) },
        ],
        increments: vec![increment],
    };
    let lease = Lease { idle: UnixMillis(1_767_229_200_000), absolute: UnixMillis::NEVER };
    Op {
        dot: Dot::new(A, 1),
        deps: vec![Dot::new(B, 7)],
        hlc: Hlc::from_wall(UnixMillis(1_767_225_600_000)),
        object: session(),
        action: Action::Create { lease, kills: Vec::new(), barriers_seen: vec![Dot::new(B, 7)], edit },
    }
}

fn state() -> ShardState {
    let mut shard = Shard::new(session().shard());
    let create = Op { deps: Vec::new(), ..create() };
    shard.receive(Arc::new(create));
    shard.receive(Arc::new(one_field_update(2)));
    let state = shard.state();
    assert_eq!(state.clock.get(&A), 2, "the samples apply");
    state
}

fn other_actions() -> Vec<Arc<Op>> {
    let act = |counter, action| {
        Arc::new(Op { dot: Dot::new(A, counter), deps: Vec::new(), hlc: Hlc(7), object: session(), action })
    };
    let lives = vec![Dot::new(A, 1)];
    vec![
        act(3, Action::Touch { lives: lives.clone(), idle: UnixMillis(5) }),
        act(4, Action::Destroy { lives, removal: Removal::default() }),
        act(5, Action::Barrier { until: Hlc(9) }),
        act(6, Action::Unbarrier { barriers: vec![Dot::new(A, 5)] }),
    ]
}

fn clock() -> Clock {
    [(A, 300), (B, 7)].into_iter().map(|(actor, counter)| Dot::new(actor, counter)).collect()
}

/// Every kind of message, with a name each.
pub(crate) fn messages() -> Vec<(&'static str, Message)> {
    let hello =
        Hello { replica: replica("web-1", A.0), cluster: "shop".to_owned(), fresh: true, lineage: 77 };
    let digest = ShardDigest { clock_sum: 0x0123_4567_89ab_cdef, content_sum: u128::MAX - 5 };
    let all_ops = [Arc::new(create()), Arc::new(one_field_update(2))].into_iter().chain(other_actions());
    vec![
        ("hello", Message::Hello(hello)),
        ("roster", Message::Roster(vec![RosterEntry { replica: replica("web-2", B.0), left: true }])),
        ("ops-one-field", Message::Ops(vec![Arc::new(one_field_update(2))])),
        ("ops-all-actions", Message::Ops(all_ops.collect())),
        ("applied", Message::Applied(vec![Progress { shard: ShardId(255), dot: Dot::new(B, 1 << 20) }])),
        ("clocks", Message::Clocks(vec![ShardClock { shard: ShardId(3), clock: clock() }])),
        ("digests", Message::Digests { total: digest, shards: vec![(ShardId(9), ShardDigest::default())] }),
        ("want-states", Message::WantStates(vec![ShardId(0), ShardId(200)])),
        ("state", Message::State(Box::new(state()))),
        ("ask", Message::Ask { id: 5, object: session(), clock: clock() }),
        ("answer-ops", Message::Answer { id: 5, missing: Missing::Ops(other_actions()), ended: true }),
        ("answer-state", Message::Answer { id: 6, missing: Missing::State(Box::new(state())), ended: false }),
        (
            "ping",
            Message::Ping { sent: Micros(1), wall: UnixMillis(2), now: UnixMillis(3), clock_sum: u64::MAX },
        ),
        ("pong", Message::Pong { sent: Micros(1), wall: UnixMillis(300), clocks_known: true }),
        ("leave", Message::Leave),
    ]
}

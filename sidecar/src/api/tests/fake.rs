//! A node of one map, which follows the semantics well enough to test what stands before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::api::port::{ApiFigures, Chaos, Fault, Port, Waiting};
use crate::core::command::{
    Acks, Changed, Changes, Conflict, ContentExplained, EntityTag, EntryExplained, Explanation, Figures,
    KeptMember, Known, LifeExplained, LifeState, Lookup, MemberState, MemberStatus, NodeStatus, Page,
    Readiness, Reading, Refusal, Revision, Sibling, View, Wait, Waited, Write, Written,
};
use crate::core::identity::{Dot, Kind, LifeId, ObjectId, Replica, ReplicaId};
use crate::core::path::Path;
use crate::core::time::{Hlc, UnixMillis};
use crate::core::token::Token;
use crate::core::value::JsonText;

/// Members of the cluster that this node pretends to be in.
pub(super) const MEMBERS: usize = 3;

/// What is stored under a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stored {
    Live { content: Value, life: Option<LifeId>, expires_in_millis: Option<u64> },
    Ended,
}

/// What the node knows, and how it behaves.
pub(super) struct State {
    pub objects: BTreeMap<ObjectId, Stored>,
    /// What the peers tell when they are asked.
    pub elsewhere: BTreeMap<ObjectId, Stored>,
    /// Every peer answers.
    pub asked_by_all: bool,
    /// Waiting for a token helps.
    pub catches_up: bool,
    /// How many nodes acknowledge.
    pub have: usize,
    pub readiness: Readiness,
    /// The next write is refused.
    pub refuse: Option<Refusal>,
    /// Waits asked for, with their bounds.
    pub waits: Vec<(Wait, u64)>,
    /// Waits do not end.
    pub stuck: bool,
    /// How often each of the next waits lets others have their turn before it ends.
    pub delays: Vec<usize>,
    pub writes: Vec<Write>,
    /// The journal; what is older than its first entry is forgotten.
    pub journal: Vec<(u64, ObjectId)>,
    pub forgotten: u64,
    pub clock: u64,
}

pub(super) struct Fake {
    pub state: Mutex<State>,
    grown: watch::Sender<u64>,
    pub chaos: Option<FakeChaos>,
}

pub(super) const REPLICA: ReplicaId = ReplicaId(0xfeed);

impl Fake {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self::with_chaos(Some(FakeChaos::default())))
    }

    pub(super) fn with_chaos(chaos: Option<FakeChaos>) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            asked_by_all: true,
            catches_up: false,
            have: 1,
            readiness: Readiness::Ready,
            refuse: None,
            waits: Vec::new(),
            stuck: false,
            delays: Vec::new(),
            writes: Vec::new(),
            journal: Vec::new(),
            forgotten: 0,
            clock: 0,
        };
        Self { state: Mutex::new(state), grown: watch::Sender::new(0), chaos }
    }

    /// As if a write had come from a peer.
    pub(super) fn put(&self, kind: Kind, key: &str, content: Value) -> ObjectId {
        let object = ObjectId::new(kind, key);
        let life = (kind == Kind::Session).then(|| Dot::new(ReplicaId(7), 7));
        let expires_in_millis = life.map(|_| 60_999);
        let stored = Stored::Live { content, life, expires_in_millis };
        self.state.lock().objects.insert(object.clone(), stored);
        self.note(&object);
        object
    }

    pub(super) fn end(&self, kind: Kind, key: &str) {
        let object = ObjectId::new(kind, key);
        self.state.lock().objects.insert(object.clone(), Stored::Ended);
        self.note(&object);
    }

    fn note(&self, object: &ObjectId) {
        let cursor = {
            let mut state = self.state.lock();
            state.clock += 1;
            let cursor = state.clock;
            state.journal.retain(|(_, noted)| noted != object);
            state.journal.push((cursor, object.clone()));
            cursor
        };
        self.grown.send_replace(cursor);
    }

    pub(super) fn life_of(&self, kind: Kind, key: &str) -> Option<LifeId> {
        match self.state.lock().objects.get(&ObjectId::new(kind, key)) {
            Some(Stored::Live { life, .. }) => *life,
            _ => None,
        }
    }

    fn replica(&self) -> Replica {
        Replica { node: "n1".into(), started: UnixMillis(1_000), id: REPLICA }
    }
}

/// A token of a moment of this node's own clock.
pub(super) fn token_at(object: &ObjectId, clock: u64) -> Token {
    Token { shard: object.shard(), hlc: Hlc(clock), dots: vec![Dot::new(REPLICA, clock)] }
}

impl Port for Fake {
    /// A few at a time, as a node does where each takes long.
    fn write_all(&self, writes: &[Write]) -> Vec<Result<Written, Refusal>> {
        writes.iter().take(5).map(|write| self.write(write)).collect()
    }

    fn ready(&self) -> bool {
        self.state.lock().readiness == Readiness::Ready
    }

    fn read(&self, object: &ObjectId, _: Option<&Known>) -> Option<Reading> {
        self.ready().then(|| Reading {
            lookup: Some(self.look_up(object)),
            token: Some(self.read_token(object)),
            revision: Revision::default(),
            time: self.now(),
        })
    }

    fn look_up(&self, object: &ObjectId) -> Lookup {
        look_up(&self.state.lock(), object)
    }

    fn read_token(&self, object: &ObjectId) -> Token {
        token_at(object, self.state.lock().clock)
    }

    fn write(&self, write: &Write) -> Result<Written, Refusal> {
        let outcome = self.state.lock().write(write)?;
        if outcome.changed {
            self.note(&write.object);
        }
        let token = self.read_token(&write.object);
        let state = self.state.lock();
        let (life, expires_in_millis) = match state.objects.get(&write.object) {
            Some(Stored::Live { life, expires_in_millis, .. }) => (*life, *expires_in_millis),
            _ => (None, None),
        };
        Ok(Written { created: outcome.created, token, life, expires_in_millis })
    }

    fn seen(&self, tokens: &[Token]) -> bool {
        let clock = self.state.lock().clock;
        tokens.iter().all(|token| token.hlc.0 <= clock)
    }

    fn wait(&self, wait: Wait, millis_max: u64) -> Waiting<'_> {
        Box::pin(async move {
            let (stuck, delay) = {
                let mut state = self.state.lock();
                state.waits.push((wait.clone(), millis_max));
                (state.stuck, state.delays.pop().unwrap_or(0))
            };
            for _ in 0..delay {
                tokio::task::yield_now().await;
            }
            if stuck {
                std::future::pending::<()>().await;
            }
            let mut state = self.state.lock();
            match wait {
                Wait::Saved(_) => Waited::Seen,
                Wait::Seen(tokens) if state.catches_up => {
                    let latest = tokens.iter().map(|token| token.hlc.0).max().unwrap_or_default();
                    state.clock = state.clock.max(latest);
                    Waited::Seen
                }
                Wait::Seen(_) => Waited::Behind,
                Wait::Acks { need, .. } => {
                    let need = match need {
                        Acks::Count(count) => count,
                        Acks::Majority => MEMBERS / 2 + 1,
                        Acks::All => MEMBERS,
                    };
                    Waited::Acks { have: state.have, need }
                }
                Wait::Asked(object) => {
                    let told = state.elsewhere.get(&object).cloned();
                    let ended = told == Some(Stored::Ended);
                    if let Some(live @ Stored::Live { .. }) = told {
                        state.objects.insert(object, live);
                    }
                    Waited::Asked { by_all: state.asked_by_all, ended }
                }
            }
        })
    }

    fn list(&self, kind: Kind, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        let state = self.state.lock();
        let mut keys: Vec<Box<str>> = state
            .objects
            .iter()
            .filter(|(object, stored)| object.kind == kind && matches!(stored, Stored::Live { .. }))
            .map(|(object, _)| object.key.clone())
            .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| &**key > after))
            .collect();
        let more = keys.len() > limit;
        keys.truncate(limit);
        let next = if more { keys.last().cloned() } else { None };
        Page { keys, next }
    }

    fn explain(&self, object: &ObjectId) -> Option<Explanation> {
        let state = self.state.lock();
        let Some(Stored::Live { life, content, .. }) = state.objects.get(object) else { return None };
        let entry = |content, shown: bool| EntryExplained {
            path: Path::of(["a", "b"]),
            content,
            dot: Dot::new(REPLICA, 4),
            author: shown.then(|| self.replica()),
            written: UnixMillis(77),
            shown,
            acknowledged_by: vec!["n1".into(), "n2".into()],
        };
        let entries = vec![
            entry(ContentExplained::Value(JsonText::parse(&content.to_string(), 64).unwrap()), true),
            entry(ContentExplained::Object, true),
            entry(ContentExplained::Member("m".into()), false),
            entry(ContentExplained::Count(-3), false),
        ];
        let explained = |state, entries| LifeExplained {
            life: *life,
            state,
            created: Some(UnixMillis(5)),
            expires: Some(UnixMillis::NEVER),
            entries,
        };
        Some(Explanation {
            lives: vec![
                explained(LifeState::Visible, entries),
                explained(LifeState::Hidden, vec![]),
                explained(LifeState::Expired, vec![]),
            ],
            barriers: vec![(Dot::new(REPLICA, 9), UnixMillis(99))],
        })
    }

    fn conflicts(&self, object: &ObjectId) -> Vec<Conflict> {
        if &*object.key != "torn" {
            return Vec::new();
        }
        let sibling = |text, counter| Sibling {
            value: JsonText::parse(text, 4).unwrap(),
            dot: Dot::new(REPLICA, counter),
            written: UnixMillis(counter),
        };
        vec![Conflict { path: Path::of(["a"]), siblings: vec![sibling("1.50", 2), sibling("\"x\"", 1)] }]
    }

    fn changes(&self, after: u64, kind: Option<Kind>, prefix: &str, limit: usize) -> Changes {
        let state = self.state.lock();
        let latest = state.clock.max(state.journal.last().map_or(0, |(cursor, _)| *cursor));
        if after < state.forgotten {
            return Changes::TooOld { cursor: latest };
        }
        let mut cursor = after;
        let mut changes = Vec::new();
        for (at, object) in state.journal.iter().filter(|(at, _)| *at > after) {
            if changes.len() == limit {
                return Changes::Since { changes, cursor };
            }
            cursor = *at;
            if kind.is_none_or(|kind| kind == object.kind) && object.key.starts_with(prefix) {
                changes.push(Changed { cursor: *at, object: object.clone() });
            }
        }
        Changes::Since { changes, cursor }
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    fn status(&self) -> NodeStatus {
        let state = self.state.lock();
        NodeStatus {
            replica: self.replica(),
            readiness: state.readiness,
            figures: Figures { objects: [1, 2, 3, 4], waits: 5, ..Figures::default() },
            diverged: vec![crate::core::identity::ShardId(9)],
            skew_millis: -12,
            correction_millis: 3,
        }
    }

    fn members(&self) -> Vec<MemberStatus> {
        let member = |node: &str, state, is_self| MemberStatus {
            replica: Replica { node: node.into(), ..self.replica() },
            state,
            is_self,
            lag_ops: 2,
            lag_millis: 30,
            round_trip_micros: (!is_self).then_some(150),
            clock_offset_millis: (!is_self).then_some(-4),
        };
        vec![
            member("n1", MemberState::Up, true),
            member("n2", MemberState::Suspect, false),
            member("n3", MemberState::Down, false),
            member("n4", MemberState::Left, false),
        ]
    }

    fn give_up(&self, node: &str) -> Result<(), KeptMember> {
        if self.state.lock().readiness != Readiness::Ready {
            return Err(KeptMember::NotReady);
        }
        let members = self.members();
        match members.iter().find(|member| member.replica.node == node).map(|member| member.state) {
            Some(MemberState::Down | MemberState::Left) => Ok(()),
            Some(_) => Err(KeptMember::Alive),
            None => Err(KeptMember::Unknown),
        }
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(2_000)
    }

    fn chaos(&self) -> Option<&dyn Chaos> {
        self.chaos.as_ref().map(|chaos| chaos as &dyn Chaos)
    }

    fn metrics(&self, api: &ApiFigures) -> String {
        let (closed_slow, body_bytes) = (api.closed_slow, api.body_bytes.0);
        format!(
            "# TYPE sidetalk_up gauge\nsidetalk_up 1\nclosed_slow {closed_slow}\nbody_bytes {body_bytes}\n"
        )
    }
}

pub(super) fn look_up(state: &State, object: &ObjectId) -> Lookup {
    match state.objects.get(object) {
        Some(Stored::Live { content, life, expires_in_millis }) => {
            let body = content.to_string().into_bytes();
            let tag = EntityTag(xxhash_rust::xxh3::xxh3_64(&body));
            let stands = UnixMillis(0)..UnixMillis(u64::MAX);
            let expires_in_millis = *expires_in_millis;
            Lookup::Found(View { body: body.into(), tag, life: *life, expires_in_millis, stands })
        }
        Some(Stored::Ended) => Lookup::Ended,
        None => Lookup::Unknown,
    }
}

#[derive(Default)]
pub(super) struct FakeChaos(Mutex<BTreeMap<String, Fault>>);

impl Chaos for FakeChaos {
    fn set(&self, faults: Vec<(String, Fault)>) -> Result<(), String> {
        let known: BTreeSet<&str> = ["n2", "n3"].into();
        if let Some((stranger, _)) = faults.iter().find(|(node, _)| !known.contains(&**node)) {
            return Err(format!("{stranger:?} is no member"));
        }
        *self.0.lock() = faults.into_iter().collect();
        Ok(())
    }

    fn clear(&self) {
        self.0.lock().clear();
    }

    fn faults(&self) -> Vec<(String, Fault)> {
        self.0.lock().iter().map(|(node, fault)| (node.clone(), *fault)).collect()
    }
}

//! What the local application asks: answered at once, from what is stored here.

use std::collections::BTreeSet;

use super::{DiskHealth, Node};
use crate::core::author::Times;
use crate::core::command::{
    Changes, Conflict, ContentExplained, EntryExplained, Explanation, Figures, Known, LifeExplained,
    LifeState, Lookup, MemberState, MemberStatus, NodeStatus, Page, Reading, Refusal, Write, Written,
};
use crate::core::identity::{Clock, Dot, Kind, LifeId, ObjectId, Replica, SHARDS, ShardId};
use crate::core::limits::CLOCK_IDS_MAX;
use crate::core::object::{Life, Object};
use crate::core::op::Action;
use crate::core::path::Path;
use crate::core::read;
use crate::core::record::{Body, Record};
use crate::core::shard::{PENDING_BYTES_MAX, PENDING_MAX};
use crate::core::stored::Stored;
use crate::core::time::{Now, UnixMillis};
use crate::core::token::Token;
use crate::core::value::JsonText;

impl Node {
    /// Reads an object.
    #[must_use]
    pub fn look_up(&self, now: Now, object: &ObjectId) -> Lookup {
        self.shard(object.shard()).look_up(object, self.clock.time(now))
    }

    /// Reads an object, where the reader does not know it already; what is read comes with its token. `None` while reads may not be served.
    #[must_use]
    pub fn read(&self, now: Now, object: &ObjectId, known: Option<&Known>) -> Option<Reading> {
        if !self.serves() {
            return None;
        }
        let time = self.clock.time(now);
        let hash = object.hash();
        let shard = self.shard(ShardId::of(hash));
        let revision = shard.revision(hash);
        let content =
            known.filter(|known| known.revision.object == revision.object && known.stands.contains(&time));
        let lookup = content.is_none().then(|| shard.look_up(object, time));
        let seen = content.is_some_and(|known| known.revision.shard == revision.shard);
        let token = (!seen).then(|| self.read_token(object));
        Some(Reading { lookup, token, revision, time })
    }

    /// The token of what a read of this object has seen.
    #[must_use]
    pub fn read_token(&self, object: &ObjectId) -> Token {
        let shard = self.shard(object.shard());
        Token { shard: shard.id(), hlc: shard.latest(), dots: shard.frontier().collect() }
    }

    /// Whether reads and writes may be served.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.serves()
    }

    /// Writes.
    ///
    /// # Errors
    /// See [`Refusal`]. Nothing has changed then.
    pub fn write(&mut self, now: Now, write: &Write) -> Result<Written, Refusal> {
        if !self.serves() || !self.writes() {
            return Err(Refusal::NotReady);
        }
        match self.disk_health() {
            DiskHealth::Good => {}
            DiskHealth::Full => return Err(Refusal::DiskFull),
            DiskHealth::Failing => return Err(Refusal::DiskFailing),
        }
        let time = self.clock.advance(now);
        let stamp = self.clock.next_stamp(now, write.after);
        let lifetime = self.config.session_lifetime_millis;
        let times = Times { now: time, leases_from: self.clock.leases_from(now) };
        let composed = self.shard(write.object.shard()).compose(self.id(), stamp, times, lifetime, write)?;
        let ends = matches!(write.change, crate::core::command::Change::Destroy);
        let Some(action) = composed.action else {
            let (life, expires_in_millis) = self.standing(time, &write.object, ends);
            let token = self.read_token(&write.object);
            return Ok(Written { created: false, token, life, expires_in_millis });
        };
        self.admit(stamp, &write.object, &action)?;
        let created = composed.created && !matches!(action, Action::Destroy { .. } | Action::Barrier { .. });
        let dot = self.author(now, stamp, write.object.clone(), action);
        let token = Token { shard: write.object.shard(), hlc: stamp, dots: vec![dot] };
        let known = composed.standing;
        debug_assert!(known.is_none_or(|known| known == self.standing(time, &write.object, ends)));
        let (life, expires_in_millis) = known.unwrap_or_else(|| self.standing(time, &write.object, ends));
        Ok(Written { created, token, life, expires_in_millis })
    }

    /// The life of an object that counts, and how long it lasts.
    fn standing(&self, time: UnixMillis, id: &ObjectId, ends: bool) -> (Option<LifeId>, Option<u64>) {
        let object = self.shard(id.shard()).objects().get(id).filter(|_| !ends);
        let lives = object.as_ref().map(|object| object.visible(time)).unwrap_or_default();
        read::standing_of(&lives, time)
    }

    /// A page of keys that a reader would find, in order.
    #[must_use]
    pub fn list(&self, now: Now, kind: Kind, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        let time = self.clock.time(now);
        let start = after.filter(|after| *after > prefix).unwrap_or(prefix);
        let mut keys: Vec<&str> = Vec::new();
        for shard in &self.shards {
            let found = shard
                .objects()
                .range(kind, start)
                .take_while(|stored| stored.key().starts_with(prefix))
                .filter(|stored| after.is_none_or(|after| stored.key() > after))
                .filter(|stored| read::exists(kind, &stored.object().visible(time)))
                .map(Stored::key);
            keys.extend(found.take(limit + 1));
        }
        keys.sort_unstable();
        let next = (keys.len() > limit).then(|| keys.get(limit.saturating_sub(1)).copied()).flatten();
        Page { keys: keys.iter().take(limit).map(|key| Box::from(*key)).collect(), next: next.map(Box::from) }
    }

    /// The journal after a cursor, for one kind or all, under a prefix.
    #[must_use]
    pub fn changes(&self, after: u64, kind: Option<Kind>, prefix: &str, limit: usize) -> Changes {
        self.journal.since(after, kind, prefix, limit)
    }

    /// The cursor of the newest change.
    #[must_use]
    pub fn journal_cursor(&self) -> u64 {
        self.journal.cursor()
    }

    /// Paths with more than one value.
    #[must_use]
    pub fn conflicts(&self, now: Now, object: &ObjectId) -> Vec<Conflict> {
        let stored = self.shard(object.shard()).objects().get(object);
        stored.map(|stored| read::conflicts(&stored.visible(self.clock.time(now)))).unwrap_or_default()
    }

    /// Where everything stored of an object came from; `None` when nothing is stored.
    #[must_use]
    pub fn explain(&self, now: Now, id: &ObjectId) -> Option<Explanation> {
        let object = self.shard(id.shard()).objects().get(id)?;
        let time = self.clock.time(now);
        let shown = read::shown_dots(id.kind, &object.visible(time));
        let is_shown = |record: &Record<'_>| {
            shown.contains(&(record.key.to_vec(), record.dot.actor, record.dot.counter))
        };
        let lives =
            object.lives.iter().map(|life| self.explain_life(id, &object, life, time, &is_shown)).collect();
        let barriers = object.barriers().iter().map(|(barrier, until)| (*barrier, until.wall())).collect();
        Some(Explanation { lives, barriers })
    }

    fn explain_life(
        &self,
        id: &ObjectId,
        object: &Object<'_>,
        life: &Life<'_>,
        time: UnixMillis,
        is_shown: &dyn Fn(&Record<'_>) -> bool,
    ) -> LifeExplained {
        let state = match () {
            () if life.expired(time) => LifeState::Expired,
            () if object.hides(life) => LifeState::Hidden,
            () => LifeState::Visible,
        };
        let records = life.records.iter(life.origin()).filter(Record::is_live);
        LifeExplained {
            life: life.is_leased().then_some(life.id),
            state,
            created: life.is_leased().then(|| life.created.wall()),
            expires: life.is_leased().then(|| life.lease.ends()),
            entries: records
                .map(|record| self.explain_entry(id.shard(), &record, is_shown(&record)))
                .collect(),
        }
    }

    fn explain_entry(&self, shard: ShardId, record: &Record<'_>, shown: bool) -> EntryExplained {
        let content = match record.body {
            Body::Register(text) => ContentExplained::Value(JsonText::stored(text.as_str())),
            Body::Marker => ContentExplained::Object,
            Body::Member(member) => ContentExplained::Member(member.as_str().into()),
            Body::Accumulator(accumulator) => {
                ContentExplained::Count(i64::try_from(accumulator.net()).unwrap_or(i64::MAX))
            }
        };
        // A count is as far as its last increment.
        let dot = match record.body {
            Body::Accumulator(accumulator) => Dot::new(record.dot.actor, accumulator.counted),
            _ => record.dot,
        };
        EntryExplained {
            path: Path::from_encoded(record.path()).unwrap_or_default(),
            content,
            dot,
            author: self.roster.get(dot.actor).map(|entry| entry.replica.clone()),
            written: record.hlc.wall(),
            shown,
            acknowledged_by: self.who_has(shard, &dot),
        }
    }

    fn who_has(&self, shard: ShardId, dot: &Dot) -> Vec<String> {
        let everyone = self.is_settled(shard, std::slice::from_ref(dot));
        let has = |member: &&Replica| {
            everyone
                || (member.id == self.id() && self.keeps(shard, dot))
                || self.peers.get(&member.id).is_some_and(|peer| peer.keeps(shard, dot))
        };
        self.roster.members().filter(has).map(|member| member.node.clone()).collect()
    }

    /// This node.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        NodeStatus {
            replica: self.config.replica.clone(),
            readiness: self.readiness(),
            figures: self.figures(),
            diverged: self
                .diverged
                .iter()
                .map(|(_, shard)| *shard)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            skew_millis: self.clock.skew_millis(),
            correction_millis: self.clock.correction_millis(),
        }
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures {
            log_bytes_max: self.config.log_bytes_max,
            pending_ops_max: (SHARDS * PENDING_MAX) as u64,
            pending_bytes_max: SHARDS as u64 * PENDING_BYTES_MAX,
            clock_ids_max: CLOCK_IDS_MAX as u64,
            memory_bytes: self.memory.total(),
            memory_bytes_max: self.config.memory_bytes_max.unwrap_or(0),
            memory_refusals: self.memory.refusals,
            waits: self.waits.len() as u64,
            changes: self.journal.cursor(),
            ..self.figures
        };
        (figures.past_processes, figures.past_bytes) = self.past_size();
        for shard in &self.shards {
            for (total, count) in figures.objects.iter_mut().zip(shard.objects_by_kind()) {
                *total += count;
            }
            let (log_ops, log_bytes) = shard.log_size();
            figures.content_bytes += shard.content_bytes();
            figures.clock_entries = figures.clock_entries.max(shard.clock().named() as u64);
            figures.log_ops += log_ops as u64;
            figures.log_bytes += log_bytes;
            figures.pending_ops += shard.pending_len() as u64;
            figures.pending_bytes += shard.pending_bytes();
        }
        figures
    }

    /// The members, this one first, then by name.
    #[must_use]
    pub fn members(&self, now: Now) -> Vec<MemberStatus> {
        let current = self.roster.current();
        let mut members: Vec<MemberStatus> =
            current.values().map(|entry| self.member(now, &entry.replica, entry.left)).collect();
        members.sort_by(|a, b| (!a.is_self, &a.replica.node).cmp(&(!b.is_self, &b.replica.node)));
        members
    }

    fn member(&self, now: Now, replica: &Replica, left: bool) -> MemberStatus {
        let is_self = replica.id == self.id();
        let peer = self.peers.get(&replica.id);
        let state = match peer {
            _ if left => MemberState::Left,
            _ if is_self => MemberState::Up,
            Some(peer) if peer.linked && peer.introduced => MemberState::Up,
            _ if !self.wants_link(replica.id) && self.alive.contains_key(&replica.id) => MemberState::Up,
            _ if self.alive.contains_key(&replica.id) => MemberState::Suspect,
            _ => MemberState::Down,
        };
        let oldest = peer.and_then(|peer| peer.gaps.values().map(|gap| gap.since).min());
        MemberStatus {
            replica: replica.clone(),
            state,
            is_self,
            lag_ops: match peer {
                Some(peer) => self.lag(peer),
                None if is_self => 0,
                None if self.is_overlay() => self.unsettled_ops(),
                None => 0,
            },
            lag_millis: match oldest {
                Some(since) => now.mono.since(since) / 1_000,
                None if peer.is_none() && !is_self && self.is_overlay() => self.unsettled_millis(now),
                None => 0,
            },
            round_trip_micros: peer
                .and_then(|peer| peer.round_trip_micros)
                .filter(|_| state == MemberState::Up),
            clock_offset_millis: self.clock.offset_of(replica.id),
        }
    }

    fn lag(&self, peer: &super::peer::Peer) -> u64 {
        let shards = self.shards.iter();
        let nothing = Clock::default();
        let lacking = shards.flat_map(|shard| {
            let known = peer.known.get(shard.id()).unwrap_or(&nothing);
            shard.clock().beyond(known).map(|dot| dot.counter - known.get(&dot.actor))
        });
        lacking.sum()
    }
}

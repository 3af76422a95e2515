//! What this node knows of one peer: how far it has reported to be, and how much it has been sent.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::report::stamps;
use super::roster::Roster;
use crate::core::digest::clock_hash;
use crate::core::identity::{Clock, Dot, Replica, ReplicaId, SHARDS, ShardId};
use crate::core::limits::CLOCK_IDS_HEARD_MAX;
use crate::core::message::{Progress, RosterEntry};
use crate::core::past::Past;
use crate::core::time::{MonoMicros, Now, UnixMillis};

/// What was sent and is not reported after this long is sent again, and at most after the second.
pub(super) const RESEND_MILLIS: u64 = 2_000;
const RESEND_MILLIS_MAX: u64 = 64_000;

/// With more news than this a report is copied anew.
const NEWS_MAX: usize = 1_024;

/// With so much untold, what later words stand for is taken out; a frame of operations mostly has fewer.
const UNTOLD: usize = 256;

/// Of each author in each shard the latest, in their order.
fn only_latest(progress: &mut Vec<Progress>) {
    let of = |progress: &Progress| (progress.shard, progress.dot.actor);
    progress.sort_by_key(|progress| (of(progress), Reverse(progress.dot.counter)));
    progress.dedup_by_key(|progress| of(progress));
}

/// Clocks by shard, and the sums that stand for them. A copy shares what has not changed since: one is made for each
/// report of each peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Clocks {
    /// By shard; empty while nothing is known.
    shards: Vec<Option<Arc<Clock>>>,
    sums: Sums,
    /// Somebody named more processes in one shard than any cluster has. Those beyond are not noted.
    is_crowded: bool,
}

/// What stands for each shard's clock, and for all of them.
#[derive(Clone, Debug, Default)]
struct Sums {
    total: u64,
    /// By shard; empty while nothing is known.
    of: Vec<u64>,
}

impl Sums {
    fn add(&mut self, shard: ShardId, dot: &Dot) {
        self.shift(shard, clock_hash(shard.0, dot));
    }

    fn subtract(&mut self, shard: ShardId, dot: &Dot) {
        self.shift(shard, clock_hash(shard.0, dot).wrapping_neg());
    }

    fn shift(&mut self, shard: ShardId, by: u64) {
        if self.of.is_empty() {
            self.of = vec![0; SHARDS];
        }
        self.total = self.total.wrapping_add(by);
        self.of[shard.index()] = self.of[shard.index()].wrapping_add(by);
    }
}

impl Clocks {
    pub(super) fn get(&self, shard: ShardId) -> Option<&Clock> {
        self.stored(shard).filter(|clock| !clock.is_empty())
    }

    pub(super) fn counter(&self, shard: ShardId, actor: ReplicaId) -> u64 {
        self.stored(shard).map_or(0, |clock| clock.get(&actor))
    }

    fn stored(&self, shard: ShardId) -> Option<&Clock> {
        self.shards.get(shard.index())?.as_deref()
    }

    fn stored_mut(&mut self, shard: ShardId) -> &mut Clock {
        if self.shards.is_empty() {
            self.shards = vec![None; SHARDS];
        }
        Arc::make_mut(self.shards[shard.index()].get_or_insert_default())
    }

    pub(super) fn has(&self, shard: ShardId, dot: &Dot) -> bool {
        dot.counter <= self.counter(shard, dot.actor)
    }

    /// Raises one author's counter. Gives whether it was lower.
    pub(super) fn raise(&mut self, shard: ShardId, dot: Dot) -> bool {
        let old = Dot::new(dot.actor, self.counter(shard, dot.actor));
        if dot.counter <= old.counter || old.counter == 0 && !self.has_room(shard, 1) {
            return false;
        }
        self.add_to_sums(shard, &old, &dot);
        self.stored_mut(shard).raise(dot);
        true
    }

    /// Raises the counters of these authors, which come in the order of ids. Gives those that were lower; none where there is
    /// no room for them.
    fn raise_all(&mut self, shard: ShardId, dots: impl Iterator<Item = Dot>) -> Vec<Dot> {
        let news: Vec<Dot> = dots.filter(|dot| !self.has(shard, dot)).collect();
        let strangers = news.iter().filter(|dot| self.counter(shard, dot.actor) == 0).count();
        if news.is_empty() || !self.has_room(shard, strangers) {
            return Vec::new();
        }
        for dot in &news {
            self.add_to_sums(shard, &Dot::new(dot.actor, self.counter(shard, dot.actor)), dot);
        }
        self.stored_mut(shard).raise_all(news.iter().copied());
        news
    }

    fn add_to_sums(&mut self, shard: ShardId, old: &Dot, new: &Dot) {
        if old.counter > 0 {
            self.sums.subtract(shard, old);
        }
        self.sums.add(shard, new);
    }

    /// Notes it where there is none: whoever says so is no honest node.
    fn has_room(&mut self, shard: ShardId, more: usize) -> bool {
        let has_room = self.stored(shard).map_or(0, Clock::named) + more <= CLOCK_IDS_HEARD_MAX;
        self.is_crowded |= !has_room;
        has_room
    }

    /// Whether somebody has named too many since the last time.
    fn take_crowded(&mut self) -> bool {
        std::mem::take(&mut self.is_crowded)
    }

    /// Forgets one author in one shard, up to here.
    fn settle(&mut self, shard: ShardId, dot: &Dot) {
        let counter = self.counter(shard, dot.actor);
        if counter == 0 || counter > dot.counter {
            return;
        }
        self.sums.subtract(shard, &Dot::new(dot.actor, counter));
        self.stored_mut(shard).remove(&dot.actor);
    }

    /// Forgets what a clock has, in one shard.
    fn settle_all(&mut self, shard: ShardId, clock: &Clock) {
        let Some(stored) = self.stored(shard).filter(|stored| !stored.is_empty()) else { return };
        let settled: Vec<Dot> = stored.iter().filter(|dot| dot.counter <= clock.get(&dot.actor)).collect();
        let beyond: Clock = stored.iter().filter(|dot| dot.counter > clock.get(&dot.actor)).collect();
        settled.iter().for_each(|dot| self.sums.subtract(shard, dot));
        *self.stored_mut(shard) = beyond;
    }

    /// Forgets one shard.
    pub(super) fn forget(&mut self, shard: ShardId) {
        let Some(clock) = self.shards.get_mut(shard.index()).and_then(Option::take) else { return };
        for dot in clock.iter() {
            self.sums.subtract(shard, &dot);
        }
    }

    /// What is over need not be named in this shard.
    pub(super) fn lean_on(&mut self, past: &Arc<Past>, shard: ShardId) {
        if let Some(clock) = self.shards.get_mut(shard.index()).and_then(Option::as_mut)
            && clock.may_lean_on(past, shard)
        {
            Arc::make_mut(clock).lean_on(past, shard);
        }
    }

    /// Ids that it names itself in one shard.
    #[cfg(test)]
    pub(super) fn named(&self, shard: ShardId) -> usize {
        self.stored(shard).map_or(0, Clock::named)
    }

    pub(super) fn sum(&self) -> u64 {
        self.sums.total
    }

    /// The sum of one shard's clock.
    pub(super) fn sum_of(&self, shard: ShardId) -> u64 {
        self.sums.of.get(shard.index()).copied().unwrap_or(0)
    }
}

/// What a peer lacked when it was last looked at. Sent only when it still lacks it the next time: until then the
/// author itself is likely to be sending it.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    pub(super) clock: Clock,
    pub(super) since: MonoMicros,
    /// When what was sent of this shard counts as lost, whatever else the peer reports.
    resend_at: MonoMicros,
    /// Doubles with each time, for links that are slow and lose nothing.
    patience_millis: u64,
}

impl Gap {
    pub(super) fn new(clock: Clock, now: Now) -> Self {
        let resend_at = now.mono.plus_millis(RESEND_MILLIS);
        Self { clock, since: now.mono, resend_at, patience_millis: RESEND_MILLIS }
    }

    /// Whether it has stood so long that what was sent must have been lost.
    pub(super) fn is_stale(&mut self, now: Now) -> bool {
        if self.resend_at > now.mono {
            return false;
        }
        self.patience_millis = (2 * self.patience_millis).min(RESEND_MILLIS_MAX);
        self.resend_at = now.mono.plus_millis(self.patience_millis);
        true
    }
}

/// What a peer said at one moment: its time for deadlines, how far it had got, and whom it counted as members.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) time: UnixMillis,
    pub(super) clocks: Clocks,
    /// What of it was on its disk, where it has one.
    pub(super) saved: Option<Clocks>,
    /// Whom it took for alive.
    pub(super) living: Arc<[ReplicaId]>,
}

impl Report {
    /// How far it had got in one author's operations for good.
    pub(super) fn saved_counter(&self, shard: ShardId, actor: ReplicaId) -> u64 {
        let saved = self.saved.as_ref().map_or(u64::MAX, |saved| saved.counter(shard, actor));
        self.clocks.counter(shard, actor).min(saved)
    }
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) replica: Replica,
    pub(super) linked: bool,
    /// It has introduced itself on this link.
    pub(super) introduced: bool,
    pub(super) fresh: bool,
    pub(super) lineage: u64,
    /// What it has reported to have applied.
    pub(super) known: Clocks,
    /// What it has on its disk, where it has one: only that does it have for good.
    pub(super) saved: Option<Clocks>,
    /// It has said that it has no disk. As long as it has said neither, nothing that it has counts as kept.
    pub(super) diskless: bool,
    /// This process is on its roster.
    pub(super) admits: bool,
    /// It has said on this link whom it counts as members, and found nothing against this process.
    pub(super) has_named_members: bool,
    /// It has vouched on this link for the whole of what is known of it.
    pub(super) told: bool,
    /// What it has been sent besides, on this link.
    pub(super) sent: Clocks,
    /// What of our own progress it has not been told.
    pub(super) untold: Vec<Progress>,
    /// With so many, those that later ones stand for are taken out.
    untold_max: usize,
    /// The last that it said of itself as a whole. `known` may hold the later of two statements of which the
    /// earlier was lost, so it is no evidence of what the peer does not have.
    pub(super) report: Option<Report>,
    /// What has been raised in `known` since, as far as it is kept: a report is brought up to date with it.
    news: Vec<(ShardId, Dot)>,
    /// It cannot read operations that fold counters.
    pub(super) is_outdated: bool,
    /// Whom it counts as members, as its introduction says it.
    pub(super) roster_stamps: Box<[u8]>,
    /// Those of them that are not over.
    living: Arc<[ReplicaId]>,
    /// When it may be told once more that it is over: two that say so of each other must not go on for ever.
    pub(super) tell_over_at: MonoMicros,
    pub(super) gaps: BTreeMap<ShardId, Gap>,
    /// Shards whose operations it may not send before it has sent their states: it comes from another history.
    pub(super) states_wanted: BTreeSet<ShardId>,
    pub(super) round_trip_micros: Option<u64>,
    pub(super) compare_at: MonoMicros,
    pub(super) ping_at: MonoMicros,
    /// When the last ping to it was sent.
    pub(super) pinged: MonoMicros,
    /// When what was sent and not reported is sent again.
    pub(super) resend_at: MonoMicros,
    /// The sum of `known` at the last look, to notice that nothing moves.
    pub(super) resend_mark: u64,
    /// Which shards' digests go out next.
    pub(super) digest_cursor: u8,
    /// Its last totals differed from ours.
    pub(super) differs: bool,
}

impl Peer {
    pub(super) fn new(replica: Replica) -> Self {
        Self {
            replica,
            linked: false,
            introduced: false,
            fresh: true,
            lineage: 0,
            known: Clocks::default(),
            saved: None,
            diskless: false,
            admits: false,
            has_named_members: false,
            told: false,
            sent: Clocks::default(),
            untold: Vec::new(),
            untold_max: UNTOLD,
            report: None,
            news: Vec::new(),
            is_outdated: false,
            roster_stamps: Box::default(),
            living: Arc::default(),
            tell_over_at: MonoMicros(0),
            gaps: BTreeMap::new(),
            states_wanted: BTreeSet::new(),
            round_trip_micros: None,
            compare_at: MonoMicros(0),
            ping_at: MonoMicros(0),
            pinged: MonoMicros(0),
            resend_at: MonoMicros(0),
            resend_mark: 0,
            digest_cursor: 0,
            differs: false,
        }
    }

    /// It has applied this, and has it on its disk where it has one.
    pub(super) fn keeps(&self, shard: ShardId, dot: &Dot) -> bool {
        dot.counter <= self.kept_counter(shard, dot.actor)
    }

    /// How far it has got in one author's operations for good.
    pub(super) fn kept_counter(&self, shard: ShardId, actor: ReplicaId) -> u64 {
        let known = self.known.counter(shard, actor);
        match &self.saved {
            Some(saved) => known.min(saved.counter(shard, actor)),
            None if self.diskless => known,
            None => 0,
        }
    }

    /// How far it has got for good.
    pub(super) fn kept(&self, shard: ShardId) -> Clock {
        let nothing = Clock::default();
        let mut kept = self.known.get(shard).unwrap_or(&nothing).clone();
        match &self.saved {
            Some(saved) => kept.lower_to(saved.get(shard).unwrap_or(&nothing)),
            None if self.diskless => {}
            None => kept = nothing,
        }
        kept
    }

    /// It can take operations.
    pub(super) fn takes_ops(&self) -> bool {
        self.linked && self.introduced && !self.fresh
    }

    /// Whom it takes for alive, as far as it has said so last.
    pub(super) fn living(&self) -> &[ReplicaId] {
        &self.living
    }

    /// Whom it counts as members.
    pub(super) fn counts(&mut self, roster: &[RosterEntry]) {
        self.living = Roster::of(roster).living().map(|replica| replica.id).collect();
        self.roster_stamps = stamps(roster.iter());
    }

    /// What the book says of it now is what it said itself.
    pub(super) fn reports(&mut self, time: UnixMillis) {
        let mut clocks = self.report.take().map(|last| last.clocks).unwrap_or_default();
        for (shard, dot) in self.news.drain(..) {
            clocks.raise(shard, dot);
        }
        if clocks.sum() != self.known.sum() {
            clocks = self.known.clone();
        }
        self.report =
            Some(Report { time, clocks, saved: self.saved.clone(), living: Arc::clone(&self.living) });
    }

    /// How far it has got, as far as it has been told or has told.
    pub(super) fn reached(&self, shard: ShardId) -> Clock {
        let mut clock = self.known.get(shard).cloned().unwrap_or_default();
        if let Some(sent) = self.sent.get(shard) {
            clock.raise_all(sent.iter());
        }
        clock
    }

    /// How far it has got in one author's operations, as far as it has been told or has told.
    pub(super) fn reached_counter(&self, shard: ShardId, actor: ReplicaId) -> u64 {
        self.known.counter(shard, actor).max(self.sent.counter(shard, actor))
    }

    /// It is to be told that this has been applied here.
    pub(super) fn untell(&mut self, progress: Progress) {
        if self.untold.len() >= self.untold_max {
            only_latest(&mut self.untold);
            self.untold_max = UNTOLD.max(2 * self.untold.len());
        }
        self.untold.push(progress);
    }

    /// What it is to be told, of each author in each shard the latest, in their order.
    pub(super) fn take_untold(&mut self) -> Vec<Progress> {
        self.untold_max = UNTOLD;
        let mut untold = std::mem::take(&mut self.untold);
        only_latest(&mut untold);
        untold
    }

    /// It has reported to have applied this. Gives whether that is news.
    pub(super) fn knows(&mut self, shard: ShardId, dot: Dot) -> bool {
        self.sent.settle(shard, &dot);
        let is_news = self.known.raise(shard, dot);
        if is_news && self.news.len() < NEWS_MAX {
            self.news.push((shard, dot));
        }
        is_news
    }

    /// What is over need not be named in the books on one shard.
    pub(super) fn lean_on(&mut self, past: &Arc<Past>, shard: ShardId) {
        let report =
            self.report.iter_mut().flat_map(|report| [Some(&mut report.clocks), report.saved.as_mut()]);
        let books = [Some(&mut self.known), self.saved.as_mut()].into_iter().chain(report);
        books.flatten().for_each(|clocks| clocks.lean_on(past, shard));
    }

    pub(super) fn knows_all(&mut self, shard: ShardId, clock: &Clock) {
        self.sent.settle_all(shard, clock);
        let news = self.known.raise_all(shard, clock.iter());
        let room = NEWS_MAX.saturating_sub(self.news.len());
        self.news.extend(news.into_iter().take(room).map(|dot| (shard, dot)));
    }

    /// It has been sent all that it lacked of this.
    pub(super) fn was_sent(&mut self, shard: ShardId, clock: &Clock) {
        let nothing = Clock::default();
        self.sent.raise_all(shard, clock.beyond(self.known.get(shard).unwrap_or(&nothing)));
    }

    /// Whether it has named more processes than any cluster has, since the last time.
    pub(super) fn take_crowded(&mut self) -> bool {
        self.known.take_crowded() | self.saved.as_mut().is_some_and(Clocks::take_crowded)
    }

    /// What was sent is as good as lost.
    pub(super) fn forget_sent(&mut self) {
        self.sent = Clocks::default();
    }
}

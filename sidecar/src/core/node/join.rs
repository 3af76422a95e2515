//! Joining.
//!
//! A process starts without memory. Before it applies, serves or writes anything it takes every shard, whole, from
//! one member that has put it into its roster first (semantics finding 23). Where nobody has a memory, one starts
//! a history of its own; two such histories meet by exchanging whole states.

use std::collections::{BTreeMap, BTreeSet};

use super::peer::Peer;
use super::{Node, NodeConfig, Output};
use crate::core::command::Readiness;
use crate::core::identity::{Clock, Replica, ReplicaId, ShardId};
use crate::core::message::{Hello, Message, PeerId, RosterEntry};
use crate::core::mutant::Rule;
use crate::core::shard::{Shard, ShardState};
use crate::core::time::{MonoMicros, Now};

/// Shards that are under way at a time: what is so stays small.
const WINDOW: usize = 8;

/// With no more than so many under way the next are asked for, so that who gives need not wait for who takes.
const WINDOW_LOW: usize = WINDOW / 2;

/// Between looks at whether what was missed is here.
const RETURN_POLL_MILLIS: u64 = 50;

/// An answer that takes longer is asked for again.
const RETRY_MILLIS: u64 = 1_000;

/// A refusal counts for so long: two more tries, and something.
const REFUSED_MILLIS: u64 = 12_000;

/// What a peer is told whose release is too old.
pub(super) const BEYOND: &str =
    "counters have been folded here, which its release cannot read: start a newer release there";

/// Between two times that a process is told that it is over.
const TELL_OVER_MILLIS: u64 = 500;

#[derive(Debug)]
pub(super) struct Joining {
    phase: Phase,
    started: MonoMicros,
    /// When to look again.
    wake_at: MonoMicros,
    /// Until then it counts as refused by those whom it is to join.
    refused_until: Option<MonoMicros>,
    /// Shards of another history that a peer has been asked for, and when to ask again.
    asked_at: BTreeMap<PeerId, MonoMicros>,
}

#[derive(Debug)]
enum Phase {
    /// Looks for a member that has a memory.
    Seeking,
    /// Takes the state of one.
    Taking { sponsor: PeerId, left: BTreeSet<ShardId>, asked: BTreeSet<ShardId>, retry_at: MonoMicros },
    /// Has the sponsor's state, and waits for what the others had when it joined, those who were linked later among them.
    Following { targets: Vec<(ShardId, Clock)>, search: Search, until: MonoMicros },
    /// Goes on with what another process has saved, once it has what the members that it finds have.
    Returning,
    /// Is a member.
    Member,
}

impl Joining {
    pub(super) fn new(config: &NodeConfig, now: Now) -> Self {
        let wake_at = now.mono.plus_millis(settle_millis(config));
        Self {
            phase: Phase::Seeking,
            started: now.mono,
            wake_at,
            refused_until: None,
            asked_at: BTreeMap::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<MonoMicros> {
        match &self.phase {
            Phase::Member => self.asked_at.values().min().copied(),
            Phase::Seeking | Phase::Returning => Some(self.wake_at),
            Phase::Taking { retry_at, .. } => Some(*retry_at),
            Phase::Following { search: Search::Members { silent_until }, until, .. } => {
                Some((*until).min(*silent_until))
            }
            Phase::Following { until, .. } => Some(*until),
        }
    }
}

/// Who must be linked before a process that has joined is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// All members. Who has not begun to gossip by then is down.
    Members { silent_until: MonoMicros },
    /// All who gossip.
    Gossiping,
    /// They are.
    Done,
}

/// How long a member that is silent is waited for: gossip shows within a second or two who lives.
fn silence_millis(config: &NodeConfig) -> u64 {
    config.bootstrap_millis / 2
}

/// How long nodes without memory give others with one the time to show up before they start a history together.
fn settle_millis(config: &NodeConfig) -> u64 {
    config.bootstrap_millis / 5
}

impl Node {
    /// It has nothing to give yet, and takes nothing but a sponsor's state.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.joining.phase, Phase::Seeking | Phase::Taking { .. })
    }

    /// It has the memory of another process, and looks for what it has missed: it gives and takes, and writes nothing.
    pub(super) fn is_returning(&self) -> bool {
        matches!(self.joining.phase, Phase::Returning)
    }

    /// Goes on with what was restored.
    pub(super) fn come_back(&mut self, now: Now) {
        self.joining.phase = Phase::Returning;
        self.joining.wake_at = now.mono;
        if !self.config.joins {
            self.go_on_alone();
        }
    }

    fn go_on_alone(&mut self) {
        if self.lineage == 0 {
            // What the others hold to be known everywhere may be more than this: as two histories they meet by states.
            self.lineage = self.config.lineage;
        }
        self.joining.phase = Phase::Member;
        self.say_hello_again();
    }

    fn return_if_caught_up(&mut self, now: Now) {
        let members = self.peers.values().filter(|peer| peer.takes_ops());
        let found = members.clone().count();
        let lineage = members.clone().map(|peer| peer.lineage).filter(|lineage| *lineage != 0).min();
        let all_told = members.clone().all(|peer| peer.told && peer.states_wanted.is_empty());
        let all_here = self.everyone_is_here();
        let waited_millis = now.mono.since(self.joining.started) / 1_000;
        let has_time = waited_millis < self.config.bootstrap_millis;
        // Who is on nobody's roster may not write, however long it takes: a predecessor may still do so.
        let is_admitted = self.is_admitted_by_all() || !has_time && self.is_admitted_by_any();
        if found > 0 && (self.lineage != 0 || lineage.is_some()) {
            if all_told && is_admitted && (all_here || !has_time) && self.has_all_of_members() {
                self.lineage = if self.lineage == 0 { lineage.unwrap_or_default() } else { self.lineage };
                self.joining.phase = Phase::Member;
                self.end_probation();
                self.say_hello_again();
                return;
            }
        } else if !has_time && (all_here || waited_millis >= self.config.bootstrap_millis.saturating_mul(2)) {
            // Who gossips with somebody and has not been introduced has found a cluster, which goes on without it.
            self.go_on_alone();
            return;
        }
        self.joining.wake_at = now.mono.plus_millis(RETURN_POLL_MILLIS);
    }

    /// All members to whom a link is wanted have had their say about the memory that this process has. Who has none says nothing.
    fn is_let_in_by_all(&self) -> bool {
        let has_spoken = |peer: &&Peer| peer.fresh || peer.told;
        let is_silent = |other: &Replica| self.peers.get(&other.id).filter(has_spoken).is_none();
        let me = &self.config.replica.node;
        let mut silent = self.roster.living().filter(|other| other.node != *me && self.wants_link(other.id));
        self.are_here(self.roster.living()) && !silent.any(is_silent)
    }

    /// Somebody with a memory has had its say. Who knows of nobody else has nobody's leave: its disk may be from before there were
    /// others.
    fn has_met_a_member(&self) -> bool {
        self.peers.values().any(|peer| peer.takes_ops() && peer.told)
    }

    /// Until then it may have been given up, and those whom it has met need not have heard of it: two may come back together.
    pub(super) fn end_probation(&mut self) {
        let is_open = self.standing.is_on_probation() && !self.standing.is_accused();
        if is_open && self.is_let_in_by_all() && self.has_met_a_member() {
            self.standing.has_shared();
        }
    }

    /// Whether a process without memory may have this one's: it could not say later that it should have had none of it.
    pub(super) fn may_sponsor(&self) -> bool {
        let patience_micros = self.config.bootstrap_millis.saturating_mul(2_000);
        let has_time = |now: MonoMicros| now.since(self.joining.started) < patience_micros;
        !self.is_returning()
            || !self.standing.is_on_probation()
            || self.is_let_in_by_all()
            || !has_time(self.joining.wake_at)
    }

    /// All that gossip and to whom a link is wanted are linked, and have said who they are.
    fn everyone_is_here(&self) -> bool {
        self.are_here(self.alive.values())
    }

    /// Of these all to whom a link is wanted are linked, and have said who they are. Its own predecessor may still seem to live.
    fn are_here<'a>(&self, mut members: impl Iterator<Item = &'a Replica>) -> bool {
        let is_here = |id| self.peers.get(&id).is_some_and(|peer| peer.linked && peer.introduced);
        let me = &self.config.replica.node;
        members.all(|other| other.node == *me || !self.wants_link(other.id) || is_here(other.id))
    }

    /// Whether it may serve.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match &self.joining.phase {
            _ if self.leaving || self.standing.is_accused() => Readiness::Leaving,
            Phase::Member => Readiness::Ready,
            _ if self.waits_for_predecessor() => Readiness::NameInUse,
            Phase::Seeking if self.joining.refused_until.is_some() => Readiness::Refused,
            Phase::Seeking | Phase::Returning => Readiness::SeekingSponsor,
            Phase::Taking { left, .. } => Readiness::CatchingUp { shards_left: left.len() },
            Phase::Following { targets, .. } => Readiness::CatchingUp { shards_left: targets.len() },
        }
    }

    /// It may read, and write until it has said farewell: a leaving node does so until it is gone.
    pub(super) fn serves(&self) -> bool {
        matches!(self.joining.phase, Phase::Member) && !self.standing.is_accused()
    }

    /// Nobody has a memory: a history starts here. A replica that has seen nothing can name nothing old.
    pub(super) fn start_alone(&mut self, now: Now) {
        self.lineage = self.config.lineage;
        self.joining.phase = Phase::Member;
        self.joining.wake_at = now.mono;
        self.say_hello_again();
    }

    /// A process whose predecessor's clock was ahead counts as the later one all the same: only then do its
    /// acknowledgements and its answers stand for the node.
    pub(super) fn succeed_predecessors(&mut self) {
        let me = self.config.replica.clone();
        let last = self.roster.last_start(&me);
        if self.standing.is_admitted() || last.is_none_or(|last| last < me.started) {
            return;
        }
        self.config.replica.started = last.unwrap_or_default().plus(1);
        self.enrol(RosterEntry { replica: self.config.replica.clone(), left: false });
        self.say_hello_again();
        self.broadcast_roster();
    }

    fn say_hello_again(&mut self) {
        let hello = Message::Hello(self.hello());
        self.broadcast(hello);
    }

    pub(super) fn introduced(&mut self, now: Now, from: PeerId, hello: Hello) {
        if hello.cluster != self.config.cluster {
            self.outbox.push_back(Output::Disconnect(from, "another cluster's name"));
            return;
        }
        if hello.replica.id != from || hello.replica.node == self.config.replica.node {
            self.outbox.push_back(Output::Disconnect(from, "this node's own name"));
            return;
        }
        if self.is_beyond(from) {
            self.outbox.push_back(Output::Disconnect(from, BEYOND));
            return;
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.replica = hello.replica.clone();
        if self.roster.is_superseded(&hello.replica) || self.has_left(from) {
            self.tell_over(now, from);
            return;
        }
        if self.keeps_waiting(&hello) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.introduced = true;
        peer.fresh = hello.fresh;
        peer.lineage = hello.lineage;
        if self.enrol(RosterEntry { replica: hello.replica, left: false }) {
            self.broadcast_roster();
        }
        self.meet_history(now, from);
        self.join_tick(now);
    }

    /// Whether a peer's release cannot read what is stored here. It would ask for it for ever, and as a member hold up what takes
    /// the word of all.
    fn is_beyond(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.is_outdated) && self.shards.iter().any(Shard::is_folded)
    }

    /// A process that is over says hello: all it gets is to know why.
    fn tell_over(&mut self, now: Now, from: PeerId) {
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.tell_over_at <= now.mono) else {
            return;
        };
        peer.tell_over_at = now.mono.plus_millis(TELL_OVER_MILLIS);
        self.introduce_to(from);
    }

    /// A member of another history has operations below what either side holds to be known everywhere: they come
    /// as whole states first.
    fn meet_history(&mut self, now: Now, from: PeerId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.fresh || self.lineage == 0 {
            return;
        }
        if peer.lineage != self.lineage && peer.states_wanted.is_empty() {
            peer.states_wanted = ShardId::all().collect();
        }
        // Also where the histories have met by way of others since: it says nothing before it has been asked.
        if !peer.states_wanted.is_empty() {
            self.joining.asked_at.insert(from, now.mono);
        }
    }

    fn ask_history(&mut self, now: Now) {
        let due: Vec<PeerId> =
            self.joining.asked_at.iter().filter(|(_, at)| **at <= now.mono).map(|(peer, _)| *peer).collect();
        for id in due {
            match self.peers.get(&id).filter(|peer| peer.linked && !peer.states_wanted.is_empty()) {
                Some(peer) => {
                    let wanted: Vec<ShardId> = peer.states_wanted.iter().take(WINDOW).copied().collect();
                    self.joining.asked_at.insert(id, now.mono.plus_millis(RETRY_MILLIS));
                    self.send(id, Message::WantStates(wanted));
                }
                None => {
                    self.joining.asked_at.remove(&id);
                }
            }
        }
    }

    pub(super) fn join_tick(&mut self, now: Now) {
        self.ask_history(now);
        match &self.joining.phase {
            Phase::Member => {}
            Phase::Seeking => self.seek(now),
            Phase::Returning if self.joining.wake_at <= now.mono => self.return_if_caught_up(now),
            Phase::Returning => {}
            Phase::Taking { .. } => self.ask_sponsor(now),
            Phase::Following { .. } => self.follow(now),
        }
    }

    fn seek(&mut self, now: Now) {
        let is_refused = self.is_refused(now);
        let candidates = self.peers.values().filter(|peer| peer.linked && peer.introduced);
        // Who comes back with a backup knows of no history yet, and would pass on what may be old.
        let sponsor = candidates.clone().find(|peer| !peer.fresh && peer.lineage != 0);
        if let Some(lineage) =
            sponsor.map(|peer| peer.lineage).filter(|_| self.mutants.lacks(Rule::NoSponsor))
        {
            self.lineage = lineage;
            self.joining.phase = Phase::Member;
            self.say_hello_again();
            return;
        }
        if let Some(sponsor) = sponsor.map(|peer| peer.replica.id) {
            let left = ShardId::all().collect();
            self.joining.phase = Phase::Taking { sponsor, left, asked: BTreeSet::new(), retry_at: now.mono };
            self.ask_sponsor(now);
            return;
        }
        let waited_millis = now.mono.since(self.joining.started) / 1_000;
        let is_here = |id: &ReplicaId| self.peers.get(id).is_some_and(|peer| peer.linked && peer.introduced);
        let everyone_is_here = self.alive.keys().all(|id| !self.wants_link(*id) || is_here(id));
        let me = &self.config.replica.node;
        let mut seen = candidates.clone().map(|peer| &peer.replica).chain(self.alive.values());
        let first = seen.all(|other| *me < other.node);
        let someone_returns = candidates.clone().any(|peer| !peer.fresh);
        let settled = waited_millis >= settle_millis(&self.config);
        let together = settled && everyone_is_here && first && !someone_returns && candidates.count() > 0;
        // Who gossips with somebody and has no link yet has found a cluster, and so has who sees somebody come back:
        // serving nothing of it would help nobody.
        let patience = if everyone_is_here && !someone_returns { 1 } else { 2 };
        let is_late = waited_millis >= self.config.bootstrap_millis.saturating_mul(patience) && !is_refused;
        if (together || is_late) && !self.waits_for_predecessor() {
            self.start_alone(now);
        } else {
            self.joining.wake_at = now.mono.plus_millis(settle_millis(&self.config).max(50) / 4);
        }
    }

    /// Somebody whom it is to join lives, and refuses it: by its key, say. Serving nothing of what is there would help nobody.
    pub(super) fn refused(&mut self, now: Now) {
        self.joining.refused_until = Some(now.mono.plus_millis(REFUSED_MILLIS));
    }

    /// Whether that is so still, and nobody else has let it in.
    fn is_refused(&mut self, now: Now) -> bool {
        let is_alone = !self.peers.values().any(|peer| peer.linked && peer.introduced);
        self.joining.refused_until = self.joining.refused_until.filter(|until| is_alone && *until > now.mono);
        self.joining.refused_until.is_some()
    }

    fn ask_sponsor(&mut self, now: Now) {
        let Phase::Taking { asked, retry_at, .. } = &mut self.joining.phase else { return };
        if *retry_at > now.mono {
            return;
        }
        // Nothing came of what was asked for.
        asked.clear();
        self.ask_more(now);
    }

    /// Asks the sponsor for so many shards that as many as may be are under way.
    fn ask_more(&mut self, now: Now) {
        let Phase::Taking { sponsor, left, asked, retry_at } = &mut self.joining.phase else { return };
        *retry_at = now.mono.plus_millis(RETRY_MILLIS);
        let room = WINDOW.saturating_sub(asked.len());
        let wanted: Vec<ShardId> = left.difference(asked).take(room).copied().collect();
        let sponsor = *sponsor;
        asked.extend(&wanted);
        if !wanted.is_empty() {
            self.send(sponsor, Message::WantStates(wanted));
        }
    }

    /// A member is gone that had not admitted this process. There is a cluster, which perhaps hears a predecessor: it gets its
    /// time to show up again.
    pub(super) fn begin_anew(&mut self, now: Now) {
        self.joining.started = now.mono;
    }

    pub(super) fn sponsor_lost(&mut self, now: Now, lost: PeerId) {
        if matches!(&self.joining.phase, Phase::Taking { sponsor, .. } if *sponsor == lost) {
            self.joining.phase = Phase::Seeking;
            // There is a cluster: it gets its time to show up again.
            self.joining.started = now.mono;
            self.joining.wake_at = now.mono;
        }
    }

    pub(super) fn state_from(&mut self, now: Now, from: PeerId, state: ShardState) {
        let (shard, clock) = (state.shard, state.clock.clone());
        match &self.joining.phase {
            Phase::Seeking => return,
            Phase::Taking { sponsor, .. } if *sponsor != from => return,
            _ => {}
        }
        if !self.merge(now, state) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.knows_all(shard, &clock);
        }
        self.check_waits(shard);
        self.took(now, shard);
        self.took_history(now, from, shard);
        self.tell_progress(from);
    }

    fn took(&mut self, now: Now, shard: ShardId) {
        let Phase::Taking { left, asked, retry_at, .. } = &mut self.joining.phase else { return };
        left.remove(&shard);
        asked.remove(&shard);
        if left.is_empty() {
            self.caught_up(now);
        } else if asked.len() <= WINDOW_LOW {
            self.ask_more(now);
        } else {
            *retry_at = now.mono.plus_millis(RETRY_MILLIS);
        }
    }

    fn caught_up(&mut self, now: Now) {
        let Phase::Taking { sponsor, .. } = self.joining.phase else { return };
        self.lineage = self.peers.get(&sponsor).map_or(self.config.lineage, |peer| peer.lineage);
        self.standing.admit();
        let targets = self.targets();
        let until = now.mono.plus_millis(self.config.bootstrap_millis);
        let search = Search::Members { silent_until: now.mono.plus_millis(silence_millis(&self.config)) };
        self.joining.phase = Phase::Following { targets, search, until };
        self.say_hello_again();
        for peer in self.linked() {
            self.meet_history(now, peer);
        }
        self.follow(now);
    }

    /// What linked members are known to have, and this node does not.
    fn targets(&self) -> Vec<(ShardId, Clock)> {
        let members = self.peers.values().filter(|peer| peer.takes_ops());
        members
            .flat_map(|peer| {
                ShardId::all().filter_map(|shard| peer.known.get(shard).map(|clock| (shard, clock.clone())))
            })
            .filter(|(shard, clock)| !self.shard(*shard).clock().covers(clock))
            .collect()
    }

    /// Whether it has all that linked members are known to have. Sums first: with many dead ids clocks are long.
    fn has_all_of_members(&self) -> bool {
        let clock_sum = self.clock_sum();
        let has_all = |peer: &Peer| {
            ShardId::all().all(|shard| {
                peer.known.get(shard).is_none_or(|clock| self.shard(shard).clock().covers(clock))
            })
        };
        let mut members = self.peers.values().filter(|peer| peer.takes_ops());
        members.all(|peer| peer.known.sum() == clock_sum || has_all(peer))
    }

    fn follow(&mut self, now: Now) {
        let is_admitted = self.is_admitted_by_all();
        self.look_for_members(now);
        let shards = &self.shards;
        let Phase::Following { targets, search, until } = &mut self.joining.phase else { return };
        targets.retain(|(shard, clock)| !shards[shard.index()].clock().covers(clock));
        if targets.is_empty() && *search == Search::Done && is_admitted || *until <= now.mono {
            self.joining.phase = Phase::Member;
        }
    }

    /// What a member has that is linked late may be nowhere else, and that member may be the next to go. Gossip shows who
    /// lives only after a second, the roster at once.
    fn look_for_members(&mut self, now: Now) {
        let told = self.peers.values().filter(|peer| peer.takes_ops()).all(|peer| peer.told);
        let gossiping_are_here = told && self.everyone_is_here();
        let members_are_here = gossiping_are_here && self.are_here(self.roster.living());
        let Phase::Following { search, .. } = &mut self.joining.phase else { return };
        if matches!(search, Search::Members { silent_until } if *silent_until <= now.mono) {
            *search = Search::Gossiping;
        }
        let done = match search {
            Search::Members { .. } => members_are_here,
            Search::Gossiping => gossiping_are_here,
            Search::Done => false,
        };
        if done {
            let all = self.targets();
            let Phase::Following { targets, search, .. } = &mut self.joining.phase else { return };
            (*targets, *search) = (all, Search::Done);
        }
    }

    fn took_history(&mut self, now: Now, from: PeerId, shard: ShardId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if !peer.states_wanted.remove(&shard) {
            return;
        }
        let window_done = peer.states_wanted.len() % WINDOW == 0;
        if peer.states_wanted.is_empty() {
            let theirs = peer.lineage;
            self.joining.asked_at.remove(&from);
            if theirs != 0 && theirs < self.lineage {
                self.lineage = theirs;
                self.say_hello_again();
            }
        } else if window_done {
            self.joining.asked_at.insert(from, now.mono);
            self.ask_history(now);
        }
    }
}

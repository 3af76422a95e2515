//! Waits for tokens and acknowledgements: each stands under the shards it is about, and has a deadline.

use std::collections::{BTreeMap, BTreeSet};

use super::{DiskHealth, Node};
use crate::core::command::{Acks, Wait, WaitId, Waited};
use crate::core::identity::ShardId;
use crate::core::limits::WAIT_MILLIS_MAX;
use crate::core::time::{MonoMicros, Now};
use crate::core::token::Token;

#[derive(Debug, Default)]
pub(super) struct Waits {
    next: u64,
    open: BTreeMap<WaitId, Open>,
    by_shard: BTreeSet<(ShardId, WaitId)>,
    by_deadline: BTreeSet<(MonoMicros, WaitId)>,
}

#[derive(Debug)]
struct Open {
    what: What,
    deadline: MonoMicros,
}

#[derive(Clone, Debug)]
enum What {
    Seen(Vec<Token>),
    Acks {
        token: Token,
        need: Acks,
        /// The roster when the wait began: a majority must not shrink under a wait.
        roster: usize,
    },
    /// Until it is on the disk.
    Saved(Token),
    /// The question has its own books.
    Asked,
}

impl Waits {
    fn open(&mut self, what: What, deadline: MonoMicros) -> WaitId {
        self.next += 1;
        let id = WaitId(self.next);
        for shard in what.shards() {
            self.by_shard.insert((shard, id));
        }
        self.by_deadline.insert((deadline, id));
        self.open.insert(id, Open { what, deadline });
        id
    }

    /// A wait that others end.
    pub(super) fn open_question(&mut self, deadline: MonoMicros) -> WaitId {
        self.open(What::Asked, deadline)
    }

    /// Takes a wait off the books. Gives whether it was open.
    pub(super) fn close(&mut self, id: WaitId) -> bool {
        let Some(open) = self.open.remove(&id) else { return false };
        for shard in open.what.shards() {
            self.by_shard.remove(&(shard, id));
        }
        self.by_deadline.remove(&(open.deadline, id));
        true
    }

    pub(super) fn is_open(&self, id: WaitId) -> bool {
        self.open.contains_key(&id)
    }

    pub(super) fn deadline(&self) -> Option<MonoMicros> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn of_shard(&self, shard: ShardId) -> Vec<WaitId> {
        let range = (shard, WaitId(0))..=(shard, WaitId(u64::MAX));
        self.by_shard.range(range).map(|(_, id)| *id).collect()
    }
}

impl What {
    fn shards(&self) -> Vec<ShardId> {
        match self {
            Self::Seen(tokens) => tokens.iter().map(|token| token.shard).collect(),
            Self::Acks { token, .. } | Self::Saved(token) => vec![token.shard],
            Self::Asked => Vec::new(),
        }
    }
}

impl Node {
    /// Whether everything the tokens name has been applied here.
    #[must_use]
    pub fn seen(&self, tokens: &[Token]) -> bool {
        tokens.iter().all(|token| token.dots.iter().all(|dot| self.shard(token.shard).has(dot)))
    }

    /// Starts to wait, at most `millis_max` (and never longer than [`WAIT_MILLIS_MAX`]). `Ok` when there is nothing
    /// to wait for.
    ///
    /// # Errors
    /// `Err` is no failure: it names a wait that [`super::Output::Done`] will end.
    pub fn wait(&mut self, now: Now, wait: Wait, millis_max: u64) -> Result<Waited, WaitId> {
        let millis = millis_max.min(WAIT_MILLIS_MAX);
        let what = match wait {
            Wait::Asked(object) => return self.ask(now, object, millis),
            Wait::Seen(tokens) => What::Seen(tokens),
            Wait::Saved(token) => What::Saved(token),
            Wait::Acks { token, need } => What::Acks { token, need, roster: self.roster.members().count() },
        };
        if let Some(waited) = self.outcome(&what, millis == 0) {
            return Ok(waited);
        }
        let counted = match &what {
            What::Acks { token, need, .. } => Some((token.clone(), *need)),
            What::Seen(_) | What::Saved(_) | What::Asked => None,
        };
        let id = self.waits.open(what, now.mono.plus_millis(millis));
        if let Some((token, need)) = counted {
            self.count_acks(now, id, &token, need);
        }
        Err(id)
    }

    /// Nobody wants to know any more.
    pub fn cancel(&mut self, id: WaitId) {
        self.waits.close(id);
    }

    /// How a wait has ended, or, when its time is over, how it ends now.
    fn outcome(&self, what: &What, over: bool) -> Option<Waited> {
        match what {
            What::Seen(tokens) if self.seen(tokens) => Some(Waited::Seen),
            What::Seen(_) => over.then_some(Waited::Behind),
            What::Saved(token) if token.dots.iter().all(|dot| self.keeps(token.shard, dot)) => {
                Some(Waited::Seen)
            }
            What::Saved(_) => (over || self.disk_health() != DiskHealth::Good).then_some(Waited::Behind),
            What::Acks { token, need, roster } => {
                let have = self.acks(token);
                let need = self.acks_needed(*need, *roster);
                (have >= need || over).then_some(Waited::Acks { have, need })
            }
            What::Asked => over.then_some(Waited::Asked { by_all: false, ended: false }),
        }
    }

    /// Members, this node among them, that have applied what a token names.
    fn acks(&self, token: &Token) -> usize {
        if self.is_settled(token.shard, &token.dots) {
            return self.roster.members().count();
        }
        let told = self.who_told(token);
        let has_all = |node: &crate::core::identity::Replica| {
            if node.id == self.id() {
                return token.dots.iter().all(|dot| self.keeps(token.shard, dot));
            }
            let peer = self.peers.get(&node.id);
            told.contains(&node.id)
                || peer.is_some_and(|peer| token.dots.iter().all(|dot| peer.keeps(token.shard, dot)))
        };
        self.roster.members().filter(|member| has_all(member)).count()
    }

    fn acks_needed(&self, need: Acks, roster_then: usize) -> usize {
        let roster = self.roster.members().count().max(roster_then);
        match need {
            Acks::Count(count) => count,
            Acks::Majority => roster / 2 + 1,
            Acks::All => roster,
        }
    }

    /// Ends the waits about a shard that are over now.
    pub(super) fn check_waits(&mut self, shard: ShardId) {
        for id in self.waits.of_shard(shard) {
            self.check_wait(id, false);
        }
    }

    pub(super) fn check_all_waits(&mut self) {
        let open: Vec<WaitId> = self.waits.open.keys().copied().collect();
        for id in open {
            self.check_wait(id, false);
        }
    }

    pub(super) fn check_wait(&mut self, id: WaitId, over: bool) {
        let waited = self.waits.open.get(&id).and_then(|open| self.outcome(&open.what, over));
        if let Some(mut waited) = waited {
            if let Waited::Asked { ended, .. } = &mut waited {
                *ended = self.asks.told_ended(id);
            }
            self.waits.close(id);
            self.done(id, waited);
        }
    }

    /// Nothing more will come: every wait ends as if its time were over.
    pub(super) fn end_all_waits(&mut self) {
        let open: Vec<WaitId> = self.waits.open.keys().copied().collect();
        for id in open {
            self.check_wait(id, true);
            self.waits.close(id);
        }
    }

    pub(super) fn expire_waits(&mut self, now: Now) {
        while let Some((_, id)) = self.waits.by_deadline.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.check_wait(id, true);
            self.waits.close(id);
        }
    }
}

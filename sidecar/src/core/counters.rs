//! A counter for each of some authors, in the order of their ids: mostly a handful, which stand where they are looked for. A
//! tree keeps them elsewhere, and each clock that a write touches was one more line of memory that is never in the cache.

use smallvec::SmallVec;

use super::identity::ReplicaId;

/// Authors that need no memory of their own.
const INLINE: usize = 4;

/// Up to so many, looking at each is faster than searching.
const SCANNED_MAX: usize = 8;

/// Room for so many is kept, once it is there.
const KEPT: usize = 16;

/// Author → counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters(SmallVec<[(ReplicaId, u64); INLINE]>);

impl Counters {
    pub(crate) fn get(&self, actor: &ReplicaId) -> Option<u64> {
        self.place(actor).ok().and_then(|at| self.0.get(at)).map(|(_, counter)| *counter)
    }

    pub(crate) fn insert(&mut self, actor: ReplicaId, counter: u64) {
        match self.place(&actor) {
            Ok(at) => self.0[at].1 = counter,
            Err(at) => self.0.insert(at, (actor, counter)),
        }
    }

    pub(crate) fn remove(&mut self, actor: &ReplicaId) {
        if let Ok(at) = self.place(actor) {
            self.0.remove(at);
            self.give_back();
        }
    }

    /// Keeps those for which `stays` says so, and what it makes of them.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(ReplicaId, &mut u64) -> bool) {
        self.0.retain(|(actor, counter)| stays(*actor, counter));
        self.give_back();
    }

    /// A node has thousands of these, and what comes from elsewhere may name many that soon stand in the past: their room is
    /// not kept.
    fn give_back(&mut self) {
        if self.0.capacity() > KEPT && self.0.len() <= self.0.capacity() / 4 {
            self.0.shrink_to_fit();
        }
    }

    /// Puts in all of these, which are in the order of ids: in one pass where they are many, as each would else move all that
    /// follow it.
    pub(crate) fn insert_all(&mut self, more: &[(ReplicaId, u64)]) {
        if more.len() <= INLINE {
            more.iter().for_each(|(actor, counter)| self.insert(*actor, *counter));
            return;
        }
        let mut all = SmallVec::with_capacity(self.0.len() + more.len());
        let mut ours = self.0.iter().copied().peekable();
        for (actor, counter) in more {
            while let Some(before) = ours.next_if(|(other, _)| other < actor) {
                all.push(before);
            }
            ours.next_if(|(other, _)| other == actor);
            all.push((*actor, *counter));
        }
        all.extend(ours);
        self.0 = all;
        self.give_back();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Where an author is, or would be.
    fn place(&self, actor: &ReplicaId) -> Result<usize, usize> {
        if self.0.len() > SCANNED_MAX {
            return self.0.binary_search_by(|(other, _)| other.cmp(actor));
        }
        match self.0.iter().position(|(other, _)| other >= actor) {
            Some(at) if self.0[at].0 == *actor => Ok(at),
            Some(at) => Err(at),
            None => Err(self.0.len()),
        }
    }
}

impl FromIterator<(ReplicaId, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, u64)>>(counters: I) -> Self {
        let mut all: SmallVec<[(ReplicaId, u64); INLINE]> = counters.into_iter().collect();
        // The last of each, as in a map.
        all.reverse();
        all.sort_by_key(|(actor, _)| *actor);
        all.dedup_by_key(|(actor, _)| *actor);
        let mut all = Self(all);
        all.give_back();
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0u64..24, 0u64..9, 0u8..8), 0..120)) {
            let (mut ours, mut oracle) = (Counters::default(), BTreeMap::new());
            for (actor, counter, what) in steps {
                let actor = ReplicaId(actor);
                match what {
                    0 => {
                        ours.remove(&actor);
                        oracle.remove(&actor);
                    }
                    1 => {
                        let stays = |counter: &mut u64| { *counter += 1; *counter > 2 };
                        ours.retain(|_, counter| stays(counter));
                        oracle.retain(|_, counter| stays(counter));
                    }
                    2 => {
                        let some = (actor.0..24).step_by(1 + counter as usize);
                        let more: Vec<_> = some.map(|id| (ReplicaId(id), counter)).collect();
                        ours.insert_all(&more);
                        oracle.extend(more);
                    }
                    _ => {
                        ours.insert(actor, counter);
                        oracle.insert(actor, counter);
                    }
                }
                prop_assert_eq!(ours.get(&actor), oracle.get(&actor).copied());
                prop_assert_eq!(ours.len(), oracle.len());
                prop_assert!(ours.0.capacity() <= KEPT || ours.len() > ours.0.capacity() / 4);
                prop_assert!(ours.iter().eq(oracle.iter().map(|(actor, counter)| (*actor, *counter))));
            }
            // In any order, and of each the last counts.
            let stale = oracle.keys().map(|actor| (*actor, 99)).collect::<Vec<_>>();
            let backwards = oracle.into_iter().rev();
            prop_assert_eq!(stale.into_iter().chain(backwards).collect::<Counters>(), ours);
        }
    }
}

//! What must hold: after every few steps, and at the end.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::{Violation, World, object};
use crate::core::check::reading;
use crate::core::check::replica::name_of;
use crate::core::check::rng::Rng;
use crate::core::check::spec::{self, Known};
use crate::core::contents::{DotKey, ObjectContents};
use crate::core::identity::{Kind, ObjectId, dot_order};
use crate::core::shard::Shard;

/// Rounds of everybody catching up with everybody after which all must be equal.
const HEALING_ROUNDS: usize = 6;

impl World {
    /// Holds every replica that has changed against the specification, and replicas with equal clocks against each
    /// other.
    ///
    /// # Errors
    /// What does not hold.
    pub fn inspect(&mut self) -> Result<(), Violation> {
        for node in 0..self.replicas.len() {
            if std::mem::take(&mut self.unchecked[node]) {
                self.inspect_replica(node)?;
            }
        }
        self.inspect_pairs()
    }

    fn within(&self, node: usize) -> impl Iterator<Item = &Known> + Clone {
        let clock = self.replicas[node].shard.clock();
        self.known.iter().filter(|((actor, counter), _)| clock.get(actor) >= *counter).map(|(_, known)| known)
    }

    pub(super) fn specified(&self, node: usize) -> BTreeMap<ObjectId, spec::Object> {
        spec::contents(self.within(node))
    }

    /// The lives of an object that a reader on a node must see.
    pub(super) fn visible_lives(&self, node: usize, object: &ObjectId) -> Vec<DotKey> {
        let now = self.replicas[node].wall(self.now);
        let within = self.within(node).filter(|known| known.op.object == *object);
        spec::contents(within).get(object).map(|object| reading::visible(object, now)).unwrap_or_default()
    }

    fn inspect_replica(&self, node: usize) -> Result<(), Violation> {
        let who = self.called(node);
        let shard = &self.replicas[node].shard;
        let clock = shard.clock();
        let fail = |what: String| Err(Violation(format!("{who} at {}: {what}", show_clock(clock))));
        for known in self.within(node) {
            if known.history.partial_cmp(clock).is_none_or(Ordering::is_gt) {
                return fail(format!(
                    "has applied {} before what it depends on",
                    name_of(dot_order(&known.op.dot))
                ));
            }
        }
        let specified = self.specified(node);
        let wanted = specified.iter().map(|(id, object)| (id.clone(), object.stored())).collect();
        let stored = shard.contents();
        if stored != wanted {
            return fail(format!("differs from the specification:\n{}", difference(&stored, &wanted)));
        }
        let frontier: BTreeSet<DotKey> = shard.frontier().map(|dot| dot_order(&dot)).collect();
        let maximal = spec::frontier(self.within(node));
        if frontier != maximal {
            return fail(format!("its frontier is {frontier:?}, not {maximal:?}"));
        }
        if shard.digest() != shard.recomputed_digest() {
            return fail("its digest is not that of what it stores".into());
        }
        let mut taken = Shard::new(shard.id());
        if taken.merge_state(shard.state()).is_err() || taken.contents() != stored {
            return fail("its state does not make the same shard anew".into());
        }
        let figures = |shard: &Shard| (shard.digest(), shard.content_bytes(), shard.objects_by_kind());
        if figures(&taken) != figures(shard) {
            return fail(format!("it counts {:?}, and {:?} when made anew", figures(shard), figures(&taken)));
        }
        let now = self.replicas[node].wall(self.now);
        for kind in Kind::ALL {
            let id = object(kind);
            let wanted = specified.get(&id).and_then(|object| reading::view(object, kind, now));
            let seen = self.read(node, &id);
            if seen != wanted {
                return fail(format!("{id} reads {seen:?}, not {wanted:?}"));
            }
        }
        Ok(())
    }

    fn inspect_pairs(&mut self) -> Result<(), Violation> {
        let mut equal = 0;
        for (at, a) in self.replicas.iter().enumerate() {
            for b in &self.replicas[at + 1..] {
                let (ours, theirs) = (a.shard.digest(), b.shard.digest());
                let same_clock = a.shard.clock() == b.shard.clock();
                equal += u64::from(same_clock && !a.shard.clock().is_empty());
                let fail = |what: &str| Err(Violation(format!("{:x} and {:x}: {what}", a.id.0, b.id.0)));
                if same_clock != (ours.clock_sum == theirs.clock_sum) {
                    return fail("their clock sums do not tell whether their clocks are equal");
                }
                if same_clock && ours.content_sum != theirs.content_sum {
                    return fail("equal clocks, different digests");
                }
                if ours.content_sum == theirs.content_sum && a.shard.contents() != b.shard.contents() {
                    return fail("equal digests, different contents");
                }
            }
        }
        *self.tally.entry("equal clocks").or_default() += equal;
        Ok(())
    }

    /// Heals the network, lets everybody catch up, and looks for what may not be after that.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        self.heal()?;
        self.inspect()?;
        let clock = self.replicas[0].shard.clock();
        if let Some(lost) = self.kept.iter().find(|(actor, counter)| clock.get(actor) < *counter) {
            return Err(Violation(format!("{} is lost, though a survivor held it", name_of(*lost))));
        }
        self.logout_won()?;
        self.tidy()
    }

    /// Heals the network and lets everybody catch up with everybody.
    ///
    /// # Errors
    /// When they do not become equal.
    pub fn heal(&mut self) -> Result<(), Violation> {
        self.groups.fill(0);
        let mut rng = Rng::new(0);
        for _ in 0..HEALING_ROUNDS {
            self.bags.iter_mut().for_each(Vec::clear);
            for from in 0..self.replicas.len() {
                for to in 0..self.replicas.len() {
                    if from != to {
                        self.sync(from, to, &mut rng)?;
                        self.sync(from, to, &mut rng)?;
                    }
                }
            }
            let all =
                |clock| self.replicas.iter().all(|replica| !replica.fresh && replica.shard.clock() == clock);
            if all(self.replicas[0].shard.clock()) {
                return Ok(());
            }
        }
        let clocks: Vec<_> = self.replicas.iter().map(|replica| show_clock(replica.shard.clock())).collect();
        Err(Violation(format!("no convergence: {}", clocks.join(" | "))))
    }

    /// A session whose DELETE was answered is gone, unless it was created later.
    fn logout_won(&self) -> Result<(), Violation> {
        let specified = self.specified(0);
        let Some(session) = specified.get(&object(Kind::Session)) else { return Ok(()) };
        let clock = self.replicas[0].shard.clock();
        for delete in &self.deletes {
            let survived = delete.op.is_none_or(|(actor, counter)| clock.get(&actor) >= counter);
            for (id, life) in &session.lives {
                let Some((step, creator)) = self.born.get(id).copied() else { continue };
                let mad = self.is_mad(creator) || self.is_mad(delete.node);
                if survived && !mad && step < delete.step && !reading::hidden(session, life) {
                    return Err(Violation(format!(
                        "DELETE at step {} was answered, but life {} of step {step} is there",
                        delete.step,
                        name_of(*id)
                    )));
                }
            }
        }
        Ok(())
    }
}

fn show_clock(clock: &crate::core::identity::Clock) -> String {
    let dots: Vec<_> = clock.iter().map(|dot| name_of((dot.actor, dot.counter))).collect();
    format!("[{}]", dots.join(" "))
}

/// Where what is stored and what must be differ.
pub(in crate::core::check) fn difference(
    stored: &BTreeMap<ObjectId, ObjectContents>,
    wanted: &BTreeMap<ObjectId, ObjectContents>,
) -> String {
    let names: BTreeSet<_> = stored.keys().chain(wanted.keys()).collect();
    let differing = names.into_iter().filter(|id| stored.get(id) != wanted.get(id));
    let lines =
        differing.map(|id| format!("  {id}\n    is {:?}\n    must be {:?}", stored.get(id), wanted.get(id)));
    lines.collect::<Vec<_>>().join("\n")
}

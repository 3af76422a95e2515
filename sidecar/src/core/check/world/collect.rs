//! Tidying up, by an observer who knows for certain what nodes must infer from reports.

use super::{Violation, World, object};
use crate::core::check::reading;
use crate::core::check::rng::Rng;
use crate::core::command::{Change, Write};
use crate::core::contents::DotKey;
use crate::core::identity::{Clock, Kind, ReplicaId, UNLEASED, dot_order};
use crate::core::mutant::Rule;
use crate::core::op::{Action, Removal};

impl World {
    /// Destroys hidden lives, and takes away barriers that nothing can need any more.
    pub(super) fn collect(&mut self, node: usize) {
        self.collect_residue(node);
        self.fold(node);
        let id = object(Kind::Session);
        let specified = self.specified(node);
        let Some(session) = specified.get(&id) else { return };
        let mut rng = Rng::new(self.step as u64);
        let hidden: Vec<_> = session
            .lives
            .iter()
            .filter(|(life, _)| **life != dot_order(&UNLEASED))
            .filter(|(_, life)| reading::hidden(session, life))
            .map(|(id, _)| (*id).into())
            .collect();
        if !hidden.is_empty() {
            self.count("hidden lives destroyed");
            let destroy = Action::Destroy { lives: hidden, removal: Removal::default() };
            self.stamp_and_author(node, destroy, &mut rng);
            return;
        }
        let stable: Vec<_> = session
            .barriers
            .keys()
            .filter(|barrier| self.is_stable(**barrier))
            .map(|dot| (*dot).into())
            .collect();
        if !stable.is_empty() {
            self.count("barriers removed");
            self.stamp_and_author(node, Action::Unbarrier { barriers: stable }, &mut rng);
        }
    }

    /// Drops covered accumulators: one's own at once, another's when its owner has reported that it knows the cover,
    /// and all that the owner had written by then is here.
    fn collect_residue(&mut self, node: usize) {
        let replica = &mut self.replicas[node];
        let (me, ours) = (replica.id, replica.shard.clock().clone());
        let reports = &self.reports;
        replica.shard.collect_residue(|owner, cover| {
            let told = || {
                let report = reports.get(&owner)?;
                let told = report.get(&cover?.actor) >= cover?.counter;
                Some(told && ours.get(&owner) >= report.get(&owner))
            };
            owner == me || told().unwrap_or(false)
        });
        self.unchecked[node] = true;
        self.reports.insert(me, ours);
    }

    fn stamp_and_author(&mut self, node: usize, action: Action, rng: &mut Rng) {
        self.stamp(node);
        self.author(node, object(Kind::Session), action, rng);
    }

    fn stamp(&mut self, node: usize) {
        let touch = Write::new(object(Kind::Session), Change::Touch);
        // Composing moves the stamp on; what it composes is not wanted.
        let _ = self.replicas[node].compose(self.now, &touch);
    }

    /// Makes one accumulator of those of former processes of which everybody has all.
    fn fold(&mut self, node: usize) {
        let hasty = self.setup.mutants.lacks(Rule::FoldUnstable);
        if !(self.has_all_folds(node) || hasty) {
            return;
        }
        let ours = self.replicas[node].shard.clock().clone();
        let living: Vec<ReplicaId> = self.replicas.iter().map(|replica| replica.id).collect();
        let dead: Vec<ReplicaId> =
            ours.iter().map(|dot| dot.actor).filter(|id| !living.contains(id)).collect();
        let settled: Vec<ReplicaId> =
            dead.into_iter().filter(|id| hasty || self.is_settled(*id, ours.get(id))).collect();
        let due = self.replicas[node].shard.folds(|name| settled.contains(&name.actor));
        let mut rng = Rng::new(self.step as u64);
        for (object, action) in due {
            self.count("counters folded");
            self.stamp(node);
            self.author(node, object, action, &mut rng);
        }
    }

    /// There is no more of it anywhere, and nobody can still bring an operation whose author had not seen it all.
    fn is_settled(&self, id: ReplicaId, counter: u64) -> bool {
        let last = self.known.keys().filter(|(author, _)| *author == id).map(|(_, sequence)| *sequence).max();
        last == Some(counter) && self.is_stable((id, counter))
    }

    /// One node folds at a time: the next one has seen what the last one did.
    fn has_all_folds(&self, node: usize) -> bool {
        let clock = self.replicas[node].shard.clock();
        self.folds_known().all(|(author, sequence)| clock.get(&author) >= sequence)
    }

    pub(super) fn folds_known(&self) -> impl Iterator<Item = DotKey> + '_ {
        self.known.iter().filter(|(_, known)| matches!(known.op.action, Action::Fold(_))).map(|(dot, _)| *dot)
    }

    /// Nobody can still bring an operation whose author had not seen this one.
    fn is_stable(&self, (actor, counter): DotKey) -> bool {
        let has = |clock: &Clock| clock.get(&actor) >= counter;
        let ours = self.replicas[0].shard.clock();
        let idle = self.bags.iter().all(Vec::is_empty)
            && self.replicas.iter().all(|replica| replica.shard.clock() == ours);
        // Nothing is under way and all are equal: what nobody has applied is lost.
        let lost = |author, sequence| idle && ours.get(author) < sequence;
        self.replicas.iter().all(|replica| has(replica.shard.clock()))
            && self.known.iter().all(|((author, sequence), known)| {
                let applied = self.replicas.iter().all(|one| one.shard.clock().get(author) >= *sequence);
                applied || has(&known.history) || lost(author, *sequence)
            })
    }

    /// When all are equal and everybody tidies up, nothing hidden and no barrier is left.
    pub(super) fn tidy(&mut self) -> Result<(), Violation> {
        for _ in 0..4 {
            for node in 0..self.replicas.len() {
                self.collect(node);
                self.heal()?;
            }
        }
        self.inspect()?;
        let specified = self.specified(0);
        match specified.get(&object(Kind::Session)) {
            Some(session) if !session.barriers.is_empty() => {
                Err(Violation("a barrier was never removed".into()))
            }
            _ => Ok(()),
        }
    }
}

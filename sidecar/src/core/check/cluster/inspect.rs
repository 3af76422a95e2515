//! What must hold: after every step, and at the end.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::{Cluster, SHARDS_USED, Violation, objects};
use crate::core::check::reading;
use crate::core::check::replica::name_of;
use crate::core::check::spec::{self, Known};
use crate::core::command::{Change, Conflict, MemberState, Readiness, Write};
use crate::core::contents::DotKey;
use crate::core::identity::{Kind, ObjectId, ShardId, dot_order};
use crate::core::op::Action;
use crate::core::path::Path;
use crate::core::time::UnixMillis;
use crate::core::value::Tree;

/// How long a healed cluster may take until all are equal, in milliseconds.
const CONVERGENCE_MILLIS: u64 = 40_000;

impl Cluster {
    /// Holds what has changed against the specification.
    pub(super) fn inspect(&mut self) -> Result<(), Violation> {
        self.overdue()?;
        for (seat, shard) in std::mem::take(&mut self.unchecked) {
            self.inspect_shard(seat, shard)?;
        }
        self.watch()?;
        let up: Vec<_> = self.up().collect();
        for (at, (a, ours)) in up.iter().enumerate() {
            for (b, theirs) in &up[at + 1..] {
                for shard in SHARDS_USED {
                    let (ours, theirs) = (ours.shard(shard), theirs.shard(shard));
                    let same = ours.clock() == theirs.clock();
                    if same && ours.digest() != theirs.digest() {
                        return Err(Violation(format!(
                            "n{a} and n{b}: equal clocks, different digests in {shard:?}"
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    fn within(&self, seat: usize, shard: ShardId) -> impl Iterator<Item = &Known> + Clone {
        let clock = self.seats[seat].node.as_ref().map(|node| node.shard(shard).clock());
        let first = (shard, (crate::core::identity::ReplicaId(0), 0));
        self.known
            .range(first..)
            .take_while(move |((of, _), _)| *of == shard)
            .filter(move |((_, (actor, counter)), _)| clock.is_some_and(|clock| clock.get(actor) >= *counter))
            .map(|(_, known)| known)
    }

    pub(super) fn specified(&self, seat: usize, shard: ShardId) -> BTreeMap<ObjectId, spec::Object> {
        spec::contents(self.within(seat, shard))
    }

    fn inspect_shard(&self, seat: usize, shard: ShardId) -> Result<(), Violation> {
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        let stored = node.shard(shard);
        let fail = |what: String| Err(Violation(format!("n{seat} in {shard:?}: {what}")));
        for known in self.within(seat, shard) {
            if known.history.partial_cmp(stored.clock()).is_none_or(Ordering::is_gt) {
                return fail(format!(
                    "has applied {} before what it depends on",
                    name_of(dot_order(&known.op.dot))
                ));
            }
        }
        let specified = self.specified(seat, shard);
        let wanted = specified.iter().map(|(id, object)| (id.clone(), object.stored())).collect();
        let contents = stored.contents();
        if contents != wanted {
            return fail(format!(
                "differs from the specification:\n{}",
                super::super::world::difference(&contents, &wanted)
            ));
        }
        let frontier: BTreeSet<DotKey> = stored.frontier().map(|dot| dot_order(&dot)).collect();
        let maximal = spec::frontier(self.within(seat, shard));
        if frontier != maximal {
            return fail(format!("its frontier is {frontier:?}, not {maximal:?}"));
        }
        if stored.digest() != stored.recomputed_digest() {
            return fail("its digest is not that of what it stores".into());
        }
        self.inspect_readings(seat, shard, &specified)
    }

    fn inspect_readings(
        &self,
        seat: usize,
        shard: ShardId,
        specified: &BTreeMap<ObjectId, spec::Object>,
    ) -> Result<(), Violation> {
        let now = self.time_of(seat);
        for id in Kind::ALL.into_iter().flat_map(objects).filter(|id| id.shard() == shard) {
            let wanted = specified.get(&id).and_then(|object| reading::view(object, id.kind, now));
            let seen = self.read(seat, &id);
            if seen != wanted {
                return Err(Violation(format!("n{seat}: {id} reads {seen:?}, not {wanted:?}")));
            }
            let wanted = specified.get(&id).map(|object| reading::conflicts(object, now)).unwrap_or_default();
            let found = self.seats[seat].node.as_ref().map(|node| node.conflicts(self.now(seat), &id));
            let found: BTreeMap<_, _> = found.into_iter().flatten().map(in_short).collect();
            if found != wanted {
                return Err(Violation(format!(
                    "n{seat}: the siblings of {id} are {found:?}, not {wanted:?}"
                )));
            }
        }
        Ok(())
    }

    /// What a seat's process takes for the time when it looks at deadlines.
    pub(super) fn time_of(&self, seat: usize) -> UnixMillis {
        let node = self.seats[seat].node.as_ref();
        node.map_or(UnixMillis(0), |node| node.time(self.now(seat)))
    }

    /// A process that says that nothing is left with it alone tells the truth, unless who had it has just died.
    pub(super) fn handed_over(&self, seat: usize) -> Result<(), Violation> {
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        // Whoever counts no other member has nobody to hand over to.
        let members = node.members(self.now(seat));
        if members.iter().filter(|member| member.state != MemberState::Left).count() < 2 {
            return Ok(());
        }
        let me = node.id();
        let noticed = |dead: &&super::Dead| {
            let is_late = self.mono.since(dead.since) > super::network::NOTICE_MICROS;
            is_late && !self.network.believes_in(me, dead.process)
        };
        for shard in SHARDS_USED {
            let up = self.up().filter(|(other, _)| *other != seat);
            let up = up.map(|(_, node)| node.shard(shard).clock().get(&me));
            let dead = self.dead.iter().filter(|dead| !noticed(dead));
            let dead = dead.filter_map(|dead| dead.clocks.get(&shard)).map(|clock| clock.get(&me));
            if up.chain(dead).max().unwrap_or(0) < node.shard(shard).clock().get(&me) {
                return Err(Violation(format!("n{seat} leaves with operations that nobody else has")));
            }
        }
        Ok(())
    }

    /// Heals everything, waits until all are equal, and looks for what may not be after that.
    ///
    /// # Errors
    /// What it finds.
    pub fn finish(&mut self) -> Result<(), Violation> {
        self.network.calm = true;
        self.reunite();
        for seat in 0..self.seats.len() {
            let place = &self.seats[seat];
            // Those who heard its goodbye may be gone before they could pass it on.
            let has_left = place.left && self.is_known_to_have_left(seat);
            if place.node.is_none() && (!has_left || place.disk.is_some()) {
                self.start(seat)?;
            }
        }
        self.converge()?;
        self.nothing_lost()?;
        self.logout_won()?;
        self.nobody_was_thrown_out()?;
        self.tidy()
    }

    fn converge(&mut self) -> Result<(), Violation> {
        for _ in 0..CONVERGENCE_MILLIS / 500 {
            self.pass(500)?;
            self.inspect()?;
            if self.are_equal() {
                self.say(|| "all are equal".into());
                return Ok(());
            }
        }
        let states: Vec<String> = self
            .up()
            .map(|(seat, node)| {
                let clocks: Vec<_> =
                    SHARDS_USED.iter().map(|shard| node.shard(*shard).clock().to_string()).collect();
                format!("n{seat} {:?} {clocks:?}", node.readiness())
            })
            .collect();
        Err(Violation(format!("no convergence:\n{}", states.join("\n"))))
    }

    fn are_equal(&self) -> bool {
        let mut up = self.up();
        let Some((_, first)) = up.next() else { return true };
        let ready = self.up().all(|(_, node)| node.readiness() == Readiness::Ready);
        ready
            && up.all(|(_, node)| {
                ShardId::all().all(|shard| node.shard(shard).clock() == first.shard(shard).clock())
            })
    }

    fn nothing_lost(&self) -> Result<(), Violation> {
        let Some((_, node)) = self.up().next() else { return Ok(()) };
        let lost = self
            .kept
            .iter()
            .find(|(shard, (actor, counter))| node.shard(*shard).clock().get(actor) < *counter);
        match lost {
            Some((shard, dot)) => {
                Err(Violation(format!("{} of {shard:?} is lost, though a survivor held it", name_of(*dot))))
            }
            None => Ok(()),
        }
    }

    /// A session whose DELETE was answered is gone, unless it was created later, or by somebody of whom those who answered had
    /// never heard: two clusters are one only when they have met.
    fn logout_won(&self) -> Result<(), Violation> {
        let Some((seat, node)) = self.up().next() else { return Ok(()) };
        for delete in &self.users.deletes {
            let shard = delete.object.shard();
            let survived =
                delete.op.is_none_or(|(actor, counter)| node.shard(shard).clock().get(&actor) >= counter);
            let specified = self.specified(seat, shard);
            let Some(session) = specified.get(&delete.object) else { continue };
            for (id, life) in &session.lives {
                let Some((step, creator)) = self.born.get(&(shard, *id)).copied() else { continue };
                let mad = self.is_mad(creator) || self.is_mad(delete.seat);
                // A process that has lost its disk is as much a stranger to the one before it.
                let had_met = match creator == delete.seat {
                    true => delete.processes.contains(&id.0),
                    false => delete.known.contains(&format!("n{creator}")),
                };
                if survived && !mad && had_met && step < delete.step && !reading::hidden(session, life) {
                    return Err(Violation(format!(
                        "DELETE of {} at step {} was answered, but life {} of step {step} is there",
                        delete.object,
                        delete.step,
                        name_of(*id)
                    )));
                }
            }
        }
        Ok(())
    }

    /// No node destroys an expired life that somebody was using at the same time.
    fn nobody_was_thrown_out(&self) -> Result<(), Violation> {
        let Some((_, node)) = self.up().next() else { return Ok(()) };
        for (shard, dot) in &self.expiries {
            let Some(end) = self.known.get(&(*shard, *dot)) else { continue };
            let Action::Destroy { lives, .. } = &end.op.action else { continue };
            for known in self.known.values().filter(|known| known.op.object == end.op.object) {
                let uses = match &known.op.action {
                    Action::Touch { lives: touched, .. } => touched.iter().any(|life| lives.contains(life)),
                    Action::Edit { life, .. } => lives.contains(life),
                    _ => false,
                };
                let use_dot = known.op.dot;
                let concurrent =
                    end.history.get(&use_dot.actor) < use_dot.counter && known.history.get(&dot.0) < dot.1;
                let survived = node.shard(*shard).clock().get(&use_dot.actor) >= use_dot.counter;
                if uses && concurrent && survived {
                    return Err(Violation(format!(
                        "{} ended a life as expired while {} was using it",
                        name_of(*dot),
                        name_of(dot_order(&use_dot))
                    )));
                }
            }
        }
        Ok(())
    }

    /// All that is over goes, whoever has died meanwhile.
    fn tidy(&mut self) -> Result<(), Violation> {
        // Whoever has heard its goodbye may have died: then it is for an operator to say that it is gone.
        let first = self.up().map(|(seat, _)| seat).next();
        for other in 0..self.seats.len() {
            if let Some(seat) = first.filter(|_| self.seats[other].node.is_none()) {
                self.give_up(seat, other)?;
            }
        }
        self.pass(60_000)?;
        let early = self.up().map(|(seat, _)| self.time_of(seat)).min().unwrap_or_default();
        // What a disk holds is a time as well: one that is given nothing to write does not get on.
        let first = first.filter(|_| self.setup.disk_micros.is_some());
        if let Some(seat) = first {
            let [object, _] = objects(Kind::Document);
            self.write(seat, &Write::new(object, Change::Put(Tree::EMPTY)))?;
        }
        self.pass(60_000)?;
        self.inspect()?;
        self.converge()?;
        let Some((seat, _)) = self.up().next() else { return Ok(()) };
        for shard in SHARDS_USED {
            for (id, object) in self.specified(seat, shard) {
                if id.kind == Kind::Session && object.lives.values().any(|life| life.lease.ends() < early) {
                    return Err(Violation(format!("{id} has expired and is never destroyed")));
                }
                if !object.barriers.is_empty() {
                    return Err(Violation(format!("a barrier of {id} is never removed")));
                }
            }
        }
        for (seat, node) in self.up() {
            let figures = node.status().figures;
            if figures.log_ops > 0 || figures.pending_ops > 0 {
                return Err(Violation(format!("n{seat} keeps what everyone has: {figures:?}")));
            }
        }
        self.tally.entry("tidied up").and_modify(|times| *times += 1).or_insert(1);
        Ok(())
    }
}

fn in_short(conflict: Conflict) -> (Path, Vec<(String, DotKey)>) {
    let siblings = conflict.siblings.iter();
    let siblings = siblings.map(|sibling| (sibling.value.as_str().to_owned(), dot_order(&sibling.dot)));
    (conflict.path, siblings.collect())
}

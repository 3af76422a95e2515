//! What only a test does to a shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Shard;
use crate::core::digest::Ledger;
use crate::core::identity::{Dot, ObjectId};
use crate::core::mutant::Rule;
use crate::core::op::{Action, Op};

impl Shard {
    /// Everything semantic that is stored, changed behind the operations' back: what a bad disk or a bug would do.
    pub fn corrupt(&mut self, id: &ObjectId) {
        let mut lost = Ledger::default();
        self.revisions.all_changed();
        if let Some(stored) = self.objects.take(id) {
            lost = stored.object().sums(id.hash());
            self.key_bytes -= id.key.len() as u64;
        }
        self.book(&Ledger { content_sum: lost.content_sum.wrapping_neg(), bytes: -lost.bytes });
    }

    /// The naive reading of `deps`: removal by the author's whole clock, rebuilt from differences.
    pub(super) fn with_rebuilt_sight(&mut self, op: &Arc<Op>) -> Option<Arc<Op>> {
        if !self.mutants.lacks(Rule::DiffRemove) {
            return None;
        }
        let unknown = op.dot.counter > 1 && !self.rebuilt.contains_key(&op.dot.actor);
        let guess = if unknown {
            self.clock.iter().map(|dot| (dot.actor, dot.counter)).collect()
        } else {
            BTreeMap::new()
        };
        let sight = self.rebuilt.entry(op.dot.actor).or_insert(guess);
        for dep in &op.deps {
            let known = sight.entry(dep.actor).or_default();
            *known = (*known).max(dep.counter);
        }
        sight.insert(op.dot.actor, op.dot.counter - 1);
        let seen: Vec<Dot> = sight.iter().map(|(actor, counter)| Dot::new(*actor, *counter)).collect();
        let mut naive = Op::clone(op);
        match &mut naive.action {
            Action::Create { edit, .. } | Action::Edit { edit, .. } => edit.removal.seen = seen,
            Action::Destroy { removal, .. } => removal.seen = seen,
            _ => {}
        }
        Some(Arc::new(naive))
    }
}

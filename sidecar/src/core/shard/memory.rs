//! What a shard takes of memory, and what an operation would add to it.

use super::Shard;
use crate::core::apply::Change;
use crate::core::digest::Ledger;
use crate::core::identity::{ObjectId, ReplicaId};
use crate::core::object::Object;
use crate::core::op::{Action, Op};
use crate::core::stored::View;
use crate::core::time::Hlc;

/// What an object takes beside its entries and its key: its place in the map, its life, and what the allocator adds.
/// Measured as the resident memory of a process with many of them: `tests/benchmarks/run memory`.
const OBJECT_BYTES: u64 = 208;

/// What the allocator adds to entries: it has pieces of some sizes only, and takes the next larger one. One part in so many.
const ROUNDING: u64 = 16;

impl Shard {
    /// Memory that it takes, roughly.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.content_bytes
            + self.content_bytes / ROUNDING
            + self.key_bytes
            + self.objects.len() as u64 * OBJECT_BYTES
            + self.log.bytes()
            + self.pending.bytes()
    }

    /// By how much an action would change what is stored of an object. The log is not counted: it is bounded by itself.
    pub(crate) fn growth(&self, me: ReplicaId, hlc: Hlc, id: &ObjectId, action: &Action) -> i64 {
        if !matches!(action, Action::Create { .. } | Action::Edit { .. }) {
            return 0;
        }
        let places = |object: &Object<'_>| {
            if object.is_vacant() { 0 } else { id.key.len() as i64 + OBJECT_BYTES as i64 }
        };
        let stored = self.objects.get(id);
        let before = stored.as_ref().map_or(0, |object| places(object));
        let mut object = stored.map(View::into_object).unwrap_or_default();
        let op =
            Op { dot: self.next_dot(me), deps: Vec::new(), hlc, object: id.clone(), action: action.clone() };
        let mut ledger = Ledger::default();
        Change { object: &mut object, object_hash: id.hash(), ledger: &mut ledger, mutants: self.mutants }
            .apply(&op);
        ledger.bytes + ledger.bytes / ROUNDING as i64 + places(&object) - before
    }
}

//! Somebody who watches a process: whatever looks different since the last look must stand in its journal, and what
//! it lists must be what can be read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Cluster, Violation, objects};
use crate::core::command::{Changes, Page};
use crate::core::identity::{Kind, ObjectId};

/// What a watcher has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Watcher {
    cursor: u64,
    seen: BTreeMap<ObjectId, Value>,
}

impl Cluster {
    /// Lets the watchers of all processes look again.
    pub(super) fn watch(&mut self) -> Result<(), Violation> {
        let up: Vec<usize> = self.up().map(|(seat, _)| seat).collect();
        up.into_iter().try_for_each(|seat| self.watch_one(seat))
    }

    fn watch_one(&mut self, seat: usize) -> Result<(), Violation> {
        let Some(node) = &self.seats[seat].node else { return Ok(()) };
        let mut watcher = self.watchers.remove(&node.id()).unwrap_or_default();
        let Changes::Since { changes, cursor } = node.changes(watcher.cursor, None, "", usize::MAX) else {
            return Err(Violation(format!("the journal of n{seat} does not reach back, short as it is")));
        };
        let all = Kind::ALL.into_iter().flat_map(objects);
        let seen: BTreeMap<ObjectId, Value> =
            all.filter_map(|id| self.read(seat, &id).map(|value| (id, value))).collect();
        for id in Kind::ALL.into_iter().flat_map(objects) {
            let (then, now) = (watcher.seen.get(&id), seen.get(&id));
            let told = changes.iter().any(|change| change.object == id);
            // That a lease has run out is told when its shard is swept, which may be later.
            let ran_out = || {
                self.specified(seat, id.shard()).get(&id).is_some_and(|object| {
                    let time = self.time_of(seat);
                    object.lives.values().any(|life| life.lease.ends() <= time)
                })
            };
            if then != now && !told && !ran_out() {
                return Err(Violation(format!(
                    "n{seat} does not tell that {id} was {then:?} and is {now:?}"
                )));
            }
        }
        for kind in Kind::ALL {
            let page = node.list(self.now(seat), kind, "o", None, 10);
            let found = seen.keys().filter(|id| id.kind == kind).map(|id| id.key.clone());
            let found = Page { keys: found.collect(), next: None };
            if page != found {
                return Err(Violation(format!("n{seat} lists {page:?}, and {found:?} can be read")));
            }
        }
        watcher = Watcher { cursor, seen };
        self.watchers.insert(node.id(), watcher);
        Ok(())
    }
}

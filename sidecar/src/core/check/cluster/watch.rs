//! Somebody who watches a process: whatever looks different since the last look must stand in its journal, and what
//! it lists must be what can be read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Cluster, Violation, objects};
use crate::core::command::{Changes, Known, Lookup, Page, View};
use crate::core::identity::{Kind, ObjectId};
use crate::core::node::Node;

/// What a watcher has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Watcher {
    cursor: u64,
    seen: BTreeMap<ObjectId, Value>,
    /// What it has read and believes to hold until it is told otherwise.
    read: BTreeMap<ObjectId, (View, Known)>,
}

impl Cluster {
    /// Lets the watchers of all processes look again.
    pub(super) fn watch(&mut self) -> Result<(), Violation> {
        let up: Vec<usize> = self.up().map(|(seat, _)| seat).collect();
        up.into_iter().try_for_each(|seat| self.watch_one(seat))
    }

    /// Somebody watches a process from now on: what it has found on its disk is no news.
    pub(super) fn watch_from_here(&mut self, seat: usize) {
        let Some(node) = &self.seats[seat].node else { return };
        let all = Kind::ALL.into_iter().flat_map(objects);
        let seen = all.filter_map(|id| self.read(seat, &id).map(|value| (id, value))).collect();
        self.watchers.insert(node.id(), Watcher { seen, ..Watcher::default() });
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
            // Where a clock is an hour off, leases run out and come back as it is corrected.
            let mad = (0..self.seats.len()).any(|seat| self.is_mad(seat));
            if then != now && !told && !mad && !ran_out() {
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
        let mut read = watcher.read;
        for id in Kind::ALL.into_iter().flat_map(objects) {
            self.read_again(seat, node, &id, &mut read)?;
        }
        watcher = Watcher { cursor, seen, read };
        self.watchers.insert(node.id(), watcher);
        Ok(())
    }

    /// Reads as one who asks only for what is new: it must come to what a stranger reads.
    fn read_again(
        &self,
        seat: usize,
        node: &Node,
        id: &ObjectId,
        read: &mut BTreeMap<ObjectId, (View, Known)>,
    ) -> Result<(), Violation> {
        let now = self.now(seat);
        let kept = read.remove(id);
        let Some(reading) = node.read(now, id, kept.as_ref().map(|(_, known)| known)) else { return Ok(()) };
        let kept = match (reading.lookup, kept) {
            (None, kept) => kept,
            (Some(Lookup::Found(view)), _) => {
                let known = Known { revision: reading.revision, stands: view.stands.clone() };
                Some((view, known))
            }
            (Some(Lookup::Ended | Lookup::Unknown), _) => None,
        };
        let content = |view: &View| (view.body.clone(), view.tag, view.life);
        let anew = match node.look_up(now, id) {
            Lookup::Found(view) => Some(content(&view)),
            Lookup::Ended | Lookup::Unknown => None,
        };
        if kept.as_ref().map(|(view, _)| content(view)) != anew {
            return Err(Violation(format!(
                "n{seat} lets its reader believe that {id} is {kept:?}: it is {anew:?}"
            )));
        }
        read.extend(kept.map(|kept| (id.clone(), kept)));
        Ok(())
    }
}

//! What people run today, to compare with: sessions as whole blobs, the last write wins, replicated asynchronously.
//!
//! It does what Redis with Sentinel and connect-redis do, or Couchbase with XDCR: `express` is the web process's
//! side, `store` one store process, `replicate` the stream between them, `elect` the choice of a primary. The
//! store runs on the machines of the web processes, so that the same faults hit it.
//!
//! It is kinder than the real thing where that is simpler: one command is atomic and takes no time; a command that
//! found no store gives up after a bound and has not happened; a process that restarts empty never becomes primary over
//! one that has data; a primary that stops in order hands over first; removals are remembered for ever where all are
//! primaries. It knows no tokens, waits for no majority (`WAIT`), and keeps nothing on disk.

mod elect;
mod express;
mod message;
mod replicate;
mod seat;
mod store;
#[cfg(test)]
mod tests;

use sidetalk::core::identity::{Dot, ObjectId, ReplicaId};
use sidetalk::core::time::{MonoMicros, Now};

use self::express::Habits;
pub use self::message::Message;
use self::message::Reply;
use self::seat::Seat;
use self::store::{Offsets, covers};
use super::{Answer, Birth, Digest, Gauges, Input, NodeIx, Output, Process, Receipt, System};
use crate::scenario::{BlobSpec, Layout, Scenario};

/// A store of whole-session blobs.
pub struct Blobs {
    spec: BlobSpec,
    habits: Habits,
    seats: Vec<Option<Seat>>,
    /// The first process of the first machine has started: it is primary until it is replaced.
    founded: bool,
}

impl Blobs {
    /// The machines of a scenario, none of them started, laid out as its `[blobs]` says.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let seats = (0..scenario.cluster.nodes).map(|_| None).collect();
        Self { spec: scenario.blobs.clone(), habits: Habits::new(scenario), seats, founded: false }
    }

    /// The same in another layout.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.spec.layout = layout;
        self
    }

    fn seat(&self, node: NodeIx) -> Option<&Seat> {
        self.seats.get(node).and_then(Option::as_ref)
    }
}

/// What was written, of all that is known.
#[derive(Clone, Debug, Default)]
pub struct Mark(Offsets);

impl System for Blobs {
    type Message = Message;
    type Mark = Mark;

    fn name(&self) -> &'static str {
        match self.spec.layout {
            Layout::Primary => "blobs",
            Layout::ReplicaReads => "blobs-replica-reads",
            Layout::MultiPrimary => "blobs-multi-primary",
        }
    }

    fn start(&mut self, birth: &Birth, now: Now) {
        let (nodes, node) = (self.seats.len(), birth.process.node);
        let mut seat = Seat::new(birth.process, &self.spec, self.habits, nodes, now);
        if !self.founded && node == 0 {
            self.founded = true;
            if self.spec.layout == Layout::MultiPrimary {
                seat.replication.set_loaded();
            } else {
                seat.promote(now, 1);
            }
        }
        self.seats[node] = Some(seat);
    }

    fn stop(&mut self, node: NodeIx) -> bool {
        self.seats[node] = None;
        false
    }

    fn input(&mut self, node: NodeIx, now: Now, input: Input<Message>) {
        if let Some(seat) = self.seats[node].as_mut() {
            seat.input(now, input);
        }
    }

    fn poll(&mut self, node: NodeIx) -> Option<Output<Message>> {
        self.seats[node].as_mut()?.outbox.pop_front()
    }

    fn deadline(&self, node: NodeIx) -> Option<MonoMicros> {
        self.seat(node).map(Seat::deadline)
    }

    fn wants_link(&self, _: NodeIx, _: Process) -> bool {
        true
    }

    fn greeting(&self, _: NodeIx) -> Option<Message> {
        None
    }

    fn wire_bytes(&mut self, message: &Message) -> u64 {
        message::wire_bytes(message)
    }

    fn through_bytes(&self, message: Message) -> Result<Message, String> {
        // It has no bytes of its own; only their number is known.
        Ok(message)
    }

    fn sort_of(message: &Message) -> &'static str {
        message::sort_of(message)
    }

    fn ready(&self, node: NodeIx) -> bool {
        self.seat(node).is_some_and(|seat| seat.replication.loaded())
    }

    fn clock_correction_millis(&self, _: NodeIx) -> i64 {
        0
    }

    fn gauges(&self, node: NodeIx) -> Option<Gauges> {
        let seat = self.seat(node)?;
        let (log_ops, log_bytes) = seat.replication.backlog();
        Some(Gauges {
            ready: seat.replication.loaded(),
            objects: seat.store.entries().len() as u64,
            content_bytes: seat.store.bytes(),
            log_ops,
            log_bytes,
            waits: seat.waits(),
            written: seat.written,
            applied: seat.applied,
            states_merged: seat.states_merged,
            ..Gauges::default()
        })
    }

    fn digest(&self, node: NodeIx) -> Digest {
        self.seat(node).map(|seat| seat.store.digest()).unwrap_or_default()
    }

    fn handed_over(&self, node: NodeIx) -> bool {
        self.seat(node).is_none_or(|seat| !seat.is_primary() || seat.replication.is_handed_over(&seat.links))
    }

    fn look(&self, node: NodeIx, now: Now, object: &ObjectId) -> Answer {
        let Some(seat) = self.seat(node) else { return Answer::Refused("no process") };
        let content = seat.store.get(object, now.wall).cloned();
        let nobody = Dot { actor: ReplicaId::NOBODY, counter: 0 };
        let dot = seat.store.entry(object).map_or(nobody, |entry| entry.dot);
        express::answer(object.kind, Reply::Value(content, dot))
    }

    fn holds(&self, node: NodeIx, receipt: &Receipt) -> bool {
        match (self.seat(node), receipt) {
            (Some(seat), Receipt::Version(dot)) => {
                seat.replication.have.get(&dot.actor).is_some_and(|offset| *offset >= dot.counter)
            }
            _ => false,
        }
    }

    fn mark(&self) -> Mark {
        let mut mark = Offsets::new();
        for seat in self.seats.iter().flatten() {
            for (author, offset) in &seat.replication.have {
                let known = mark.entry(*author).or_default();
                *known = (*known).max(*offset);
            }
        }
        Mark(mark)
    }

    fn covers(&self, node: NodeIx, mark: &Mark) -> bool {
        self.seat(node).is_none_or(|seat| covers(&seat.replication.have, &mark.0))
    }
}

//! What the users did and were told: the only knowledge the judges have of what ought to be.
//!
//! It is written down outside the nodes, from requests and answers alone, so that a wrong core cannot talk itself
//! out of a mistake. Two things come from the world: which process took a write, and whether any process that still
//! runs holds it when another dies.

use std::collections::BTreeMap;

use sidetalk::core::identity::{Kind, ObjectId};

use crate::system::{Field, Process, Receipt, WriteId};
use crate::world::Micros;

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Made a session.
    Create,
    /// Wrote a field.
    Set(Field),
    /// Removed a field.
    Unset(Field),
    /// Added to a number in a session or document.
    Count(Field, i64),
    /// Extended a session.
    Touch,
    /// Destroyed a session.
    Destroy,
    /// Added to a counter.
    Add(i64),
    /// Reset a counter.
    Reset,
    /// Put a member into a set.
    Join(Box<str>),
    /// Took a member out of a set.
    Part(Box<str>),
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No answer yet.
    Pending,
    /// It is written.
    Acknowledged,
    /// It was refused: nothing has changed.
    Refused,
    /// Nobody answered: it may be written, now or later.
    Unknown,
}

/// One write of a user.
#[derive(Clone, Debug)]
pub struct WriteRecord {
    /// Its number.
    pub id: WriteId,
    /// The object.
    pub object: ObjectId,
    /// What it did.
    pub act: Act,
    /// When it was sent.
    pub issued: Micros,
    /// When the answer came, or the user gave up.
    pub answered: Option<Micros>,
    /// What became of it.
    pub outcome: Outcome,
    /// The process that took it.
    pub taken_by: Option<Process>,
    /// Proof of it.
    pub receipt: Option<Receipt>,
    /// Writes to the same place that the writer had certainly seen.
    pub saw: Vec<WriteId>,
    /// What the process's clock was off by, with its own correction, in milliseconds: at least and at most, from taking the
    /// write to answering it. It asks others first, and may be corrected meanwhile.
    pub clock_millis: (i64, i64),
    /// The process was alone then, and had never met the others.
    pub by_a_loner: bool,
    /// It died with the last process that had it: nobody promised to keep it.
    pub excused: bool,
}

impl WriteRecord {
    /// It must be there.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.outcome == Outcome::Acknowledged && !self.excused
    }

    /// It may be there.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.outcome != Outcome::Refused
    }

    /// It was certainly over before `moment`.
    #[must_use]
    pub fn is_over_before(&self, moment: Micros) -> bool {
        self.outcome == Outcome::Acknowledged && self.answered.is_some_and(|answered| answered < moment)
    }
}

/// What was done to one object.
#[derive(Clone, Debug, Default)]
pub struct ObjectHistory {
    /// All writes to it, in the order in which they were sent.
    pub writes: Vec<WriteId>,
    /// By field: those that set or remove it.
    pub fields: BTreeMap<Field, Vec<WriteId>>,
    /// By field: those that count in it.
    pub counts: BTreeMap<Field, Vec<WriteId>>,
    /// By member: those that put it in or take it out.
    pub members: BTreeMap<Box<str>, Vec<WriteId>>,
    /// What made it.
    pub created: Option<WriteId>,
    /// What destroyed it.
    pub destroyed: Vec<WriteId>,
    /// The lease it was given.
    pub ttl: Micros,
}

/// Everything that the users did.
#[derive(Debug, Default)]
pub struct History {
    writes: Vec<WriteRecord>,
    /// By object.
    pub objects: BTreeMap<ObjectId, ObjectHistory>,
    /// The furthest apart that two clocks have been.
    pub clock_spread: Micros,
    /// The last write that a process took for a place.
    latest: BTreeMap<(Process, ObjectId, Field), WriteId>,
}

/// Two writes closer to each other than this are as good as at once: a hybrid clock counts milliseconds.
const AT_ONCE: Micros = 20_000;

impl History {
    /// A write is sent.
    pub fn issue(&mut self, object: &ObjectId, act: Act, now: Micros, saw: Vec<WriteId>) -> WriteId {
        let id = self.writes.len() as WriteId + 1;
        let known = self.objects.entry(object.clone()).or_default();
        known.writes.push(id);
        match &act {
            Act::Create => known.created = Some(id),
            Act::Set(field) | Act::Unset(field) => known.fields.entry(field.clone()).or_default().push(id),
            Act::Count(field, _) => known.counts.entry(field.clone()).or_default().push(id),
            Act::Destroy => known.destroyed.push(id),
            Act::Join(member) | Act::Part(member) => {
                known.members.entry(member.clone()).or_default().push(id);
            }
            Act::Touch | Act::Add(_) | Act::Reset => {}
        }
        self.writes.push(WriteRecord {
            id,
            object: object.clone(),
            act,
            issued: now,
            answered: None,
            outcome: Outcome::Pending,
            taken_by: None,
            receipt: None,
            saw,
            clock_millis: (0, 0),
            by_a_loner: false,
            excused: false,
        });
        id
    }

    /// A process is about to take a write: it has whatever it acknowledged before that was sent.
    pub fn take(&mut self, id: WriteId, process: Process, clock_millis: i64, by_a_loner: bool) {
        let Some(write) = self.writes.get_mut(id as usize - 1) else { return };
        write.taken_by = Some(process);
        (write.clock_millis, write.by_a_loner) = ((clock_millis, clock_millis), by_a_loner);
        let Some(field) = place_of(&write.act) else { return };
        let (object, issued) = (write.object.clone(), write.issued);
        let latest = self.latest.insert((process, object, field), id);
        if let Some(latest) = latest.filter(|latest| self.write(*latest).is_over_before(issued)) {
            self.writes[id as usize - 1].saw.push(latest);
        }
    }

    /// What the clock of the process that took a write is off by when it answers.
    pub fn answers(&mut self, id: WriteId, clock_millis: i64) {
        let Some(write) = self.writes.get_mut(id as usize - 1) else { return };
        let (least, most) = write.clock_millis;
        write.clock_millis = (least.min(clock_millis), most.max(clock_millis));
    }

    /// A write is answered, or given up.
    pub fn answer(&mut self, id: WriteId, now: Micros, outcome: Outcome, receipt: Option<Receipt>) {
        let Some(write) = self.writes.get_mut(id as usize - 1) else { return };
        if write.outcome == Outcome::Pending {
            write.outcome = outcome;
            write.answered = Some(now);
            write.receipt = receipt;
        }
    }

    /// The writer had seen these after all, or not: only known with the answer.
    pub fn saw(&mut self, id: WriteId, seen: &[WriteId]) {
        if let Some(write) = self.writes.get_mut(id as usize - 1) {
            write.saw.extend(seen);
        }
    }

    /// A write.
    #[must_use]
    pub fn write(&self, id: WriteId) -> &WriteRecord {
        &self.writes[id as usize - 1]
    }

    /// All writes, in order.
    pub fn writes(&self) -> impl Iterator<Item = &WriteRecord> {
        self.writes.iter()
    }

    /// A process is gone: what nobody holds any more is nobody's fault. Gives how many writes that are.
    pub fn excuse(&mut self, holds: impl Fn(&Receipt) -> bool) -> u64 {
        let mut lost = 0;
        for write in self.writes.iter_mut().filter(|write| write.is_owed()) {
            if write.receipt.as_ref().is_some_and(|receipt| !holds(receipt)) {
                write.excused = true;
                lost += 1;
            }
        }
        lost
    }

    /// What is still on its way will not be answered any more.
    pub fn give_up(&mut self, now: Micros) {
        for write in self.writes.iter_mut().filter(|write| write.outcome == Outcome::Pending) {
            write.outcome = Outcome::Unknown;
            write.answered = Some(now);
        }
    }

    /// Whether what `older` wrote can certainly not be there where `newer` has arrived: its writer had seen it, or it
    /// came so much later that no clock can have had it the other way round.
    #[must_use]
    pub fn replaced(&self, older: WriteId, newer: WriteId) -> bool {
        self.descends(newer, older) || self.is_later(older, newer) && !self.may_be_removed(newer)
    }

    /// Somebody may have removed it, or it is itself a removal: that takes away what its node had seen, and nothing
    /// else. Of two writes at once the older one may then show after all.
    #[must_use]
    pub fn may_be_removed(&self, id: WriteId) -> bool {
        let write = self.write(id);
        let known = self.objects.get(&write.object);
        let writes = match &write.act {
            Act::Unset(_) | Act::Part(_) => return true,
            Act::Set(field) => known.and_then(|known| known.fields.get(field)),
            Act::Join(member) => known.and_then(|known| known.members.get(member)),
            _ => None,
        };
        writes.into_iter().flatten().map(|other| self.write(*other)).any(|other| {
            let removes = matches!(other.act, Act::Unset(_) | Act::Part(_));
            removes && other.is_possible() && !other.is_over_before(write.issued)
        })
    }

    /// Whether `newer` was made by somebody who had seen `older`, perhaps by way of others.
    #[must_use]
    pub fn descends(&self, newer: WriteId, older: WriteId) -> bool {
        let mut todo = vec![newer];
        let mut done = std::collections::BTreeSet::new();
        while let Some(id) = todo.pop() {
            for parent in &self.write(id).saw {
                if *parent == older {
                    return true;
                }
                // Nobody has seen what was sent later.
                if *parent > older && done.insert(*parent) {
                    todo.push(*parent);
                }
            }
        }
        false
    }

    fn is_later(&self, older: WriteId, newer: WriteId) -> bool {
        let (older, newer) = (self.write(older), self.write(newer));
        let margin = self.clock_spread + AT_ONCE;
        older.is_over_before(newer.issued.saturating_sub(margin))
    }
}

/// The place that a write replaces.
fn place_of(act: &Act) -> Option<Field> {
    match act {
        Act::Set(field) | Act::Unset(field) => Some(field.clone()),
        Act::Join(member) | Act::Part(member) => Some(member.clone()),
        _ => None,
    }
}

/// Whether an object of this kind can be destroyed for good.
#[must_use]
pub fn is_mortal(kind: Kind) -> bool {
    kind == Kind::Session
}

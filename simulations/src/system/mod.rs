//! What runs on the nodes: the door between a world with its users on one side, and what is under test on the other.
//!
//! The same users and the same faults drive any [`System`]. A system is as deterministic as the core: it reads no
//! clock and draws no number that is not handed in.

pub mod blobs;
pub mod shipped;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use sidetalk::core::identity::{Dot, LifeId, ObjectId};
use sidetalk::core::time::{MonoMicros, Now};
use sidetalk::core::token::Token;

pub use self::blobs::Blobs;
pub use self::shipped::Sidetalk;

/// A node's place in the cluster, from 0.
pub type NodeIx = usize;

/// One process lifetime of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    /// Whose.
    pub node: NodeIx,
    /// Random bits that no other process bears.
    pub id: u64,
}

/// Names a request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names one write of a user: every value that is written says which write it came from.
pub type WriteId = u64;

/// A field of a session or document: `page`, or `cart/p7` for one that is nested.
pub type Field = Box<str>;

/// What happens to a process.
#[derive(Clone, Debug)]
pub enum Input<M> {
    /// A link stands.
    LinkUp(Process),
    /// It is gone.
    LinkDown(Process),
    /// A peer said something.
    Message(Process, M),
    /// Somebody is taken for alive, or for dead.
    Alive(Process, bool),
    /// What waited for this peer was dropped.
    Overflowed(Process),
    /// Its deadline has come.
    Tick,
    /// Stop being ready, and hand over.
    Leave,
    /// Say goodbye.
    Farewell,
    /// The application asks for something.
    Request(RequestId, Request),
}

/// What a process wants done.
#[derive(Clone, Debug)]
pub enum Output<M> {
    /// Send this.
    Send(Process, M),
    /// Here is the answer.
    Answer(RequestId, Answer),
    /// Close the link.
    Disconnect(Process),
    /// Something is wrong that must never be.
    Alarm(String),
    /// Something an operator would be told, and that is nobody's fault.
    Notice(&'static str),
}

/// What the application asks of its node.
#[derive(Clone, Debug)]
pub struct Request {
    /// About what.
    pub object: ObjectId,
    /// What to do.
    pub what: What,
    /// What the client has seen and must not see the past of.
    pub after: Vec<Receipt>,
    /// Wait until a majority has it.
    pub majority: bool,
}

/// What to do with an object.
#[derive(Clone, Debug)]
pub enum What {
    /// Makes a session with these fields.
    Create(Vec<(Field, WriteId)>),
    /// Reads, as at the start of a web request.
    Load,
    /// Writes back, as at its end: what was loaded, and what is different now.
    Save(Basis, Vec<Edit>),
    /// Extends the session.
    Touch(Basis),
    /// Destroys the session.
    Destroy,
    /// Adds to a counter.
    Add(i64),
    /// Resets a counter.
    Reset,
    /// Puts a member into a set, or takes it out.
    Member(Box<str>, bool),
}

/// What a request loaded before it saves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Basis {
    /// The content then.
    pub content: Content,
    /// The life, where the system has such a thing.
    pub life: Option<LifeId>,
}

/// One change within a session or document.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Writes a field.
    Set(Field, WriteId),
    /// Removes it.
    Unset(Field),
    /// Adds to the number in it.
    Count(Field, i64),
}

/// What an object holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Of a session or document: which write each field holds.
    pub fields: BTreeMap<Field, WriteId>,
    /// Of a session or document: its numbers.
    pub counts: BTreeMap<Field, i64>,
    /// Of a counter.
    pub value: i64,
    /// Of a set.
    pub members: BTreeSet<Box<str>>,
}

/// Proof of what was written or read: what a client sends back, and what a judge asks nodes about.
#[derive(Clone, Debug, PartialEq)]
pub enum Receipt {
    /// A token.
    Token(Token),
    /// A version of a whole object, for systems that know no more.
    Version(Dot),
}

/// What the application is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Here it is.
    Found {
        /// What it holds, and its life.
        basis: Basis,
        /// What was seen.
        receipt: Receipt,
        /// The node could not catch up with what the client has seen.
        behind: bool,
    },
    /// Nobody who was asked has heard of it.
    Unknown {
        /// Not everybody could be asked: this is not a no.
        behind: bool,
    },
    /// It was destroyed, or has expired.
    Ended {
        /// What was seen.
        receipt: Receipt,
    },
    /// It is written.
    Done {
        /// Names the write.
        receipt: Receipt,
        /// The node had not caught up with what the client has seen when it wrote.
        behind: bool,
        /// A majority was asked for, and was not there in time. The write stays.
        lacks_acks: bool,
    },
    /// It did not happen, and nothing has changed.
    Refused(&'static str),
}

/// How a process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauges {
    /// It serves.
    pub ready: bool,
    /// Objects that are stored.
    pub objects: u64,
    /// Bytes of what is stored.
    pub content_bytes: u64,
    /// Operations in the log.
    pub log_ops: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Operations that wait for others.
    pub pending_ops: u64,
    /// Replica ids in the largest clock.
    pub clock_entries: u64,
    /// Requests that wait.
    pub waits: u64,
    /// Operations written here.
    pub written: u64,
    /// Operations applied from others.
    pub applied: u64,
    /// Whole shards taken over.
    pub states_merged: u64,
    /// Questions put to others.
    pub asks: u64,
    /// By how much it corrects its clock, in milliseconds.
    pub correction_millis: i64,
}

/// Stands for what a process has seen and what it holds: two with the same clock must hold the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// For each part of the store: what was seen, and what is held.
    pub parts: Vec<(u64, u128)>,
}

/// How a process starts.
#[derive(Clone, Debug)]
pub struct Birth {
    /// Who it is.
    pub process: Process,
    /// Random bits.
    pub random: u64,
}

/// What runs on the nodes.
pub trait System {
    /// What nodes say to each other.
    type Message: Clone + fmt::Debug;
    /// How much had been written at a moment.
    type Mark;

    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// A process starts on a node, without memory, or with what its disk holds.
    fn start(&mut self, birth: &Birth, now: Now);

    /// The process of a node is gone, memory and all. Gives whether its disk was being written to.
    fn stop(&mut self, node: NodeIx) -> bool;

    /// A node's disk takes so much longer for everything from now on.
    fn slow_disk(&mut self, _node: NodeIx, _late_micros: u64) {}

    /// Whether a node's process goes on with what one before it knew, rather than without memory.
    fn remembers(&self, _node: NodeIx) -> bool {
        false
    }

    /// Whether a node's disk holds what a receipt names, whether a process runs there or not.
    fn on_disk(&self, _node: NodeIx, _receipt: &Receipt) -> bool {
        false
    }

    /// Hands something in. Nothing happens on a node without a process.
    fn input(&mut self, node: NodeIx, now: Now, input: Input<Self::Message>);

    /// The next thing a node's process wants done.
    fn poll(&mut self, node: NodeIx) -> Option<Output<Self::Message>>;

    /// When it wants a tick.
    fn deadline(&self, node: NodeIx) -> Option<MonoMicros>;

    /// Whether two nodes want a link.
    fn wants_link(&self, node: NodeIx, peer: Process) -> bool;

    /// What a node says first on a link. A link stands once both ends have heard it.
    fn greeting(&self, node: NodeIx) -> Option<Self::Message>;

    /// Bytes of a message on the wire, frame and all.
    fn wire_bytes(&mut self, message: &Self::Message) -> u64;

    /// The message as it comes out of its bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    fn through_bytes(&self, message: Self::Message) -> Result<Self::Message, String>;

    /// One word for the sort of a message, for the trace.
    fn sort_of(message: &Self::Message) -> &'static str;

    /// Whether a node's process serves.
    fn ready(&self, node: NodeIx) -> bool;

    /// By how much a node's process corrects its wall clock, in milliseconds.
    fn clock_correction_millis(&self, node: NodeIx) -> i64;

    /// How a node's process is doing; `None` without one.
    fn gauges(&self, node: NodeIx) -> Option<Gauges>;

    /// What a node holds.
    fn digest(&self, node: NodeIx) -> Digest;

    /// Whether a leaving node has handed over everything.
    fn handed_over(&self, node: NodeIx) -> bool;

    /// What a node's process holds of an object, without asking anybody.
    fn look(&self, node: NodeIx, now: Now, object: &ObjectId) -> Answer;

    /// Whether a node's process has what a receipt names.
    fn holds(&self, node: NodeIx, receipt: &Receipt) -> bool;

    /// All that the running processes have between them.
    fn mark(&self) -> Self::Mark;

    /// Whether a node has all that a mark stands for.
    fn covers(&self, node: NodeIx, mark: &Self::Mark) -> bool;
}

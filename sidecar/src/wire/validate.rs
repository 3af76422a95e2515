//! What the types do not forbid, and no honest node sends: it would break an invariant of the core later, or spoil
//! a log line.

use super::WireError;
use crate::core::identity::{Clock, Dot, Replica, ReplicaId};
use crate::core::limits::CLOCK_IDS_HEARD_MAX;
use crate::core::message::{Message, Missing};
use crate::core::op::Op;
use crate::core::packed::PackedOp;
use crate::core::wave::{Echo, Question, Unsettled};

/// Bytes of the name of a node or a cluster, at most.
pub const NAME_BYTES_MAX: usize = 64;

/// A sequence beyond this was not counted: the next one must not overflow.
const SEQUENCE_MAX: u64 = u64::MAX >> 1;

/// Whether this may name a node or a cluster: it stands in logs, labels and headers as it is.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits)
}

/// Checks what was read.
pub(super) fn validate(message: &Message) -> Result<(), WireError> {
    match message {
        Message::Hello(hello) => {
            replica(&hello.replica)?;
            check(is_name(&hello.cluster), "a cluster's name that is none")
        }
        Message::Roster(entries) | Message::Members(entries) => {
            entries.iter().try_for_each(|entry| replica(&entry.replica))
        }
        Message::Ops(operations) | Message::Relay { ops: operations, .. } => ops(operations),
        Message::Applied(progress) | Message::Saved { progress, .. } => {
            progress.iter().try_for_each(|progress| dot(&progress.dot))
        }
        Message::Clocks(clocks) => clocks.iter().try_for_each(|entry| clock(&entry.clock)),
        Message::State(state) => clock(&state.clock),
        Message::Ask { clock: known, .. } => clock(known),
        Message::Answer { missing: Missing::Ops(operations), .. } => ops(operations),
        Message::Answer { missing: Missing::State(state), .. } => clock(&state.clock),
        Message::Wave { question: Question::Applied(dots), .. } => {
            dots.iter().try_for_each(|progress| dot(&progress.dot))
        }
        Message::Echo { echo, .. } => answer(echo),
        Message::Settled(settled) => settled.unsettled.iter().try_for_each(unsettled),
        Message::Wave { .. }
        | Message::Digests { .. }
        | Message::WantStates(_)
        | Message::Ping { .. }
        | Message::Pong { .. }
        | Message::Leave
        | Message::WantSaved => Ok(()),
    }
}

fn answer(echo: &Echo) -> Result<(), WireError> {
    match echo {
        Echo::Object { missing: Missing::Ops(operations), .. } => ops(operations),
        Echo::Object { missing: Missing::State(state), .. } => clock(&state.clock),
        Echo::Survey(survey) => survey.unsettled.iter().try_for_each(unsettled),
        Echo::Applied(by) => check(*by != ReplicaId::NOBODY, "a process without an id"),
        Echo::Again => Ok(()),
    }
}

fn unsettled(pair: &Unsettled) -> Result<(), WireError> {
    dot(&pair.most.dot)?;
    check(pair.least <= pair.most.dot.counter, "less than the least")
}

fn check(holds: bool, otherwise: &'static str) -> Result<(), WireError> {
    if holds { Ok(()) } else { Err(WireError::Forbidden(otherwise)) }
}

fn replica(replica: &Replica) -> Result<(), WireError> {
    check(is_name(&replica.node), "a node's name that is none")?;
    check(replica.id != ReplicaId::NOBODY, "a process without an id")
}

fn dot(dot: &Dot) -> Result<(), WireError> {
    check(dot.actor != ReplicaId::NOBODY, "an operation by nobody")?;
    check((1..=SEQUENCE_MAX).contains(&dot.counter), "a sequence that nobody reaches")
}

fn clock(clock: &Clock) -> Result<(), WireError> {
    if clock.len() > CLOCK_IDS_HEARD_MAX {
        return Err(WireError::Crowded);
    }
    clock.iter().try_for_each(|known| dot(&known))
}

fn ops(ops: &[PackedOp]) -> Result<(), WireError> {
    // All have just been read.
    ops.iter().filter_map(PackedOp::read_already).try_for_each(op)
}

fn op(op: &Op) -> Result<(), WireError> {
    dot(&op.dot)?;
    if op.deps.len() > CLOCK_IDS_HEARD_MAX {
        return Err(WireError::Crowded);
    }
    op.deps.iter().try_for_each(dot)
}

/// Whether an honest node can have a clock like this.
#[must_use]
pub fn is_sound_clock(known: &Clock) -> bool {
    clock(known).is_ok()
}

/// Whether an honest node can have made an operation with this name and these dependencies.
#[must_use]
pub fn is_sound_op(made: &Op) -> bool {
    op(made).is_ok()
}

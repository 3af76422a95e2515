//! What store processes and their clients say to each other, and how long that is on the wire.

use std::sync::Arc;

use sidetalk::core::identity::{Dot, ObjectId};

use super::store::{Effect, Entry, Offsets, Written};
use crate::system::{Content, Process, RequestId};

/// What the application asks of a store.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// `GET`; of a session, perhaps followed by `EXPIRE`.
    Get { extend_millis: Option<u64> },
    /// `SET`, with `EX` for a session.
    Set { content: Content, ttl_millis: Option<u64> },
    /// `EXPIRE`.
    Expire { ttl_millis: u64 },
    /// `DEL`.
    Delete,
    /// `INCRBY`.
    Add(i64),
    /// `SADD` or `SREM`.
    Member(Box<str>, bool),
}

impl Command {
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::Get { .. })
    }
}

/// What a store answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    /// To a `GET`: what is there, and the version of it.
    Value(Option<Content>, Dot),
    /// It is written, as this.
    Done(Dot),
    /// `-READONLY`: this is not the primary any more.
    ReadOnly,
}

/// Everything a store holds.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) entries: Vec<(ObjectId, Entry)>,
    pub(super) have: Offsets,
}

/// A message between two machines.
#[derive(Clone, Debug)]
pub enum Message {
    /// A client asks the primary; without a number it does not wait for the answer.
    Command(Ask),
    /// The primary answers.
    Reply(Told),
    /// Who is primary, and how much of the stream has been taken: what Sentinels tell, and `REPLCONF ACK`.
    Hello(Greeting),
    /// The stream goes on.
    Stream(Batch),
    /// A full resynchronization.
    State(Whole),
    /// Somebody wants to become primary.
    Candidate(Bid),
    /// One votes for them.
    Vote(u64),
    /// A primary that is about to stop hands over.
    TakeOver(Bid),
}

/// A command under way.
#[derive(Clone, Debug)]
pub struct Ask {
    pub(super) id: Option<RequestId>,
    pub(super) object: ObjectId,
    pub(super) command: Command,
}

/// Its answer.
#[derive(Clone, Debug)]
pub struct Told {
    pub(super) id: RequestId,
    pub(super) reply: Reply,
}

/// Who is primary, and what one has.
#[derive(Clone, Debug)]
pub struct Greeting {
    pub(super) term: u64,
    pub(super) primary: Option<Process>,
    pub(super) have: Offsets,
}

/// A part of the stream.
#[derive(Clone, Debug)]
pub struct Batch(pub(super) Arc<Vec<Written>>);

/// A snapshot, and whose it is.
#[derive(Clone, Debug)]
pub struct Whole {
    pub(super) term: u64,
    pub(super) snapshot: Arc<Snapshot>,
}

/// A term, and how much the candidate has.
#[derive(Clone, Debug)]
pub struct Bid {
    pub(super) term: u64,
    pub(super) have: Offsets,
}

/// `{"cookie":{"originalMaxAge":1800000,"expires":"...","httpOnly":true,"path":"/"}}`.
const COOKIE_BYTES: u64 = 110;

/// `"field":"..."`, with a value of the length that scenarios use.
const FIELD_BYTES: u64 = 46;

/// A command's name, counts and lengths in RESP.
const RESP_BYTES: u64 = 40;

/// A value as JSON or as Redis keeps it.
pub(super) fn content_bytes(content: &Content) -> u64 {
    let fields = content.fields.keys().chain(content.counts.keys());
    let blob: u64 = fields.map(|field| FIELD_BYTES + field.len() as u64).sum();
    let members: u64 = content.members.iter().map(|member| member.len() as u64 + 8).sum();
    8 + members + if blob > 0 { COOKIE_BYTES + blob } else { 0 }
}

fn effect_bytes(effect: &Effect) -> u64 {
    match effect {
        Effect::Put(content, _) => content_bytes(content) + 16,
        Effect::Expire(_) | Effect::Add(_) => 14,
        Effect::Remove => 0,
        Effect::Member(member, _) => member.len() as u64,
    }
}

pub(super) fn written_bytes(written: &Written) -> u64 {
    RESP_BYTES + written.object.key.len() as u64 + effect_bytes(&written.effect)
}

pub(super) fn wire_bytes(message: &Message) -> u64 {
    match message {
        Message::Command(ask) => {
            let body = match &ask.command {
                Command::Set { content, .. } => content_bytes(content) + 16,
                Command::Member(member, _) => member.len() as u64,
                Command::Get { extend_millis: Some(_) } => RESP_BYTES,
                _ => 10,
            };
            RESP_BYTES + ask.object.key.len() as u64 + body
        }
        Message::Reply(told) => match &told.reply {
            Reply::Value(Some(content), _) => 8 + content_bytes(content),
            _ => 8,
        },
        Message::Hello(greeting) => RESP_BYTES + 16 * greeting.have.len() as u64,
        Message::Stream(batch) => batch.0.iter().map(written_bytes).sum(),
        Message::State(whole) => {
            let entries = whole.snapshot.entries.iter();
            let entries = entries.map(|(object, entry)| {
                24 + object.key.len() as u64 + entry.content.as_ref().map_or(0, content_bytes)
            });
            RESP_BYTES + entries.sum::<u64>()
        }
        Message::Candidate(_) | Message::Vote(_) | Message::TakeOver(_) => RESP_BYTES,
    }
}

pub(super) fn sort_of(message: &Message) -> &'static str {
    match message {
        Message::Command(_) => "command",
        Message::Reply(_) => "reply",
        Message::Hello(_) => "hello",
        Message::Stream(_) => "stream",
        Message::State(_) => "state",
        Message::Candidate(_) | Message::Vote(_) => "vote",
        Message::TakeOver(_) => "take-over",
    }
}

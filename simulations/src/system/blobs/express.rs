//! From a web request to commands: what express-session and connect-redis do.
//!
//! The session is read whole at the request's start. At its end a changed one is written back whole (`SET` with `EX`),
//! and one that did not change is only extended (`EXPIRE`): `resave: false`. A logout is a `DEL`. Nobody remembers
//! what was deleted, so "unknown" and "destroyed" are one answer. Counters and sets are what Redis is good at: one
//! command changes them in place, and no increment is lost on the way to the primary.

use sidetalk::core::identity::Kind;

use super::message::{Command, Reply};
use crate::scenario::Scenario;
use crate::system::{Answer, Basis, Content, Edit, Receipt, Request, What};

/// How an application uses the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    pub(super) ttl_millis: u64,
    pub(super) touch_on_read: bool,
}

impl Habits {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { ttl_millis: scenario.traffic.ttl.as_millis(), touch_on_read: scenario.blobs.touch_on_read }
    }

    pub(super) fn command(&self, request: &Request) -> Command {
        let session = request.object.kind == Kind::Session;
        let ttl_millis = session.then_some(self.ttl_millis);
        match &request.what {
            What::Create(fields) => {
                let fields = fields.iter().cloned().collect();
                Command::Set { content: Content { fields, ..Content::default() }, ttl_millis }
            }
            What::Load => Command::Get { extend_millis: ttl_millis.filter(|_| self.touch_on_read) },
            What::Save(basis, edits) => Command::Set { content: edited(basis, edits), ttl_millis },
            What::Touch(_) => Command::Expire { ttl_millis: self.ttl_millis },
            What::Destroy | What::Reset => Command::Delete,
            What::Add(by) => Command::Add(*by),
            What::Member(member, adds) => Command::Member(member.clone(), *adds),
        }
    }
}

/// The blob that is written at the end: what was read at the start, with what the request changed.
fn edited(basis: &Basis, edits: &[Edit]) -> Content {
    let mut content = basis.content.clone();
    for edit in edits {
        match edit {
            Edit::Set(field, write) => {
                content.fields.insert(field.clone(), *write);
            }
            Edit::Unset(field) => {
                content.fields.remove(field);
            }
            Edit::Count(field, by) => *content.counts.entry(field.clone()).or_default() += by,
        }
    }
    content
}

/// What the application makes of a reply.
pub(super) fn answer(kind: Kind, reply: Reply) -> Answer {
    match reply {
        Reply::Value(None, _) if kind == Kind::Session => Answer::Unknown { behind: false },
        Reply::Value(content, dot) => Answer::Found {
            basis: Basis { content: content.unwrap_or_default(), life: None },
            receipt: Receipt::Version(dot),
            behind: false,
        },
        Reply::Done(dot) => Answer::Done { receipt: Receipt::Version(dot), behind: false, lacks_acks: false },
        Reply::ReadOnly => Answer::Refused("read-only replica"),
    }
}

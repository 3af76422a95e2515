//! From a request of the application to the core and back: what the sidecar's HTTP layer does around a call.
//!
//! Catching up with tokens, asking before a refusal, waiting for acknowledgements: as in the sidecar's `api/find.rs`
//! and `api/change.rs`, with the time limits that a client gets when it names none.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sidetalk::core::command::{Acks, Change, Lookup, PathOp, Refusal, Wait, WaitId, Waited, Write, Written};
use sidetalk::core::identity::{Kind, ObjectId};
use sidetalk::core::limits::WAIT_MILLIS_MAX;
use sidetalk::core::message::Message;
use sidetalk::core::node::Node;
use sidetalk::core::path::Path;
use sidetalk::core::time::{MonoMicros, Now};
use sidetalk::core::token::Token;

use super::content;
use crate::system::{Answer, Basis, Content, Output, Receipt, Request, RequestId, What};

/// As `?wait=` when it is not given.
const WAIT_MILLIS: u64 = 1_000;

/// As `?timeout=` when it is not given.
const ACKS_MILLIS: u64 = 5_000;

type Outbox = VecDeque<Output<Arc<Message>>>;

/// The requests of one process that wait.
pub(super) struct Door {
    field_bytes: usize,
    ttl_millis: u64,
    /// There is a disk, and nothing is answered before it is there.
    saves: bool,
    waiting: BTreeMap<WaitId, Visit>,
}

/// A request on its way.
#[derive(Debug)]
struct Visit {
    id: RequestId,
    request: Request,
    stage: Stage,
    /// Until when it may wait for tokens and peers.
    until: MonoMicros,
    behind: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for what its client has seen.
    CatchUp,
    /// Waits for what the peers know.
    Ask,
    /// Has written, and waits for the disk.
    Save,
    /// Has written, and waits for acknowledgements.
    Acks,
}

/// What the peers have told.
#[derive(Clone, Copy, Default)]
struct Asked {
    done: bool,
    by_all: bool,
    ended: bool,
}

impl Door {
    pub(super) fn new(field_bytes: usize, ttl_millis: u64, saves: bool) -> Self {
        Self { field_bytes, ttl_millis, saves, waiting: BTreeMap::new() }
    }

    /// Takes a request.
    pub(super) fn open(
        &mut self,
        node: &mut Node,
        now: Now,
        id: RequestId,
        request: Request,
        out: &mut Outbox,
    ) {
        if !node.is_ready() {
            out.push_back(Output::Answer(id, Answer::Refused("not ready")));
            return;
        }
        let until = now.mono.plus_millis(WAIT_MILLIS);
        let visit = Visit { id, request, stage: Stage::CatchUp, until, behind: false };
        let tokens = tokens(&visit.request.after);
        if tokens.is_empty() || node.seen(&tokens) {
            self.serve(node, now, visit, Asked::default(), out);
            return;
        }
        match node.wait(now, Wait::Seen(tokens), WAIT_MILLIS) {
            Ok(waited) => self.go_on(node, now, visit, waited, out),
            Err(wait) => {
                self.waiting.insert(wait, visit);
            }
        }
    }

    /// A wait has ended.
    pub(super) fn waited(&mut self, node: &mut Node, now: Now, wait: WaitId, how: Waited, out: &mut Outbox) {
        if let Some(visit) = self.waiting.remove(&wait) {
            self.go_on(node, now, visit, how, out);
        }
    }

    fn go_on(&mut self, node: &mut Node, now: Now, mut visit: Visit, how: Waited, out: &mut Outbox) {
        match (visit.stage, how) {
            (Stage::CatchUp, how) => {
                visit.behind |= how != Waited::Seen;
                self.serve(node, now, visit, Asked::default(), out);
            }
            (Stage::Ask, Waited::Asked { by_all, ended }) => {
                self.serve(node, now, visit, Asked { done: true, by_all, ended }, out);
            }
            (Stage::Ask, _) => {
                self.serve(node, now, visit, Asked { done: true, by_all: false, ended: false }, out);
            }
            // A write that may yet be saved is no refusal: its user hears nothing, and may take it for done or not.
            (Stage::Save, how) if how != Waited::Seen => {}
            (Stage::Save, _) => self.saved(node, now, visit, out),
            // The answer went into the books when it was written.
            (Stage::Acks, how) => {
                let lacks_acks = !matches!(how, Waited::Acks { have, need } if have >= need);
                let receipt = visit.request.after.pop().unwrap_or(Receipt::Token(empty_token()));
                let answer = Answer::Done { receipt, behind: visit.behind, lacks_acks };
                out.push_back(Output::Answer(visit.id, answer));
            }
        }
    }

    fn serve(&mut self, node: &mut Node, now: Now, visit: Visit, asked: Asked, out: &mut Outbox) {
        match &visit.request.what {
            What::Load => self.load(node, now, visit, asked, out),
            What::Destroy => self.destroy(node, now, visit, asked, out),
            _ => self.write(node, now, visit, asked, out),
        }
    }

    fn load(&mut self, node: &mut Node, now: Now, visit: Visit, asked: Asked, out: &mut Outbox) {
        let mut answer = look(node, now, &visit.request.object, visit.behind);
        if matches!(answer, Answer::Unknown { .. }) {
            if asks(visit.request.object.kind) && !asked.done {
                self.ask(node, now, visit, out);
                return;
            }
            if asked.ended {
                answer = Answer::Ended { receipt: receipt_of(node, &visit.request.object) };
            } else {
                answer = Answer::Unknown {
                    behind: visit.behind || asks(visit.request.object.kind) && !asked.by_all,
                };
            }
        }
        out.push_back(Output::Answer(visit.id, answer));
    }

    fn ask(&mut self, node: &mut Node, now: Now, mut visit: Visit, out: &mut Outbox) {
        visit.stage = Stage::Ask;
        let left_millis = visit.until.since(now.mono) / 1_000;
        match node.wait(now, Wait::Asked(visit.request.object.clone()), left_millis) {
            Ok(waited) => self.go_on(node, now, visit, waited, out),
            Err(wait) => {
                self.waiting.insert(wait, visit);
            }
        }
    }

    fn write(&mut self, node: &mut Node, now: Now, visit: Visit, asked: Asked, out: &mut Outbox) {
        let write = self.write_of(&visit.request);
        match node.write(now, &write) {
            Ok(written) => self.written(node, now, visit, written, out),
            Err(Refusal::Unknown) if asks(write.object.kind) && !asked.done => {
                self.ask(node, now, visit, out);
            }
            Err(refusal) => out.push_back(Output::Answer(visit.id, refused(node, &visit, &refusal, asked))),
        }
    }

    fn destroy(&mut self, node: &mut Node, now: Now, visit: Visit, asked: Asked, out: &mut Outbox) {
        let object = &visit.request.object;
        if asks(object.kind) && !asked.done && node.look_up(now, object) == Lookup::Unknown {
            self.ask(node, now, visit, out);
            return;
        }
        match node.write(now, &self.write_of(&visit.request)) {
            Ok(written) => self.written(node, now, visit, written, out),
            Err(Refusal::Ended) if !matches!(node.look_up(now, object), Lookup::Found(_)) => {
                let receipt = receipt_of(node, object);
                let answer = Answer::Done { receipt, behind: visit.behind, lacks_acks: false };
                out.push_back(Output::Answer(visit.id, answer));
            }
            Err(refusal) => out.push_back(Output::Answer(visit.id, refused(node, &visit, &refusal, asked))),
        }
    }

    fn written(&mut self, node: &mut Node, now: Now, mut visit: Visit, written: Written, out: &mut Outbox) {
        visit.request.after.push(Receipt::Token(written.token.clone()));
        if !self.saves {
            self.saved(node, now, visit, out);
            return;
        }
        visit.stage = Stage::Save;
        match node.wait(now, Wait::Saved(written.token), WAIT_MILLIS_MAX) {
            Ok(waited) => self.go_on(node, now, visit, waited, out),
            Err(wait) => {
                self.waiting.insert(wait, visit);
            }
        }
    }

    /// It is where it has to be on this node.
    fn saved(&mut self, node: &mut Node, now: Now, mut visit: Visit, out: &mut Outbox) {
        let receipt = visit.request.after.pop().unwrap_or(Receipt::Token(empty_token()));
        if let (true, Receipt::Token(token)) = (visit.request.majority, &receipt) {
            let wait = Wait::Acks { token: token.clone(), need: Acks::Majority };
            visit.stage = Stage::Acks;
            visit.request.after.push(receipt);
            match node.wait(now, wait, ACKS_MILLIS) {
                Ok(waited) => self.go_on(node, now, visit, waited, out),
                Err(wait) => {
                    self.waiting.insert(wait, visit);
                }
            }
            return;
        }
        let answer = Answer::Done { receipt, behind: visit.behind, lacks_acks: false };
        out.push_back(Output::Answer(visit.id, answer));
    }

    fn write_of(&self, request: &Request) -> Write {
        let session = request.object.kind == Kind::Session;
        let (change, life) = match &request.what {
            What::Create(fields) => (Change::Put(content::created(fields.clone(), self.field_bytes)), None),
            What::Save(basis, edits) => (content::change(edits.clone(), self.field_bytes), basis.life),
            What::Touch(basis) => (Change::Touch, basis.life),
            What::Destroy | What::Reset | What::Load => (Change::Destroy, None),
            What::Add(by) => (Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by: *by }]), None),
            What::Member(member, adds) => {
                let (path, member) = (Path::ROOT, member.clone());
                let op = if *adds { PathOp::Add { path, member } } else { PathOp::Remove { path, member } };
                (Change::Ops(vec![op]), None)
            }
        };
        let leases = session && matches!(request.what, What::Create(_) | What::Touch(_));
        Write {
            life,
            after: tokens(&request.after).iter().map(|token| token.hlc).max(),
            ttl_millis: leases.then_some(self.ttl_millis),
            ..Write::new(request.object.clone(), change)
        }
    }
}

/// As the sidecar does where a client names no wait: only sessions are asked for.
fn asks(kind: Kind) -> bool {
    kind == Kind::Session
}

fn tokens(receipts: &[Receipt]) -> Vec<Token> {
    let tokens = receipts.iter().filter_map(|receipt| match receipt {
        Receipt::Token(token) => Some(token.clone()),
        Receipt::Version(_) => None,
    });
    tokens.collect()
}

fn empty_token() -> Token {
    Token { shard: sidetalk::core::identity::ShardId(0), hlc: sidetalk::core::time::Hlc(0), dots: Vec::new() }
}

fn receipt_of(node: &Node, object: &ObjectId) -> Receipt {
    Receipt::Token(node.read_token(object))
}

fn refused(node: &Node, visit: &Visit, refusal: &Refusal, asked: Asked) -> Answer {
    match refusal {
        Refusal::Unknown if asked.ended => Answer::Ended { receipt: receipt_of(node, &visit.request.object) },
        Refusal::Unknown => Answer::Unknown { behind: visit.behind || !asked.by_all },
        Refusal::Ended => Answer::Ended { receipt: receipt_of(node, &visit.request.object) },
        Refusal::NotReady => Answer::Refused("not ready"),
        Refusal::PreconditionFailed => Answer::Refused("precondition"),
        Refusal::WrongShape { .. } => Answer::Refused("wrong shape"),
        Refusal::Overflow { .. } => Answer::Refused("overflow"),
        Refusal::WrongKind => Answer::Refused("wrong kind"),
        Refusal::DiskFull | Refusal::DiskFailing => Answer::Refused("the disk does not take it"),
        Refusal::OutOfMemory => Answer::Refused("out of memory"),
        Refusal::TooLarge => Answer::Refused("too large"),
    }
}

/// What a process holds of an object, without asking anybody. What nobody has written to is empty, unless it is leased.
pub(super) fn look(node: &Node, now: Now, object: &ObjectId, behind: bool) -> Answer {
    let receipt = receipt_of(node, object);
    match node.look_up(now, object) {
        Lookup::Found(view) => {
            let content = content::parse(object.kind, &view.body);
            Answer::Found { basis: Basis { content, life: view.life }, receipt, behind }
        }
        Lookup::Ended if object.kind == Kind::Session => Answer::Ended { receipt },
        Lookup::Unknown if object.kind == Kind::Session => Answer::Unknown { behind },
        Lookup::Ended | Lookup::Unknown => {
            Answer::Found { basis: Basis { content: Content::default(), life: None }, receipt, behind }
        }
    }
}

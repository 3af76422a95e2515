//! The node as the API sees it.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::service::Service;
use crate::api::port::{ApiFigures, Chaos, Port, StorageStatus, Waiting};
use crate::core::command::{
    Changes, Conflict, Explanation, KeptMember, Known, Lookup, MemberStatus, NodeStatus, Page, Reading,
    Refusal, Wait, Write, Written,
};
use crate::core::identity::{Kind, ObjectId};
use crate::core::time::UnixMillis;
use crate::core::token::Token;
use crate::telemetry::metrics;

/// How long writes may go on in one turn of the node, but for the last of them: nobody else reads or writes meanwhile, and one
/// to a large object takes as long as twenty others.
const TURN_MAX: Duration = Duration::from_micros(200);

impl Port for Service {
    fn ready(&self) -> bool {
        self.driver.read(|node, _| node.is_ready())
    }

    fn read(&self, object: &ObjectId, known: Option<&Known>) -> Option<Reading> {
        self.driver.read(|node, now| node.read(now, object, known))
    }

    fn look_up(&self, object: &ObjectId) -> Lookup {
        self.driver.read(|node, now| node.look_up(now, object))
    }

    fn read_token(&self, object: &ObjectId) -> Token {
        self.driver.read(|node, _| node.read_token(object))
    }

    fn write(&self, write: &Write) -> Result<Written, Refusal> {
        self.driver.write(|node, now| node.write(now, write))
    }

    fn write_all(&self, writes: &[Write]) -> Vec<Result<Written, Refusal>> {
        let begun = Instant::now();
        let mut outcomes = Vec::with_capacity(writes.len());
        self.driver.write(|node, now| {
            for write in writes {
                outcomes.push(node.write(now, write));
                if begun.elapsed() >= TURN_MAX {
                    break;
                }
            }
        });
        outcomes
    }

    fn seen(&self, tokens: &[Token]) -> bool {
        self.driver.read(|node, _| node.seen(tokens))
    }

    fn wait(&self, wait: Wait, millis_max: u64) -> Waiting<'_> {
        Box::pin(self.driver.wait(wait, millis_max))
    }

    fn list(&self, kind: Kind, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        self.driver.read(|node, now| node.list(now, kind, prefix, after, limit))
    }

    fn explain(&self, object: &ObjectId) -> Option<Explanation> {
        self.driver.read(|node, now| node.explain(now, object))
    }

    fn conflicts(&self, object: &ObjectId) -> Vec<Conflict> {
        self.driver.read(|node, now| node.conflicts(now, object))
    }

    fn changes(&self, after: u64, kind: Option<Kind>, prefix: &str, limit: usize) -> Changes {
        self.driver.read(|node, _| node.changes(after, kind, prefix, limit))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.driver.journal()
    }

    fn status(&self) -> NodeStatus {
        self.driver.read(|node, _| node.status())
    }

    fn members(&self) -> Vec<MemberStatus> {
        self.driver.read(|node, now| node.members(now))
    }

    fn give_up(&self, node: &str) -> Result<(), KeptMember> {
        self.driver.change(|core, _| core.give_up(node))
    }

    fn now(&self) -> UnixMillis {
        self.driver.now().wall
    }

    fn answers_when_saved(&self) -> bool {
        self.answers_when_saved
    }

    fn storage(&self) -> Option<StorageStatus> {
        self.storage_status()
    }

    fn chaos(&self) -> Option<&dyn Chaos> {
        self.chaos.as_deref()
    }

    fn metrics(&self, api: &ApiFigures) -> String {
        metrics::render(&self.sources(*api))
    }
}

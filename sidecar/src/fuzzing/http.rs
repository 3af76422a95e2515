//! Requests to the API, with a real node behind it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::messages::{linked, now};
use crate::api::fuzzed::Door;
use crate::api::port::{ApiFigures, Chaos, Fault, Port, Waiting};
use crate::core::command::{
    Changes, Conflict, Explanation, KeptMember, Known, Lookup, MemberStatus, NodeStatus, Page, Reading,
    Refusal, Wait, WaitId, Waited, Write, Written,
};
use crate::core::identity::{Kind, ObjectId, ShardId};
use crate::core::node::{Input, Node, Output};
use crate::core::time::{Now, UnixMillis};
use crate::core::token::Token;

/// Requests in one input, at most.
const REQUESTS_MAX: usize = 16;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// Requests as HTTP/1.1 has them, with a byte `1e` between them and line feeds for line ends.
///
/// Every answer is one that the contract knows, a body that says that it is JSON is, and what the node stores fits its digests.
pub(super) fn http(data: &[u8]) {
    let port = Arc::new(Alone { node: Mutex::new((linked(), 0)), grown: watch::Sender::new(0) });
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let door = Door::new(Arc::clone(&port) as Arc<dyn Port>);
            for text in data.split(|byte| *byte == 0x1e).take(REQUESTS_MAX) {
                if let Some(request) = parsed(text) {
                    let said = format!("{} {}", request.method(), request.uri());
                    check(&said, door.ask(request).await);
                }
            }
        });
    });
    let (node, _) = &*port.node.lock();
    for shard in ShardId::all().map(|shard| node.shard(shard)) {
        assert_eq!(shard.digest(), shard.recomputed_digest());
    }
}

fn check(said: &str, (status, media_type, body): (StatusCode, String, Bytes)) {
    let known = matches!(status.as_u16(), 200..=499 | 503 | 504 | 507);
    assert!(known, "{said}: {status} {}", String::from_utf8_lossy(&body));
    let json = matches!(media_type.as_str(), "application/json" | "application/problem+json");
    if json && !said.starts_with("HEAD") {
        let parsed = serde_json::from_slice::<&serde_json::value::RawValue>(&body);
        assert!(parsed.is_ok(), "{said}: {}", String::from_utf8_lossy(&body));
    }
}

fn parsed(text: &[u8]) -> Option<Request<Bytes>> {
    let end = text.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((text, &[][..]), |end| (&text[..end], &text[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, target) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let uri: Uri = target.parse().ok()?;
    // A watch never ends.
    if uri.path() == "/v1/watch" {
        return None;
    }
    let mut request = Request::new(Bytes::copy_from_slice(body));
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = uri;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some(request)
}

/// A node that nobody answers. Time passes with each write.
struct Alone {
    node: Mutex<(Node, u64)>,
    grown: watch::Sender<u64>,
}

impl Alone {
    fn read<R>(&self, read: impl FnOnce(&Node, Now) -> R) -> R {
        let (node, step) = &*self.node.lock();
        read(node, now(*step))
    }
}

impl Port for Alone {
    fn ready(&self) -> bool {
        true
    }

    fn read(&self, object: &ObjectId, known: Option<&Known>) -> Option<Reading> {
        Alone::read(self, |node, now| node.read(now, object, known))
    }

    fn look_up(&self, object: &ObjectId) -> Lookup {
        Alone::read(self, |node, now| node.look_up(now, object))
    }

    fn read_token(&self, object: &ObjectId) -> Token {
        Alone::read(self, |node, _| node.read_token(object))
    }

    fn write(&self, write: &Write) -> Result<Written, Refusal> {
        let (node, step) = &mut *self.node.lock();
        *step += 1;
        let written = node.write(now(*step), write);
        while node.poll_output().is_some() {}
        written
    }

    fn give_up(&self, node: &str) -> Result<(), KeptMember> {
        self.node.lock().0.give_up(node)
    }

    fn seen(&self, tokens: &[Token]) -> bool {
        Alone::read(self, |node, _| node.seen(tokens))
    }

    fn wait(&self, wait: Wait, _: u64) -> Waiting<'_> {
        Box::pin(async {
            let (node, step) = &mut *self.node.lock();
            node.wait(now(*step), wait, 0).unwrap_or_else(|id| timed_out(node, step, id))
        })
    }

    fn list(&self, kind: Kind, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        Alone::read(self, |node, now| node.list(now, kind, prefix, after, limit))
    }

    fn explain(&self, object: &ObjectId) -> Option<Explanation> {
        Alone::read(self, |node, now| node.explain(now, object))
    }

    fn conflicts(&self, object: &ObjectId) -> Vec<Conflict> {
        Alone::read(self, |node, now| node.conflicts(now, object))
    }

    fn changes(&self, after: u64, kind: Option<Kind>, prefix: &str, limit: usize) -> Changes {
        Alone::read(self, |node, _| node.changes(after, kind, prefix, limit))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    fn status(&self) -> NodeStatus {
        Alone::read(self, |node, _| node.status())
    }

    fn members(&self) -> Vec<MemberStatus> {
        Alone::read(self, Node::members)
    }

    fn now(&self) -> UnixMillis {
        Alone::read(self, |_, now| now.wall)
    }

    fn chaos(&self) -> Option<&dyn Chaos> {
        Some(self)
    }

    fn metrics(&self, _: &ApiFigures) -> String {
        String::new()
    }
}

/// What comes of a wait when its time is up.
fn timed_out(node: &mut Node, step: &mut u64, id: WaitId) -> Waited {
    *step += 1;
    node.handle(now(*step), Input::Tick);
    let mut how = Waited::Behind;
    while let Some(output) = node.poll_output() {
        match output {
            Output::Done(done, end) if done == id => how = end,
            _ => {}
        }
    }
    how
}

impl Chaos for Alone {
    fn set(&self, _: Vec<(String, Fault)>) -> Result<(), String> {
        Ok(())
    }

    fn clear(&self) {}

    fn faults(&self) -> Vec<(String, Fault)> {
        Vec::new()
    }
}

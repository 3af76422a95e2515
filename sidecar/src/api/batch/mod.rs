//! Many calls in one round trip. Each stands on its own and goes through the same code as a single request.

mod ops;
mod results;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use self::ops::{Batch, BatchOp, Patch, READ_HEADERS, parse, prepare};
pub(super) use self::results::write_member;
use self::results::{Late, Results};
use super::answer::{Answer, Outcome, json};
use super::body::JSON;
use super::call::Call;
use super::dispatch::{Api, dispatch};
use super::errors::{Code, Problem};
use super::object;
use super::operation::{About, Given, IDEMPOTENT, Operation, Takes, Verb, of};
use super::read_lately::Found;
use super::short::{self, Patched};
use super::turn::{Before, Turn};
use crate::core::command::{Change, Write};
use crate::core::identity::ObjectId;

/// Bytes of answers in one batch, at most.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Patches in one turn of the node, at most: others wait meanwhile.
const TURN_WRITES: usize = 32;

/// How long a batch has the processor for itself, but for the calls up to the next look at the clock.
const BUSY_MAX: Duration = Duration::from_millis(1);

/// Calls from one look at the clock to the next, which costs a tenth of a small read.
const CALLS_A_LOOK: usize = 8;

/// The answers, in the order of the calls.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct BatchResults {
    results: Vec<BatchResult>,
}

/// One answer.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct BatchResult {
    status: u16,
    headers: BTreeMap<String, String>,
    /// The body where it is JSON, else null.
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
}

pub(super) static POST: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/batch",
    id: "batch",
    summary: "Many calls in one round trip, in order, each on its own; one waits only for a change of its own object before it.",
    query: &[],
    headers: &[IDEMPOTENT],
    takes: Some(Takes { media_types: &[JSON], schema: of::<Batch<'static>> }),
    about: About::Nothing,
    given: &[Given::json(200, "The answers, in the order of the calls.", of::<BatchResults>)],
    codes: &[&[Code::UnsupportedMediaType, Code::BadJson, Code::BadBody]],
    run: |api, call| Box::pin(run(api, call)),
};

/// Answers a batch.
///
/// # Errors
/// `unsupported_media_type`, `bad_json`, `bad_body`.
pub(super) async fn run(api: &Arc<Api>, call: &Call) -> Outcome {
    let batch = parse(call)?;
    let results = Results::new(batch.ops.len());
    let mut answers = Answers {
        api,
        results,
        waiting: JoinSet::new(),
        unmade: BTreeMap::new(),
        turn: Vec::new(),
        rested: Instant::now(),
    };
    // Every call is started in order and goes as far as it can without waiting; those that wait go on together.
    for (index, op) in batch.ops.iter().enumerate() {
        if index % CALLS_A_LOOK == CALLS_A_LOOK - 1 {
            answers.rest().await;
        }
        if answers.results.bytes() > ANSWER_BYTES_MAX {
            answers.end_turn().await;
            answers.results.put(no_room("the calls before took all the room")).await;
            continue;
        }
        let patch = match ops::patch(api, op) {
            // One that has to stand behind another goes there at the end of the turn.
            Some(patch) if is_plain(api, &patch) => {
                answers.turn.push(patch);
                if answers.turn.len() == TURN_WRITES {
                    answers.end_turn().await;
                }
                continue;
            }
            patch => patch,
        };
        answers.end_turn().await;
        if let Some(patch) = patch {
            answers.merge(patch).await;
            continue;
        }
        match kept(api, op) {
            Some(found) if answers.unmade.is_empty() => answers.results.found(&found),
            _ => answers.call(op, &call.body).await,
        }
    }
    answers.end_turn().await;
    Ok(json(StatusCode::OK, answers.all().await))
}

/// The answers so far, and what is still to be done for others.
struct Answers<'a> {
    api: &'a Arc<Api>,
    results: Results,
    waiting: JoinSet<(Late, bool, Answer)>,
    /// The last call for each object of which a change waits before it is made.
    unmade: BTreeMap<ObjectId, Before>,
    /// Plain patches that are made next, together.
    turn: Vec<Patch>,
    /// When others last had their turn.
    rested: Instant,
}

impl Answers<'_> {
    /// Makes the patches that stand together, mostly in one turn of the node: its lock, its clock and its links are for all of them.
    async fn end_turn(&mut self) {
        let (mut writes, mut said) = (VecDeque::new(), VecDeque::new());
        for Patch { object, wait_millis, headers, tree } in self.turn.drain(..) {
            writes.push_back(short::write(object, tree, &headers));
            said.push_back((wait_millis, headers));
        }
        while let Some(first) = writes.front() {
            if self.unmade_before(&first.object).is_some() {
                let (write, said) = (writes.pop_front(), said.pop_front());
                if let (
                    Some(Write { object, change: Change::MergePatch(tree), .. }),
                    Some((wait_millis, headers)),
                ) = (write, said)
                {
                    self.merge(Patch { object, wait_millis, headers, tree }).await;
                }
                continue;
            }
            let mut later = self.split_off_unmade(&mut writes);
            let made = short::patch_some(self.api, &mut writes);
            writes.append(&mut later);
            let said: Vec<_> = said.drain(..made.len()).collect();
            for (patched, (wait_millis, headers)) in made.into_iter().zip(said) {
                match patched {
                    Patched::Done(written) => self.results.written(&written),
                    Patched::Refused(problem) => self.results.put(problem.into()).await,
                    Patched::Unknown(object, tree) => {
                        self.merge(Patch { object, wait_millis, headers, tree }).await;
                    }
                }
            }
            self.rest().await;
        }
    }

    /// From the first on that has to stand behind one that is not made.
    fn split_off_unmade(&mut self, writes: &mut VecDeque<Write>) -> VecDeque<Write> {
        if self.unmade.is_empty() {
            return VecDeque::new();
        }
        let first = writes.iter().position(|write| self.unmade_before(&write.object).is_some());
        writes.split_off(first.unwrap_or(writes.len()))
    }

    /// The change of this object that a later call of it has to stand behind.
    fn unmade_before(&mut self, object: &ObjectId) -> Option<Before> {
        let before = self.unmade.get(object)?;
        if before.is_over() {
            self.unmade.remove(object);
            return None;
        }
        Some(before.clone())
    }

    /// The long way of a patch: in its turn, if one of the same object has not been made.
    async fn merge(&mut self, patch: Patch) {
        let (api, object) = (Arc::clone(self.api), patch.object.clone());
        let (turn, before) = Turn::behind(self.unmade_before(&object));
        let Patch { object: of, wait_millis, headers, tree } = patch;
        let merge =
            Box::pin(async move { object::merge(&api, of, wait_millis, headers, tree, Some(turn)).await });
        self.go(merge, false).await;
        if !before.is_over() {
            self.unmade.insert(object, before);
        }
    }

    /// Any other call: behind a patch of the same object that has not been made.
    async fn call(&mut self, op: &BatchOp<'_>, whole: &Bytes) {
        let reads = matches!(&*op.method, "GET" | "HEAD");
        let answering = match begin(self.api, op, whole) {
            Ok(answering) => answering,
            Err(problem) => return self.results.put(problem.into()).await,
        };
        let Some((object, before)) = self.stands_behind(op) else { return self.go(answering, reads).await };
        let (mut turn, next) = Turn::behind(Some(before));
        if !reads {
            self.unmade.insert(object, next);
        }
        let in_turn = async move {
            turn.come().await;
            answering.await
        };
        self.go(Box::pin(in_turn), reads).await;
    }

    /// The object that a call names, and the patch of it that comes first.
    fn stands_behind(&mut self, op: &BatchOp<'_>) -> Option<(ObjectId, Before)> {
        if self.unmade.is_empty() {
            return None;
        }
        let path = op.path.split_once('?').map_or(&*op.path, |(path, _)| path);
        let object = short::object(self.api, path.strip_suffix("/touch").unwrap_or(path))?;
        let before = self.unmade_before(&object)?;
        Some((object, before))
    }

    /// Lets others have their turn, if this batch has had the processor for a while: none of it waits, mostly.
    async fn rest(&mut self) {
        if self.rested.elapsed() >= BUSY_MAX {
            tokio::task::yield_now().await;
            self.rested = Instant::now();
        }
    }

    /// Lets a call go as far as it can without waiting.
    async fn go(&mut self, mut answering: Answering, reads: bool) {
        match poll_fn(|context| Poll::Ready(answering.as_mut().poll(context))).await {
            Poll::Ready(answer) => self.results.put(answer).await,
            Poll::Pending => {
                let late = self.results.wait();
                self.waiting.spawn(async move { (late, reads, answering.await) });
            }
        }
    }

    /// All of them, once they are there.
    async fn all(mut self) -> Vec<u8> {
        while let Some(ended) = self.waiting.join_next().await {
            let Ok((late, reads, answer)) = ended else { continue };
            let answer = if reads && self.results.bytes() > ANSWER_BYTES_MAX {
                no_room("the other calls took all the room")
            } else {
                answer
            };
            self.results.put_late(late, answer).await;
        }
        self.results.finish()
    }
}

/// The kept answer to a read that asks for no more than what this node has seen.
fn kept(api: &Api, op: &BatchOp<'_>) -> Option<Found> {
    if op.method != "GET" {
        return None;
    }
    // Where it is kept, nobody waits.
    let ((path, _), said) = (op.path_and_wait()?, op.said(READ_HEADERS)?);
    if said.are_seen(api) { short::read(api, path) } else { None }
}

fn no_room(why: &str) -> Answer {
    Problem::new(Code::AnswerTooLarge, why).into()
}

type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Whether a patch needs nothing but to be made: its caller wants nothing back, and has seen nothing that this node has not.
fn is_plain(api: &Api, patch: &Patch) -> bool {
    patch.headers.want_no_body() && patch.headers.are_seen(api) && !api.port.answers_when_saved()
}

/// Begins a call.
fn begin(api: &Arc<Api>, op: &BatchOp<'_>, whole: &Bytes) -> Result<Answering, Problem> {
    let (parts, body) = prepare(op, whole)?;
    let api = Arc::clone(api);
    Ok(Box::pin(async move { dispatch(&api, parts, body).await }))
}

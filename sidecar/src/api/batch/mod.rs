//! Many calls in one round trip. Each stands on its own and goes through the same code as a single request.

mod ops;
mod results;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

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
use crate::core::command::Written;

/// Bytes of answers in one batch, at most.
const ANSWER_BYTES_MAX: usize = 32 << 20;

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
    summary: "Many calls in one round trip, in order, each on its own; none waits for another.",
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
    let mut results = Results::new(batch.ops.len());
    let mut waiting: JoinSet<(Late, bool, Answer)> = JoinSet::new();
    // Every call is started in order and goes as far as it can without waiting; those that wait go on together.
    for op in &batch.ops {
        if results.bytes() > ANSWER_BYTES_MAX {
            results.put(no_room("the calls before took all the room")).await;
            continue;
        }
        if let Some(found) = kept(api, op) {
            results.found(&found);
            continue;
        }
        let mut answering = match begin(api, op, &call.body) {
            Ok(Begun::Done(written)) => {
                results.written(&written);
                continue;
            }
            Ok(Begun::Goes(answering)) => answering,
            Err(problem) => {
                results.put(problem.into()).await;
                continue;
            }
        };
        match poll_fn(|context| Poll::Ready(answering.as_mut().poll(context))).await {
            Poll::Ready(answer) => results.put(answer).await,
            Poll::Pending => {
                let (late, reads) = (results.wait(), matches!(&*op.method, "GET" | "HEAD"));
                waiting.spawn(async move { (late, reads, answering.await) });
            }
        }
    }
    while let Some(ended) = waiting.join_next().await {
        let Ok((late, reads, answer)) = ended else { continue };
        let answer = if reads && results.bytes() > ANSWER_BYTES_MAX {
            no_room("the other calls took all the room")
        } else {
            answer
        };
        results.put_late(late, answer).await;
    }
    Ok(json(StatusCode::OK, results.finish()))
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

/// A call that has begun.
enum Begun {
    /// A patch that is done, and whose caller wants nothing back.
    Done(Written),
    /// It may have to wait.
    Goes(Answering),
}

fn begin(api: &Arc<Api>, op: &BatchOp<'_>, whole: &Bytes) -> Result<Begun, Problem> {
    if let Some(Patch { mut object, wait_millis, headers, mut tree }) = ops::patch(api, op) {
        if headers.want_no_body() && headers.are_seen(api) && !api.port.answers_when_saved() {
            (object, tree) = match short::patch(api, object, tree, &headers) {
                Patched::Done(written) => return Ok(Begun::Done(written)),
                Patched::Refused(problem) => return Err(problem),
                Patched::Unknown(object, tree) => (object, tree),
            };
        }
        let api = Arc::clone(api);
        let merge = async move { object::merge(&api, object, wait_millis, headers, tree).await };
        return Ok(Begun::Goes(Box::pin(merge)));
    }
    let (parts, body) = prepare(op, whole)?;
    let api = Arc::clone(api);
    Ok(Begun::Goes(Box::pin(async move { dispatch(&api, parts, body).await })))
}

//! Many calls in one round trip. Each stands on its own and goes through the same code as a single request.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use super::answer::{Answer, Outcome, json_of, whole};
use super::body::{JSON, bad_json, check_media_type, present};
use super::call::Call;
use super::dispatch::{Api, dispatch};
use super::errors::{Code, Problem};
use super::operation::{About, Given, IDEMPOTENT, Operation, Takes, Verb, of};

/// Calls in one batch, at most.
const OPS_MAX: usize = 1_000;
/// Bytes of answers in one batch, at most.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Many calls.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    /// Up to 1000.
    ops: Vec<BatchOp>,
}

/// One call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchOp {
    /// `GET`, `PUT`, `POST`, `PATCH`, `DELETE` or `HEAD`.
    method: String,
    /// The path with its query.
    path: String,
    /// Any JSON, null among it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    /// Without a Content-Type, a body is `application/json`.
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// The answers, in the order of the calls.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchResults {
    results: Vec<BatchResult>,
}

/// One answer.
#[derive(Serialize, ToSchema)]
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
    takes: Some(Takes { media_types: &[JSON], schema: of::<Batch> }),
    about: About::Nothing,
    given: &[Given::json(200, "The answers, in the order of the calls.", of::<BatchResults>)],
    codes: &[&[Code::UnsupportedMediaType, Code::BadJson, Code::BadBody]],
    run: |api, call| Box::pin(run(api, call)),
};

async fn run(api: &Arc<Api>, call: &Call) -> Outcome {
    let batch = parse(call)?;
    let mut results = Results { answers: Vec::new(), bytes: 0 };
    results.answers.resize_with(batch.ops.len(), || None);
    let mut waiting: JoinSet<(usize, bool, Answer)> = JoinSet::new();
    // Every call is started in order and goes as far as it can without waiting; those that wait go on together.
    for (at, op) in batch.ops.into_iter().enumerate() {
        if results.bytes > ANSWER_BYTES_MAX {
            results
                .put(at, Problem::new(Code::AnswerTooLarge, "the calls before took all the room").into())
                .await;
            continue;
        }
        let reads = matches!(op.method.as_str(), "GET" | "HEAD");
        let mut answering = match prepare(op) {
            Ok((parts, body)) => start(api, parts, body),
            Err(problem) => {
                results.put(at, problem.into()).await;
                continue;
            }
        };
        match poll_fn(|context| Poll::Ready(answering.as_mut().poll(context))).await {
            Poll::Ready(answer) => results.put(at, answer).await,
            Poll::Pending => {
                waiting.spawn(async move { (at, reads, answering.await) });
            }
        }
    }
    while let Some(ended) = waiting.join_next().await {
        let Ok((at, reads, answer)) = ended else { continue };
        if reads && results.bytes > ANSWER_BYTES_MAX {
            results
                .put(at, Problem::new(Code::AnswerTooLarge, "the other calls took all the room").into())
                .await;
        } else {
            results.put(at, answer).await;
        }
    }
    results.finish()
}

type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

fn start(api: &Arc<Api>, parts: Parts, body: Bytes) -> Answering {
    let api = Arc::clone(api);
    Box::pin(async move { dispatch(&api, parts, body).await })
}

fn parse(call: &Call) -> Result<Batch, Problem> {
    check_media_type(&call.parts.headers, &[JSON])?;
    // Only the syntax: bodies within are checked one by one by the calls that they belong to.
    serde_json::from_slice::<&RawValue>(&call.body).map_err(|error| bad_json(error.into()))?;
    let batch: Batch =
        serde_json::from_slice(&call.body).map_err(|error| Problem::new(Code::BadBody, error.to_string()))?;
    if batch.ops.len() > OPS_MAX {
        return Err(Problem::new(Code::BadBody, format!("there are {} calls", batch.ops.len()))
            .with("allowed", format!("up to {OPS_MAX} calls")));
    }
    Ok(batch)
}

fn prepare(op: BatchOp) -> Result<(Parts, Bytes), Problem> {
    let bad = |field: &str, allowed: &str| {
        Problem::new(Code::BadBody, format!("{field:?} of the call is not right"))
            .with("field", field)
            .with("allowed", allowed)
    };
    let method = match op.method.as_str() {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "PUT" => Method::PUT,
        "POST" => Method::POST,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        _ => return Err(bad("method", "GET, HEAD, PUT, POST, PATCH, or DELETE")),
    };
    let uri: Uri = match op.path.parse::<Uri>() {
        Ok(uri) if op.path.starts_with('/') => uri,
        _ => return Err(bad("path", "a path that starts with a slash, with its query")),
    };
    if matches!(uri.path(), "/v1/batch" | "/v1/watch") {
        return Err(Problem::new(Code::NotInBatch, format!("{} is not a call for a batch", uri.path())));
    }
    let mut headers = HeaderMap::with_capacity(op.headers.len() + 1);
    for (name, value) in &op.headers {
        let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        else {
            return Err(bad("headers", "names and values of HTTP headers"));
        };
        headers.append(name, value);
    }
    if op.body.is_some() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    }
    let mut parts = Request::new(()).into_parts().0;
    parts.method = method;
    parts.uri = uri;
    parts.headers = headers;
    let body = op.body.map(|body| Bytes::from(Box::<str>::from(body).into_string())).unwrap_or_default();
    Ok((parts, body))
}

/// The answers so far.
struct Results {
    answers: Vec<Option<BatchResult>>,
    bytes: usize,
}

impl Results {
    async fn put(&mut self, at: usize, answer: Answer) {
        let (head, body) = whole(answer).await;
        self.bytes += body.len();
        let headers = head
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
        let result = BatchResult {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body: json_body(&head.headers, body),
        };
        if let Some(place) = self.answers.get_mut(at) {
            *place = Some(result);
        }
    }

    fn finish(self) -> Outcome {
        let lost = || BatchResult {
            status: StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
            headers: BTreeMap::new(),
            body: None,
        };
        let results = self.answers.into_iter().map(|answer| answer.unwrap_or_else(lost)).collect();
        json_of(&BatchResults { results })
    }
}

fn json_body(headers: &HeaderMap, body: Bytes) -> Option<Box<RawValue>> {
    let media_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    if !matches!(media_type, "application/json" | "application/problem+json") {
        return None;
    }
    RawValue::from_string(String::from_utf8(body.into()).ok()?).ok()
}

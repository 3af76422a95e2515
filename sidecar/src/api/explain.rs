//! Where everything stored of an object came from.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::{Outcome, json_of};
use super::call::Call;
use super::dispatch::Api;
use super::documents::{internal, raw};
use super::errors::{Code, Problem};
use super::operation::{About, Given, Operation, Verb, of};
use crate::core::command::{ContentExplained, EntryExplained, LifeExplained, LifeState, life_to_text};
use crate::core::identity::Dot;
use crate::core::time::UnixMillis;

/// Everything stored of an object.
#[derive(Serialize, ToSchema)]
pub(super) struct Explained {
    /// Its kind, as in paths.
    kind: &'static str,
    key: String,
    /// Its lives, those that nobody sees among them.
    lives: Vec<ExplainedLife>,
    /// What hides lives that were destroyed by a node that had not heard of them.
    barriers: Vec<ExplainedBarrier>,
}

/// One life of an object.
#[derive(Serialize, ToSchema)]
pub(super) struct ExplainedLife {
    /// Its name; null for the life of an unleased object, which never ends.
    life: Option<String>,
    /// `visible`, `expired`, or `hidden` by a barrier.
    state: &'static str,
    created_unix_millis: Option<u64>,
    expires_unix_millis: Option<u64>,
    entries: Vec<ExplainedEntry>,
}

/// One stored entry.
#[derive(Serialize, ToSchema)]
pub(super) struct ExplainedEntry {
    /// Object keys, the root first.
    path: Vec<String>,
    /// `value`, `object` (that the path is one), `member` (of a set), `count` (of one replica).
    content: &'static str,
    /// The value, the member, or the count; null for an object.
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Box<RawValue>>,
    /// Names the operation that wrote it.
    dot: String,
    /// The node that wrote it, where it is known.
    node: Option<String>,
    /// When it was written, by its author's clock.
    written_unix_millis: u64,
    /// Readers see it. If not, a value that was written at the same time won.
    shown: bool,
    /// The nodes that have reported to have it, this one among them.
    acknowledged_by: Vec<String>,
}

/// One barrier.
#[derive(Serialize, ToSchema)]
pub(super) struct ExplainedBarrier {
    /// Names the operation that wrote it.
    dot: String,
    /// It hides what was created up to this time by somebody who had not seen it.
    until_unix_millis: u64,
}

pub(super) static GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/explain/{kind}/{key}",
    id: "explain",
    summary: "The origin and time of every stored entry, its siblings, and who has acknowledged it.",
    query: &[],
    headers: &[],
    takes: None,
    about: About::Nothing,
    given: &[Given::json(200, "Everything stored of the object.", of::<Explained>)],
    codes: &[&[Code::BadKey, Code::NoSuchPath, Code::Unknown]],
    run: |api, call| Box::pin(async move { explain(api, call) }),
};

fn explain(api: &Api, call: &Call) -> Outcome {
    let object = call.explained_object()?;
    let Some(explanation) = api.port.explain(&object) else {
        return Err(Problem::new(Code::Unknown, format!("nothing is stored of {object} on this node")));
    };
    let lives = explanation.lives.into_iter().map(life).collect::<Result<_, _>>().map_err(internal)?;
    let barriers = explanation
        .barriers
        .iter()
        .map(|(barrier, until)| ExplainedBarrier { dot: dot(barrier), until_unix_millis: until.0 })
        .collect();
    json_of(&Explained { kind: object.kind.plural(), key: object.key.into(), lives, barriers })
}

fn life(life: LifeExplained) -> serde_json::Result<ExplainedLife> {
    Ok(ExplainedLife {
        life: life.life.as_ref().map(life_to_text),
        state: match life.state {
            LifeState::Visible => "visible",
            LifeState::Expired => "expired",
            LifeState::Hidden => "hidden",
        },
        created_unix_millis: life.created.and_then(moment),
        expires_unix_millis: life.expires.and_then(moment),
        entries: life.entries.into_iter().map(entry).collect::<Result<_, _>>()?,
    })
}

fn moment(time: UnixMillis) -> Option<u64> {
    (time != UnixMillis::NEVER).then_some(time.0)
}

fn entry(entry: EntryExplained) -> serde_json::Result<ExplainedEntry> {
    let (content, value) = match entry.content {
        ContentExplained::Value(value) => ("value", Some(raw(&value)?)),
        ContentExplained::Object => ("object", None),
        ContentExplained::Member(member) => ("member", Some(serde_json::value::to_raw_value(&member)?)),
        ContentExplained::Count(count) => ("count", Some(serde_json::value::to_raw_value(&count)?)),
    };
    Ok(ExplainedEntry {
        path: entry.path.segments().map(String::from).collect(),
        content,
        value,
        dot: dot(&entry.dot),
        node: entry.author.map(|author| author.node),
        written_unix_millis: entry.written.0,
        shown: entry.shown,
        acknowledged_by: entry.acknowledged_by,
    })
}

fn dot(dot: &Dot) -> String {
    format!("{}-{}", dot.actor, dot.counter)
}

//! Sets of strings, in which adding wins over removing at the same time.

use std::collections::HashSet;
use std::fmt;

use http::StatusCode;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{About as AboutObject, Outcome, empty, text_of};
use super::body::{JSON, fixed};
use super::call::{Call, check_member};
use super::change::{Done, Show, change};
use super::dispatch::Api;
use super::documents::internal;
use super::errors::{Code, Problem};
use super::find::find;
use super::object::{delete, show};
use super::operation::{
    About, BODY, CHANGE, CHANGE_HEADERS, CHANGE_QUERY, Given, HeaderNote, IDEMPOTENT, Operation, READ,
    READ_HEADERS, READ_QUERY, Takes, Verb, of,
};
use crate::core::command::{Change, PathOp, View};
use crate::core::identity::Kind;
use crate::core::limits::PATH_OPS_MAX;
use crate::core::path::Path;

/// A set's members, sorted by their bytes.
#[derive(Serialize, ToSchema)]
pub(super) struct SetMembers {
    members: Vec<String>,
}

/// Members to add and to remove.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetChange {
    /// Members to add.
    #[serde(default)]
    add: Vec<Box<str>>,
    /// Members to remove.
    #[serde(default)]
    remove: Vec<Box<str>>,
}

/// How many members the request named.
#[derive(Serialize, ToSchema)]
pub(super) struct SetChanged {
    /// Members to add, those that were in already among them.
    added: usize,
    /// Members to remove, those that were not in among them.
    removed: usize,
}

const AFTER_ONLY: &[HeaderNote] = &[READ_HEADERS[0]];

pub(super) static GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sets/{name}",
    id: "getSet",
    summary: "Read a set. One that nobody has written to is empty.",
    query: READ_QUERY,
    headers: &[READ_HEADERS],
    takes: None,
    about: About::Object,
    given: &[
        Given::json(200, "The set.", of::<SetMembers>),
        Given::empty(304, "It is still what If-None-Match names."),
    ],
    codes: &[READ],
    run: |api, call| Box::pin(get(api, call)),
};

pub(super) static POST: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/sets/{name}",
    id: "changeSet",
    summary: "Add and remove members.",
    query: CHANGE_QUERY,
    headers: &[CHANGE_HEADERS, IDEMPOTENT],
    takes: Some(Takes { media_types: &[JSON], schema: of::<SetChange> }),
    about: About::Object,
    given: &[Given::json(200, "How many members the request named.", of::<SetChanged>)],
    codes: &[CHANGE, BODY, &[Code::BadBody, Code::BadMember, Code::OutOfMemory]],
    run: |api, call| Box::pin(post(api, call)),
};

pub(super) static DELETE: Operation = Operation {
    verb: Verb::Delete,
    path: "/v1/sets/{name}",
    id: "clearSet",
    summary: "Remove the members that this node has seen; those added elsewhere at the same time stay.",
    query: CHANGE_QUERY,
    headers: &[CHANGE_HEADERS],
    takes: None,
    about: About::Object,
    given: &[Given::empty(204, "It is empty.")],
    codes: &[CHANGE],
    run: |api, call| Box::pin(delete(api, call, Kind::Set)),
};

pub(super) static GET_MEMBER: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sets/{name}/{member}",
    id: "getSetMember",
    summary: "Ask whether a set holds a member.",
    query: READ_QUERY,
    headers: &[AFTER_ONLY],
    takes: None,
    about: About::Object,
    given: &[Given::empty(204, "It does.")],
    codes: &[
        &[Code::BadKey, Code::BadToken, Code::BadPrecondition, Code::NotReady],
        &[Code::BadMember, Code::NotAMember],
    ],
    run: |api, call| Box::pin(get_member(api, call)),
};

pub(super) static PUT_MEMBER: Operation = Operation {
    verb: Verb::Put,
    path: "/v1/sets/{name}/{member}",
    id: "addSetMember",
    summary: "Add a member. The request's body is ignored.",
    query: CHANGE_QUERY,
    headers: &[CHANGE_HEADERS],
    takes: None,
    about: About::Object,
    given: &[Given::empty(204, "It is in.")],
    codes: &[CHANGE, &[Code::BadMember, Code::OutOfMemory]],
    run: |api, call| Box::pin(change_member(api, call, |path, member| PathOp::Add { path, member })),
};

pub(super) static DELETE_MEMBER: Operation = Operation {
    verb: Verb::Delete,
    path: "/v1/sets/{name}/{member}",
    id: "removeSetMember",
    summary: "Remove a member.",
    query: CHANGE_QUERY,
    headers: &[CHANGE_HEADERS],
    takes: None,
    about: About::Object,
    given: &[Given::empty(204, "It is not in.")],
    codes: &[CHANGE, &[Code::BadMember]],
    run: |api, call| Box::pin(change_member(api, call, |path, member| PathOp::Remove { path, member })),
};

async fn get(api: &Api, call: &Call) -> Outcome {
    let sight = find(api, call, Kind::Set).await?;
    show(sight, |view| body(&view), "{\"members\":[]}")
}

fn body(view: &View) -> Vec<u8> {
    [b"{\"members\":".as_slice(), &view.body, b"}"].concat()
}

async fn post(api: &Api, call: &Call) -> Outcome {
    let object = call.object(Kind::Set)?;
    let SetChange { add, remove } = fixed(call)?;
    check_change(&add, &remove)?;
    let counts = SetChanged { added: add.len(), removed: remove.len() };
    let adds = add.into_iter().map(|member| PathOp::Add { path: Path::ROOT, member });
    let removes = remove.into_iter().map(|member| PathOp::Remove { path: Path::ROOT, member });
    let done: Done =
        change(api, call, object, Change::Ops(adds.chain(removes).collect()), Show::Nothing).await?;
    done.json(text_of(&counts)?)
}

fn check_change(add: &[Box<str>], remove: &[Box<str>]) -> Result<(), Problem> {
    let count = add.len() + remove.len();
    if !(1..=PATH_OPS_MAX).contains(&count) {
        return Err(Problem::new(Code::BadBody, format!("there are {count} members"))
            .with("allowed", format!("1 to {PATH_OPS_MAX} members in \"add\" and \"remove\" together")));
    }
    let added: HashSet<&str> = add.iter().map(AsRef::as_ref).collect();
    for member in remove {
        if added.contains(&**member) {
            return Err(Problem::new(Code::BadBody, "a member stands in both \"add\" and \"remove\"")
                .with("member", &**member));
        }
    }
    add.iter().chain(remove).try_for_each(|member| check_member(member))
}

async fn change_member(api: &Api, call: &Call, op: fn(Path, Box<str>) -> PathOp) -> Outcome {
    let object = call.object(Kind::Set)?;
    let op = op(Path::ROOT, call.member()?);
    change(api, call, object, Change::Ops(vec![op]), Show::Nothing).await?.no_content()
}

async fn get_member(api: &Api, call: &Call) -> Outcome {
    let member = call.member()?;
    let sight = find(api, call, Kind::Set).await?;
    let about = AboutObject::nothing(sight.token, sight.behind);
    let is_in = match &sight.view {
        Some(view) => holds(&view.body, &member).map_err(internal)?,
        None => false,
    };
    if is_in {
        return Ok(about.on(empty(StatusCode::NO_CONTENT)));
    }
    Err(about.on_problem(Problem::new(Code::NotAMember, format!("{} does not hold it", sight.object))))
}

/// Whether a JSON array of strings holds one, without a copy of the others.
fn holds(array: &[u8], member: &str) -> serde_json::Result<bool> {
    struct Search<'a>(&'a str);

    impl<'de> Visitor<'de> for Search<'_> {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of strings")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
            let mut found = false;
            while let Some(member) = members.next_element::<std::borrow::Cow<'de, str>>()? {
                found |= member == self.0;
            }
            Ok(found)
        }
    }

    serde_json::Deserializer::from_slice(array).deserialize_seq(Search(member))
}

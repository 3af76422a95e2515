//! Sessions and documents, counters, and sets.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::{Answer, Call, JSON, MERGE_PATCH, PATH_OPS};
use crate::client::Client;
use crate::error::Error;
use crate::name::{Kind, ObjectName, encode};
use crate::repeat::Repeat;

/// A session or a document: a JSON object that merges.
#[derive(Clone, Debug)]
pub struct Object {
    client: Client,
    name: ObjectName,
}

impl Object {
    pub(crate) fn new(client: Client, name: ObjectName) -> Self {
        Self { client, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ObjectName {
        &self.name
    }

    fn call<T>(&self, method: Method, below: &str) -> Call<T> {
        self.client.call(method, self.name.path() + below)
    }

    /// Reads it. 404: unknown; 410: it has ended.
    pub fn get(&self) -> Call<Value> {
        self.call(Method::GET, "")
    }

    /// Reads it; `None` when it is certain that it is not there.
    ///
    /// # Errors
    /// As [`get`](Self::get) has them; the 404 of a node that could not ask every member stays one.
    pub async fn find(&self) -> Result<Option<Answer<Value>>, Error> {
        match self.get().await {
            Ok(answer) => Ok(Some(answer)),
            // By their codes: what stands between the two has statuses of its own.
            Err(error) if error.code() == Some("ended") => Ok(None),
            Err(error) if error.code() == Some("unknown") && !error.is_behind() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates it (201), or replaces its content inside its life (200). The answer is the object after that.
    pub fn put(&self, body: &(impl Serialize + ?Sized)) -> Call<Value> {
        self.call(Method::PUT, "").body_as(JSON, body)
    }

    /// Merges a patch into it (RFC 7396). The answer is the object after that.
    pub fn patch(&self, patch: &(impl Serialize + ?Sized)) -> Call<Value> {
        self.call(Method::PATCH, "").body_as(MERGE_PATCH, patch).repeated(Repeat::Keyed)
    }

    /// Changes single paths, all or none. The answer is the object after that.
    pub fn ops(&self, ops: &[PathOp]) -> Call<Value> {
        self.call(Method::PATCH, "").body_as(PATH_OPS, ops).repeated(Repeat::Keyed)
    }

    /// Extends the idle deadline of a session.
    pub fn touch(&self) -> Call<Value> {
        self.call(Method::POST, "/touch").repeated(Repeat::Free)
    }

    /// Destroys it.
    pub fn destroy(&self) -> Call<()> {
        // A session's id is used once; of anything else a second call could end what came between.
        let repeat = if self.name.kind == Kind::Sessions { Repeat::Free } else { Repeat::Never };
        self.call(Method::DELETE, "").repeated(repeat)
    }

    /// Says where every stored entry came from.
    pub fn explain(&self) -> Call<Value> {
        self.client.call(Method::GET, format!("/v1/explain/{}/{}", self.name.kind, encode(&self.name.key)))
    }
}

/// A change to one path of a session or document.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum PathOp {
    /// Puts a value there; unlike a merge patch it can store a null.
    Set {
        /// Where.
        path: Vec<String>,
        /// What.
        value: Value,
    },
    /// Removes the path and what is below it.
    Unset {
        /// Where.
        path: Vec<String>,
    },
    /// Adds to the number there.
    Incr {
        /// Where.
        path: Vec<String>,
        /// How much.
        by: i64,
    },
    /// Adds a member to the set there.
    Add {
        /// Where.
        path: Vec<String>,
        /// The member.
        member: String,
    },
    /// Removes a member from the set there.
    Remove {
        /// Where.
        path: Vec<String>,
        /// The member.
        member: String,
    },
}

/// A counter.
#[derive(Clone, Debug)]
pub struct Counter(pub(crate) Object);

/// A counter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Count {
    /// The sum of all increments that no reset has seen.
    pub value: i64,
}

impl Counter {
    /// Reads it.
    pub fn get(&self) -> Call<Count> {
        self.0.call(Method::GET, "")
    }

    /// Adds to it, or takes away. The answer is its value after that.
    pub fn add(&self, amount: i64) -> Call<Count> {
        self.0.call(Method::POST, "").json(&serde_json::json!({ "add": amount })).repeated(Repeat::Keyed)
    }

    /// Resets what the node has seen of it. Increments at the same time elsewhere survive.
    pub fn reset(&self) -> Call<()> {
        self.0.destroy()
    }
}

/// A set of strings. What is added at the same time as it is removed stays.
#[derive(Clone, Debug)]
pub struct Set(pub(crate) Object);

/// A set's content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Members {
    /// In order.
    pub members: Vec<String>,
}

/// How many members a change of a set named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct MembersChanged {
    /// To be added, those that were in already among them.
    pub added: usize,
    /// To be removed, those that were not in among them.
    pub removed: usize,
}

impl Set {
    /// Reads it.
    pub fn get(&self) -> Call<Members> {
        self.0.call(Method::GET, "")
    }

    /// Adds and removes members.
    pub fn change(&self, add: &[impl AsRef<str>], remove: &[impl AsRef<str>]) -> Call<MembersChanged> {
        let add: Vec<_> = add.iter().map(AsRef::as_ref).collect();
        let remove: Vec<_> = remove.iter().map(AsRef::as_ref).collect();
        let body = serde_json::json!({ "add": add, "remove": remove });
        self.0.call(Method::POST, "").json(&body).repeated(Repeat::Keyed)
    }

    /// Adds one member.
    pub fn add(&self, member: &str) -> Call<()> {
        self.0.call(Method::PUT, &format!("/{}", encode(member)))
    }

    /// Removes one member.
    pub fn remove(&self, member: &str) -> Call<()> {
        self.0.call(Method::DELETE, &format!("/{}", encode(member)))
    }

    /// Whether a member is in it.
    ///
    /// # Errors
    /// Any but "no"; the 404 of a node that is behind stays one.
    pub async fn contains(&self, member: &str) -> Result<bool, Error> {
        match self.0.call::<()>(Method::GET, &format!("/{}", encode(member))).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_unknown() && !error.is_behind() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes all members that the node has seen.
    pub fn clear(&self) -> Call<()> {
        self.0.destroy()
    }
}

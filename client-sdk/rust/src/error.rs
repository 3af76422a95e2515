//! What can go wrong, told apart by what the caller can do about it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::call::Token;

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call cannot be made as it stands. Nothing was sent.
    #[error("{0}")]
    Invalid(String),
    /// No connection could be made. Nothing was sent.
    #[error("no node answers at {api}: {source}")]
    Unreachable {
        /// Where it was looked for.
        api: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke before the answer was whole. The call may have happened.
    #[error("the connection to the node broke: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time. The call may have happened.
    #[error("the node did not answer within {0:?}")]
    TimedOut(Duration),
    /// The node said no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// `304`: the object is the one whose entity tag was sent.
    #[error("the object has not changed")]
    NotModified,
    /// The node answered something that this client does not understand.
    #[error("the node's answer (status {status}) cannot be understood: {reason}")]
    Unintelligible {
        /// Its status.
        status: u16,
        /// What is wrong with it.
        reason: String,
        /// To be sent with the next call: what was called for has happened.
        token: Option<Token>,
    },
}

impl Error {
    /// What the node said, if it said no.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// The status of an answer that said no.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.problem().map(|problem| problem.status)
    }

    /// The stable code of an answer that said no.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.problem().map(|problem| problem.code.as_str())
    }

    /// `410`: the object, or the life that was named, has ended for good.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.status() == Some(410)
    }

    /// `404`. When [`Problem::behind`] is set, not every member could be asked, and "no such session" it is not.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.status() == Some(404)
    }

    /// The node could not catch up with the tokens that were sent, or not ask every member, in time.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.problem().is_some_and(|problem| problem.behind)
    }

    /// The call may have happened although there is no answer.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::TimedOut(_) | Self::Unintelligible { .. })
    }
}

/// A problem document (RFC 9457), and what the headers beside it say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, thiserror::Error)]
#[error("{code}: {detail}")]
#[serde(default)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What went wrong, for programs; never changes its meaning.
    pub code: String,
    /// What went wrong, for people.
    pub detail: String,
    /// Whatever else the node said.
    #[serde(flatten)]
    pub more: Map<String, Value>,
    /// The write that stays although too few members acknowledged it.
    #[serde(skip)]
    pub token: Option<Token>,
    /// The node could not catch up, or not ask everyone, in time.
    #[serde(skip)]
    pub behind: bool,
}

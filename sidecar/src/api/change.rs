//! Changing an object: conditions, asking before a refusal, and waiting for acknowledgements. Every write of the
//! API goes through here.

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use super::answer::{About, Answer, Outcome, empty, json};
use super::call::Call;
use super::dispatch::Api;
use super::errors::{Code, Problem};
use super::find::{Patience, asks, ended, unknown};
use super::headers::{self, ObjectHeaders};
use super::query::{Query, TIMEOUT_MILLIS_DEFAULT};
use super::turn::Turn;
use crate::core::command::{Acks, Change, Lookup, Precondition, Refusal, View, Wait, Waited, Write, Written};
use crate::core::identity::ObjectId;
use crate::core::limits::WAIT_MILLIS_MAX;
use crate::core::token::Token;

/// A write that has happened.
pub(super) struct Done {
    pub created: bool,
    pub about: About,
    /// The object after it, where the caller wants it and nobody has ended it since.
    pub view: Option<View>,
    pub acks: Option<usize>,
    /// The caller prefers an answer without a body.
    minimal: bool,
    /// It was looked for.
    looked: bool,
}

/// What the caller wants to know of the object afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// Its content and tag.
    Object,
    /// The same, unless the caller prefers a minimal answer: then the tag only, and only for those who compare tags.
    ObjectUnlessMinimal,
    /// Only what the write itself tells.
    Nothing,
}

/// Writes.
///
/// # Errors
/// Those of the headers, the refusals of the node, and `not_enough_acks`.
pub(super) async fn change(
    api: &Api,
    call: &Call,
    object: ObjectId,
    change: Change,
    show: Show,
) -> Result<Done, Problem> {
    let headers = ObjectHeaders::parse(&call.parts.headers)?;
    change_as_said(api, &call.query, headers, object, change, show, None).await
}

/// As [`change`], for a request that says this about the object.
///
/// # Errors
/// As [`change`], but for those of the headers.
pub(super) async fn change_as_said(
    api: &Api,
    query: &Query,
    headers: ObjectHeaders,
    object: ObjectId,
    change: Change,
    show: Show,
    mut turn: Option<Turn>,
) -> Result<Done, Problem> {
    let write = write_of(query, &headers, object, change);
    let show = match show {
        // Rendering an object for a tag that nobody asks for costs half of what the write does.
        Show::ObjectUnlessMinimal if headers.minimal && write.precondition == Precondition::None => {
            Show::Nothing
        }
        show => show,
    };
    let mut patience = Patience::of(query);
    if !headers.are_seen(api) {
        Box::pin(patience.catch_up(api, &headers.after)).await;
    }
    let asks = asks(write.object.kind, query);
    let first = match &turn {
        Some(turn) if turn.waits() => None,
        _ => Some(api.port.write(&write)),
    };
    let written = match first {
        Some(Ok(written)) => written,
        Some(Err(Refusal::Unknown)) if asks => {
            Box::pin(ask_and_write(api, &mut patience, &write, None)).await?
        }
        Some(Err(refusal)) => return Err(refused(api, &write.object, &refusal, patience.behind)),
        // It asks as well meanwhile: what each waits does not add up.
        None if asks && api.port.look_up(&write.object) == Lookup::Unknown => {
            Box::pin(ask_and_write(api, &mut patience, &write, turn.as_mut())).await?
        }
        None => Box::pin(write_in_turn(api, &patience, &write, turn.as_mut())).await?,
    };
    // The next may be made, while this one waits for acknowledgements.
    drop(turn);
    finish(api, query, &write.object, written, patience.behind, headers.minimal, show).await
}

fn write_of(query: &Query, headers: &ObjectHeaders, object: ObjectId, change: Change) -> Write {
    Write {
        object,
        change,
        life: headers.life,
        precondition: headers.precondition(),
        after: headers.after_hlc(),
        ttl_millis: query.ttl_millis,
    }
}

async fn ask_and_write(
    api: &Api,
    patience: &mut Patience,
    write: &Write,
    turn: Option<&mut Turn>,
) -> Result<Written, Problem> {
    let asked = patience.ask(api, &write.object).await;
    if let Some(turn) = turn {
        turn.come().await;
    }
    api.port.write(write).map_err(|refusal| {
        let (refusal, behind) = match refusal {
            Refusal::Unknown if asked.ended => (Refusal::Ended, patience.behind),
            Refusal::Unknown => (Refusal::Unknown, patience.behind || !asked.by_all),
            refusal => (refusal, patience.behind),
        };
        refused(api, &write.object, &refusal, behind)
    })
}

async fn write_in_turn(
    api: &Api,
    patience: &Patience,
    write: &Write,
    turn: Option<&mut Turn>,
) -> Result<Written, Problem> {
    if let Some(turn) = turn {
        turn.come().await;
    }
    api.port.write(write).map_err(|refusal| refused(api, &write.object, &refusal, patience.behind))
}

/// Destroys a leased object, clears an unleased one. What has ended already is no error: the caller has what it
/// wanted.
///
/// # Errors
/// As [`change`]; `ended` only when another life than the one named goes on.
pub(super) async fn destroy(api: &Api, call: &Call, object: ObjectId) -> Result<Done, Problem> {
    let headers = ObjectHeaders::parse(&call.parts.headers)?;
    let mut write = write_of(&call.query, &headers, object, Change::Destroy);
    api.must_be_ready()?;
    let mut patience = Patience::of(&call.query);
    patience.catch_up(api, &headers.after).await;
    if asks(write.object.kind, &call.query) && api.port.look_up(&write.object) == Lookup::Unknown {
        // Whoever knows it tells; and if nobody does, the write below bars it.
        patience.ask(api, &write.object).await;
    }
    let mut outcome = api.port.write(&write);
    if outcome == Err(Refusal::Unknown) && write.precondition == Precondition::None {
        // A life that is unknown here: bar them all, a logout must not be lost.
        write.life = None;
        outcome = api.port.write(&write);
    }
    let written = match outcome {
        Ok(written) => written,
        Err(Refusal::Ended) if !matches!(api.port.look_up(&write.object), Lookup::Found(_)) => Written {
            created: false,
            token: api.port.read_token(&write.object),
            life: None,
            expires_in_millis: None,
        },
        Err(refusal) => return Err(refused(api, &write.object, &refusal, patience.behind)),
    };
    finish(api, &call.query, &write.object, written, patience.behind, false, Show::Nothing).await
}

async fn finish(
    api: &Api,
    query: &Query,
    object: &ObjectId,
    written: Written,
    behind: bool,
    minimal: bool,
    show: Show,
) -> Result<Done, Problem> {
    let view = match show {
        Show::Object | Show::ObjectUnlessMinimal => match api.port.look_up(object) {
            Lookup::Found(view) => Some(view),
            Lookup::Ended | Lookup::Unknown => None,
        },
        Show::Nothing => None,
    };
    let Written { created, token, life, expires_in_millis } = written;
    let tag = view.as_ref().map(|view| view.tag);
    let about = About { token, tag, life, expires_in_millis, behind };
    if api.port.answers_when_saved() {
        Box::pin(saved(api, &about)).await?;
    }
    let acks = match query.acks {
        Some(need) => Some(Box::pin(acknowledged(api, query, &about, need)).await?),
        None => None,
    };
    Ok(Done { created, about, view, acks, minimal, looked: show != Show::Nothing })
}

/// Waits until a write is on the disk.
async fn saved(api: &Api, about: &About) -> Result<(), Problem> {
    let wait = Wait::Saved(about.token.clone());
    match api.port.wait(wait, WAIT_MILLIS_MAX).await {
        Waited::Seen => Ok(()),
        _ => {
            let detail =
                "the write is applied here and given to the peers, and cannot be saved on this node's disk";
            Err(about.on_problem(Problem::new(Code::NotSaved, detail)))
        }
    }
}

async fn acknowledged(api: &Api, query: &Query, about: &About, need: Acks) -> Result<usize, Problem> {
    let token: Token = about.token.clone();
    let timeout_millis = query.timeout_millis.unwrap_or(TIMEOUT_MILLIS_DEFAULT);
    match api.port.wait(Wait::Acks { token, need }, timeout_millis).await {
        Waited::Acks { have, need } if have >= need => Ok(have),
        Waited::Acks { have, need } => {
            let detail = format!(
                "{have} of {need} nodes have acknowledged the write within {timeout_millis} ms; the write stays"
            );
            let problem = Problem::new(Code::NotEnoughAcks, detail).with("have", have).with("need", need);
            Err(about.on_problem(problem).header(headers::ACKS, HeaderValue::from(have)))
        }
        other => {
            Err(about.on_problem(Problem::new(Code::Internal, format!("a wait for acks gave {other:?}"))))
        }
    }
}

fn disk_error(api: &Api) -> String {
    api.port.storage().and_then(|storage| storage.error).unwrap_or_else(|| "the disk does not take it".into())
}

/// The problem that a refusal is to the caller.
pub(super) fn refused(api: &Api, object: &ObjectId, refusal: &Refusal, behind: bool) -> Problem {
    let problem = match *refusal {
        Refusal::Unknown => return unknown(api, object, behind),
        Refusal::Ended => return ended(api, object, behind),
        Refusal::NotReady => return api.not_ready(),
        Refusal::DiskFull => Problem::new(Code::DiskFull, disk_error(api)),
        Refusal::DiskFailing => Problem::new(Code::DiskFailing, disk_error(api))
            .header(RETRY_AFTER, HeaderValue::from_static("1")),
        Refusal::PreconditionFailed => {
            Problem::new(Code::PreconditionFailed, format!("{object} is not as the request wants it"))
        }
        Refusal::WrongShape { at, found } => {
            let detail = format!("operation {at} does not fit: at its path stands {found}");
            Problem::new(Code::WrongShape, detail).with("at", at).with("found", found.to_string())
        }
        Refusal::Overflow { at } => {
            Problem::new(Code::Overflow, format!("operation {at} would take a count out of 64 bits"))
                .with("at", at)
        }
        Refusal::WrongKind => {
            let detail = format!("one of the {} does not take this change", object.kind.plural());
            Problem::new(Code::WrongKind, detail)
        }
        Refusal::OutOfMemory => Problem::new(
            Code::OutOfMemory,
            "this node's state has reached --max-memory: destroy what is not needed, or raise the limit on every node",
        ),
        Refusal::TooLarge => Problem::new(Code::TooLarge, format!("{object} would be too large")),
    };
    About::nothing(api.port.read_token(object), behind).on_problem(problem)
}

impl Done {
    /// Puts the headers on an answer.
    fn on(&self, answer: Answer) -> Answer {
        let mut answer = self.about.on(answer);
        if let Some(have) = self.acks {
            answer.headers_mut().insert(headers::ACKS, HeaderValue::from(have));
        }
        answer
    }

    /// An answer with this body.
    pub(super) fn json(&self, body: impl Into<bytes::Bytes>) -> Outcome {
        Ok(self.on(json(StatusCode::OK, body)))
    }

    /// An answer without a body.
    pub(super) fn no_content(&self) -> Outcome {
        Ok(self.on(empty(StatusCode::NO_CONTENT)))
    }

    /// An answer with the object as it is after the change, unless the caller does not want it.
    pub(super) fn object(mut self) -> Outcome {
        let bare = if self.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
        let full = if self.created { StatusCode::CREATED } else { StatusCode::OK };
        let answer = match self.view.take() {
            Some(view) if !self.minimal => json(full, view.body),
            // Without a view, somebody has ended the object since: there is nothing to show.
            view => {
                let mut answer = empty(bare);
                if view.is_some() || self.minimal && !self.looked {
                    let applied = HeaderValue::from_static("return=minimal");
                    answer.headers_mut().insert(headers::PREFERENCE_APPLIED, applied);
                }
                answer
            }
        };
        Ok(self.on(answer))
    }
}

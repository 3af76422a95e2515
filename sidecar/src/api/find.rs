//! Finding what a request names: waiting for what its client has seen, and asking the peers before saying no.

use tokio::time::Instant;

use super::answer::About;
use super::call::Call;
use super::dispatch::Api;
use super::errors::{Code, Problem};
use super::headers::ObjectHeaders;
use super::query::Query;
use crate::core::command::{Lookup, View, Wait, Waited};
use crate::core::identity::{Kind, ObjectId};
use crate::core::token::Token;

/// What is left of the time that a request may wait, and what came of its waiting.
pub(super) struct Patience {
    millis: u64,
    since: Option<Instant>,
    /// The node could not catch up, or could not ask everyone.
    pub behind: bool,
}

/// What the peers know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub by_all: bool,
    pub ended: bool,
}

impl Patience {
    /// As long as the request says.
    pub(super) fn of(query: &Query) -> Self {
        Self { millis: query.wait_millis(), since: None, behind: false }
    }

    // The clock is not read before the first wait: most requests never wait.
    fn left_millis(&mut self) -> u64 {
        let elapsed = self.since.get_or_insert_with(Instant::now).elapsed().as_millis();
        self.millis.saturating_sub(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// Waits until the node has seen these.
    pub(super) async fn catch_up(&mut self, api: &Api, tokens: &[Token]) {
        if tokens.is_empty() || api.port.seen(tokens) {
            return;
        }
        let left = self.left_millis();
        self.behind |= api.port.wait(Wait::Seen(tokens.to_vec()), left).await != Waited::Seen;
    }

    /// Asks the peers about an object that is unknown here.
    pub(super) async fn ask(&mut self, api: &Api, object: &ObjectId) -> Asked {
        let left = self.left_millis();
        match api.port.wait(Wait::Asked(object.clone()), left).await {
            Waited::Asked { by_all, ended } => Asked { by_all, ended },
            _ => Asked { by_all: false, ended: false },
        }
    }
}

/// Whether a request asks the peers before it says that it knows nothing.
pub(super) fn asks(kind: Kind, query: &Query) -> bool {
    match kind {
        Kind::Session => true,
        Kind::Document => query.wait_millis.is_some(),
        // An unknown counter is 0, an unknown set is empty.
        Kind::Counter | Kind::Set => false,
    }
}

/// What a read sees.
pub(super) struct Sight {
    pub object: ObjectId,
    pub headers: ObjectHeaders,
    /// `None` for a counter or set that nobody has written to.
    pub view: Option<View>,
    /// Names at least what was seen.
    pub token: Token,
    pub behind: bool,
}

/// Finds what a read names.
///
/// # Errors
/// `not_ready`, `bad_key` and those of the headers; `unknown` and `ended` for sessions and documents.
pub(super) async fn find(api: &Api, call: &Call, kind: Kind) -> Result<Sight, Problem> {
    let object = call.object(kind)?;
    let headers = ObjectHeaders::parse(&call.parts.headers)?;
    if headers.are_seen(api) {
        let (lookup, token) = api.read(&object)?;
        if let Lookup::Found(view) = lookup {
            return Ok(Sight { object, headers, view: Some(view), token, behind: false });
        }
    }
    // The rest waits: in a box, so that the request that need not wait stays small.
    Box::pin(find_patiently(api, call, object, headers)).await
}

/// As [`find`], where waiting may help.
pub(super) async fn find_patiently(
    api: &Api,
    call: &Call,
    object: ObjectId,
    headers: ObjectHeaders,
) -> Result<Sight, Problem> {
    api.must_be_ready()?;
    let mut patience = Patience::of(&call.query);
    patience.catch_up(api, &headers.after).await;
    let (mut lookup, mut token) = api.read(&object)?;
    if lookup == Lookup::Unknown && asks(object.kind, &call.query) {
        let asked = patience.ask(api, &object).await;
        (lookup, token) = match api.read(&object)? {
            (Lookup::Unknown, token) if asked.ended => (Lookup::Ended, token),
            read => read,
        };
        patience.behind |= lookup == Lookup::Unknown && !asked.by_all;
    }
    let behind = patience.behind;
    match lookup {
        Lookup::Found(view) => Ok(Sight { object, headers, view: Some(view), token, behind }),
        _ if matches!(object.kind, Kind::Counter | Kind::Set) => {
            Ok(Sight { object, headers, view: None, token, behind })
        }
        Lookup::Ended => Err(ended(api, &object, behind)),
        Lookup::Unknown => Err(unknown(api, &object, behind)),
    }
}

/// The problem of an object that is no more.
pub(super) fn ended(api: &Api, object: &ObjectId, behind: bool) -> Problem {
    let problem = Problem::new(Code::Ended, format!("{object} was destroyed, or has expired"));
    About::nothing(api.port.read_token(object), behind).on_problem(problem)
}

/// The problem of an object that nobody who could be asked has heard of.
pub(super) fn unknown(api: &Api, object: &ObjectId, behind: bool) -> Problem {
    let detail = if behind {
        format!("nobody who could be asked knows {object}; some nodes could not be asked, and may know it")
    } else {
        format!("nothing is known of {object}")
    };
    About::nothing(api.port.read_token(object), behind).on_problem(Problem::new(Code::Unknown, detail))
}

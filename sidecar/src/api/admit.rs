//! What a request passes on its way in and out, whoever reads it from the wire: guard, token, place, and the room
//! of a large answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::request::Parts;

use super::answer::{Answer, ApiBody, is_large, whole};
use super::dispatch::{Api, dispatch};
use super::errors::Problem;
use super::guard;
use super::load::{Place, Room};

/// Lets a request in. Its place is held as long as what this gives; a probe may go without one.
///
/// # Errors
/// `host_not_local`, `foreign_origin`, `unauthorized`, `too_busy`.
pub(super) fn admit<'a>(api: &'a Api, parts: &Parts) -> Result<Option<Place<'a>>, Problem> {
    guard::check(&api.settings, parts)?;
    if let Some(tokens) = &api.settings.tokens
        && let Err(problem) = tokens.check(parts)
    {
        api.load.unauthorized.fetch_add(1, Ordering::Relaxed);
        return Err(problem);
    }
    let place = api.load.enter(api.settings.requests_max);
    if place.is_none() && !guard::is_probe(parts) {
        return Err(Problem::too_busy("as many requests as this node takes are under way"));
    }
    Ok(place)
}

/// Answers a request that was let in. `room` is that of its body.
pub(super) async fn conclude(api: &Arc<Api>, parts: Parts, body: Bytes, room: Option<Room>) -> Answer {
    let reads = parts.method.is_safe();
    let answer = dispatch(api, parts, body).await;
    drop(room);
    if is_large(&answer) { Box::pin(large(api, answer, reads)).await } else { answer }
}

/// Counts a large answer until its client has taken it. A read can be made again later; what was written is answered.
async fn large(api: &Api, answer: Answer, reads: bool) -> Answer {
    let (head, bytes) = whole(answer).await;
    let mut room = Room::none(&api.load);
    if !reads {
        room.take(bytes.len());
    } else if !room.grow(bytes.len(), api.settings.body_bytes_max) {
        return Problem::too_busy("as many bytes as this node keeps for others are on their way").into();
    }
    Answer::from_parts(head, ApiBody::Large { bytes, _room: room })
}

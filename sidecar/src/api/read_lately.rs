//! Answers to the reads of late, each kept until a write or the time ends it: what only a write can change is not
//! rendered again for every page load.
//!
//! Bounded in places and bytes. A place has room for two: a third that is read there takes the room of the one whose
//! last read is further back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{ETAG, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use super::answer::{Outcome, json, life_text, tag_text, token_text};
use super::batch::write_member;
use super::headers::{self, Condition, ObjectHeaders};
use super::object::{another_tag, not_modified};
use super::port::Port;
use crate::core::command::{EntityTag, Known, Lookup, Reading, View};
use crate::core::identity::{Kind, ObjectId};
use crate::core::time::UnixMillis;
use crate::core::token::Token;

/// Half of the answers that are kept at most.
const PLACES: usize = 4_096;

/// What their bodies and keys may take together.
const BYTES_MAX: usize = 16 << 20;

/// What one of them may take.
const BODY_BYTES_MAX: usize = 8 << 10;

/// What its token, tag and life take, as lines or as members, about.
const HEAD_BYTES: usize = 160;

/// The answers.
pub(super) struct ReadLately {
    places: Box<[Mutex<Place>]>,
    bytes: AtomicUsize,
}

impl Default for ReadLately {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| Mutex::default()).collect(), bytes: AtomicUsize::new(0) }
    }
}

/// Two answers, the one read last first.
#[derive(Default)]
struct Place([Option<Arc<Kept>>; 2]);

impl Place {
    fn get(&mut self, kind: Kind, key: &str) -> Option<Arc<Kept>> {
        let is = |kept: &Option<Arc<Kept>>| {
            kept.as_ref().is_some_and(|kept| kept.object.kind == kind && *kept.object.key == *key)
        };
        let at = self.0.iter().position(is)?;
        self.0.swap(0, at);
        self.0[0].clone()
    }

    /// Puts an answer first. Gives the one that has to go.
    fn put(&mut self, kept: Arc<Kept>) -> Option<Arc<Kept>> {
        let first = self.0[0].replace(kept);
        if first.is_some() { std::mem::replace(&mut self.0[1], first) } else { None }
    }

    fn remove(&mut self, object: &ObjectId) -> Option<Arc<Kept>> {
        self.get(object.kind, &object.key).and_then(|_| self.0[0].take())
    }
}

/// What is kept of one answer.
#[derive(Clone)]
struct Kept {
    object: ObjectId,
    known: Known,
    body: Bytes,
    tag: EntityTag,
    tag_text: HeaderValue,
    life: Option<HeaderValue>,
    expires: Option<UnixMillis>,
    token: HeaderValue,
    /// Token, tag and life as the lines of a head, once it was read alone.
    lines: OnceLock<Box<[u8]>>,
    /// The same as members of JSON, once a batch has read it.
    members: OnceLock<Box<[u8]>>,
}

/// An object that lives, and when it was read.
pub(super) struct Found {
    kept: Arc<Kept>,
    time: UnixMillis,
}

impl ReadLately {
    /// Reads an object whose answer was kept; `None` where it has none, and where there is more to it than a read.
    pub(super) fn again(&self, port: &dyn Port, kind: Kind, key: &str) -> Option<Found> {
        let place = &self.places[ObjectId::hash_of(kind, key) as usize % PLACES];
        let kept = place.lock().get(kind, key)?;
        let object = Arc::clone(&kept);
        self.look(port, place, Some(kept), &object.object)?
    }

    /// Reads an object: `None` outside while the node is not ready, inside where nothing is in sight.
    pub(super) fn read(&self, port: &dyn Port, object: &ObjectId) -> Option<Option<Found>> {
        let place = &self.places[object.hash() as usize % PLACES];
        let kept = place.lock().get(object.kind, &object.key);
        self.look(port, place, kept, object)
    }

    fn look(
        &self,
        port: &dyn Port,
        place: &Mutex<Place>,
        kept: Option<Arc<Kept>>,
        object: &ObjectId,
    ) -> Option<Option<Found>> {
        let reading = port.read(object, kept.as_ref().map(|kept| &kept.known))?;
        let time = reading.time;
        let kept = match (kept, reading) {
            (Some(kept), Reading { lookup: None, token: None, .. }) => {
                return Some(Some(Found { kept, time }));
            }
            (Some(kept), Reading { lookup: None, token: Some(token), revision, .. }) => {
                kept.with_token(&token, Known { revision, ..kept.known.clone() })
            }
            (_, Reading { lookup: Some(Lookup::Found(view)), token: Some(token), revision, .. }) => {
                let known = Known { revision, stands: view.stands.clone() };
                Kept::new(object, view, &token, known, time)
            }
            _ => return Some(None),
        };
        let kept = Arc::new(kept);
        self.keep(place, &kept);
        Some(Some(Found { kept, time }))
    }

    fn keep(&self, place: &Mutex<Place>, kept: &Arc<Kept>) {
        let size = kept.size();
        let mut place = place.lock();
        self.freed(place.remove(&kept.object));
        let fits = self.bytes.load(Ordering::Relaxed) + size <= BYTES_MAX;
        if kept.body.len() <= BODY_BYTES_MAX && fits {
            self.bytes.fetch_add(size, Ordering::Relaxed);
            self.freed(place.put(Arc::clone(kept)));
        } else {
            // What nobody reads any more must not keep the bytes for ever.
            self.freed(place.0[1].take());
        }
    }

    fn freed(&self, gone: Option<Arc<Kept>>) {
        self.bytes.fetch_sub(gone.map_or(0, |gone| gone.size()), Ordering::Relaxed);
    }
}

impl Kept {
    fn new(object: &ObjectId, view: View, token: &Token, known: Known, time: UnixMillis) -> Self {
        Self {
            object: object.clone(),
            known,
            tag: view.tag,
            tag_text: tag_text(view.tag),
            life: view.life.as_ref().map(life_text),
            expires: view.expires_in_millis.map(|millis| time.plus(millis)),
            token: token_text(token),
            body: view.body,
            lines: OnceLock::new(),
            members: OnceLock::new(),
        }
    }

    fn with_token(&self, token: &Token, known: Known) -> Self {
        Self {
            known,
            token: token_text(token),
            lines: OnceLock::new(),
            members: OnceLock::new(),
            ..self.clone()
        }
    }

    fn size(&self) -> usize {
        self.body.len() + self.object.key.len() + HEAD_BYTES
    }

    fn render_lines(&self) -> Box<[u8]> {
        let mut lines = Vec::with_capacity(HEAD_BYTES);
        for (name, value) in self.headers() {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
        lines.into()
    }

    fn render_members(&self) -> Box<[u8]> {
        let mut members = Vec::with_capacity(HEAD_BYTES);
        for (name, value) in self.headers() {
            write_member(&mut members, name.as_str(), value.to_str().unwrap_or_default());
        }
        members.into()
    }

    /// Token, tag and life.
    fn headers(&self) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
        let life = self.life.as_ref().map(|life| (headers::LIFE, life));
        [(headers::TOKEN, &self.token), (ETAG, &self.tag_text)].into_iter().chain(life)
    }
}

impl Found {
    /// Its JSON.
    pub(super) fn body(&self) -> &[u8] {
        &self.kept.body
    }

    /// The lines of a head that say which token, tag and life it has.
    pub(super) fn lines(&self) -> &[u8] {
        self.kept.lines.get_or_init(|| self.kept.render_lines())
    }

    /// The same as members of a JSON object.
    pub(super) fn members(&self) -> &[u8] {
        self.kept.members.get_or_init(|| self.kept.render_members())
    }

    /// When it expires.
    pub(super) fn expires_in_seconds(&self) -> Option<u64> {
        self.kept.expires.map(|expires| expires.since(self.time) / 1_000)
    }

    /// The answer to a read under these conditions.
    ///
    /// # Errors
    /// `precondition_failed`.
    pub(super) fn answer(&self, object: &ObjectId, headers: &ObjectHeaders) -> Outcome {
        let mut answer = match headers.condition(self.kept.tag) {
            Condition::Holds => json(StatusCode::OK, self.kept.body.clone()),
            Condition::NotModified => not_modified(),
            Condition::Failed => return Err(another_tag(object).headers(|headers| self.write(headers))),
        };
        self.write(answer.headers_mut());
        Ok(answer)
    }

    fn write(&self, headers: &mut HeaderMap) {
        headers.insert(headers::TOKEN, self.kept.token.clone());
        headers.insert(ETAG, self.kept.tag_text.clone());
        if let Some(life) = &self.kept.life {
            headers.insert(headers::LIFE, life.clone());
        }
        if let Some(seconds) = self.expires_in_seconds() {
            headers.insert(headers::EXPIRES_IN, HeaderValue::from(seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::Revision;

    fn kept(key: &str, body: usize) -> Arc<Kept> {
        let view = View {
            body: vec![b'x'; body].into(),
            tag: EntityTag(1),
            life: None,
            expires_in_millis: None,
            stands: UnixMillis(0)..UnixMillis(u64::MAX),
        };
        let known = Known { revision: Revision::default(), stands: view.stands.clone() };
        let object = ObjectId::new(Kind::Session, key);
        let token = Token { shard: object.shard(), hlc: crate::core::time::Hlc(0), dots: Vec::new() };
        Arc::new(Kept::new(&object, view, &token, known, UnixMillis(0)))
    }

    #[test]
    fn the_bytes_are_those_of_what_is_kept_and_stay_bounded() {
        let lately = ReadLately::default();
        for round in 0..60_000_usize {
            let key = format!("k{}", round * 7 % 20_000);
            let body = [10, 4_000, BODY_BYTES_MAX, BODY_BYTES_MAX + 1][round % 4];
            let kept = kept(&key, body);
            lately.keep(&lately.places[kept.object.hash() as usize % PLACES], &kept);
        }
        let places = lately.places.iter().map(|place| place.lock());
        let sizes =
            places.flat_map(|place| place.0.iter().flatten().map(|kept| kept.size()).collect::<Vec<_>>());
        let total = sizes.sum::<usize>();
        assert_eq!(total, lately.bytes.load(Ordering::Relaxed));
        assert!(total <= BYTES_MAX && total > BYTES_MAX / 2, "{total}");
    }

    #[test]
    fn a_place_keeps_the_two_read_last() {
        let mut place = Place::default();
        let [a, b, c] = ["a", "b", "c"].map(|key| kept(key, 1));
        assert!(place.put(Arc::clone(&a)).is_none() && place.put(Arc::clone(&b)).is_none());
        assert!(place.get(Kind::Session, &a.object.key).is_some());
        assert_eq!(place.put(Arc::clone(&c)).unwrap().object, b.object);
        assert!(
            place.get(Kind::Session, &a.object.key).is_some()
                && place.get(Kind::Session, &c.object.key).is_some()
        );
    }
}

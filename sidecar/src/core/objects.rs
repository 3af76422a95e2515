//! All objects of a shard, each kind by itself, in the order of their names.
//!
//! A sorted list in pieces: a place takes two words and little more, where nodes of a tree are a third empty, and an
//! object is changed where it stands.

use super::identity::{Kind, LifeId, ObjectId};
use super::object::Object;
use super::op::Lease;
use super::stored::{Stored, View, is_large};

/// Places in one piece, at most.
const PIECE_MAX: usize = 128;

/// All objects of a shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    kinds: [Sorted; Kind::ALL.len()],
}

/// Objects in the order of their names.
#[derive(Clone, Debug, Default)]
struct Sorted {
    /// None of them is empty.
    pieces: Vec<Vec<Stored>>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Place {
    piece: usize,
    at: usize,
}

impl Objects {
    /// From objects in any order. Of two with one name the later one counts.
    pub(crate) fn of(all: impl IntoIterator<Item = Stored>) -> Self {
        let mut kinds: [Vec<Stored>; Kind::ALL.len()] = Default::default();
        for stored in all {
            kinds[stored.kind() as usize].push(stored);
        }
        Self { kinds: kinds.map(Sorted::of) }
    }

    pub(crate) fn len(&self) -> usize {
        self.kinds.iter().map(|sorted| sorted.len).sum()
    }

    pub(crate) fn len_by_kind(&self) -> [u64; Kind::ALL.len()] {
        std::array::from_fn(|kind| self.kinds[kind].len as u64)
    }

    pub(crate) fn get(&self, id: &ObjectId) -> Option<View<'_>> {
        let sorted = &self.kinds[id.kind as usize];
        let place = sorted.find(id.key.as_bytes()).ok()?;
        Some(sorted.pieces[place.piece][place.at].object())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.kinds.iter().flat_map(|sorted| sorted.pieces.iter().flatten())
    }

    /// Those of a kind, from a key on.
    pub(crate) fn range(&self, kind: Kind, from: &str) -> impl Iterator<Item = &Stored> {
        let sorted = &self.kinds[kind as usize];
        let (Ok(first) | Err(first)) = sorted.find(from.as_bytes());
        let pieces = sorted.pieces.get(first.piece..).unwrap_or_default();
        pieces.iter().flatten().skip(first.at)
    }

    /// Puts an object in the place of the one with its name.
    #[cfg(test)]
    pub(crate) fn put(&mut self, stored: Stored) {
        let sorted = &mut self.kinds[stored.kind() as usize];
        match sorted.find(stored.key_bytes()) {
            Ok(Place { piece, at }) => sorted.pieces[piece][at] = stored,
            Err(place) => sorted.insert(place, stored),
        }
    }

    #[cfg(any(test, feature = "mutants"))]
    pub(crate) fn take(&mut self, id: &ObjectId) -> Option<Stored> {
        let sorted = &mut self.kinds[id.kind as usize];
        sorted.find(id.key.as_bytes()).ok().map(|place| sorted.remove(place))
    }

    /// Changes one object, or a vacant one where there is none; what is vacant then is stored no longer.
    pub(crate) fn change<R>(&mut self, id: &ObjectId, change: impl FnOnce(&mut Object<'_>) -> R) -> R {
        let sorted = &mut self.kinds[id.kind as usize];
        let place = match sorted.find(id.key.as_bytes()) {
            Ok(place) => place,
            Err(place) => {
                let mut object = Object::default();
                let result = change(&mut object);
                if !object.is_vacant() {
                    sorted.insert(place, Stored::new(id, object));
                }
                return result;
            }
        };
        let stored = &mut sorted.pieces[place.piece][place.at];
        let (result, stays) = match stored {
            Stored::Packed(_) => change_packed(stored, id, change),
            Stored::Large(large) => {
                // Out of its place, or all of it would have to be copied.
                let mut object = std::mem::take(&mut large.1);
                let (result, stays) = (change(&mut object), !object.is_vacant());
                *stored = Stored::new(id, object);
                (result, stays)
            }
        };
        if !stays {
            drop(sorted.remove(place));
        }
        result
    }
}

/// Changes an object that is one run of bytes. Gives whether it stays.
fn change_packed<R>(
    stored: &mut Stored,
    id: &ObjectId,
    change: impl FnOnce(&mut Object<'_>) -> R,
) -> (R, bool) {
    let mut object = stored.object().into_object();
    let before = frame(&object);
    let len = object.lives.first().map_or(0, |life| life.records.bytes());
    let result = change(&mut object);
    if object.is_vacant() {
        return (result, false);
    }
    if before.is_none() || frame(&object) != before || is_large(&object) {
        *stored = Stored::new(id, object);
    } else if let Some(life) = object.lives.first_mut()
        && let Some(records) = std::mem::take(&mut life.records).changed(len)
    {
        drop(object);
        stored.replace_records(len, &records);
    }
    (result, true)
}

/// All of an object with one life and without barriers but its records: what most changes leave as it is.
fn frame(object: &Object<'_>) -> Option<(LifeId, Lease)> {
    match &*object.lives {
        [life] if object.barriers.is_none() => Some((life.id, life.lease)),
        _ => None,
    }
}

impl Sorted {
    fn of(mut all: Vec<Stored>) -> Self {
        all.sort_by(|a, b| a.key_bytes().cmp(b.key_bytes()));
        all.dedup_by(|later, earlier| {
            let same = later.key_bytes() == earlier.key_bytes();
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        let len = all.len();
        let mut pieces = Vec::with_capacity(len.div_ceil(PIECE_MAX));
        let mut all = all.into_iter().peekable();
        while all.peek().is_some() {
            pieces.push(exact(all.by_ref().take(PIECE_MAX).collect()));
        }
        Self { pieces, len }
    }

    /// Where the object of this name is, or would be.
    fn find(&self, key: &[u8]) -> Result<Place, Place> {
        let starts_before = |piece: &Vec<Stored>| piece.first().is_some_and(|first| first.key_bytes() <= key);
        let piece = self.pieces.partition_point(starts_before).saturating_sub(1);
        let places = self.pieces.get(piece).map_or(&[][..], Vec::as_slice);
        match places.binary_search_by(|stored| stored.key_bytes().cmp(key)) {
            Ok(at) => Ok(Place { piece, at }),
            Err(at) => Err(Place { piece, at }),
        }
    }

    fn insert(&mut self, Place { mut piece, mut at }: Place, stored: Stored) {
        if self.pieces.is_empty() {
            self.pieces.push(Vec::new());
        }
        let half = PIECE_MAX / 2;
        if self.pieces[piece].len() == PIECE_MAX {
            let tail = exact(self.pieces[piece].split_off(half));
            self.pieces[piece].shrink_to_fit();
            self.pieces.insert(piece + 1, tail);
            if at > half {
                (piece, at) = (piece + 1, at - half);
            }
        }
        let places = &mut self.pieces[piece];
        if places.len() == places.capacity() {
            // In steps of the allocator's sizes: four between a power of two and the next.
            places.reserve_exact(((places.len() + 1).next_power_of_two() / 8).max(1));
        }
        places.insert(at, stored);
        self.len += 1;
    }

    fn remove(&mut self, Place { piece, at }: Place) -> Stored {
        self.len -= 1;
        let removed = self.pieces[piece].remove(at);
        self.tidy(piece);
        removed
    }

    /// A piece that has become small goes into the next one, or gives back what it holds.
    fn tidy(&mut self, piece: usize) {
        let len = self.pieces[piece].len();
        let next = self.pieces.get(piece + 1).map(Vec::len);
        if len == 0 {
            self.pieces.remove(piece);
        } else if next.is_some_and(|next| len + next <= PIECE_MAX / 4) {
            let next = self.pieces.remove(piece + 1);
            self.pieces[piece].extend(next);
        } else if self.pieces[piece].capacity() > 2 * len {
            self.pieces[piece].shrink_to_fit();
        }
    }
}

/// Without room to grow.
fn exact(mut places: Vec<Stored>) -> Vec<Stored> {
    places.shrink_to_fit();
    places
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;

//! The entries of one life, packed: sorted runs of bytes instead of a tree of small allocations.
//!
//! A session of 300 bytes is one allocation here; a set of 100,000 members is some thousand runs of about
//! [`RUN_BYTES`], of which an edit rewrites one. The same bytes travel in state transfers and feed the digest.

mod rewrite;

use std::borrow::Cow;
use std::cmp::Ordering;

pub(crate) use self::rewrite::Rewrite;
use super::identity::{Dot, UNLEASED};
use super::path::Path;
use super::record::{
    ACCUMULATOR, Accumulator, Body, NewRecord, Origin, Record, decode, is_sound, split_before,
};
use super::time::Hlc;

/// A run is split when it grows beyond twice this.
const RUN_BYTES: usize = 2_048;

/// Up to here the records of an object are one run, which is stored with its name; beyond it they are stored by themselves.
pub(crate) const PACKED_BYTES_MAX: usize = 2 * RUN_BYTES;

/// Records one after the other: as they are stored, or as a change has made them.
type Run<'a> = Cow<'a, [u8]>;

/// The sorted records of one life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records<'a> {
    runs: Runs<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::box_collection, reason = "many runs are rare: their header must not make every life larger")]
enum Runs<'a> {
    One(Run<'a>),
    Many(Box<Vec<Run<'a>>>),
}

impl Default for Runs<'_> {
    fn default() -> Self {
        Self::One(Cow::Borrowed(&[]))
    }
}

impl<'a> Records<'a> {
    /// One run of records that is known to be right.
    pub(crate) fn packed(run: &'a [u8]) -> Self {
        Self { runs: Runs::One(Cow::Borrowed(run)) }
    }

    /// Cuts bytes that came from elsewhere into runs; `None` where they are no records.
    pub(crate) fn cut(bytes: &'a [u8]) -> Option<Self> {
        // Where records end cannot depend on the origin.
        let origin = Origin { life: UNLEASED, created: Hlc(0) };
        let mut rest = bytes;
        let mut split = Splitter::default();
        let one = bytes.len() <= PACKED_BYTES_MAX;
        while !rest.is_empty() {
            let (record, tail) = decode(origin, rest)?;
            if !one {
                split.push(record.bytes);
            }
            rest = tail;
        }
        if one {
            return Some(Self::packed(bytes));
        }
        let mut records = Self::default();
        records.set_runs(split.finish());
        Some(records)
    }

    /// The same, on its own.
    pub(crate) fn detached(self) -> Records<'static> {
        let detached = |run: Run<'a>| Cow::Owned(exact(run.into_owned()));
        let runs = match self.runs {
            Runs::One(run) => Runs::One(detached(run)),
            Runs::Many(runs) => Runs::Many(Box::new(runs.into_iter().map(detached).collect())),
        };
        Records { runs }
    }

    /// The records where they are others than those that were borrowed, of which there were so many bytes.
    pub(crate) fn changed(self, len: usize) -> Option<Vec<u8>> {
        match self.runs {
            // What is borrowed is either what was there, or nothing.
            Runs::One(Cow::Borrowed(run)) if run.len() == len => None,
            Runs::One(run) => Some(run.into_owned()),
            Runs::Many(runs) => Some(runs.concat()),
        }
    }

    /// Appends all records.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        self.runs().iter().for_each(|run| out.extend_from_slice(run));
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs().iter().all(|run| run.is_empty())
    }

    /// Bytes of all records.
    pub(crate) fn bytes(&self) -> usize {
        self.runs().iter().map(|run| run.len()).sum()
    }

    fn runs(&self) -> &[Run<'a>] {
        match &self.runs {
            Runs::One(run) => std::slice::from_ref(run),
            Runs::Many(runs) => runs,
        }
    }

    fn set_run(&mut self, run: Run<'a>) {
        self.runs = Runs::One(run);
    }

    fn set_runs(&mut self, mut runs: Vec<Run<'a>>) {
        runs.retain(|run| !run.is_empty());
        self.runs = match runs.len() {
            0 => Runs::default(),
            1 => Runs::One(runs.swap_remove(0)),
            _ => Runs::Many(Box::new(runs)),
        };
    }

    /// Every record in order.
    pub(crate) fn iter(&self, origin: Origin) -> impl Iterator<Item = Record<'_>> {
        self.runs().iter().flat_map(move |run| RunIter { origin, rest: run })
    }

    /// The records whose key starts with `prefix`: with an encoded path, what stands at and below it.
    pub(crate) fn range<'s>(&'s self, origin: Origin, prefix: &[u8]) -> impl Iterator<Item = Record<'s>> {
        let start = self.run_of(origin, |record| record.key.cmp(prefix));
        self.runs()[start..]
            .iter()
            .flat_map(move |run| RunIter { origin, rest: split_before(run, prefix).1 })
            .take_while(move |record| record.key.starts_with(prefix))
    }

    /// The accumulator of this name at this path.
    pub(crate) fn accumulator(&self, origin: Origin, path: &Path, name: Dot) -> Option<(Accumulator, Hlc)> {
        let mut key = path.as_bytes().to_vec();
        key.push(ACCUMULATOR);
        self.range(origin, &key).find(|record| record.dot == name).and_then(|record| match record.body {
            Body::Accumulator(accumulator) => Some((accumulator, record.hlc)),
            _ => None,
        })
    }

    /// The last run whose first record is not after what `compare` looks for.
    fn run_of(&self, origin: Origin, compare: impl Fn(&Record<'_>) -> Ordering) -> usize {
        if let Runs::One(_) = self.runs {
            return 0;
        }
        let after = self.runs().partition_point(|run| {
            decode(origin, run).is_some_and(|(first, _)| compare(&first) == Ordering::Less)
        });
        after.saturating_sub(1)
    }

    /// Takes away the records under `prefix` for which `gone` says so, after telling `removed`.
    pub(crate) fn remove_range(
        &mut self,
        origin: Origin,
        prefix: &[u8],
        mut gone: impl FnMut(&Record<'_>) -> bool,
        mut removed: impl FnMut(&Record<'_>),
    ) {
        let start = self.run_of(origin, |record| record.key.cmp(prefix));
        let mut replaced: Vec<(usize, Vec<u8>)> = Vec::new();
        'runs: for (index, run) in self.runs().iter().enumerate().skip(start) {
            let mut kept: Option<Vec<u8>> = None;
            let (below, rest) = split_before(run, prefix);
            let mut at = below.len();
            for record in (RunIter { origin, rest }) {
                if !record.key.starts_with(prefix) {
                    if let Some(mut kept) = kept.take() {
                        kept.extend_from_slice(&run[at..]);
                        replaced.push((index, kept));
                    }
                    break 'runs;
                }
                if gone(&record) {
                    removed(&record);
                    kept.get_or_insert_with(|| run[..at].to_vec());
                } else if let Some(kept) = &mut kept {
                    kept.extend_from_slice(record.bytes);
                }
                at += record.bytes.len();
            }
            if let Some(kept) = kept {
                replaced.push((index, kept));
            }
        }
        self.replace(replaced);
    }

    fn replace(&mut self, replaced: Vec<(usize, Vec<u8>)>) {
        if replaced.is_empty() {
            return;
        }
        match &mut self.runs {
            Runs::One(run) => {
                for (_, bytes) in replaced {
                    *run = Cow::Owned(bytes);
                }
            }
            Runs::Many(runs) => {
                let emptied = replaced.iter().any(|(_, bytes)| bytes.len() < RUN_BYTES / 2);
                for (index, bytes) in replaced {
                    runs[index] = Cow::Owned(exact(bytes));
                }
                if emptied {
                    let joined = join_small(std::mem::take(&mut **runs));
                    self.set_runs(joined);
                }
            }
        }
    }

    /// Writes records; one with the key and dot of a stored one takes its place.
    pub(crate) fn insert(
        &mut self,
        origin: Origin,
        mut new: Vec<NewRecord>,
        mut replaced: impl FnMut(&Record<'_>),
    ) {
        if new.is_empty() {
            return;
        }
        new.sort_by(|a, b| a.order().cmp(&b.order()));
        let mut runs = self.take_runs();
        let mut rest = new.as_slice();
        let mut index = runs.len();
        // From the back, so that a split moves no run that is still to be found.
        while let Some(last) = rest.last() {
            index = runs[..index]
                .partition_point(|run| {
                    decode(origin, run).is_none_or(|(first, _)| first.order() <= last.order())
                })
                .saturating_sub(1);
            let start = match decode(origin, &runs[index]) {
                Some((first, _)) if index > 0 => {
                    rest.partition_point(|record| record.order() < first.order())
                }
                _ => 0,
            };
            let mut parts = merge_run(origin, &runs[index], &rest[start..], &mut replaced);
            if parts.len() == 1 {
                runs[index] = parts.swap_remove(0);
            } else {
                runs.splice(index..=index, parts);
            }
            rest = &rest[..start];
        }
        self.set_runs(runs);
    }

    fn take_runs(&mut self) -> Vec<Run<'a>> {
        match std::mem::take(&mut self.runs) {
            Runs::One(run) => vec![run],
            Runs::Many(runs) => *runs,
        }
    }

    /// Builds from records in order.
    pub(crate) fn from_sorted<'r>(records: impl Iterator<Item = &'r [u8]>) -> Self {
        let mut split = Splitter::default();
        records.for_each(|record| split.push(record));
        let mut built = Self::default();
        built.set_runs(split.finish());
        built
    }

    /// Checks bytes that came from elsewhere: well formed, sorted, JSON where JSON must be. Shows each record that is right.
    pub(crate) fn examine<'s>(&'s self, origin: Origin, mut each: impl FnMut(&Record<'s>)) -> bool {
        let mut last: Option<Record<'s>> = None;
        for run in self.runs() {
            let mut rest: &'s [u8] = run;
            while !rest.is_empty() {
                let Some((record, tail)) = decode(origin, rest) else { return false };
                let sorted = last.as_ref().is_none_or(|last| last.order() < record.order());
                if !sorted || !is_sound(&record) {
                    return false;
                }
                each(&record);
                last = Some(record);
                rest = tail;
            }
        }
        true
    }
}

struct RunIter<'a> {
    origin: Origin,
    rest: &'a [u8],
}

impl<'a> Iterator for RunIter<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (record, rest) = decode(self.origin, self.rest)?;
        self.rest = rest;
        Some(record)
    }
}

fn merge_run(
    origin: Origin,
    run: &[u8],
    new: &[NewRecord],
    replaced: &mut impl FnMut(&Record<'_>),
) -> Vec<Run<'static>> {
    let bytes = run.len() + new.iter().map(|record| record.bytes.len()).sum::<usize>();
    let mut merged = Vec::with_capacity(bytes);
    let mut rest = run;
    for record in new {
        let (below, from) = split_before(rest, record.key());
        merged.extend_from_slice(below);
        rest = from;
        while let Some((old, after)) = decode(origin, rest).filter(|(old, _)| old.order() <= record.order()) {
            if old.order() == record.order() {
                replaced(&old);
            } else {
                merged.extend_from_slice(old.bytes);
            }
            rest = after;
        }
        merged.extend_from_slice(&record.bytes);
    }
    merged.extend_from_slice(rest);
    if merged.len() <= 2 * RUN_BYTES {
        return vec![Cow::Owned(exact(merged))];
    }
    let mut split = Splitter::default();
    RunIter { origin, rest: &merged }.for_each(|record| split.push(record.bytes));
    split.finish()
}

/// Cuts a stream of records into runs.
#[derive(Default)]
struct Splitter {
    current: Vec<u8>,
    done: Vec<Run<'static>>,
    boundary: usize,
}

impl Splitter {
    fn push(&mut self, record: &[u8]) {
        if self.current.len() + record.len() > 2 * RUN_BYTES && self.boundary > 0 {
            let tail = self.current.split_off(self.boundary);
            let full = std::mem::replace(&mut self.current, tail);
            self.done.push(Cow::Owned(exact(full)));
            self.boundary = 0;
        }
        self.current.extend_from_slice(record);
        if self.boundary == 0 && self.current.len() >= RUN_BYTES {
            self.boundary = self.current.len();
        }
    }

    fn finish(mut self) -> Vec<Run<'static>> {
        self.done.push(Cow::Owned(exact(self.current)));
        self.done
    }
}

/// Without room to grow.
fn exact(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.shrink_to_fit();
    bytes
}

/// Joins neighbours that have become small.
fn join_small(runs: Vec<Run<'_>>) -> Vec<Run<'_>> {
    let mut joined: Vec<Run<'_>> = Vec::with_capacity(runs.len());
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.len() + run.len() <= RUN_BYTES => {
                *last = Cow::Owned([&**last, &*run].concat());
            }
            _ => joined.push(run),
        }
    }
    joined
}

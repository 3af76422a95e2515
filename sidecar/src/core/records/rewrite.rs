//! An edit of records that are one run, as nearly all are: what goes and what comes is found first, then the run is
//! written once.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::{RUN_BYTES, Records, RunIter, Runs, Splitter};
use crate::core::record::{NewRecord, Origin, Record, decode, split_before};

pub(crate) struct Rewrite<'r, 'k> {
    origin: Origin,
    run: &'r [u8],
    /// The records that go.
    cuts: SmallVec<[Range<usize>; 4]>,
    /// Prefixes that were looked for, and where what they start begins: what is written mostly stands there.
    found: SmallVec<[(Cow<'k, [u8]>, usize); 4]>,
}

impl<'r, 'k> Rewrite<'r, 'k> {
    /// `None` where the records are more than one run.
    pub(crate) fn of(records: &'r Records<'_>, origin: Origin) -> Option<Self> {
        let Runs::One(run) = &records.runs else { return None };
        Some(Self { origin, run, cuts: SmallVec::new(), found: SmallVec::new() })
    }

    /// Takes away the records under `prefix` for which `gone` says so, after telling `removed`.
    pub(crate) fn cut(
        &mut self,
        prefix: Cow<'k, [u8]>,
        mut gone: impl FnMut(&Record<'_>) -> bool,
        mut removed: impl FnMut(&Record<'_>),
    ) {
        let (below, rest) = split_before(self.run, &prefix);
        let mut at = below.len();
        let start = at;
        let before = self.cuts.len();
        for record in (RunIter { origin: self.origin, rest }) {
            if !record.key.starts_with(&prefix) {
                break;
            }
            let place = at..at + record.bytes.len();
            at = place.end;
            // Scopes overlap: what has gone already goes once.
            if gone(&record) && !self.cuts[..before].contains(&place) {
                removed(&record);
                self.cuts.push(place);
            }
        }
        self.found.push((prefix, start));
    }

    /// Writes the records that stay and these; one with the key and dot of a stored one takes its place.
    pub(crate) fn write(
        mut self,
        new: &mut [NewRecord],
        replaced: impl FnMut(&Record<'_>),
    ) -> Records<'static> {
        new.sort_by(|a, b| a.order().cmp(&b.order()));
        let places = self.places(new, replaced);
        self.cuts.sort_unstable_by_key(|cut| cut.start);
        let gone: usize = self.cuts.iter().map(|cut| cut.len()).sum();
        let added: usize = new.iter().map(|record| record.bytes.len()).sum();
        let mut written = Vec::with_capacity(self.run.len() + added - gone);
        let (mut cuts, mut from) = (self.cuts.iter().peekable(), 0);
        let mut copy_up_to = |written: &mut Vec<u8>, to: usize| {
            while let Some(cut) = cuts.next_if(|cut| cut.start < to) {
                written.extend_from_slice(&self.run[from..cut.start]);
                from = cut.end;
            }
            written.extend_from_slice(&self.run[from..to]);
            from = to;
        };
        for (record, place) in new.iter().zip(places) {
            copy_up_to(&mut written, place);
            written.extend_from_slice(&record.bytes);
        }
        copy_up_to(&mut written, self.run.len());
        let mut records = Records::default();
        if written.len() <= 2 * RUN_BYTES {
            records.set_run(Cow::Owned(written));
        } else {
            let mut split = Splitter::default();
            RunIter { origin: self.origin, rest: &written }.for_each(|record| split.push(record.bytes));
            records.set_runs(split.finish());
        }
        records
    }

    /// Before which byte each new record stands.
    fn places(&mut self, new: &[NewRecord], mut replaced: impl FnMut(&Record<'_>)) -> SmallVec<[usize; 4]> {
        let mut at = 0;
        let mut places = SmallVec::new();
        for record in new {
            let found = self.found.iter().filter(|(prefix, _)| **prefix <= *record.key());
            at = found.map(|(_, start)| *start).fold(at, usize::max);
            at += split_before(&self.run[at..], record.key()).0.len();
            while let Some((old, _)) =
                decode(self.origin, &self.run[at..]).filter(|(old, _)| old.order() <= record.order())
            {
                let place = at..at + old.bytes.len();
                at = place.end;
                if old.order() == record.order() && !self.cuts.contains(&place) {
                    replaced(&old);
                    self.cuts.push(place);
                }
            }
            places.push(at);
        }
        places
    }
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;

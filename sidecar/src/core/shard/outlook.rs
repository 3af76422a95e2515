//! When something in a shard can be collected at the earliest: spares looks at shards in which nothing has ended.
//!
//! Every bound is early, never late: a change brings it forward, and only a look at everything puts it back. It speaks
//! of what is stored, not of what time it is, so a wall clock that is set or corrected changes nothing.

use super::Shard;
use crate::core::object::Object;
use crate::core::objects::Objects;
use crate::core::stored::Stored;
use crate::core::time::UnixMillis;

/// Bounds for everything that time can end in one shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlook {
    /// No life ends before this.
    first_end: UnixMillis,
    /// No life ends before this either, those aside that had ended when everything was looked at.
    next_end: UnixMillis,
    /// There may be barriers, which go for other reasons than time.
    barriers: bool,
}

impl Default for Outlook {
    fn default() -> Self {
        Self::NOTHING
    }
}

impl Outlook {
    /// Of an empty shard.
    pub(super) const NOTHING: Self =
        Self { first_end: UnixMillis::NEVER, next_end: UnixMillis::NEVER, barriers: false };

    /// An object is like this now.
    pub(super) fn note(&mut self, object: &Object<'_>) {
        for life in &object.lives {
            self.first_end = self.first_end.min(life.lease.ends());
            self.next_end = self.next_end.min(life.lease.ends());
        }
        self.barriers |= !object.barriers().is_empty();
    }

    /// Looks at everything.
    fn at(time: UnixMillis, objects: &Objects) -> Self {
        let mut outlook = Self::NOTHING;
        for object in objects.iter().map(Stored::object) {
            outlook.barriers |= !object.barriers().is_empty();
            for ends in object.lives.iter().map(|life| life.lease.ends()) {
                outlook.first_end = outlook.first_end.min(ends);
                if ends > time {
                    outlook.next_end = outlook.next_end.min(ends);
                }
            }
        }
        outlook
    }
}

impl Shard {
    /// Whether a life may have ended by then that had not when the shard was last looked at.
    pub(crate) fn may_have_expired(&self, time: UnixMillis) -> bool {
        self.outlook.next_end <= time
    }

    /// Whether there may be something that an operation can collect, where everyone's time is past this one.
    pub(crate) fn may_be_due(&self, everyone: Option<UnixMillis>) -> bool {
        self.outlook.barriers || everyone.is_some_and(|time| self.outlook.first_end < time)
    }

    /// Makes the bounds exact. What has ended by now has been seen to.
    pub(crate) fn look_ahead(&mut self, time: UnixMillis) {
        self.outlook = Outlook::at(time, &self.objects);
    }
}

#[cfg(test)]
#[path = "outlook_tests.rs"]
mod tests;

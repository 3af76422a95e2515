//! The lives of one object: nearly always one, which needs no memory of its own.

use std::ops::{Deref, DerefMut};

use super::object::Life;

#[derive(Clone, Debug)]
pub(crate) enum Lives<'a> {
    One([Life<'a>; 1]),
    Others(Vec<Life<'a>>),
}

impl Default for Lives<'_> {
    fn default() -> Self {
        Self::Others(Vec::new())
    }
}

impl<'a> Lives<'a> {
    pub(crate) fn push(&mut self, life: Life<'a>) {
        self.insert(self.len(), life);
    }

    pub(crate) fn insert(&mut self, at: usize, life: Life<'a>) {
        let mut lives = match std::mem::take(self) {
            Self::Others(lives) if lives.is_empty() => {
                *self = Self::One([life]);
                return;
            }
            Self::Others(lives) => lives,
            Self::One(one) => Vec::from(one),
        };
        lives.insert(at, life);
        *self = Self::Others(lives);
    }

    pub(crate) fn remove(&mut self, at: usize) -> Life<'a> {
        let mut lives = match std::mem::take(self) {
            Self::Others(lives) => lives,
            Self::One(one) => Vec::from(one),
        };
        let removed = lives.remove(at);
        *self = lives.into_iter().collect();
        removed
    }
}

impl<'a> FromIterator<Life<'a>> for Lives<'a> {
    fn from_iter<I: IntoIterator<Item = Life<'a>>>(iter: I) -> Self {
        let mut lives = Self::default();
        iter.into_iter().for_each(|life| lives.push(life));
        lives
    }
}

impl<'a> Deref for Lives<'a> {
    type Target = [Life<'a>];

    fn deref(&self) -> &[Life<'a>] {
        match self {
            Self::One(one) => one,
            Self::Others(lives) => lives,
        }
    }
}

impl DerefMut for Lives<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::One(one) => one,
            Self::Others(lives) => lives,
        }
    }
}

impl PartialEq for Lives<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Lives<'_> {}

impl<'s, 'a> IntoIterator for &'s Lives<'a> {
    type Item = &'s Life<'a>;
    type IntoIter = std::slice::Iter<'s, Life<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'s, 'a> IntoIterator for &'s mut Lives<'a> {
    type Item = &'s mut Life<'a>;
    type IntoIter = std::slice::IterMut<'s, Life<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

//! One number that stands for everything that happened, and, for those who want to read it, the story.

use xxhash_rust::xxh3::Xxh3;

use super::queue::Micros;

/// The trace of a run.
pub(super) struct Trace {
    hash: Xxh3,
    events: u64,
    story: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(tells: bool) -> Self {
        Self { hash: Xxh3::new(), events: 0, story: tells.then(Vec::new) }
    }

    /// Something happened.
    pub(super) fn note(&mut self, at: Micros, what: &str, numbers: [u64; 3]) {
        self.events += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&at.to_le_bytes());
        for (place, number) in bytes[8..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        self.hash.update(what.as_bytes());
        self.hash.update(&bytes);
    }

    /// Tells something, where somebody listens.
    pub(super) fn say(&mut self, at: Micros, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:12.6}  {}", at as f64 / 1e6, line()));
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.hash.digest()
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn take_story(&mut self) -> Vec<String> {
        self.story.take().unwrap_or_default()
    }
}

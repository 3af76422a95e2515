//! One person with a browser.

use std::collections::BTreeMap;

use sidetalk::core::identity::{Kind, ObjectId};

use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::system::{Receipt, WriteId};

/// Receipts that a cookie holds, at most.
const RECEIPTS_MAX: usize = 8;

/// The tokens that a client carries, and the writes they stand for.
#[derive(Clone, Debug, Default)]
pub struct Jar {
    writes: Vec<(Vec<WriteId>, Receipt)>,
    read: Option<Receipt>,
}

impl Jar {
    /// A write has been acknowledged.
    pub fn wrote(&mut self, writes: &[WriteId], receipt: Receipt) {
        if self.writes.len() == RECEIPTS_MAX {
            self.writes.remove(0);
        }
        self.writes.push((writes.to_vec(), receipt));
    }

    /// A read has been answered.
    pub fn read(&mut self, receipt: Receipt) {
        self.read = Some(receipt);
    }

    /// What to send along.
    #[must_use]
    pub fn receipts(&self) -> Vec<Receipt> {
        self.writes.iter().map(|(_, receipt)| receipt.clone()).chain(self.read.clone()).collect()
    }

    /// The writes that this stands for.
    #[must_use]
    pub fn writes(&self) -> Vec<WriteId> {
        self.writes.iter().flat_map(|(writes, _)| writes.iter().copied()).collect()
    }
}

/// One person.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) number: u32,
    pub(super) rng: Rng,
    /// The session in the cookie.
    pub(super) session: Option<ObjectId>,
    pub(super) logging_in: bool,
    sessions: u32,
    /// The client carries tokens.
    pub(super) tokens: bool,
    pub(super) jar: Jar,
    /// What this user has written into the session.
    pub(super) own: BTreeMap<Box<str>, WriteId>,
}

impl User {
    pub(super) fn new(scenario: &Scenario, number: u32) -> Self {
        let mut rng = Rng::fork(scenario.seed, "user", number.into());
        let tokens = rng.hits(scenario.traffic.tokens.0);
        Self {
            number,
            rng,
            session: None,
            logging_in: false,
            sessions: 0,
            tokens,
            jar: Jar::default(),
            own: BTreeMap::new(),
        }
    }

    /// An id that nobody has used before.
    pub(super) fn new_session(&mut self) -> ObjectId {
        self.sessions += 1;
        ObjectId::new(Kind::Session, &format!("u{}-{}", self.number, self.sessions))
    }

    /// The cookie is gone, and all that belonged to it.
    pub(super) fn forget_session(&mut self) {
        self.session = None;
        self.own.clear();
        self.jar = Jar::default();
    }

    pub(super) fn receipts(&self) -> Vec<Receipt> {
        if self.tokens { self.jar.receipts() } else { Vec::new() }
    }

    pub(super) fn carried(&self) -> Vec<WriteId> {
        if self.tokens { self.jar.writes() } else { Vec::new() }
    }
}

//! The secrets that all nodes of a cluster share: one that seals, several that open, changed while the node runs.
//!
//! A key that can only be changed by stopping every node is never changed. So a key file holds several: the first is
//! used, all are accepted, and the file is read again while the node runs. No key is used as it stands: each purpose has
//! one of its own, derived by BLAKE2b, so that nothing said under one can be taken for something said under another.
//!
//! The room owns keys and what is derived from them. It opens no socket, and shows a key to nobody.

mod file;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use blake2::Blake2bMac;
use blake2::digest::consts::{U24, U32};
use blake2::digest::{FixedOutput as _, Mac as _};
use parking_lot::RwLock;

pub(crate) use file::read_secret;
pub use file::{KeyFile, KeyFileError};

/// Keys that are accepted at one time, at most.
pub const KEYS_MAX: usize = 8;

const STREAM: &[u8; 16] = b"sidetalk stream1";
const GOSSIP: &[u8; 16] = b"sidetalk gossip2";
const NAME: &[u8; 16] = b"sidetalk key id1";
const SESSION_IDS: &[u8; 16] = b"sidetalk ids key";
const SESSION_IDS_MARK: &[u8; 16] = b"sidetalk ids tag";

/// 32 secret bytes. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; ClusterKey::BYTES]);

impl ClusterKey {
    /// Its length.
    pub const BYTES: usize = 32;

    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// A new key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; Self::BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The text that a key file holds.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64.encode(self.0)
    }

    /// The key in a text of 44 base64 or 64 hexadecimal digits.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = if text.len() == 2 * Self::BYTES { from_hex(text) } else { BASE64.decode(text).ok() };
        bytes?.try_into().ok().map(Self)
    }

    /// A name for it that may be shown: nobody finds the key by it.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let [a, b, c, d, ..] = self.derive(NAME);
        KeyId([a, b, c, d])
    }

    /// The key for hashing session ids that a key file without one of its own stands for.
    #[must_use]
    pub fn session_ids(&self) -> Self {
        Self(self.derive(SESSION_IDS))
    }

    fn derive(&self, purpose: &[u8; 16]) -> [u8; 32] {
        match Blake2bMac::<U32>::new_with_salt_and_personal(&self.0, &[], purpose) {
            Ok(mac) => mac.finalize_fixed().into(),
            Err(_) => unreachable!("32 bytes of key and 16 of purpose are within the bounds of BLAKE2b"),
        }
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    text.as_bytes().chunks_exact(2).map(pair).collect()
}

/// Names a key without telling it. Travels in the clear, so that a receiver need not try each of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One cluster key, as its users need it.
#[derive(Clone)]
pub(crate) struct Derived {
    pub(crate) id: KeyId,
    /// For the handshake of streams.
    pub(crate) stream: [u8; 32],
    /// For datagrams.
    pub(crate) gossip: [u8; 32],
}

/// The keys in force, shared by all who use them.
#[derive(Clone)]
pub struct KeyRing(Arc<RwLock<Arc<[Derived]>>>);

impl KeyRing {
    /// A ring of these keys: the first is used, all are accepted.
    #[must_use]
    pub fn new(keys: &[ClusterKey]) -> Self {
        Self(Arc::new(RwLock::new(derived(keys))))
    }

    /// From now on it is these keys.
    pub fn replace(&self, keys: &[ClusterKey]) {
        *self.0.write() = derived(keys);
    }

    /// The keys, the one in use first.
    pub(crate) fn keys(&self) -> Arc<[Derived]> {
        Arc::clone(&self.0.read())
    }

    /// Whether a key is accepted.
    #[must_use]
    pub fn accepts(&self, id: KeyId) -> bool {
        self.0.read().iter().any(|key| key.id == id)
    }

    /// The names of the keys, the one in use first.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.0.read().iter().map(|key| key.id).collect()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.ids()).finish()
    }
}

fn derived(keys: &[ClusterKey]) -> Arc<[Derived]> {
    let derived =
        |key: &ClusterKey| Derived { id: key.id(), stream: key.derive(STREAM), gossip: key.derive(GOSSIP) };
    keys.iter().map(derived).collect()
}

/// Turns session ids into what is stored in their place: who reads memory or disk gets no cookie that is good.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionIdHash(ClusterKey);

impl SessionIdHash {
    /// Hashes under this key.
    #[must_use]
    pub fn new(key: ClusterKey) -> Self {
        Self(key)
    }

    /// What is stored for an id: 32 characters that need no encoding in a URL.
    #[must_use]
    pub fn hash(&self, id: &str) -> String {
        let Ok(mut mac) = Blake2bMac::<U24>::new_from_slice(&self.0.0) else {
            unreachable!("32 bytes of key are within the bounds of BLAKE2b")
        };
        mac.update(id.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize_fixed())
    }

    /// Stands for the key: nodes that hash differently must find that out before they share anything.
    #[must_use]
    pub fn mark(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.0.derive(SESSION_IDS_MARK);
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Debug for SessionIdHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionIdHash(..)")
    }
}

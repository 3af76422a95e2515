//! Datagrams, sealed with the cluster's key or marked as plain.
//!
//! The first byte says which, and the version: a node with a key and one without do not talk, and both can say so.
//! A sealed one goes on with the name of its key, a nonce of 24 random bytes, long enough to need no counter, and
//! XChaCha20-Poly1305. Whether it was heard before is not asked here but in `replay`.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};

use super::counts::Reason;
use crate::keyring::{KeyId, KeyRing};

const PLAIN: u8 = 0x52;
const SEALED: u8 = 0x53;
const NAME_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;

pub(super) enum Seal {
    Plain,
    Keyed(KeyRing),
}

impl Seal {
    /// `None` when there are no keys.
    pub(super) fn new(keys: Option<KeyRing>) -> Self {
        keys.map_or(Self::Plain, Self::Keyed)
    }

    /// The datagram that holds `plain`.
    pub(super) fn close(&self, plain: &[u8]) -> Result<Vec<u8>, Reason> {
        match self {
            Self::Plain => Ok([&[PLAIN], plain].concat()),
            Self::Keyed(keys) => {
                let keys = keys.keys();
                let key = keys.first().ok_or(Reason::Unsent)?;
                let mut nonce = [0; NONCE_BYTES];
                getrandom::fill(&mut nonce).map_err(|_| Reason::Unsent)?;
                let head = head(key.id);
                let payload = Payload { msg: plain, aad: &head };
                let cipher = XChaCha20Poly1305::new(&Key::from(key.gossip));
                let sealed = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| Reason::Oversized)?;
                Ok([&head, nonce.as_slice(), &sealed].concat())
            }
        }
    }

    /// What the datagram holds.
    pub(super) fn open(&self, datagram: &[u8]) -> Result<Vec<u8>, Reason> {
        let (&mark, rest) = datagram.split_first().ok_or(Reason::Undecodable)?;
        match (self, mark) {
            (Self::Plain, PLAIN) => Ok(rest.to_vec()),
            (Self::Keyed(keys), SEALED) => {
                let (name, rest) = rest.split_first_chunk::<NAME_BYTES>().ok_or(Reason::Undecodable)?;
                let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Reason::Undecodable)?;
                let keys = keys.keys();
                let key = keys.iter().find(|key| key.id.0 == *name).ok_or(Reason::Undecryptable)?;
                let payload = Payload { msg: sealed, aad: &head(key.id) };
                let cipher = XChaCha20Poly1305::new(&Key::from(key.gossip));
                cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| Reason::Undecryptable)
            }
            (Self::Plain, SEALED) | (Self::Keyed(_), PLAIN) => Err(Reason::KeyMismatch),
            _ => Err(Reason::Undecodable),
        }
    }
}

fn head(KeyId([a, b, c, d]): KeyId) -> [u8; 1 + NAME_BYTES] {
    [SEALED, a, b, c, d]
}

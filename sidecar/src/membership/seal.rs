//! Datagrams, sealed with the cluster's key or marked as plain.
//!
//! The first byte says which, and the version: a node with a key and one without do not talk, and both can say so.
//! A sealed one goes on with a nonce of 24 random bytes, long enough to need no counter, and XChaCha20-Poly1305. A
//! repeated datagram is believed again, which is harmless: heartbeats only grow, and a process leaves once.

use blake2::Blake2bMac;
use blake2::digest::{FixedOutput as _, consts::U32};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};

use super::counts::Reason;

const PLAIN: u8 = 0x50;
const SEALED: u8 = 0x51;
const NONCE_BYTES: usize = 24;

/// Separates this use of the cluster's key from every other.
const PURPOSE: &[u8; 16] = b"sidetalk gossip1";

pub(super) enum Seal {
    Plain,
    Keyed(Box<XChaCha20Poly1305>),
}

impl Seal {
    /// `None` when there is no key.
    pub(super) fn new(cluster_key: Option<&[u8; 32]>) -> Self {
        let Some(cluster_key) = cluster_key else { return Self::Plain };
        // Fails for longer keys and purposes only.
        match Blake2bMac::<U32>::new_with_salt_and_personal(cluster_key, &[], PURPOSE) {
            Ok(mac) => {
                let key: [u8; 32] = mac.finalize_fixed().into();
                Self::Keyed(Box::new(XChaCha20Poly1305::new(&Key::from(key))))
            }
            Err(_) => unreachable!("32 bytes of key and 16 of purpose are within the bounds of BLAKE2b"),
        }
    }

    /// The datagram that holds `plain`.
    pub(super) fn close(&self, plain: &[u8]) -> Result<Vec<u8>, Reason> {
        match self {
            Self::Plain => Ok([&[PLAIN], plain].concat()),
            Self::Keyed(cipher) => {
                let mut nonce = [0; NONCE_BYTES];
                getrandom::fill(&mut nonce).map_err(|_| Reason::Unsent)?;
                let payload = Payload { msg: plain, aad: &[SEALED] };
                let sealed = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| Reason::Oversized)?;
                Ok([&[SEALED], nonce.as_slice(), &sealed].concat())
            }
        }
    }

    /// What the datagram holds.
    pub(super) fn open(&self, datagram: &[u8]) -> Result<Vec<u8>, Reason> {
        let (&mark, rest) = datagram.split_first().ok_or(Reason::Undecodable)?;
        match (self, mark) {
            (Self::Plain, PLAIN) => Ok(rest.to_vec()),
            (Self::Keyed(cipher), SEALED) => {
                let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Reason::Undecodable)?;
                let payload = Payload { msg: sealed, aad: &[SEALED] };
                cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| Reason::Undecryptable)
            }
            (Self::Plain, SEALED) | (Self::Keyed(_), PLAIN) => Err(Reason::KeyMismatch),
            _ => Err(Reason::Undecodable),
        }
    }
}

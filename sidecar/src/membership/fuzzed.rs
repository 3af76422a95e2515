//! What a fuzzer sends to the gossip socket.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::frame::{Frame, cluster_mark};
use super::seal::Seal;
use crate::keyring::{ClusterKey, KeyRing};

/// A datagram. A node without a key opens it and finds a frame or a reason; one with a key opens none that it has not sealed.
///
/// # Panics
/// A rule does not hold.
pub(crate) fn datagram(data: &[u8]) {
    let cluster = cluster_mark("test");
    let keyed = Seal::new(Some(KeyRing::new(&[ClusterKey::new([7; 32])])));
    assert!(keyed.open(data).is_err(), "somebody has made a seal");
    let Ok(plain) = Seal::new(None).open(data) else { return };
    let sealed = keyed.close(&plain).expect("it can be sealed");
    assert!(keyed.open(&sealed).expect("its own seal") == plain);
    if let Ok(frame) = Frame::decode(&plain, cluster) {
        let again = frame.encode().expect("it came in a datagram");
        assert!(Frame::decode(&again, cluster).expect("its own bytes") == frame);
    }
}

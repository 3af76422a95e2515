//! Other bytes out of known ones, the same ones each time.

use crate::core::check::rng::Rng;

/// Bytes that have broken parsers before.
const EDGES: [u8; 12] = [0, 1, 0x0f, 0x10, 0x1e, 0x1f, b'"', b'\\', 0x7f, 0x80, 0xfe, 0xff];

/// A few changes: bits, bytes, pieces that go, come twice, or come from the other one.
#[must_use]
pub fn mutated(bytes: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..rng.pick(&[1, 1, 1, 2, 2, 4, 8]) {
        let (at, len) = (rng.index(out.len() + 1), rng.index(out.len().min(32)) + 1);
        let end = (at + len).min(out.len());
        match rng.below(7) {
            0 if at < out.len() => out[at] ^= 1 << rng.below(8),
            1 if at < out.len() => out[at] = rng.pick(&EDGES),
            2 if at < out.len() => out[at] = rng.below(256) as u8,
            3 => drop(out.drain(at..end)),
            4 => {
                let piece = out[at..end].to_vec();
                out.splice(at..at, piece);
            }
            5 => out.insert(at, rng.pick(&EDGES)),
            _ => {
                let from = rng.index(other.len() + 1);
                let piece = other[from..(from + len).min(other.len())].to_vec();
                out.splice(at..at, piece);
            }
        }
    }
    out
}

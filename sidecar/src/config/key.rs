//! The key that all nodes of a cluster share.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

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

    /// The secret.
    #[must_use]
    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The text that a key file holds.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64.encode(self.0)
    }

    /// The key in a text of 44 base64 or 64 hexadecimal digits.
    ///
    /// # Errors
    /// Says what is allowed, and nothing of what was there.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bytes = if text.len() == 2 * Self::BYTES { from_hex(text) } else { BASE64.decode(text).ok() };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| {
            "must hold 32 bytes as base64 or hex; `sidetalk keygen FILE` writes one".to_owned()
        })
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// The file cannot be read, everyone can read it, or it holds no key.
    pub fn read(path: &Path) -> Result<Self, String> {
        // Longer than any key: the rest would only be read to be refused.
        const FILE_BYTES_MAX: u64 = 1024;
        let file = std::fs::File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
        let metadata = file.metadata().map_err(|error| format!("cannot be examined: {error}"))?;
        if metadata.permissions().mode() & 0o007 != 0 {
            return Err(format!("every user of this machine can get at it; `chmod 600 {}`", path.display()));
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| format!("cannot be read: {error}"))?;
        Self::from_text(&text)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    text.as_bytes().chunks_exact(2).map(pair).collect()
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

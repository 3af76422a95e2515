//! What can be wrong with bytes.

use std::fmt;

/// Why bytes are no message. Always the sender's fault, or the network's; the stream cannot go on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A version of the format that this program does not know.
    UnknownVersion {
        /// The version.
        version: u8,
    },
    /// The stream ends within a frame or a message.
    Truncated,
    /// A frame or a message is longer than allowed.
    Oversized {
        /// Its length, as far as it is known.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The checksum does not fit the frame, or is missing where there must be one.
    Checksum,
    /// A compressed body does not decompress to what it says.
    Compression,
    /// The frame's header makes no sense.
    Header,
    /// The body is no message.
    Malformed,
    /// A message, but one that no honest node sends.
    Forbidden(&'static str),
}

impl WireError {
    /// Every kind, for whoever counts them.
    pub const KINDS: [&'static str; 8] = [
        "unknown_version",
        "truncated",
        "oversized",
        "checksum",
        "compression",
        "header",
        "malformed",
        "forbidden",
    ];

    /// Its place in [`KINDS`](Self::KINDS).
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Self::UnknownVersion { .. } => 0,
            Self::Truncated => 1,
            Self::Oversized { .. } => 2,
            Self::Checksum => 3,
            Self::Compression => 4,
            Self::Header => 5,
            Self::Malformed => 6,
            Self::Forbidden(_) => 7,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion { version } => write!(f, "unknown version {version} of the format"),
            Self::Truncated => f.write_str("the stream ends within a message"),
            Self::Oversized { bytes, max } => write!(f, "{bytes} bytes where at most {max} are allowed"),
            Self::Checksum => f.write_str("a checksum is wrong or missing"),
            Self::Compression => f.write_str("a compressed body does not decompress to what it says"),
            Self::Header => f.write_str("a frame's header makes no sense"),
            Self::Malformed => f.write_str("a body is no message"),
            Self::Forbidden(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for WireError {}

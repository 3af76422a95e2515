//! The file that keys are kept in.
//!
//! One key a line; the first is used, all are accepted. `#` begins a comment. A line `session-ids KEY` holds the key that
//! session ids are hashed with, which must outlive the cluster keys: with another one every session would be lost.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{ClusterKey, KEYS_MAX, SessionIdHash};

/// Longer than any file of keys or tokens, comments and all. One that is longer is refused: half a secret must not count.
const FILE_BYTES_MAX: u64 = 64 << 10;

const SESSION_IDS_WORD: &str = "session-ids";

/// The comment behind a key that another one has taken the place of.
const REPLACED: &str = "replaced";

/// What a key file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The keys, the one in use first. Never empty.
    pub keys: Vec<ClusterKey>,
    /// Those of them that another one has taken the place of.
    pub replaced: Vec<ClusterKey>,
    /// The key for session ids, where the file has one of its own.
    pub session_ids: Option<ClusterKey>,
}

/// Why a key file is of no use. Says nothing of what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFileError(String);

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyFileError {}

/// Reads a secret file that nobody but its owner can get at.
///
/// # Errors
/// It cannot be read, or others can.
pub(crate) fn read_secret(path: &Path) -> Result<String, KeyFileError> {
    let cannot = |what: &str, error: std::io::Error| KeyFileError(format!("cannot be {what}: {error}"));
    let file = std::fs::File::open(path).map_err(|error| cannot("opened", error))?;
    let metadata = file.metadata().map_err(|error| cannot("examined", error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError(format!(
            "others than its owner can get at it (mode {mode:03o}); `chmod 600 {}`",
            path.display()
        )));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| cannot("read", error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(KeyFileError(format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

impl KeyFile {
    /// Reads a key file.
    ///
    /// # Errors
    /// It cannot be read, others than its owner can read it, or a line of it is no key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        Self::parse(&read_secret(path)?)
    }

    /// The keys in a text.
    ///
    /// # Errors
    /// A line is no key, or there is none, or there are too many.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let (mut keys, mut replaced, mut session_ids) = (Vec::new(), Vec::new(), None);
        for (number, line) in (1..).zip(text.lines()) {
            let (line, comment) = line.split_once('#').unwrap_or((line, ""));
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let ids = line.strip_prefix(SESSION_IDS_WORD);
            let Some(key) = ClusterKey::from_text(ids.unwrap_or(line)) else {
                return Err(KeyFileError(format!(
                    "line {number} must hold 32 bytes as base64 or hex; `sidetalk keygen FILE` writes such a file"
                )));
            };
            match ids {
                Some(_) => session_ids = Some(key),
                None if !keys.contains(&key) => {
                    if comment.trim() == REPLACED {
                        replaced.push(key.clone());
                    }
                    keys.push(key);
                }
                None => {}
            }
        }
        match keys.len() {
            0 => Err(KeyFileError(
                "must hold 32 bytes as base64 or hex, a key a line; `sidetalk keygen FILE` writes such a file".into(),
            )),
            1..=KEYS_MAX => Ok(Self { keys, replaced, session_ids }),
            many => Err(KeyFileError(format!("holds {many} keys; at most {KEYS_MAX} are accepted at a time"))),
        }
    }

    /// What session ids are hashed with.
    #[must_use]
    pub fn session_id_hash(&self) -> SessionIdHash {
        let derived = || self.keys[0].session_ids();
        SessionIdHash::new(self.session_ids.clone().unwrap_or_else(derived))
    }

    /// The same with the key for session ids written down, so that it outlives the cluster key it comes from.
    #[must_use]
    pub fn with_session_ids(mut self) -> Self {
        self.session_ids.get_or_insert_with(|| self.keys[0].session_ids());
        self
    }

    /// Uses the newest key. Gives whether there is one that is not used yet, nor was: a step taken twice must not bring
    /// an old key back.
    pub fn promote(&mut self) -> bool {
        let newest = self.keys.iter().rposition(|key| !self.replaced.contains(key));
        let Some(newest) = newest.filter(|newest| *newest > 0) else { return false };
        let key = self.keys.remove(newest);
        self.replaced.clone_from(&self.keys);
        self.keys.insert(0, key);
        true
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for key in &self.keys {
            text += &key.to_text();
            if self.replaced.contains(key) {
                text += &format!(" # {REPLACED}");
            }
            text += "\n";
        }
        if let Some(key) = &self.session_ids {
            text += &format!("{SESSION_IDS_WORD} {}\n", key.to_text());
        }
        text
    }
}

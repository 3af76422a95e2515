//! Files of keys and tokens, gone when the test ends.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::binary::{Output, sidetalk};

/// A file that only its owner can read.
#[derive(Debug)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    fn at(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sidetalk-test-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    /// A new key, as `sidetalk keygen` writes it.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn key(name: &str) -> Self {
        let file = Self::at(name);
        let written = sidetalk(&["keygen", file.path()]);
        assert_eq!(written.code, 0, "{written:?}");
        file
    }

    /// A file with this text.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn holding(name: &str, text: &str) -> Self {
        let file = Self::at(name);
        std::fs::write(&file.0, "").expect("the directory for temporary files can be written to");
        std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        std::fs::write(&file.0, text).expect("it is ours");
        file
    }

    /// Where it is.
    ///
    /// # Panics
    /// The path is no text.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.to_str().expect("the directory for temporary files has a name")
    }

    /// Takes a step of a rotation.
    #[must_use]
    pub fn step(&self, flag: &str) -> Output {
        sidetalk(&["keygen", flag, self.path()])
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

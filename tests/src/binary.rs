//! The program under test.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where cargo has put it: beside this program, or beside the directory of this test program.
///
/// # Panics
/// It has not been built.
#[must_use]
pub fn sidetalk_binary() -> PathBuf {
    let this = std::env::current_exe().expect("a program knows its own path");
    let directory = this.parent().expect("a program stands in a directory");
    let profile = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
    let binary = profile.expect("tests stand in target/PROFILE/deps").join("sidetalk");
    assert!(
        binary.is_file(),
        "{} is missing: run `cargo build -p sidetalk`, or the tests with `tests/run`",
        binary.display()
    );
    binary
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Runs `sidetalk` with these arguments to its end. Blocks: for commands that are short.
///
/// # Panics
/// It cannot be started, or was ended by a signal.
#[must_use]
pub fn sidetalk(arguments: &[&str]) -> Output {
    let mut command = Command::new(sidetalk_binary());
    let output = command
        .args(arguments)
        .env_remove("SIDETALK_API")
        .env_remove("SIDETALK_API_TOKEN_FILE")
        .stdin(Stdio::null())
        .output();
    let output = output.expect("the binary can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("its output is text");
    Output {
        code: output.status.code().expect("it ended by itself"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

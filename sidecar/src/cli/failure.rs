//! Why a command did not do what it was asked, and the exit code that says so.

use std::io::Write as _;
use std::process::ExitCode;

use sidetalk_client::Error;

/// Why a command ended without success.
#[derive(Debug)]
pub(super) enum Failure {
    /// Exit code 1: the node said no, or what was started failed.
    Failed(String),
    /// Exit code 2: what was asked cannot be done as it was asked.
    Usage(String),
    /// Exit code 3: no node answers.
    Unreachable(String),
    /// Nobody reads the output any more: no failure at all.
    OutputClosed,
}

impl Failure {
    /// Tells the user, and names the exit code.
    pub(super) fn report(self) -> ExitCode {
        let (message, code) = match self {
            Self::Failed(message) => (message, 1),
            Self::Usage(message) => (message, 2),
            Self::Unreachable(message) => (message, 3),
            Self::OutputClosed => return ExitCode::SUCCESS,
        };
        // Where standard error is closed too, the code is all that is left to tell.
        let _ = writeln!(std::io::stderr(), "sidetalk: {message}");
        ExitCode::from(code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let told = error.to_string();
        match error {
            Error::Invalid(_) => Self::Usage(told),
            Error::Unreachable { .. } => Self::Unreachable(format!(
                "{told}\nStart one with `sidetalk run` or `sidetalk dev`, or name another with --api"
            )),
            Error::Broken(_) | Error::TimedOut(_) => Self::Unreachable(told),
            Error::Refused(problem) if problem.behind => {
                Self::Failed(format!("{told} (not every node could be asked)"))
            }
            Error::Refused(_) | Error::NotModified | Error::Unintelligible { .. } => Self::Failed(told),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Failed(error.to_string()),
        }
    }
}

//! Counting instructions with callgrind: the same number whatever else the machine does, and only what runs in user space.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to end and to write down what was counted.
const END_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// What one process runs, while it is asked to count.
pub(crate) struct Callgrind {
    file: PathBuf,
}

impl Callgrind {
    /// Whether it is installed.
    pub(crate) fn is_installed() -> bool {
        ["valgrind", "callgrind_control"].iter().all(|program| {
            let command =
                Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            command.is_ok_and(|status| status.success())
        })
    }

    /// Counts into a file.
    pub(crate) fn new(file: &Path) -> Self {
        let _ = std::fs::remove_file(file);
        // Who counts may run in another directory.
        Self { file: std::path::absolute(file).expect("a path") }
    }

    /// Runs what its further arguments say. It counts nothing yet.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("valgrind");
        let file = format!("--callgrind-out-file={}", self.file.display());
        command.args(["--quiet", "--tool=callgrind", "--instr-atstart=no", &file]);
        command
    }

    /// Counts from here on, or no longer.
    pub(crate) fn count(pid: u32, on: bool) {
        let (pid, on) = (pid.to_string(), if on { "on" } else { "off" });
        let status = Command::new("callgrind_control")
            .args(["-i", on, &pid])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "callgrind takes no orders");
    }

    /// Ends the process. Gives the instructions that were counted, and keeps where they were spent beside them, as text.
    pub(crate) async fn end(&self, pid: u32) -> f64 {
        // A process that it has started may have written one: Redis does for a replica.
        let _ = std::fs::remove_file(&self.file);
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process has a number");
        kill_process(process, Signal::TERM).expect("it runs");
        let counted = sidetalk_tests::within(END_MAX, "what was counted is written", || async {
            let text = std::fs::read_to_string(&self.file).map_err(|error| error.to_string())?;
            total(&text).ok_or_else(|| "not all of it".to_owned())
        })
        .await;
        let output = Command::new("callgrind_annotate").arg("--auto=no").arg(&self.file).output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let _ = std::fs::write(self.file.with_extension("txt"), text);
        counted
    }
}

/// The instructions of a whole file; `None` while its end is missing.
fn total(text: &str) -> Option<f64> {
    text.lines().rev().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_its_end_says_nothing() {
        assert_eq!(total("events: Ir\nfn=(1)\n1 17\n"), None);
        assert_eq!(total("events: Ir\nsummary: 3\nfn=(1)\n1 17\n\ntotals: 12345\n"), Some(12_345.0));
    }
}

//! What a process that was forgotten drops, saved to a file before it goes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::core::node::Dropped;
use crate::core::time::UnixMillis;

/// Saves what is dropped to `unshared-<node>-<time>.json` in a directory, one operation a line between the brackets.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn save(dir: &Path, node: &str, now: UnixMillis, dropped: &Dropped) -> std::io::Result<PathBuf> {
    let path = dir.join(format!("unshared-{node}-{}.json", now.0));
    // Never over an earlier one, and through no link that somebody else has put there.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    // Sessions are in it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    let mut out = std::io::BufWriter::new(file);
    writeln!(out, "[")?;
    for (at, op) in dropped.ops.iter().enumerate() {
        let line = serde_json::json!({
            "object": op.object.to_string(),
            "author": op.dot.actor.to_string(),
            "sequence": op.dot.counter,
            "time": op.hlc.wall().0,
            "action": serde_json::to_value(&op.action).unwrap_or_else(|_| format!("{:?}", op.action).into()),
        });
        let comma = if at + 1 < dropped.ops.len() { "," } else { "" };
        writeln!(out, "{line}{comma}")?;
    }
    writeln!(out, "]")?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::identity::{Dot, Kind, ObjectId, ReplicaId};
    use crate::core::node::DroppedWhy;
    use crate::core::op::{Action, Op};
    use crate::core::time::Hlc;

    #[test]
    fn what_is_dropped_can_be_read_again() {
        let object = ObjectId::new(Kind::Session, "a\"b");
        let action = Action::Barrier { until: Hlc(5) };
        let op = Op { dot: Dot::new(ReplicaId(7), 3), deps: vec![], hlc: Hlc(1 << 16), object, action };
        let ops = vec![Arc::new(op.clone()), Arc::new(op)];
        let dropped = Dropped { why: DroppedWhy::Forgotten, told_by: "b".into(), count: 2, ops };
        let dir = std::env::temp_dir().join(format!("sidetalk-rescue-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = save(&dir, "a", UnixMillis(9), &dropped).unwrap();
        assert!(save(&dir, "a", UnixMillis(9), &dropped).is_err(), "an earlier file is not written over");
        let read: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(read.as_array().unwrap().len(), 2);
        assert_eq!(read[1]["object"], "sessions/a\"b");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

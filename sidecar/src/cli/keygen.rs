//! `sidetalk keygen`: a new key for a cluster, and the three steps by which one takes the place of another.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::args::KeygenArgs;
use super::failure::Failure;
use super::show;
use crate::keyring::{ClusterKey, KEYS_MAX, KeyFile};

/// Writes a new random key to a file that only its owner can read, or to standard output; or changes such a file.
pub(super) fn keygen(args: &KeygenArgs) -> Result<(), Failure> {
    let Some(path) = args.file.as_deref() else { return show::text(&(new_key()?.to_text() + "\n")) };
    match (args.add, args.promote, args.prune, args.ids) {
        (true, ..) => change(path, add),
        (_, true, ..) => change(path, promote),
        (_, _, true, _) => change(path, prune),
        (.., true) => list(path),
        _ => create(path, &(new_key()?.to_text() + "\n"), "is left as it is; --add puts another key into it"),
    }
}

fn new_key() -> Result<ClusterKey, Failure> {
    ClusterKey::random()
        .map_err(|error| Failure::Failed(format!("the system gives no random bytes: {error}")))
}

/// A key that is in use must not be lost by a slip. `then` is what becomes of a file that is there already.
fn create(path: &Path, text: &str, then: &str) -> Result<(), Failure> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
        |error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::Failed(format!("{} exists already and {then}", path.display()))
            }
            _ => Failure::Failed(format!("{}: {error}", path.display())),
        },
    )?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// Accepted from now on, and not used yet.
fn add(mut file: KeyFile) -> Result<KeyFile, Failure> {
    if file.keys.len() >= KEYS_MAX {
        return Err(Failure::Failed(format!(
            "{KEYS_MAX} keys are accepted at a time, at most: --prune first"
        )));
    }
    file = file.with_session_ids();
    file.keys.push(new_key()?);
    Ok(file)
}

/// The newest is used from now on, and the others are still accepted.
fn promote(mut file: KeyFile) -> Result<KeyFile, Failure> {
    file = file.with_session_ids();
    if file.promote() {
        return Ok(file);
    }
    Err(Failure::Failed("no key waits to be used: the newest is in use already; --add makes another".into()))
}

/// Only the one in use is accepted from now on.
fn prune(mut file: KeyFile) -> Result<KeyFile, Failure> {
    file = file.with_session_ids();
    file.keys.truncate(1);
    file.replaced.clear();
    Ok(file)
}

fn change(path: &Path, change: impl Fn(KeyFile) -> Result<KeyFile, Failure>) -> Result<(), Failure> {
    let changed = change(read(path)?)?;
    // Whoever reads meanwhile finds the old file or the new one, whole.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    create(beside, &changed.to_text(), "may be another keygen's that is at work; if none is, remove it")?;
    let placed = keep_owner(path, beside).and_then(|()| std::fs::rename(beside, path));
    if let Err(error) = placed {
        let _ = std::fs::remove_file(beside);
        return Err(Failure::Failed(format!("{} is left as it was: {error}", path.display())));
    }
    show_ids(&changed)
}

/// Whoever could read the old file must be able to read the new one: root takes the steps, and the node is somebody else.
fn keep_owner(of: &Path, to: &Path) -> std::io::Result<()> {
    let (old, new) = (std::fs::metadata(of)?, std::fs::metadata(to)?);
    if (old.uid(), old.gid()) == (new.uid(), new.gid()) {
        return Ok(());
    }
    std::os::unix::fs::chown(to, Some(old.uid()), Some(old.gid()))
}

fn list(path: &Path) -> Result<(), Failure> {
    show_ids(&read(path)?)
}

fn read(path: &Path) -> Result<KeyFile, Failure> {
    KeyFile::read(path).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

fn show_ids(file: &KeyFile) -> Result<(), Failure> {
    let mut text = String::new();
    for (at, key) in file.keys.iter().enumerate() {
        text += &format!("{} {}\n", key.id(), if at == 0 { "used" } else { "accepted" });
    }
    show::text(&text)
}

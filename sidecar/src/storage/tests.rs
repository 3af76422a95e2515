use std::path::{Path, PathBuf};

use redb::ReadableDatabase as _;

use super::load::{Image, Loading};
use super::record::{decode, encode, seal};
use super::store::{META, guarded};
use super::{Fsync, Store, StoreError, backup, restore};
use crate::core::command::{Change, PathOp, Write};
use crate::core::identity::{Dot, Kind, ObjectId, Replica, ReplicaId, ShardId};
use crate::core::node::{Input, Node, NodeConfig, Restored};
use crate::core::path::Path as Place;
use crate::core::time::{MonoMicros, Now, UnixMillis};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sidetalk-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn now(n: u64) -> Now {
    Now { mono: MonoMicros(n), wall: UnixMillis(1_700_000_000_000 + n) }
}

fn config(id: u64) -> NodeConfig {
    NodeConfig {
        bootstrap_millis: 0,
        log_bytes_max: 1 << 20,
        ..NodeConfig::new(Replica { node: "n".into(), started: now(id).wall, id: ReplicaId(id) }, "c")
    }
}

fn open(path: &Path) -> Result<(Store, Option<Node>), StoreError> {
    let (store, found) = Store::open(path, "c", "n", Fsync::Never)?;
    Ok((store, found.restored.map(|restored| Node::restore(config(9), now(9), restored))))
}

fn count(node: &mut Node, by: i64) {
    let change = Change::Ops(vec![PathOp::Increment { path: Place::ROOT, by }]);
    node.write(now(5), &Write::new(ObjectId::new(Kind::Counter, "c"), change)).unwrap();
}

fn save(store: &mut Store, node: &mut Node, images: &[ShardId]) {
    let unsaved = node.take_unsaved(images);
    store.commit(unsaved, &node.saved_node(), true).unwrap();
}

fn digests(node: &Node) -> Vec<u128> {
    ShardId::all().map(|shard| node.shard(shard).digest().content_sum).collect()
}

#[test]
fn what_was_saved_comes_back_from_images_and_operations() {
    let directory = Directory::new("back");
    let (mut store, nothing) = open(&directory.0).unwrap();
    assert!(nothing.is_none());
    let mut node = Node::new(config(1), now(1));
    node.keep_on_disk();
    for n in 1..=40 {
        count(&mut node, n);
        let images: Vec<ShardId> =
            if n == 20 { vec![ObjectId::new(Kind::Counter, "c").shard()] } else { Vec::new() };
        save(&mut store, &mut node, &images);
    }
    let want = digests(&node);
    drop(store);
    let (mut store, back) = open(&directory.0).unwrap();
    let mut back = back.unwrap();
    assert_eq!(digests(&back), want);
    // It writes under its own id, and what it writes comes back as well.
    count(&mut back, 1);
    save(&mut store, &mut back, &[]);
    drop(store);
    assert_eq!(digests(&open(&directory.0).unwrap().1.unwrap()), digests(&back));
}

#[test]
fn a_copy_taken_or_torn_at_any_point_is_a_state_that_was_or_is_refused() {
    let directory = Directory::new("torn");
    let (mut store, _) = open(&directory.0).unwrap();
    let mut node = Node::new(config(1), now(1));
    node.keep_on_disk();
    let mut states = vec![digests(&node)];
    let mut copies = Vec::new();
    for n in 1..=12 {
        count(&mut node, n);
        save(
            &mut store,
            &mut node,
            &if n % 5 == 0 { vec![ObjectId::new(Kind::Counter, "c").shard()] } else { Vec::new() },
        );
        states.push(digests(&node));
        copies.push(std::fs::read(directory.0.join("sidetalk.redb")).unwrap());
    }
    let (mut came_back, mut refused) = (0, 0);
    let mut random = 88_172_645_463_325_252_u64;
    for (index, copy) in copies.iter().enumerate() {
        for damage in 0..12 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut bytes = copy.clone();
            let at = usize::try_from(random).unwrap() % bytes.len();
            match damage % 4 {
                0 => {}
                1 => bytes.truncate(at),
                2 => bytes[at] ^= 0x40,
                // A later page is there, an earlier one is not.
                _ => {
                    let page = at / 4096 * 4096;
                    let end = (page + 4096).min(bytes.len());
                    bytes[page..end].fill(0);
                }
            }
            let torn = Directory::new("torn-copy");
            std::fs::create_dir_all(&torn.0).unwrap();
            std::fs::write(torn.0.join("sidetalk.redb"), &bytes).unwrap();
            match open(&torn.0) {
                Ok((_, Some(back))) => {
                    came_back += 1;
                    assert!(states.contains(&digests(&back)), "commit {index}, damage {damage} at {at}");
                    assert!(damage % 4 != 0 || digests(&back) == states[index + 1]);
                }
                Ok((_, None)) => assert!(damage % 4 != 0),
                Err(_) => {
                    refused += 1;
                    assert!(damage % 4 != 0, "a whole copy opens");
                }
            }
        }
    }
    assert!(came_back > 36 && refused > 5, "{came_back} came back, {refused} refused");
}

#[test]
fn a_directory_is_for_one_process_one_node_and_one_format() {
    let directory = Directory::new("one");
    let (mut store, _) = open(&directory.0).unwrap();
    assert!(matches!(open(&directory.0), Err(StoreError::InUse)));
    let mut node = Node::new(config(1), now(1));
    node.keep_on_disk();
    count(&mut node, 1);
    save(&mut store, &mut node, &[]);
    drop(store);
    assert!(matches!(Store::open(&directory.0, "c", "m", Fsync::Never), Err(StoreError::Foreign(_))));
    assert!(matches!(Store::open(&directory.0, "d", "n", Fsync::Never), Err(StoreError::Foreign(_))));
}

#[test]
fn a_record_that_makes_up_its_size_or_goes_on_behind_its_end_is_damaged() {
    let whole = encode(&"a name that is written down".repeat(20)).unwrap();
    assert!(decode::<String>(&whole).is_ok());
    let packed = &whole[8..];
    for size in [0, 1, 539, 541, u32::MAX] {
        let lie = [&size.to_le_bytes(), &packed[4..]].concat();
        let found = decode::<String>(&seal(&lie));
        assert!(
            matches!(&found, Err(StoreError::Damaged(why)) if why.contains("decompress")),
            "{size}: {found:?}"
        );
    }
    let longer = postcard::to_stdvec(&("a name", "and more")).unwrap();
    let longer = decode::<String>(&seal(&lz4_flex::block::compress_prepend_size(&longer)));
    assert!(matches!(&longer, Err(StoreError::Damaged(why)) if why.contains("parse")), "{longer:?}");
}

#[test]
fn a_sequence_that_nobody_reaches_is_damage() {
    let mut node = Node::new(config(1), now(1));
    node.keep_on_disk();
    count(&mut node, 1);
    let shard = ObjectId::new(Kind::Counter, "c").shard();
    let mut state = node.shard(shard).state();
    assert!(
        Loading::new().images(&[(shard, encode(&Image { row: 1, state: state.clone() }).unwrap())]).is_ok()
    );
    state.clock.raise(Dot::new(ReplicaId(1), u64::MAX));
    let image = encode(&Image { row: 1, state }).unwrap();
    let refused = Loading::new().images(&[(shard, image)]);
    assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
}

/// A directory with something in it, and a backup of it.
fn backed_up(directory: &Directory) -> PathBuf {
    let (mut store, _) = open(&directory.0).unwrap();
    let mut node = Node::new(config(1), now(1));
    node.keep_on_disk();
    count(&mut node, 1);
    save(&mut store, &mut node, &[ObjectId::new(Kind::Counter, "c").shard()]);
    drop(store);
    let file = directory.0.join("backup");
    assert!(backup(&directory.0, &file).unwrap() > 0);
    file
}

#[test]
fn what_makes_the_library_panic_is_damage() {
    let found = guarded(|| -> Result<(), StoreError> { panic!("page {}", 7) });
    assert!(matches!(&found, Err(StoreError::Damaged(why)) if why == "page 7"), "{found:?}");
    assert!(guarded(|| Ok(1)).is_ok());
}

#[test]
fn a_backup_that_is_damaged_is_refused_and_leaves_nothing_that_a_node_would_start_with() {
    let (directory, into) = (Directory::new("rot"), Directory::new("rot-into"));
    let file = backed_up(&directory);
    let whole = std::fs::read(&file).unwrap();
    let left = || {
        let names = std::fs::read_dir(&into.0).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name != "lock").collect::<Vec<_>>()
    };
    let mut refused = 0;
    // Each page says first of what sort it is.
    for page in 1..whole.len() / 4096 {
        let mut bytes = whole.clone();
        bytes[page * 4096] ^= 88;
        std::fs::write(&file, &bytes).unwrap();
        match restore(&file, &into.0) {
            Ok(_) => std::fs::remove_file(into.0.join("sidetalk.redb")).unwrap(),
            Err(_) => {
                refused += 1;
                assert!(left().is_empty(), "page {page}: {:?}", left());
            }
        }
    }
    assert!(refused > 1, "{refused}");
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert!(restore(&file, &into.0).is_err() && left().is_empty());
    std::fs::write(&file, &whole).unwrap();
    // What one that was killed has left is in nobody's way.
    std::fs::write(into.0.join("restore.partial"), "half").unwrap();
    assert_eq!(restore(&file, &into.0).unwrap().node, "n");
    assert_eq!(left(), ["sidetalk.redb"]);
    let missing = restore(&into.0.join("nowhere"), &into.0.join("new")).unwrap_err().to_string();
    assert!(missing.contains("nowhere") && !into.0.join("new").exists(), "{missing}");
}

#[test]
fn only_the_owner_can_read_what_is_stored() {
    use std::os::unix::fs::PermissionsExt as _;
    let (directory, into) = (Directory::new("mode"), Directory::new("mode-into"));
    let file = backed_up(&directory);
    // Left by a backup that was killed.
    std::fs::write(directory.0.join("second.partial"), "half").unwrap();
    let second = directory.0.join("second");
    backup(&directory.0, &second).unwrap();
    restore(&file, &into.0).unwrap();
    let name = Path::new("sidetalk.redb");
    for path in [file, second, directory.0.join(name), into.0.join(name)] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

fn found(path: &Path) -> Restored {
    Store::open(path, "c", "n", Fsync::Never).unwrap().1.restored.unwrap()
}

fn bearers(restored: &Restored) -> Vec<u64> {
    restored.node.bearers.iter().map(|bearer| bearer.id.0).collect()
}

#[test]
fn whoever_starts_with_a_directory_is_noted_there_and_a_backup_knows_of_it() {
    let directory = Directory::new("bearers");
    let file = backed_up(&directory);
    assert_eq!(bearers(&found(&directory.0)), [1]);
    let (mut store, node) = open(&directory.0).unwrap();
    store.begin(&node.unwrap().saved_node()).unwrap();
    drop(store);
    let restored = found(&directory.0);
    assert_eq!((bearers(&restored), restored.is_current, restored.is_awaited), (vec![1, 9], true, true));
    // From before it, and the process had not left.
    let place = Directory::new("bearers-back");
    restore(&file, &place.0).unwrap();
    let restored = found(&place.0);
    assert_eq!((bearers(&restored), restored.is_current, restored.is_awaited), (vec![1], false, true));
}

#[test]
fn a_directory_that_was_left_in_order_says_so_and_so_does_its_backup() {
    let (directory, place) = (Directory::new("left"), Directory::new("left-back"));
    let (mut store, _) = open(&directory.0).unwrap();
    let mut node = Node::new(config(1), now(1));
    node.keep_on_disk();
    count(&mut node, 1);
    store.commit(node.take_unsaved(&[]), &node.saved_node(), false).unwrap();
    drop(store);
    let file = directory.0.join("backup");
    backup(&directory.0, &file).unwrap();
    restore(&file, &place.0).unwrap();
    for path in [&directory.0, &place.0] {
        let restored = found(path);
        assert_eq!((restored.is_current, restored.is_awaited), (false, false));
    }
}

/// Releases before this one wrote no descent.
#[test]
fn a_directory_without_a_descent_takes_it_from_its_roster() {
    let directory = Directory::new("undescended");
    let _backup = backed_up(&directory);
    let (store, _) = open(&directory.0).unwrap();
    let write = store.shared().unwrap().begin_write().unwrap();
    assert!(write.open_table(META).unwrap().remove("descent").unwrap().is_some());
    write.commit().unwrap();
    drop(store);
    let restored = found(&directory.0);
    assert_eq!((bearers(&restored), restored.is_awaited), (vec![1], true));
}

/// An older release has gone on with the directory in between: it writes a head, and leaves the descent as it was.
#[test]
fn a_descent_that_an_older_release_has_left_behind_does_not_count() {
    let directory = Directory::new("old-descent");
    let _backup = backed_up(&directory);
    let (mut store, node) = open(&directory.0).unwrap();
    let descent = |store: &Store| {
        let read = store.shared().unwrap().begin_read().unwrap();
        read.open_table(META).unwrap().get("descent").unwrap().unwrap().value().to_vec()
    };
    let old = descent(&store);
    let mut node = node.unwrap();
    node.handle(now(1_000), Input::Tick);
    store.commit(Vec::new(), &node.saved_node(), true).unwrap();
    assert_ne!(descent(&store), old);
    let write = store.shared().unwrap().begin_write().unwrap();
    write.open_table(META).unwrap().insert("descent", old.as_slice()).unwrap();
    write.commit().unwrap();
    drop(store);
    let restored = found(&directory.0);
    assert_eq!((bearers(&restored), restored.is_awaited), (vec![1, 9], true));
}

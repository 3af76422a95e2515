use std::os::unix::fs::OpenOptionsExt as _;

use super::*;

fn key(byte: u8) -> ClusterKey {
    ClusterKey::new([byte; 32])
}

#[test]
fn every_purpose_has_a_key_of_its_own() {
    let ring = KeyRing::new(&[key(1)]);
    let of_one = &ring.keys()[0];
    let all = [of_one.stream, of_one.gossip, key(1).session_ids().0, [1; 32]];
    for (at, one) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other != one));
    }
    assert_ne!(key(1).id(), key(2).id());
    assert!(!format!("{ring:?}").contains("1, 1, 1"));
}

#[test]
fn a_ring_changes_for_all_who_hold_it() {
    let ring = KeyRing::new(&[key(1)]);
    let same = ring.clone();
    ring.replace(&[key(2), key(1)]);
    assert_eq!(same.ids(), [key(2).id(), key(1).id()]);
    ring.replace(&[key(2)]);
    assert!(same.accepts(key(2).id()) && !same.accepts(key(1).id()));
}

#[test]
fn a_file_holds_several_keys_comments_and_one_for_session_ids() {
    let text = format!(
        "# new\n{}\n\n{} # old\nsession-ids {}\n",
        key(2).to_text(),
        "01".repeat(32),
        key(3).to_text()
    );
    let file = KeyFile::parse(&text).unwrap();
    assert_eq!(file, KeyFile { keys: vec![key(2), key(1)], replaced: vec![], session_ids: Some(key(3)) });
    assert_eq!(KeyFile::parse(&file.to_text()).unwrap(), file);
    for bad in ["", "# nothing\n", "c2hvcnQ=", "session-ids x", &"zz".repeat(32)] {
        let told = KeyFile::parse(bad).unwrap_err().to_string();
        assert!(told.contains("must hold 32 bytes"), "{told}");
    }
    let crowd: String = (0..9).map(|byte| key(byte).to_text() + "\n").collect();
    assert!(KeyFile::parse(&crowd).unwrap_err().to_string().contains("9 keys"));
}

#[test]
fn what_session_ids_are_hashed_with_outlives_the_key_it_comes_from() {
    let file = |keys: &[ClusterKey]| KeyFile { keys: keys.to_vec(), replaced: vec![], session_ids: None };
    let before = file(&[key(1)]);
    let kept = before.clone().with_session_ids();
    let after = KeyFile { keys: vec![key(2)], ..kept };
    let hash = before.session_id_hash();
    assert_eq!(after.session_id_hash().hash("s"), hash.hash("s"));
    assert_eq!(after.session_id_hash().mark(), hash.mark());
    assert_ne!(file(&[key(2)]).session_id_hash().mark(), hash.mark());
    assert_eq!(hash.hash("s").len(), 32);
    assert!(hash.hash("s") != hash.hash("t") && !hash.hash("secret").contains("secret"));
}

#[test]
fn a_secret_file_is_read_whole_or_refused() {
    let path = std::env::temp_dir().join(format!("sidetalk-keyring-{}", std::process::id()));
    let write = |text: &str| {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    let comment =
        |bytes: usize| format!("{}\n#{}\n{}\n", key(1).to_text(), "x".repeat(bytes), key(2).to_text());
    write(&comment(8_000));
    assert_eq!(KeyFile::read(&path).unwrap().keys, [key(1), key(2)], "the key behind a long comment counts");
    write(&comment(80_000));
    assert!(KeyFile::read(&path).unwrap_err().to_string().contains("longer than"));
    // As many tokens as there may be, as long as they may be.
    let tokens: Vec<String> = (0..8).map(|n| n.to_string().repeat(512)).collect();
    write(&tokens.join("\n"));
    assert_eq!(read_secret(&path).unwrap().lines().last(), Some(&*tokens[7]));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_promotion_that_is_repeated_brings_no_old_key_back() {
    let again = |file: &KeyFile| KeyFile::parse(&file.to_text()).unwrap();
    let mut file = KeyFile { keys: vec![key(1)], replaced: vec![], session_ids: None };
    assert!(!file.promote(), "there is nothing to promote");
    file.keys.extend([key(2), key(3)]);
    assert!(file.promote());
    file = again(&file);
    assert_eq!(file.keys, [key(3), key(1), key(2)]);
    assert!(!file.promote() && file.keys[0] == key(3), "neither the old one nor an older one");
    file.keys.push(key(4));
    file = again(&file);
    assert!(file.promote() && file.keys[0] == key(4));
    assert_eq!(again(&file), file);
}

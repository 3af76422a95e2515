//! Every seed that ever failed, kept with what it found: it must never fail again.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::path::Path;

use sidetalk_simulations::explore::attempt;
use sidetalk_simulations::scenario::Scenario;

#[test]
fn what_once_failed_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with('#'), "{}: it must say what it found", path.display());
            let scenario = Scenario::parse(&text).unwrap();
            let (_, failure) = attempt(&scenario);
            assert_eq!(failure, None, "{}", path.display());
            replayed += 1;
        }
    }
    assert!(replayed > 0);
}

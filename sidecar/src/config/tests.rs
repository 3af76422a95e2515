use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use clap::Parser;

use super::layers;
use super::*;
use crate::keyring::ClusterKey;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: RunFlags,
}

fn load_with(line: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let words = ["run"].into_iter().chain(line.split_whitespace());
    let flags = Line::try_parse_from(words).unwrap().flags;
    let look_up =
        |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    layers::read(&flags, &look_up).and_then(|(settings, mistakes)| resolve::resolve(settings, mistakes))
}

fn load(line: &str) -> Result<Config, Mistakes> {
    load_with(&format!("--node-id n1 {line}"), &[])
}

/// The one mistake of a line.
fn mistake(line: &str) -> String {
    let mistakes = load(line).unwrap_err().0;
    assert_eq!(mistakes.len(), 1, "{line}: {mistakes:?}");
    mistakes[0].to_string()
}

struct Scratch(PathBuf);

impl Scratch {
    fn file(name: &str, text: &str, mode: u32) -> Self {
        let path = std::env::temp_dir().join(format!("sidetalk-config-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn defaults_listen_on_loopback_only() {
    let config = load("").unwrap();
    assert_eq!(config.api.to_string(), "127.0.0.1:7411");
    assert_eq!(config.gossip.to_string(), "127.0.0.1:7412");
    assert_eq!((config.cluster.as_str(), config.chaos, config.join.len()), ("sidetalk", false, 0));
    assert_eq!((config.bootstrap_millis, config.drain_millis), (5_000, 10_000));
    assert!(config.threads >= 1);
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let file = Scratch::file(
        "layers.toml",
        "cluster = 'file'\napi = '127.0.0.1:1'\ndrain_millis = 7\njoin = ['a:1', 'b:2']\nchaos = true\n",
        0o644,
    );
    let environment =
        [("SIDETALK_CLUSTER", "environment"), ("SIDETALK_API", "http://localhost:2"), ("SIDETALK_LOG", "")];
    let line = format!("--config {} --node-id n1 --cluster flag", file.path());
    let config = load_with(&line, &environment).unwrap();
    assert_eq!(config.cluster, "flag");
    assert_eq!(config.api.to_string(), "127.0.0.1:2");
    assert_eq!((config.drain_millis, config.chaos), (7, true));
    assert_eq!(config.join.iter().map(HostPort::to_string).collect::<Vec<_>>(), ["a:1", "b:2"]);
    let config = load_with(&line, &[("SIDETALK_JOIN", "c:3, [::1]:4")]).unwrap();
    assert_eq!(config.join.iter().map(HostPort::to_string).collect::<Vec<_>>(), ["c:3", "[::1]:4"]);
}

#[test]
fn all_mistakes_are_told_at_once_and_each_says_where_and_what() {
    let file = Scratch::file("bad.toml", "nodeid = 'x'\nlog_format = 'xml'\ngossip = ['a']\n", 0o644);
    let line = format!("--config {} --node-id a/b --bootstrap-millis soon", file.path());
    let told = load_with(&line, &[("SIDETALK_API", "7411")]).unwrap_err().to_string();
    for part in [
        "6 mistakes",
        "bad.toml: nodeid: is no setting; allowed are node_id, cluster",
        "bad.toml: gossip: must be one text",
        "bad.toml: log_format: \"xml\" must be text or json",
        "SIDETALK_API: \"7411\" must be IP:PORT, such as 127.0.0.1:7411, or unix:PATH",
        "--node-id: \"a/b\" must be 1 to 64 letters",
        "--bootstrap-millis: \"soon\" must be a number from 0 to 3600000",
    ] {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named() {
    assert!(mistake("--config /nowhere/sidetalk.toml").starts_with("/nowhere/sidetalk.toml: cannot be read"));
    let file = Scratch::file("no.toml", "api = ", 0o644);
    assert!(mistake(&format!("--config {}", file.path())).contains("no TOML"));
}

#[test]
fn the_api_leaves_loopback_only_with_a_token() {
    assert!(mistake("--api 0.0.0.0:7411").contains("add --api-token-file"));
    let token = Scratch::file("api.token", "not-a-secret-but-long\n", 0o600);
    let line = format!("--api 0.0.0.0:7411 --api-host Web.internal --api-token-file {}", token.path());
    assert!(load(&line).unwrap().api_tokens.is_some());
    assert!(load("--api [::1]:7411").is_ok());
    for (name, text, mode) in
        [("open", "not-a-secret-but-long", 0o640), ("short", "short", 0o600), ("no", "\n", 0o600)]
    {
        let bad = Scratch::file(name, text, mode);
        assert!(!mistake(&format!("--api-token-file {}", bad.path())).contains("not-a-secret"), "{name}");
    }
}

#[test]
fn the_api_may_be_a_socket_file() {
    let config = load("--api unix:/run/sidetalk.sock").unwrap();
    assert_eq!(config.api, ApiAddress::Unix("/run/sidetalk.sock".into()));
    assert_eq!(config.api.to_string(), "unix:/run/sidetalk.sock");
    assert!(mistake("--api unix:").contains("or unix:PATH"));
    assert!(mistake(&format!("--api unix:/{}", "x".repeat(100))).contains("or unix:PATH"));
}

#[test]
fn gossip_leaves_loopback_only_with_a_key_or_in_the_open() {
    assert!(mistake("--gossip 10.0.0.1:7412").contains("--cluster-key-file"));
    assert!(load("--gossip 10.0.0.1:7412 --insecure-plaintext").is_ok());
    assert!(mistake("--gossip 0.0.0.0:7412 --insecure-plaintext").contains("--advertise"));
    let key = Scratch::file("gossip.key", &ClusterKey::new([7; 32]).to_text(), 0o600);
    let line = format!("--gossip 0.0.0.0:7412 --advertise 10.0.0.1:7412 --cluster-key-file {}", key.path());
    assert_eq!(load(&line).unwrap().cluster_keys.unwrap().keys, [ClusterKey::new([7; 32])]);
    assert!(mistake(&format!("{line} --insecure-plaintext")).contains("contradicts"));
}

#[test]
fn a_key_file_is_refused_when_others_can_read_it_and_never_shown() {
    let hex = "00ff".repeat(16);
    let open = Scratch::file("open.key", &hex, 0o644);
    assert!(mistake(&format!("--cluster-key-file {}", open.path())).contains("chmod 600"));
    let group = Scratch::file("group.key", &hex, 0o640);
    assert!(mistake(&format!("--cluster-key-file {}", group.path())).contains("chmod 600"));
    let closed = Scratch::file("closed.key", &format!("{hex}\n"), 0o400);
    let config = load(&format!("--cluster-key-file {}", closed.path())).unwrap();
    let key = ClusterKey::from_text(&hex).unwrap();
    assert_eq!(config.cluster_keys.as_ref().unwrap().keys, [key]);
    assert!(!format!("{config:?}").contains("255"));
    for text in ["", "c2hvcnQ=", &"zz".repeat(32), &"A".repeat(2000)] {
        let bad = Scratch::file("bad.key", text, 0o600);
        let told = mistake(&format!("--cluster-key-file {}", bad.path()));
        assert!(told.contains("must hold 32 bytes"), "{told}");
    }
}

#[test]
fn skew_is_rehearsed_only_with_chaos() {
    assert!(mistake("--clock-offset-millis -5000").contains("takes --chaos"));
    assert_eq!(load("--chaos --clock-offset-millis -5000").unwrap().clock_offset_millis, -5000);
    assert!(mistake("--chaos --clock-offset-millis x").contains("milliseconds"));
}

#[test]
fn a_large_cluster_is_rehearsed_only_with_chaos() {
    assert!(mistake("--full-mesh-max 3").contains("takes --chaos"));
    assert_eq!(load("--chaos --full-mesh-max 3").unwrap().full_mesh_max, 3);
    assert_eq!(load("").unwrap().full_mesh_max, 32);
    assert!(mistake("--chaos --full-mesh-max 1").contains("from 2"));
}

#[test]
fn a_misspelt_log_level_is_no_filter() {
    for good in ["info", "INFO", "warn,sidetalk::net=debug", "off"] {
        assert_eq!(load(&format!("--log {good}")).unwrap().log.filter, good);
    }
    for bad in ["inof", "sidetalk=loud", "info,,"] {
        assert!(mistake(&format!("--log {bad}")).contains("must be off, error"), "{bad}");
    }
}

#[test]
fn addresses_that_cannot_work_are_refused() {
    for bad in ["10.0.0.1", "10.0.0.1:0", "host:70000", "a b:1", "::1:5", "[::1]"] {
        let flags = RunFlags { node_id: Some("n".into()), join: vec![bad.into()], ..RunFlags::default() };
        let (settings, _) = layers::read(&flags, &|_| None).unwrap();
        assert!(resolve::resolve(settings, Vec::new()).is_err(), "{bad}");
    }
    assert!(mistake("--advertise 0.0.0.0:1").contains("neither of them 0"));
    assert!(mistake("--log-bytes-max 5").contains("from 4096 up"));
}

#[test]
fn sizes_have_units_and_the_log_takes_its_share_of_the_memory() {
    let config = load("--max-memory 512MiB").unwrap();
    assert_eq!((config.memory_bytes_max, config.log_bytes_max), (Some(512 << 20), 64 << 20));
    assert_eq!(load("--max-memory 16777216").unwrap().log_bytes_max, 2 << 20);
    assert_eq!(load("--max-memory 2GiB --log-bytes-max 8KiB").unwrap().log_bytes_max, 8 << 10);
    for bad in ["512MB", "lots", "1KiB", "-1", "99999999999GiB"] {
        assert!(mistake(&format!("--max-memory={bad}")).contains("512MiB"), "{bad}");
    }
}

#[test]
fn session_ids_are_hashed_only_with_a_key() {
    assert!(mistake("--hash-session-ids").contains("--cluster-key-file"));
}

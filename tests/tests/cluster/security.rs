//! Closed by default.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::json;
use sidetalk_tests::{Cluster, Node, Options, SecretFile, eventually, sidetalk};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::names::becomes;
use crate::outcome;

#[test]
fn a_new_key_is_readable_by_its_owner_only_and_never_overwritten() {
    let key = SecretFile::key("keygen");
    assert_eq!(std::fs::metadata(key.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(key.path()).unwrap();
    let again = sidetalk(&["keygen", key.path()]);
    assert_eq!((again.code, again.err.contains("exists already")), (1, true), "{again:?}");
    assert_eq!(std::fs::read(key.path()).unwrap(), before);
    assert_ne!(sidetalk(&["keygen"]).out, sidetalk(&["keygen"]).out);
}

#[test]
fn the_steps_of_a_rotation_keep_the_files_owner_and_bring_no_old_key_back() {
    let key = SecretFile::key("steps");
    // Only root may give a file away.
    let given = std::os::unix::fs::chown(key.path(), Some(12_345), Some(12_345)).is_ok();
    let old = key.step("--ids").out;
    assert_eq!(key.step("--promote").code, 1, "there is nothing to promote");
    assert_eq!((key.step("--add").code, key.step("--promote").code), (0, 0));
    let again = key.step("--promote");
    assert!(again.code == 1 && again.err.contains("in use already"), "{again:?}");
    let left = key.step("--prune");
    assert!(left.code == 0 && left.out.lines().count() == 1 && left.out != old, "{left:?}");
    let metadata = std::fs::metadata(key.path()).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert!(!given || metadata.uid() == 12_345, "root's steps must not take the file from the node");
    let beside = format!("{}.new", key.path());
    std::fs::write(&beside, "").unwrap();
    let said = key.step("--add");
    std::fs::remove_file(&beside).unwrap();
    assert!(said.code == 1 && said.err.contains(".new exists already and may be another"), "{said:?}");
}

#[test]
fn a_node_that_others_could_reach_does_not_start_unless_told_to() {
    for (arguments, told) in [
        (&["run", "--gossip", "0.0.0.0:0", "--advertise", "127.0.0.1:1"][..], "--insecure-plaintext"),
        (&["run", "--api", "0.0.0.0:0"], "--api-token-file"),
        (&["run", "--config", "/nowhere.toml"], "cannot be read"),
    ] {
        let output = sidetalk(arguments);
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.err.contains(told) && output.out.is_empty(), "{output:?}");
    }
}

#[tokio::test]
async fn with_a_key_the_cluster_works_and_without_it_nobody_gets_in() {
    let key = SecretFile::key("cluster");
    let wrong = SecretFile::key("wrong");
    let cluster = Cluster::start_with(2, Options::new(&format!("--cluster-key-file {}", key.path()))).await;
    let join = ["--join", cluster[0].gossip()].map(str::to_owned).to_vec();
    let mut strangers = Vec::new();
    for (name, more) in
        [("keyless", vec![]), ("wrong", vec!["--cluster-key-file".to_owned(), wrong.path().to_owned()])]
    {
        strangers.push(Node::start(name, &[join.clone(), more].concat()).await);
    }
    cluster.client(0).document("d").put(&json!({"secret": 1})).await.unwrap();
    cluster.agree("documents/d", &json!({"secret": 1})).await;
    for stranger in &strangers {
        // It serves nobody: there is a cluster, and its users are in that.
        becomes(stranger, "refused").await;
        assert_eq!(outcome(&stranger.client().session("d")).await, Err(503));
        let error = stranger.client().document("intruder").put(&json!({})).await.unwrap_err();
        assert_eq!(error.problem().map(|problem| &*problem.code), Some("not_ready"), "{error}");
    }
    for client in cluster.clients() {
        assert!(client.document("intruder").get().await.unwrap_err().is_unknown());
        eventually("the strangers are no members that are up", || async {
            let members = client.cluster().await.unwrap().value.members;
            let up: BTreeSet<_> =
                members.iter().filter(|m| m.state == "up").map(|m| m.node.as_str()).collect();
            if up == BTreeSet::from(["n0", "n1"]) { Ok(()) } else { Err(format!("{up:?}")) }
        })
        .await;
    }
}

/// Whatever arrives at the gossip port is counted and dropped; nothing else is disturbed.
#[tokio::test]
async fn rubbish_at_the_gossip_port_disturbs_nobody() {
    let key = SecretFile::key("rubbish");
    for arguments in [String::new(), format!("--cluster-key-file {}", key.path())] {
        let cluster = Cluster::start_with(2, Options::new(&arguments)).await;
        let gossip: std::net::SocketAddr = cluster[0].gossip().parse().unwrap();
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut idle = Vec::new();
        for length in [0, 1, 2, 7, 64, 1_400, 60_000] {
            // Neither all zeros nor text: a fixed sequence that looks random.
            let rubbish: Vec<_> =
                (0..length).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            socket.send_to(&rubbish, gossip).await.unwrap();
            for announced in [None, Some(u32::MAX), Some(length)] {
                let mut stream = TcpStream::connect(gossip).await.unwrap();
                if let Some(announced) = announced {
                    // As a length, in either byte order: nothing may be set aside for it.
                    let _ = stream.write_all(&announced.to_be_bytes()).await;
                    let _ = stream.write_all(&announced.to_le_bytes()).await;
                }
                let _ = stream.write_all(&rubbish).await;
                idle.push(stream);
            }
        }
        cluster.client(0).document("d").put(&json!({"after": "rubbish"})).await.unwrap();
        cluster.agree("documents/d", &json!({"after": "rubbish"})).await;
        cluster.all_up().await;
    }
}

#[tokio::test]
async fn the_api_asks_for_a_token_and_everyone_of_ours_can_show_it() {
    let tokens = SecretFile::holding("token", "a-token-of-24-characters\n");
    let node = Node::start("n0", &["--api-token-file".to_owned(), tokens.path().to_owned()]).await;
    node.ready().await;
    let error = node.client().document("d").put(&json!({})).await.unwrap_err();
    assert_eq!(error.status(), Some(401), "{error}");
    let client = node.client().with_token("a-token-of-24-characters").unwrap();
    client.document("d").put(&json!({"a": 1})).await.unwrap();
    let get = ["get", "documents/d", "--api", node.api(), "--api-token-file", tokens.path()];
    let told = sidetalk(&get);
    assert_eq!((told.code, told.out.contains("\"a\"")), (0, true), "{told:?}");
    assert!(sidetalk(&get[..4]).err.contains("unauthorized") || sidetalk(&get[..4]).code == 1);
    // The next one is accepted and this one no longer, while the node runs.
    std::fs::write(tokens.path(), "another-token-of-its-own\n").unwrap();
    eventually("the old token is refused", || async {
        match client.document("d").get().await {
            Err(error) if error.status() == Some(401) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    node.client().with_token("another-token-of-its-own").unwrap().document("d").get().await.unwrap();
}

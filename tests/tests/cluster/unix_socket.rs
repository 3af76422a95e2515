//! The API on a socket file.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use serde_json::json;
use sidetalk_tests::{Node, sidetalk};

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = Self(std::env::temp_dir().join(format!("sidetalk-{}-{name}.sock", std::process::id())));
        let _ = std::fs::remove_file(&place.0);
        place
    }

    fn api(&self) -> String {
        format!("unix:{}", self.0.display())
    }

    async fn start(&self) -> Node {
        let node = Node::start("n0", &["--api".to_owned(), self.api()]).await;
        node.ready().await;
        node
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn only_the_nodes_own_user_opens_it_and_it_goes_with_the_node() {
    let place = Place::new("mode");
    let mut node = place.start().await;
    assert_eq!(node.api(), place.api());
    let found = std::fs::symlink_metadata(&place.0).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    node.client().document("d").put(&json!({"a": 1})).await.unwrap();
    let shown = sidetalk(&["get", "documents/d", "--api", &place.api()]);
    assert_eq!((shown.code, shown.out.trim()), (0, r#"{"a":1}"#), "{}", shown.err);
    assert_eq!(node.terminate().await, 0);
    assert!(!place.0.exists(), "the socket's file is still there");
}

#[tokio::test]
async fn what_a_killed_node_left_is_replaced_and_a_living_one_is_not() {
    let place = Place::new("stale");
    let mut killed = place.start().await;
    killed.kill();
    assert!(place.0.exists());
    let node = place.start().await;
    let second = sidetalk(&["run", "--node-id", "n1", "--api", &place.api(), "--gossip", "127.0.0.1:0"]);
    assert_eq!(second.code, 1, "{}", second.err);
    assert!(second.err.contains("another process listens there"), "{}", second.err);
    assert!(node.client().ready().await.is_ok());
}

#[tokio::test]
async fn a_file_of_another_kind_is_left_alone_and_so_is_anothers_socket() {
    let place = Place::new("other");
    std::fs::write(&place.0, "mine").unwrap();
    let refused = sidetalk(&["run", "--node-id", "n0", "--api", &place.api(), "--gossip", "127.0.0.1:0"]);
    assert!(refused.code == 1 && refused.err.contains("no socket"), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(&place.0).unwrap(), "mine");
    std::fs::remove_file(&place.0).unwrap();
    let mut node = place.start().await;
    std::fs::remove_file(&place.0).unwrap();
    let _other = UnixListener::bind(&place.0).unwrap();
    assert_eq!(node.terminate().await, 0);
    assert!(place.0.exists(), "a stopping node has removed a socket that was not its own");
}

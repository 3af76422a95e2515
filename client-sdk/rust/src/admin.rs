//! What can be asked of the node itself.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::Call;
use crate::client::Client;
use crate::name::Kind;

/// A page of keys.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Keys {
    /// In order.
    pub keys: Vec<String>,
    /// To be sent as `after` for the next page.
    pub next: Option<String>,
}

/// The members as one node sees them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Cluster {
    /// The members.
    pub members: Vec<Member>,
}

/// A member as one node sees it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Member {
    /// Its name.
    pub node: String,
    /// `up`, `suspect`, `down` or `left`.
    pub state: String,
    /// Lags, round trip and skew, as the API names them.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What happens to all traffic with one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fault {
    /// Nothing passes.
    pub blocked: bool,
    /// Everything is this late, each way.
    pub delay_ms: u64,
    /// This share of messages is lost, 0.0 to 1.0.
    pub loss: f64,
}

impl Client {
    /// This node.
    pub fn status(&self) -> Call<Value> {
        self.call(Method::GET, "/v1/status")
    }

    /// The members as this node sees them.
    pub fn cluster(&self) -> Call<Cluster> {
        self.call(Method::GET, "/v1/cluster")
    }

    /// Gives up a member that will not come back: it counts as one that has left. Refused while the node hears it.
    pub fn forget(&self, node: &str) -> Call<Value> {
        self.call(Method::DELETE, format!("/v1/cluster/{}", crate::name::encode(node)))
    }

    /// Fails with status 503 until the node has caught up with its cluster.
    pub fn ready(&self) -> Call<Value> {
        self.call(Method::GET, "/readyz")
    }

    /// Lists keys; refine with `query("limit", n)` and `query("after", key)`.
    pub fn list(&self, kind: Kind, prefix: &str) -> Call<Keys> {
        let call = self.call(Method::GET, format!("/v1/{kind}"));
        if prefix.is_empty() { call } else { call.query("prefix", prefix) }
    }

    /// Replaces all faults between this node and its peers. The node must have been started with `--chaos`.
    pub fn set_chaos(&self, faults: &BTreeMap<String, Fault>) -> Call<Value> {
        self.call(Method::PUT, "/v1/chaos").json(&serde_json::json!({ "peers": faults }))
    }

    /// Ends all faults.
    pub fn clear_chaos(&self) -> Call<Value> {
        self.call(Method::DELETE, "/v1/chaos")
    }
}

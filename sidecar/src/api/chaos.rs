//! Rehearsing failures. These paths exist only on a node that was started for that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Outcome, empty, json_of};
use super::body::{JSON, fixed};
use super::call::{Call, no_such_path};
use super::dispatch::Api;
use super::errors::{Code, Problem};
use super::operation::{About, BODY, Given, Operation, Takes, Verb, of};
use super::port::{Chaos, Fault};

/// Milliseconds by which traffic may be late, at most.
const DELAY_MILLIS_MAX: u64 = 60_000;

/// What happens to traffic with peers.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Faults {
    /// By node name.
    peers: BTreeMap<String, PeerFault>,
}

/// What happens to all traffic with one peer, in both directions.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PeerFault {
    /// Nothing passes.
    #[serde(default)]
    blocked: bool,
    /// Everything is this late, each way; at most 60000.
    #[serde(default)]
    delay_ms: u64,
    /// This share of messages is dropped, 0.0 to 1.0.
    #[serde(default)]
    loss: f64,
}

macro_rules! chaos {
    ($name:ident, $verb:ident, $id:literal, $summary:literal, $takes:expr, $given:expr, $codes:expr, $run:path) => {
        pub(super) static $name: Operation = Operation {
            verb: Verb::$verb,
            path: "/v1/chaos",
            id: $id,
            summary: $summary,
            query: &[],
            headers: &[],
            takes: $takes,
            about: About::Nothing,
            given: &[$given],
            codes: $codes,
            run: |api, call| Box::pin(async move { $run(chaos(api, call)?, call) }),
        };
    };
}

chaos!(
    GET,
    Get,
    "getChaos",
    "The faults in force.",
    None,
    Given::json(200, "The faults in force.", of::<Faults>),
    &[],
    get
);
chaos!(
    PUT,
    Put,
    "putChaos",
    "Replace all faults: cut, delay or thin the traffic with peers.",
    Some(Takes { media_types: &[JSON], schema: of::<Faults> }),
    Given::json(200, "The faults in force.", of::<Faults>),
    &[BODY, &[Code::BadBody, Code::UnknownPeer]],
    put
);
chaos!(
    DELETE,
    Delete,
    "deleteChaos",
    "End all faults.",
    None,
    Given::empty(204, "There are none."),
    &[],
    delete
);

fn chaos<'a>(api: &'a Api, call: &Call) -> Result<&'a dyn Chaos, Problem> {
    api.port.chaos().ok_or_else(|| no_such_path(call.parts.uri.path()))
}

fn get(chaos: &dyn Chaos, _: &Call) -> Outcome {
    let peers = chaos.faults().into_iter().map(|(node, fault)| (node, shown(fault))).collect();
    json_of(&Faults { peers })
}

fn shown(fault: Fault) -> PeerFault {
    PeerFault { blocked: fault.blocked, delay_ms: fault.delay_millis, loss: fault.loss }
}

fn put(chaos: &dyn Chaos, call: &Call) -> Outcome {
    chaos.set(wanted(fixed(call)?)?).map_err(|why| Problem::new(Code::UnknownPeer, why))?;
    get(chaos, call)
}

/// The faults that a document asks for.
///
/// # Errors
/// `bad_body`.
pub(super) fn wanted(document: Faults) -> Result<Vec<(String, Fault)>, Problem> {
    document.peers.into_iter().map(|(node, fault)| checked(node, &fault)).collect()
}

fn checked(node: String, fault: &PeerFault) -> Result<(String, Fault), Problem> {
    let bad = |field: &str, allowed: &str| {
        Problem::new(Code::BadBody, format!("{field:?} of {node:?} is out of bounds"))
            .with("peer", node.as_str())
            .with("field", field)
            .with("allowed", allowed)
    };
    if fault.delay_ms > DELAY_MILLIS_MAX {
        return Err(bad("delay_ms", "0 to 60000"));
    }
    if !(0.0..=1.0).contains(&fault.loss) {
        return Err(bad("loss", "0.0 to 1.0"));
    }
    let fault = Fault { blocked: fault.blocked, delay_millis: fault.delay_ms, loss: fault.loss };
    Ok((node, fault))
}

fn delete(chaos: &dyn Chaos, _: &Call) -> Outcome {
    chaos.clear();
    Ok(empty(http::StatusCode::NO_CONTENT))
}

//! What users do, how often, and how much of it.

use serde::{Deserialize, Serialize};

use super::units::{Bytes, Share, Span, Spread};

/// The users of the web application, and what it keeps beside sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrafficSpec {
    /// How many people use it.
    pub users: u32,
    /// Page views of all of them in a second.
    pub pages_per_second: u32,
    /// Requests that one page view makes at the same time, at most.
    pub parallel: u32,
    /// How a request is sent to a node.
    pub balancer: Balancer,
    /// Between two health checks of a node by the balancer.
    pub health_check: Span,
    /// From the balancer to a node, one way.
    pub client_latency: Spread,
    /// Between reading the session at a request's start and saving it at its end.
    pub handler: Spread,
    /// How long a request may take before its user gives up.
    pub patience: Span,
    /// The share of users whose client carries tokens.
    pub tokens: Share,
    /// The share of writes that wait for a majority.
    pub majority: Share,
    /// What a request does.
    pub mix: Mix,
    /// The share of logouts with a request that writes still in flight.
    pub logout_in_flight: Share,
    /// Fields of a session that requests change.
    pub fields: u32,
    /// Bytes of a field.
    pub field_bytes: Bytes,
    /// The idle time after which a session expires.
    pub ttl: Span,
    /// The share of page views that also extend the session.
    pub touch: Share,
    /// Times at which there are more page views.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub surge: Vec<Surge>,
    /// Global counters.
    pub counters: CounterSpec,
    /// Rate limits: one counter per user and minute.
    pub rates_per_second: u32,
    /// Global sets.
    pub sets: SetSpec,
    /// Global documents.
    pub documents: DocumentSpec,
    /// Only these users, where some are named: how a failing history is made shorter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only_users: Vec<u32>,
}

impl Default for TrafficSpec {
    fn default() -> Self {
        Self {
            users: 100,
            pages_per_second: 50,
            parallel: 3,
            balancer: Balancer::RoundRobin,
            health_check: Span::secs(2),
            client_latency: Spread {
                min: Span(100),
                p50: Span(300),
                p99: Span::millis(3),
                max: Span::millis(30),
            },
            handler: Spread {
                min: Span::millis(1),
                p50: Span::millis(15),
                p99: Span::millis(200),
                max: Span::millis(2_000),
            },
            patience: Span::secs(10),
            tokens: Share(500_000),
            majority: Share(20_000),
            mix: Mix::default(),
            logout_in_flight: Share(500_000),
            fields: 6,
            field_bytes: Bytes(40),
            ttl: Span::secs(30 * 60),
            touch: Share(200_000),
            surge: Vec::new(),
            counters: CounterSpec::default(),
            rates_per_second: 5,
            sets: SetSpec::default(),
            documents: DocumentSpec::default(),
            only_users: Vec::new(),
        }
    }
}

/// What a request does: how often compared with the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Reads only.
    pub browse: u32,
    /// Changes one of the fields.
    pub change: u32,
    /// Changes the one field that all such requests change.
    pub same: u32,
    /// Puts something into the cart, or takes it out.
    pub cart: u32,
    /// Counts within the session.
    pub count: u32,
    /// Logs out.
    pub logout: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self { browse: 50, change: 25, same: 5, cart: 15, count: 5, logout: 2 }
    }
}

impl Mix {
    /// In the order of the fields.
    #[must_use]
    pub fn weights(&self) -> [u32; 6] {
        [self.browse, self.change, self.same, self.cart, self.count, self.logout]
    }
}

/// Which node gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balancer {
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
    /// The same one for a user, as long as it is healthy.
    Sticky,
}

/// A time with more page views.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surge {
    /// When it begins.
    pub at: Span,
    /// How long it lasts.
    pub r#for: Span,
    /// How many times as many.
    pub times: u32,
}

/// Global counters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CounterSpec {
    /// How many.
    pub names: u32,
    /// Increments in a second.
    pub per_second: u32,
    /// The share of requests that reset one instead. Half of the counters are never reset.
    pub reset: Share,
}

impl Default for CounterSpec {
    fn default() -> Self {
        Self { names: 4, per_second: 5, reset: Share(20_000) }
    }
}

/// Global sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SetSpec {
    /// How many.
    pub names: u32,
    /// Different members each may have.
    pub members: u32,
    /// Changes in a second.
    pub per_second: u32,
    /// The share of changes that remove.
    pub remove: Share,
}

impl Default for SetSpec {
    fn default() -> Self {
        Self { names: 2, members: 50, per_second: 3, remove: Share(400_000) }
    }
}

/// Global documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DocumentSpec {
    /// How many.
    pub names: u32,
    /// Fields of each.
    pub fields: u32,
    /// Bytes of a field.
    pub field_bytes: Bytes,
    /// Changes in a second.
    pub per_second: u32,
}

impl Default for DocumentSpec {
    fn default() -> Self {
        Self { names: 2, fields: 8, field_bytes: Bytes(40), per_second: 3 }
    }
}

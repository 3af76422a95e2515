//! Many calls in one round trip.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::call::{Call, Token, object_of};
use crate::client::Client;
use crate::error::Error;
use crate::scope::Scope;

/// Calls to be sent together. Each is on its own, and none undoes another; none waits for another, but where a change of its
/// own object comes before it.
#[derive(Debug)]
pub struct Batch {
    client: Client,
    ops: Vec<Op>,
}

#[derive(Debug, Serialize)]
struct Op {
    method: String,
    path: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
}

impl Op {
    fn also_after(&mut self, tokens: &[Token]) {
        if !tokens.is_empty() {
            let after = self.headers.entry("sidetalk-after").or_default();
            let tokens = tokens.iter().map(|token| token.0.as_str());
            let all: Vec<&str> =
                Some(after.as_str()).filter(|after| !after.is_empty()).into_iter().chain(tokens).collect();
            *after = all.join(",");
        }
    }
}

/// What one of them came to.
#[derive(Clone, Debug, Deserialize)]
pub struct BatchResult {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body; null where there is none.
    #[serde(default)]
    pub body: serde_json::Value,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<BatchResult>,
}

impl Client {
    /// An empty batch.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch { client: self.clone(), ops: Vec::new() }
    }
}

impl Batch {
    /// Adds a call.
    ///
    /// # Errors
    /// [`Error::Invalid`] when its body is no JSON.
    pub fn push<T>(&mut self, call: Call<T>) -> Result<(), Error> {
        let path = call.target();
        let text = call.body.transpose().map_err(Error::Invalid)?;
        let parse =
            |text: Vec<u8>| serde_json::from_slice(&text).map_err(|error| Error::Invalid(error.to_string()));
        let body = text.map(parse).transpose()?;
        let headers = call.headers.into_iter().collect();
        self.ops.push(Op { method: call.method.to_string(), path, headers, body });
        Ok(())
    }

    /// Makes the calls; the results are in the same order.
    ///
    /// # Errors
    /// The batch as a whole was refused or lost. What single calls came to stands in their results.
    pub async fn send(mut self) -> Result<Vec<BatchResult>, Error> {
        let scope = self.client.scope().cloned();
        let sent = scope.as_ref().map(Scope::before).unwrap_or_default();
        self.ops.iter_mut().for_each(|op| op.also_after(&sent));
        // Each call waits for itself: the batch as a whole waits for nothing.
        let call: Call<Results> = self.client.unscoped().call(Method::POST, "/v1/batch");
        let answer = call.json(&serde_json::json!({ "ops": self.ops })).await?;
        let results = answer.value.results;
        if let Some(scope) = scope {
            for (op, result) in self.ops.iter().zip(&results) {
                let token = result.headers.get("sidetalk-token").map(|token| Token(token.clone()));
                let behind = result.headers.get("sidetalk-behind").is_some_and(|behind| behind == "true");
                let reads = op.method == "GET" || op.method == "HEAD";
                let stays = !reads && ((200..300).contains(&result.status) || result.status == 504);
                scope.after(&object_of(&op.path), &sent, token.as_ref(), behind, stays);
            }
        }
        Ok(results)
    }
}

//! Many calls in one round trip.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::call::Call;
use crate::client::Client;
use crate::error::Error;

/// Calls to be sent together. Each is on its own: none waits for another, and none undoes another.
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
    pub async fn send(self) -> Result<Vec<BatchResult>, Error> {
        let call: Call<Results> = self.client.call(Method::POST, "/v1/batch");
        let answer = call.json(&serde_json::json!({ "ops": self.ops })).await?;
        Ok(answer.value.results)
    }
}

//! A login, a cart, a shared configuration, visitors counted and listed: on one node, and read on the same or another one.
//!
//! `sidetalk dev` in one terminal, then `cargo run -p sidetalk-client --example shop` in another. The node's address is taken
//! from `SIDETALK_API`, that of another one from `SIDETALK_OTHER`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use serde_json::json;
use sidetalk_client::{Client, Error, PathOp, Scope};

const LEASE_SECONDS: u64 = 600;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let address = |name, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let here = address("SIDETALK_API", "http://127.0.0.1:7411");
    let there = address("SIDETALK_OTHER", &here);
    let node = Client::new(&here)?.with_repeats();

    // What one browser does. Its tokens go with it, in a cookie.
    let scope = Scope::default();
    let browser = node.scoped(scope.clone());
    let id = format!("example-{}", std::process::id());
    let session = browser.session(&id);
    let login = session.put(&json!({"user": "ada", "cart": {}})).ttl_seconds(LEASE_SECONDS);
    let login = login.if_none_match("*").await?;
    let life = login.life.unwrap_or_default();
    session.patch(&json!({"cart": {"apples": 2}})).life(&life).await?;
    let path = vec!["views".to_owned()];
    session.ops(&[PathOp::Incr { path, by: 1 }]).life(&life).await?;

    // The next request, wherever it lands.
    let elsewhere = Client::new(&there)?.scoped(Scope::new(scope.tokens()));
    match elsewhere.session(&id).find().await? {
        Some(found) => println!("{} has {} in the cart", found.value["user"], found.value["cart"]),
        None => println!("nobody is logged in"),
    }

    node.document("example-config").patch(&json!({"theme": "dark"})).await?;
    node.set("example-online").add("ada").await?;
    let visits = node.counter("example-visits").add(1).await?.value.value;
    let online = node.set("example-online").get().await?.value.members;
    println!("{visits} visits, online: {}", online.join(", "));

    session.destroy().await?;
    let afterwards = Client::new(&there)?.scoped(Scope::new(scope.tokens()));
    println!("logged in after the logout: {}", afterwards.session(&id).find().await?.is_some());
    Ok(())
}

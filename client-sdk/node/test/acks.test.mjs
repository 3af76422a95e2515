// How many nodes must have a change before its request is answered.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SidetalkStore } from "sidetalk/express-session";
import { Cluster } from "./support/sidecar.mjs";

let cluster;
const stores = [];

before(async () => {
  cluster = await Cluster.start(2);
});

after(async () => {
  for (const store of stores) store.client.close();
  await cluster?.close();
});

function storeOf(node, options) {
  const store = new SidetalkStore({ client: node.api, acks: 2, acksTimeoutMillis: 300, ...options });
  stores.push(store);
  return store;
}

const set = (store, id, session) =>
  new Promise((resolve, reject) => store.set(id, session, (error) => (error ? reject(error) : resolve())));

test("with acks: 2 an answered session survives the node that answered", async () => {
  const [first, second] = cluster.nodes;
  await set(storeOf(first), "kept", { cookie: {}, user: "ada" });
  await cluster.kill(0);
  const { status, json } = await second.ask("GET", "/v1/sessions/kept?wait=0");
  assert.equal(status, 200);
  assert.equal(json.user, "ada");
});

test("alone, a change fails or goes on, as it was chosen", async () => {
  const [, alone] = cluster.nodes;
  const failing = set(storeOf(alone), "s1", { cookie: {}, user: "ada" });
  await assert.rejects(failing, (error) => error.code === "not_enough_acks" && error.status === 503);
  await set(storeOf(alone, { whenUnacknowledged: "serve" }), "s2", { cookie: {}, user: "ada" });
  for (const id of ["s1", "s2"])
    assert.equal((await alone.ask("GET", `/v1/sessions/${id}`)).status, 200, "it stays");
});

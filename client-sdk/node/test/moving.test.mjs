// Moving from another store, and going back.
import assert from "node:assert/strict";
import { test } from "node:test";
import express from "express";
import session from "express-session";
import { MovingStore } from "sidetalk/express-session";
import { Browser, serve } from "./support/app.mjs";
import { Cluster } from "./support/sidecar.mjs";

async function site(store, run) {
  const app = express();
  app.use(session({ store, secret: "s", resave: false, saveUninitialized: false, name: "sid" }));
  app.get("/count", (request, response) => {
    request.session.n = (request.session.n ?? 0) + 1;
    response.json({ id: request.sessionID, n: request.session.n });
  });
  app.get("/read", (request, response) => response.json({ id: request.sessionID, n: request.session.n ?? null }));
  app.get("/logout", (request, response) => request.session.destroy((error) => response.json({ error })));
  const served = await serve(app);
  await run(served.url);
  await served.close();
}

test("sessions move as they are used, and back again", async () => {
  const cluster = await Cluster.start(1);
  const from = new session.MemoryStore();
  const browser = new Browser();
  const get = async (url, path) => (await browser.fetch(url, path)).json;
  let id;
  await site(from, async (url) => {
    ({ id } = await get(url, "/count"));
  });
  const store = new MovingStore({ from, client: cluster.nodes[0].api, keep: true });
  await site(store, async (url) => {
    assert.deepEqual(await get(url, "/read"), { id, n: 1 });
    assert.equal((await store.client.session(id).get()).n, 1);
    assert.deepEqual(await get(url, "/count"), { id, n: 2 });
  });
  await site(from, async (url) => assert.deepEqual(await get(url, "/count"), { id, n: 3 }));
  const sid = browser.cookies.get("sid");
  await site(store, async (url) => {
    await get(url, "/logout");
    // Somebody puts it back into the store of before: it stays gone.
    from.sessions[id] = JSON.stringify({ cookie: { originalMaxAge: null }, n: 9 });
    browser.cookies.set("sid", sid);
    const seen = await get(url, "/read");
    assert.notEqual(seen.id, id);
    assert.equal(seen.n, null);
  });
  browser.close();
  store.client.close();
  await cluster.close();
});

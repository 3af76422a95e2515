// When the sidecar is down, hangs, or comes back: bounded errors that say so, and no restart of the site.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import express from "express";
import session from "express-session";
import { Sidetalk } from "sidetalk";
import { readYourWrites, SidetalkStore } from "sidetalk/express-session";
import { Browser, serve } from "./support/app.mjs";
import { Cluster } from "./support/sidecar.mjs";
import { eventually } from "./support/wait.mjs";

/** No request of these tests may take longer. */
const BOUND_MILLIS = 5_000;

describe("when the sidecar is down", () => {
  let cluster;
  before(async () => {
    cluster = await Cluster.start(2);
  });
  after(() => cluster?.close());

  async function site(storeOptions, wrapped, run) {
    const node = cluster.nodes[0];
    const client = { api: node.api, timeoutMillis: 1_000, connectTimeoutMillis: 500 };
    const store = new SidetalkStore({ client, ...storeOptions });
    const app = express();
    const middleware = session({ store, secret: "s", resave: false, saveUninitialized: false, name: "sid" });
    const failures = [];
    app.use(
      wrapped ? readYourWrites(middleware, store, { onSaveError: (error) => failures.push(error) }) : middleware,
    );
    app.get("/count", (request, response) => {
      if (!request.session) return response.json({ none: true });
      request.session.n = (request.session.n ?? 0) + 1;
      response.json({ n: request.session.n });
    });
    app.get("/slow", async (request, response) => {
      request.session.n = (request.session.n ?? 0) + 1;
      await new Promise((resolve) => app.once("go", resolve));
      response.set("etag", '"x"').json({ n: request.session.n });
    });
    app.get("/stream", async (request, response) => {
      request.session.n = (request.session.n ?? 0) + 1;
      await new Promise((resolve) => app.once("go", resolve));
      response.write("a");
      setTimeout(() => response.end("b"), 20);
    });
    app.use((error, request, response, _next) => {
      response.status(error.status ?? 500).json({ code: error.code });
    });
    const served = await serve(app);
    const browser = new Browser();
    const get = async (path) => {
      const began = performance.now();
      const answer = await browser.fetch(served.url, path);
      const millis = performance.now() - began;
      assert.ok(millis < BOUND_MILLIS, `${path} took ${millis} ms`);
      return answer;
    };
    try {
      await run({ get, store, browser, failures, app });
    } finally {
      browser.close();
      await served.close();
      store.client.close();
    }
  }

  async function down(run) {
    const { api } = cluster.nodes[0];
    // What only it has would die with it: links keep order, so with this one the other node has all before it.
    const client = new Sidetalk({ api });
    await client.counter("before-the-kill").add(1, { acks: "all" });
    client.close();
    await cluster.kill(0);
    await run();
    await cluster.restart(0, new URL(api).host);
    await cluster.allUp();
  }

  test("requests fail with an error that says so, and go on when it is back", async () => {
    await site({}, false, async ({ get, browser }) => {
      assert.equal((await get("/count")).json.n, 1);
      const sid = browser.cookies.get("sid");
      await down(async () => {
        const { status, json } = await get("/count");
        assert.deepEqual([status, json.code], [503, "sidecar_unreachable"]);
        assert.equal(browser.cookies.get("sid"), sid, "the login must not be lost");
      });
      assert.equal((await get("/count")).json.n, 2);
      assert.equal(browser.cookies.get("sid"), sid);
    });
  });

  test("a sidecar that hangs is given up in time, and fifty requests at once too", async () => {
    await site({}, false, async ({ get }) => {
      assert.equal((await get("/count")).json.n, 1);
      await cluster.nodes[0].freeze();
      try {
        const answers = await Promise.all(Array.from({ length: 50 }, () => get("/count")));
        for (const { status, json } of answers) assert.deepEqual([status, json.code], [503, "sidecar_timeout"]);
      } finally {
        cluster.nodes[0].thaw();
      }
      await cluster.allUp();
      assert.equal((await get("/count")).status, 200);
    });
  });

  test("requests go on without a session when that is wanted", async () => {
    await site({ whenDown: "skip" }, false, async ({ get, browser }) => {
      assert.equal((await get("/count")).json.n, 1);
      const sid = browser.cookies.get("sid");
      await down(async () => {
        assert.equal((await get("/count")).status, 503);
        assert.deepEqual((await get("/count")).json, { none: true });
        assert.equal(browser.cookies.get("sid"), sid);
      });
      await eventually("sessions are back", async () => assert.equal((await get("/count")).json.n, 2));
    });
  });

  test("a save that fails is a 503 with the wrapper, and no success", async () => {
    await site({}, true, async ({ get, failures, app, browser }) => {
      assert.equal((await get("/count")).json.n, 1);
      for (const path of ["/slow", "/stream"]) {
        const cookies = new Map(browser.cookies);
        const slow = get(path);
        await eventually("the request has come", async () => assert.ok(app.listenerCount("go") > 0));
        await down(async () => {
          app.emit("go");
          const answer = await slow;
          assert.equal(answer.status, 503);
          assert.equal(answer.json.code, "session_not_saved");
          assert.equal(answer.headers.etag, undefined);
          assert.equal(answer.headers["set-cookie"], undefined);
        });
        assert.ok(["sidecar_unreachable", "connection_broken"].includes(failures.pop().code));
        browser.cookies = cookies;
      }
      assert.equal((await get("/count")).json.n, 2);
      // A new session that could not be stored leaves no cookie behind.
      browser.cookies.clear();
      const slow = get("/slow");
      await eventually("the request has come", async () => assert.ok(app.listenerCount("go") > 0));
      await down(async () => {
        app.emit("go");
        assert.equal((await slow).status, 503);
        assert.equal(browser.cookies.size, 0);
      });
    });
  });

  test("a client fails within its bound, and recovers", async () => {
    const talk = new Sidetalk({ api: cluster.nodes[0].api, timeoutMillis: 500 });
    await talk.counter("c").add(1);
    await down(async () => {
      await assert.rejects(talk.counter("c").add(1), (error) => {
        assert.ok(["sidecar_unreachable", "connection_broken"].includes(error.code), error.code);
        return error.status === 503;
      });
      await assert.rejects(talk.counter("c").get(), { code: "sidecar_unreachable", uncertain: false });
    });
    await eventually("all is back", async () => assert.equal(await talk.counter("c").get(), 1));
    assert.equal(await talk.counter("c").add(1), 2);
    talk.close();
  });

  test("a closed port, a stranger and a bad address are told apart", async () => {
    const served = await serve((request, response) => response.end("<html>"));
    const stranger = new Sidetalk(served.url);
    await assert.rejects(stranger.counter("c").get(), (error) => error.code !== undefined);
    stranger.close();
    await served.close();
    const nobody = new Sidetalk(served.url);
    await assert.rejects(nobody.counter("c").get(), { code: "sidecar_unreachable" });
    nobody.close();
    const nowhere = new Sidetalk("unix:/nowhere/at/all.sock");
    await assert.rejects(nowhere.counter("c").get(), { code: "sidecar_unreachable" });
    nowhere.close();
    for (const bad of ["", "unix:", "https://a:1", "host", "http://a:99999", "a b:1"]) {
      assert.throws(() => new Sidetalk({ api: bad || " " }), { code: "bad_address" }, bad);
    }
  });
});

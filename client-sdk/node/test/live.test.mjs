// Live objects, and the limiter for the whole cluster.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import express from "express";
import { rateLimit } from "express-rate-limit";
import { Sidetalk } from "sidetalk";
import { SidetalkRateLimitStore } from "sidetalk/express-rate-limit";
import { live } from "sidetalk/live";
import { Browser, serve } from "./support/app.mjs";
import { Cluster } from "./support/sidecar.mjs";
import { eventually } from "./support/wait.mjs";

describe("live objects", () => {
  let cluster, here, there;
  before(async () => {
    cluster = await Cluster.start(2);
    [here, there] = cluster.nodes.map((node) => new Sidetalk(node.api));
  });
  after(async () => {
    here.close();
    there.close();
    await cluster?.close();
  });

  test("a change is seen at once where it was made, and elsewhere with an event", async () => {
    await here.document("config").put({ theme: "light" });
    const [one, other] = [
      await here.live("config"),
      await eventually("it is there", async () => {
        const object = await live(there, "config");
        if (!object.value) throw new Error("not yet");
        return object;
      }),
    ];
    assert.deepEqual([one.value, one.stale], [{ theme: "light" }, false]);
    const changed = once(other, "change");
    await one.set("theme", "dark");
    assert.equal(one.value.theme, "dark");
    const [value, previous] = await changed;
    assert.deepEqual([value, previous], [{ theme: "dark" }, { theme: "light" }]);
    assert.throws(() => (one.value.theme = "mine"), TypeError);
    await Promise.all([one.incr("n", 2), other.incr("n", 3), one.add("tags", "a"), other.add("tags", "b")]);
    for (const object of [one, other]) {
      await eventually("both have all", async () => {
        assert.deepEqual(object.value, { theme: "dark", n: 5, tags: ["a", "b"] });
      });
    }
    await one.remove("tags", "b");
    await one.unset("n");
    await one.patch({ deep: { a: 1 } });
    await one.set(["deep", "b"], null);
    assert.deepEqual(one.value, { theme: "dark", tags: ["a"], deep: { a: 1, b: null } });
    await one.replace({ only: 1 });
    await eventually("the other follows", async () => assert.deepEqual(other.value, { only: 1 }));
    one.close();
    other.close();
  });

  test("many writes from all sides never show an older state after a newer one", async () => {
    const object = await here.live("steps");
    const seen = [];
    object.on("change", (value) => seen.push(value.n));
    const writes = [];
    for (let at = 0; at < 200; at++) writes.push(at % 2 ? object.incr("n") : here.document("steps").incr(["n"]));
    await Promise.all(writes);
    await eventually("all have come", async () => assert.equal(object.value.n, 200));
    assert.deepEqual(
      seen,
      [...seen].sort((a, b) => a - b),
    );
    object.close();
  });

  test("it is stale while the sidecar is away, and then has what was missed", async () => {
    const object = await here.live("missed");
    assert.equal(object.value, undefined);
    await object.set("a", 1);
    await eventually("the other node has it", async () => assert.ok(await there.document("missed").get()));
    const { api } = cluster.nodes[0];
    const stale = once(object, "stale");
    await cluster.kill(0);
    await stale;
    assert.deepEqual([object.stale, object.value], [true, { a: 1 }]);
    await assert.rejects(object.set("b", 1));
    await there.document("missed").patch({ a: 2 });
    const fresh = once(object, "fresh");
    await cluster.restart(0, new URL(api).host);
    await fresh;
    await eventually("what was missed is there", async () => assert.deepEqual(object.value, { a: 2 }));
    await cluster.allUp();
    await object.set("b", 1);
    assert.deepEqual([object.stale, object.value], [false, { a: 2, b: 1 }]);
    object.close();
  });

  test("one whose sidecar does not answer is not opened", async () => {
    const nobody = new Sidetalk("unix:/nowhere.sock");
    await assert.rejects(nobody.live("x", { timeoutMillis: 100 }), /no state of x within 100 ms/);
    nobody.close();
  });

  test("a watch goes on where it was, through a restart", async () => {
    const stop = new AbortController();
    const seen = [];
    let resets = 0;
    const following = (async () => {
      for await (const event of here.watch({
        kind: "counters",
        prefix: "w",
        initial: true,
        signal: stop.signal,
      })) {
        if (event.type === "change") seen.push(event.value);
        if (event.type === "reset") resets++;
      }
    })();
    await here.counter("w").add(1);
    await eventually("the first is seen", async () => assert.deepEqual(seen.at(-1), 1));
    await eventually("the other node has it", async () => assert.equal(await there.counter("w").get(), 1));
    const { api } = cluster.nodes[0];
    await cluster.kill(0);
    await there.counter("w").add(1);
    await cluster.restart(0, new URL(api).host);
    await cluster.allUp();
    await eventually("what was missed is seen", async () => assert.deepEqual(seen.at(-1), 2));
    assert.equal(resets, 1);
    stop.abort();
    await following;
  });

  test("a limiter counts for the whole cluster, and starts again", async () => {
    const sites = [];
    for (const talk of [here, there]) {
      const app = express();
      const store = new SidetalkRateLimitStore({ client: talk });
      const limiter = rateLimit({
        windowMs: 3_600_000,
        limit: 10,
        store,
        keyGenerator: () => "k",
        validate: false,
      });
      app.use(limiter);
      app.get("/", (request, response) => response.json(request.rateLimit));
      sites.push({ ...(await serve(app)), limiter });
    }
    const browser = new Browser();
    const statuses = [];
    for (let at = 0; at < 20; at++) {
      statuses.push((await browser.fetch(sites[at % 2].url, "/")).status);
      // One after the other: each node has heard of the hits before.
      await eventually("both count", async () => {
        const counts = await Promise.all(sites.map((site) => site.limiter.getKey("k")));
        for (const count of counts) assert.equal(count?.totalHits, at + 1);
      });
    }
    assert.deepEqual(statuses, [...Array(10).fill(200), ...Array(10).fill(429)]);
    await sites[0].limiter.resetKey("k");
    assert.equal((await browser.fetch(sites[0].url, "/")).status, 200);
    // Hits at once on both nodes: all are counted, and no more pass than the docs say.
    await sites[0].limiter.resetKey("k");
    await eventually("both start again", async () =>
      assert.equal((await sites[1].limiter.getKey("k")).totalHits, 0),
    );
    const at = await Promise.all(Array.from({ length: 40 }, (_, i) => browser.fetch(sites[i % 2].url, "/")));
    const passed = at.filter((answer) => answer.status === 200).length;
    assert.ok(passed >= 10 && passed <= 20, `${passed} passed`);
    await eventually("all hits count", async () => {
      for (const site of sites) assert.equal((await site.limiter.getKey("k")).totalHits, 40);
    });
    browser.close();
    for (const site of sites) await site.close();
  });

  test("windows clean up after themselves", async () => {
    const store = new SidetalkRateLimitStore({ client: here, prefix: "short:" });
    store.init({ windowMs: 100 });
    await store.increment("k");
    const [name] = (await here.list("documents", { prefix: "short:" })).keys;
    assert.ok((await here.document(name).read()).expiresInSeconds <= 12);
    const first = await store.increment("k");
    await eventually("the next window begins", async () => {
      const next = await store.increment("k");
      assert.ok(next.resetTime > first.resetTime);
      assert.equal(next.totalHits, 1);
    });
    await store.decrement("k");
  });
});

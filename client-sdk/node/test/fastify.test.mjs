// The same store under @fastify/session, which copies what it is given.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import cookie from "@fastify/cookie";
import fastifySession from "@fastify/session";
import fastify from "fastify";
import { SidetalkStore as ExpressStore } from "sidetalk/express-session";
import { SidetalkStore } from "sidetalk/fastify-session";
import { Browser } from "./support/app.mjs";
import { Cluster } from "./support/sidecar.mjs";

describe("the store under @fastify/session", () => {
  let cluster;
  before(async () => {
    cluster = await Cluster.start(2);
  });
  after(() => cluster?.close());

  async function site(node, run) {
    const store = new SidetalkStore({ client: node.api, counters: ["n"], sets: ["roles"] });
    const app = fastify();
    const gate = { waiting: [], want: 0 };
    await app.register(cookie);
    await app.register(fastifySession, {
      store,
      secret: "a secret that is long enough for fastify",
      cookieName: "sid",
      cookie: { secure: false, maxAge: 3_600_000 },
      saveUninitialized: false,
    });
    app.get("/set", async (request) => {
      request.session.set(request.query.key, request.query.value);
      return { id: request.session.sessionId };
    });
    app.get("/count", async (request) => {
      await new Promise((resolve) => {
        gate.waiting.push(resolve);
        if (gate.waiting.length === gate.want) for (const go of gate.waiting) go();
      });
      request.session.n = (request.session.n ?? 0) + 1;
      request.session.roles = [...(request.session.roles ?? []), `r${request.query.at}`];
      return {};
    });
    app.get("/show", async (request) => {
      const { cookie: _, ...content } = request.session;
      return { id: request.session.sessionId, ...content };
    });
    app.get("/regenerate", async (request) => {
      await request.session.regenerate(["user"]);
      return { id: request.session.sessionId };
    });
    app.get("/destroy", async (request) => {
      await request.session.destroy();
      return {};
    });
    const url = await app.listen({ host: "127.0.0.1", port: 0 });
    try {
      await run({ url, store, gate });
    } finally {
      await app.close();
      store.client.close();
    }
  }

  test("changes merge, counters add up, and what was destroyed stays so", async () => {
    await site(cluster.nodes[0], async ({ url, store, gate }) => {
      const browser = new Browser();
      const get = async (path) => {
        const answer = await browser.fetch(url, path);
        assert.equal(answer.status, 200, answer.text);
        return answer.json;
      };
      const { id } = await get("/set?key=user&value=ada");
      const calls = [];
      const call = store.client.transport.call.bind(store.client.transport);
      store.client.transport.call = (request, signal) => {
        calls.push(`${request.method} ${request.body ?? ""}`);
        return call(request, signal);
      };
      await get("/set?key=a&value=1");
      assert.deepEqual(calls.splice(0), ["GET ", 'PATCH {"a":"1"}']);
      gate.want = 20;
      await Promise.all(Array.from({ length: 20 }, (_, at) => get(`/count?at=${at}`)));
      const shown = await get("/show");
      assert.equal(shown.n, 20);
      assert.equal(shown.roles.length, 20);
      assert.deepEqual([shown.id, shown.user, shown.a], [id, "ada", "1"]);
      const { id: next } = await get("/regenerate");
      assert.notEqual(next, id);
      const after = await get("/show");
      assert.deepEqual([after.id, after.user, after.n], [next, "ada", undefined]);
      await get("/destroy");
      const gone = await get("/show");
      assert.notEqual(gone.id, next);
      browser.close();
    });
  });

  test("the store for express-session serves as well", () => {
    const store = new ExpressStore({ client: cluster.nodes[0].api });
    for (const method of ["get", "set", "destroy"]) assert.equal(typeof store[method], "function");
    store.client.close();
  });
});

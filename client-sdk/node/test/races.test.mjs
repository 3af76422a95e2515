// The races of today's stores, through unmodified Express and express-session, on one node and across nodes.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import express from "express";
import session from "express-session";
import { SidetalkStore } from "sidetalk/express-session";
import { Browser, serve } from "./support/app.mjs";
import { Cluster } from "./support/sidecar.mjs";

const ROUNDS = Number(process.env.ROUNDS ?? 100);

/** Requests that come to a gate wait until as many are there as were announced. */
class Gate {
  #waiting = [];
  #want;

  constructor(want) {
    this.#want = want;
  }

  /** All have loaded their session when this resolves. */
  pass() {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length === this.#want) for (const go of this.#waiting) go();
    });
  }
}

const gates = new Map();

function application(node) {
  const app = express();
  const store = new SidetalkStore({ client: node.api, counters: ["n"], sets: ["roles"] });
  app.use(session({ store, secret: "s", resave: false, saveUninitialized: false, name: "sid" }));
  app.get("/login", (request, response) => {
    request.session.user = "ada";
    request.session.n = 0;
    response.json({ id: request.sessionID });
  });
  app.get("/read", (request, response) => {
    const { cookie: _, ...content } = request.session;
    response.json({ id: request.sessionID, ...content });
  });
  const gated = (path, act) =>
    app.get(path, async (request, response) => {
      const gate = gates.get(request.query.gate);
      if (gate) await gate.pass();
      await act(request, response);
    });
  gated("/set", (request, response) => {
    request.session[request.query.key] = request.query.value ?? true;
    response.json({});
  });
  gated("/count", (request, response) => {
    request.session.n++;
    response.json({});
  });
  gated("/role", (request, response) => {
    request.session.roles = [...(request.session.roles ?? []), request.query.role];
    response.json({});
  });
  gated("/look", (request, response) => response.json({ user: request.session.user ?? null }));
  gated("/logout", (request, response) => {
    request.session.destroy((error) => response.status(error ? 500 : 200).json({}));
  });
  return { app, store };
}

describe("races", () => {
  let cluster;
  const sites = [];

  before(async () => {
    cluster = await Cluster.start(3);
    for (const node of cluster.nodes) {
      const { app, store } = application(node);
      sites.push({ ...(await serve(app)), store });
    }
  });

  after(async () => {
    for (const site of sites) {
      await site.close();
      site.store.client.close();
    }
    await cluster?.close();
  });

  /** Runs a race in many rounds: on one node, and on several. */
  function race(name, round) {
    for (const [where, site] of [
      ["on one node", () => sites[0]],
      ["across nodes", (at) => sites[at % sites.length]],
    ]) {
      test(`${name}, ${where}`, async () => {
        for (let at = 0; at < ROUNDS; at++) {
          const browser = new Browser();
          const login = await browser.fetch(site(0).url, "/login");
          assert.equal(login.status, 200);
          const id = `${name}-${where}-${at}`;
          const go = (to, path) => browser.fetch(site(to).url, path);
          /** Requests at once; each has loaded its session before any goes on. */
          const together = async (...calls) => {
            gates.set(id, new Gate(calls.length));
            const gate = `gate=${encodeURIComponent(id)}`;
            const answers = await Promise.all(
              calls.map(([to, path]) => go(to, `${path}${path.includes("?") ? "&" : "?"}${gate}`)),
            );
            gates.delete(id);
            for (const answer of answers) assert.equal(answer.status, 200, answer.text);
            return answers;
          };
          await round({ go, together, id: login.json.id, browser });
          browser.close();
        }
      });
    }
  }

  /** Reads on every node until it is as it should be: without tokens, another node may be a moment behind. */
  async function settled(go, check) {
    const { eventually } = await import("./support/wait.mjs");
    for (let at = 0; at < sites.length; at++) await eventually("all nodes agree", async () => check((await go(at, "/read")).json));
  }

  race("A: two requests set two fields", async ({ go, together, id }) => {
    await together([0, "/set?key=a"], [1, "/set?key=b"]);
    await settled(go, (seen) => assert.deepEqual(seen, { id, user: "ada", n: 0, roles: [], a: true, b: true }));
  });

  race("B: fifty requests count", async ({ go, together }) => {
    await together(...Array.from({ length: 50 }, (_, at) => [at, "/count"]));
    await settled(go, (seen) => assert.equal(seen.n, 50));
  });
});

// What the guides show runs as it stands there, but for addresses.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { after, before, describe, test } from "node:test";
import { memcached, redis } from "../bench/servers.mjs";
import { SidetalkStore } from "sidetalk/express-session";
import { Browser, serve } from "./support/app.mjs";
import { Cluster } from "./support/sidecar.mjs";
import { eventually } from "./support/wait.mjs";

const here = dirname(fileURLToPath(import.meta.url));

/** The blocks of a guide that hold all of these words. */
function blocks(guide, ...words) {
  const text = readFileSync(join(here, "../../../docs/guides", guide), "utf8");
  const all = [...text.matchAll(/```js\n([^]*?)```/g)].map(([, code]) => code);
  const found = all.filter((code) => words.every((word) => code.includes(word)));
  assert.equal(found.length, 1, `${guide}: ${words}`);
  return found[0];
}

const SETUP = `
import express from "express";
import session from "express-session";
export const app = express();
app.use(express.json());
const secret = "s";
`;

describe("the guides", () => {
  let cluster, folder, servers, count;
  before(async () => {
    cluster = await Cluster.start(1, { unix: true });
    // Within the package, so that its own name and its packages are found.
    folder = mkdtempSync(join(here, ".guides-"));
    servers = { redis: await redis(folder), memcached: await memcached() };
    count = 0;
  });
  after(async () => {
    for (const server of Object.values(servers ?? {})) server?.stop();
    if (folder) rmSync(folder, { recursive: true, force: true });
    await cluster?.close();
  });

  /** Runs a snippet as a module; gives what it has defined. */
  async function run(code, names, replacements = {}) {
    let text = code.replaceAll("unix:/run/sidetalk.sock", cluster.nodes[0].api);
    for (const [from, to] of Object.entries(replacements)) {
      assert.ok(text.includes(from), from);
      text = text.replaceAll(from, to);
    }
    const file = join(folder, `${count++}.mjs`);
    writeFileSync(file, `${SETUP}${text}\nexport { ${names} };\n`);
    return import(pathToFileURL(file));
  }

  async function counted({ app }, browser) {
    app.get("/count", (request, response) => {
      request.session.n = (request.session.n ?? 0) + 1;
      response.json({ id: request.sessionID, n: request.session.n });
    });
    const served = await serve(app);
    try {
      return (await browser.fetch(served.url, "/count")).json;
    } finally {
      await served.close();
    }
  }

  const olds = {
    redis: {
      words: ["MovingStore", "RedisStore"],
      where: (server) => ({
        "createClient()": `createClient({ socket: { path: ${JSON.stringify(server.where)} } })`,
      }),
      names: "store, client",
      end: ({ client }) => client?.destroy(),
    },
    memcached: {
      words: ["MovingStore", "MemcachedStore"],
      where: (server) => ({ "127.0.0.1:11211": server.where }),
      names: "store",
      end: ({ store }) => (store.moving?.from ?? store).client.end?.(),
    },
  };
  for (const [kind, { words, where, names, end }] of Object.entries(olds)) {
    test(`from ${kind}, step by step, and back`, async (t) => {
      if (!servers[kind]) return t.skip(`${kind} is not installed`);
      const moving = blocks("from-connect-redis.md", ...words);
      const replacements = where(servers[kind]);
      // Before: the same without the new store around the old one.
      const inner = /from: (new \w+\(.*\)),/.exec(moving)[1];
      const old = moving.replace(/new MovingStore\(\{[^]*?\n\}\);/, `${inner};`);
      const browser = new Browser();
      const sites = [];
      try {
        const site = async (code, names, replacements) => {
          const made = await run(code, names, replacements);
          sites.push(made);
          return counted(made, browser);
        };
        const { id } = await site(old, names, replacements);
        assert.deepEqual(await site(moving, names, replacements), { id, n: 2 });
        assert.deepEqual(await site(old, names, replacements), { id, n: 3 });
        // What was written after going back was not seen by the cluster, which still has 2.
        const left = await site(blocks("from-connect-redis.md", "SidetalkStore("), "store");
        assert.deepEqual(left, { id, n: 3 });
      } finally {
        browser.close();
        for (const made of sites) {
          if (made.store instanceof SidetalkStore) made.store.client.close();
          end(made);
        }
      }
    });
  }

  test("a configuration that all processes have, and what they watch", async () => {
    const [shared, watched] = [blocks("sharing-objects.md", "live("), blocks("sharing-objects.md", "talk.watch(")];
    const made = await run(
      `${shared}\nexport const seen = [];\nconst watching = async (console) => {\n${watched}\nreturn state;\n};
      export const watched = watching({ log: (...line) => seen.push(line) });`,
      "talk, config",
    );
    const { app, talk, config, seen, watched: ended } = made;
    app.engine("page", (file, { theme }, done) => done(null, theme));
    writeFileSync(join(folder, "home.page"), "");
    app.set("views", folder).set("view engine", "page");
    const served = await serve(app);
    const browser = new Browser();
    try {
      assert.equal((await browser.fetch(served.url, "/")).text, "light");
      const headers = { "content-type": "application/json" };
      const set = { method: "POST", headers, body: JSON.stringify({ theme: "dark" }) };
      assert.equal((await browser.fetch(served.url, "/admin/theme", set)).status, 204);
      assert.equal((await browser.fetch(served.url, "/")).text, "dark");
      await eventually("the watcher is told", () => assert.deepEqual(seen.at(-1), ["config", { theme: "dark" }]));
    } finally {
      browser.close();
      await served.close();
      config.close?.();
      talk.close();
      await ended;
    }
  });
});

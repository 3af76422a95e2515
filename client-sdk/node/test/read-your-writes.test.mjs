// The wrapper, against every way in which an application answers, on nodes that hear of each other 150 ms late.
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, test } from "node:test";
import zlib from "node:zlib";
import compression from "compression";
import express from "express";
import express4 from "express4";
import session from "express-session";
import { readYourWrites, SidetalkStore } from "sidetalk/express-session";
import { heldNow } from "../dist/esm/express-session/methods.js";
import { Browser, serve } from "./support/app.mjs";
import { Cluster } from "./support/sidecar.mjs";
import { eventually } from "./support/wait.mjs";

const folder = mkdtempSync(join(tmpdir(), "sidetalk-send-"));
const BIG = "x".repeat(300_000);
writeFileSync(join(folder, "big.txt"), BIG);

/** Ways to answer. Each changes the session before it begins to answer, and gives the body it sends. */
const ANSWERS = {
  json: (request, response) => response.json({ ok: 1 }),
  send: (request, response) => response.send("hello"),
  "send nothing": (request, response) => response.status(204).send(),
  redirect: (request, response) => response.redirect("/read"),
  sendFile: (request, response) => response.sendFile(join(folder, "big.txt")),
  stream: (request, response) => Readable.from(["one ", "two ", "three"]).pipe(response),
  "a large stream": (request, response) =>
    Readable.from(Array.from({ length: 30 }, () => BIG.slice(0, 10_000))).pipe(response),
  "a stream that takes its time": async (request, response) => {
    response.type("text");
    for (const part of ["one ", "two ", "three"]) {
      response.write(part);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    response.end();
  },
  "writeHead and end": (request, response) => {
    response.writeHead(201, { "x-mine": "1", "content-type": "text/plain" });
    response.end("made");
  },
  "flushHeaders first": (request, response) => {
    response.type("text");
    response.flushHeaders();
    setTimeout(() => response.end("late"), 5);
  },
  "write, then end with a callback": (request, response) => {
    response.write("a", "utf8", () => undefined);
    response.end("b", "utf8", () => undefined);
  },
  "save first": (request, response) => request.session.save(() => response.json({ saved: 1 })),
  "save and do not wait": (request, response) => {
    request.session.save();
    response.json({ saved: 1 });
  },
};

const BODIES = {
  json: '{"ok":1}',
  send: "hello",
  "send nothing": "",
  sendFile: BIG,
  stream: "one two three",
  "a large stream": BIG,
  "a stream that takes its time": "one two three",
  "writeHead and end": "made",
  "flushHeaders first": "late",
  "write, then end with a callback": "ab",
  "save first": '{"saved":1}',
  "save and do not wait": '{"saved":1}',
};

/** Wraps `writeHead`, as loggers do that want to know when the head leaves. */
function watchHead(request, response, next) {
  const { writeHead } = response;
  response.writeHead = function (...args) {
    return writeHead.apply(this, args);
  };
  next();
}

/** An application: what serves, and its store. */
function application(framework, node, order, onSaveError) {
  if (!order.startsWith("mounted in")) return build(framework, framework(), node, order, onSaveError);
  // An application in another one has another prototype for responses, and gives it back when it is left.
  const [outer, inner] = [framework(), framework()];
  const around = order === "mounted in an application that wraps";
  const { store } = around
    ? build(framework, outer, node, order, onSaveError, inner)
    : build(framework, inner, node, order, onSaveError);
  outer.use(inner);
  return { app: outer, store };
}

function build(framework, app, node, order, onSaveError, pages = app) {
  const store = new SidetalkStore({ client: node.api, counters: ["n"] });
  if (order === "compression before") app.use(compression({ threshold: 0 }));
  if (order === "a logger before") app.use(watchHead);
  const middleware = session({ store, secret: "s", resave: false, saveUninitialized: false, name: "sid" });
  app.use(readYourWrites(middleware, store, { onSaveError }));
  if (order === "mounted twice") app.use(readYourWrites(middleware, store, { onSaveError }));
  if (order === "compression after") app.use(compression({ threshold: 0 }));
  pages.get("/read", (request, response) => {
    const { cookie: _, ...content } = request.session;
    response.json({ id: request.sessionID, ...content });
  });
  pages.get("/cookies", (request, response) => response.json(request.headers.cookie.split("; ")));
  pages.get("/logout", (request, response, next) => {
    request.session.destroy((error) => (error ? next(error) : response.redirect("/read")));
  });
  pages.get("/login", (request, response, next) => {
    request.session.regenerate((error) => {
      if (error) return next(error);
      request.session.user = request.query.user;
      response.redirect("/read");
    });
  });
  pages.get("/count", (request, response) => {
    request.session.n = (request.session.n ?? 0) + 1;
    response.redirect("/read");
  });
  pages.get("/answer", (request, response, next) => {
    request.session.mark = request.query.mark;
    return ANSWERS[request.query.as](request, response, next);
  });
  return { app, store };
}

const ORDERS = [
  "alone",
  "compression before",
  "compression after",
  "a logger before",
  "mounted twice",
  "mounted in another application",
  "mounted in an application that wraps",
];

describe("read your writes", () => {
  let cluster;
  before(async () => {
    cluster = await Cluster.start(2);
    await cluster.delay(150);
  });
  after(async () => {
    await cluster?.close();
    rmSync(folder, { recursive: true });
  });

  /** The same application on each node. */
  async function sites(framework, order, run) {
    const made = [];
    try {
      for (const node of cluster.nodes) {
        const { app, store } = application(framework, node, order);
        made.push({ ...(await serve(app)), store });
      }
      await run(made);
    } finally {
      for (const site of made) {
        await site.close();
        site.store.client.close();
      }
    }
  }

  function bodyOf(answer) {
    if (answer.headers["content-encoding"] === "gzip") return zlib.gunzipSync(answer.bytes).toString();
    return answer.text;
  }

  for (const [version, framework] of [
    ["Express 5", express],
    ["Express 4", express4],
  ]) {
    for (const order of ORDERS) {
      test(`${version}, ${order}: every kind of answer`, async () => {
        await sites(framework, order, async ([one, other]) => {
          for (const as of Object.keys(ANSWERS)) {
            const browser = new Browser();
            const headers = order.startsWith("compression") ? { "accept-encoding": "gzip" } : {};
            // The first answer makes the session, the second changes it.
            for (const mark of ["first", "second"]) {
              const path = `/answer?as=${encodeURIComponent(as)}&mark=${mark}`;
              const answer = await browser.fetch(one.url, path, { headers });
              assert.ok(answer.status < 400, `${as}: ${answer.status} ${answer.text}`);
              if (BODIES[as] !== undefined) assert.equal(bodyOf(answer), BODIES[as], as);
              if (as === "writeHead and end") assert.equal(answer.headers["x-mine"], "1");
              const seen = await browser.fetch(other.url, "/read");
              assert.equal(seen.status, 200, seen.text);
              assert.equal(seen.json.mark, mark, `${as}, ${mark}: ${seen.text}`);
            }
            browser.close();
          }
        });
      });
    }
  }

  test("HEAD and a conditional request that ends in 304", async () => {
    await sites(express, "alone", async ([one, other]) => {
      const browser = new Browser();
      const first = await browser.fetch(one.url, "/answer?as=json&mark=first");
      const head = await browser.fetch(one.url, "/answer?as=json&mark=head", { method: "HEAD" });
      assert.equal(head.status, 200);
      assert.equal((await browser.fetch(other.url, "/read")).json.mark, "head");
      const headers = { "if-none-match": first.headers.etag };
      const again = await browser.fetch(one.url, "/answer?as=json&mark=again", { headers });
      assert.equal(again.status, 304);
      assert.equal((await browser.fetch(other.url, "/read")).json.mark, "again");
      browser.close();
    });
  });

  test("the redirect after a write reads it, a thousand times", async () => {
    await sites(express, "alone", async (both) => {
      const ROUNDS = Number(process.env.REDIRECTS ?? 1000);
      let waited = 0;
      // On a busy machine some reads come after the replication, and show nothing: as many are made as it takes.
      const user = async (most) => {
        const browser = new Browser();
        for (let at = 1; waited < ROUNDS && at <= most; at++) {
          const moved = await browser.fetch(both[at % 2].url, "/count");
          assert.equal(moved.status, 302);
          const began = performance.now();
          const seen = await browser.fetch(both[(at + 1) % 2].url, moved.headers.location);
          if (performance.now() - began > 100) waited++;
          assert.equal(seen.json.n, at, seen.text);
        }
        // The write before is merged into the one after it: cookies do not pile up.
        assert.ok(browser.cookies.size <= 3, [...browser.cookies.keys()].join());
        browser.close();
      };
      await Promise.all(Array.from({ length: 20 }, () => user((3 * ROUNDS) / 20)));
      assert.ok(waited >= ROUNDS, `only ${waited} reads came before the replication`);
    });
  });

  test("login and logout are read at once on the other node", async () => {
    await sites(express, "alone", async ([one, other]) => {
      const browser = new Browser();
      await browser.fetch(one.url, "/count");
      const before = (await browser.fetch(other.url, "/read")).json;
      await browser.fetch(one.url, "/login?user=ada");
      const seen = (await browser.fetch(other.url, "/read")).json;
      assert.equal(seen.user, "ada");
      assert.notEqual(seen.id, before.id);
      const kept = new Map(browser.cookies);
      await browser.fetch(other.url, "/logout");
      const gone = (await browser.fetch(one.url, "/read")).json;
      assert.equal(gone.user, undefined);
      assert.notEqual(gone.id, seen.id);
      // The session's own cookie of before, with the tokens of now: still gone.
      browser.cookies.set("sid", kept.get("sid"));
      assert.notEqual((await browser.fetch(one.url, "/read")).json.id, seen.id);
      browser.close();
    });
  });

  test("two requests of one browser at once: neither token is lost", async () => {
    await sites(express, "alone", async ([one, other]) => {
      const browser = new Browser();
      await browser.fetch(one.url, "/answer?as=json&mark=0");
      for (let round = 0; round < 20; round++) {
        await Promise.all([
          browser.fetch(one.url, "/count"),
          browser.fetch(other.url, `/answer?as=json&mark=${round}`),
          browser.fetch(one.url, "/count"),
        ]);
        for (const site of [one, other]) {
          const { json } = await browser.fetch(site.url, "/read");
          assert.deepEqual([json.n, json.mark], [2 * (round + 1), String(round)]);
        }
      }
      browser.close();
    });
  });

  test("an application sees the cookies as they came, and responses without the wrapper are left alone", async () => {
    await sites(express, "alone", async ([one]) => {
      const browser = new Browser();
      await browser.fetch(one.url, "/count");
      const names = () => [...browser.cookies].map(([name, value]) => `${name}=${value}`);
      assert.ok(names().some((pair) => pair.startsWith("sidetalk-")));
      const before = names();
      assert.deepEqual((await browser.fetch(one.url, "/cookies")).json, before);
      const app = express();
      app.get("/", (_, response) => {
        response.write("a");
        const sent = response.headersSent;
        response.end(String(sent));
      });
      const other = await serve(app);
      assert.equal((await browser.fetch(other.url, "/")).text, "atrue");
      await other.close();
      browser.close();
    });
  });

  test("what is assigned to a response's methods is called, whenever that happens, and stays off the response", async () => {
    const store = new SidetalkStore({ client: cluster.nodes[0].api });
    const app = express();
    const seen = [];
    const wrap = (response, name, when) => {
      const inner = response[name];
      response[name] = function (...args) {
        seen.push(`${when} ${name}`);
        return inner.apply(this, args);
      };
    };
    const both = (response, when) => ["writeHead", "end"].forEach((name) => wrap(response, name, when));
    app.use((request, response, next) => {
      // Once the wrapper has the response, and the session is still being loaded.
      if (request.url === "/early") process.nextTick(() => both(response, "while it loads"));
      if (request.url === "/plain") both(response, "without");
      return request.url === "/plain" ? response.end("plain") : next();
    });
    const middleware = session({ store, secret: "s", resave: false, saveUninitialized: false, name: "sid" });
    app.use(readYourWrites(middleware, store));
    app.use((request, response, next) => {
      request.own = ["writeHead", "end"].filter((name) => Object.hasOwn(response, name));
      both(response, "after");
      next();
    });
    app.get("/*all", (request, response) => {
      request.session.n = (request.session.n ?? 0) + 1;
      response.json({ n: request.session.n, own: request.own, session: "session" in request });
    });
    const served = await serve(app);
    const browser = new Browser();
    try {
      assert.deepEqual((await browser.fetch(served.url, "/first")).json, { n: 1, own: [], session: true });
      const after = ["after end", "after writeHead"];
      assert.deepEqual(seen.splice(0).sort(), after);
      const early = await browser.fetch(served.url, "/early");
      assert.deepEqual(early.json, { n: 2, own: [], session: true });
      assert.deepEqual(seen.splice(0).sort(), [...after, "while it loads end", "while it loads writeHead"]);
      assert.equal((await browser.fetch(served.url, "/plain")).text, "plain");
      assert.deepEqual(seen.splice(0).sort(), ["without end", "without writeHead"]);
      assert.equal((await browser.fetch(served.url, "/third")).json.n, 3);
    } finally {
      browser.close();
      await served.close();
      store.client.close();
    }
  });

  test("without Express too", async () => {
    for (const node of cluster.nodes.slice(0, 1)) {
      const store = new SidetalkStore({ client: node.api });
      const middleware = session({ store, secret: "s", resave: false, saveUninitialized: false, name: "sid" });
      const wrapped = readYourWrites(middleware, store);
      const served = await serve((request, response) =>
        wrapped(request, response, () => {
          request.session.n = (request.session.n ?? 0) + 1;
          assert.equal(response.headersSent, false);
          response.write("n is ");
          assert.equal(response.headersSent, true);
          response.end(String(request.session.n));
        }),
      );
      const browser = new Browser();
      for (const n of [1, 2, 3]) {
        const answer = await browser.fetch(served.url, "/");
        assert.equal(answer.text, `n is ${n}`);
        assert.match(String(answer.headers["set-cookie"]), /sidetalk-/);
      }
      browser.close();
      await served.close();
      store.client.close();
    }
  });

  /** One application on the first node, mounted by `mount`. */
  async function site(mount, run) {
    const store = new SidetalkStore({ client: cluster.nodes[0].api });
    const middleware = session({ store, secret: "s", resave: false, saveUninitialized: false, name: "sid" });
    const app = express();
    mount(app, middleware, store);
    const served = await serve(app);
    const browser = new Browser();
    try {
      await run((path) => browser.fetch(served.url, path), store);
    } finally {
      browser.close();
      await served.close();
      store.client.close();
    }
  }

  test("nothing is kept of requests that the wrapped middleware answers by itself", async () => {
    const mount = (app, middleware, store) => {
      const guarded = (request, response, next) => {
        if (request.path === "/at-once") return void response.status(401).end();
        if (request.path === "/later") return void setTimeout(() => response.status(401).end(), 5);
        middleware(request, response, (error) => {
          if (request.path === "/loaded") return void response.status(401).end();
          if (request.path !== "/changed") return next(error);
          request.session.at = request.path;
          response.status(401).send("changed");
        });
      };
      app.use(readYourWrites(guarded, store));
      app.get("/", (request, response) => response.send("served"));
    };
    await site(mount, async (fetch) => {
      for (const path of ["/at-once", "/later", "/loaded", "/changed"]) {
        for (let at = 0; at < 20; at++) assert.equal((await fetch(path)).status, 401);
      }
      assert.equal((await fetch("/")).text, "served");
      await eventually("none is kept", () => assert.deepEqual(heldNow(), { early: 0, led: 0 }));
    });
  });

  test("a handler may give its request another store, or this one again", async () => {
    const mount = (app, middleware, store) => {
      app.use(readYourWrites(middleware, store));
      const count = (request) => (request.session.n = (request.session.n ?? 0) + 1);
      app.get("/json", (request, response) => {
        request.sessionStore = store;
        response.json({ n: count(request) });
      });
      app.get("/streamed", (request, response) => {
        request.sessionStore = new session.MemoryStore();
        response.write(`${count(request)}`);
        setTimeout(() => response.end(), 5);
      });
      app.get("/anew", (request, response, next) => {
        request.sessionStore = store;
        request.session.regenerate((error) => (error ? next(error) : response.json({ n: count(request) })));
      });
    };
    await site(mount, async (fetch) => {
      assert.equal((await fetch("/json")).json.n, 1);
      assert.equal((await fetch("/json")).json.n, 2);
      assert.equal((await fetch("/streamed")).text, "3");
      const { json, headers } = await fetch("/json");
      assert.equal(json.n, 3, "what another store was given is not in this one");
      assert.ok(headers["set-cookie"].some((line) => line.startsWith("sidetalk-")));
      assert.equal((await fetch("/anew")).json.n, 1);
      assert.equal((await fetch("/json")).json.n, 2);
      await eventually("none is kept", () => assert.deepEqual(heldNow(), { early: 0, led: 0 }));
    });
  });

  test("mounted twice, and the application has removed the session in between", async () => {
    const mount = (app, middleware, store) => {
      app.use(readYourWrites(middleware, store));
      app.get("/set", (request, response) => {
        request.session.n = 1;
        response.send("set");
      });
      const again = (request, response) => {
        request.session.again = (request.session.again ?? 0) + 1;
        response.send("again");
      };
      const remove = (request, response, next) => {
        request.session = null;
        next();
      };
      app.get("/again", remove, readYourWrites(middleware, store), again);
      app.get("/see", (request, response) => response.json({ again: request.session.again }));
    };
    await site(mount, async (fetch) => {
      for (const again of [1, 2]) {
        if (again > 1) await fetch("/set");
        const answer = await fetch("/again");
        assert.equal(answer.text, "again");
        assert.match(String(answer.headers["set-cookie"]), /sidetalk-/);
        assert.deepEqual((await fetch("/see")).json, { again });
      }
    });
  });

  test("a middleware that goes on twice", async () => {
    const mount = (app, middleware, store) => {
      const twice = (request, response, next) => {
        middleware(request, response, () => {
          next();
          next();
        });
      };
      app.use(readYourWrites(twice, store));
      app.get("/", (request, response) => {
        if (response.headersSent) return;
        request.session.n = 1;
        response.send("once");
      });
    };
    await site(mount, async (fetch) => {
      const answer = await fetch("/");
      assert.equal(answer.text, "once");
      assert.match(String(answer.headers["set-cookie"]), /sidetalk-/);
    });
  });

  test("a session that cannot be written fails its response when it is saved early", async () => {
    const mount = (app, middleware, store) => {
      app.use(readYourWrites(middleware, store));
      app.get("/", (request, response) => {
        request.session.ok = 1;
        response.write("x");
        request.session.n = 10n;
        setTimeout(() => response.end("y"), 20);
      });
    };
    await site(mount, async (fetch) => {
      for (let round = 0; round < 2; round++) {
        const answer = await fetch("/");
        assert.equal(answer.status, 503);
        assert.equal(answer.json.code, "session_not_saved");
      }
    });
  });

  test("what a request carries asynchronously is with it after its session was read and saved", async () => {
    const [node] = cluster.nodes;
    const carried = new AsyncLocalStorage();
    const store = new SidetalkStore({ client: node.api });
    const app = express();
    app.use((request, response, next) => carried.run(request.query.is, next));
    app.use(readYourWrites(session({ store, secret: "s", resave: false, saveUninitialized: false }), store));
    app.get("/", (request, response) => {
      const read = carried.getStore();
      request.session.is = read;
      const saves = [1, 2].map(
        (at) =>
          new Promise((resolve, reject) => {
            request.session[`at${at}`] = at;
            request.session.save((error) => (error ? reject(error) : resolve(carried.getStore())));
          }),
      );
      void Promise.all(saves).then((saved) => response.json([read, ...saved]));
    });
    const served = await serve(app);
    const browsers = Array.from({ length: 8 }, () => new Browser());
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(browsers.map((browser, at) => browser.fetch(served.url, `/?is=${at}`)));
      answers.forEach((answer, at) => assert.deepEqual(answer.json, [at, at, at].map(String)));
    }
    for (const browser of browsers) browser.close();
    await served.close();
    store.client.close();
  });

  test("a cookie that is no token, or not ours, does no harm", async () => {
    await sites(express, "alone", async ([one]) => {
      const browser = new Browser();
      await browser.fetch(one.url, "/count");
      for (const value of ["AAAA", "not/a/token", "", "x".repeat(2_000)]) {
        browser.cookies.set("sidetalk-abc-1", value);
        const seen = await browser.fetch(one.url, "/read");
        assert.equal(seen.status, 200, seen.text);
        assert.equal(seen.json.n, 1);
      }
      browser.close();
    });
  });

  test("a node that is cut off says so, and does not answer with the past", async () => {
    await sites(express, "alone", async ([one, other]) => {
      const browser = new Browser();
      await browser.fetch(one.url, "/count");
      assert.equal((await browser.fetch(other.url, "/read")).json.n, 1);
      await cluster.cut(1);
      await browser.fetch(one.url, "/count");
      const behind = await browser.fetch(other.url, "/read");
      assert.equal(behind.status, 503);
      const kept = browser.cookies.get("sid");
      await browser.fetch(one.url, "/logout");
      browser.cookies.set("sid", kept);
      assert.equal((await browser.fetch(other.url, "/read")).status, 503);
      // Who has never heard of a session and cannot ask everyone does not say that there is none.
      const stranger = new Browser();
      await stranger.fetch(one.url, "/count");
      for (const name of stranger.cookies.keys()) if (name !== "sid") stranger.cookies.delete(name);
      assert.equal((await stranger.fetch(other.url, "/read")).status, 503);
      await cluster.heal();
      assert.equal((await stranger.fetch(other.url, "/read")).json.n, 1);
      assert.equal((await browser.fetch(other.url, "/read")).json.n, undefined);
      await cluster.delay(150);
      browser.close();
      stranger.close();
    });
  });
});

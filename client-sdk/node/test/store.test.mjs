// The store, through the real express-session: everything that worked before works, and sends little.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, beforeEach, describe, test } from "node:test";
import express from "express";
import session from "express-session";
import passport from "passport";
import { Sidetalk } from "sidetalk";
import { SidetalkStore } from "sidetalk/express-session";
import { Browser, serve } from "./support/app.mjs";
import { Cluster } from "./support/sidecar.mjs";
import { eventually } from "./support/wait.mjs";

describe("the store under express-session", () => {
  let cluster, talk;
  before(async () => {
    cluster = await Cluster.start(1);
    talk = new Sidetalk(cluster.nodes[0].api);
  });
  after(async () => {
    talk.close();
    await cluster?.close();
  });

  /** The calls that a store makes. */
  function listen(store) {
    const calls = [];
    const { transport } = store.client;
    const call = transport.call.bind(transport);
    transport.call = (request, signal) => {
      calls.push(request);
      return call(request, signal);
    };
    return {
      take: () =>
        calls.splice(0).map(({ method, path, body }) => ({ method, path: path.replace(/\?.*/, ""), body })),
    };
  }

  /** Runs an application with these handlers: each path is a function of request and response. */
  async function site(options, handlers, run, storeOptions = {}) {
    const store = new SidetalkStore({ client: cluster.nodes[0].api, ...storeOptions });
    const app = express();
    const settings = { store, secret: "s", resave: false, saveUninitialized: false, name: "sid", ...options };
    app.use(session(settings));
    if (options.twice) app.use(session(settings));
    for (const [path, act] of Object.entries(handlers)) app.get(`/${path}`, act);
    app.get("/show", (request, response) => {
      const { cookie: _, ...content } = request.session;
      response.json(content);
    });
    app.use((error, request, response, _next) => response.status(error.status ?? 500).json({ code: error.code }));
    const served = await serve(app);
    const browser = new Browser();
    const calls = listen(store);
    const get = async (path) => {
      const answer = await browser.fetch(served.url, `/${path}`);
      return Object.assign(answer.text.startsWith("{") ? answer.json : { text: answer.text }, { $: answer });
    };
    const show = async () => {
      const { $: _, ...content } = await get("show");
      return content;
    };
    try {
      await run({ get, show, browser, store, calls, url: served.url });
    } finally {
      browser.close();
      await served.close();
      store.client.close();
    }
  }

  const ok = (act) => (request, response) => {
    act(request.session, request);
    response.json({ id: request.sessionID });
  };

  test("only what has changed is sent, path by path", async () => {
    const handlers = {
      login: ok((s) =>
        Object.assign(s, { user: { name: "ada", age: 36 }, cart: { apples: 1, pears: 2 }, list: [1, 2] }),
      ),
      change: ok((s) => {
        s.user.age = 37;
        delete s.cart.pears;
        s.cart.plums = 3;
        s.empty = {};
        s.list.push(3);
      }),
      clear: ok((s) => (s.cart = {})),
      shape: ok((s) => {
        s.list = { now: "object" };
        s.user = "ada";
      }),
      null: ok((s) => Object.assign(s, { nothing: null, n: { also: null, none: {} } })),
    };
    await site({}, handlers, async ({ get, show, calls }) => {
      await get("login");
      assert.deepEqual(
        calls.take().map((call) => call.method),
        ["PUT"],
      );
      await get("change");
      const [read, change] = calls.take();
      assert.equal(read.method, "GET");
      assert.equal(change.method, "PATCH");
      assert.deepEqual(JSON.parse(change.body), {
        cart: { pears: null, plums: 3 },
        empty: {},
        list: [1, 2, 3],
        user: { age: 37 },
      });
      assert.deepEqual(await show(), {
        user: { name: "ada", age: 37 },
        cart: { apples: 1, plums: 3 },
        list: [1, 2, 3],
        empty: {},
      });
      calls.take();
      await get("change");
      assert.deepEqual(JSON.parse(calls.take()[1].body), { list: [1, 2, 3, 3] });
      await get("clear");
      await get("shape");
      await get("null");
      assert.deepEqual(await show(), {
        user: "ada",
        cart: {},
        list: { now: "object" },
        empty: {},
        nothing: null,
        n: { also: null, none: {} },
      });
    });
  });

  test("a request that only reads costs one read, until the lease runs down", async () => {
    await site(
      { cookie: { maxAge: 3_600_000 } },
      { login: ok((s) => (s.user = "ada")) },
      async ({ get, calls, store }) => {
        const { id } = await get("login");
        calls.take();
        await get("show");
        assert.deepEqual(
          calls.take().map((call) => call.method),
          ["GET"],
        );
        // As time would: another node has seen the lease at half its length.
        const half = await new Promise((resolve, reject) => {
          store.get(id, (error, data) => (error ? reject(error) : resolve(data)));
        });
        calls.take();
        half.cookie.expires = new Date(Date.now() + 7_200_000).toISOString();
        await new Promise((resolve) => store.touch(id, half, resolve));
        assert.deepEqual(
          calls.take().map((call) => `${call.method} ${call.path}`),
          [`POST /v1/sessions/${id}/touch`],
        );
      },
    );
  });

  test("nothing of a response leaves before its session is saved, whoever saves it", async () => {
    const handlers = {
      write: (request, response) => {
        request.session.n = 1;
        response.json({ ok: true });
      },
      stream: (request, response) => {
        response.type("text").write("one ");
        setImmediate(() => {
          request.session.n = 2;
          request.session.save(() => response.end("two"));
        });
      },
    };
    await site({}, handlers, async ({ store, url }) => {
      const { transport } = store.client;
      const call = transport.call.bind(transport);
      let release, saving;
      const begun = new Promise((resolve) => (saving = resolve));
      transport.call = async (request, signal) => {
        if (request.method === "PUT") {
          saving();
          await new Promise((resolve) => (release = resolve));
        }
        return call(request, signal);
      };
      const { hostname, port } = new URL(url);
      const socket = connect(Number(port), hostname);
      let came = "";
      socket.setEncoding("latin1").on("data", (text) => (came += text));
      try {
        socket.write("GET /write HTTP/1.1\r\nhost: x\r\n\r\n");
        await begun;
        // Another request on another connection is answered meanwhile: this one has had its time.
        const other = new Browser();
        await other.fetch(url, "/show");
        other.close();
        assert.equal(came, "");
        release();
        await eventually("the response", () => assert.match(came, /\{"ok":true\}$/));
        const cookie = /set-cookie: (sid=[^;]*)/i.exec(came)[1];
        came = "";
        socket.write(`GET /stream HTTP/1.1\r\nhost: x\r\ncookie: ${cookie}\r\n\r\n`);
        await eventually("the stream", () => assert.match(came, /one [^]*two[^]*0\r\n\r\n$/));
      } finally {
        socket.destroy();
      }
    });
  });

  test("resave saves nothing that is not new", async () => {
    await site({ resave: true, rolling: true }, { login: ok((s) => (s.user = "ada")) }, async ({ get, calls }) => {
      await get("login");
      calls.take();
      const { $ } = await get("show");
      assert.match($.headers["set-cookie"][0], /^sid=/);
      assert.deepEqual(
        calls.take().map((call) => call.method),
        ["GET"],
      );
    });
  });

  test("saveUninitialized stores empty sessions, and without it none is stored", async () => {
    await site({ saveUninitialized: true }, {}, async ({ get, calls, browser }) => {
      await get("show");
      assert.deepEqual(
        calls.take().map((call) => call.method),
        ["PUT"],
      );
      assert.ok(browser.cookies.has("sid"));
      await get("show");
      assert.deepEqual(
        calls.take().map((call) => call.method),
        ["GET"],
      );
    });
    await site({}, {}, async ({ get, calls, browser }) => {
      await get("show");
      assert.deepEqual(calls.take(), []);
      assert.ok(!browser.cookies.has("sid"));
    });
  });

  test("a session ends with unset: destroy, and with destroy", async () => {
    const handlers = {
      login: ok((s) => (s.user = "ada")),
      unset: (request, response) => {
        request.session = null;
        response.json({});
      },
      destroy: (request, response) => request.session.destroy((error) => response.json({ error })),
    };
    for (const path of ["unset", "destroy"]) {
      await site({ unset: "destroy" }, handlers, async ({ get }) => {
        const { id } = await get("login");
        await get(path);
        await assert.rejects(talk.session(id).read(), { code: "ended" });
      });
    }
  });

  test("a session that was destroyed cannot be saved again", async () => {
    const handlers = {
      login: ok((s) => (s.user = "ada")),
      zombie: (request, response, next) => {
        const { session } = request;
        session.destroy((error) => {
          if (error) return next(error);
          session.user = "again";
          request.session = session;
          session.save((error) => (error ? next(error) : response.json({})));
        });
      },
    };
    await site({}, handlers, async ({ get, store }) => {
      const { id } = await get("login");
      const ended = new Promise((resolve) => store.once("ended", resolve));
      assert.equal((await get("zombie")).$.status, 200);
      assert.equal(await ended, id);
      await assert.rejects(talk.session(id).read(), { code: "ended" });
      // Nor can a new one under its id.
      await assert.rejects(
        new Promise((resolve, reject) => {
          store.set(id, { cookie: {}, user: "other" }, (error) => (error ? reject(error) : resolve()));
        }),
        { code: "session_id_used" },
      );
    });
  });

  test("save twice, reload, and regenerate", async () => {
    const handlers = {
      login: ok((s) => (s.user = "ada")),
      twice: (request, response, next) => {
        request.session.a = 1;
        request.session.save((error) => {
          if (error) return next(error);
          request.session.b = 2;
          response.json({});
        });
      },
      atOnce: (request, response, next) => {
        let left = 2;
        const done = (error) => (error ? next(error) : --left === 0 && response.json({}));
        request.session.c = 1;
        request.session.save(done);
        request.session.d = 2;
        request.session.save(done);
      },
      reload: (request, response, next) => {
        const { sessionID: id } = request;
        request.session.lost = true;
        void talk
          .session(id)
          .patch({ elsewhere: 1 })
          .then(() => {
            request.session.reload((error) => {
              if (error) return next(error);
              request.session.seen = request.session.elsewhere;
              response.json({});
            });
          }, next);
      },
      regenerate: (request, response, next) => {
        const { sessionID: old } = request;
        request.session.regenerate((error) => {
          if (error) return next(error);
          request.session.user = "eve";
          response.json({ old, id: request.sessionID });
        });
      },
    };
    await site({}, handlers, async ({ get, show }) => {
      await get("login");
      await get("twice");
      await get("atOnce");
      await get("reload");
      assert.deepEqual(await show(), { user: "ada", a: 1, b: 2, c: 1, d: 2, elsewhere: 1, seen: 1 });
      const { old, id } = await get("regenerate");
      assert.notEqual(old, id);
      assert.deepEqual(await show(), { user: "eve" });
      await assert.rejects(talk.session(old).read(), { code: "ended" });
    });
    // New, and saved twice before its first save has answered.
    await site({}, handlers, async ({ get, show }) => {
      await get("atOnce");
      assert.deepEqual(await show(), { c: 1, d: 2 });
    });
  });

  test("passport's login and logout", async () => {
    const authenticator = new passport.Passport();
    authenticator.serializeUser((user, done) => done(null, user.id));
    authenticator.deserializeUser((id, done) => done(null, { id }));
    const store = new SidetalkStore({ client: cluster.nodes[0].api });
    const app = express();
    app.use(session({ store, secret: "s", resave: false, saveUninitialized: false, name: "sid" }));
    app.use(authenticator.session());
    app.get(
      "/before",
      ok((s) => (s.cart = { apples: 1 })),
    );
    app.get("/login", (request, response, next) => {
      request.login({ id: 7 }, { keepSessionInfo: true }, (error) => (error ? next(error) : response.json({})));
    });
    app.get("/logout", (request, response, next) => {
      request.logout((error) => (error ? next(error) : response.json({})));
    });
    app.get("/me", (request, response) =>
      response.json({ user: request.user ?? null, cart: request.session.cart ?? null }),
    );
    const served = await serve(app);
    const browser = new Browser();
    const me = async () => (await browser.fetch(served.url, "/me")).json;
    await browser.fetch(served.url, "/before");
    const before = browser.cookies.get("sid");
    assert.equal((await browser.fetch(served.url, "/login")).status, 200);
    assert.notEqual(browser.cookies.get("sid"), before);
    assert.deepEqual(await me(), { user: { id: 7 }, cart: { apples: 1 } });
    assert.equal((await browser.fetch(served.url, "/logout")).status, 200);
    assert.deepEqual((await me()).user, null);
    browser.close();
    await served.close();
    store.client.close();
  });

  test("a changed age of the cookie is stored, also without any other change", async () => {
    const handlers = {
      login: ok((s) => (s.user = "ada")),
      remember: ok((s) => (s.cookie.maxAge = 30 * 86_400_000)),
      age: (request, response) => response.json({ age: request.session.cookie.originalMaxAge }),
    };
    await site({ cookie: { maxAge: 60_000 } }, handlers, async ({ get, calls }) => {
      const { id } = await get("login");
      const lease = async () => (await talk.session(id).read()).expiresInSeconds;
      assert.ok((await lease()) <= 64);
      calls.take();
      await get("remember");
      assert.equal(JSON.parse(calls.take()[1].body).cookie.originalMaxAge, 30 * 86_400_000);
      assert.ok((await lease()) > 29 * 86_400);
      assert.equal((await get("age")).age, 30 * 86_400_000);
    });
  });

  test("a cookie without an age lives as long as the store says, and one that has expired not at all", async () => {
    const handlers = { login: ok((s) => (s.user = "ada")), expire: ok((s) => (s.cookie.maxAge = -1)) };
    await site(
      {},
      handlers,
      async ({ get }) => {
        const { id } = await get("login");
        const { expiresInSeconds } = await talk.session(id).read();
        assert.ok(expiresInSeconds >= 100 && expiresInSeconds <= 107, String(expiresInSeconds));
        await get("expire");
        await assert.rejects(talk.session(id).read(), { code: "ended" });
      },
      { ttlSeconds: 100 },
    );
  });

  test("the session middleware mounted twice, and a path of its own", async () => {
    await site({ twice: true }, { login: ok((s) => (s.user = "ada")) }, async ({ get, show, calls }) => {
      await get("login");
      assert.deepEqual(
        calls.take().map((call) => call.method),
        ["PUT"],
      );
      assert.deepEqual(await show(), { user: "ada" });
    });
  });

  test("ids of the application's own, with any characters", async () => {
    let count = 0;
    const genid = () => `user/é ${process.pid}-${++count}%2F..`;
    await site({ genid }, { login: ok((s) => (s.user = "ada")) }, async ({ get, show }) => {
      const { id } = await get("login");
      assert.deepEqual(await show(), { user: "ada" });
      assert.deepEqual((await talk.session(id).get()).user, "ada");
    });
    // Two first requests under one id at once: both stay.
    const handlers = { a: ok((s) => (s.a = 1)), b: ok((s) => (s.b = 1)) };
    await site({ genid: () => `fixed-${process.pid}` }, handlers, async ({ get, show }) => {
      await Promise.all([get("a"), get("b")]);
      assert.deepEqual(await show(), { a: 1, b: 1 });
    });
  });

  test("counters and sets, declared by name and by path", async () => {
    const handlers = {
      login: ok((s) => Object.assign(s, { views: 5, stats: { a: 1 }, roles: ["b", "a"], deep: { tags: ["x"] } })),
      view: ok((s) => {
        s.views += 2;
        s.stats.a--;
        s.stats.b = (s.stats.b ?? 0) + 1;
      }),
      grant: ok((s) => {
        s.roles.push("c");
        s.roles = s.roles.filter((role) => role !== "a");
        s.deep.tags = [];
      }),
      regrant: ok((s) => s.deep.tags.push("y")),
      drop: ok((s) => {
        delete s.roles;
        delete s.views;
      }),
      odd: ok((s) => {
        s.views = "many";
        s.roles = [1, 2];
      }),
      even: ok((s) => {
        s.views = 1;
        s.roles = ["z"];
      }),
    };
    const declared = { counters: ["views", "stats.a", ["stats", "b"]], sets: ["roles", "deep.tags"] };
    await site(
      {},
      handlers,
      async ({ get, show, calls }) => {
        await get("login");
        assert.deepEqual(await show(), { views: 5, stats: { a: 1 }, roles: ["a", "b"], deep: { tags: ["x"] } });
        calls.take();
        await get("view");
        assert.deepEqual(JSON.parse(calls.take()[1].body), [
          { op: "incr", path: ["stats", "a"], by: -1 },
          { op: "incr", path: ["stats", "b"], by: 1 },
          { op: "incr", path: ["views"], by: 2 },
        ]);
        await get("grant");
        assert.deepEqual(await show(), { views: 7, stats: { a: 0, b: 1 }, roles: ["b", "c"], deep: { tags: [] } });
        await get("regrant");
        await get("drop");
        assert.deepEqual(await show(), { stats: { a: 0, b: 1 }, roles: [], deep: { tags: ["y"] } });
        // What is not of its shape is a value like any other; and back.
        await get("odd");
        assert.deepEqual(await show(), {
          stats: { a: 0, b: 1 },
          views: "many",
          roles: [1, 2],
          deep: { tags: ["y"] },
        });
        await get("even");
        assert.deepEqual(await show(), { stats: { a: 0, b: 1 }, views: 1, roles: ["z"], deep: { tags: ["y"] } });
      },
      declared,
    );
  });

  test("another shape that somebody else has put there gives way to what is declared", async () => {
    const handlers = {
      login: ok((s) => Object.assign(s, { roles: ["a"], views: 1 })),
      slow: (request, response, next) => {
        const { session, sessionID: id } = request;
        void talk
          .session(id)
          .patch({ roles: "none", views: [1] })
          .then(() => {
            session.roles.push("b");
            session.views++;
            response.json({});
          }, next);
      },
    };
    await site(
      {},
      handlers,
      async ({ get, show }) => {
        await get("login");
        assert.equal((await get("slow")).$.status, 200);
        assert.deepEqual(await show(), { roles: ["a", "b"], views: 2 });
      },
      { counters: ["views"], sets: ["roles"] },
    );
  });

  test("numbers that JavaScript cannot hold stay as they are when others change", async () => {
    await site({}, { login: ok((s) => (s.user = "ada")), more: ok((s) => (s.more = 1)) }, async ({ get }) => {
      const { id } = await get("login");
      const answer = await cluster.nodes[0].ask("GET", `/v1/sessions/${id}`);
      assert.equal(answer.status, 200);
      const { request } = await import("node:http");
      const url = new URL(cluster.nodes[0].api);
      await new Promise((resolve, reject) => {
        const asked = request(
          {
            host: url.hostname,
            port: url.port,
            method: "PATCH",
            path: `/v1/sessions/${id}`,
            headers: { "content-type": "application/json" },
          },
          (response) => response.resume().on("end", resolve),
        );
        asked.on("error", reject);
        asked.end('{"big":12345678901234567890}');
      });
      await get("more");
      const { text } = await cluster.nodes[0].ask("GET", `/v1/sessions/${id}`);
      assert.match(text, /"big":12345678901234567890/);
      assert.match(text, /"more":1/);
    });
  });

  test("all, ids, length, clear, and data that was never loaded", async () => {
    const store = new SidetalkStore({ client: cluster.nodes[0].api, prefix: "app2:" });
    const call = (method, ...args) =>
      new Promise((resolve, reject) =>
        store[method](...args, (error, value) => (error ? reject(error) : resolve(value))),
      );
    for (let at = 0; at < 150; at++) await call("set", `s${at}`, { cookie: { originalMaxAge: null }, at });
    assert.equal(await call("length"), 150);
    assert.ok((await call("ids")).includes("s149"));
    const all = await call("all");
    assert.deepEqual(
      all.map((one) => one.at).sort((a, b) => a - b),
      Array.from({ length: 150 }, (_, at) => at),
    );
    assert.equal(all.find((one) => one.at === 3).id, "s3");
    // Data takes the place of what is there.
    await call("set", "s3", { cookie: {}, other: 1 });
    const { cookie: _, __sidetalk: __, ...content } = await call("get", "s3");
    assert.deepEqual({ ...content }, { other: 1 });
    // What was read and given back is a change.
    const read = await call("get", "s4");
    await talk.session("app2:s4").patch({ elsewhere: 1 });
    read.mine = 1;
    await call("set", "s4", read);
    const { at, elsewhere, mine } = await talk.session("app2:s4").get();
    assert.deepEqual({ at, elsewhere, mine }, { at: 4, elsewhere: 1, mine: 1 });
    const loaded = await call("load", "s5");
    assert.equal(loaded.at, 5);
    await call("clear");
    assert.equal(await call("length"), 0);
    assert.equal(await call("get", "s5"), null);
    store.client.close();
  });

  test("a request whose socket cannot hold anything back", async () => {
    const store = new SidetalkStore({ client: cluster.nodes[0].api });
    const cookie = { originalMaxAge: 60_000, expires: new Date(Date.now() + 60_000) };
    const req = { httpVersionMajor: 1, socket: {} };
    await new Promise((resolve, reject) => {
      store.set("made-up", { cookie, req }, (error) => (error ? reject(error) : resolve()));
    });
    store.client.close();
  });

  test("it makes sessions as express-session's own base class does", () => {
    const store = new SidetalkStore({ client: cluster.nodes[0].api });
    const expires = new Date(Date.now() + 60_000);
    const cookies = [
      {},
      { originalMaxAge: null, expires: null, httpOnly: true, path: "/" },
      { originalMaxAge: 60_000, expires, httpOnly: false, path: "/app", secure: true, sameSite: "lax" },
      { path: "/", expires: expires.toISOString(), originalMaxAge: 50_000, partitioned: true, priority: "high" },
      { maxAge: null, domain: "example.org", data: 1, own: "x" },
    ];
    for (const cookie of cookies) {
      const [one, other] = [store, session.Store.prototype].map((maker) => {
        const request = { sessionID: "an-id", sessionStore: store };
        const made = maker.createSession.call(store, request, { user: "ada", cookie: { ...cookie }, save: 1 });
        assert.equal(request.session, made);
        return made;
      });
      assert.ok(one.cookie instanceof session.Cookie);
      assert.deepEqual(Object.keys(one), Object.keys(other));
      // Its expiry, and all else that it has.
      assert.deepEqual({ ...one.cookie }, { ...other.cookie });
      assert.deepEqual(one, other);
      assert.equal(one.id, "an-id");
    }
    assert.throws(() => store.createSession({ sessionID: "an-id" }, { user: "ada" }), TypeError);
    store.client.close();
  });

  test("an expired session is gone", async () => {
    await site({ cookie: { maxAge: 1_000 } }, { login: ok((s) => (s.user = "ada")) }, async ({ get, browser }) => {
      const { id } = await get("login");
      await eventually("the session has expired", () =>
        assert.rejects(talk.session(id).read(), { code: "ended" }),
      );
      assert.ok(browser.cookies.has("sid"));
      assert.equal((await get("show")).user, undefined);
    });
  });
});

// The client and its transport, against servers that do what servers do on bad days.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { Sidetalk } from "sidetalk";
import { AnswerReader } from "../dist/esm/transport/http1.js";
import { Cluster } from "./support/sidecar.mjs";
import { eventually } from "./support/wait.mjs";

/** A server that hands every request's text to `act`, with its socket. */
async function scripted(act) {
  const sockets = new Set();
  const requests = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
    let held = "";
    socket.on("data", (chunk) => {
      held += chunk.toString("latin1");
      for (;;) {
        const end = held.indexOf("\r\n\r\n");
        if (end < 0) return;
        const length = Number(/content-length: (\d+)/.exec(held.slice(0, end))?.[1] ?? 0);
        if (held.length < end + 4 + length) return;
        const text = held.slice(0, end + 4 + length);
        held = held.slice(end + 4 + length);
        requests.push(text);
        act(text, socket, requests.length);
      }
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    api: `127.0.0.1:${server.address().port}`,
    requests,
    sockets,
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

function answer(socket, body, status = 200, headers = "") {
  const text = JSON.stringify(body);
  socket.write(
    `HTTP/1.1 ${status} X\r\ncontent-type: application/json\r\n${headers}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

describe("the client", () => {
  let cluster;
  before(async () => {
    cluster = await Cluster.start(2, { unix: true });
  });
  after(() => cluster?.close());

  test("calls wait a moment for two batches under way to end, also where there are more connections", async () => {
    const held = [];
    const server = await scripted((text, socket) => held.push({ text, socket }));
    const talk = new Sidetalk(server.api);
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const all = (count) =>
      eventually(`${count} are held`, async () => assert.ok(held.length >= count, String(held.length)));
    const answered = ({ text, socket }) => {
      const ops = /"ops":\[(.*)\]/.exec(text)?.[1].match(/"method"/g);
      const one = { status: 200, headers: {}, body: { value: 1 } };
      if (ops) answer(socket, { results: ops.map(() => one) });
      else answer(socket, { value: 1 });
    };
    try {
      // What may take long goes alone, each on a connection of its own.
      const long = Promise.all([1, 2, 3, 4].map((key) => talk.session(`${key}`).destroy()));
      await all(4);
      // That is not what others wait for.
      const other = talk.counter("c").get();
      await all(5);
      held.splice(0).forEach(answered);
      await Promise.all([long, other]);
      // On a busy machine the moment may be over too early.
      let together = false;
      for (let attempt = 0; attempt < 200 && !together; attempt++) {
        const gets = [];
        for (let at = 0; at < 4; at++) {
          gets.push(talk.counter(`c${at}`).get());
          await turn();
          if (at === 1) await all(2);
        }
        held.splice(0, 2).forEach(answered);
        await all(1);
        together = held[0].text.startsWith("POST /v1/batch");
        const answering = setInterval(() => held.splice(0).forEach(answered), 1);
        await Promise.all(gets).finally(() => clearInterval(answering));
      }
      assert.ok(together);
    } finally {
      talk.close();
      await server.close();
    }
  });

  test("calls of one turn go out in one round trip, and one call as itself", async () => {
    const server = await scripted((text, socket) => {
      if (!text.startsWith("POST /v1/batch")) return answer(socket, { value: 1 });
      const { ops } = JSON.parse(text.slice(text.indexOf("\r\n\r\n")));
      answer(socket, {
        results: ops.map((op) => ({ status: 200, headers: {}, body: { value: op.path.length } })),
      });
    });
    const talk = new Sidetalk(server.api);
    await talk.counter("alone").get();
    assert.match(server.requests[0], /^GET \/v1\/counters\/alone HTTP/);
    const values = await Promise.all(["a", "bb", "ccc"].map((name) => talk.counter(name).get()));
    assert.deepEqual(values, ["/v1/counters/a".length, "/v1/counters/bb".length, "/v1/counters/ccc".length]);
    assert.equal(server.requests.length, 2);
    assert.equal(server.sockets.size, 1);
    talk.close();
    await server.close();
  });

  test("over a Unix socket everything works, also many and large calls at once", async () => {
    const [here] = cluster.nodes.map((node) => new Sidetalk(node.api));
    assert.match(here.api, /^unix:/);
    const large = "ü".repeat(200_000);
    const all = await Promise.all([
      ...Array.from({ length: 500 }, (_, at) => here.counter("many").add(at)),
      ...Array.from({ length: 8 }, (_, at) => here.document(`large-${at}`).put({ large })),
    ]);
    assert.equal(all.length, 508);
    assert.equal(await here.counter("many").get(), (499 * 500) / 2);
    const read = await Promise.all(Array.from({ length: 8 }, (_, at) => here.document(`large-${at}`).get()));
    for (const document of read) assert.equal(document.large, large);
    await assert.rejects(here.document("huge").put({ huge: "x".repeat(1_100_000) }), { code: "too_large" });
    here.close();
  });

  test("a call that waits for others holds up no other call", async () => {
    const [here, there] = cluster.nodes.map((node) => new Sidetalk(node.api));
    await cluster.cut(0);
    await there.session("elsewhere").put({ a: 1 });
    await here.document("near").put({ a: 1 });
    const began = performance.now();
    const asking = Promise.all(
      [here.session("elsewhere").get(), here.document("near").get()].map((p) => p.catch((e) => e)),
    );
    await here.document("near").get();
    assert.ok(performance.now() - began < 500, "a read of what is here waited for what is not");
    const [unknown, near] = await asking;
    assert.equal(unknown.code, "behind");
    assert.deepEqual(near, { a: 1 });
    await cluster.heal();
    assert.deepEqual(await here.session("elsewhere").get(), { a: 1 });
    here.close();
    there.close();
  });

  test("tokens are carried by a scope, from node to node", async () => {
    const [here, there] = cluster.nodes.map((node) => new Sidetalk(node.api));
    await cluster.delay(100);
    for (let round = 0; round < 5; round++) {
      const writer = here.scoped();
      await writer.document("scoped").patch({ round });
      await writer.counter("scoped").add(1);
      const reader = there.scoped(writer.scope.tokens);
      assert.equal((await reader.document("scoped").get())?.round, round);
      assert.equal(await reader.counter("scoped").get(), round + 1);
    }
    await cluster.heal();
    here.close();
    there.close();
  });

  test("only an answer that has waited for a scope's tokens ends their being sent", async () => {
    const [here, there] = cluster.nodes.map((node) => new Sidetalk(node.api));
    await cluster.cut(1);
    const writer = here.scoped();
    await writer.document("owed").put({ n: 1 });
    const refused = { name: "RefusedError" };
    const bad = { method: "PUT", path: "/v1/documents/owed", body: "[1]", repeat: "never", asks: false };
    const acts = {
      status: (talk) => talk.status(),
      ready: (talk) => talk.ready(),
      list: (talk) => talk.list("documents"),
      "a refusal before the wait": (talk) => assert.rejects(talk.call("/v1/documents/owed", bad), refused),
      "the same in a batch": (talk) =>
        Promise.all([assert.rejects(talk.call("/v1/documents/owed", bad), refused), talk.status()]),
    };
    for (const [name, act] of Object.entries(acts)) {
      const reader = there.scoped(writer.scope.tokens);
      const [token] = writer.scope.tokens;
      await act(reader);
      assert(reader.scope.owes(token), name);
      await assert.rejects(reader.document("owed").get({ waitMillis: 20 }), { code: "behind" }, name);
      assert(reader.scope.owes(token), name);
    }
    await cluster.heal();
    const reader = there.scoped(writer.scope.tokens);
    assert.deepEqual(await reader.document("owed").get(), { n: 1 });
    assert(!reader.scope.owes(writer.scope.tokens[0]));
    here.close();
    there.close();
  });

  test("who is not in a set that is behind may be in it", async () => {
    const [here, there] = cluster.nodes.map((node) => new Sidetalk(node.api));
    await here.set("late").add("first");
    await eventually("both have it", async () => assert(await there.set("late").has("first")));
    await cluster.cut(1);
    const writer = here.scoped();
    await writer.set("late").add("second");
    const reader = there.scoped(writer.scope.tokens);
    await assert.rejects(reader.set("late").has("second", { waitMillis: 20 }), { code: "behind" });
    assert.equal(await there.set("late").has("second"), false);
    await cluster.heal();
    assert.equal(await reader.set("late").has("second"), true);
    assert.equal(await reader.set("late").has("third"), false);
    here.close();
    there.close();
  });

  test("a call is given up in time, and with its signal", async () => {
    const server = await scripted(() => undefined);
    const talk = new Sidetalk({ api: server.api, timeoutMillis: 150 });
    const began = performance.now();
    const calls = [talk.counter("a").get(), talk.counter("b").add(1), talk.document("c").get()];
    const errors = await Promise.all(calls.map((call) => call.catch((error) => error)));
    assert.ok(performance.now() - began < 1_000);
    assert.deepEqual(
      errors.map((error) => error.code),
      Array(3).fill("sidecar_timeout"),
    );
    assert.deepEqual(
      errors.map((error) => error.uncertain),
      [false, true, false],
    );
    const stop = new AbortController();
    const call = talk.counter("a").get({ signal: stop.signal, timeoutMillis: 60_000 });
    setImmediate(() => stop.abort(new Error("enough")));
    await assert.rejects(call, /enough/);
    await assert.rejects(talk.counter("a").get({ signal: AbortSignal.abort(new Error("before")) }), /before/);
    await eventually("connections that nobody waits on are closed", async () =>
      assert.equal(server.sockets.size, 0),
    );
    talk.close();
    await assert.rejects(talk.counter("a").get(), { code: "closed" });
    await server.close();
  });

  test("a read is repeated when the connection broke, and a write only under its key on the same process", async () => {
    let started = 1;
    const server = await scripted((text, socket, count) => {
      if (text.startsWith("GET /v1/status")) return answer(socket, { started_unix_millis: started });
      if (count % 2 === 1) return socket.destroy();
      answer(socket, { value: 7 });
    });
    const talk = new Sidetalk(server.api);
    assert.equal(await talk.counter("c").get(), 7);
    server.requests.length = 0;
    // Broken, status, and once more with the same key. (The status is the second request, so a third is answered.)
    const counted = talk
      .counter("c")
      .add(1)
      .catch((error) => error);
    await counted;
    const keys = server.requests.flatMap((text) => /idempotency-key: (\S+)/.exec(text)?.[1] ?? []);
    assert.equal(keys.length, 2);
    assert.equal(keys[0], keys[1]);
    // Another process since: it would count twice.
    started = Date.now() + 60_000;
    server.requests.length = 0;
    await assert.rejects(talk.counter("c").add(1), { code: "connection_broken", uncertain: true });
    assert.equal(server.requests.filter((text) => text.startsWith("POST")).length, 1);
    server.requests.length = 0;
    await assert.rejects(talk.counter("c").add(1, { idempotencyKey: null }), { code: "connection_broken" });
    assert.equal(server.requests.length, 1);
    talk.close();
    await server.close();
  });

  test("answers in pieces and in chunks are read, and nonsense is refused", async () => {
    const whole = Buffer.from("HTTP/1.1 200 OK\r\nX-Y: 1\r\ncontent-length: 5\r\n\r\nhello");
    for (let at = 1; at < whole.length; at++) {
      const reader = new AnswerReader();
      reader.expect(false);
      assert.equal(reader.push(whole.subarray(0, at)), undefined);
      assert.deepEqual(reader.push(whole.subarray(at)), {
        status: 200,
        headers: { "x-y": "1", "content-length": "5" },
        body: "hello",
      });
    }
    const chunked = Buffer.from(
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    for (let at = 1; at < chunked.length; at++) {
      const reader = new AnswerReader();
      reader.expect(false);
      const first = reader.push(chunked.subarray(0, at));
      assert.equal((first ?? reader.push(chunked.subarray(at))).body, "abcde");
    }
    for (const bad of [
      "SSH-2.0-x\r\n\r\n",
      "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ]) {
      const reader = new AnswerReader();
      reader.expect(false);
      assert.throws(() => reader.push(Buffer.from(bad)), { code: "not_a_sidecar" });
    }
  });

  test("nothing that a caller gives can become another header or another call", async () => {
    const talk = new Sidetalk(cluster.nodes[0].api);
    await assert.rejects(talk.document("d").patch({}, { life: "x\r\nhost: evil" }), TypeError);
    await talk.document('a"}],"x":[{').put({ ok: 1 });
    assert.deepEqual(await Promise.all([talk.document('a"}],"x":[{').get(), talk.document("\u0000\n").get()]), [
      { ok: 1 },
      undefined,
    ]);
    assert.throws(() => talk.document("\ud800"), { code: "bad_key" });
    assert.throws(() => talk.document(""), { code: "bad_key" });
    talk.close();
  });

  test("lists go on from page to page", async () => {
    const talk = new Sidetalk(cluster.nodes[0].api);
    const names = Array.from({ length: 30 }, (_, at) => `page/${String(at).padStart(2, "0")}`);
    await Promise.all(names.map((name) => talk.set(name).add("m")));
    const keys = [];
    for await (const key of talk.keys("sets", "page/")) keys.push(key);
    assert.deepEqual(keys, names);
    const { next } = await talk.list("sets", { prefix: "page/", limit: 10 });
    assert.equal((await talk.list("sets", { prefix: "page/", limit: 10, from: next })).keys[0], "page/10");
    assert.equal(await talk.set(names[0]).has("m"), true);
    assert.equal(await talk.set(names[0]).has("n"), false);
    assert.equal((await talk.cluster()).members.length, 2);
    assert.equal(await talk.ready(), true);
    talk.close();
  });
});

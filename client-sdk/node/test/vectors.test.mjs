// The vectors that all clients share: what this client sends, what a real node says to it, and what is made of answers.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isEnded, isUnknown, RefusedError, Sidetalk } from "sidetalk";
import { serve } from "./support/app.mjs";
import { Cluster } from "./support/sidecar.mjs";

const read = (name) => JSON.parse(readFileSync(new URL(`../../vectors/${name}`, import.meta.url), "utf8"));

/** Makes the call of a vector. */
function make(talk, call) {
  const slash = call.on.indexOf("/");
  const [kind, key] = [call.on.slice(0, slash), call.on.slice(slash + 1)];
  const object =
    kind === "sessions"
      ? talk.session(key)
      : kind === "documents"
        ? talk.document(key)
        : kind === "counters"
          ? talk.counter(key)
          : talk.set(key);
  const options = {
    ttlSeconds: call.ttl_seconds,
    waitMillis: call.wait_millis,
    life: call.life,
    ifNoneMatch: call.if_none_match,
    acks: call.acks,
    acksTimeoutMillis: call.acks_timeout_millis,
    after: call.after,
    minimal: call.minimal,
    idempotencyKey: call.idempotency_key,
  };
  const does = {
    get: () => (object.read ?? object.get).call(object, options),
    put: () => object.put(call.value, options),
    patch: () => object.patch(call.value, options),
    ops: () => object.ops(call.value, options),
    touch: () => object.touch(call.ttl_seconds, options),
    destroy: () => object.destroy(options),
    add: () => object.add(call.value, options),
    reset: () => object.reset(options),
    change: () => object.change(call.add, call.remove, options),
    add_member: () => object.add(call.member, options),
    remove_member: () => object.remove(call.member, options),
    clear: () => object.clear(options),
  };
  return does[call.do]();
}

test("every call is sent as the vectors say, and a node answers as they say", async () => {
  const cluster = await Cluster.start(1);
  const talk = new Sidetalk(cluster.nodes[0].api);
  const transport = talk.transport;
  const inner = transport.call.bind(transport);
  let seen;
  transport.call = async (request, signal) => {
    const answer = await inner(request, signal);
    seen = { request, answer };
    return answer;
  };
  let life = "";
  for (const { name, call, request: want, answer } of read("calls.json")) {
    const known = (value) => JSON.parse(JSON.stringify(value ?? null).replaceAll("$life", life));
    await make(talk, known(call)).catch((error) => assert.ok(error instanceof RefusedError, `${name}: ${error}`));
    const { request: sent, answer: got } = seen;
    assert.equal(sent.method, want.method, name);
    const [path, query = ""] = sent.path.split("?");
    const segments = (text) => text.split("/").map(decodeURIComponent);
    assert.deepEqual(segments(path), segments(want.path), name);
    assert.deepEqual(Object.fromEntries(new URLSearchParams(query)), want.query ?? {}, name);
    const headers = { ...sent.headers, "content-type": sent.contentType };
    for (const [header, value] of Object.entries(known(want.headers) ?? {})) {
      assert.equal(headers[header], value, `${name}: ${header}`);
    }
    assert.deepEqual(sent.body === undefined ? undefined : JSON.parse(sent.body), want.body, name);
    assert.equal(got.status, answer.status, `${name}: ${JSON.stringify(got.body)}`);
    if (answer.body !== undefined) assert.deepEqual(got.body, answer.body, name);
    if (answer.code !== undefined) assert.equal(got.body.code, answer.code, name);
    life = got.headers["sidetalk-life"] ?? life;
  }
  talk.close();
  await cluster.close();
});

test("every answer is read as the vectors say", async () => {
  for (const { name, answer, reply, error } of read("answers.json")) {
    const served = await serve((_, response) => {
      response.writeHead(answer.status, answer.headers);
      response.end(answer.text ?? (answer.body === undefined ? "" : JSON.stringify(answer.body)));
    });
    const talk = new Sidetalk(served.url);
    const got = await talk
      .session("s")
      .read()
      .then(
        ({ value, token, life, acks, behind, etag, expiresInSeconds }) => ({
          reply: { value, token, life, acks, behind, etag, expires_in_seconds: expiresInSeconds },
        }),
        (refused) => ({
          error: {
            code: refused.code,
            status: refused.answered,
            behind: refused.behind,
            token: refused.token,
            unknown: isUnknown(refused),
            ended: isEnded(refused),
          },
        }),
      );
    assert.deepEqual(JSON.parse(JSON.stringify(got)), reply ? { reply } : { error }, name);
    talk.close();
    await served.close();
  }
});

// A sidecar that wants a token.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Sidetalk } from "sidetalk";
import { SidetalkStore } from "sidetalk/express-session";
import { Sidecar } from "./support/sidecar.mjs";
import { eventually } from "./support/wait.mjs";

const FIRST = "the-first-token-of-some";
const SECOND = "the-second-token/of+some=";

describe("a sidecar with --api-token-file", () => {
  const folder = mkdtempSync(join(tmpdir(), "sidetalk-token-"));
  const file = join(folder, "token");
  const write = (...lines) => writeFileSync(file, `${lines.join("\n")}\n`, { mode: 0o600 });
  const clients = [];
  const client = (options) => {
    const talk = new Sidetalk({ api: sidecar.api, ...options });
    clients.push(talk);
    return talk;
  };
  let sidecar;
  before(async () => {
    write("# who may call", FIRST);
    const own = ["--gossip", "127.0.0.1:0", "--api", "127.0.0.1:0", "--api-token-file", file];
    sidecar = await Sidecar.start("guarded", own);
    const probe = client({ apiToken: FIRST });
    await eventually("the node is ready", async () => assert(await probe.ready()));
  });
  after(async () => {
    for (const talk of clients) talk.close();
    await sidecar.stop();
    rmSync(folder, { recursive: true });
  });

  test("refuses who does not show it, alone or in a batch, and who watches", async () => {
    for (const talk of [client({}), client({ apiToken: "something-else-of-a-token" })]) {
      const refused = { code: "unauthorized", answered: 401 };
      await assert.rejects(talk.document("a").put({ a: 1 }), refused);
      const both = await Promise.allSettled([talk.counter("a").add(1), talk.counter("b").add(1)]);
      for (const { reason } of both) assert.equal(reason?.code, "unauthorized");
      await assert.rejects(talk.watch().next(), refused);
    }
    assert.equal(await client({ apiToken: FIRST }).counter("a").get(), 0);
  });

  for (const options of [{ apiToken: FIRST }, { apiTokenFile: file }]) {
    test(`serves who shows it: ${Object.keys(options)}`, async () => {
      const talk = client(options);
      await talk.document("shown").put({ by: 1 });
      assert.deepEqual(await Promise.all([talk.document("shown").get(), talk.set("s").get()]), [{ by: 1 }, []]);
      const seen = await talk.watch({ kind: "documents", prefix: "shown", initial: true }).next();
      assert.deepEqual(seen.value.value, { by: 1 });
    });
  }

  test("the store takes it with its client's options", async () => {
    const store = new SidetalkStore({ client: { api: sidecar.api, apiTokenFile: file } });
    clients.push(store.client);
    await new Promise((resolve, reject) => {
      const cookie = { originalMaxAge: 60_000, expires: new Date(Date.now() + 60_000) };
      store.set("with-token", { cookie, n: 1 }, (error) => (error ? reject(error) : resolve()));
    });
    const found = await new Promise((resolve, reject) => {
      store.get("with-token", (error, session) => (error ? reject(error) : resolve(session)));
    });
    assert.equal(found.n, 1);
  });

  test("a file with another token is read again when the old one is refused", async () => {
    const talk = client({ apiTokenFile: file });
    assert.equal(await talk.counter("rotated").add(1), 1);
    write(SECOND);
    const old = client({ apiToken: FIRST });
    // The sidecar looks every two seconds.
    await eventually("the old token is refused", () => assert.rejects(old.status(), { code: "unauthorized" }));
    assert.equal(await talk.counter("rotated").add(1), 2);
    assert.deepEqual(await Promise.all([talk.counter("rotated").add(1), talk.counter("other").add(1)]), [3, 1]);
  });

  test("what cannot be a token, or holds none, is refused at once", () => {
    assert.throws(() => client({ apiToken: "a\r\nb" }), { code: "bad_api_token" });
    assert.throws(() => client({ apiTokenFile: join(folder, "none") }), { code: "bad_token_file" });
  });
});

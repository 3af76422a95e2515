// One machine under pm2: a sidecar and two workers in cluster mode share a session, through a reload of the workers.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort } from "../lib/ports.mjs";
import { sidecarProgram } from "../lib/stack.mjs";
import { eventually } from "../lib/wait.mjs";
import { Browser } from "./browser.mjs";

const example = fileURLToPath(new URL("..", import.meta.url));
const pm2 = join(example, "node_modules/pm2/bin/pm2");

test("pm2 runs one machine", { skip: !existsSync(pm2) && "pm2 is not installed", timeout: 120_000 }, async () => {
  const home = mkdtempSync(join(tmpdir(), "three-machines-pm2-"));
  const host = "127.0.0.1";
  const port = await freePort(host);
  const env = {
    ...process.env,
    PM2_HOME: home,
    SIDETALK_BINARY: sidecarProgram(),
    HOST: host,
    PORT: String(port),
    SIDETALK_API: `http://${host}:${await freePort(host)}`,
    GOSSIP: `${host}:${await freePort(host)}`,
  };
  const run = (...args) => execFileSync(process.execPath, [pm2, ...args], { cwd: example, env, encoding: "utf8" });
  const browser = new Browser({ host, port });
  const workers = new Set();
  const add = async () => {
    const answer = await browser.fetch("POST", "/cart", { sku: "bread" });
    assert.equal(answer.status, 303, answer.text);
    assert.equal(answer.location, "/");
    workers.add(answer.by);
  };
  try {
    run("start", "ecosystem.config.cjs");
    await eventually("the shop serves", async () => {
      const answer = await browser.fetch("GET", "/healthz");
      assert.equal(answer.status, 200, answer.error?.message);
    });
    assert.equal((await browser.fetch("POST", "/login", { name: "ada", password: "demo" })).status, 303);
    let added = 0;
    // New connections are spread over the workers.
    await eventually("both workers have answered", async () => {
      browser.close();
      await add();
      added++;
      assert.ok(workers.size >= 2, [...workers].join());
    });
    // The global object: changed by one worker, known to both.
    assert.equal((await browser.fetch("POST", "/admin", { banner: "Half price today" })).status, 303);
    const knowing = new Set();
    await eventually("both workers know the new banner", async () => {
      browser.close();
      const page = await browser.fetch("GET", "/");
      assert.equal(page.status, 200);
      if (page.text.includes("Half price today")) knowing.add(page.by);
      assert.ok(knowing.size >= 2, [...knowing].join());
    });
    run("reload", "shop");
    const before = workers.size;
    await eventually("new workers have answered", async () => {
      browser.close();
      await add();
      added++;
      assert.ok(workers.size > before);
    });
    const seen = JSON.parse((await browser.fetch("GET", "/session.json")).text);
    assert.deepEqual([seen.user, seen.cart], ["ada", { bread: added }]);
  } finally {
    browser.close();
    run("kill");
    rmSync(home, { recursive: true, force: true });
  }
});

// Requests per second of a small Express application with each store, in turn, and the processor time of one call.
// `npm run bench -- [calls] [express] [--rounds N] [--millis N]`. Takes a release build of the sidecar, and redis-server.
import { fork, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { calls } from "./calls.mjs";
import { Browser, load } from "./load.mjs";

const release = fileURLToPath(new URL("../../../target/release/sidetalk", import.meta.url));
process.env.SIDETALK_BINARY ??= release;
const { BINARY, Cluster } = await import("../test/support/sidecar.mjs");
const { eventually } = await import("../test/support/wait.mjs");

const args = process.argv.slice(2);
const number = (name, otherwise) =>
  Number(args[args.indexOf(name) + 1] && args.includes(name) ? args[args.indexOf(name) + 1] : otherwise);
const rounds = number("--rounds", 8);
const millis = number("--millis", 1_000);
const wants = (part) => !["calls", "express"].some((one) => args.includes(one)) || args.includes(part);
const CONNECTIONS = 32;

if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: cargo build --release -p sidetalk`);
const folder = mkdtempSync(join(tmpdir(), "sidetalk-bench-"));

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** An application with one store, in a process of its own. */
async function application(kind, where) {
  const child = fork(fileURLToPath(new URL("app.mjs", import.meta.url)), [kind, where], {
    env: { ...process.env, NODE_ENV: "production" },
  });
  const { port } = await new Promise((resolve) => child.once("message", resolve));
  const browsers = Array.from({ length: CONNECTIONS }, () => new Browser(port));
  await Promise.all(browsers.map((browser) => browser.get("/login")));
  const cpu = () =>
    new Promise((resolve) => {
      child.once("message", ({ cpu }) => resolve(cpu.user + cpu.system));
      child.send("cpu");
    });
  return { kind, browsers, cpu, child };
}

async function express(cluster) {
  const socket = join(folder, "redis.sock");
  const redis = spawn(
    "redis-server",
    ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"],
    { stdio: "ignore" },
  );
  const failed = new Promise((_, reject) => redis.once("error", reject));
  await Promise.race([
    failed,
    eventually("redis listens", async () => {
      if (!existsSync(socket)) throw new Error("no");
    }),
  ]);
  const { api } = cluster.nodes[0];
  const applications = [];
  for (const kind of ["redis", "sidetalk", "wrapped", "memory"]) {
    applications.push(await application(kind, kind === "redis" ? socket : api));
  }
  const results = new Map();
  for (let round = -1; round < rounds; round++) {
    for (const path of ["/read", "/write"]) {
      // Another one begins in each round.
      for (let at = 0; at < applications.length; at++) {
        const app = applications[(at + round + 1) % applications.length];
        const before = await app.cpu();
        const { answers, seconds } = await load(app.browsers, path, millis);
        const cpu = (await app.cpu()) - before;
        // The first round warms up.
        if (round < 0) continue;
        const key = `${path} ${app.kind}`;
        if (!results.has(key)) results.set(key, { rates: [], cpus: [] });
        results.get(key).rates.push(answers / seconds);
        results.get(key).cpus.push(cpu / answers);
      }
    }
  }
  console.log(`Express, ${CONNECTIONS} connections, medians of ${rounds} rounds of ${millis} ms, in turn:`);
  console.log(
    "| | requests/s (range) | to connect-redis | CPU of the application for each |\n| --- | --- | --- | --- |",
  );
  for (const path of ["/read", "/write"]) {
    const base = results.get(`${path} redis`).rates;
    for (const { kind } of applications) {
      const { rates, cpus } = results.get(`${path} ${kind}`);
      const ratios = rates.map((rate, at) => rate / base[at]);
      const [low, high] = [Math.min(...rates), Math.max(...rates)].map(Math.round);
      console.log(
        `| ${path.slice(1)}, ${kind} | ${Math.round(median(rates))} (${low} to ${high}) | ${median(ratios).toFixed(2)} | ${median(cpus).toFixed(0)} µs |`,
      );
    }
  }
  for (const { child, browsers } of applications) {
    for (const browser of browsers) browser.close();
    child.disconnect();
  }
  redis.kill();
}

const cluster = await Cluster.start(1, { unix: true, log: "warn" });
try {
  if (wants("calls")) await calls(cluster.nodes[0].api, rounds);
  if (wants("express")) await express(cluster);
} finally {
  await cluster.close();
  rmSync(folder, { recursive: true, force: true });
}

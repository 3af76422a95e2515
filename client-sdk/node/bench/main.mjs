// What the client costs: one call beside other ways to make it, and Express with this store beside others.
// `npm run bench -- [calls] [express] [--rounds N] [--millis N] [--json FILE]`. Takes a release build of the sidecar;
// redis-server and memcached are left out where they are not installed.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { calls } from "./calls.mjs";
import { express, print } from "./express.mjs";

const release = fileURLToPath(new URL("../../../target/release/sidetalk", import.meta.url));
process.env.SIDETALK_BINARY ??= release;
const { BINARY, Cluster } = await import("../test/support/sidecar.mjs");

const args = process.argv.slice(2);
const value = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
const rounds = Number(value("--rounds") ?? 8);
const millis = Number(value("--millis") ?? 1_000);
const wants = (part) => !["calls", "express"].some((one) => args.includes(one)) || args.includes(part);

if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: cargo build --release -p sidetalk`);
const folder = mkdtempSync(join(tmpdir(), "sidetalk-bench-"));
const cluster = await Cluster.start(1, { unix: true, log: "warn" });
try {
  const [node] = cluster.nodes;
  if (wants("calls")) await calls(node.api, rounds);
  if (wants("express")) {
    const results = await express(node, folder, { rounds, millis });
    print(results, { rounds, millis });
    const file = value("--json");
    if (file) writeFileSync(file, JSON.stringify(results));
  }
} finally {
  await cluster.close();
  rmSync(folder, { recursive: true, force: true });
}

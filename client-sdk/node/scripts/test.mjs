// Runs the tests, one file after the other: they share two cores with the sidecars that they start.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = join(dirname(fileURLToPath(import.meta.url)), "../test");
const chosen = process.argv.slice(2);
const files = readdirSync(folder)
  .filter(
    (name) => name.endsWith(".test.mjs") && (chosen.length === 0 || chosen.some((part) => name.includes(part))),
  )
  .map((name) => join(folder, name));
const run = spawnSync(process.execPath, ["--test", "--test-concurrency=1", "--test-reporter=spec", ...files], {
  stdio: "inherit",
  cwd: join(folder, ".."),
});
process.exit(run.status ?? 1);

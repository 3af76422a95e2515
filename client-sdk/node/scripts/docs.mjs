// Writes the API reference, made from the types, to docs-api/.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const typedoc = join(dirname(createRequire(import.meta.url).resolve("typedoc/package.json")), "bin/typedoc");
const entries = [
  "index.ts",
  "express-session/index.ts",
  "fastify-session/index.ts",
  "live/index.ts",
  "express-rate-limit/index.ts",
];
const options = [
  "--out",
  "docs-api",
  "--excludeInternal",
  "--excludePrivate",
  "--readme",
  "README.md",
  "--disableGit",
  "--sourceLinkTemplate",
  "{path}",
  // Types of what is passed through, which nobody has to name.
  ...["Callback", "Caller", "Draft", "Next", "RequestContext", "Seen", "TokenKeeper"].flatMap((name) => [
    "--intentionallyNotExported",
    name,
  ]),
];
execFileSync(process.execPath, [typedoc, ...entries.map((entry) => join("src", entry)), ...options], {
  cwd: root,
  stdio: "inherit",
});

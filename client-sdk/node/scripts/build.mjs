// Builds both module formats, with types beside each.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const dist = join(root, "dist");

function compile(folder, type, ...options) {
  execFileSync(process.execPath, [tsc, "-p", root, "--outDir", join(dist, folder), ...options], {
    stdio: "inherit",
  });
  writeFileSync(join(dist, folder, "package.json"), `{"type":"${type}"}\n`);
}

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
compile("esm", "module");
compile("cjs", "commonjs", "--module", "CommonJS", "--moduleResolution", "Node10");

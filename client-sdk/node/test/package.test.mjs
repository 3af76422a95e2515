// The package as it would be published: packed, installed, and used from each kind of project.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Cluster } from "./support/sidecar.mjs";

const run = promisify(execFile);
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

const USE = `
  const talk = new Sidetalk({ api: process.env.API });
  const count = await talk.counter("package").add(1);
  const config = await talk.live("config");
  await config.set("seen", true);
  const store = new SidetalkStore({ client: talk, counters: ["views"] });
  const limit = new SidetalkRateLimitStore({ client: talk });
  limit.init({ windowMs: 1000 });
  await limit.increment("k");
  const other = await live(talk, "config");
  console.log(JSON.stringify({ count: count > 0, seen: other.value?.seen, store: typeof store.createSession, wrap: typeof readYourWrites }));
  for (const object of [config, other]) object.close();
  talk.close();
`;
const PRINTS = '{"count":true,"seen":true,"store":"function","wrap":"function"}\n';

describe("the package", () => {
  let folder, tarball, cluster;
  before(async () => {
    cluster = await Cluster.start(1);
    folder = mkdtempSync(join(tmpdir(), "sidetalk-package-"));
    await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
    tarball = join(
      folder,
      readdirSync(folder).find((name) => name.endsWith(".tgz")),
    );
  });
  after(async () => {
    rmSync(folder, { recursive: true, force: true });
    await cluster?.close();
  });

  /** A project with the package installed from its tarball, and what it builds upon taken from here. */
  async function project(name, manifest, files) {
    const at = join(folder, name);
    mkdirSync(at);
    writeFileSync(
      join(at, "package.json"),
      JSON.stringify({ name, version: "1.0.0", private: true, ...manifest }),
    );
    const quiet = [
      "--no-audit",
      "--no-fund",
      "--no-package-lock",
      "--offline",
      "--legacy-peer-deps",
      "--ignore-scripts",
    ];
    await run("npm", ["install", ...quiet, tarball], { cwd: at });
    for (const dependency of ["express-session", "express-rate-limit", "@types"]) {
      symlinkSync(join(root, "node_modules", dependency), join(at, "node_modules", dependency));
    }
    for (const [file, text] of Object.entries(files)) writeFileSync(join(at, file), text);
    return {
      run: async (...command) => {
        const env = { ...process.env, API: cluster.nodes[0].api };
        return (await run(command[0], command.slice(1), { cwd: at, env })).stdout;
      },
    };
  }

  test("holds what it needs and nothing else", async () => {
    const { stdout } = await run("tar", ["-tzf", tarball]);
    const files = stdout.trim().split("\n");
    for (const file of files)
      assert.match(
        file,
        /^package\/(dist\/.*\.(js|d\.ts)|dist\/(esm|cjs)\/package\.json|package\.json|README\.md|LICENSE)$/,
      );
    for (const entry of [
      "index",
      "express-session/index",
      "fastify-session/index",
      "live/index",
      "express-rate-limit/index",
    ]) {
      for (const format of ["esm", "cjs"]) {
        for (const end of ["js", "d.ts"])
          assert.ok(files.includes(`package/dist/${format}/${entry}.${end}`), entry);
      }
    }
    const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    assert.equal(dependencies, undefined);
  });

  test("is used from a project of ES modules", async () => {
    const imports = `
      import { Sidetalk } from "sidetalk";
      import { readYourWrites, SidetalkStore } from "sidetalk/express-session";
      import { SidetalkRateLimitStore } from "sidetalk/express-rate-limit";
      import { live } from "sidetalk/live";`;
    const { run } = await project("esm", { type: "module" }, { "main.js": imports + USE });
    assert.equal(await run(process.execPath, "main.js"), PRINTS);
  });

  test("is used from a CommonJS project", async () => {
    const requires = `
      const { Sidetalk } = require("sidetalk");
      const { readYourWrites, SidetalkStore } = require("sidetalk/express-session");
      const { SidetalkRateLimitStore } = require("sidetalk/express-rate-limit");
      const { live } = require("sidetalk/live");`;
    const { run } = await project("cjs", {}, { "main.js": `${requires} void (async () => {${USE}})();` });
    assert.equal(await run(process.execPath, "main.js"), PRINTS);
  });

  for (const [name, module, resolution, type] of [
    ["NodeNext, ES modules", "NodeNext", "NodeNext", "module"],
    ["NodeNext, CommonJS", "NodeNext", "NodeNext", "commonjs"],
    ["a bundler", "ESNext", "Bundler", "module"],
    ["the old resolution", "CommonJS", "Node10", "commonjs"],
  ]) {
    test(`is typed in a TypeScript project: ${name}`, async () => {
      const source = `
        import session = require("express-session");
        import { rateLimit } from "express-rate-limit";
        import { Sidetalk, type Reply } from "sidetalk";
        import { readYourWrites, SidetalkStore } from "sidetalk/express-session";
        import { SidetalkRateLimitStore } from "sidetalk/express-rate-limit";
        import { SidetalkStore as FastifyStore, type StoreOptions } from "sidetalk/fastify-session";
        import { live, type LiveObject } from "sidetalk/live";
        interface Config { theme: string; seen?: boolean }
        async function main(): Promise<void> {
          const talk: Sidetalk = new Sidetalk(process.env["API"]);
          const reply: Reply<Config> = await talk.document<Config>("typed").put({ theme: "dark" });
          const theme: string = reply.value.theme;
          const n: number = await talk.counter("typed").add(2, { acks: "all", signal: AbortSignal.timeout(5000) });
          const config: LiveObject<Config> = await live<Config>(talk, "typed");
          config.on("change", (value) => value?.theme.toUpperCase());
          const store = new SidetalkStore({ client: talk, counters: ["views"], sets: [["user", "roles"]], whenDown: "skip" });
          const middleware = readYourWrites(session({ store, secret: "s", resave: false, saveUninitialized: false }), store);
          const options: StoreOptions = { client: talk };
          const fastify: FastifyStore = new FastifyStore(options);
          void fastify;
          const limiter = rateLimit({ store: new SidetalkRateLimitStore({ client: talk }) });
          for await (const event of talk.watch({ kind: "documents", prefix: "typed", initial: true })) {
            if (event.type === "change") { const key: string = event.key; void key; }
            break;
          }
          // @ts-expect-error: counters count in integers, and know no other value.
          if (process.env["NEVER"]) await talk.counter("typed").add("1");
          console.log(JSON.stringify({ theme, n: n > 0, live: config.value?.theme, middleware: typeof middleware, limiter: typeof limiter }));
          config.close();
          talk.close();
        }
        void main();`;
      const importing =
        module === "ESNext"
          ? source.replace(
              'import session = require("express-session");',
              'import session from "express-session";',
            )
          : source;
      const options = {
        ...{
          module,
          moduleResolution: resolution,
          strict: true,
          target: "ES2022",
          outDir: "out",
          esModuleInterop: true,
        },
        ...{ types: ["node"], skipLibCheck: false, exactOptionalPropertyTypes: true },
      };
      const files = {
        "main.ts": importing,
        "tsconfig.json": JSON.stringify({ compilerOptions: options, include: ["main.ts"] }),
      };
      const { run } = await project(name.replaceAll(/\W+/g, "-").toLowerCase(), { type }, files);
      await run(process.execPath, tsc, "-p", ".").catch((error) => assert.fail(error.stdout));
      const printed = await run(process.execPath, "out/main.js");
      assert.deepEqual(JSON.parse(printed), {
        theme: "dark",
        n: true,
        live: "dark",
        middleware: "function",
        limiter: "function",
      });
    });
  }
});

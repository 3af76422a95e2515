// Requests per second of a small Express application with each store, in turn, and what each costs.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Browser, load } from "./load.mjs";
import { cpuMicros, memcached, redis } from "./servers.mjs";

const CONNECTIONS = 32;
const NAMES = {
  redis: "connect-redis",
  memcached: "connect-memcached",
  memory: "memory store",
  sidetalk: "SidetalkStore",
  wrapped: "SidetalkStore with readYourWrites",
};

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** An application with one store, in a process of its own. */
async function application(kind, where, pid) {
  const child = fork(fileURLToPath(new URL("app.mjs", import.meta.url)), [kind, where], {
    env: { ...process.env, NODE_ENV: "production" },
    // The memory store's warning of itself.
    stdio: ["ignore", "inherit", kind === "memory" ? "ignore" : "inherit", "ipc"],
  });
  const died = new Promise((_, reject) =>
    child.once("exit", (code) => reject(new Error(`the application with ${kind} ended: ${code}`))),
  );
  died.catch(() => undefined);
  const told = () => Promise.race([died, new Promise((resolve) => child.once("message", resolve))]);
  const { port } = await told();
  const browsers = Array.from({ length: CONNECTIONS }, () => new Browser(port));
  await Promise.all(browsers.map((browser) => browser.get("/login")));
  const cpu = async () => {
    child.send("cpu");
    const { cpu } = await told();
    return cpu.user + cpu.system;
  };
  const close = async () => {
    for (const browser of browsers) browser.close();
    child.disconnect();
    await died.catch(() => undefined);
  };
  return { kind, browsers, cpu, close, serverCpu: () => (pid === undefined ? 0 : cpuMicros(pid)) };
}

async function one(app, path, millis) {
  const [cpu, server] = [await app.cpu(), app.serverCpu()];
  const { answers, seconds } = await load(app.browsers, path, millis);
  return {
    rate: answers / seconds,
    app: ((await app.cpu()) - cpu) / answers,
    server: (app.serverCpu() - server) / answers,
  };
}

/** Measures; gives `{ [path]: { [kind]: { name, rates, app, server } } }`, the figures one for each round. */
export async function express(node, folder, { rounds, millis }) {
  const servers = {};
  const applications = [];
  const results = {};
  try {
    for (const [kind, start] of Object.entries({ redis, memcached })) {
      const server = (servers[kind] = await start(folder));
      if (!server) console.error(`${kind} is not installed: left out`);
      else applications.push(await application(kind, server.where, server.pid));
    }
    for (const kind of ["sidetalk", "wrapped"]) applications.push(await application(kind, node.api, node.pid));
    applications.push(await application("memory", ""));
    // The first round warms up.
    for (let round = -1; round < rounds; round++) {
      for (const path of ["read", "write"]) {
        // Another one begins in each round.
        for (let at = 0; at < applications.length; at++) {
          const app = applications[(at + round + 1) % applications.length];
          const found = await one(app, `/${path}`, millis);
          if (round < 0) continue;
          const empty = { name: NAMES[app.kind], rates: [], app: [], server: [] };
          const so = ((results[path] ??= {})[app.kind] ??= empty);
          so.rates.push(found.rate);
          so.app.push(found.app);
          so.server.push(found.server);
        }
      }
    }
  } finally {
    // Before their servers: they would complain.
    await Promise.all(applications.map((app) => app.close()));
    for (const server of Object.values(servers)) server?.stop();
  }
  return results;
}

/** Prints a table of it. */
export function print(results, { rounds, millis }) {
  console.log(`Express, ${CONNECTIONS} connections, medians of ${rounds} rounds of ${millis} ms, in turn:`);
  console.log("| | requests/s (range) | to connect-redis | to memory | application's CPU | server's CPU |");
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const [path, kinds] of Object.entries(results)) {
    for (const { name, rates, app, server } of Object.values(kinds)) {
      const to = (other) =>
        other ? median(rates.map((rate, at) => rate / other.rates[at])).toFixed(2) : "not installed";
      const [low, high] = [Math.min(...rates), Math.max(...rates)].map(Math.round);
      const micros = [app, server].map((each) => `${median(each).toFixed(0)} µs`);
      console.log(
        `| ${path}, ${name} | ${Math.round(median(rates))} (${low} to ${high}) | ${to(kinds.redis)} | ${to(kinds.memory)} | ${micros.join(" | ")} |`,
      );
    }
  }
}

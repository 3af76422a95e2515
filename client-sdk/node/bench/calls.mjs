// What one call costs this process, 32 at once: this client beside others that ask the same.
import http from "node:http";
import { Pool } from "undici";
import { Sidetalk } from "sidetalk";

const AT_ONCE = 32;
const CALLS = 20_000;

/** Calls one after the other in so many lanes; gives the processor time of one in microseconds. */
async function measure(get) {
  let left = CALLS;
  const lane = async () => {
    while (left-- > 0) await get();
  };
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / CALLS;
}

function byHttp(path) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });
  const get = () =>
    new Promise((resolve, reject) => {
      http
        .get({ socketPath: path, agent, path: "/v1/sessions/bench", headers: { host: "localhost" } }, (answer) => {
          let text = "";
          answer.setEncoding("utf8").on("data", (chunk) => (text += chunk));
          answer.on("end", () => resolve(JSON.parse(text)));
        })
        .on("error", reject);
    });
  return { get, close: () => agent.destroy() };
}

function byUndici(path) {
  const pool = new Pool("http://localhost", { socketPath: path, connections: 4, pipelining: 1 });
  const get = async () => (await pool.request({ method: "GET", path: "/v1/sessions/bench" })).body.json();
  return { get, close: () => pool.close() };
}

/** Prints the table. */
export async function calls(api, rounds) {
  const path = api.slice("unix:".length);
  const talk = new Sidetalk(api);
  await talk.session("bench").put({ user: "ada", cart: { apples: 2 }, note: "x".repeat(200) });
  const ways = {
    "this client": { get: () => talk.session("bench").get(), close: () => talk.close() },
    "undici, a pool of 4": byUndici(path),
    "node:http, keep-alive": byHttp(path),
  };
  const figures = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    for (const [name, { get }] of Object.entries(ways)) {
      const cost = await measure(get);
      if (round >= 0) figures[name].push(cost);
    }
  }
  console.log(`A GET of a session, ${AT_ONCE} at once, medians of ${rounds} rounds of ${CALLS}:`);
  console.log("| | CPU of the caller for each (range) |\n| --- | --- |");
  for (const [name, costs] of Object.entries(figures)) {
    costs.sort((a, b) => a - b);
    const [low, high] = [costs[0], costs.at(-1)].map((cost) => cost.toFixed(1));
    console.log(`| ${name} | ${costs[Math.floor(costs.length / 2)].toFixed(1)} µs (${low} to ${high}) |`);
  }
  for (const { close } of Object.values(ways)) await close();
}

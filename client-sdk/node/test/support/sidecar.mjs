// Sidecars as processes, on ports that the system picks. None outlives its test: each stops when its standard input
// ends.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "./wait.mjs";

const repository = join(dirname(fileURLToPath(import.meta.url)), "../../../..");

/** The program under test. */
export const BINARY = process.env.SIDETALK_BINARY ?? join(repository, "target/debug/sidetalk");

/** One node. */
export class Sidecar {
  #process;
  #log = [];
  #ended;

  constructor(name, args) {
    this.name = name;
    this.#process = spawn(BINARY, ["run", "--stop-with-stdin", "--node-id", name, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, SIDETALK_API: undefined },
    });
    this.#process.stderr.setEncoding("utf8").on("data", (text) => {
      this.#log.push(text);
      if (this.#log.length > 2_000) this.#log.shift();
    });
    this.#ended = new Promise((resolve) => this.#process.on("exit", (code, signal) => resolve({ code, signal })));
  }

  static async start(name, args = []) {
    const sidecar = new Sidecar(name, args);
    await sidecar.#listening();
    return sidecar;
  }

  get pid() {
    return this.#process.pid;
  }

  get log() {
    return this.#log.join("");
  }

  async #listening() {
    const line = await new Promise((resolve, reject) => {
      let text = "";
      this.#process.stdout.setEncoding("utf8").on("data", (chunk) => {
        text += chunk;
        if (text.includes("\n")) resolve(text.split("\n")[0]);
      });
      void this.#ended.then(() => reject(new Error(`${this.name} did not start:\n${this.log}`)));
    });
    const field = (name) => new RegExp(` ${name}=(\\S+)`).exec(line)?.[1];
    this.api = field("api");
    this.gossip = field("gossip");
  }

  /** Asks the node something, by TCP or Unix socket. */
  async ask(method, path, body) {
    const { request } = await import("node:http");
    const where = this.api.startsWith("unix:")
      ? { socketPath: this.api.slice(5), host: "localhost" }
      : { host: new URL(this.api).hostname, port: new URL(this.api).port };
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { "content-type": "application/json" };
      const asked = request({ ...where, method, path, headers, agent: false }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        answer.on("end", () => {
          resolve({
            status: answer.statusCode,
            headers: answer.headers,
            text,
            json: text ? JSON.parse(text) : undefined,
          });
        });
      });
      asked.on("error", reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async ready() {
    await eventually(`${this.name} is ready`, async () => {
      const answer = await this.ask("GET", "/readyz");
      if (answer.status !== 200) throw new Error(answer.text);
    });
  }

  /** `kill -9`. */
  async kill() {
    this.#process.kill("SIGKILL");
    return await this.#ended;
  }

  /** SIGSTOP: it hangs. Resolves when all of it does. */
  async freeze() {
    this.#process.kill("SIGSTOP");
    await eventually(`${this.name} is stopped`, async () => {
      for (const task of readdirSync(`/proc/${this.pid}/task`)) {
        const status = readFileSync(`/proc/${this.pid}/task/${task}/status`, "utf8");
        if (!/^State:\s+T/m.test(status)) throw new Error(status);
      }
    });
  }

  /** SIGCONT. */
  thaw() {
    this.#process.kill("SIGCONT");
  }

  /** SIGTERM. */
  async stop() {
    this.#process.kill("SIGTERM");
    return await this.#ended;
  }
}

/** Nodes n0, n1, … that know each other, started with `--chaos`. */
export class Cluster {
  nodes = [];
  #args;
  #folder;
  #faults = [];

  constructor(args, folder) {
    this.#args = args;
    this.#folder = folder;
  }

  /** @param options `unix`: their APIs listen on Unix sockets */
  static async start(count, { args = [], unix = false, log = "info,sidetalk=debug,chitchat=warn" } = {}) {
    const folder = unix ? mkdtempSync(join(tmpdir(), "sidetalk-")) : undefined;
    const cluster = new Cluster([...args, "--log", log], folder);
    for (let at = 0; at < count; at++) await cluster.restart(at);
    await cluster.allUp();
    return cluster;
  }

  /** Starts a node that does not run. It remembers nothing. `api`: where it listens. */
  async restart(at, api) {
    const joins = this.nodes.filter(Boolean).flatMap((node) => ["--join", node.gossip]);
    const where = api ?? (this.#folder ? `unix:${join(this.#folder, `n${at}.sock`)}` : "127.0.0.1:0");
    this.nodes[at] = await Sidecar.start(`n${at}`, [
      ...["--api", where, "--gossip", "127.0.0.1:0", "--chaos"],
      ...this.#args,
      ...joins,
    ]);
  }

  async allUp() {
    const running = this.nodes.filter(Boolean);
    for (const node of running) {
      await node.ready();
      await eventually(`${node.name} sees all as up`, async () => {
        const { json } = await node.ask("GET", "/v1/cluster");
        const up = json.members.filter((member) => member.state === "up").map((member) => member.node);
        if (!running.every((other) => up.includes(other.name))) throw new Error(JSON.stringify(json));
      });
    }
  }

  /** Delays everything between all nodes by so much each way. Asserted: each node says that it does. */
  async delay(millis) {
    const faults = {};
    for (let low = 0; low < this.nodes.length; low++) {
      for (let high = low + 1; high < this.nodes.length; high++)
        (faults[low] ??= {})[`n${high}`] = { delay_ms: millis };
    }
    await this.#impose(faults);
  }

  /** Cuts one node off from all others. */
  async cut(at) {
    const faults = {};
    for (let other = 0; other < this.nodes.length; other++) {
      if (other === at || !this.nodes[other]) continue;
      (faults[at] ??= {})[`n${other}`] = { blocked: true };
      (faults[other] ??= {})[`n${at}`] = { blocked: true };
    }
    await this.#impose(faults);
  }

  /** Ends all faults. */
  async heal() {
    await this.#impose({});
    await this.allUp();
  }

  async #impose(faults) {
    this.#faults = faults;
    for (const [at, node] of this.nodes.entries()) {
      if (!node) continue;
      const peers = this.#faults[at];
      const answer = peers ? await node.ask("PUT", "/v1/chaos", { peers }) : await node.ask("DELETE", "/v1/chaos");
      if (answer.status >= 300) throw new Error(`chaos on ${node.name}: ${answer.text}`);
    }
  }

  async kill(at) {
    const node = this.nodes[at];
    this.nodes[at] = undefined;
    await node.kill();
  }

  async close() {
    await Promise.all(this.nodes.filter(Boolean).map((node) => node.kill()));
    if (this.#folder) rmSync(this.#folder, { recursive: true, force: true });
  }
}

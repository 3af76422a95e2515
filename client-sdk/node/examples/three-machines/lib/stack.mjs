// The whole picture: nginx, HAProxy and three machines, in one folder that remembers which ports they have.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HaproxyStats } from "./haproxy.mjs";
import { Machine } from "./machine.mjs";
import { freePort, isFree } from "./ports.mjs";
import { Managed } from "./processes.mjs";
import { ask } from "./ask.mjs";
import { eventually } from "./wait.mjs";

const EXAMPLE = join(dirname(fileURLToPath(import.meta.url)), "..");
const NAMES = ["web-1", "web-2", "web-3"];
const FRONT = "127.0.0.1";
/** What `./start` takes when it is free. */
const PORTS = { nginx: 8080, haproxy: 8081, app: 3000, api: 7411, gossip: 7412 };
const DRAIN_MILLIS = 1_500;

/** The ports of a new stack. `fixed`: the documented ones where they are free; says which are not. */
export async function choosePorts({ fixed = false, say = () => undefined } = {}) {
  const choose = async (what, host) => {
    if (fixed && (await isFree(host, PORTS[what]))) return PORTS[what];
    const port = await freePort(host);
    if (fixed) say(`port ${PORTS[what]} on ${host} is taken: ${what} gets ${port}`);
    return port;
  };
  const machines = [];
  for (const [at, name] of NAMES.entries()) {
    const host = `127.0.1.${at + 1}`;
    const [app, api, gossip] = [
      await choose("app", host),
      await choose("api", host),
      await choose("gossip", host),
    ];
    machines.push({ name, host, app, api, gossip });
  }
  const front = async (what) => ({ host: FRONT, port: await choose(what, FRONT) });
  return { nginx: await front("nginx"), haproxy: await front("haproxy"), machines };
}

/** A stack in a folder. */
export class Stack {
  constructor(folder, { ports, secret, binary }) {
    const shared = {
      folder,
      example: EXAMPLE,
      binary,
      secret,
      keyFile: join(folder, "cluster.key"),
      drainMillis: DRAIN_MILLIS,
      plans: ports.machines,
    };
    this.folder = folder;
    this.ports = ports;
    this.binary = binary;
    this.nginx = new Managed(folder, "nginx");
    this.haproxy = new Managed(folder, "haproxy");
    this.balancer = new HaproxyStats(join(folder, "haproxy.sock"));
    this.machines = ports.machines.map((plan) => new Machine(shared, plan));
  }

  /** Prepares a new one: ports, key, secret, configurations. */
  static create(folder, { ports, binary }) {
    mkdirSync(join(folder, "nginx-temp"), { recursive: true });
    const kept = { ports, binary, secret: randomBytes(24).toString("hex") };
    const stack = new Stack(folder, kept);
    if (!existsSync(join(folder, "cluster.key"))) execFileSync(binary, ["keygen", join(folder, "cluster.key")]);
    writeFileSync(join(folder, "stack.json"), `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600 });
    stack.#configure();
    return stack;
  }

  /** The one that was created in that folder, if there is one. */
  static open(folder) {
    const file = join(folder, "stack.json");
    return existsSync(file) ? new Stack(folder, JSON.parse(readFileSync(file, "utf8"))) : undefined;
  }

  get url() {
    return `http://${this.ports.nginx.host}:${this.ports.nginx.port}`;
  }

  machine(name) {
    return this.machines.find((machine) => machine.name === name);
  }

  get managed() {
    return [this.nginx, this.haproxy, ...this.machines.flatMap(({ web, sidecar }) => [web, sidecar])];
  }

  #configure() {
    const { ports, folder } = this;
    const servers = ports.machines.map(({ name, host, app }) => `    server ${name} ${host}:${app}`).join("\n");
    const fill = {
      folder,
      servers,
      example: EXAMPLE,
      // Only root has to say as whom.
      user: process.getuid() === 0 ? "user root;" : "",
      "nginx.host": ports.nginx.host,
      "nginx.port": ports.nginx.port,
      "haproxy.host": ports.haproxy.host,
      "haproxy.port": ports.haproxy.port,
    };
    for (const name of ["haproxy.cfg", "nginx.conf"]) {
      const text = readFileSync(join(EXAMPLE, "config", name), "utf8");
      // Not what stands in comments of ours about this.
      const filled = text.replace(/\$\{([a-z.]+)\}/g, (whole, key) => (key in fill ? fill[key] : whole));
      writeFileSync(join(folder, name), filled);
    }
  }

  /** Starts everything, and waits until a page comes through all of it. */
  async start(say = () => undefined) {
    say("three sidecars find each other");
    for (const machine of this.machines) if (!machine.sidecar.running) machine.startSidecar();
    await Promise.all(this.machines.map((machine) => machine.sidecarReady()));
    say("two workers on each machine");
    await Promise.all(this.machines.map((machine) => machine.start()));
    say("HAProxy, then nginx");
    const { folder } = this;
    if (!this.haproxy.running) this.haproxy.start(haproxyProgram(), ["-f", join(folder, "haproxy.cfg")]);
    await this.balancerSees("UP", ...this.machines.map(({ name }) => name));
    if (!this.nginx.running) {
      this.nginx.start(nginxProgram(), [
        "-p",
        folder,
        "-e",
        join(folder, "nginx-error.log"),
        "-c",
        join(folder, "nginx.conf"),
      ]);
    }
    await eventually("a page comes through", async () => {
      const answer = await ask(this.ports.nginx, "GET", "/");
      if (answer.status !== 200) throw new Error(`status ${answer.status}`);
    });
  }

  /** Waits until HAProxy has that opinion of those machines. */
  async balancerSees(state, ...names) {
    await eventually(`HAProxy sees ${names.join(", ")} ${state}`, async () => {
      const seen = await this.balancer.servers("connected");
      for (const name of names) if (seen[name] !== state) throw new Error(JSON.stringify(seen));
    });
  }

  /** Stops what was started here, from the front to the back. Whether all of it ended by itself. */
  async stop() {
    const front = [await this.nginx.stop(), await this.haproxy.stop()];
    const back = await Promise.all(this.machines.map((machine) => machine.stop()));
    return [...front, ...back].every(Boolean);
  }

  /** Kills what still runs, at once. */
  killAll() {
    for (const process of this.managed) process.signalAll("SIGKILL");
  }

  /** Cuts one machine off from the others, or, without a name, heals the network. Asserted by the sidecars' own word. */
  async cutOff(name) {
    for (const machine of this.machines) {
      if (!machine.sidecar.running) continue;
      const others = this.machines.filter((other) => other !== machine).map((other) => other.name);
      await machine.block(name === undefined ? [] : machine.name === name ? others : [name]);
    }
  }
}

/** Debian keeps both in a folder that is not on everybody's path. */
function program(name) {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
}

export const nginxProgram = () => program("nginx");
export const haproxyProgram = () => program("haproxy");

/** The sidecar's program: what the environment says, what was built in this repository, or what is on the path. */
export function sidecarProgram() {
  const target = join(EXAMPLE, "../../../../target");
  const built = ["release", "debug"].map((kind) => join(target, kind, "sidetalk"));
  return [process.env.SIDETALK_BINARY, ...built].find((file) => file && existsSync(file)) ?? program("sidetalk");
}

// One "machine": a sidecar, and the web processes that use it. It has a loopback address of its own, so that all
// machines use the same ports, as real ones do.
import { join } from "node:path";
import { ask } from "./ask.mjs";
import { Managed } from "./processes.mjs";
import { eventually } from "./wait.mjs";

export class Machine {
  /** @param stack `{folder, example, binary, secret, keyFile, drainMillis}` @param plan `{name, host, app, api, gossip}` */
  constructor(stack, plan) {
    this.stack = stack;
    this.plan = plan;
    this.name = plan.name;
    this.sidecar = new Managed(stack.folder, `${plan.name}-sidecar`);
    this.web = new Managed(stack.folder, `${plan.name}-web`);
  }

  get #api() {
    return { host: this.plan.host, port: this.plan.api };
  }

  /** Asks the sidecar. */
  ask(method, path, options) {
    return ask(this.#api, method, path, options);
  }

  startSidecar() {
    const { host, api, gossip } = this.plan;
    const { stack } = this;
    const joins = stack.plans.filter((other) => other.name !== this.name);
    this.sidecar.start(stack.binary, [
      "run",
      ...["--node-id", this.name, "--cluster", "three-machines", "--cluster-key-file", stack.keyFile],
      ...["--api", `${host}:${api}`, "--gossip", `${host}:${gossip}`],
      // All the others: whichever of them is there is enough.
      ...joins.flatMap((other) => ["--join", `${other.host}:${other.gossip}`]),
      // Opens /v1/chaos, which can cut this machine off from the others. Not for production.
      "--chaos",
    ]);
  }

  /** Not before it has taken over what the others know. */
  async sidecarReady() {
    await eventually(`the sidecar of ${this.name} is ready`, async () => {
      if (!this.sidecar.running) throw new Error(`it has ended:\n${this.sidecar.tail()}`);
      const answer = await this.ask("GET", "/readyz");
      if (answer.status !== 200) throw new Error(answer.text);
    });
  }

  startWeb() {
    const { host, app, api } = this.plan;
    const { stack } = this;
    this.web.start(process.execPath, [join(stack.example, "app/main.mjs")], {
      MACHINE: this.name,
      HOST: host,
      PORT: String(app),
      SIDETALK_API: `http://${host}:${api}`,
      SESSION_SECRET: stack.secret,
      DRAIN_MILLIS: String(stack.drainMillis),
    });
  }

  async webReady() {
    await eventually(`the web processes of ${this.name} serve`, async () => {
      if (!this.web.running) throw new Error(`they have ended:\n${this.web.tail()}`);
      const answer = await ask({ host: this.plan.host, port: this.plan.app }, "GET", "/healthz");
      if (answer.status !== 200) throw new Error(`health: ${answer.status}`);
    });
  }

  /** First the sidecar: the web processes need it. */
  async start() {
    if (!this.sidecar.running) this.startSidecar();
    await this.sidecarReady();
    if (!this.web.running) this.startWeb();
    await this.webReady();
  }

  /** First the web processes, which let the balancer know; then the sidecar, which hands over what only it has. */
  async stop() {
    const web = await this.web.stop();
    const sidecar = await this.sidecar.stop();
    return web && sidecar;
  }

  /** The plug is pulled. */
  async kill() {
    await Promise.all([this.sidecar.kill(), this.web.kill()]);
  }

  /** How this machine's sidecar sees the members: by name, `up`, `suspect`, `down`. */
  async members() {
    const { members } = (await this.ask("GET", "/v1/cluster")).json;
    return Object.fromEntries(members.map((member) => [member.node, member.state]));
  }

  /** Blocks the network between this sidecar and those machines. */
  async block(names) {
    const peers = Object.fromEntries(names.map((name) => [name, { blocked: true }]));
    const answer =
      names.length > 0
        ? await this.ask("PUT", "/v1/chaos", { body: { peers } })
        : await this.ask("DELETE", "/v1/chaos");
    if (answer.status >= 300) throw new Error(`${this.name} refuses: ${answer.text}`);
  }

  /** Which machines this one's sidecar is cut off from. */
  async blocked() {
    const { peers } = (await this.ask("GET", "/v1/chaos")).json;
    return Object.keys(peers)
      .filter((name) => peers[name].blocked)
      .sort();
  }
}

// ./start, ./stop and ./machine.
import { join } from "node:path";
import { choosePorts, haproxyProgram, nginxProgram, sidecarProgram, Stack } from "./stack.mjs";

const FOLDER = join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../run");

const ACTIONS = {
  kill: (machine) => machine.kill(),
  stop: (machine) => machine.stop(),
  start: (machine) => machine.start(),
  restart: async (machine) => {
    await machine.stop();
    await machine.start();
  },
  "kill-sidecar": (machine) => machine.sidecar.kill(),
  "cut-off": (machine, stack) => stack.cutOff(machine.name),
  heal: (_, stack) => stack.cutOff(undefined),
};

function fail(text) {
  console.error(text);
  process.exit(1);
}

async function start() {
  const missing = [
    [nginxProgram(), "nginx: apt-get install nginx-light"],
    [haproxyProgram(), "haproxy: apt-get install haproxy"],
    [sidecarProgram(), "sidetalk: cargo build --release -p sidetalk, in the repository"],
  ].filter(([found]) => !found);
  if (missing.length > 0) fail(`missing here:\n${missing.map(([, what]) => `  ${what}`).join("\n")}`);
  const running = Stack.open(FOLDER);
  if (running?.managed.some((process) => process.running))
    fail(`it runs already: ${running.url}    (./stop stops it)`);
  const ports = await choosePorts({ fixed: true, say: console.log });
  const stack = Stack.create(FOLDER, { ports, binary: sidecarProgram() });
  try {
    await stack.start((text) => console.log(`  ${text}`));
  } catch (error) {
    for (const process of stack.managed)
      if (!process.running) console.error(`--- ${process.log}\n${process.tail(5)}`);
    stack.killAll();
    fail(error.message);
  }
  console.log(`
Open ${stack.url}    (any name, password "demo")

  Reload: the footer says which machine and worker answered. You stay logged in, and no view is lost.
  Put things into the cart while you try these:

    ./machine web-1 kill-sidecar    a sidecar dies             ./machine web-1 start
    ./machine web-2 kill            a machine dies             ./machine web-2 start
    ./machine web-3 cut-off         a network is cut           ./machine web-3 heal
    ./machine web-1 restart         as in a rolling deployment

  Edit the banner on the admin page: all processes have it at once.
  Ask a sidecar:  curl http://${ports.machines[0].host}:${ports.machines[0].api}/v1/cluster
  Logs and configurations are in run/.  ./stop stops everything.`);
}

async function stop() {
  const stack = Stack.open(FOLDER);
  if (!stack) fail("nothing was started here");
  const willing = await stack.stop();
  console.log(willing ? "stopped" : "stopped; some processes had to be killed");
}

async function machine(name, action) {
  const stack = Stack.open(FOLDER);
  if (!stack) fail("nothing was started here: ./start");
  const chosen = stack.machine(name);
  const act = ACTIONS[action];
  if (!chosen || !act) fail(`usage: ./machine web-1|web-2|web-3 ${Object.keys(ACTIONS).join("|")}`);
  await act(chosen, stack);
  console.log("HAProxy sees:", await stack.balancer.servers("connected").catch(() => "it does not run"));
}

const [command, ...rest] = process.argv.slice(2);
await { start, stop, machine }[command](...rest);

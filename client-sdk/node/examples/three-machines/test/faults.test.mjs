// 200 users, the real nginx and HAProxy, three machines, and everything that goes wrong with machines.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { choosePorts, sidecarProgram, Stack } from "../lib/stack.mjs";
import { eventually } from "../lib/wait.mjs";
import { Shopper } from "./shopper.mjs";
import { PROMISES, Tally } from "./tally.mjs";

const USERS = Number(process.env.USERS ?? 200);
/** Users are there for so long at least, and until all faults are over. */
const LOAD_MILLIS = Number(process.env.LOAD_SECONDS ?? 60) * 1_000;
/** How long each fault lasts after everybody has noticed it. */
const FAULT_MILLIS = 2_000;
/** No request may take longer: what HAProxy gives a machine, and a second try elsewhere. */
const BOUND_MILLIS = 15_000;

const say = (text) => console.log(text);
let folder;
let stack;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "three-machines-"));
  stack = Stack.create(folder, { ports: await choosePorts(), binary: sidecarProgram() });
  process.on("exit", () => stack.killAll());
  await stack.start();
});

after(async () => {
  await stack?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Long enough for many requests to meet the fault. */
async function meanwhile(tally) {
  const requests = tally.requests;
  const since = performance.now();
  await eventually("users meet the fault", () => {
    if (tally.requests < requests + USERS || performance.now() < since + FAULT_MILLIS) throw new Error("not yet");
  });
}

/** (a) */
async function sidecarDies(machine, tally) {
  const { pid } = machine.sidecar;
  await machine.sidecar.kill();
  assert.ok(pid && !machine.sidecar.running, "the sidecar is gone");
  assert.ok(machine.web.running, "its web processes are not");
  await stack.balancerSees("DOWN", machine.name);
  await meanwhile(tally);
  machine.startSidecar();
  await machine.sidecarReady();
  assert.notEqual(machine.sidecar.pid, pid);
  await stack.balancerSees("UP", machine.name);
}

/** (b) */
async function machineDies(machine, tally) {
  await machine.kill();
  assert.ok(!machine.sidecar.running && !machine.web.running, "all its processes are gone");
  await stack.balancerSees("DOWN", machine.name);
  const [other] = stack.machines.filter((each) => each !== machine);
  await eventually("the others notice", async () => assert.equal((await other.members())[machine.name], "down"));
  await meanwhile(tally);
  await machine.start();
  await stack.balancerSees("UP", machine.name);
}

/** (c) */
async function rollingRestart() {
  for (const machine of stack.machines) {
    const { pid } = machine.sidecar;
    assert.ok(await machine.stop(), "it stops by itself");
    assert.ok(!machine.sidecar.running && !machine.web.running);
    await machine.start();
    assert.notEqual(machine.sidecar.pid, pid);
    await stack.balancerSees("UP", machine.name);
  }
}

/** (d) */
async function machineIsCutOff(machine, tally) {
  const others = stack.machines.filter((each) => each !== machine);
  await stack.cutOff(machine.name);
  assert.deepEqual(
    await machine.blocked(),
    others.map(({ name }) => name),
  );
  for (const other of others) assert.deepEqual(await other.blocked(), [machine.name]);
  await eventually("both sides notice", async () => {
    for (const other of others) {
      assert.equal((await other.members())[machine.name], "down");
      assert.equal((await machine.members())[other.name], "down");
    }
  });
  await stack.balancerSees("DOWN", machine.name);
  assert.ok(machine.sidecar.running && machine.web.running, "it runs, alone");
  await meanwhile(tally);
  await stack.cutOff(undefined);
  for (const each of stack.machines) assert.deepEqual(await each.blocked(), []);
  await stack.balancerSees("UP", machine.name);
}

async function phase(tally, name, run) {
  tally.phase = name;
  const since = performance.now();
  await run();
  say(`${name}: ${((performance.now() - since) / 1_000).toFixed(1)} s`);
  tally.phase = "calm";
}

test("nothing that was acknowledged is lost, whatever dies", { timeout: 240_000 }, async () => {
  const tally = new Tally();
  const users = Array.from({ length: USERS }, (_, at) => new Shopper(`user-${at}`, stack.ports.nginx, tally));
  const stop = new AbortController();
  const since = performance.now();
  const living = Promise.all(users.map((user) => user.live(stop.signal)));
  try {
    await eventually("all have logged in", () => assert.ok(tally.logins >= USERS));
    const [first, second, third] = stack.machines;
    await phase(tally, "a sidecar is killed", () => sidecarDies(first, tally));
    await phase(tally, "a machine is killed", () => machineDies(second, tally));
    await phase(tally, "rolling restart", () => rollingRestart());
    await phase(tally, "a machine is cut off", () => machineIsCutOff(third, tally));
    const left = LOAD_MILLIS - (performance.now() - since);
    await eventually(
      "the time is over",
      () => assert.ok(performance.now() - since >= LOAD_MILLIS),
      Math.max(0, left) + 5_000,
    );
  } finally {
    stop.abort();
    await living;
  }
  const seconds = (performance.now() - since) / 1_000;
  tally.phase = "in the end";
  const machines = stack.machines.map(({ plan }) => ({ host: plan.host, port: plan.app }));
  const looked = (await Promise.all(users.map((user) => user.verify(machines)))).reduce(
    (sum, count) => sum + count,
    0,
  );
  for (const user of users) user.close();

  say(`${USERS} users, ${seconds.toFixed(0)} s, HAProxy: ${JSON.stringify(await stack.balancer.figures())}`);
  tally.print(say);
  say(`in the end: ${looked} sessions looked at, each on every machine; bound of a request: ${BOUND_MILLIS} ms`);

  const figures = await stack.balancer.figures();
  for (const { name } of stack.machines) assert.ok(figures[name].downs > 0, `HAProxy saw ${name} down`);
  assert.ok(
    tally.items > USERS && tally.fields > 0 && tally.logouts > 0 && looked >= USERS,
    "the users did something",
  );
  for (const promise of PROMISES) assert.equal(tally.count(promise), 0, promise);
  assert.ok(tally.slowest < BOUND_MILLIS, `a request took ${tally.slowest} ms`);
});

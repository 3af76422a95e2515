// The servers of the other stores, and what all of them cost.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { eventually } from "../test/support/wait.mjs";

/** A port that was free a moment ago: memcached takes none by itself. */
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function installed(program) {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Redis on a Unix socket, as the sidecar is; nothing where it is not installed. */
export async function redis(folder) {
  if (!installed("redis-server")) return undefined;
  const socket = join(folder, "redis.sock");
  const args = ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"];
  const child = spawn("redis-server", args, { stdio: "ignore" });
  await eventually("redis-server listens", async () => {
    if (!existsSync(socket)) throw new Error("no");
  });
  return { where: socket, pid: child.pid, stop: () => child.kill() };
}

/** memcached, by TCP: its store takes no socket. Nothing where it is not installed. */
export async function memcached() {
  if (!installed("memcached")) return undefined;
  const port = await freePort();
  const asRoot = process.getuid?.() === 0 ? ["-u", "root"] : [];
  const child = spawn("memcached", ["-l", "127.0.0.1", "-p", String(port), "-U", "0", ...asRoot], {
    stdio: "ignore",
  });
  const knock = () =>
    new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1", () => resolve(socket.destroy())).on("error", reject);
    });
  await eventually("memcached listens", knock);
  return { where: `127.0.0.1:${port}`, pid: child.pid, stop: () => child.kill() };
}

/** Microseconds that all threads of a process have run so far. */
export function cpuMicros(pid) {
  let nanos = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanos += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  }
  return nanos / 1_000;
}

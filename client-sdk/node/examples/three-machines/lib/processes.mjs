// Processes that outlive the program that started them. Each has a file that says who it is; only what stands in such a
// file, and is still the same process, is ever ended.
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { eventually } from "./wait.mjs";

/** When a process started, in the kernel's ticks: with the id, that names it for ever. Nothing when it has ended. */
function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may contain anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // One that has ended and was not waited for yet.
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** One process, by its pid file. */
export class Managed {
  /** @param folder where `NAME.pid` and `NAME.log` stand */
  constructor(folder, name) {
    this.name = name;
    this.log = join(folder, `${name}.log`);
    this.file = join(folder, `${name}.pid`);
  }

  /** Its id while it runs. */
  get pid() {
    let line;
    try {
      line = readFileSync(this.file, "utf8");
    } catch {
      return undefined;
    }
    const [pid, start] = line.trim().split(" ");
    return startOf(pid) === start ? Number(pid) : undefined;
  }

  get running() {
    return this.pid !== undefined;
  }

  /** Starts it, in a session of its own. */
  start(program, args, env = {}) {
    if (this.running) throw new Error(`${this.name} runs already`);
    mkdirSync(dirname(this.log), { recursive: true });
    const log = openSync(this.log, "a");
    const child = spawn(program, args, {
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, ...env },
    });
    closeSync(log);
    if (child.pid === undefined) throw new Error(`${program} cannot be started`);
    child.on("error", () => undefined);
    child.unref();
    writeFileSync(this.file, `${child.pid} ${startOf(child.pid) ?? "ended"}\n`);
  }

  /** Sends a signal to it alone. */
  signal(name) {
    const { pid } = this;
    if (pid !== undefined) process.kill(pid, name);
  }

  /** Sends a signal to it and to all that it has started. */
  signalAll(name) {
    const { pid } = this;
    if (pid === undefined) return;
    try {
      process.kill(-pid, name);
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  }

  /** SIGTERM, and what does not end within the time is killed. Whether it ended by itself. */
  async stop(millis = 15_000) {
    this.signal("SIGTERM");
    let willing = true;
    await this.gone(millis).catch(async () => {
      willing = false;
      this.signalAll("SIGKILL");
      await this.gone(5_000);
    });
    rmSync(this.file, { force: true });
    return willing;
  }

  /** `kill -9`, of it and of all that it has started. */
  async kill() {
    this.signalAll("SIGKILL");
    await this.gone(5_000);
  }

  async gone(millis) {
    await eventually(
      `${this.name} ends`,
      () => {
        if (this.running) throw new Error("it runs");
      },
      millis,
    );
  }

  /** The last lines of what it said. */
  tail(lines = 20) {
    try {
      return readFileSync(this.log, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
    } catch {
      return "";
    }
  }
}

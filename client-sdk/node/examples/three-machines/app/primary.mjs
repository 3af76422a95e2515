// Keeps workers alive, and passes on that it is time to stop.
import cluster from "node:cluster";

/** So that a worker that cannot start does not keep the machine busy. */
const RESTART_PAUSE_MILLIS = 500;

/** Starts workers and replaces those that die, until SIGTERM or SIGINT; then they finish what they do. */
export function supervise(count) {
  let stopping = false;
  for (let at = 0; at < count; at++) cluster.fork();

  cluster.on("exit", (worker, code, signal) => {
    if (stopping) {
      if (Object.keys(cluster.workers).length === 0) process.exit(0);
      return;
    }
    console.error(`worker ${worker.process.pid} ended (${signal ?? code}): another one takes its place`);
    setTimeout(() => !stopping && cluster.fork(), RESTART_PAUSE_MILLIS);
  });

  const stop = () => {
    if (stopping) return;
    stopping = true;
    const workers = Object.values(cluster.workers);
    if (workers.length === 0) process.exit(0);
    for (const worker of workers) worker.process.kill("SIGTERM");
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

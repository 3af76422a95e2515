// Everything a machine is told from outside, by environment variables.

const { env } = process;

export const settings = {
  /** The machine's name: shown on every page. */
  machine: env.MACHINE ?? "web-1",
  host: env.HOST ?? "127.0.0.1",
  port: Number(env.PORT ?? 3000),
  workers: Number(env.WORKERS ?? 2),
  /** Where this machine's sidecar listens. */
  sidecar: env.SIDETALK_API ?? "http://127.0.0.1:7411",
  /** The same on all machines. Signs session ids. */
  secret: env.SESSION_SECRET ?? "only for trying it out",
  /**
   * How long a worker that is to stop goes on serving after its health check has begun to fail. More than HAProxy takes
   * to notice: `fall` times `inter`.
   */
  drainMillis: Number(env.DRAIN_MILLIS ?? 1_500),
};

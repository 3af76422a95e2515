// One worker: serves, and stops so that nobody notices.
import { createServer } from "node:http";
import { Health } from "./health.mjs";
import { openShared } from "./shared.mjs";
import { shop } from "./shop.mjs";

/**
 * HAProxy keeps connections to us open and uses them again. Whoever closes an idle connection at the moment when the
 * other side sends a request on it has lost that request; Node closes after 5 seconds unless told otherwise. So: longer
 * than HAProxy ever keeps one (see `pool-purge-delay` there).
 */
const KEEP_ALIVE_MILLIS = 75_000;
/** What may still be under way when the server closes gets so long. */
const CLOSE_MILLIS_MAX = 8_000;

/** Serves until SIGTERM or SIGINT. */
export async function serve(settings) {
  const shared = await openShared(settings.sidecar);
  const health = new Health(shared.client);
  const server = createServer(shop({ settings, shared, health }));
  server.keepAliveTimeout = KEEP_ALIVE_MILLIS;
  server.headersTimeout = KEEP_ALIVE_MILLIS + 5_000;
  await new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(settings.port, settings.host, resolve);
  });
  // pm2 waits for this, with `wait_ready`.
  process.send?.("ready");

  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    // First the balancer has to see that nothing more is wanted here, then the door closes.
    health.drain();
    setTimeout(() => {
      server.close(() => {
        shared.close();
        process.exit(0);
      });
      server.closeIdleConnections();
      setTimeout(() => process.exit(1), CLOSE_MILLIS_MAX).unref();
    }, settings.drainMillis);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

// One machine's web processes: a primary that keeps some workers alive. pm2 does the primary's part by itself.
import cluster from "node:cluster";
import { settings } from "./settings.mjs";

if (cluster.isPrimary) {
  const { supervise } = await import("./primary.mjs");
  supervise(settings.workers);
} else {
  const { serve } = await import("./worker.mjs");
  await serve(settings);
}

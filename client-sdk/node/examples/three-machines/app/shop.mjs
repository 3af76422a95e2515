// The shop: an ordinary Express application. That its processes share sessions and objects is in sessions.mjs and
// shared.mjs, and nowhere else.
import express from "express";
import { account } from "./routes/account.mjs";
import { admin } from "./routes/admin.mjs";
import { cart } from "./routes/cart.mjs";
import { home } from "./routes/home.mjs";
import { preferences } from "./routes/preferences.mjs";
import { failure } from "./pages.mjs";
import { sessions } from "./sessions.mjs";

/** Makes the application of one worker. */
export function shop({ settings, shared, health }) {
  const app = express();
  app.disable("x-powered-by");
  // nginx and HAProxy say who asks.
  app.set("trust proxy", "loopback");
  app.set("etag", false);

  const answeredBy = { machine: settings.machine, worker: process.pid };
  app.use((request, response, next) => {
    response.set("X-Answered-By", `${answeredBy.machine}/${answeredBy.worker}`);
    response.set("Cache-Control", "no-store");
    // So that connections, too, leave a worker that is about to stop.
    if (health.draining) response.set("Connection", "close");
    next();
  });
  health.mount(app);

  app.use(sessions({ client: shared.client, secret: settings.secret }));
  app.use(express.urlencoded({ extended: false, limit: "16kb" }));
  app.use((request, response, next) => {
    response.locals = { answeredBy, shared, session: request.session };
    next();
  });

  app.use(home(shared), account(shared), cart(), preferences(), admin(shared));
  app.use((request, response) => response.status(404).send(failure(404, "There is no such page.").text));
  app.use(failed);
  return app;
}

/** Errors of the session store carry a status: 503 when the sidecar is away or behind. HAProxy asks another machine. */
function failed(error, request, response, next) {
  if (response.headersSent) return next(error);
  const status = error.status >= 400 && error.status < 600 ? error.status : 500;
  if (status >= 500) console.error(`${request.method} ${request.path}: ${error.code ?? ""} ${error.message}`);
  if (status === 503) response.set("Retry-After", "1");
  const text = status === 503 ? "One moment, please: this machine cannot answer just now." : "That did not work.";
  response.status(status).send(failure(status, text, error.code).text);
}

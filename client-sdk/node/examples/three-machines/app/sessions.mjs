// The one place where the session store is set up: before, it said connect-redis here.
import session from "express-session";
import { readYourWrites, SidetalkStore } from "sidetalk/express-session";
import { products } from "./catalogue.mjs";

/** A tab that stays open over lunch stays logged in. */
const SESSION_MILLIS = 2 * 60 * 60 * 1_000;

/** express-session as always, with Sidetalk's store and the wrapper that lets a browser read its own writes. */
export function sessions({ client, secret }) {
  const store = new SidetalkStore({
    client,
    prefix: "shop:",
    // Two requests at once that add to one of these add up.
    counters: ["views", ...products.map(({ sku }) => ["cart", sku])],
    // A change is answered when two machines have it: then one may burn down. Where no other machine can be reached,
    // this one goes on alone after the time below.
    acks: 2,
    acksTimeoutMillis: 600,
    whenUnacknowledged: "serve",
  });
  const cookie = {
    maxAge: SESSION_MILLIS,
    httpOnly: true,
    // Keeps other sites from posting our forms in a user's name. `secure: true` belongs here as soon as nginx has TLS.
    sameSite: "lax",
  };
  const middleware = session({ store, secret, name: "sid", resave: false, saveUninitialized: false, cookie });
  return readYourWrites(middleware, store, { cookie: { sameSite: "lax" }, saveUninitialized: false });
}

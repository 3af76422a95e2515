// The application that is measured: one process, one store. Told by its parent what to measure.
import http from "node:http";
import express from "express";
import session from "express-session";

const [, , kind, where] = process.argv;

async function storeOf() {
  if (kind === "memory") return { store: new session.MemoryStore() };
  if (kind === "redis") {
    const { RedisStore } = await import("connect-redis");
    const { createClient } = await import("redis");
    const client = createClient({ socket: { path: where } });
    await client.connect();
    return { store: new RedisStore({ client }) };
  }
  if (kind === "memcached") {
    const { default: storeFor } = await import("connect-memcached");
    return { store: new (storeFor(session))({ hosts: [where] }) };
  }
  const { readYourWrites, SidetalkStore } = await import("sidetalk/express-session");
  const store = new SidetalkStore({ client: where });
  return { store, wrap: kind === "wrapped" ? (middleware) => readYourWrites(middleware, store) : undefined };
}

const { store, wrap = (middleware) => middleware } = await storeOf();
const app = express();
app.disable("x-powered-by").disable("etag");
const cookie = { maxAge: 3_600_000 };
app.use(wrap(session({ store, secret: "s", resave: false, saveUninitialized: false, name: "sid", cookie })));
app.get("/login", (request, response) => {
  Object.assign(request.session, { user: "ada", n: 0, cart: { apples: 2, pears: 3 }, note: "x".repeat(100) });
  response.json({});
});
app.get("/read", (request, response) => response.json({ user: request.session.user, n: request.session.n }));
app.get("/write", (request, response) => {
  request.session.n++;
  response.json({ n: request.session.n });
});
const server = http.createServer(app).listen(0, "127.0.0.1", () => process.send({ port: server.address().port }));
// On a busy machine the last application starts long after the first: whose connections would be closed by then.
server.keepAliveTimeout = 0;
process.on("message", () => process.send({ cpu: process.cpuUsage() }));
process.on("disconnect", () => process.exit());

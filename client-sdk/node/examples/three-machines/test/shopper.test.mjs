// The users of the other test do notice: a shop that forgets everything it acknowledges is found out.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { eventually } from "../lib/wait.mjs";
import { Shopper } from "./shopper.mjs";
import { Tally } from "./tally.mjs";

const USERS = 40;

/** Says yes to everything, knows its users, and keeps nothing; not even that somebody has left. */
function forgetful(request, response) {
  const name = /who=(user-\d+)/.exec(request.headers.cookie ?? "")?.[1];
  if (request.method === "GET") {
    const content = name ? { user: name, views: 0 } : {};
    return response.end(request.url === "/session.json" ? JSON.stringify(content) : `<span>${name}</span>`);
  }
  let form = "";
  request.on("data", (chunk) => (form += chunk));
  request.on("end", () => {
    const who = new URLSearchParams(form).get("name");
    response.writeHead(303, { location: "/", ...(who ? { "set-cookie": [`who=${who}`] } : {}) }).end();
  });
}

test("a shop that keeps nothing is found out", { timeout: 60_000 }, async () => {
  const server = createServer(forgetful);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const site = { host: "127.0.0.1", port: server.address().port };
  const tally = new Tally();
  const users = Array.from({ length: USERS }, (_, at) => new Shopper(`user-${at}`, site, tally));
  const stop = new AbortController();
  const living = Promise.all(users.map((user) => user.live(stop.signal)));
  try {
    await eventually("all that can be lost is missed", () => {
      for (const promise of ["stale reads", "views below"]) assert.ok(tally.count(promise) > 0, promise);
      assert.ok(tally.logouts > 0 && tally.items > 0);
    });
  } finally {
    stop.abort();
    await living;
  }
  for (const user of users) await user.verify([site]);
  assert.ok(tally.count("acknowledged and lost") > 0);
  assert.ok(tally.count("sessions back") > 0, "the session of one who has left is shown");
  for (const user of users) user.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

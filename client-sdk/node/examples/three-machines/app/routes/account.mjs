// Login and logout.
import { Router } from "express";
import { flash, loginPage, takeFlash } from "../pages.mjs";

const NAME = /^[\p{L}\p{N} ._-]{1,40}$/u;
const PASSWORD = "demo";

export function account(shared) {
  const routes = Router();

  routes.get("/login", (request, response) =>
    response.send(loginPage(response.locals, takeFlash(request.session)).text),
  );

  routes.post("/login", (request, response, next) => {
    const name = String(request.body?.name ?? "").trim();
    if (!NAME.test(name) || request.body?.password !== PASSWORD) {
      flash(request.session, "warning", `A name, and the password "${PASSWORD}", please.`);
      return response.redirect(303, "/login");
    }
    // A new id with the login: nobody can prepare a session for somebody else.
    request.session.regenerate((error) => {
      if (error) return next(error);
      request.session.user = name;
      request.session.since = new Date().toISOString();
      request.session.views = 0;
      flash(request.session, "good", `Welcome, ${name}.`);
      shared.online.announce(name);
      response.redirect(303, "/");
    });
  });

  routes.post("/logout", (request, response, next) => {
    const { user } = request.session;
    request.session.destroy((error) => {
      if (error) return next(error);
      if (user) shared.online.leave(user);
      response.redirect(303, "/login?bye");
    });
  });
  return routes;
}

/** For pages that need a user. */
export function onlyUsers(request, response, next) {
  if (request.session.user) return next();
  flash(request.session, "warning", "Please log in first.");
  response.redirect(303, "/login");
}

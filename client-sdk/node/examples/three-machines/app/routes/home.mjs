// The shop's window, and the session as it is stored.
import { Router } from "express";
import { homePage, takeFlash } from "../pages.mjs";

export function home(shared) {
  const routes = Router();

  // Every page counts as a view. A declared counter: views in several tabs, on several machines, add up.
  routes.get(["/", "/cart", "/preferences", "/admin"], (request, response, next) => {
    const { session } = request;
    if (session.user) {
      session.views = (session.views ?? 0) + 1;
      shared.online.announce(session.user);
    }
    next();
  });

  routes.get("/", async (request, response) => {
    const online = await shared.online.list();
    response.send(homePage(response.locals, online, takeFlash(request.session)).text);
  });

  routes.get("/session.json", (request, response) => {
    const { cookie: _, ...content } = request.session;
    response.json(content);
  });
  return routes;
}

// The shop's own settings: one global object that all processes have in memory.
import { Router } from "express";
import { adminPage, flash, takeFlash } from "../pages.mjs";
import { onlyUsers } from "./account.mjs";

const TEXT_MAX = 120;

export function admin(shared) {
  const routes = Router();

  routes.get("/admin", onlyUsers, (request, response) => {
    response.send(adminPage(response.locals, takeFlash(request.session)).text);
  });

  routes.post("/admin", onlyUsers, async (request, response) => {
    const { banner, discountPercent } = request.body ?? {};
    const change = {};
    if (typeof banner === "string") change.banner = banner.slice(0, TEXT_MAX);
    const percent = Number(discountPercent);
    if (Number.isInteger(percent) && percent >= 0 && percent <= 90) change.discountPercent = percent;
    await shared.config.merge(change);
    flash(request.session, "good", "Every process of every machine knows it now.");
    response.redirect(303, "/admin");
  });
  return routes;
}

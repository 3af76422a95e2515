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
    if (typeof banner === "string") await shared.config.set("banner", banner.slice(0, TEXT_MAX));
    const percent = Number(discountPercent);
    if (discountPercent !== undefined && Number.isInteger(percent) && percent >= 0 && percent <= 90) {
      await shared.config.set("discountPercent", percent);
    }
    flash(request.session, "good", "Every process of every machine knows it now.");
    response.redirect(303, "/admin");
  });
  return routes;
}

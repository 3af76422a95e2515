// Fields of a session that are changed one by one: each form sends its own, and two at once both stay.
import { Router } from "express";
import { flash, preferencesPage, takeFlash } from "../pages.mjs";
import { onlyUsers } from "./account.mjs";

export const FIELDS = [
  { name: "address", label: "Deliver to" },
  { name: "slot", label: "When" },
  { name: "note", label: "Note for the driver" },
];

const LENGTH_MAX = 200;

export function preferences() {
  const routes = Router();

  routes.get("/preferences", onlyUsers, (request, response) => {
    response.send(preferencesPage(response.locals, FIELDS, takeFlash(request.session)).text);
  });

  routes.post("/preferences", onlyUsers, (request, response) => {
    const field = FIELDS.find(({ name }) => name === request.body?.field);
    if (!field) return response.status(400).send("no such field");
    const { session } = request;
    session.preferences ??= {};
    session.preferences[field.name] = String(request.body.value ?? "").slice(0, LENGTH_MAX);
    flash(session, "good", `${field.label}: noted.`);
    response.redirect(303, "/preferences");
  });
  return routes;
}

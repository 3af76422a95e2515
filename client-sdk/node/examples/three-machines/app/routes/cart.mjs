// The cart: one counter for each product.
import { Router } from "express";
import { productOf } from "../catalogue.mjs";
import { cartPage, flash, takeFlash } from "../pages.mjs";
import { onlyUsers } from "./account.mjs";

export function cart() {
  const routes = Router();

  routes.get("/cart", onlyUsers, (request, response) => {
    response.send(cartPage(response.locals, takeFlash(request.session)).text);
  });

  routes.post("/cart", onlyUsers, (request, response) => {
    const product = productOf(request.body?.sku);
    if (!product) return response.status(400).send("no such product");
    const { session } = request;
    session.cart ??= {};
    session.cart[product.sku] = (session.cart[product.sku] ?? 0) + 1;
    flash(session, "good", `${product.name}: in your cart.`);
    // The page that follows is another request and may go to another machine: it sees this one's write.
    response.redirect(303, request.body.back === "cart" ? "/cart" : "/");
  });

  routes.post("/cart/remove", onlyUsers, (request, response) => {
    const { session } = request;
    if (session.cart && productOf(request.body?.sku)) delete session.cart[request.body.sku];
    response.redirect(303, "/cart");
  });
  return routes;
}

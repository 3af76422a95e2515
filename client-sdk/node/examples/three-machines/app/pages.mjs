// The pages. Each says which machine and which worker made it.
import { randomBytes } from "node:crypto";
import { euros, productOf, products } from "./catalogue.mjs";
import { html } from "./html.mjs";

/** Leaves a message for the next page. Each under a name of its own: two requests at once leave two. */
export function flash(session, kind, text) {
  session.flash ??= {};
  session.flash[randomBytes(4).toString("hex")] = { kind, text };
}

/** Takes the messages that were left. */
export function takeFlash(session) {
  const messages = Object.values(session.flash ?? {});
  if (messages.length > 0) session.flash = {};
  return messages;
}

const TABS = [
  ["/", "Shop"],
  ["/cart", "Cart"],
  ["/preferences", "Delivery"],
  ["/admin", "Admin"],
];

function layout({ answeredBy, shared, session }, title, messages, body) {
  const { user, views } = session;
  const count = Object.values(session.cart ?? {}).reduce((sum, amount) => sum + amount, 0);
  const stale = shared.config.stale ? html`<span class="stale">settings may be old</span>` : "";
  return page(
    title,
    html`<header>
        <a class="brand" href="/"><img src="/static/logo.svg" alt="" width="36" height="36" />Three Machines</a>
        <nav>
          ${TABS.map(
            ([path, name]) =>
              html`<a href="${path}" class="${name === title ? "here" : ""}"
                >${name}${path === "/cart" && count ? ` (${count})` : ""}</a
              >`,
          )}
        </nav>
        ${
          user
            ? html`<form method="post" action="/logout" class="who">
                <span>${user}</span><button class="quiet">Log out</button>
              </form>`
            : html`<a class="button" href="/login">Log in</a>`
        }
      </header>
      <p class="banner">${shared.config.value.banner} ${stale}</p>
      <main>${messages.map(({ kind, text }) => html`<p class="flash ${kind}">${text}</p>`)} ${body}</main>
      <footer>
        <span>answered by <b>${answeredBy.machine}</b>, worker <b>${answeredBy.worker}</b></span>
        ${user ? html`<span>page view <b>${views}</b> of this session</span>` : ""}
        <a href="/session.json">this session, as it is stored</a>
      </footer>`,
  );
}

function page(title, body) {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} · Three Machines</title>
        <link rel="icon" href="/static/logo.svg" />
        <link rel="stylesheet" href="/static/style.css" />
      </head>
      <body>
        ${body}
      </body>
    </html>`;
}

function markOf({ name, hue }) {
  return html`<span class="mark" style="--hue: ${hue}">${name[0]}</span>`;
}

function priceOf(product, config) {
  return Math.round((product.cents * (100 - config.discountPercent)) / 100);
}

export function homePage(locals, online, messages) {
  const config = locals.shared.config.value;
  const cards = products.map(
    (product) =>
      html`<form class="card" method="post" action="/cart">
        ${markOf(product)}
        <h2>${product.name}</h2>
        <p>
          <b>${euros(priceOf(product, config))}</b> ${product.unit}
          ${config.discountPercent ? html`<s>${euros(product.cents)}</s>` : ""}
        </p>
        <button name="sku" value="${product.sku}">Add to cart</button>
      </form>`,
  );
  const body = html`<section class="cards">${cards}</section>
    <section class="online">
      <h2>Here now</h2>
      <p>
        ${online.names.length === 0 ? "Nobody has logged in yet." : online.names.map((name) => html`<span class="name">${name}</span> `)}
        ${online.more ? "and more" : ""}
      </p>
    </section>`;
  return layout(locals, "Shop", messages, body);
}

export function cartPage(locals, messages) {
  const config = locals.shared.config.value;
  const rows = Object.entries(locals.session.cart ?? {})
    .map(([sku, amount]) => ({ product: productOf(sku), amount }))
    .filter(({ product, amount }) => product && amount > 0);
  const sum = rows.reduce((total, { product, amount }) => total + amount * priceOf(product, config), 0);
  const table = html`<table>
    <tr>
      <th></th>
      <th>Product</th>
      <th class="number">Amount</th>
      <th class="number">Price</th>
      <th></th>
    </tr>
    ${rows.map(
      ({ product, amount }) =>
        html`<tr>
          <td>${markOf(product)}</td>
          <td>${product.name}</td>
          <td class="number">${amount}</td>
          <td class="number">${euros(amount * priceOf(product, config))}</td>
          <td class="actions">
            <form method="post" action="/cart">
              <input type="hidden" name="back" value="cart" /><button
                class="quiet"
                name="sku"
                value="${product.sku}"
              >
                One more
              </button>
            </form>
            <form method="post" action="/cart/remove">
              <button class="quiet" name="sku" value="${product.sku}">Remove</button>
            </form>
          </td>
        </tr>`,
    )}
    <tr class="sum">
      <td></td>
      <td>Together</td>
      <td></td>
      <td class="number">${euros(sum)}</td>
      <td></td>
    </tr>
  </table>`;
  const body = rows.length > 0 ? table : html`<p>Nothing in it yet. <a href="/">Have a look around.</a></p>`;
  return layout(locals, "Cart", messages, body);
}

export function preferencesPage(locals, fields, messages) {
  const chosen = locals.session.preferences ?? {};
  const body = html`<p class="lead">
      Each line is a form of its own. Open this page in two tabs and save different lines at the same moment: both
      stay.
    </p>
    ${fields.map(
      ({ name, label }) =>
        html`<form class="line" method="post" action="/preferences">
          <input type="hidden" name="field" value="${name}" />
          <label for="${name}">${label}</label>
          <input id="${name}" name="value" value="${chosen[name]}" maxlength="200" /><button>Save</button>
        </form>`,
    )}`;
  return layout(locals, "Delivery", messages, body);
}

export function adminPage(locals, messages) {
  const config = locals.shared.config.value;
  const body = html`<p class="lead">
      One object in the memory of all processes. A change is everywhere at once, with no restart.
    </p>
    <form class="line" method="post" action="/admin">
      <label for="banner">Banner</label>
      <input id="banner" name="banner" value="${config.banner}" maxlength="120" /><button>Save</button>
    </form>
    <form class="line" method="post" action="/admin">
      <label for="discount">Discount in percent</label>
      <input
        id="discount"
        name="discountPercent"
        type="number"
        min="0"
        max="90"
        value="${config.discountPercent}"
      /><button>Save</button>
    </form>`;
  return layout(locals, "Admin", messages, body);
}

export function loginPage(locals, messages) {
  const body = html`<form class="login" method="post" action="/login">
    <h1>Log in</h1>
    <label for="name">Name</label>
    <input id="name" name="name" autocomplete="username" required maxlength="40" />
    <label for="password">Password</label>
    <input id="password" name="password" type="password" autocomplete="current-password" required />
    <p class="hint">Any name; the password is <b>demo</b>.</p>
    <button>Log in</button>
  </form>`;
  return layout(locals, "Log in", messages, body);
}

/** A page for errors: needs no session, so that it can say that sessions fail. */
export function failure(status, text, code) {
  return page(
    String(status),
    html`<main class="failure">
      <h1>${status}</h1>
      <p>${text}</p>
      ${code ? html`<p class="hint">${code}</p>` : ""}
      <p><a href="/">Back to the shop</a></p>
    </main>`,
  );
}

// One user of the shop, who remembers what was acknowledged and holds every answer against it.
import { products } from "../app/catalogue.mjs";
import { FIELDS } from "../app/routes/preferences.mjs";
import { Browser } from "./browser.mjs";

const THINK_MILLIS = [300, 1_100];

/** Something between the two. */
const between = ([least, most]) => least + Math.random() * (most - least);
const pick = (list) => list[Math.floor(Math.random() * list.length)];

export class Shopper {
  /** Of the session in use; nothing while logged out. */
  #visit;

  constructor(name, site, tally) {
    this.name = name;
    this.site = site;
    this.tally = tally;
    this.browser = new Browser(site);
    /** Browsers as they were when a logout was acknowledged. */
    this.left = [];
  }

  /** Goes on until the signal, then stays logged in or out as it is. */
  async live(signal) {
    while (!signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, between(THINK_MILLIS)));
      if (!this.#visit) await this.#login();
      else await this.#act(Math.random());
    }
  }

  async #act(chance) {
    if (chance < 0.3) await this.#browse();
    else if (chance < 0.6) await this.#add();
    else if (chance < 0.75) await this.#prefer();
    else if (chance < 0.96) await this.#look(this.browser);
    else await this.#logout();
  }

  /** One request. Nothing when it was refused or broke: then nothing was acknowledged. */
  async #ask(method, path, form) {
    const answer = await this.browser.fetch(method, path, form);
    this.tally.answered(answer, `${method} ${path}`);
    return answer.status >= 200 && answer.status < 400 ? answer : undefined;
  }

  async #login() {
    const answer = await this.#ask("POST", "/login", { name: this.name, password: "demo" });
    if (answer?.location !== "/") return;
    this.tally.logins++;
    this.#visit = { cart: {}, preferences: {}, views: 0 };
  }

  /** Whether an answer shows a stranger where there should be a user. */
  #lost(answer, stranger) {
    if (!stranger) return false;
    this.tally.violation("logins lost", `${this.name} by ${answer.by}`);
    this.#visit = undefined;
    return true;
  }

  async #browse() {
    const answer = await this.#ask("GET", "/");
    if (!answer || this.#lost(answer, !answer.text.includes(`<span>${this.name}</span>`))) return;
    this.#visit.views++;
    this.tally.views++;
  }

  async #add() {
    const { sku } = pick(products);
    const item = (this.#visit.cart[sku] ??= { acknowledged: 0, tried: 0 });
    item.tried++;
    const answer = await this.#ask("POST", "/cart", { sku });
    if (!answer || this.#lost(answer, answer.location === "/login")) return;
    item.acknowledged++;
    this.tally.items++;
    // The redirect after the post shows what was posted, on whichever machine it is answered.
    await this.#look(this.browser);
  }

  async #prefer() {
    const { name } = pick(FIELDS);
    const value = `${name} ${Math.random()}`;
    const field = (this.#visit.preferences[name] ??= { possible: [] });
    field.possible.push(value);
    const answer = await this.#ask("POST", "/preferences", { field: name, value });
    if (!answer || this.#lost(answer, answer.location === "/login")) return;
    field.possible = [value];
    field.acknowledged = true;
    this.tally.fields++;
  }

  async #look(browser) {
    const answer = await browser.fetch("GET", "/session.json");
    this.tally.answered(answer, "GET /session.json");
    if (answer.status === 200) this.#judge(answer, "stale reads");
    return answer.status === 200;
  }

  /** Holds a session against what was acknowledged. */
  #judge(answer, name) {
    const seen = JSON.parse(answer.text);
    const visit = this.#visit;
    const where = `${this.name} by ${answer.by}`;
    if (this.#lost(answer, seen.user !== this.name)) return;
    for (const [sku, { acknowledged, tried }] of Object.entries(visit.cart)) {
      const is = seen.cart?.[sku] ?? 0;
      if (is < acknowledged) this.tally.violation(name, `${where}: ${is} of ${acknowledged} ${sku}`);
      if (is > tried) this.tally.violation("items too many", `${where}: ${is} ${sku} of ${tried} tried`);
    }
    for (const [field, { possible, acknowledged }] of Object.entries(visit.preferences)) {
      if (!acknowledged) continue;
      if (!possible.includes(seen.preferences?.[field])) this.tally.violation(name, `${where}: ${field}`);
    }
    if (!(seen.views >= visit.views))
      this.tally.violation("views below", `${where}: ${seen.views} of ${visit.views}`);
  }

  async #logout() {
    const before = this.browser.at(this.site);
    const answer = await this.#ask("POST", "/logout", {});
    const after = this.browser.at(this.site);
    // What was not acknowledged may have happened or not: this browser forgets it, and nothing is claimed about it.
    this.#visit = undefined;
    this.browser.cookies.clear();
    if (answer) {
      this.tally.logouts++;
      this.left.push(before);
      // Another tab of this browser, which still brings the session's cookie: the token of the logout comes with it, and
      // no machine shows the session any more. (Who brings an old cookie without it to a machine that is cut off may see
      // the session until that machine is linked again: nobody there can know. In the end it is gone there too.)
      after.cookies.set("sid", before.cookies.get("sid"));
      await this.#isGone(after);
    }
    after.close();
  }

  async #isGone(browser) {
    const answer = await browser.fetch("GET", "/session.json");
    if (answer.status === 200 && JSON.parse(answer.text).user)
      this.tally.violation("sessions back", `${this.name} by ${answer.by}`);
    return answer.status === 200;
  }

  /** When all is healed: every machine has all that was acknowledged. Gives how many answers were looked at. */
  async verify(machines) {
    let looked = 0;
    for (const to of machines) {
      if (this.#visit) {
        const browser = this.browser.at(to);
        const answer = await browser.fetch("GET", "/session.json");
        if (answer.status !== 200)
          this.tally.violation("not answered in the end", `${this.name}: ${answer.status}`);
        else this.#judge(answer, "acknowledged and lost");
        browser.close();
        looked++;
      }
      for (const before of this.left) {
        const browser = before.at(to);
        if (!(await this.#isGone(browser))) this.tally.violation("not answered in the end", this.name);
        browser.close();
        looked++;
      }
    }
    return looked;
  }

  close() {
    this.browser.close();
    for (const browser of this.left) browser.close();
  }
}

// Counts what happened, and prints it.

const EXAMPLES_MAX = 5;

export const PROMISES = [
  "logins lost",
  "acknowledged and lost",
  "items too many",
  "stale reads",
  "sessions back",
  "views below",
  "not answered in the end",
];

export class Tally {
  logins = 0;
  logouts = 0;
  items = 0;
  fields = 0;
  views = 0;
  phase = "calm";
  #phases = new Map();
  #millis = [];
  #violations = new Map(PROMISES.map((name) => [name, []]));

  answered({ status, millis, error }, what) {
    let of = this.#phases.get(this.phase);
    if (!of) this.#phases.set(this.phase, (of = { requests: 0, refused: 0, slowest: 0, why: {} }));
    of.requests++;
    of.slowest = Math.max(of.slowest, millis);
    this.#millis.push(millis);
    if (status >= 200 && status < 400) return;
    of.refused++;
    const why = `${what.split(" ")[0]} ${status || (error?.code ?? error?.message)}`;
    of.why[why] = (of.why[why] ?? 0) + 1;
  }

  violation(name, detail) {
    this.#violations.get(name).push(`[${this.phase}] ${detail}`);
  }

  count(name) {
    return this.#violations.get(name).length;
  }

  refused(phase) {
    return this.#phases.get(phase)?.refused ?? 0;
  }

  get requests() {
    return this.#millis.length;
  }

  get slowest() {
    return this.#millis.reduce((most, millis) => Math.max(most, millis), 0);
  }

  print(say) {
    const sorted = this.#millis.toSorted((a, b) => a - b);
    const part = (share) => `${Math.round(sorted[Math.floor(share * (sorted.length - 1))] ?? 0)} ms`;
    say(`${this.requests} requests: p50 ${part(0.5)}, p99 ${part(0.99)}, slowest ${part(1)}`);
    for (const [phase, { requests, refused, slowest, why }] of this.#phases) {
      const reasons = Object.entries(why).map(([name, count]) => `${name}: ${count}`);
      say(
        `  ${phase}: ${requests} requests, slowest ${Math.round(slowest)} ms, refused ${refused}${reasons.length ? ` (${reasons.join(", ")})` : ""}`,
      );
    }
    say(
      `acknowledged: ${this.logins} logins, ${this.items} cart items, ${this.fields} fields, ${this.views} views, ${this.logouts} logouts`,
    );
    for (const [name, details] of this.#violations) {
      say(`${name}: ${details.length}`);
      for (const detail of details.slice(0, EXAMPLES_MAX)) say(`    ${detail}`);
    }
  }
}

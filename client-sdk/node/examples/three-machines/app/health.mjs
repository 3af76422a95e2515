// What the balancer asks: whether requests should come here.

/** Less than HAProxy's `timeout check`, so that a "no" comes as an answer. */
const PATIENCE_MILLIS = 400;

export class Health {
  #client;
  #draining = false;

  constructor(client) {
    this.#client = client;
  }

  /** From now on: no. */
  drain() {
    this.#draining = true;
  }

  get draining() {
    return this.#draining;
  }

  /** Whether this machine can serve at all: its sidecar is there and has caught up with the others. */
  async canServe() {
    if (this.#draining) return false;
    return await this.#client.ready({ timeoutMillis: PATIENCE_MILLIS }).catch(() => false);
  }

  /**
   * Whether it should, as long as others can: it sees more than half of all machines. A machine that is cut off from the
   * others serves what it knows, and what is written there reaches the others when it is linked again; but its users
   * are better off elsewhere.
   */
  async isConnected() {
    if (this.#draining) return false;
    try {
      const { members } = await this.#client.cluster({ timeoutMillis: PATIENCE_MILLIS });
      return members.filter((member) => member.state === "up").length * 2 > members.length;
    } catch {
      return false;
    }
  }

  /** Answers HAProxy's checks. Mounted before the sessions: a check needs none. */
  mount(app) {
    const answer = (ask) => async (request, response) => {
      const well = await ask();
      response
        .status(well ? 200 : 503)
        .type("text")
        .send(well ? "ok\n" : "no\n");
    };
    app.get(
      "/healthz",
      answer(() => this.canServe()),
    );
    app.get(
      "/healthz/connected",
      answer(async () => (await this.canServe()) && (await this.isConnected())),
    );
  }
}

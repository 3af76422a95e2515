// Who is online: a document for each user that ends by itself when nobody renews it.

const PREFIX = "online:";
const LEASE_SECONDS = 30;
/** Not with every request. */
const RENEW_MILLIS = 10_000;
const SHOWN_MAX = 24;
const REMEMBERED_MAX = 10_000;

export class Online {
  #client;
  /** When this process announced whom. */
  #announced = new Map();

  constructor(client) {
    this.#client = client;
  }

  /** Says that a user is here. Nobody waits for it, and when it fails the next page says it again. */
  announce(user) {
    const now = Date.now();
    if (now - (this.#announced.get(user) ?? 0) < RENEW_MILLIS) return;
    if (this.#announced.size >= REMEMBERED_MAX) this.#announced.clear();
    this.#announced.set(user, now);
    const document = this.#document(user);
    document
      .put({ since: new Date(now).toISOString() }, { ttlSeconds: LEASE_SECONDS, minimal: true })
      .catch(() => {
        this.#announced.delete(user);
      });
  }

  /** Says that a user has gone. */
  leave(user) {
    this.#announced.delete(user);
    // If this fails, the lease ends soon.
    this.#document(user)
      .destroy()
      .catch(() => undefined);
  }

  /** Some of those who are here. Nobody, when the sidecar does not answer: no page fails for that. */
  async list() {
    try {
      const { keys, next } = await this.#client.list("documents", { prefix: PREFIX, limit: SHOWN_MAX });
      return { names: keys.map((key) => key.slice(PREFIX.length)), more: next !== null };
    } catch {
      return { names: [], more: false };
    }
  }

  #document(user) {
    return this.#client.document(PREFIX + user);
  }
}

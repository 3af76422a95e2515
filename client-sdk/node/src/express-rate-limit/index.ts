/**
 * A store for express-rate-limit that counts for the whole cluster.
 *
 * **How exact it is.** Every hit counts, once, on every node. A node decides by what it has seen, so while requests of
 * one key arrive on several nodes at the same moment, those that another node has let through within the time that
 * replication takes (a fraction of a millisecond to a few, between machines in one place) are not yet in its count: with
 * `n` nodes, a limit `L` and `k` requests arriving per node within that time, at most `L + (n - 1) × k` pass. While the
 * cluster is cut in `p` parts, each part counts by itself: at most `p × L`. Windows begin at multiples of their length, the
 * same everywhere, so at most `2 × L` pass within one length across the border of two windows, as with every store of
 * fixed windows; the clocks of the processes should agree to a small part of a window.
 * @packageDocumentation
 */
import { Sidetalk, type SidetalkOptions } from "../client.js";
import type { Document } from "../objects.js";

/** How a store is set up. */
export interface RateLimitStoreOptions {
  /** The client, or where the sidecar listens. */
  client?: Sidetalk | SidetalkOptions | string | undefined;
  /** Stands before every key. Limiters that share a cluster and not their counts differ in it. Default `rate-limit:`. */
  prefix?: string | undefined;
}

/** A count, and when it starts again. */
export interface Hits {
  totalHits: number;
  resetTime: Date;
}

interface Window extends Record<string, number> {
  hits: number;
}

const PREFIX_DEFAULT = "rate-limit:";
/** Clocks that are so far apart still find a window of the other's. */
const LINGER_SECONDS = 10;

/** The store: `rateLimit({ windowMs: 60_000, limit: 100, store: new SidetalkRateLimitStore() })`. */
export class SidetalkRateLimitStore {
  /** Every process counts the same keys. */
  readonly localKeys = false;
  readonly prefix: string;
  /** The client it uses. */
  readonly client: Sidetalk;
  #windowMillis = 60_000;

  constructor(options: RateLimitStoreOptions = {}) {
    const { client } = options;
    this.client = client instanceof Sidetalk ? client : new Sidetalk(client);
    this.prefix = options.prefix ?? PREFIX_DEFAULT;
  }

  /** Called by express-rate-limit. */
  init(options: { windowMs: number }): void {
    this.#windowMillis = options.windowMs;
  }

  /** Counts a hit. */
  async increment(key: string): Promise<Hits> {
    const { document, resetTime } = this.#window(key);
    const counted = await this.#count(document, 1, resetTime);
    return { totalHits: counted, resetTime };
  }

  /** Takes a hit back. */
  async decrement(key: string): Promise<void> {
    const { document, resetTime } = this.#window(key);
    await this.#count(document, -1, resetTime);
  }

  /** The count of a key in its window; nothing when there was no hit. */
  async get(key: string): Promise<Hits | undefined> {
    const { document, resetTime } = this.#window(key);
    const found = await document.get();
    return found === undefined ? undefined : { totalHits: found.hits, resetTime };
  }

  /** Starts a key's count again. */
  async resetKey(key: string): Promise<void> {
    const { document, resetTime } = this.#window(key);
    const ttlSeconds = this.#ttlSeconds(resetTime);
    await document.ops([{ op: "set", path: ["hits"], value: 0 }], {
      ttlSeconds,
      minimal: true,
      idempotencyKey: null,
    });
  }

  async #count(document: Document<Window>, by: number, resetTime: Date): Promise<number> {
    // Without a key for repeating it: a hit that is counted twice is worse than an error.
    const options = { ttlSeconds: this.#ttlSeconds(resetTime), idempotencyKey: null };
    return (await document.incr(["hits"], by, options)).value.hits;
  }

  /** The document of a window: leased, so it goes by itself. */
  #window(key: string): { document: Document<Window>; resetTime: Date } {
    const index = Math.floor(Date.now() / this.#windowMillis);
    const document = this.client.document<Window>(`${this.prefix}${key}:${this.#windowMillis}:${index}`);
    return { document, resetTime: new Date((index + 1) * this.#windowMillis) };
  }

  #ttlSeconds(resetTime: Date): number {
    return Math.max(1, Math.ceil((resetTime.getTime() - Date.now()) / 1_000)) + LINGER_SECONDS;
  }
}

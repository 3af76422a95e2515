// A global object, mirrored in this process.

import { EventEmitter } from "node:events";
import type { Json, PathOp, WriteOptions } from "../call.js";
import type { Sidetalk } from "../client.js";
import type { Document } from "../objects.js";
import type { WatchEvent } from "../watch.js";

/** How a live object is set up. */
export interface LiveOptions {
  /** How long to wait for its first state, in milliseconds. Default 5000. */
  timeoutMillis?: number | undefined;
}

/** A place in an object: a name, or names from the root on. */
export type LivePath = string | readonly string[];

/** The events of a live object, and what their listeners are given. */
export interface LiveEvents<T> {
  /** It is another now. */
  change: [value: T | undefined, previous: T | undefined];
  /** The sidecar is away: the value is the last that was seen. */
  stale: [];
  /** The sidecar is back, and the value is its own again. */
  fresh: [];
  /** The watch was refused, and will not go on. */
  error: [error: Error];
}

const TIMEOUT_MILLIS_DEFAULT = 5_000;
/** So long after a write of ours, an event may still be older than what we have read since. */
const DOUBT_MILLIS = 5_000;

/**
 * A document whose state this process has at hand. Read it with {@link value}; every change goes through a method, and
 * is seen here when its promise resolves.
 */
export class LiveObject<T extends object = Record<string, Json>> extends EventEmitter<LiveEvents<T>> {
  readonly #document: Document<T>;
  readonly #stop = new AbortController();
  #value: T | undefined;
  #text: string | undefined;
  #stale = true;
  #found = false;
  #isOpen = false;
  /** Reads one at a time, so that an older state never comes after a newer one. */
  #reading: Promise<void> | undefined;
  #readAgain: Promise<void> | undefined;
  #wroteAt = Number.NEGATIVE_INFINITY;

  private constructor(document: Document<T>) {
    super();
    this.#document = document;
  }

  /** Mirrors a document. Resolves when its state is known. */
  static async open<T extends object = Record<string, Json>>(
    client: Sidetalk,
    name: string,
    options: LiveOptions = {},
  ): Promise<LiveObject<T>> {
    const live = new LiveObject<T>(client.document<T>(name));
    const millis = options.timeoutMillis ?? TIMEOUT_MILLIS_DEFAULT;
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`no state of ${name} within ${millis} ms`)), millis);
        void live.#follow(client, name, resolve).catch(reject);
      });
    } catch (error) {
      live.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    return live;
  }

  /** The state, frozen; `undefined` when there is no such document. Another object after each change. */
  get value(): T | undefined {
    return this.#value;
  }

  /** Whether the sidecar is away, and the value may be out of date. */
  get stale(): boolean {
    return this.#stale;
  }

  /** Sets what is at a path. */
  set(path: LivePath, value: Json, options?: WriteOptions): Promise<void> {
    return this.apply([{ op: "set", path: names(path), value }], options);
  }

  /** Removes what is at a path. */
  unset(path: LivePath, options?: WriteOptions): Promise<void> {
    return this.apply([{ op: "unset", path: names(path) }], options);
  }

  /** Adds to an integer. What others add at the same time adds up. */
  incr(path: LivePath, by = 1, options?: WriteOptions): Promise<void> {
    return this.apply([{ op: "incr", path: names(path), by }], options);
  }

  /** Adds a member to a set of strings. */
  add(path: LivePath, member: string, options?: WriteOptions): Promise<void> {
    return this.apply([{ op: "add", path: names(path), member }], options);
  }

  /** Removes a member from a set of strings. */
  remove(path: LivePath, member: string, options?: WriteOptions): Promise<void> {
    return this.apply([{ op: "remove", path: names(path), member }], options);
  }

  /** Makes several changes as one. */
  apply(ops: readonly PathOp[], options: WriteOptions = {}): Promise<void> {
    return this.#write(() => this.#document.ops(ops, { minimal: true, ...options }));
  }

  /** Merges a JSON Merge Patch (RFC 7396) into it. */
  patch(patch: object, options: WriteOptions = {}): Promise<void> {
    return this.#write(() => this.#document.patch(patch, { minimal: true, ...options }));
  }

  /** Puts another state in its place. */
  replace(value: T, options: WriteOptions = {}): Promise<void> {
    return this.#write(() => this.#document.put(value, { minimal: true, ...options }));
  }

  /** Stops following it. */
  close(): void {
    this.#stop.abort();
  }

  async #write(write: () => Promise<unknown>): Promise<void> {
    await write();
    this.#wroteAt = performance.now();
    await this.#read();
  }

  async #follow(client: Sidetalk, name: string, opened: () => void): Promise<void> {
    const events = client.watch({
      kind: "documents",
      prefix: name,
      initial: true,
      signal: this.#stop.signal,
      onState: (state) => (state === "connected" ? void this.#back() : this.#away()),
    });
    try {
      for await (const event of events) {
        await this.#take(event, name);
        if (event.type === "current" && !this.#isOpen) {
          this.#isOpen = true;
          this.#refreshed();
          opened();
        }
      }
    } catch (error) {
      if (!this.#isOpen) throw error;
      this.#away();
      if (this.listenerCount("error") > 0) this.emit("error", error as Error);
    }
  }

  async #take(event: WatchEvent, name: string): Promise<void> {
    if (event.type === "reset") {
      this.#found = false;
    } else if (event.type === "current") {
      if (!this.#found) this.#put(undefined);
      else if (this.#stale && this.#text !== undefined) this.#refreshed();
    } else if (event.key === name) {
      this.#found = true;
      const doubtful = this.#reading !== undefined || performance.now() - this.#wroteAt < DOUBT_MILLIS;
      if (doubtful) await this.#read().catch(() => undefined);
      else this.#put(event.state === "live" ? (event.value as unknown as T) : undefined);
    }
  }

  #away(): void {
    if (this.#stale || this.#stop.signal.aborted) return;
    this.#stale = true;
    this.emit("stale");
  }

  /** Connected again: what was missed comes as events, but when all of it has come only a read tells. */
  async #back(): Promise<void> {
    if (!this.#isOpen) return;
    try {
      await this.#read();
      this.#refreshed();
    } catch {
      // Then the watch will break as well, and come back.
    }
  }

  #refreshed(): void {
    if (!this.#stale) return;
    this.#stale = false;
    this.emit("fresh");
  }

  /** Reads the state, as it is after this call. */
  #read(): Promise<void> {
    if (!this.#reading) {
      const reading = this.#fetch().finally(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
      this.#reading = reading;
      return reading;
    }
    // One is under way, and may have been answered before what the caller knows of: one more, for all who wait.
    this.#readAgain ??= this.#reading
      .catch(() => undefined)
      .then(() => {
        this.#readAgain = undefined;
        return this.#read();
      });
    return this.#readAgain;
  }

  async #fetch(): Promise<void> {
    this.#put(await this.#document.get());
  }

  #put(value: T | undefined): void {
    const text = value === undefined ? undefined : JSON.stringify(value);
    if (text === this.#text) return;
    const previous = this.#value;
    this.#text = text;
    this.#value = value === undefined ? undefined : freeze(value);
    this.#found = value !== undefined;
    this.emit("change", this.#value, previous);
  }
}

function names(path: LivePath): readonly string[] {
  return typeof path === "string" ? [path] : path;
}

function freeze<V>(value: V): V {
  if (typeof value !== "object" || value === null) return value;
  for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}

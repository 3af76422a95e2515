// A session store that sends only what a request has changed, and changes only the life that the request has loaded.

import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import { type Draft, type Json, objectPath, type Reply } from "../call.js";
import { Sidetalk } from "../client.js";
import { BehindError, RefusedError } from "../errors.js";
import { Availability } from "./availability.js";
import { Calls } from "./calls.js";
import { contextOf, currentContext, type RequestContext } from "./context.js";
import { isStored, kept, lifetimeMillis, loadedCookie, storedCookie } from "./cookie.js";
import { type Declared, pathsOf } from "./diff.js";
import type { StoreOptions } from "./options.js";
import { Saves } from "./saves.js";
import { fillSets } from "./sets.js";
import { Snapshot } from "./snapshot.js";
import { bindState, carry, give, type SessionData, stateOf, stateWith } from "./state.js";
import { begin, type Callback, heldBack } from "./told.js";

export type { StoreOptions } from "./options.js";
export { follow, type SessionData } from "./state.js";

// eslint-disable-next-line @typescript-eslint/no-explicit-any
type FrameworkSession = any;
type JsonObject = { [key: string]: Json };

const TTL_SECONDS_DEFAULT = 86_400;
const ACKS_TIMEOUT_MILLIS_DEFAULT = 1_000;
const PAGE = 100;

/**
 * The store. Emits `disconnect` and `connect` with `whenDown: "skip"`, and `ended` with a session's id when a change
 * came to nothing because the session had been destroyed meanwhile.
 */
export class SessionStore extends EventEmitter {
  // No member is private to the language: views of a store for single requests inherit from it.

  /** The client it uses. */
  readonly client: Sidetalk;
  /** The request that this view of the store is for. */
  readonly context?: RequestContext | undefined;
  /** @internal Whether the framework copies what {@link get} gives. */
  protected readonly copies: boolean = true;
  /** @internal */
  readonly _: Inner;

  constructor(options: StoreOptions = {}) {
    super();
    const { client } = options;
    this.client = client instanceof Sidetalk ? client : new Sidetalk(client);
    const declared = { counters: pathsOf(options.counters), sets: pathsOf(options.sets) };
    const calls = new Calls(this.client, {
      acks: options.acks,
      acksTimeoutMillis: options.acksTimeoutMillis ?? ACKS_TIMEOUT_MILLIS_DEFAULT,
      serveUnacknowledged: options.whenUnacknowledged === "serve",
      waitMillis: options.waitMillis,
      availability: options.whenDown === "skip" ? new Availability(this.client, this) : undefined,
    });
    this._ = {
      prefix: options.prefix ?? "",
      ttlMillis: (options.ttlSeconds ?? TTL_SECONDS_DEFAULT) * 1_000,
      declared,
      serveBehind: options.whenBehind === "serve",
      calls,
      saves: new Saves(calls, declared, this),
    };
  }

  /** Reads a session. Nothing when there is none; an error when that is not certain. */
  get(sid: string, callback: Callback): void {
    const context = this._context();
    this._at(sid, callback, (path) => this._load(path, context, callback));
  }

  /** Stores what has changed. */
  set(sid: string, given: FrameworkSession, callback?: Callback): void {
    const session = given as SessionData;
    const context = this._context(session);
    const done = begin(context, context ? callback : heldBack(session, callback));
    const state = stateOf(session) ?? stateWith(undefined);
    if (!state.known) bindState(session, state);
    this._at(sid, done, (path) => {
      // A copy now: what changes while we wait belongs to the next save.
      const content = new Snapshot(session);
      const cookie = storedCookie(session.cookie, state.known?.cookie);
      const lifetime = lifetimeMillis(session.cookie, this._.ttlMillis);
      this._.saves.save({ sid, path, session, content, cookie, lifetime, state, context }, done);
    });
  }

  /** Extends the lease, when it hardly lasts; and stores a change of the cookie, which frameworks leave out. */
  touch(sid: string, given: FrameworkSession, callback?: Callback): void {
    const session = given as SessionData;
    const known = stateOf(session)?.known;
    if (known) {
      if (!isStored(session.cookie, known.cookie)) return this.set(sid, session, callback);
      const lasts = lifetimeMillis(session.cookie, this._.ttlMillis) + performance.now() <= known.deadline;
      if (lasts) return callback?.();
    }
    const context = this._context(session);
    const done = begin(context, callback);
    const lifetime = lifetimeMillis(session.cookie, this._.ttlMillis);
    this._at(sid, done, (path) => this._.saves.touch(sid, path, lifetime, known, context, done));
  }

  /** Destroys a session, for ever. */
  destroy(sid: string, callback?: Callback): void {
    const context = this._context();
    const done = begin(context, callback);
    this._at(sid, done, (path) => this._.saves.destroy(path, context, done));
  }

  /** All sessions. */
  all(callback: Callback): void {
    void this._all().then((sessions) => callback(null, sessions), callback);
  }

  /** The ids of all sessions. */
  ids(callback: Callback<string[]>): void {
    void this._ids().then((ids) => callback(null, ids), callback);
  }

  /** How many sessions there are. */
  length(callback: Callback<number>): void {
    void this._ids().then((ids) => callback(null, ids.length), callback);
  }

  /** Destroys all sessions. */
  clear(callback?: Callback): void {
    const destroyed = (sid: string) =>
      promised((done) => this._.saves.destroy(this._path(sid), undefined, (error) => done(error ?? null)));
    const clear = async () => {
      for (const ids of pages(await this._ids())) await Promise.all(ids.map(destroyed));
    };
    const done = begin(undefined, callback);
    void clear().then(() => done(), done);
  }

  /** @internal Whether the session would be saved, as far as this store can see. */
  _changed(session: SessionData): boolean | undefined {
    const state = stateOf(session);
    if (!state?.known) return undefined;
    return !new Snapshot(session).equals(state.known.content);
  }

  private _context(session?: SessionData): RequestContext | undefined {
    return this.context ?? currentContext() ?? contextOf(session?.["req"] as IncomingMessage | undefined);
  }

  private _load(path: string, context: RequestContext | undefined, callback: Callback): void {
    const draft: Draft = { method: "GET", path, repeat: "free", asks: true };
    this._.calls.make(draft, {}, path, context?.scope, "none", (error, found) => {
      if (!found) return notFound(error, callback);
      if (found.behind && !this._.serveBehind) {
        const why = "this node has not seen yet what the browser has seen, and could not catch up in time";
        return callback(new BehindError(why));
      }
      this._adopt(found as Reply<JsonObject>, callback);
    });
  }

  private _adopt(found: Reply<JsonObject>, callback: Callback): void {
    const data = found.value as unknown as SessionData;
    fillSets(found.value, this._.declared);
    const millis = (found.expiresInSeconds ?? 0) * 1_000;
    const state = stateWith({
      content: new Snapshot(data),
      cookie: kept(found.value["cookie"]),
      life: found.life ?? "",
      deadline: performance.now() + millis,
    });
    data.cookie = loadedCookie(data.cookie, millis, !this.copies);
    if (this.copies) carry(data, state);
    give(data, state, () => callback(null, data));
  }

  private async _ids(): Promise<string[]> {
    const { prefix } = this._;
    const ids: string[] = [];
    for await (const key of this.client.keys("sessions", prefix)) ids.push(key.slice(prefix.length));
    return ids;
  }

  private async _all(): Promise<SessionData[]> {
    const sessions: SessionData[] = [];
    for (const ids of pages(await this._ids())) {
      const load = (id: string) =>
        promised<SessionData | null>((done) => this._load(this._path(id), undefined, done));
      (await Promise.all(ids.map(load))).forEach((session, at) => {
        if (session) sessions.push(Object.assign(session, { id: ids[at] }));
      });
    }
    return sessions;
  }

  /** Does something at a session's path. An id that cannot be sent is an error like any other: told, and later. */
  private _at(sid: string, failed: (error: Error) => void, work: (path: string) => void): void {
    let path;
    try {
      path = this._path(sid);
      work(path);
    } catch (error) {
      process.nextTick(failed, error);
    }
  }

  private _path(sid: string): string {
    return objectPath("sessions", this._.prefix + sid);
  }
}

/** What a store and its views share. */
interface Inner {
  readonly prefix: string;
  readonly ttlMillis: number;
  readonly declared: Declared;
  readonly serveBehind: boolean;
  readonly calls: Calls;
  readonly saves: Saves;
}

/** Nothing, when that is certain. */
function notFound(error: Error | undefined, callback: Callback): void {
  const refused = error instanceof RefusedError ? error.code : undefined;
  if (refused !== "ended" && refused !== "unknown") return callback(error);
  if (refused === "ended" || !(error as RefusedError).behind) return callback(null, null);
  const why = "the session is unknown to every node that could be asked, and not all of them could be";
  callback(new BehindError(why));
}

function promised<T>(call: (callback: (error: Error | null, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => {
      if (error) reject(error);
      else resolve(value as T);
    });
  });
}

function* pages(ids: readonly string[]): Generator<string[]> {
  for (let at = 0; at < ids.length; at += PAGE) yield ids.slice(at, at + PAGE);
}

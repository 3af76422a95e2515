// A session store that sends only what a request has changed, and changes only the life that the request has loaded.

import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import {
  type Draft,
  type Json,
  MERGE_PATCH,
  objectPath,
  PATH_OPS,
  type Reply,
  type WriteOptions,
} from "../call.js";
import { Sidetalk, type SidetalkOptions } from "../client.js";
import { BehindError, RefusedError, SidetalkError } from "../errors.js";
import { Availability } from "./availability.js";
import { Calls } from "./calls.js";
import { contextOf, currentContext, type RequestContext } from "./context.js";
import { isStored, lifetimeMillis, loadedCookie, sameCookie, type Stored, storedCookie } from "./cookie.js";
import { type Declared, difference, pathsOf } from "./diff.js";
import { fillSets, takeSets } from "./sets.js";
import { Snapshot } from "./snapshot.js";
import { bindState, carry, give, type Known, type SessionData, type State, stateOf, stateWith } from "./state.js";

export { follow, type SessionData } from "./state.js";

/** How a store is set up. */
export interface StoreOptions {
  /** The client, or where the sidecar listens. */
  client?: Sidetalk | SidetalkOptions | string | undefined;
  /** Stands before every session id. Applications that share a cluster and not their sessions differ in it. */
  prefix?: string | undefined;
  /** How long a session lives on when its cookie does not say. Default: a day. */
  ttlSeconds?: number | undefined;
  /**
   * Integers in the session that requests only count up or down: what parallel requests add, adds up. A name, a path
   * with dots, or a list of names.
   */
  counters?: readonly (string | readonly string[])[] | undefined;
  /** Lists of strings in the session that are sets: what parallel requests add and remove, all counts. Sorted. */
  sets?: readonly (string | readonly string[])[] | undefined;
  /**
   * What becomes of requests while the sidecar cannot be reached. `fail` (the default): they get its error. `skip`:
   * after the first that fails, they go on without `req.session`, until the sidecar is back.
   */
  whenDown?: "fail" | "skip" | undefined;
  /**
   * What becomes of a read that is older than what the browser has seen, because the node is cut off. `fail` (the
   * default): the request gets an error with status 503, and a proxy may try another node. `serve`: it gets what there
   * is.
   */
  whenBehind?: "fail" | "serve" | undefined;
  /**
   * How many nodes must have a change before its request is answered. Default: the sidecar's own node; then what it was
   * told in the milliseconds before it crashes is lost. With 2, one node may crash at any time.
   */
  acks?: number | "majority" | "all" | undefined;
  /** How long to wait for them, in milliseconds. Default 1000. */
  acksTimeoutMillis?: number | undefined;
  /**
   * What becomes of a change that too few nodes have acknowledged in time; it stays in both cases. `fail` (the
   * default): the request gets an error with status 503. `serve`: it goes on, with what this node alone may have.
   */
  whenUnacknowledged?: "fail" | "serve" | undefined;
  /** How long the node may take to catch up, or to ask others about a session, in milliseconds. Default 1000. */
  waitMillis?: number | undefined;
}

// As loose as the frameworks' own types, which differ from each other.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Callback<T = any> = (error?: any, value?: T) => void;
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type FrameworkSession = any;
type JsonObject = { [key: string]: Json };

const TTL_SECONDS_DEFAULT = 86_400;
const ACKS_TIMEOUT_MILLIS_DEFAULT = 1_000;
const PAGE = 100;

/** A save, as it was asked for. */
interface Save {
  readonly sid: string;
  readonly path: string;
  readonly session: SessionData;
  readonly content: Snapshot;
  readonly cookie: Stored;
  readonly lifetime: number;
  readonly state: State;
  readonly context: RequestContext | undefined;
}

/** Told when something is done, or why not. */
type Told = (error?: Error) => void;

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
    this._ = {
      prefix: options.prefix ?? "",
      ttlMillis: (options.ttlSeconds ?? TTL_SECONDS_DEFAULT) * 1_000,
      declared: { counters: pathsOf(options.counters), sets: pathsOf(options.sets) },
      serveBehind: options.whenBehind === "serve",
      calls: new Calls(this.client, {
        acks: options.acks,
        acksTimeoutMillis: options.acksTimeoutMillis ?? ACKS_TIMEOUT_MILLIS_DEFAULT,
        serveUnacknowledged: options.whenUnacknowledged === "serve",
        waitMillis: options.waitMillis,
        availability: options.whenDown === "skip" ? new Availability(this.client, this) : undefined,
      }),
      owner: this,
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
    const done = begin(context, callback);
    const state = stateOf(session) ?? stateWith(undefined);
    if (!state.known) bindState(session, state);
    this._at(sid, done, (path) => {
      // A copy now: what changes while we wait belongs to the next save.
      const content = new Snapshot(session);
      const cookie = storedCookie(session.cookie, state.known?.cookie);
      const lifetime = lifetimeMillis(session.cookie, this._.ttlMillis);
      const save: Save = { sid, path, session, content, cookie, lifetime, state, context };
      this._inTurn(state, done, (after) => this._save(save, after));
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
    this._at(sid, done, (path) => this._touch(sid, path, lifetime, known, context, done));
  }

  /** Destroys a session, for ever. */
  destroy(sid: string, callback?: Callback): void {
    const context = this._context();
    const done = begin(context, callback);
    this._at(sid, done, (path) => this._destroy(path, context, done));
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
      promised((done) => this._destroy(this._path(sid), undefined, (error) => done(error ?? null)));
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
      cookie: (found.value["cookie"] as Stored | undefined) ?? {},
      life: found.life ?? "",
      deadline: performance.now() + millis,
    });
    data.cookie = loadedCookie(data.cookie, millis, !this.copies);
    if (this.copies) carry(data, state);
    give(data, state, () => callback(null, data));
  }

  /** Saves of one session go one after the other. */
  private _inTurn(state: State, done: Told, work: (after: Told) => void): void {
    const after = (error?: Error) => {
      const next = state.waiting?.shift();
      if (next) next();
      else state.saving = false;
      done(error);
    };
    const go = () => {
      try {
        work(after);
      } catch (error) {
        after(error as Error);
      }
    };
    if (state.saving) {
      // A promise, which keeps to the request's own asynchronous context.
      void new Promise<void>((resolve) => (state.waiting ??= []).push(resolve)).then(go);
      return;
    }
    state.saving = true;
    go();
  }

  private _save(save: Save, done: Told): void {
    const { sid, path, content, cookie, lifetime, state, context } = save;
    const { known } = state;
    if (lifetime <= 0) return this._destroy(path, context, done);
    if (!known) {
      const made = (created: Known) => {
        state.known = created;
        done();
      };
      void this._create(save).then(made, done);
      return;
    }
    const change = this._changeOf(known, content, cookie);
    if (change) return this._change(save, known, change, done);
    if (performance.now() + lifetime <= known.deadline) process.nextTick(done);
    else this._touch(sid, path, lifetime, known, context, done);
  }

  /** What a save has to send; nothing when nothing has changed. */
  private _changeOf(known: Known, content: Snapshot, cookie: Stored): Change | undefined {
    const { declared } = this._;
    const sameCookies = sameCookie(known.cookie, cookie);
    if (sameCookies) {
      const patch = known.content.plainPatch(content, declared);
      if (patch !== undefined) return { body: patch, type: MERGE_PATCH };
    }
    const [was, is] = known.content.differing(content);
    if (!sameCookies) {
      was["cookie"] = jsonOf(known.cookie);
      is["cookie"] = jsonOf(cookie);
    }
    if (!differs(was) && !differs(is)) return undefined;
    const { ops, merge } = difference(was, is, declared);
    if (ops.length === 0) return undefined;
    if (merge) return { body: JSON.stringify(merge), type: MERGE_PATCH };
    const anew = () => JSON.stringify(difference(was, is, declared, true).ops);
    return { body: JSON.stringify(ops), type: PATH_OPS, anew };
  }

  /** Creates a session: only here is one made, and only under an id that has never been used. */
  private async _create(save: Save): Promise<Known> {
    const { path, session, cookie, lifetime } = save;
    const { calls } = this._;
    const scope = save.context?.scope;
    const foreign = !("req" in session) && !("sessionId" in session);
    const content: JsonObject = { ...save.content.toObject(), cookie: jsonOf(cookie) };
    const sets = takeSets(content, this._.declared);
    const put: Draft = { method: "PUT", path, body: JSON.stringify(content), repeat: "never", asks: false };
    const options: WriteOptions = { ttlSeconds: seconds(lifetime), minimal: true };
    let done: Reply<unknown>;
    try {
      done = await calls.ask(put, { ...options, ifNoneMatch: "*" }, path, scope, "change");
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      if (error.code === "ended") {
        throw new SidetalkError("session_id_used", "a session of this id was destroyed, and an id is used once");
      }
      if (error.code !== "precondition_failed") throw error;
      // It is there: an id that the application chooses itself, or data that was not read from here. Data takes the
      // place of what is there; a request's session joins it.
      const merge: Draft = { ...put, method: "PATCH", contentType: MERGE_PATCH, repeat: "never" };
      done = foreign
        ? await calls.ask(put, { ...options, ifMatch: "*" }, path, scope, "change")
        : await calls.ask(merge, { ...options, idempotencyKey: null }, path, scope, "change");
    }
    if (sets.length > 0) {
      const { life } = done;
      const body = JSON.stringify(sets);
      const add: Draft = { method: "PATCH", path, body, contentType: PATH_OPS, repeat: "never", asks: false };
      done = await calls.ask(add, { minimal: true, life, idempotencyKey: null }, path, scope, "change");
    }
    return { content: save.content, cookie, life: done.life ?? "", deadline: deadlineOf(done) };
  }

  /** Sends a difference. It comes to nothing when the session has ended. */
  private _change(save: Save, known: Known, change: Change, done: Told): void {
    const { path, lifetime, context } = save;
    const draft: Draft = {
      method: "PATCH",
      path,
      body: change.body,
      contentType: change.type,
      repeat: "never",
      asks: true,
    };
    const lasts = performance.now() + lifetime <= known.deadline;
    const options: WriteOptions = {
      life: known.life,
      ttlSeconds: lasts ? undefined : seconds(lifetime),
      minimal: true,
    };
    this._.calls.make(draft, options, path, context?.scope, "change", (error, found) => {
      if (found) {
        learn(known, save, found);
        done();
      } else if (change.anew && error instanceof RefusedError && error.code === "wrong_shape") {
        this._change(save, known, { body: change.anew(), type: change.type }, done);
      } else {
        this._unlessEnded(save.sid, error, done);
      }
    });
  }

  private _touch(
    sid: string,
    path: string,
    lifetime: number,
    known: Known | undefined,
    context: RequestContext | undefined,
    done: Told,
  ): void {
    if (lifetime <= 0) return this._destroy(path, context, done);
    const draft: Draft = { method: "POST", path: `${path}/touch`, repeat: "free", asks: true };
    const options = { life: known?.life, ttlSeconds: seconds(lifetime) };
    this._.calls.make(draft, options, path, context?.scope, "none", (error, found) => {
      if (!found) return this._unlessEnded(sid, error, done);
      if (known) known.deadline = deadlineOf(found);
      done();
    });
  }

  /** A change of what was destroyed meanwhile comes to nothing: that is what destroying means. */
  private _unlessEnded(sid: string, error: Error | undefined, done: Told): void {
    const ended =
      error instanceof RefusedError && (error.code === "ended" || (error.code === "unknown" && !error.behind));
    if (!ended) return done(error);
    this._.owner.emit("ended", sid);
    done();
  }

  private _destroy(path: string, context: RequestContext | undefined, done: Told): void {
    const draft: Draft = { method: "DELETE", path, repeat: "free", asks: true };
    this._.calls.make(draft, {}, path, context?.scope, "change", (error, found) =>
      done(found ? undefined : error),
    );
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
  readonly owner: EventEmitter;
}

/** A change on the wire. */
interface Change {
  readonly body: string;
  readonly type: string;
  /** The same for a session in which something of another shape stands where counters and sets are declared. */
  readonly anew?: () => string;
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

function jsonOf(cookie: Stored): Json {
  return JSON.parse(JSON.stringify(cookie)) as Json;
}

function differs(part: JsonObject): boolean {
  for (const _ in part) return true;
  return false;
}

function learn(known: Known, { content, cookie }: Save, done: Reply<unknown>): void {
  known.content = content;
  known.cookie = cookie;
  known.life = done.life ?? known.life;
  known.deadline = deadlineOf(done);
}

function deadlineOf(done: Reply<unknown>): number {
  return performance.now() + (done.expiresInSeconds ?? 0) * 1_000;
}

function seconds(millis: number): number {
  return Math.max(1, Math.ceil(millis / 1_000));
}

function* pages(ids: readonly string[]): Generator<string[]> {
  for (let at = 0; at < ids.length; at += PAGE) yield ids.slice(at, at + PAGE);
}

/** Begins something that a request waits for. Gives who is to be told: tells the callback, and the request. */
function begin(context: RequestContext | undefined, callback: Callback | undefined): Told {
  if (!context) return (error) => (error === undefined ? callback?.() : callback?.(error));
  const byFramework = context.ending;
  context.saving++;
  return (error) => {
    context.saving--;
    // The response says so: see the wrapper.
    if (error !== undefined && byFramework) context.failure ??= error;
    try {
      if (error !== undefined && !byFramework) callback?.(error);
      else callback?.();
    } finally {
      if (context.saving === 0) context.settled();
    }
  };
}

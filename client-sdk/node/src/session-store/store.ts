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
  reply,
  request,
  type WriteOptions,
} from "../call.js";
import { Sidetalk, type SidetalkOptions } from "../client.js";
import { BehindError, isDown, RefusedError, SidetalkError } from "../errors.js";
import type { TokenScope } from "../scope.js";
import { Availability } from "./availability.js";
import { contextOf, currentContext, type RequestContext } from "./context.js";
import {
  lifetimeMillis,
  loadedCookie,
  sameCookie,
  type SessionCookie,
  type Stored,
  storedCookie,
} from "./cookie.js";
import { type Declared, difference, pathsOf, type Difference } from "./diff.js";
import { fillSets, takeSets } from "./sets.js";
import { Snapshot } from "./snapshot.js";

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

/** A session as frameworks hand it over. */
export interface SessionData {
  cookie: SessionCookie;
  [name: string]: unknown;
}

// As loose as the frameworks' own types, which differ from each other.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Callback<T = any> = (error?: any, value?: T) => void;
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type FrameworkSession = any;
type JsonObject = { [key: string]: Json };

/** What is known of a session in this process. */
interface Known {
  /** What is stored, without the cookie, as far as this request knows. */
  content: Snapshot;
  cookie: Stored;
  life: string;
  /** Until when it is leased, by `performance.now()`. */
  deadline: number;
}

/** One session in one request. */
interface State {
  /** Nothing before it is stored for the first time. */
  known: Known | undefined;
  /** The save under way: another one waits for it. */
  saving: Promise<void> | undefined;
}

/** In sessions of frameworks that copy what they are given, this leads to the {@link State}. */
const CARRIER = "__sidetalk";
const TTL_SECONDS_DEFAULT = 86_400;
const ACKS_TIMEOUT_MILLIS_DEFAULT = 1_000;
const PAGE = 100;

/** Leads from a session to its {@link State}. */
const STATE = Symbol("sidetalk.state");

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
      acks: options.acks,
      acksTimeoutMillis: options.acksTimeoutMillis ?? ACKS_TIMEOUT_MILLIS_DEFAULT,
      serveUnacknowledged: options.whenUnacknowledged === "serve",
      waitMillis: options.waitMillis,
      availability: options.whenDown === "skip" ? new Availability(this.client, this) : undefined,
      owner: this,
    };
  }

  /** Reads a session. Nothing when there is none; an error when that is not certain. */
  get(sid: string, callback: Callback): void {
    void this._load(sid, this._context()).then((data) => callback(null, data), callback);
  }

  /** Stores what has changed. */
  set(sid: string, given: FrameworkSession, callback?: Callback): void {
    const session = given as SessionData;
    const context = this._context(session);
    settle(context, callback, this._save(sid, session, context));
  }

  /** Extends the lease, when it hardly lasts; and stores a change of the cookie, which frameworks leave out. */
  touch(sid: string, given: FrameworkSession, callback?: Callback): void {
    const session = given as SessionData;
    const known = stateOf(session)?.known;
    if (known) {
      const changed = !sameCookie(known.cookie, storedCookie(session.cookie, known.cookie));
      const lasts = lifetimeMillis(session.cookie, this._.ttlMillis) + performance.now() <= known.deadline;
      if (changed) return this.set(sid, session, callback);
      if (lasts) return callback?.();
    }
    const context = this._context(session);
    settle(context, callback, this._touch(sid, session, known, context));
  }

  /** Destroys a session, for ever. */
  destroy(sid: string, callback?: Callback): void {
    const context = this._context();
    settle(context, callback, this._destroy(sid, context));
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
    const clear = async () => {
      for (const ids of pages(await this._ids())) await Promise.all(ids.map((id) => this._destroy(id, undefined)));
    };
    settle(undefined, callback, clear());
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

  private async _load(sid: string, context: RequestContext | undefined): Promise<SessionData | null> {
    let found: Reply<JsonObject>;
    const path = this._path(sid);
    try {
      found = await this._call({ method: "GET", path, repeat: "free", asks: true }, {}, path, context?.scope);
    } catch (error) {
      if (!(error instanceof RefusedError) || (error.code !== "ended" && error.code !== "unknown")) throw error;
      if (error.code === "ended" || !error.behind) return null;
      throw new BehindError(
        "the session is unknown to every node that could be asked, and not all of them could be",
      );
    }
    if (found.behind && !this._.serveBehind) {
      throw new BehindError(
        "this node has not seen yet what the browser has seen, and could not catch up in time",
      );
    }
    return this._adopt(found);
  }

  private _adopt(found: Reply<JsonObject>): SessionData {
    const data = found.value as unknown as SessionData;
    fillSets(found.value, this._.declared);
    const millis = (found.expiresInSeconds ?? 0) * 1_000;
    const cookie = (data.cookie as Stored | undefined) ?? {};
    const known: Known = {
      content: new Snapshot(data),
      cookie,
      life: found.life ?? "",
      deadline: performance.now() + millis,
    };
    data.cookie = loadedCookie(data.cookie, millis);
    const state: State = { known, saving: undefined };
    bindState(data, state);
    if (this.copies) data[CARRIER] = new Carrier(state);
    return data;
  }

  private async _save(sid: string, session: SessionData, context: RequestContext | undefined): Promise<void> {
    let state = stateOf(session);
    if (!state) bindState(session, (state = { known: undefined, saving: undefined }));
    // A copy now: what changes while we wait belongs to the next save.
    const content = new Snapshot(session);
    const lifetime = lifetimeMillis(session.cookie, this._.ttlMillis);
    const before = state.saving;
    const saving = this._saveContent(sid, content, lifetime, state, session, context, before);
    const quiet = saving.catch(() => undefined);
    state.saving = quiet;
    try {
      await saving;
    } finally {
      if (state.saving === quiet) state.saving = undefined;
    }
  }

  private async _saveContent(
    sid: string,
    content: Snapshot,
    lifetime: number,
    state: State,
    session: SessionData,
    context: RequestContext | undefined,
    before: Promise<void> | undefined,
  ): Promise<void> {
    const cookie = storedCookie(session.cookie, state.known?.cookie);
    if (before) await before;
    if (lifetime <= 0) return this._destroy(sid, context);
    const scope = context?.scope;
    if (!state.known) {
      const foreign = !("req" in session) && !("sessionId" in session);
      state.known = await this._create(sid, content, cookie, lifetime, foreign, scope);
      return;
    }
    const { known } = state;
    const [was, is] = known.content.differing(content);
    if (!sameCookie(known.cookie, cookie)) {
      was["cookie"] = jsonOf(known.cookie);
      is["cookie"] = jsonOf(cookie);
    }
    if (differs(was) || differs(is)) {
      const change = difference(was, is, this._.declared);
      if (change.ops.length > 0) {
        const again = () => difference(was, is, this._.declared, true);
        const done = await this._change(sid, change, again, known.life, lifetime, scope);
        if (done) learn(known, content, cookie, done);
        return;
      }
    }
    if (performance.now() + lifetime > known.deadline) await this._touch(sid, session, known, context);
  }

  /** Creates a session: only here is one made, and only under an id that has never been used. */
  private async _create(
    sid: string,
    snapshot: Snapshot,
    cookie: Stored,
    lifetime: number,
    foreign: boolean,
    scope: TokenScope | undefined,
  ): Promise<Known> {
    const path = this._path(sid);
    const content: JsonObject = { ...snapshot.toObject(), cookie: jsonOf(cookie) };
    const sets = takeSets(content, this._.declared);
    const put: Draft = { method: "PUT", path, body: JSON.stringify(content), repeat: "never", asks: false };
    const options: WriteOptions = { ttlSeconds: seconds(lifetime), minimal: true };
    let done: Reply<unknown>;
    try {
      done = await this._call(put, { ...options, ifNoneMatch: "*" }, path, scope);
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
        ? await this._call(put, { ...options, ifMatch: "*" }, path, scope)
        : await this._call(merge, { ...options, idempotencyKey: null }, path, scope);
    }
    if (sets.length > 0) {
      const { life } = done;
      const body = JSON.stringify(sets);
      const add: Draft = { method: "PATCH", path, body, contentType: PATH_OPS, repeat: "never", asks: false };
      done = await this._call(add, { minimal: true, life, idempotencyKey: null }, path, scope);
    }
    return { content: snapshot, cookie, life: done.life ?? "", deadline: deadlineOf(done) };
  }

  /** Sends a difference. Nothing when the session has ended. */
  private async _change(
    sid: string,
    change: Difference,
    anew: () => Difference,
    life: string,
    lifetime: number,
    scope: TokenScope | undefined,
  ): Promise<Reply<unknown> | undefined> {
    const path = this._path(sid);
    const { merge, ops } = change;
    const draft: Draft = {
      method: "PATCH",
      path,
      body: JSON.stringify(merge ?? ops),
      contentType: merge ? MERGE_PATCH : PATH_OPS,
      repeat: "never",
      asks: true,
    };
    try {
      return await this._call(draft, { life, ttlSeconds: seconds(lifetime), minimal: true }, path, scope);
    } catch (error) {
      if (error instanceof RefusedError && error.code === "wrong_shape" && !merge) {
        const again: Draft = { ...draft, body: JSON.stringify(anew().ops) };
        return await this._call(again, { life, ttlSeconds: seconds(lifetime), minimal: true }, path, scope);
      }
      this._unlessEnded(sid, error);
      return;
    }
  }

  private async _touch(
    sid: string,
    session: SessionData,
    known: Known | undefined,
    context: RequestContext | undefined,
  ): Promise<void> {
    const lifetime = lifetimeMillis(session.cookie, this._.ttlMillis);
    if (lifetime <= 0) return this._destroy(sid, context);
    const path = this._path(sid);
    const draft: Draft = { method: "POST", path: `${path}/touch`, repeat: "free", asks: true };
    try {
      const options = { life: known?.life, ttlSeconds: seconds(lifetime) };
      const done = await this._call(draft, options, path, context?.scope, true);
      if (known) known.deadline = deadlineOf(done);
    } catch (error) {
      this._unlessEnded(sid, error);
    }
  }

  /** A change of what was destroyed meanwhile comes to nothing: that is what destroying means. */
  private _unlessEnded(sid: string, error: unknown): undefined {
    if (!(error instanceof RefusedError)) throw error;
    if (error.code !== "ended" && (error.code !== "unknown" || error.behind)) throw error;
    this._.owner.emit("ended", sid);
    return undefined;
  }

  private async _destroy(sid: string, context: RequestContext | undefined): Promise<void> {
    const path = this._path(sid);
    await this._call({ method: "DELETE", path, repeat: "free", asks: true }, {}, path, context?.scope);
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
      const found = await Promise.all(ids.map((id) => this._load(id, undefined)));
      found.forEach((session, at) => {
        if (session) sessions.push(Object.assign(session, { id: ids[at] }));
      });
    }
    return sessions;
  }

  private _path(sid: string): string {
    return objectPath("sessions", this._.prefix + sid);
  }

  private async _call<T>(
    draft: Draft,
    options: WriteOptions,
    path: string,
    scope: TokenScope | undefined,
    touches = false,
  ): Promise<Reply<T>> {
    const sent = scope?.before() ?? NONE;
    const { transport, timeoutMillis } = this.client;
    const changes = draft.method !== "GET" && !touches;
    const { acks, acksTimeoutMillis } = this._;
    const refined = changes && acks !== undefined ? { ...options, acks, acksTimeoutMillis } : options;
    try {
      let answer = await transport.call(request(draft, refined, timeoutMillis, sent, this._.waitMillis));
      const short =
        answer.status === 504 && (answer.body as { code?: string } | undefined)?.code === "not_enough_acks";
      const wrote = changes && (answer.status < 300 || short);
      const { headers } = answer;
      const behind = headers["sidetalk-behind"] === "true";
      scope?.after(path, sent, { token: headers["sidetalk-token"], behind, wrote });
      // The change is made: what is missing is only that others have it.
      if (short && this._.serveUnacknowledged) answer = { ...answer, status: 200 };
      return reply<T>(answer);
    } catch (error) {
      if (isDown(error)) this._.availability?.lost();
      // What a browser brings may be of another cluster, or of another time.
      if (scope && sent.length > 0 && error instanceof RefusedError && error.code === "bad_token") {
        scope.drop(sent);
        return this._call(draft, options, path, scope, touches);
      }
      throw error;
    }
  }
}

/** What a store and its views share. */
interface Inner {
  readonly prefix: string;
  readonly ttlMillis: number;
  readonly declared: Declared;
  readonly serveBehind: boolean;
  readonly acks: number | "majority" | "all" | undefined;
  readonly acksTimeoutMillis: number;
  readonly serveUnacknowledged: boolean;
  readonly waitMillis: number | undefined;
  readonly availability: Availability | undefined;
  readonly owner: EventEmitter;
}

const NONE: readonly string[] = [];

/** Leads from a copy of a session to its state, and is no part of its content. */
class Carrier {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  get state(): State {
    return this.#state;
  }

  toJSON(): undefined {
    return undefined;
  }
}

/** Binds what a framework has made of loaded data to the data's state. */
export function follow(session: object, data: object): void {
  const state = (data as Bound)[STATE];
  if (state) bindState(session, state);
}

type Bound = { [STATE]?: State };

/** Out of sight of whoever copies or compares the session. */
function bindState(session: object, state: State): void {
  Object.defineProperty(session, STATE, { value: state, configurable: true, writable: true });
}

function stateOf(session: SessionData): State | undefined {
  const carrier = session[CARRIER];
  return carrier instanceof Carrier ? carrier.state : (session as Bound)[STATE];
}

function jsonOf(cookie: Stored): Json {
  return JSON.parse(JSON.stringify(cookie)) as Json;
}

function differs(part: JsonObject): boolean {
  for (const _ in part) return true;
  return false;
}

function learn(known: Known, content: Snapshot, cookie: Stored, done: Reply<unknown>): void {
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

/** Tells the callback, and the request that waits for it. */
function settle(context: RequestContext | undefined, callback: Callback | undefined, work: Promise<void>): void {
  const byFramework = context?.ending ?? false;
  if (context) context.saving++;
  const done = (error?: unknown) => {
    if (context) {
      context.saving--;
      // The response says so: see the wrapper.
      if (error !== undefined && byFramework) context.failure ??= error as Error;
    }
    try {
      if (error !== undefined && !byFramework) callback?.(error);
      else callback?.();
    } finally {
      if (context && context.saving === 0) context.settled();
    }
  };
  void work.then(() => done(), done);
}

// What becomes of a session: saves, which send only what has changed, touches, and its end. Only here is a session created, and
// each change names the life that its request has loaded.

import type { EventEmitter } from "node:events";
import { type Draft, type Json, MERGE_PATCH, PATH_OPS, type Reply, type WriteOptions } from "../call.js";
import { RefusedError, SidetalkError } from "../errors.js";
import type { Calls } from "./calls.js";
import type { RequestContext } from "./context.js";
import { sameCookie, type Stored } from "./cookie.js";
import { type Declared, difference } from "./diff.js";
import { takeSets } from "./sets.js";
import type { Snapshot } from "./snapshot.js";
import type { Known, SessionData, State } from "./state.js";
import type { Told } from "./told.js";

type JsonObject = { [key: string]: Json };

/** A save, as it was asked for. */
export interface Save {
  readonly sid: string;
  readonly path: string;
  readonly session: SessionData;
  readonly content: Snapshot;
  readonly cookie: Stored;
  readonly lifetime: number;
  readonly state: State;
  readonly context: RequestContext | undefined;
}

/** A change on the wire. */
interface Change {
  readonly body: string;
  readonly type: string;
  /** The same for a session in which something of another shape stands where counters and sets are declared. */
  readonly anew?: () => string;
}

/** Makes saves. */
export class Saves {
  // No member is private to the language: that makes an object dearer.
  private readonly calls: Calls;
  private readonly declared: Declared;
  /** Emits `ended`. */
  private readonly owner: EventEmitter;

  constructor(calls: Calls, declared: Declared, owner: EventEmitter) {
    this.calls = calls;
    this.declared = declared;
    this.owner = owner;
  }

  /** Saves of one session go one after the other. */
  save(save: Save, done: Told): void {
    const { state } = save;
    const after = (error?: Error) => {
      const next = state.waiting?.shift();
      if (next) next();
      else state.saving = false;
      done(error);
    };
    const go = () => {
      try {
        this.saveNow(save, after);
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

  private saveNow(save: Save, done: Told): void {
    const { sid, path, content, cookie, lifetime, state, context } = save;
    const { known } = state;
    if (lifetime <= 0) return this.destroy(path, context, done);
    if (!known) {
      const made = (created: Known) => {
        state.known = created;
        done();
      };
      void this.create(save).then(made, done);
      return;
    }
    const change = this.changeOf(known, content, cookie);
    if (change) return this.change(save, known, change, done);
    if (performance.now() + lifetime <= known.deadline) process.nextTick(done);
    else this.touch(sid, path, lifetime, known, context, done);
  }

  /** What a save has to send; nothing when nothing has changed. */
  private changeOf(known: Known, content: Snapshot, cookie: Stored): Change | undefined {
    const { declared } = this;
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
  private async create(save: Save): Promise<Known> {
    const { path, session, cookie, lifetime } = save;
    const { calls } = this;
    const scope = save.context?.scope;
    const foreign = !("req" in session) && !("sessionId" in session);
    const content: JsonObject = { ...save.content.toObject(), cookie: jsonOf(cookie) };
    const sets = takeSets(content, this.declared);
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
  private change(save: Save, known: Known, change: Change, done: Told): void {
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
    this.calls.make(draft, options, path, context?.scope, "change", (error, found) => {
      if (found) {
        learn(known, save, found);
        done();
      } else if (change.anew && error instanceof RefusedError && error.code === "wrong_shape") {
        this.change(save, known, { body: change.anew(), type: change.type }, done);
      } else {
        this.unlessEnded(save.sid, error, done);
      }
    });
  }

  /** Extends the lease. It comes to nothing when the session has ended. */
  touch(
    sid: string,
    path: string,
    lifetime: number,
    known: Known | undefined,
    context: RequestContext | undefined,
    done: Told,
  ): void {
    if (lifetime <= 0) return this.destroy(path, context, done);
    const draft: Draft = { method: "POST", path: `${path}/touch`, repeat: "free", asks: true };
    const options = { life: known?.life, ttlSeconds: seconds(lifetime) };
    this.calls.make(draft, options, path, context?.scope, "none", (error, found) => {
      if (!found) return this.unlessEnded(sid, error, done);
      if (known) known.deadline = deadlineOf(found);
      done();
    });
  }

  /** A change of what was destroyed meanwhile comes to nothing: that is what destroying means. */
  private unlessEnded(sid: string, error: Error | undefined, done: Told): void {
    const ended =
      error instanceof RefusedError && (error.code === "ended" || (error.code === "unknown" && !error.behind));
    if (!ended) return done(error);
    this.owner.emit("ended", sid);
    done();
  }

  /** Ends a session, for ever. */
  destroy(path: string, context: RequestContext | undefined, done: Told): void {
    const draft: Draft = { method: "DELETE", path, repeat: "free", asks: true };
    this.calls.make(draft, {}, path, context?.scope, "change", (error, found) => done(found ? undefined : error));
  }
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

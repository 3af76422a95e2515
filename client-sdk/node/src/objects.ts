// The objects of a sidecar.

import {
  type CallOptions,
  type Draft,
  type Json,
  type Kind,
  MERGE_PATCH,
  objectPath,
  PATH_OPS,
  type PathOp,
  type ReadOptions,
  type Reply,
  segment,
  type WriteOptions,
} from "./call.js";
import { BehindError, isEnded, isNoMember, isUnknown } from "./errors.js";

/** Makes calls. */
export interface Caller {
  /** Makes a call for an object. */
  call<T>(object: string, draft: Draft, options: WriteOptions): Promise<Reply<T>>;
}

/** What all objects have. */
abstract class Named {
  readonly kind: Kind;
  readonly key: string;
  /** Its path in the API. */
  readonly path: string;
  protected readonly caller: Caller;

  constructor(caller: Caller, kind: Kind, key: string) {
    this.caller = caller;
    this.kind = kind;
    this.key = key;
    this.path = objectPath(kind, key);
  }

  protected call<T>(draft: Draft, options: WriteOptions): Promise<Reply<T>> {
    return this.caller.call<T>(this.path, draft, options);
  }

  protected fetch<T>(options: ReadOptions): Promise<Reply<T>> {
    const asks = this.kind === "sessions";
    return this.call({ method: "GET", path: this.path, repeat: "free", asks }, options);
  }

  protected remove_(options: WriteOptions): Promise<Reply<undefined>> {
    const session = this.kind === "sessions";
    return this.call(
      { method: "DELETE", path: this.path, repeat: session ? "free" : "never", asks: session },
      options,
    );
  }

  /** Where every entry of it came from. */
  async explain(options: CallOptions = {}): Promise<Json> {
    const path = `/v1/explain/${this.kind}/${segment(this.key)}`;
    return (await this.call<Json>({ method: "GET", path, repeat: "free", asks: false }, options)).value;
  }
}

/** A session or document: a JSON object that is changed by parts. */
abstract class Tree<T extends object> extends Named {
  /**
   * Reads it.
   * @throws RefusedError `unknown` or `ended` when it is not there
   */
  read(options: ReadOptions = {}): Promise<Reply<T>> {
    return this.fetch<T>(options);
  }

  /**
   * Reads its content; `undefined` when it is not there.
   * @throws BehindError when it is not there, and not every node could be asked
   */
  async get(options: ReadOptions = {}): Promise<T | undefined> {
    try {
      return (await this.read(options)).value;
    } catch (error) {
      if (isEnded(error)) return undefined;
      if (isUnknown(error)) {
        if (!error.behind) return undefined;
        throw new BehindError(
          `nobody who could be asked knows ${this.kind}/${this.key}, and not everyone could be`,
        );
      }
      throw error;
    }
  }

  /** Creates it, or replaces what is in it. */
  put(value: T, options: WriteOptions = {}): Promise<Reply<T>> {
    const asks = options.ifNoneMatch !== "*" && this.kind === "sessions";
    return this.call(
      { method: "PUT", path: this.path, body: JSON.stringify(value), repeat: "never", asks },
      options,
    );
  }

  /** Changes a part of it by a JSON Merge Patch (RFC 7396): objects merge, `null` removes. */
  patch(patch: object, options: WriteOptions = {}): Promise<Reply<T>> {
    return this.change(JSON.stringify(patch), MERGE_PATCH, options);
  }

  /** Changes a part of it by operations on paths, which also count, keep sets, and can store a `null`. */
  ops(ops: readonly PathOp[], options: WriteOptions = {}): Promise<Reply<T>> {
    return this.change(JSON.stringify(ops), PATH_OPS, options);
  }

  private change(body: string, contentType: string, options: WriteOptions): Promise<Reply<T>> {
    const asks = this.kind === "sessions";
    return this.call({ method: "PATCH", path: this.path, body, contentType, repeat: "keyed", asks }, options);
  }

  /** Adds to an integer in it. */
  incr(path: readonly string[], by = 1, options: WriteOptions = {}): Promise<Reply<T>> {
    return this.ops([{ op: "incr", path, by }], options);
  }

  /** Destroys it: a session for ever, of a document what the node has seen. */
  destroy(options: WriteOptions = {}): Promise<Reply<undefined>> {
    return this.remove_(options);
  }
}

/** A session: leased, and once destroyed it never comes back. */
export class Session<T extends object = Record<string, Json>> extends Tree<T> {
  constructor(caller: Caller, id: string) {
    super(caller, "sessions", id);
  }

  /** Extends its idle deadline to `ttlSeconds` from now. */
  touch(ttlSeconds: number, options: WriteOptions = {}): Promise<Reply<undefined>> {
    const draft: Draft = { method: "POST", path: `${this.path}/touch`, repeat: "free", asks: true };
    return this.call(draft, { ...options, ttlSeconds });
  }
}

/** A document: a global object, not leased unless a writer gives `ttlSeconds`. */
export class Document<T extends object = Record<string, Json>> extends Tree<T> {
  constructor(caller: Caller, name: string) {
    super(caller, "documents", name);
  }

  /** Its value, with the values that were written at the same time and do not show. */
  async siblings(options: CallOptions = {}): Promise<Json> {
    const path = `${this.path}?siblings=true`;
    return (await this.call<Json>({ method: "GET", path, repeat: "free", asks: false }, options)).value;
  }
}

/** A counter: exact, whatever the network does. Integers. */
export class Counter extends Named {
  constructor(caller: Caller, name: string) {
    super(caller, "counters", name);
  }

  /** Its value; 0 when nobody has counted. */
  async get(options: ReadOptions = {}): Promise<number> {
    return (await this.fetch<{ value: number }>(options)).value.value;
  }

  /** Adds an integer, or takes away. Gives the value after that, as this node sees it. */
  async add(amount = 1, options: WriteOptions = {}): Promise<number> {
    const draft: Draft = {
      method: "POST",
      path: this.path,
      body: JSON.stringify({ add: amount }),
      repeat: "keyed",
      asks: false,
    };
    return (await this.call<{ value: number }>(draft, options)).value.value;
  }

  /** Takes back all that this node has seen counted. What is counted elsewhere at the same time stays. */
  async reset(options: WriteOptions = {}): Promise<void> {
    await this.remove_(options);
  }
}

/** A set of strings. A member that is added while somebody else removes it stays. */
export class StringSet extends Named {
  constructor(caller: Caller, name: string) {
    super(caller, "sets", name);
  }

  /** Its members, sorted. */
  async get(options: ReadOptions = {}): Promise<string[]> {
    return (await this.fetch<{ members: string[] }>(options)).value.members;
  }

  /**
   * Whether a member is in it.
   * @throws BehindError when it is not, and the node could not catch up with what its caller has seen
   */
  async has(member: string, options: ReadOptions = {}): Promise<boolean> {
    try {
      await this.call({ method: "GET", path: this.#member(member), repeat: "free", asks: false }, options);
      return true;
    } catch (error) {
      if (!isUnknown(error) && !isNoMember(error)) throw error;
      if (!error.behind) return false;
      throw new BehindError(`${this.kind}/${this.key} is older here than what its reader has seen`);
    }
  }

  /** Adds and removes members. */
  async change(add: readonly string[], remove: readonly string[] = [], options: WriteOptions = {}): Promise<void> {
    const body = JSON.stringify({ add, remove });
    await this.call({ method: "POST", path: this.path, body, repeat: "keyed", asks: false }, options);
  }

  /** Adds one member. */
  async add(member: string, options: WriteOptions = {}): Promise<void> {
    await this.call({ method: "PUT", path: this.#member(member), repeat: "never", asks: false }, options);
  }

  /** Removes one member. */
  async remove(member: string, options: WriteOptions = {}): Promise<void> {
    await this.call({ method: "DELETE", path: this.#member(member), repeat: "never", asks: false }, options);
  }

  /** Removes all members that this node has seen. */
  async clear(options: WriteOptions = {}): Promise<void> {
    await this.remove_(options);
  }

  #member(member: string): string {
    return `${this.path}/${segment(member)}`;
  }
}

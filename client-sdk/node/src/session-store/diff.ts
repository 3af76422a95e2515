// What a request has changed in a session, path by path.

import type { Json, PathOp } from "../call.js";
import { put as setMember } from "./snapshot.js";

/** Where counters and sets stand in a session. */
export interface Declared {
  readonly counters: ReadonlySet<string>;
  readonly sets: ReadonlySet<string>;
}

/** A place in a session, as one text. */
export function pathKey(path: readonly string[]): string {
  return path.length === 1 ? (path[0] as string) : path.join("\u0000");
}

/** Reads the paths of an option: a name, `a.b`, or `["a", "b"]`. */
export function pathsOf(option: readonly (string | readonly string[])[] | undefined): ReadonlySet<string> {
  return new Set((option ?? []).map((path) => pathKey(typeof path === "string" ? path.split(".") : path)));
}

type JsonObject = { [key: string]: Json };

/** The changes from one state to another. */
export interface Difference {
  /** The operations, in the order of their paths. */
  readonly ops: PathOp[];
  /** The same as a merge patch, where that can say it: it is cheaper. */
  readonly merge: JsonObject | undefined;
}

/**
 * Finds what differs. Both are JSON. `anew`: what is declared takes the place of whatever stands there, for a session in
 * which something of another shape does.
 */
export function difference(before: JsonObject, after: JsonObject, declared: Declared, anew = false): Difference {
  const finder = new Finder(declared, anew);
  const merge = finder.objects(before, after, []);
  return { ops: finder.ops, merge: finder.mergeable && merge !== undefined ? merge : undefined };
}

/** A name that no application has: see {@link Finder.#open}. */
const NOWHERE = "\u0000";

class Finder {
  readonly ops: PathOp[] = [];
  mergeable = true;
  readonly #declared: Declared;
  readonly #anew: boolean;

  constructor(declared: Declared, anew: boolean) {
    this.#declared = declared;
    this.#anew = anew;
  }

  /** The differences of two objects; gives them as a merge patch. */
  objects(before: JsonObject, after: JsonObject, path: readonly string[]): JsonObject | undefined {
    let patch: JsonObject | undefined;
    const put = (key: string, value: Json) => {
      setMember((patch ??= {}), key, value);
    };
    for (const key of Object.keys(before)) {
      if (own(after, key) === undefined) {
        const at = [...path, key];
        if (this.#unset(own(before, key) as Json, at)) put(key, null);
      }
    }
    for (const key of Object.keys(after)) {
      const was = own(before, key);
      const is = own(after, key) as Json;
      if (was === is) continue;
      const change = this.#value(was, is, [...path, key]);
      if (change !== undefined) put(key, change);
    }
    return patch;
  }

  /** Gives the change for a merge patch; none when there is none, or when a merge patch cannot say it. */
  #value(was: Json | undefined, is: Json, path: string[]): Json | undefined {
    const key = pathKey(path);
    if (this.#declared.counters.has(key) && this.#count(was, is, path)) return undefined;
    if (this.#declared.sets.has(key) && this.#members(was, is, path)) return undefined;
    if (isObject(is)) {
      const base = isObject(was) ? was : {};
      if (!isObject(was)) this.#open(is, path);
      return this.objects(base, is, path) ?? (isObject(was) ? undefined : {});
    }
    if (Array.isArray(is) && Array.isArray(was) && JSON.stringify(is) === JSON.stringify(was)) return undefined;
    this.ops.push({ op: "set", path, value: is });
    // In a merge patch null removes; within arrays it does not.
    if (is === null) this.mergeable = false;
    return is;
  }

  /**
   * A new object: its content follows, leaf by leaf, so that what another request puts into the same new object
   * stays. An empty one is made by a value that comes and goes again within the one operation.
   */
  #open(is: JsonObject, path: string[]): void {
    if (Object.keys(is).length > 0) return;
    const nowhere = [...path, NOWHERE];
    this.ops.push({ op: "set", path: nowhere, value: 0 }, { op: "unset", path: nowhere });
  }

  #unset(was: Json, path: string[]): boolean {
    if (this.#declared.sets.has(pathKey(path)) && isMembers(was)) {
      for (const member of was) this.ops.push({ op: "remove", path, member });
      if (was.length > 0) this.mergeable = false;
      return false;
    }
    this.ops.push({ op: "unset", path });
    return true;
  }

  #count(was: Json | undefined, is: Json, path: string[]): boolean {
    const base = was === undefined ? 0 : was;
    if (!Number.isSafeInteger(base) || !Number.isSafeInteger(is)) return false;
    if (this.#anew) return false;
    this.ops.push({ op: "incr", path, by: (is as number) - (base as number) });
    this.mergeable = false;
    return true;
  }

  #members(was: Json | undefined, is: Json, path: string[]): boolean {
    const base = was === undefined ? [] : was;
    if (!isMembers(base) || !isMembers(is)) return false;
    const [before, after] = [new Set(base), new Set(is)];
    const count = this.ops.length;
    if (this.#anew) {
      this.ops.push({ op: "unset", path });
      before.clear();
    }
    for (const member of before) if (!after.has(member)) this.ops.push({ op: "remove", path, member });
    for (const member of after) if (!before.has(member)) this.ops.push({ op: "add", path, member });
    if (this.ops.length > count) this.mergeable = false;
    return true;
  }
}

function own(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a set can hold. */
export function isMembers(value: Json | undefined): value is string[] {
  return Array.isArray(value) && value.every((member) => typeof member === "string");
}

// What a session holds, as JSON has it: a copy that later changes of the session do not reach.

import type { Json } from "../call.js";
import type { Declared } from "./diff.js";

type JsonObject = { [key: string]: Json };
type Plain = null | boolean | number | string;

/** An object or a list, as JSON. */
class Text {
  readonly json: string;

  constructor(json: string) {
    this.json = json;
  }
}

/**
 * A copy. Most requests make one and never look at it, so it is made in one pass and without a text of all: what cannot
 * change is kept as it is, what can as its own JSON.
 */
export class Snapshot {
  // No member is private to the language: that makes objects dearer.
  private readonly names: string[];
  /** Of each name: what stands there. */
  private readonly values: (Plain | Text)[];

  constructor(session: Readonly<Record<string, unknown>>) {
    // What is kept as long as the request is no longer than it has to be: lists that grow make room for 17.
    const names = Object.keys(session);
    const values = new Array<Plain | Text>(names.length);
    let count = 0;
    for (const name of names) {
      // These are no content.
      if (name === "cookie" || name === "__sidetalk") continue;
      const kept = keep(session[name]);
      if (kept === undefined) continue;
      names[count] = name;
      values[count++] = kept;
    }
    for (let over = names.length - count; over > 0; over--) {
      names.pop();
      values.pop();
    }
    this.names = names;
    this.values = values;
  }

  /** Whether both say the same. */
  equals(other: Snapshot): boolean {
    if (this.names.length !== other.names.length) return false;
    for (let at = 0; at < this.names.length; at++) if (!this.same(at, other)) return false;
    return true;
  }

  /** What differs in these two, member by member: as it was, and as it is in the other. */
  differing(other: Snapshot): [JsonObject, JsonObject] {
    const [was, is]: [JsonObject, JsonObject] = [{}, {}];
    for (let at = 0; at < this.names.length; at++) if (!this.same(at, other)) this.copy(at, was);
    for (let at = 0; at < other.names.length; at++) if (!other.same(at, this)) other.copy(at, is);
    return [was, is];
  }

  /**
   * The difference as a merge patch, when it is what most are: members that are plain in both, or new. Nothing when there
   * is none, or when that takes a closer look.
   */
  plainPatch(other: Snapshot, declared: Declared): string | undefined {
    if (other.names.length < this.names.length) return undefined;
    let patch = "";
    let found = 0;
    for (let at = 0; at < other.names.length; at++) {
      const name = other.names[at] as string;
      const before = this.names[at] === name ? at : this.names.indexOf(name);
      const was = this.values[before];
      const is = other.values[at] as Plain | Text;
      if (before >= 0) found++;
      if (was === is || (was instanceof Text && is instanceof Text && was.json === is.json)) continue;
      // In a merge patch null removes, and objects merge.
      if (is === null || is instanceof Text || was instanceof Text) return undefined;
      if (declared.counters.has(name) || declared.sets.has(name)) return undefined;
      patch += `${patch === "" ? "{" : ","}${JSON.stringify(name)}:${JSON.stringify(is)}`;
    }
    return found === this.names.length && patch !== "" ? `${patch}}` : undefined;
  }

  /** All of it. */
  toObject(): JsonObject {
    const all: JsonObject = {};
    for (let at = 0; at < this.names.length; at++) this.copy(at, all);
    return all;
  }

  private same(at: number, other: Snapshot): boolean {
    const name = this.names[at] as string;
    const there = other.names[at] === name ? at : other.names.indexOf(name);
    if (there < 0) return false;
    const one = this.values[at];
    const two = other.values[there];
    return one === two || (one instanceof Text && two instanceof Text && one.json === two.json);
  }

  private copy(at: number, to: JsonObject): void {
    const value = this.values[at] as Plain | Text;
    put(to, this.names[at] as string, value instanceof Text ? (JSON.parse(value.json) as Json) : value);
  }
}

/** What JSON makes of a value; nothing when it leaves it out. */
function keep(value: unknown): Plain | Text | undefined {
  if (typeof value === "string" || typeof value === "boolean" || value === null) return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  // Also throws where JSON does.
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) return undefined;
  return json.startsWith("{") || json.startsWith("[") ? new Text(json) : (JSON.parse(json) as Plain);
}

/** Gives an object a member, also one that is called `__proto__`. */
export function put(object: JsonObject, name: string, value: Json): void {
  if (name !== "__proto__") object[name] = value;
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}

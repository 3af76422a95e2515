// What a session holds, as JSON has it: a copy that later changes of the session do not reach.

import type { Json } from "../call.js";

type JsonObject = { [key: string]: Json };
type Plain = null | boolean | number | string;

/** Members that are no content. */
const LEFT_OUT = new Set(["cookie", "__sidetalk"]);

/**
 * A copy. Most requests make one and never look at it, so it is made in one pass and without a text of all: what cannot
 * change is kept as it is, what can as its own JSON.
 */
export class Snapshot {
  // No member is private to the language: that makes objects dearer.
  private readonly names: string[] = [];
  /** Of each name: what stands there, or the JSON of an object or a list. */
  private readonly plain: (Plain | undefined)[] = [];
  private readonly texts: (string | undefined)[] = [];

  constructor(session: Readonly<Record<string, unknown>>) {
    for (const name of Object.keys(session)) {
      if (!LEFT_OUT.has(name)) this.put(name, session[name]);
    }
  }

  private put(name: string, value: unknown): void {
    let plain: Plain | undefined;
    let text: string | undefined;
    if (typeof value === "string" || typeof value === "boolean" || value === null) plain = value;
    else if (typeof value === "number") plain = Number.isFinite(value) ? value : null;
    else {
      // Also throws where JSON does.
      const json = JSON.stringify(value) as string | undefined;
      if (json === undefined) return;
      if (json.startsWith("{") || json.startsWith("[")) text = json;
      else plain = JSON.parse(json) as Plain;
    }
    this.names.push(name);
    this.plain.push(plain);
    this.texts.push(text);
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

  /** All of it. */
  toObject(): JsonObject {
    const all: JsonObject = {};
    for (let at = 0; at < this.names.length; at++) this.copy(at, all);
    return all;
  }

  private same(at: number, other: Snapshot): boolean {
    const name = this.names[at] as string;
    const there = other.names[at] === name ? at : other.names.indexOf(name);
    return there >= 0 && this.plain[at] === other.plain[there] && this.texts[at] === other.texts[there];
  }

  private copy(at: number, to: JsonObject): void {
    const [name, text] = [this.names[at] as string, this.texts[at]];
    const value = text === undefined ? (this.plain[at] as Plain) : (JSON.parse(text) as Json);
    put(to, name, value);
  }
}

/** Gives an object a member, also one that is called `__proto__`. */
export function put(object: JsonObject, name: string, value: Json): void {
  if (name !== "__proto__") object[name] = value;
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}

// The cookies in which a browser brings back the tokens of its writes: one for each write, so that two answers at once
// do not overwrite each other's. The next write of the same object that has seen them takes their place.

import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { TokenScope } from "../scope.js";

/** Attributes of a cookie. Always `HttpOnly`. */
export interface CookieAttributes {
  path?: string | undefined;
  domain?: string | undefined;
  secure?: boolean | undefined;
  sameSite?: boolean | "lax" | "strict" | "none" | undefined;
}

/** A token cookie that a browser has sent. */
export interface TokenCookie {
  readonly name: string;
  /** Names the object, in a few characters. */
  readonly object: string;
  readonly token: string;
}

/** What a request has brought. */
export interface Taken {
  readonly brought: readonly TokenCookie[];
  /** The header without them. */
  readonly rest: string | undefined;
}

const NONE: readonly TokenCookie[] = [];

/** Of one browser, no more count: each is worth a minute. */
const COOKIES_MAX = 32;

/** Reads and writes the cookies. */
export class TokenCookies {
  readonly #start: string;
  readonly #attributes: string;
  readonly #maxAge: string;
  // Makes names unique: this process, and a count.
  readonly #process = randomBytes(4).toString("hex");
  #count = 0;

  constructor(name: string, maxAgeSeconds: number, attributes: CookieAttributes) {
    this.#start = `${name}-`;
    const { path = "/", domain, secure, sameSite = "lax" } = attributes;
    const parts = [`Path=${path}`, "HttpOnly"];
    if (domain) parts.push(`Domain=${domain}`);
    if (secure) parts.push("Secure");
    if (sameSite) parts.push(`SameSite=${sameSite === true ? "Strict" : capital(sameSite)}`);
    this.#attributes = parts.join("; ");
    this.#maxAge = `Max-Age=${maxAgeSeconds}`;
  }

  /** Takes them out of a request's `Cookie` header. */
  take(header: string | undefined): Taken {
    if (!header?.includes(this.#start)) return { brought: NONE, rest: header };
    const brought: TokenCookie[] = [];
    let rest = "";
    for (const pair of header.split(";")) {
      const text = pair.trim();
      const equals = text.indexOf("=");
      if (!text.startsWith(this.#start) || equals < 0) {
        rest += rest === "" ? text : `; ${text}`;
      } else if (brought.length < COOKIES_MAX) {
        const name = text.slice(0, equals);
        const object = name.slice(this.#start.length, name.indexOf("-", this.#start.length));
        brought.push({ name, object, token: text.slice(equals + 1) });
      }
    }
    return { brought, rest };
  }

  /** Gives the browser the tokens of what was written, and takes back those that they take the place of. */
  write(response: ServerResponse, scope: TokenScope, brought: readonly TokenCookie[]): void {
    const before = response.getHeader("Set-Cookie");
    const lines = before === undefined ? [] : Array.isArray(before) ? [...before] : [String(before)];
    for (const [path, token] of scope.written) {
      const object = shortHash(path);
      const name = `${this.#start}${object}-${this.#process}${(this.#count++).toString(36)}`;
      lines.push(`${name}=${token}; ${this.#maxAge}; ${this.#attributes}`);
      for (const old of brought) {
        // One that this node has not seen is not among what the new one stands for.
        if (old.object !== object || scope.owes(old.token)) continue;
        lines.push(`${old.name}=; Max-Age=0; ${this.#attributes}`);
      }
    }
    response.setHeader("Set-Cookie", lines);
  }
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** FNV-1a: two objects with one hash cost a token cookie too many or too few, and never a lost session. */
function shortHash(text: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash >>> 0).toString(36);
}

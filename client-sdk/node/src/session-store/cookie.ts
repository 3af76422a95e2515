// What of a session's cookie is stored: all but when it expires, which changes with every request and is the lease's
// business.

/** A cookie as frameworks keep it in a session. */
export interface SessionCookie {
  originalMaxAge?: number | null | undefined;
  expires?: Date | string | boolean | null | undefined;
  originalExpires?: unknown;
  path?: unknown;
  httpOnly?: unknown;
  toJSON?: () => object;
  [name: string]: unknown;
}

/** Computing an age from a moment loses a millisecond now and then: less than this is no change. */
const AGE_SLACK_MILLIS = 100;

const SECONDS_MAX = 316_224_000;

/** The part of a cookie that is stored. */
export type Stored = Record<string, unknown>;

/** The part that is stored. `known` is what is stored already, and given back when nothing has changed. */
export function storedCookie(cookie: SessionCookie | undefined, known: Stored | undefined): Stored {
  if (known && isStored(cookie, known)) return known;
  const all = (typeof cookie?.toJSON === "function" ? cookie.toJSON() : (cookie ?? {})) as Stored;
  const stored: Stored = {};
  const age = all["originalMaxAge"];
  const hasAge = typeof age === "number";
  for (const name of Object.keys(all)) {
    const value = all[name];
    if (value === undefined || (hasAge && (name === "expires" || name === "originalExpires"))) continue;
    stored[name] = value instanceof Date ? value.toJSON() : value;
  }
  const before = known?.["originalMaxAge"];
  if (isSameAge("originalMaxAge", age, before)) stored["originalMaxAge"] = before;
  return stored;
}

/** Whether two stored cookies say the same. */
export function sameCookie(one: Stored, other: Stored): boolean {
  if (one === other) return true;
  let count = 0;
  for (const name in one) {
    if (one[name] !== other[name]) return false;
    count++;
  }
  for (const _ in other) count--;
  return count === 0;
}

/** Whether all that would be stored of a cookie is what is stored already. */
export function isStored(cookie: SessionCookie | undefined, known: Stored): boolean {
  const all = (typeof cookie?.toJSON === "function" ? cookie.toJSON() : (cookie ?? {})) as Stored;
  const age = all["originalMaxAge"];
  const hasAge = typeof age === "number";
  let count = 0;
  for (const name in all) {
    const value = all[name];
    if (value === undefined || (hasAge && (name === "expires" || name === "originalExpires"))) continue;
    const before = known[name];
    if (value !== before) {
      if (value instanceof Date ? value.toJSON() !== before : !isSameAge(name, value, before)) return false;
    }
    count++;
  }
  for (const _ in known) count--;
  return count === 0;
}

function isSameAge(name: string, age: unknown, before: unknown): boolean {
  if (name !== "originalMaxAge" || typeof age !== "number" || typeof before !== "number") return false;
  return Math.abs(before - age) < AGE_SLACK_MILLIS;
}

/** What was kept last: the cookies of an application's sessions hardly differ. */
let latest: Stored = {};

/** A copy to be kept, which nobody may change: other sessions may have the same one. */
export function kept(stored: unknown): Stored {
  const cookie = (typeof stored === "object" && stored !== null ? stored : {}) as Stored;
  if (!sameCookie(cookie, latest)) latest = { ...cookie };
  return latest;
}

/** Makes the cookie of a session that was read what it was, with when it expires: as JSON has it, or `asDate`. */
export function loadedCookie(stored: unknown, expiresInMillis: number, asDate: boolean): SessionCookie {
  const cookie: SessionCookie =
    typeof stored === "object" && stored !== null
      ? (stored as SessionCookie)
      : { originalMaxAge: null, expires: null, httpOnly: true, path: "/" };
  if (typeof cookie.originalMaxAge === "number") {
    const expires = new Date(Date.now() + Math.min(cookie.originalMaxAge, expiresInMillis));
    cookie.expires = asDate ? expires : expires.toISOString();
  }
  return cookie;
}

/** How many milliseconds a session is to live on by its cookie; `otherwise` when the cookie does not say. */
export function lifetimeMillis(cookie: SessionCookie | undefined, otherwise: number): number {
  const expires = cookie?.expires;
  if (!(expires instanceof Date) && typeof expires !== "string") return otherwise;
  const at = typeof expires === "string" ? Date.parse(expires) : expires.getTime();
  return Number.isNaN(at) ? otherwise : Math.min(at - Date.now(), SECONDS_MAX * 1_000);
}

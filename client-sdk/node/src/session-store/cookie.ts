// What of a session's cookie is stored: all but when it expires, which changes with every request and is the lease's
// business.

/** A cookie as frameworks keep it in a session. */
export interface SessionCookie {
  originalMaxAge?: number | null | undefined;
  expires?: Date | string | boolean | null | undefined;
  originalExpires?: unknown;
  toJSON?: () => object;
  [name: string]: unknown;
}

/** Computing an age from a moment loses a millisecond now and then: less than this is no change. */
const AGE_SLACK_MILLIS = 100;

const SECONDS_MAX = 316_224_000;

/** The part that is stored. `known` is the age that is stored already. */
export function storedCookie(cookie: SessionCookie, known: number | undefined): Record<string, unknown> {
  const stored = { ...(typeof cookie.toJSON === "function" ? cookie.toJSON() : cookie) } as Record<
    string,
    unknown
  >;
  const age = stored["originalMaxAge"];
  if (typeof age === "number") {
    delete stored["expires"];
    delete stored["originalExpires"];
    if (known !== undefined && Math.abs(known - age) < AGE_SLACK_MILLIS) stored["originalMaxAge"] = known;
  }
  return stored;
}

/** The cookie of a session that was read, with when it expires. */
export function loadedCookie(stored: unknown, expiresInMillis: number): SessionCookie {
  const cookie: SessionCookie =
    typeof stored === "object" && stored !== null
      ? { ...stored }
      : { originalMaxAge: null, expires: null, httpOnly: true, path: "/" };
  if (typeof cookie.originalMaxAge === "number") {
    cookie.expires = new Date(Date.now() + Math.min(cookie.originalMaxAge, expiresInMillis)).toISOString();
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

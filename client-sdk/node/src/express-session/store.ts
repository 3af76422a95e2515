// The store as express-session takes it.

import type { IncomingMessage } from "node:http";
import session from "express-session";
import type { SessionCookie } from "../session-store/cookie.js";
import { SessionStore, follow } from "../session-store/store.js";

const { Store } = session;
// They are functions, and more open than their types say.
const Cookie = session.Cookie as unknown as new () => object;
const Session = session.Session as unknown as new (
  request: object,
  data: object,
) => session.Session & session.SessionData;

/** The store: `session({ store: new SidetalkStore({ counters: ["views"] }), … })`. */
export class SidetalkStore extends SessionStore {
  protected override readonly copies = false;

  // As express-session's own base class has it, which this one does not extend.
  /* eslint-disable @typescript-eslint/unbound-method -- they become methods again */
  readonly load: session.Store["load"] = Store.prototype.load;
  readonly regenerate: session.Store["regenerate"] = Store.prototype.regenerate;
  /* eslint-enable @typescript-eslint/unbound-method */
  /** Set by express-session. */
  declare generate: (request: IncomingMessage) => void;

  /** As express-session's own base class does it, with less ado about the cookie. */
  createSession(request: IncomingMessage, data: session.SessionData): session.Session & session.SessionData {
    data.cookie = cookieOf(data.cookie as unknown as SessionCookie);
    const made = new Session(request, data);
    (request as { session?: unknown }).session = made;
    follow(made, data);
    return made;
  }
}

/**
 * express-session's own cookie. It assigns what it is given name by name, of which V8 knows nothing beforehand, and
 * reckons the age anew with each `expires`.
 */
function cookieOf(stored: SessionCookie): session.Cookie {
  const cookie = new Cookie() as unknown as SessionCookie;
  for (const name in stored) {
    const value = stored[name];
    switch (name) {
      case "path":
        cookie.path = value;
        break;
      case "httpOnly":
        cookie.httpOnly = value;
        break;
      case "expires":
        cookie.expires = typeof value === "string" ? new Date(value) : (value as Date);
        break;
      case "originalMaxAge":
      case "data":
        break;
      default:
        cookie[name] = value;
    }
  }
  // Intact: setting when it expires changes it.
  cookie.originalMaxAge = stored.originalMaxAge;
  return cookie as unknown as session.Cookie;
}

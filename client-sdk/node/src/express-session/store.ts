// The store as express-session takes it.

import type { IncomingMessage } from "node:http";
import session from "express-session";
import { SessionStore, follow } from "../session-store/store.js";

const { Store } = session;

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

  createSession(request: IncomingMessage, data: session.SessionData): session.Session & session.SessionData {
    const made = Store.prototype.createSession.call(this as never, request as never, data);
    follow(made, data);
    return made;
  }
}

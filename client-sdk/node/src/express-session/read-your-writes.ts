// Lets a browser read its own writes on any node.
//
// express-session sends the headers before its save has finished, so what a save returns comes too late for them. This
// holds the response until the save has answered, and gives the browser the token of its write in a cookie. It also
// turns a failed save into a 503, where the browser would have been told of a success.

import type { IncomingMessage, ServerResponse } from "node:http";
import type session from "express-session";
import { TokenScope } from "../scope.js";
import { bind, type RequestContext, within } from "../session-store/context.js";
import type { SidetalkStore } from "./store.js";
import { Held, type Hooks } from "./hold.js";
import { isEarly, lead, leadTo, settle } from "./methods.js";
import { type CookieAttributes, type TokenCookie, TokenCookies } from "./token-cookies.js";

/** How {@link readYourWrites} behaves. */
export interface ReadYourWritesOptions {
  /** Attributes of the token cookies. Give those of the session's cookie: they belong together. */
  cookie?: CookieAttributes | undefined;
  /** The start of the cookies' names. Default `sidetalk`. */
  name?: string | undefined;
  /** How many seconds a browser brings a token back: as long as a node may lag behind. Default 60. */
  maxAgeSeconds?: number | undefined;
  /** Told of a save that has failed. The browser gets a 503. */
  onSaveError?: ((error: Error, request: IncomingMessage) => void) | undefined;
}

type Next = (error?: unknown) => void;
/** Middleware, as Express and Connect take it. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: Next) => void;
type WithSession = IncomingMessage & {
  session?: session.Session & session.SessionData;
  sessionStore?: object;
};

const NAME_DEFAULT = "sidetalk";
const MAX_AGE_SECONDS_DEFAULT = 60;

/**
 * Wraps the unmodified express-session middleware: `app.use(readYourWrites(session({ store, … }), store))`.
 *
 * The browser's next request, on any node, sees what this one has written; or gets a 503 when that node is cut off and
 * cannot catch up.
 */
export function readYourWrites(
  middleware: (request: never, response: never, next: Next) => void,
  store: SidetalkStore,
  options: ReadYourWritesOptions = {},
): Middleware {
  const wrapper = new Wrapper(store, options);
  return function sidetalkReadYourWrites(request: WithSession, response, next) {
    // Mounted twice: the first one does it all.
    if (request.session) return next();
    const { headers } = request;
    const { cookie } = headers;
    const { brought, rest } = wrapper.cookies.take(cookie);
    const held = wrapper.hold(request, response, brought);
    const go = (error?: unknown) => {
      if (brought.length > 0) headers.cookie = cookie;
      if (request.sessionStore === store) {
        request.sessionStore = wrapper.viewOf(held);
        lead(held);
      } else {
        wrapper.leadTo(held);
        settle(held);
      }
      held.watchEnd();
      within(undefined, next, undefined, [error]);
    };
    // No name of these is like another: it costs express-session 5 µs to parse one, which it does before it returns.
    if (brought.length > 0) headers.cookie = rest;
    try {
      within(held, middleware, undefined, [request as never, response as never, go]);
    } catch (error) {
      settle(held);
      throw error;
    } finally {
      if (brought.length > 0) headers.cookie = cookie;
      // Who answers without calling the next one leaves nothing that settles it. express-session has put its store there, and
      // calls it.
      if (isEarly(held) && request.sessionStore !== store) {
        if (response.writableEnded) settle(held);
        else response.once("close", () => settle(held));
      }
    }
  };
}

type ViewClass = new (context: RequestContext) => SidetalkStore;

/** What all requests share. */
class Wrapper implements Hooks {
  readonly #store: SidetalkStore;
  readonly cookies: TokenCookies;
  readonly #onSaveError: ReadYourWritesOptions["onSaveError"];
  /** The store as one request sees it: what the application calls through its session is this request's. */
  readonly #View: ViewClass;

  constructor(store: SidetalkStore, options: ReadYourWritesOptions) {
    const { name = NAME_DEFAULT, maxAgeSeconds = MAX_AGE_SECONDS_DEFAULT, cookie = {} } = options;
    this.#store = store;
    this.cookies = new TokenCookies(name, maxAgeSeconds, cookie);
    this.#onSaveError = options.onSaveError;
    function View(this: { context: RequestContext }, context: RequestContext) {
      this.context = context;
    }
    View.prototype = store;
    this.#View = View as unknown as ViewClass;
  }

  hold(request: IncomingMessage, response: ServerResponse, brought: readonly TokenCookie[]): Held {
    const scope = brought.length === 0 ? new TokenScope() : new TokenScope(brought.map(({ token }) => token));
    return new Held(request, response, scope, brought, this);
  }

  /** Where the request's store is not this one's view, which knows the request. */
  leadTo(held: Held): void {
    leadTo(held);
    bind(held.request, held);
  }

  viewOf(context: RequestContext): SidetalkStore {
    return new this.#View(context);
  }

  headers(held: Held): void {
    const { response, scope, brought } = held;
    // With most requests nothing was written.
    if (scope.written.size > 0) this.cookies.write(response, scope, brought);
  }

  /**
   * Saves before the response begins, when it begins before it ends: what is streamed cannot wait for its own end.
   * express-session sees that it was saved.
   */
  saveEarly({ request, response }: Held): void {
    const { session } = request as WithSession;
    if (!session || typeof session.save !== "function") return;
    const changed = this.#store._changed(session as never) ?? isToBeStored(session.id, response);
    if (changed) session.save();
  }

  failed({ request }: Held, error: Error): void {
    this.#onSaveError?.(error, request);
  }
}

/** A new session whose cookie goes out is one that express-session is going to store. */
function isToBeStored(id: string, response: ServerResponse): boolean {
  const value = `=s%3A${encodeURIComponent(id)}.`;
  const lines = response.getHeader("Set-Cookie");
  return (Array.isArray(lines) ? lines : [lines]).some((line) => typeof line === "string" && line.includes(value));
}

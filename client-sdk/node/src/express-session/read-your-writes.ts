// Lets a browser read its own writes on any node.
//
// express-session sends the headers before its save has finished, so what a save returns comes too late for them. This
// holds the response until the save has answered, and gives the browser the token of its write in a cookie. It also
// turns a failed save into a 503, where the browser would have been told of a success.

import type { IncomingMessage, ServerResponse } from "node:http";
import type session from "express-session";
import { isToken, TokenScope } from "../scope.js";
import { bind, type RequestContext, within } from "../session-store/context.js";
import type { SidetalkStore } from "./store.js";
import { Held, type Hooks } from "./hold.js";
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
    const held = wrapper.hold(request, response);
    const go = (error?: unknown) => {
      if (request.sessionStore === store) request.sessionStore = wrapper.viewOf(held);
      held.watchEnd();
      within(undefined, next, undefined, [error]);
    };
    within(held, middleware, undefined, [request as never, response as never, go]);
  };
}

type ViewClass = new (context: RequestContext) => SidetalkStore;

/** What all requests share. */
class Wrapper implements Hooks {
  readonly #store: SidetalkStore;
  readonly #cookies: TokenCookies;
  readonly #onSaveError: ReadYourWritesOptions["onSaveError"];
  /** The store as one request sees it: what the application calls through its session is this request's. */
  readonly #View: ViewClass;

  constructor(store: SidetalkStore, options: ReadYourWritesOptions) {
    const { name = NAME_DEFAULT, maxAgeSeconds = MAX_AGE_SECONDS_DEFAULT, cookie = {} } = options;
    this.#store = store;
    this.#cookies = new TokenCookies(name, maxAgeSeconds, cookie);
    this.#onSaveError = options.onSaveError;
    function View(this: { context: RequestContext }, context: RequestContext) {
      this.context = context;
    }
    View.prototype = store;
    this.#View = View as unknown as ViewClass;
  }

  hold(request: IncomingMessage, response: ServerResponse): Held {
    const brought = this.#cookies.read(request.headers.cookie);
    const held = new Held(request, response, new TokenScope(tokensOf(brought)), this);
    bind(request, held);
    return held;
  }

  viewOf(context: RequestContext): SidetalkStore {
    return new this.#View(context);
  }

  headers(held: Held): void {
    const { request, response, scope } = held;
    // With most requests nothing was written.
    if (scope.written.size > 0) this.#cookies.write(response, scope, this.#cookies.read(request.headers.cookie));
  }

  /** What the store knows has changed. All else is left to express-session, within its `end`. */
  saveAtEnd({ request }: Held): void {
    const { session } = request as WithSession;
    if (session && this.#store._changed(session as never)) session.save();
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

function tokensOf(brought: readonly TokenCookie[]): readonly string[] {
  return brought.length === 0 ? NONE : brought.map((cookie) => cookie.token).filter(isToken);
}

const NONE: readonly string[] = [];

/** A new session whose cookie goes out is one that express-session is going to store. */
function isToBeStored(id: string, response: ServerResponse): boolean {
  const value = `=s%3A${encodeURIComponent(id)}.`;
  const lines = response.getHeader("Set-Cookie");
  return (Array.isArray(lines) ? lines : [lines]).some((line) => typeof line === "string" && line.includes(value));
}
